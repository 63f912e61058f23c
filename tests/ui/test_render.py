"""Text of a video, a user or a model is displayed as text: it never becomes HTML or a link."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args
from urllib.parse import quote

import pytest

from longview.app.jobs.source_states import State
from longview.app.qa.retriever import SearchResults
from longview.app.runtime.caption_offer import CaptionOffer
from longview.core.timeline import Segment, Span
from longview.indexing.records.job import JobStatus, QueuedJob
from longview.indexing.search.search import Evidence, Moment
from longview.ui import render
from longview.ui.page_head import ASSETS
from tests.support.parsed_page import HOSTILE, ParsedPage


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


def found(*moments: Moment) -> SearchResults:
    return SearchResults("query", moments)


RENDERERS: dict[str, Callable[[str], str]] = {
    "notice": render.notice,
    "failure": render.failure,
    "offer": lambda text: render.caption_offer(CaptionOffer(text, Path(text), has_captions=True)),
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


def test_each_state_of_a_source_has_its_texts_on_the_page() -> None:
    catalogue = (ASSETS / "strings.js").read_text(encoding="utf-8")
    for state in get_args(State):
        # What is current needs no sentence beside its rows.
        for key in (f"state.{state}", f"watch.state.{state}")[: 1 if state == "current" else 2]:
            assert f"  '{key}':" in catalogue, key
