"""Tests of times in text: formatting, parsing, and finding them in questions."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longview.core.time_format import format_time
from longview.core.time_text import find_times, parse_time
from longview.core.timeline import Span


@pytest.mark.parametrize(
    ("time_s", "text"),
    [
        (0, "0:00:00.0"),
        (3723.46, "1:02:03.5"),
        (59.96, "0:01:00.0"),
        (3599.99, "1:00:00.0"),
        (90000, "25:00:00.0"),
        (-1.5, "-0:00:01.5"),
    ],
)
def test_times_are_formatted_as_in_players(time_s: float, text: str) -> None:
    assert format_time(time_s) == text


@given(st.floats(0, 3_000_000))
def test_formatted_time_parses_to_the_same_time(time_s: float) -> None:
    assert parse_time(format_time(time_s)) == pytest.approx(time_s, abs=0.0501)


@pytest.mark.parametrize(
    ("text", "time_s"),
    [
        ("75", 75),
        (" 12.5 ", 12.5),
        ("12,5", 12.5),
        ("1:15", 75),
        ("90:00", 5400),
        ("1:02:03.5", 3723.5),
        ("00:00:07,250", 7.25),
        ("2 minutes", 120),
        ("1h 5m", 3900),
        ("1 hour, 2 minutes and 3 seconds", 3723),
        ("two minutes", 120),
        ("a minute and 20 seconds", 80),
        ("half an hour", 1800),
        ("two and a half minutes", 150),
        ("90s", 90),
        ("Twelve Seconds", 12),
    ],
)
def test_times_are_parsed_in_all_spellings(text: str, time_s: float) -> None:
    assert parse_time(text) == pytest.approx(time_s)


@pytest.mark.parametrize(
    "text",
    ["", "soon", "1:75", "1:2:3:4", "5 parsecs", "-5", "1e3", "nan", "inf", "1:", "minutes", "9" * 400, "9" * 400 + " hours"],
)
def test_error_for_an_invalid_time_shows_valid_formats(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time: write seconds"):
        parse_time(text)


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("What happens at 12.5 seconds?", [(12.5, 12.5)]),
        ("What is shown at 1:15?", [(75, 75)]),
        ("What happens between 12 and 20 seconds?", [(12, 20)]),
        ("What happens from 1 to 2 minutes?", [(60, 120)]),
        ("Describe 0:30-1:10.", [(30, 70)]),
        ("Describe 1:10 to 0:30.", [(30, 70)]),
        ("What happens after two minutes?", [(120, 600)]),
        ("What happens before the 1:00 mark?", [(0, 60)]),
        ("Summarise the first five minutes.", [(0, 300)]),
        ("What is seen in the last 30 seconds?", [(570, 600)]),
        ("What happens in the last minute?", [(540, 600)]),
        ("Compare 0:10 with 0:50.", [(10, 10), (50, 50)]),
        ("What happens between 9:00 and 20:00?", [(540, 600)]),
        ("What is at 45 minutes?", [(2700, 2700)]),
        ("Which shots are longer than 5 seconds?", []),
        ("Does anyone speak for two minutes?", []),
        ("How many dogs are there?", []),
        ("Who scored between the 2 goals and 3 fouls?", []),
        ("", []),
    ],
)
def test_times_in_a_question_are_found(question: str, expected: list[tuple[float, float]]) -> None:
    assert [(time.span.start_s, time.span.end_s) for time in find_times(question, duration_s=600)] == expected


def test_reference_has_its_position_and_text_in_seconds() -> None:
    question = "What happens between 1 and 2 minutes, and at 0:05?"
    span, point = find_times(question, duration_s=600)
    assert question[span.text_start : span.text_end] == "between 1 and 2 minutes"
    assert span.in_seconds == "between 60.0 and 120.0 seconds"
    assert question[point.text_start : point.text_end] == "0:05"
    assert (span.is_point, point.is_point) == (False, True)


words = st.sampled_from(
    [
        "between",
        "and",
        "from",
        "to",
        "first",
        "last",
        "after",
        "1:10",
        "12",
        "5.5",
        "-3",
        "half an",
        "hour",
        "minutes",
        "s",
        "-",
        "0:99",
    ]
)
digits = st.sampled_from(["9" * 10, "9" * 310])


@settings(max_examples=100, deadline=None)
@given(st.lists(words | digits | st.text(max_size=6), max_size=9).map(" ".join), st.floats(0.04, 1e5))
def test_find_times_accepts_any_question(question: str, duration_s: float) -> None:
    for reference in find_times(question, duration_s=duration_s):
        assert 0 <= reference.text_start < reference.text_end <= len(question)
        assert reference.is_point or reference.span.start_s >= 0


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("What is at 3m20s?", (200, 200)),
        ("What happens 10 seconds before the end?", (290, 290)),
        ("What is at minute 3?", (180, 180)),
        ("What is at the 2-minute mark?", (120, 120)),
        ("What happens between 12 and 20?", (12, 20)),
        ("What happens at -5 seconds?", (-5, -5)),
        ("What happens at 2m?", (120, 120)),
    ],
)
def test_rare_spellings_of_a_time_are_found(question: str, expected: tuple[float, float]) -> None:
    (reference,) = find_times(question, duration_s=300)
    assert (reference.span.start_s, reference.span.end_s) == expected


@pytest.mark.parametrize(
    "question",
    [
        "Is there a second dog?",
        "Who wins the 100 m race?",
        "Who wins the 100m race?",
        "Is that a 1920s car?",
        "Are there between 12 and 20 dogs?",
    ],
)
def test_numbers_that_are_not_times_are_ignored(question: str) -> None:
    assert find_times(question, duration_s=300) == ()


@pytest.mark.parametrize("unit", ["1", " ", "1:", "5 - ", "5h, ", "half a ", "1 hour and ", "from 1 to ", "for ", "1 and a "])
@pytest.mark.timeout(60)
def test_times_are_found_in_linear_time(unit: str) -> None:
    find_times("from 5" + unit * (50_000 // len(unit)) + "x", duration_s=3600)


@pytest.mark.parametrize(
    ("question", "minus"), [("at -5 seconds", True), ("-5 seconds", True), ("2-5 seconds", False), ("x-5 seconds", False)]
)
def test_minus_before_a_time_is_no_hyphen(question: str, minus: bool) -> None:
    (reference,) = find_times(question, duration_s=60)
    assert (reference.span.start_s < 0) == minus


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("zwischen 3:00 und 3:20", Span(180, 200)),
        ("von 3:00 bis 3:20", Span(180, 200)),
        ("entre 3:00 et 3:20", Span(180, 200)),
        ("de 3:00 a 3:20", Span(180, 200)),
        ("3:00부터 3:20까지", Span(180, 200)),
        ("3:00から3:20まで", Span(180, 200)),
        ("nach 0:40", Span(40, 900)),
        ("avant 0:40", Span(0, 40)),
        ("después de 0:40", Span(40, 900)),
        ("0:40 이후에", Span(40, 900)),
        ("0:40の前に", Span(0, 40)),
        ("bei 5 Minuten 20 Sekunden", Span(320, 320)),
        ("en el minuto 5", Span(300, 300)),
        ("3분 20초에", Span(200, 200)),
        ("3分20秒に", Span(200, 200)),
        ("2:00と2:30の間", Span(120, 150)),
        ("at 2 minutes and 12 seconds", Span(132, 132)),
        ("one minute and 12 seconds", Span(72, 72)),
    ],
)
def test_times_in_other_languages(text: str, span: Span) -> None:
    (reference,) = find_times(text, duration_s=900.0)
    assert reference.span == span
    assert reference.in_seconds.isascii()
