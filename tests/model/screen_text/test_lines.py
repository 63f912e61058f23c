"""Lines of single frames become segments: what stays, moves, grows, flickers or counts is one line."""

from collections.abc import Sequence
from functools import partial

import pytest

from longview.core.timeline import Box, Segment, Span
from longview.model.screen_text.lines import LineTracker, Sight
from longview.model.screen_text.readings import RecognizedLine

NEVER, ALWAYS = (lambda _: False), (lambda _: True)


def line(
    text: str, *, top: float = 0.1, left: float = 0.1, right: float | None = None, confidence: float = 0.99
) -> RecognizedLine:
    return RecognizedLine(text, confidence, Box(left, top, right or min(1.0, left + 0.02 * len(text)), top + 0.08))


def merged(*frames: Sequence[RecognizedLine], is_still: bool = False) -> list[Segment]:
    """Merge the lines of frames, one a second. `is_still`: whether no pixels change from frame to frame."""
    tracker = LineTracker()
    for number, lines in enumerate(frames):
        time_s = float(number)
        unchanged = ALWAYS if is_still and number else NEVER
        changed_s = max(0.0, time_s - 0.4)
        tracker.update(Sight(time_s, lines, is_unchanged=unchanged, changed_at_s=partial(_always, changed_s)))
    tracker.close_all()
    return sorted(tracker.take_closed(), key=lambda segment: segment.span)


def _always(time_s: float, _: Box) -> float:
    return time_s


def texts(segments: Sequence[Segment]) -> list[str]:
    return [segment.text for segment in segments]


def test_best_reading_and_its_box_stand_for_a_line() -> None:
    readings = ["The harb0ur br1dge", "The harbour bridge", "The harbour bridge", "The harbour bndge"]
    frames = [[line(text, confidence=0.97 if "harbour bridge" in text else 0.85)] for text in readings]
    (segment,) = merged(*frames, [])
    assert (segment.text, segment.confidence, segment.source) == ("The harbour bridge", 0.97, "screen_text")
    assert segment.span.start_s == 0.0 and segment.span.end_s == pytest.approx(3.6) and segment.box == frames[1][0].box


def test_sure_readings_that_differ_are_different_lines() -> None:
    segments = merged(*[[line("The report of 2019")]] * 3, *[[line("The report of 2020")]] * 3)
    assert texts(segments) == ["The report of 2019", "The report of 2020"]
    assert segments[0].span.end_s == segments[1].span.start_s == pytest.approx(2.6)


def test_missed_line_is_bridged() -> None:
    shown = [line("A sign on the wall")]
    assert len(merged(shown, [], shown, [], [], [], [], shown)) == 2
    # The pixels tell that it is still there.
    assert len(merged(shown, [], [], [], [], [], shown, is_still=True)) == 1


def test_line_that_is_typed_is_one_segment() -> None:
    (segment,) = merged(*[[line("longview index holiday"[:end])] for end in (4, 8, 13, 22, 22)])
    assert (segment.text, segment.span.start_s) == ("longview index holiday", 0.0)
    # What is added far behind the rest changes none of its pixels.
    (segment,) = merged(*[[line("Budget:")]] * 5, [line("Budget: 12 million")], [], is_still=True)
    assert segment.text == "Budget: 12 million"


def test_scrolling_lines_keep_their_identity() -> None:
    names = [f"{name} as the {role}" for name in ("Anna", "Ben", "Clara", "Doris") for role in ("king", "cook")]
    frames = [
        [
            line(name, top=0.9 - 0.12 * time + 0.2 * number)
            for number, name in enumerate(names)
            if 0 <= 0.9 - 0.12 * time + 0.2 * number <= 0.9
        ]
        for time in range(20)
    ]
    segments = merged(*frames)
    assert sorted(texts(segments)) == sorted(names)


def test_lines_of_a_log_that_differ_in_digits_only_are_not_a_counter() -> None:
    frames = [
        [line(f"step {number} of the build", top=0.05 + 0.1 * row) for row, number in enumerate(range(time, time + 8))]
        for time in range(10)
    ]
    assert sorted(texts(merged(*frames)))[:2] == ["step 0 of the build", "step 1 of the build"]
    assert len(merged(*frames)) == 17


def test_ticker_is_joined() -> None:
    text = "Breaking news: the harbour bridge will be closed for three weeks because the engineers found cracks"
    frames = [[line(text[start : start + 40], left=0.0, right=1.0)] for start in range(0, len(text) - 39, 10)]
    (segment,) = merged(*frames)
    assert segment.text == text[: 40 + 10 * (len(frames) - 1)]
    # A line that begins with the last word of another one is no ticker.
    assert len(merged(*[[line("a report about the harbour")]] * 3, *[[line("harbour bridge is closed today")]] * 3)) == 2


def test_clock_is_one_segment() -> None:
    frames = [[line(f"12:00:{second:02d}"), line("Live from Berlin", top=0.5)] for second in range(20)]
    assert sorted(texts(merged(*frames))) == ["12:00:00 … 12:00:19", "Live from Berlin"]
    (count,) = merged(*[[line(f"Frame {number}")] for number in (1, 5, 10, 100)])
    assert count.text == "Frame 1 … Frame 100"


def test_line_that_fades_in_begins_with_its_first_trace() -> None:
    (segment,) = merged([], [line("Wel me he arbou", confidence=0.6)], *[[line("Welcome to the harbour")]] * 3)
    assert (segment.text, segment.span.start_s) == ("Welcome to the harbour", pytest.approx(0.6))


@pytest.mark.parametrize(
    "frames",
    [
        [[line("a brick wall", confidence=0.7)]] * 5,
        [[line("a brick wall", confidence=0.85)]],
        [[line("I", confidence=0.99)]] * 5,
        [[line("Ill", confidence=0.99)]],
    ],
    ids=["doubtful", "once and not sure", "one character", "once and short"],
)
def test_what_is_probably_no_text_is_dropped(frames: Sequence[Sequence[RecognizedLine]]) -> None:
    assert merged([], *frames, []) == []


def test_line_continues_from_its_segment() -> None:
    (stored,) = merged(*[[line("The title")]] * 3)
    tracker = LineTracker([stored])
    tracker.update(Sight(3.0, [line("The title")], is_unchanged=NEVER, changed_at_s=lambda _: 3.0))
    tracker.stay(5.0)
    assert [(segment.span, segment.text) for segment in tracker.open_segments()] == [(Span(0.0, 5.0), "The title")]
