"""Captions that are known to be no good are known when they are seen; good ones pass."""

from dataclasses import dataclass
from typing import Any, cast

import pytest

from longview.model.engine.base import Generation, VideoSession
from longview.model.tasks.quality import check_captions
from longview.model.tasks.replies import ParsedReply
from longview.video.timeline import Event, Span


@dataclass
class Reply:
    """How a reply ended."""

    is_complete: bool = True
    is_looping: bool = False


@dataclass
class Window:
    """A session's window."""

    window: Span = Span(0.0, 60.0)


def events(*told: tuple[float, float, str]) -> tuple[Event, ...]:
    return tuple(Event(Span(start_s, end_s), text) for start_s, end_s, text in told)


GOOD = events(
    (2, 7, "A dog runs."), (9, 20.5, "A cat sleeps."), (22, 25, "A dog runs."), (26, 59, "Rain falls."), (30, 34, "A car.")
)


def verdict(
    told: tuple[Event, ...] = GOOD, reply: Any = None, *, rejected: int = 0, is_json: bool = True, until_s: float = 60.0
) -> Any:
    window = cast(VideoSession, Window(Span(0.0, until_s)))
    return check_captions(cast(Generation, reply or Reply()), ParsedReply(told, rejected, is_json), window)


def test_good_captions_pass() -> None:
    assert verdict().passed


def test_a_timeline_that_goes_back_in_time_is_looked_at_again() -> None:
    reading = ParsedReply(GOOD, 0, is_json=True, is_in_order=False)
    found = check_captions(cast(Generation, Reply()), reading, cast(VideoSession, Window()))
    assert found.warnings == ("goes back in time",) and not found.passed


def grid(count: int, length_s: float = 6.0) -> tuple[Event, ...]:
    return events(*((at * length_s, (at + 1) * length_s, f"Scene {at}.") for at in range(count)))


WALK = events(*((at * 3.0, at * 3.0 + 2.9 - at % 3 / 3, "A person walks.") for at in range(19)))


@pytest.mark.parametrize(
    ("case", "fault"),
    [
        ({"reply": Reply(is_complete=False)}, "is cut off"),
        ({"reply": Reply(is_complete=False, is_looping=True)}, "goes in circles"),
        ({"is_json": False, "told": ()}, "cannot be read"),
        ({"rejected": 1}, "has times outside of the window"),
        ({"told": grid(10)}, "is an even grid"),
        # The last cell is cut short by the window's end.
        ({"told": (*grid(9), *events((54, 57, "Scene 9.")))}, "is an even grid"),
        (
            {"told": events(*((at * 3.0, at * 3.0 + 2.9 - at % 3 / 3, "A person walks.") for at in range(19)))},
            "repeats one sentence",
        ),
    ],
    ids=["cut off", "loop", "no JSON", "outside", "grid", "grid with a short end", "one sentence"],
)
def test_captions_that_are_no_good_are_known(case: dict[str, Any], fault: str) -> None:
    found = verdict(**case)
    assert fault in found.faults and not found.passed


@pytest.mark.parametrize(
    "told",
    [
        # Things do last equally long now and then.
        grid(4),
        events(*((at * 12.0, at * 12.0 + 5.0, f"Lap {at}.") for at in range(5))),
        # The same may happen again and again, with something between.
        events(*((at * 12.0, at * 12.0 + 3 + at % 3, "A ball is thrown.") for at in range(5))),
        (),
    ],
    ids=["few", "with gaps", "again and again", "nothing"],
)
def test_what_can_well_be_is_no_fault(told: tuple[Event, ...]) -> None:
    assert verdict(told).faults == ()


def test_a_timeline_that_stops_early_is_doubted_where_there_is_time_for_more() -> None:
    early = events((2, 7, "A dog runs."), (9, 12, "A cat sleeps."))
    assert verdict(early).doubts == ("stops early",) and verdict(early).faults == ()
    assert verdict((), until_s=60.0).doubts == ("stops early",)
    assert verdict(early, until_s=15.0).passed
