"""Text of a user or a model is displayed as text: it never becomes HTML, Markdown or a link. Times are links."""

import re
from collections.abc import Callable

import pytest
from markdown_it import MarkdownIt

from longview.core.progress import ProgressReport
from longview.core.timeline import Span
from longview.indexing.records.track import Provenance
from longview.indexing.records.video import AnsweredQuestion
from longview.ui import markdown
from tests.support.parsed_page import HOSTILE, ParsedPage

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


@pytest.mark.parametrize("text", HOSTILE_MARKDOWN)
def test_thoughts_are_escaped_in_a_closed_section_before_the_answer(text: str) -> None:
    thoughts = f"Well,\n\n{text}\r\n\n</details> and"
    page = parse_markdown(markdown.thoughts(thoughts) + markdown.answer("It is **red**."))
    assert {tag for tag in page.tags if tag not in {("br",), ("wbr",)}} == {("details",), ("summary",), ("p",)}
    assert page.words.replace(" ", "") == "".join(f"Thoughts{thoughts}It is **red**.".split())
    assert markdown.thoughts("") == ""


def test_cited_times_and_citations_play_their_intervals() -> None:
    page = parse_markdown(
        markdown.answer("At 20.5 seconds, then\nfrom 62.5 to 70 seconds.", [Span(20, 21), Span(62.46, 70), Span(3723.46, 3730)])
    )
    assert page.links == ["#t=20.500", "#t=62.500,70.000", "#t=20.000,21.000", "#t=62.460,70.000", "#t=3723.460,3730.000"]
    assert page.words.startswith("At 0:00:20.5, then from 0:01:02.5 to 0:01:10.0. Evidence: ")
    assert page.words.endswith(" 1:02:03.5 – 1:02:10.0")
    assert ("br",) in page.tags


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("At 12.5 seconds.", "At 0:00:12.5."),
        ("It is there at 0:12, and at 15.04s.", "It is there at 0:00:12.0, and at 0:00:15.0."),
        ("From 12.5 to 20.0 seconds.", "From 0:00:12.5 to 0:00:20.0."),
        ("Between twelve and 20 seconds.", "Between 0:00:12.0 and 0:00:20.0."),
        ("(12–20 seconds)", "(0:00:12.0 – 0:00:20.0)"),
        ("From 12.5 seconds or earlier to 20.0 seconds or later: a", "From 0:00:12.5 or earlier to 0:00:20.0 or later: a"),
        ("It stops after 12.5 seconds.", "It stops after 0:00:12.5."),
        ("A 15-second countdown lasts for 15 seconds.", "A 15-second countdown lasts for 15 seconds."),
        ("Models round: 11.4 seconds", "Models round: 0:00:11.4"),
    ],
)
def test_cited_times_are_shown_in_the_format_of_the_page(text: str, shown: str) -> None:
    citation = Span(12.0, 20.0)
    assert parse_markdown(markdown.answer(text, [citation])).words.partition(" Evidence:")[0] == shown
    library_answer = parse_markdown(markdown.plain_answer(text, [citation]))
    assert (library_answer.words, library_answer.links) == (shown, [])


@pytest.mark.parametrize(
    "text",
    [
        "This checkpoint answers only questions like these: When does … appear? What happens between 10 and 20 seconds?",
        "Not in this video: a ring. Searched 1202 frames over 0:10:00.0; events shorter than 0.5 s may have been missed.",
        "At 12.5 seconds",
    ],
)
def test_times_of_an_answer_without_citations_stay_text(text: str) -> None:
    page = parse_markdown(markdown.answer(text))
    assert (page.text.strip(), page.links) == (text, [])


def test_times_outside_of_the_citations_stay_text() -> None:
    page = parse_markdown(markdown.answer("At 0:25. (Only 0:10:00.0 to 0:20:00.0 was searched.)", [Span(24, 26)]))
    assert page.links == ["#t=25.000", "#t=24.000,26.000"]
    assert "(Only 0:10:00.0 to 0:20:00.0 was searched.)" in page.text


@pytest.mark.parametrize(
    ("report", "text"),
    [
        (ProgressReport("Reading <b>holiday", 0.4, None), "Reading <b>holiday: 40% …"),
        (ProgressReport("Reading a", 0.5, 61.2), "Reading a: 50%, 0:01:01 left …"),
        # All frames are prefilled; the first word is still to come.
        (ProgressReport("Reading a", 1.0, 0.0), "…"),
    ],
)
def test_progress_stands_where_the_answer_will_be(report: ProgressReport, text: str) -> None:
    assert parse_markdown(markdown.answer_progress(report)).text.strip() == text


def test_earlier_questions_and_answers_are_escaped() -> None:
    hostile = "![x](https://evil.example/p.png) <img src=x>"
    question, answer = markdown.history([AnsweredQuestion(hostile, hostile, (Span(1, 2),), Provenance("demo", "1", {}))])
    assert (question["role"], answer["role"]) == ("user", "assistant")
    assert parse_markdown(question["content"]).tags == [("p",)]
    assert parse_markdown(answer["content"]).links == ["#t=1.000,2.000"]


@pytest.mark.timeout(60)
def test_answer_that_quotes_a_long_number_is_rendered_at_once() -> None:
    text, citation = f"“The password is {'1' * 6000}” (at 12.5 seconds). ", Span(12, 13)
    for answer in (text, text + " " * 6000 + "x", "1:" * 100_000, "from 5 - " * 20_000):
        markdown.answer(answer, [citation])
        markdown.plain_answer(answer, [citation])
    assert parse_markdown(markdown.answer(text, [citation])).links == ["#t=12.500", "#t=12.000,13.000"]


def test_answer_with_any_number_of_citations_lists_some_of_them() -> None:
    citations = [Span(10.0 * number, 10.0 * number + 1) for number in range(100_000)]
    text = markdown.answer("At 0:50 and at 0:55. " + "0:20 " * 4000, citations)
    assert text.startswith("At [0:00:50.0](#t=50.000) and at 0:55. [0:00:20.0](#t=20.000)")
    assert "and 99,800 more" in text
    assert len(markdown.answer("word " * 1_000_000)) < 60_000
