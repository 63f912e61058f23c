"""Captions with known faults fail the quality check; good captions pass."""

from typing import Any

import pytest

from longview.core.timeline import Event, Span
from longview.model.tasks.quality import QualityReport, check_captions
from longview.model.tasks.replies import ParsedReply
from tests.support.fakes import FakeGeneration, FakeSession


def make_events(*rows: tuple[float, float, str]) -> tuple[Event, ...]:
    return tuple(Event(Span(start_s, end_s), text) for start_s, end_s, text in rows)


def make_uniform_events(count: int, length_s: float = 6.0) -> tuple[Event, ...]:
    return make_events(*((index * length_s, (index + 1) * length_s, f"Scene {index}.") for index in range(count)))


GOOD = make_events(
    (2, 7, "A dog runs."), (9, 20.5, "A cat sleeps."), (22, 25, "A dog runs."), (26, 59, "Rain falls."), (30, 34, "A car.")
)
REPEATED = make_events(*((index * 3.0, index * 3.0 + 2.9 - index % 3 / 3, "A person walks.") for index in range(19)))


def check(
    events: tuple[Event, ...] = GOOD,
    generation: FakeGeneration | None = None,
    *,
    rejected: int = 0,
    has_form: bool = True,
    is_in_order: bool = True,
    window_end_s: float = 60.0,
) -> QualityReport:
    reply = ParsedReply(events, rejected, has_form, is_in_order)
    return check_captions(generation or FakeGeneration(), reply, FakeSession(Span(0.0, window_end_s)))


def test_good_captions_pass() -> None:
    assert check().has_passed


def test_events_out_of_order_give_a_warning() -> None:
    report = check(is_in_order=False)
    assert report.warnings == ("is not in order of time",) and not report.has_passed


@pytest.mark.parametrize(
    ("case", "error"),
    [
        ({"generation": FakeGeneration(is_complete=False)}, "is cut off"),
        ({"generation": FakeGeneration(is_complete=False, is_repetitive=True)}, "is repetitive"),
        ({"has_form": False, "events": ()}, "cannot be parsed"),
        ({"rejected": 1}, "has times outside of the window"),
        ({"events": make_uniform_events(10)}, "has uniform events"),
        # The window's end cuts the last event short.
        ({"events": (*make_uniform_events(9), *make_events((54, 57, "Scene 9.")))}, "has uniform events"),
        ({"events": REPEATED}, "repeats one sentence"),
    ],
    ids=["cut off", "repetitive", "no JSON", "outside", "uniform", "uniform with a short end", "one sentence"],
)
def test_faulty_captions_fail(case: dict[str, Any], error: str) -> None:
    report = check(**case)
    assert error in report.errors and not report.has_passed


@pytest.mark.parametrize(
    "events",
    [
        # A few events of the same length are plausible.
        make_uniform_events(4),
        make_events(*((index * 12.0, index * 12.0 + 5.0, f"Lap {index}.") for index in range(5))),
        # An event may recur with gaps.
        make_events(*((index * 12.0, index * 12.0 + 3 + index % 3, "A ball is thrown.") for index in range(5))),
        (),
    ],
    ids=["few", "with gaps", "recurring", "none"],
)
def test_plausible_captions_have_no_errors(events: tuple[Event, ...]) -> None:
    assert check(events).errors == ()


def test_early_end_gives_a_warning_in_a_long_window() -> None:
    early = make_events((2, 7, "A dog runs."), (9, 12, "A cat sleeps."))
    assert check(early).warnings == ("ends early",) and check(early).errors == ()
    assert check((), window_end_s=60.0).warnings == ("ends early",)
    assert check(early, window_end_s=15.0).has_passed
