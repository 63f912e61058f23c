"""Text of a video, a user or a model is displayed as text: it never becomes HTML, Markdown or a link."""

import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from longview.app.jobs import Job
from longview.app.progress import Progress
from longview.indexing.library import AnsweredQuestion, Caption, Provenance
from longview.indexing.search import Moment
from longview.ui import render
from longview.video.timeline import Event, Span
from tests.indexing.samples import sample_entry

HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "</td></table><script>alert(1)</script>",
    '"><svg onload=alert(1)>',
    "' onmouseover='alert(1)",
    "&lt;b&gt; &amp; &#60;i&#62;",
    "<!-- hidden",
]
HOSTILE_MARKDOWN = [
    *HOSTILE,
    "![x](https://evil.example/p.png)",
    "[click](javascript:alert(1))",
    "[a](#b) [c][d] [e]",
    "[e]: https://evil.example",
    "<https://evil.example>",
    "https://evil.example/p.png",
    "HTTP://evil.example or WWW.evil.example or www.evil.example",
    "mail me@evil.example",
    "**bold** _it_ ~~gone~~ `code` # title",
    "```html",
    "| a | b |",
    "> quoted",
    "$x$ \\(y\\) \\\\ \\<b>",
]


class ParsedPage(HTMLParser):
    """The tags with the names of their attributes, the links, and the text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, ...]] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, *(name for name, _ in attrs)))
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]

    def handle_comment(self, data: str) -> None:
        self.tags.append(("!", data))

    def handle_data(self, data: str) -> None:
        self.text += data


def caption(text: str) -> Caption:
    return Caption(1, "aaaaaaaaaaaa", Event(Span(61.25, 62.5), text), "caption")


def job(title: str, stage: str = "Captioning", error: str | None = None) -> Job:
    return Job(title, progress=Progress(stage, 0.5, 60.0), error=error)


def library_table(title: str, path: str, checkpoint: str) -> str:
    provenance = Provenance(checkpoint, "1", {})
    return render.library_table(
        [replace(sample_entry("aaaaaaaaaaaa", title), path=Path(path), provenance=provenance)], frozenset()
    )


RENDERERS: dict[str, Callable[[str], str]] = {
    "notice": render.notice,
    "failure": render.failure,
    "player": lambda text: render.player(sample_entry("aaaaaaaaaaaa", text), ready=True),
    "player without its browser copy": lambda text: render.player(sample_entry("aaaaaaaaaaaa", text), ready=False),
    "codec": lambda text: render.player(replace(sample_entry("aaaaaaaaaaaa"), facts={"codec": text}), ready=True),
    "captions": lambda text: render.captions([caption(text)], is_outdated=True),
    "moments": lambda text: render.moments([Moment("aaaaaaaaaaaa", "t", Span(1, 2), text, 0.5, "caption")]),
    "moment's title": lambda text: render.moments([Moment("aaaaaaaaaaaa", text, Span(1, 2), "t", 0.5, "caption")]),
    "title": lambda text: library_table(text, "/a", "demo"),
    "path": lambda text: library_table("t", f"/{text}", "demo"),
    "checkpoint": lambda text: library_table("t", "/a", text),
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


def parse_markdown(source: str) -> ParsedPage:
    """Return the page that Markdown becomes, by a renderer as lenient as the browser's may be."""
    return ParsedPage(MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(source))


@pytest.mark.parametrize("text", HOSTILE_MARKDOWN)
@pytest.mark.parametrize("renderer", [render.escaped_markdown, render.answer], ids=["question", "answer"])
def test_text_in_markdown_is_escaped(renderer: Callable[[str], str], text: str) -> None:
    page = parse_markdown(renderer(f"Well, {text} and"))
    assert page.tags == [("p",)]
    assert page.text.strip() == f"Well, {text} and"
    bare = parse_markdown(renderer(text))
    assert {tag[0] for tag in bare.tags} <= {"p"}
    # The browser's renderer would turn these into links by itself.
    assert not re.search(r"https?://|www\.|\w@\w", renderer(text), re.IGNORECASE)


def test_times_and_citations_of_an_answer_seek_the_player() -> None:
    page = parse_markdown(render.answer("At 0:20, then\nfrom 62.5 to 70 seconds.", [Span(3723.46, 3730)]))
    assert page.links == ["#t=20.000", "#t=62.500", "#t=3723.460"]
    assert "Evidence: 1:02:03.5 – 1:02:10.0" in page.text
    assert ("br",) in page.tags


@pytest.mark.parametrize(
    ("reports", "text"),
    [
        ([], "…"),
        ([Progress("Reading <b>holiday", 0.4, None)], "Reading <b>holiday: 40% …"),
        ([Progress("Reading a", 0.2, None), Progress("Reading a", 0.5, 61.2)], "Reading a: 50%, 0:01:01 left …"),
        # All frames are prefilled; the first word is still to come.
        ([Progress("Reading a", 1.0, 0.0)], "…"),
    ],
)
def test_progress_stands_where_the_answer_will_be(reports: list[Progress], text: str) -> None:
    assert parse_markdown(render.answer_progress(reports)).text.strip() == text


def test_earlier_questions_and_answers_are_escaped() -> None:
    hostile = "![x](https://evil.example/p.png) <img src=x>"
    question, answer = render.history([AnsweredQuestion(hostile, hostile, (Span(1, 2),), Provenance("demo", "1", {}))])
    assert (question["role"], answer["role"]) == ("user", "assistant")
    assert parse_markdown(question["content"]).tags == [("p",)]
    assert parse_markdown(answer["content"]).links == ["#t=1.000"]


def test_captions_seek_the_player_and_say_if_they_are_outdated() -> None:
    current, outdated = (render.captions([caption("A red circle.")], is_outdated=is_outdated) for is_outdated in (False, True))
    assert 'data-seek="61.250" data-until="62.500"' in current
    assert "index the video again" in outdated and "index the video again" not in current


def test_moment_links_to_its_start_and_shows_its_middle() -> None:
    page = ParsedPage(render.moments([Moment("aaaaaaaaaaaa", "t", Span(60.5, 61.5), "text", 0.5, "caption")]))
    assert page.links == ["/?video=aaaaaaaaaaaa&t=60.500", "/thumbnail/aaaaaaaaaaaa/61000.jpg"]


def test_rejected_moments_are_hidden_and_counted() -> None:
    results = [
        Moment("aaaaaaaaaaaa", "t", Span(number, number + 1), f"text {number}", 0.5, "caption", verified=verified)
        for number, verified in enumerate((True, False, None, False))
    ]
    text = ParsedPage(render.moments(results)).text
    assert text.startswith("2 results hidden: not confirmed in the video.")
    assert "text 0" in text and "text 1" not in text and "text 2" in text and "text 3" not in text
    assert text.count("· verified") == 1
    assert ParsedPage(render.moments(results, is_verifying=True)).text.startswith("Verifying results …")


def test_job_shows_its_progress_and_its_result() -> None:
    running, completed, failed = job("Indexing a"), job("Indexing a"), job("Indexing a", error="It is no video.")
    completed.finished_event.set()
    failed.finished_event.set()
    assert "Captioning · 50% · 0:01:00 left" in ParsedPage(render.job(running)).text
    assert ParsedPage(render.job(completed)).text == "Indexing a: done."
    completed.note = "Nothing <b>there</b>."
    assert ParsedPage(render.job(completed)).text == "Indexing a: done. Nothing <b>there</b>."
    assert ParsedPage(render.job(failed)).text == "Indexing a failed. It is no video."
