"""Text of a video, a user or a model is displayed as text: it never becomes HTML or a link."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from longview.app.jobs import Job
from longview.app.retriever import SearchResults
from longview.indexing.library import Caption, Provenance, VideoEntry
from longview.indexing.search import Moment
from longview.ui import render
from longview.video.progress import Progress
from longview.video.timeline import Event, Span
from tests.indexing.samples import sample_entry
from tests.ui.parsed_page import HOSTILE, ParsedPage


def caption(text: str) -> Caption:
    return Caption(1, "aaaaaaaaaaaa", Event(Span(61.25, 62.5), text), "caption")


def job(title: str, stage: str = "Captioning", error: str | None = None) -> Job:
    progress = Progress()
    progress.child(0.0, 1.0, stage).update(0.5)
    return Job(title, progress=progress, error=error)


def library_table(title: str, path: str, checkpoint: str) -> str:
    provenance = Provenance(checkpoint, "1", {})
    return render.library_table(
        [replace(sample_entry("aaaaaaaaaaaa", title), path=Path(path), provenance=provenance)], frozenset()
    )


def player_with_facts(**facts: str) -> str:
    return render.player(replace(sample_entry("aaaaaaaaaaaa"), facts=facts), ready=True)


def entry_with_chapter(summary: str, chapter: str) -> VideoEntry:
    return replace(sample_entry("aaaaaaaaaaaa"), summary=summary, chapters=(Event(Span(0, 100), chapter),))


def found(*moments: Moment) -> SearchResults:
    return SearchResults("query", moments)


RENDERERS: dict[str, Callable[[str], str]] = {
    "notice": render.notice,
    "failure": render.failure,
    "player": lambda text: render.player(sample_entry("aaaaaaaaaaaa", text), ready=True),
    "player without its browser copy": lambda text: render.player(sample_entry("aaaaaaaaaaaa", text), ready=False),
    "facts": lambda text: player_with_facts(width=text, height=text, codec=text),
    "codec": lambda text: player_with_facts(codec=text),
    "summary": lambda text: render.summary(entry_with_chapter(text, "t")),
    "chapter": lambda text: render.summary(entry_with_chapter("t", text)),
    "captions": lambda text: render.captions([caption(text)], is_outdated=True),
    "moments": lambda text: render.moments(found(Moment("aaaaaaaaaaaa", "t", Span(1, 2), text, 0.5, "caption"))),
    "moment's title": lambda text: render.moments(found(Moment("aaaaaaaaaaaa", text, Span(1, 2), "t", 0.5, "caption"))),
    "title": lambda text: library_table(text, "/a", "demo"),
    "path": lambda text: library_table("t", f"/{text}", "demo"),
    "checkpoint": lambda text: library_table("t", "/a", text),
    "citation's title": lambda text: render.citation_cards([("aaaaaaaaaaaa", text, Span(1, 2))]),
    "job": lambda text: render.job(job(text)),
    "stage": lambda text: render.job(job("t", text)),
    "job's error": lambda text: render.job(job("t", error=text)),
    "failed job": lambda text: render.job(job(text, error="e")),
}


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("renderer", RENDERERS.values(), ids=RENDERERS.keys())
def test_text_in_html_is_escaped(renderer: Callable[[str], str], text: str) -> None:
    page, harmless = ParsedPage(renderer(text)), ParsedPage(renderer("harmless"))
    assert page.tags == harmless.tags
    assert page.links == harmless.links
    assert text in page.text


def test_chapters_have_times_in_the_format_of_the_captions() -> None:
    assert "0:00:00.0 A red circle." in ParsedPage(render.summary(entry_with_chapter("One event.", "A red circle."))).words


def test_captions_seek_the_player_and_say_if_they_are_outdated() -> None:
    current, outdated = (render.captions([caption("A red circle.")], is_outdated=is_outdated) for is_outdated in (False, True))
    assert 'data-seek="61.250" data-until="62.500"' in current
    assert "index the video again" in outdated and "index the video again" not in current


def test_only_a_video_with_captions_has_exports() -> None:
    entry = sample_entry("aaaaaaaaaaaa")
    assert render.exports(None) == render.exports(entry) == ""
    links = ParsedPage(render.exports(replace(entry, caption_count=1))).links
    assert links == [f"/export/aaaaaaaaaaaa.{format}" for format in ("srt", "vtt", "json", "csv", "txt")]


def test_moment_links_to_its_start_and_shows_its_middle() -> None:
    page = ParsedPage(render.moments(found(Moment("aaaaaaaaaaaa", "t", Span(60.5, 61.5), "text", 0.5, "caption"))))
    assert page.links == ["/?video=aaaaaaaaaaaa&t=60.500", "/thumbnail/aaaaaaaaaaaa/61000.jpg"]


def test_moment_says_its_source_and_whether_it_is_verified() -> None:
    moment = Moment("aaaaaaaaaaaa", "t", Span(1, 2), "text", 0.834, "caption")
    card = render.moments(found(moment))
    assert ParsedPage(card).words.endswith("t · caption · not verified")
    assert "0.83" not in ParsedPage(card).text and 'title="similarity 0.83"' in card
    assert ParsedPage(render.moments(found(replace(moment, verified=True)))).words.endswith("t · caption · verified")


def test_rejected_moments_are_hidden_and_counted() -> None:
    results = found(
        *(
            Moment("aaaaaaaaaaaa", "t", Span(number, number + 1), f"text {number}", 0.5, "caption", verified=verified)
            for number, verified in enumerate((True, False, None, False))
        )
    )
    text = ParsedPage(render.moments(results)).words
    assert text.startswith("2 results hidden: verification did not confirm the caption.")
    assert "text 0" in text and "text 1" not in text and "text 2" in text and "text 3" not in text
    assert text.count("· verified") == 1
    assert ParsedPage(render.moments(results, is_verifying=True)).words.startswith("Verifying results …")


def test_library_names_a_checkpoint_without_its_fingerprint() -> None:
    table = library_table("t", "/a", "demo@e5dda8cbe513")
    assert " demo " in ParsedPage(table).words and "e5dda8cbe513" not in ParsedPage(table).text
    assert 'title="demo@e5dda8cbe513"' in table
    assert " org/a@b " in ParsedPage(library_table("t", "/a", "org/a@b@e5dda8cbe513")).words


def test_job_shows_its_progress_and_its_result(monkeypatch: pytest.MonkeyPatch) -> None:
    clock_s = iter([100.0, 100.0, 100.0, 160.0, 160.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock_s))
    running, completed, failed = job("Indexing a"), job("Indexing a"), job("Indexing a", error="It is no video.")
    completed.finished_event.set()
    failed.finished_event.set()
    assert "Captioning · 50% · 0:01:00 left" in ParsedPage(render.job(running)).words
    assert "0:01:00 left · 2 more waiting" in ParsedPage(render.job(running, waiting=2)).words
    assert ParsedPage(render.job(completed)).words == "Indexing a: done."
    completed.note = "Nothing <b>there</b>."
    assert ParsedPage(render.job(completed)).words == "Indexing a: done. Nothing <b>there</b>."
    assert ParsedPage(render.job(failed)).words == "Indexing a failed. It is no video."
