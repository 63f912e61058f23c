"""Kinds of questions that are answered with quotes."""

import pytest

from longview.app.qa.quotes.questions import parse_question
from longview.core.timeline import Span

DURATION_S = 3600.0


@pytest.mark.parametrize(
    ("text", "kind", "topic", "span"),
    [
        ("What is said at 3:20?", "time", None, Span(200, 200)),
        ("what is shown on the screen between 2:00 and 2:30", "time", None, Span(120, 150)),
        ("What is said after two minutes?", "time", None, Span(120, DURATION_S)),
        ("first 20 seconds", "time", None, Span(0, 20)),
        ("What does she say about the budget between 2:00 and 20:00?", "content", None, Span(120, 1200)),
        ("When is the history of Rome mentioned?", "mentions", "history of Rome", None),
        ("When does she bring up Marie Curie?", "mentions", "Marie Curie", None),
        ("When are bats (the animals) mentioned?", "mentions", "bats", None),
        ("When does the roof get mentioned?", "mentions", "roof", None),
        ("How often do they talk about the mayor?", "mentions", "mayor", None),
        ("When does the logo appear?", "mentions", "logo", None),
        ("Wann wird der Leuchtturm erwähnt?", "mentions", "Leuchtturm", None),
        ("¿Cuándo se menciona el puente?", "mentions", "puente", None),
        ("등대는 언제 언급돼?", "mentions", "등대", None),
        ("When does the shop open?", "content", None, None),
        ("When was the lens introduced?", "content", None, None),
        ("When did the flood occur?", "content", None, None),
        ("When is it mentioned?", "nothing", None, None),
        ("What is it about?", "summary", None, None),
        ("Summarise the talk.", "summary", None, None),
        ("Summarize what they say about the library.", "content", None, None),
        ("What is the main point about the library?", "content", None, None),
        ("What colour is the car?", "looks", None, None),
        ("How many people are expected at the market?", "content", None, None),
        ("How many dogs can be seen?", "looks", None, None),
        ("What is she wearing?", "looks", None, None),
        ("What does he say about the colour of the car?", "content", None, None),
        ("Who pays for the school?", "content", None, None),
    ],
)
def test_question_has_its_kind_topic_and_time(text: str, kind: str, topic: str | None, span: Span | None) -> None:
    parsed = parse_question(text)
    assert (parsed.kind, parsed.question.about(DURATION_S).span) == (kind, span)
    if topic is not None:
        assert parsed.topic == topic


def test_only_mentions_in_words_need_no_frames() -> None:
    for text, in_words in (("When is tea mentioned?", True), ("When does the cup appear?", False)):
        assert parse_question(text).asks_for_words is in_words
