"""The remaining time of an operation with stages: a slow start does not multiply it, and a wrong estimate is corrected."""

from collections.abc import Callable, Sequence

import pytest

from longview.core.progress import Progress
from longview.core.timetable import Timetable


def times_left(expected_s: Sequence[float], taken_s: Sequence[float], steps: int = 20) -> list[float]:
    """Return the remaining times of stages after each of their equal steps."""
    timetable, now_s, left_s = Timetable(0.0, 1.0, expected_s), 0.0, []
    for number, ((start, end), seconds) in enumerate(zip(timetable.bounds, taken_s, strict=True)):
        timetable.begin(number, now_s)
        for step in range(1, steps + 1):
            now_s += seconds / steps
            timetable.note(start + (end - start) * step / steps, now_s)
            left = timetable.seconds_left(now_s)
            assert left is not None
            left_s.append(left)
    return left_s


def growth(left_s: Sequence[float]) -> float:
    """Return the largest ratio of a remaining time to an earlier one, as far as they are not near the end."""
    return max(
        later / earlier for index, earlier in enumerate(left_s) for later in left_s[index:] if earlier > 0.05 * max(left_s)
    )


def test_remaining_time_is_that_of_the_estimate_where_it_holds() -> None:
    left_s = times_left([100.0, 20.0, 30.0], [100.0, 20.0, 30.0])
    assert left_s[9] == pytest.approx(100.0) and left_s[19] == pytest.approx(50.0) and left_s[-1] == pytest.approx(0.0)


@pytest.mark.parametrize("factor", [0.4, 1.5, 2.5])
def test_wrong_estimate_is_corrected_while_the_remaining_time_hardly_grows(factor: float) -> None:
    left_s = times_left([100.0, 100.0], [100.0 * factor, 100.0 * factor])
    assert growth(left_s) <= 1.25
    assert left_s[36] == pytest.approx(15.0 * factor, rel=0.3)


def test_growth_that_the_error_of_estimates_explains_is_not_shown_and_a_larger_one_is() -> None:
    timetable = Timetable(0.0, 1.0, [100.0])
    timetable.begin(0, 0.0)
    left_s = []
    for now_s, remaining_s in ((0.0, 100.0), (10.0, 140.0), (20.0, 170.0)):
        timetable.expect(remaining_s, now_s)
        left_s.append(timetable.seconds_left(now_s))
    assert left_s == pytest.approx([100.0, 125.0, 170.0])


def test_slow_first_step_does_not_multiply_the_remaining_time() -> None:
    timetable = Timetable(0.0, 1.0, [100.0, 50.0])
    timetable.begin(0, 0.0)
    timetable.note(0.01, 10.0)
    left_s = timetable.seconds_left(10.0)
    assert left_s is not None and left_s < 1.25 * 150.0


def test_remaining_time_passes_between_two_steps_and_stands_still_without_progress() -> None:
    timetable = Timetable(0.0, 1.0, [100.0])
    timetable.begin(0, 0.0)
    assert timetable.seconds_left(10.0) == pytest.approx(95.0)
    assert timetable.seconds_left(900.0) == timetable.seconds_left(950.0) == pytest.approx(50.0)


def test_stage_that_is_slower_than_expected_lengthens_the_later_ones_and_a_quick_one_does_not_shorten_them() -> None:
    slow, quick = times_left([50.0, 50.0], [100.0, 100.0]), times_left([50.0, 50.0], [5.0, 50.0])
    assert slow[19] > 57.0
    assert quick[19] == pytest.approx(50.0)


def test_what_an_earlier_run_has_done_takes_no_time() -> None:
    timetable = Timetable(0.0, 1.0, [100.0])
    timetable.begin(0, 0.0)
    timetable.note(0.6, 0.0, is_skipped=True)
    assert timetable.seconds_left(0.0) == pytest.approx(100.0)
    timetable.note(0.8, 50.0)
    assert timetable.seconds_left(50.0) == pytest.approx(50.0)


def test_new_expectation_replaces_the_remaining_time_of_a_stage() -> None:
    timetable = Timetable(0.0, 1.0, [10.0, 5.0])
    timetable.begin(0, 0.0)
    timetable.note(0.2, 3.0)
    timetable.expect(200.0, 3.0)
    assert timetable.seconds_left(3.0) == pytest.approx(205.0, rel=0.02)


def test_stages_of_an_operation_have_lengths_that_follow_their_times(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [100.0]
    clock: Callable[[], float] = lambda: now_s[0]  # noqa: E731
    monkeypatch.setattr("longview.core.progress.time.monotonic", clock)
    progress = Progress()
    stages = progress.child(0.1, 1.0).stages([("Listening", 60.0), ("Nothing", 0.0), ("Reading", 30.0)])
    first = next(stages)
    assert progress.report.stage == "Listening" and progress.report.seconds_left == pytest.approx(90.0)
    now_s[0] += 30.0
    first.update(0.5)
    assert progress.report.fraction == pytest.approx(0.4, abs=0.01) and progress.report.seconds_left == pytest.approx(60.0)
    now_s[0] += 30.0
    next(stages)
    next(stages).update(1.0)
    assert progress.report.fraction == pytest.approx(1.0) and progress.report.seconds_left == pytest.approx(0.0)


def test_stages_of_a_small_part_leave_the_remaining_time_to_the_operation() -> None:
    progress = Progress()
    next(progress.child(0.0, 0.3).stages([("Listening", 60.0)]))
    assert progress.report.seconds_left is None
