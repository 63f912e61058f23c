"""Text of a video, a user or a model is displayed as text: it never becomes HTML or a link."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from longview.app.qa.chapters import Chapters
from longview.app.qa.retriever import SearchResults
from longview.app.runtime.caption_offer import CaptionOffer
from longview.core.timeline import Event, Segment, Span
from longview.indexing.records.job import JobStatus, QueuedJob
from longview.indexing.records.track import Provenance, Track, TrackVersion
from longview.indexing.records.video import VideoEntry
from longview.indexing.search.search import Evidence, Moment
from longview.ui import render
from tests.support.library_samples import sample_entry, sample_track
from tests.support.parsed_page import HOSTILE, ParsedPage

CAPTIONS = sample_track("captions", segment_count=1)
SPEECH = sample_track("speech", segment_count=2, language="en", languages=("en", "de"))


def entry_with(*tracks: Track) -> VideoEntry:
    return replace(sample_entry("aaaaaaaaaaaa"), tracks=tracks)


def tracks(*shown: Track, text: str = "t", is_running: bool = False) -> str:
    """Render tracks, with one segment each if they have any."""
    segments = {track.source: [Segment(Span(61.25, 62.5), text, track.source)] if track.segment_count else [] for track in shown}
    return render.tracks(entry_with(*shown), segments, is_running=is_running)


def version_of(track: Track, replaced_at: str = "", **changes: str) -> TrackVersion:
    provenance = replace(track.provenance, **changes)  # type: ignore[arg-type]
    return TrackVersion(7, "aaaaaaaaaaaa", replace(track, provenance=provenance), replaced_at)


def moment(text: str = "t", start_s: float = 1.0, source: str = "captions", *, title: str = "t") -> Moment:
    span = Span(start_s, start_s + 1)
    return Moment("aaaaaaaaaaaa", title, (Evidence(Segment(span, text, source), span),), 0.834)


def job(title: str, status: JobStatus = "running", **values: Any) -> QueuedJob:
    known: dict[str, Any] = {
        "stage": "Captioning",
        "fraction": 0.5,
        "seconds_left": 60.2,
        "reason": "",
        "path": Path("/a"),
        "options": {},
    }
    rest: dict[str, Any] = {
        "content_hash": "",
        "settings": {},
        "priority": 0,
        "request": "",
        "owner": "",
        "partial_results": 0,
        "attempts": 1,
    }
    dates = {"error_code": "", "added_at": "", "changed_at": ""}
    return QueuedJob(**known | rest | dates | {"job_id": 7, "title": title, "status": status} | values)


def player_with_facts(**facts: str) -> str:
    return render.player(replace(sample_entry("aaaaaaaaaaaa"), facts=facts), ready=True)


def summary_of(entry: VideoEntry, *, is_quoted: bool = False) -> str:
    return render.summary(entry, Chapters(entry.chapters, is_quoted))


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
    "summary": lambda text: summary_of(entry_with_chapter(text, "t")),
    "chapter": lambda text: summary_of(entry_with_chapter("t", text)),
    "quoted chapter": lambda text: summary_of(entry_with_chapter("t", text), is_quoted=True),
    "segments": lambda text: tracks(CAPTIONS, text=text),
    "checkpoint of captions": lambda text: render.provenance(
        [version_of(CAPTIONS, checkpoint=text, revision=text, profile=text)]
    ),
    "earlier version": lambda text: render.provenance([version_of(SPEECH, "2026", checkpoint=text, prompt_version=text)]),
    "offer": lambda text: render.caption_offer(CaptionOffer(text, Path(text), has_captions=True)),
    "track's note": lambda text: tracks(replace(CAPTIONS, note=text)),
    "note of an empty track": lambda text: tracks(sample_track("speech", note=text)),
    "track's language": lambda text: tracks(replace(SPEECH, languages=(text,))),
    "moments": lambda text: render.moments(found(moment(text))),
    "moment's title": lambda text: render.moments(found(moment(title=text))),
    "citation's title": lambda text: render.citation_cards([("aaaaaaaaaaaa", text, Span(1, 2))]),
    "job": lambda text: render.job(job(text)),
    "stage": lambda text: render.job(job("t", stage=text)),
    "job's error": lambda text: render.job(job("t", "failed", reason=text)),
    "failed job": lambda text: render.job(job(text, "failed", reason="e")),
}


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("renderer", RENDERERS.values(), ids=RENDERERS.keys())
def test_text_in_html_is_escaped(renderer: Callable[[str], str], text: str) -> None:
    page, harmless = ParsedPage(renderer(text)), ParsedPage(renderer("harmless"))
    assert page.tags == harmless.tags
    # A link may have the text as a value of its query only.
    assert [link.replace(quote(text), "harmless") for link in page.links] == harmless.links
    assert text in page.text


def test_chapters_have_times_in_the_format_of_the_captions() -> None:
    assert "0:00:00.0 A red circle." in ParsedPage(summary_of(entry_with_chapter("One event.", "A red circle."))).words


def test_segments_seek_the_player() -> None:
    assert tracks(CAPTIONS, SPEECH).count('data-seek="61.250" data-until="62.500"') == 2


def test_versions_say_what_made_them_and_earlier_ones_have_exports() -> None:
    plan = {"patch_period_s": 1.0, "width": 448, "height": 256, "windows": [{}] * 20}
    track = replace(CAPTIONS, updated_at="2026-11-26T10:00:00+00:00")
    provenance = Provenance("org/a@1", "4", plan, "1a2b3c4d" * 5, "qwen3-vl")
    current = TrackVersion(8, "aaaaaaaaaaaa", replace(track, provenance=provenance))
    page = ParsedPage(render.provenance([version_of(track, "2026-11-27", checkpoint="demo@1"), current]))
    assert page.words == (
        "Made by Captions: org/a, revision 1a2b3c4d, profile qwen3-vl, prompts 4, "
        "2 frames per second of 448 x 256 in 20 windows; 26 Nov 2026 "
        "Earlier versions They are not searched. Captions: demo, prompts 1; 26 Nov 2026 Export version 7: SRT VTT JSON CSV TXT"
    )
    assert page.links == [f"/export/aaaaaaaaaaaa.{format}?version=7" for format in ("srt", "vtt", "json", "csv", "txt")]
    assert page.tags[0] == ("details", "class", "data-source")
    assert render.provenance([version_of(sample_track("captions"))]) == ""


def test_tracks_have_size_and_languages_and_the_first_is_open() -> None:
    page = tracks(CAPTIONS, SPEECH)
    assert "Captions · 1" in page and "Speech · 2 · en, de" in page
    assert ParsedPage(page).tags.count(("details", "class", "data-source", "open")) == 1
    assert page.index(" open>") < page.index("Speech")


def test_screen_text_comes_after_speech() -> None:
    page = tracks(sample_track("screen_text", segment_count=1), SPEECH)
    assert page.index(" open>") < page.index("Speech") < page.index("Screen text")


def test_track_says_what_is_missing() -> None:
    partial = tracks(sample_track("speech", "incomplete", done_s=61.0, segment_count=1))
    assert "Complete up to 0:01:01.0 of 0:01:40.0; index the video again to resume." in ParsedPage(partial).words
    growing_track = sample_track("captions", "incomplete", done_s=61.0, segment_count=1, uncovered=(Span(61, 100),))
    growing = tracks(growing_track, is_running=True)
    assert ParsedPage(growing).words.count("Complete up to 0:01:01.0 of 0:01:40.0.") == 1
    assert "again" not in growing and "may be incomplete" not in growing
    # A job that runs fills the gaps of an incomplete track only.
    for is_running in (False, True):
        gap = tracks(replace(CAPTIONS, uncovered=(Span(90, 100),)), is_running=is_running)
        assert "Captions may be incomplete from 0:01:30.0 – 0:01:40.0." in ParsedPage(gap).words
    assert ParsedPage(tracks(sample_track("captions"))).words == "No events detected."
    declined = sample_track("captions", "declined", note="the demo checkpoint cannot caption this kind of video")
    words = ParsedPage(tracks(declined)).words
    assert words.startswith("No captions: the demo checkpoint cannot caption this kind of video.") and words.endswith(
        render.NOTHING_SEARCHABLE
    )
    # With words, the captions are no dead end.
    assert render.NOTHING_SEARCHABLE not in ParsedPage(tracks(declined, sample_track("speech", segment_count=1))).words


def test_only_tracks_with_segments_have_exports() -> None:
    assert render.exports(None) == render.exports(entry_with(sample_track("captions"))) == ""
    links = ParsedPage(render.exports(entry_with(sample_track("captions"), SPEECH))).links
    assert links == [f"/export/aaaaaaaaaaaa.{format}?source=speech" for format in ("srt", "vtt", "json", "csv", "txt")]


def test_player_has_a_text_track_for_each_source_and_language() -> None:
    links = ParsedPage(render.player(entry_with(CAPTIONS, SPEECH), ready=True)).links
    assert links == [
        "/media/aaaaaaaaaaaa#t=0.000",
        "/export/aaaaaaaaaaaa.vtt?source=captions",
        "/export/aaaaaaaaaaaa.vtt?source=speech&language=en",
        "/export/aaaaaaaaaaaa.vtt?source=speech&language=de",
    ]


def test_moment_links_to_its_start_and_shows_its_middle() -> None:
    page = ParsedPage(render.moments(found(moment(start_s=60.5))))
    assert page.links == ["/watch?video=aaaaaaaaaaaa&t=60.500", "/thumbnail/aaaaaaaaaaaa/61000.jpg"]
    without = render.moments(found(moment(start_s=60.5)), without_frames={"aaaaaaaaaaaa"})
    assert ParsedPage(without).links == ["/watch?video=aaaaaaaaaaaa&t=60.500"]


def test_moment_says_its_source_and_whether_it_is_verified() -> None:
    card = render.moments(found(moment()))
    assert ParsedPage(card).words.endswith("t · captions · not verified")
    assert "0.83" not in ParsedPage(card).text and 'title="score 0.83"' in card
    assert ParsedPage(render.moments(found(replace(moment(), verified=True)))).words.endswith("t · captions · verified")


def test_moments_without_a_word_of_the_query_stand_under_a_heading_of_their_own() -> None:
    heading = "Without a word of the query, but perhaps similar"
    evidence = Evidence(Segment(Span(1, 2), "a red circle", "speech"), Span(1, 2), ((2, 5),))
    with_words = replace(moment(), evidence=(evidence,))
    text = ParsedPage(render.moments(found(moment("A zebra.", source="speech"), with_words))).words
    assert text.index("a red circle") < text.index(heading) < text.index("A zebra.")
    assert heading not in ParsedPage(render.moments(found(with_words))).words


def test_moment_shows_all_evidence_with_the_words_of_the_query() -> None:
    speech = Evidence(Segment(Span(1, 2), "a <b>red</b> circle", "speech"), Span(1, 2), ((5, 8), (13, 19)))
    card = render.moments(found(replace(moment("A red ring."), evidence=(speech, *moment("A red ring.").evidence))))
    assert "a &lt;b&gt;<mark>red</mark>&lt;/b&gt; <mark>circle</mark>" in card
    assert ParsedPage(card).words.endswith("A red ring. t · speech · captions")


def test_rejected_moments_are_hidden_and_counted() -> None:
    results = found(
        *(
            replace(moment(f"text {number}", number), verified=verified)
            for number, verified in enumerate((True, False, None, False))
        )
    )
    text = ParsedPage(render.moments(results)).words
    assert text.startswith("2 results hidden: verification did not confirm the caption.")
    assert "text 0" in text and "text 1" not in text and "text 2" in text and "text 3" not in text
    assert text.count("· verified") == 1
    assert ParsedPage(render.moments(results, is_verifying=True)).words.startswith("Verifying results …")


def test_job_shows_its_progress_and_its_result() -> None:
    assert "Indexing a: Captioning · 50% · 0:01:00 left" in ParsedPage(render.job(job("a"))).words
    assert "0:01:00 left · 2 more waiting" in ParsedPage(render.job(job("a"), waiting=2)).words
    assert ParsedPage(render.job(job("a", "done"))).words == "Indexing a: done."
    note = job("a", "done", reason="Nothing <b>there</b>.", options={"sources": ["captions"]})
    assert ParsedPage(render.job(note)).words == "Captioning a again: done. Nothing <b>there</b>."
    failed = job("a", "failed", reason="It is no video.")
    assert ParsedPage(render.job(failed)).words == "Indexing a failed. It is no video."


def test_notice_shows_commands_without_backticks() -> None:
    rendered = render.notice("It needs more; `longview models` names one.")
    assert ParsedPage(rendered).words == "It needs more; longview models names one." and "`" not in rendered
    assert '<code>longview models</code> <longview-copy data-text="longview models">' in rendered
    note = tracks(replace(CAPTIONS, status="declined", note="it knows shapes only; `longview models` names another one"))
    assert "<code>longview models</code> names another one" in note and "`" not in note
