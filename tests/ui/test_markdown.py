"""Text of a user or a model is displayed as text: it never becomes HTML, Markdown or a link. Times are links."""

import re
from collections.abc import Callable

import pytest
from markdown_it import MarkdownIt

from longview.app.progress import Progress
from longview.indexing.library import AnsweredQuestion, Provenance
from longview.ui import markdown
from longview.video.timeline import Span
from tests.ui.parsed_page import HOSTILE, ParsedPage

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


def parse_markdown(source: str) -> ParsedPage:
    """Return the page that Markdown becomes, by a renderer as lenient as the browser's may be."""
    return ParsedPage(MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(source))


@pytest.mark.parametrize("text", HOSTILE_MARKDOWN)
@pytest.mark.parametrize("renderer", [markdown.escaped_markdown, markdown.answer], ids=["question", "answer"])
def test_text_in_markdown_is_escaped(renderer: Callable[[str], str], text: str) -> None:
    page = parse_markdown(renderer(f"Well, {text} and"))
    assert page.tags == [("p",)]
    assert page.text.strip() == f"Well, {text} and"
    bare = parse_markdown(renderer(text))
    assert {tag[0] for tag in bare.tags} <= {"p"}
    # The browser's renderer would turn these into links by itself.
    assert not re.search(r"https?://|www\.|\w@\w", renderer(text), re.IGNORECASE)


def test_times_and_citations_of_an_answer_seek_the_player() -> None:
    page = parse_markdown(markdown.answer("At 0:20, then\nfrom 62.5 to 70 seconds.", [Span(3723.46, 3730)]))
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
    assert parse_markdown(markdown.answer_progress(reports)).text.strip() == text


def test_earlier_questions_and_answers_are_escaped() -> None:
    hostile = "![x](https://evil.example/p.png) <img src=x>"
    question, answer = markdown.history([AnsweredQuestion(hostile, hostile, (Span(1, 2),), Provenance("demo", "1", {}))])
    assert (question["role"], answer["role"]) == ("user", "assistant")
    assert parse_markdown(question["content"]).tags == [("p",)]
    assert parse_markdown(answer["content"]).links == ["#t=1.000"]
