"""Whatever a video, a user or a model wrote is shown as text: it never becomes part of the page."""

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
from tests.indexing.test_library import entry

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


class Skeleton(HTMLParser):
    """The tags, the names of attributes, and the text of a page."""

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


def job(title: str, stage: str = "looking", error: str | None = None) -> Job:
    return Job(title, progress=Progress(stage, 0.5, 60.0), error=error)


def shelf(title: str, path: str, checkpoint: str) -> str:
    made_by = Provenance(checkpoint, "1", {})
    return render.library_table([replace(entry("aaaaaaaaaaaa", title), path=Path(path), provenance=made_by)], frozenset())


HTML: dict[str, Callable[[str], str]] = {
    "notice": render.notice,
    "failure": render.failure,
    "player": lambda text: render.player(entry("aaaaaaaaaaaa", text), ready=True),
    "player without its copy": lambda text: render.player(entry("aaaaaaaaaaaa", text), ready=False),
    "codec": lambda text: render.player(replace(entry("aaaaaaaaaaaa"), facts={"codec": text}), ready=True),
    "captions": lambda text: render.captions([caption(text)], is_outdated=True),
    "moments": lambda text: render.moments([Moment("aaaaaaaaaaaa", "t", Span(1, 2), text, 0.5, "caption")]),
    "moment's title": lambda text: render.moments([Moment("aaaaaaaaaaaa", text, Span(1, 2), "t", 0.5, "caption")]),
    "title": lambda text: shelf(text, "/a", "demo"),
    "path": lambda text: shelf("t", f"/{text}", "demo"),
    "checkpoint": lambda text: shelf("t", "/a", text),
    "job": lambda text: render.job(job(text)),
    "stage": lambda text: render.job(job("t", text)),
    "job's error": lambda text: render.job(job("t", error=text)),
    "failed job": lambda text: render.job(job(text, error="e")),
}


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("show", HTML.values(), ids=HTML.keys())
def test_text_in_html_is_shown_and_changes_nothing_around_it(show: Callable[[str], str], text: str) -> None:
    page, harmless = Skeleton(show(text)), Skeleton(show("harmless"))
    assert page.tags == harmless.tags
    assert page.links == harmless.links
    assert text in page.text


def read_markdown(source: str) -> Skeleton:
    """The page that Markdown makes of it, as lenient as the browser's renderer may be."""
    return Skeleton(MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(source))


@pytest.mark.parametrize("text", HOSTILE_MARKDOWN)
@pytest.mark.parametrize("show", [render.escaped_markdown, render.answer], ids=["question", "answer"])
def test_text_in_markdown_is_shown_as_it_is(show: Callable[[str], str], text: str) -> None:
    page = read_markdown(show(f"Well, {text} and"))
    assert page.tags == [("p",)]
    assert page.text.strip() == f"Well, {text} and"
    alone = read_markdown(show(text))
    assert {tag[0] for tag in alone.tags} <= {"p"}
    # The browser's renderer would make links of these by itself.
    assert not re.search(r"https?://|www\.|\w@\w", show(text), re.IGNORECASE)


def test_the_times_of_an_answer_and_its_evidence_seek_the_player() -> None:
    page = read_markdown(render.answer("At 0:20, then\nfrom 62.5 to 70 seconds.", [Span(3723.46, 3730)]))
    assert page.links == ["#t=20.000", "#t=62.500", "#t=3723.460"]
    assert "1:02:03.5 – 1:02:10.0" in page.text
    assert ("br",) in page.tags


@pytest.mark.parametrize(
    ("reports", "shown"),
    [
        ([], "…"),
        ([Progress("looking at <b>holiday", 0.4, None)], "looking at <b>holiday: 40% …"),
        ([Progress("looking at a", 0.2, None), Progress("looking at a", 0.5, 61.2)], "looking at a: 50%, 0:01:01 left …"),
        # Everything was looked at: what is waited for now are words.
        ([Progress("looking at a", 1.0, 0.0)], "…"),
    ],
)
def test_where_an_answer_will_be_stands_how_far_the_looking_has_come(reports: list[Progress], shown: str) -> None:
    assert read_markdown(render.answer_progress(reports)).text.strip() == shown


def test_earlier_questions_and_answers_are_escaped_too() -> None:
    hostile = "![x](https://evil.example/p.png) <img src=x>"
    asked, told = render.history([AnsweredQuestion(hostile, hostile, (Span(1, 2),), Provenance("demo", "1", {}))])
    assert (asked["role"], told["role"]) == ("user", "assistant")
    assert read_markdown(asked["content"]).tags == [("p",)]
    assert read_markdown(told["content"]).links == ["#t=1.000"]


def test_captions_seek_the_player_and_say_when_they_are_stale() -> None:
    fresh, stale = (render.captions([caption("A red circle.")], is_outdated=stale) for stale in (False, True))
    assert 'data-seek="61.250" data-until="62.500"' in fresh
    assert "index the video again" in stale and "index the video again" not in fresh


def test_a_moment_opens_its_video_at_its_start_with_a_picture_of_its_middle() -> None:
    page = Skeleton(render.moments([Moment("aaaaaaaaaaaa", "t", Span(60.5, 61.5), "text", 0.5, "caption")]))
    assert page.links == ["/?video=aaaaaaaaaaaa&t=60.500", "/thumbnail/aaaaaaaaaaaa/61000.jpg"]


def test_a_job_tells_how_far_it_is_and_how_it_ended() -> None:
    running, done, failed = job("Indexing a"), job("Indexing a"), job("Indexing a", error="It is no video.")
    done.finished_event.set()
    failed.finished_event.set()
    assert "looking · 50% · 0:01:00 left" in Skeleton(render.job(running)).text
    assert Skeleton(render.job(done)).text == "Indexing a: done."
    done.note = "Nothing <b>there</b>."
    assert Skeleton(render.job(done)).text == "Indexing a: done. Nothing <b>there</b>."
    assert Skeleton(render.job(failed)).text == "Indexing a failed. It is no video."
