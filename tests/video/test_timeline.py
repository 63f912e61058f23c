"""Spans, and the ways people write times."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longview.video.time_text import find_times, format_time, parse_time
from longview.video.timeline import Span, merge_spans

times = st.floats(0, 1e6)
spans = st.tuples(times, times).map(lambda pair: Span(*sorted(pair)))


@pytest.mark.parametrize(("start_s", "end_s"), [(2.0, 1.0), (math.nan, 1.0), (0.0, math.inf)])
def test_a_span_that_makes_no_sense_cannot_be_made(start_s: float, end_s: float) -> None:
    with pytest.raises(ValueError, match="span"):
        Span(start_s, end_s)


def test_a_span_is_half_open() -> None:
    assert Span(1, 2).contains(1)
    assert not Span(1, 2).contains(2)
    assert Span(1, 2).iou(Span(2, 3)) == 0


@given(spans, spans)
def test_iou_and_clamping_agree_about_what_two_spans_share(one: Span, other: Span) -> None:
    shared_s = one.clamped(other).duration_s
    assert shared_s == max(0.0, one.overlap_s(other))
    assert one.iou(other) == other.iou(one)
    assert 0 <= one.iou(other) <= 1
    assert one.iou(one) == (1 if one.duration_s else 0)
    inside = one.clamped(other)
    assert other.start_s <= inside.start_s <= inside.end_s <= other.end_s


@given(st.lists(spans, max_size=12), st.floats(0, 1000))
def test_merged_spans_cover_the_same_time_and_lie_apart(many: list[Span], gap_s: float) -> None:
    joined = merge_spans(many, gap_s=gap_s)
    assert all(any(whole.start_s <= span.start_s and span.end_s <= whole.end_s for whole in joined) for span in many)
    assert all(after.start_s - before.end_s > gap_s for before, after in zip(joined, joined[1:], strict=False))
    assert {edge for whole in joined for edge in (whole.start_s, whole.end_s)} <= {
        edge for span in many for edge in (span.start_s, span.end_s)
    }


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
def test_times_are_written_as_players_show_them(time_s: float, text: str) -> None:
    assert format_time(time_s) == text


@given(st.floats(0, 3_000_000))
def test_what_is_written_can_be_read_again(time_s: float) -> None:
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
def test_times_are_read_as_people_write_them(text: str, time_s: float) -> None:
    assert parse_time(text) == pytest.approx(time_s)


@pytest.mark.parametrize(
    "text",
    ["", "soon", "1:75", "1:2:3:4", "5 parsecs", "-5", "1e3", "nan", "inf", "1:", "minutes", "9" * 400, "9" * 400 + " hours"],
)
def test_what_is_no_time_is_refused_with_what_would_be_one(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time: write seconds"):
        parse_time(text)


@pytest.mark.parametrize(
    ("question", "found"),
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
def test_the_times_that_a_question_names_are_found(question: str, found: list[tuple[float, float]]) -> None:
    assert [(time.span.start_s, time.span.end_s) for time in find_times(question, duration_s=600)] == found


def test_a_reference_knows_where_it_stands_and_how_it_reads_in_seconds() -> None:
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
def test_no_question_breaks_the_search_for_times(question: str, duration_s: float) -> None:
    for time in find_times(question, duration_s=duration_s):
        assert 0 <= time.text_start < time.text_end <= len(question)
        assert time.is_point or time.span.start_s >= 0


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
def test_less_usual_ways_to_write_a_time(question: str, expected: tuple[float, float]) -> None:
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
def test_numbers_that_are_no_times_are_left_alone(question: str) -> None:
    assert find_times(question, duration_s=300) == ()
