"""Progress and cancellation of a long operation.

One `Progress` goes through all layers of an operation, down to the decoder and the generation of single tokens. The thread
of the operation updates it. Other threads read its report, and cancel the operation with it.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from longview.core.timetable import Timetable

MIN_FRACTION_FOR_ETA = 0.05
"""Minimum completed fraction from which the remaining time is estimated."""
MIN_TIMETABLE_SHARE = 0.8
"""Minimum share of an operation whose stages tell the remaining time of all of it."""
CANCEL_POLL_S = 0.2
"""Maximum time between two checks for a cancellation while an operation waits, in seconds."""


class Cancelled(Exception):
    """The caller cancelled the operation. It is not an error of any package, so that no handler treats it as one."""

    code = "cancelled"

    def __init__(self) -> None:
        super().__init__("Cancelled.")


@dataclass(frozen=True)
class ProgressReport:
    """The state of an operation at one time."""

    stage: str
    """The name of the current stage."""
    fraction: float
    """The completed fraction of the whole operation, 0 to 1."""
    seconds_left: float | None
    """Estimated remaining time, in seconds; None as long as it cannot be estimated."""


class _Operation:
    """The state that all children of one progress share. Access to single attributes is atomic, so no lock is needed."""

    def __init__(self) -> None:
        self.start_s = time.monotonic()
        self.stage = ""
        self.fraction = 0.0
        self.skipped_fraction = 0.0
        self.timetable: Timetable | None = None
        self.cancel_event = threading.Event()


class Progress:
    """The progress of an operation, or of a part of it (`child`)."""

    def __init__(self) -> None:
        """Begin an operation, at the fraction 0."""
        self._operation = _Operation()
        self._start, self._end = 0.0, 1.0

    def child(self, start: float, end: float, stage: str = "") -> "Progress":
        """Begin the part of this operation between two fractions. `stage`: name of a new stage; by default it stays the same.

        Raises:
            Cancelled: see `update`.
        """
        part = Progress.__new__(Progress)
        part._operation = self._operation
        length = self._end - self._start
        part._start, part._end = self._start + start * length, self._start + end * length
        if stage:
            self._operation.stage = stage
        part.update(0.0)
        return part

    def steps(self, count: int) -> Iterator["Progress"]:
        """Yield `count` children of equal length, each when it begins."""
        for number in range(count):
            yield self.child(number / count, (number + 1) / count)

    def stages(self, stages: Sequence[tuple[str, float]]) -> Iterator["Progress"]:
        """Yield a child for each stage when it begins. `stages`: their names, and the times that they are expected to take.

        Their lengths follow these times, in seconds, and so does the remaining time of the operation, if they are most of it.
        """
        timetable = Timetable(self._start, self._end, [seconds for _, seconds in stages])
        if self._end - self._start >= MIN_TIMETABLE_SHARE:
            self._operation.timetable = timetable
        length = max(1e-12, self._end - self._start)
        for number, ((name, _), (start, end)) in enumerate(zip(stages, timetable.bounds, strict=True)):
            timetable.begin(number, time.monotonic())
            yield self.child((start - self._start) / length, (end - self._start) / length, name)

    def expect(self, seconds: float) -> None:
        """State how long the current stage takes from now on, in seconds, by what has become known in it; see `stages`."""
        if (timetable := self._operation.timetable) is not None:
            timetable.expect(seconds, time.monotonic())

    def update(self, fraction: float) -> None:
        """Set the completed fraction of this part, 0 to 1. The progress of the operation never moves back.

        Raises:
            Cancelled: the operation was cancelled.
        """
        self.raise_if_cancelled()
        fraction = self._start + (self._end - self._start) * min(1.0, max(0.0, fraction))
        self._advance(fraction, is_skipped=False)

    def _advance(self, fraction: float, *, is_skipped: bool) -> None:
        operation = self._operation
        operation.fraction = max(operation.fraction, fraction)
        if operation.timetable is not None:
            operation.timetable.note(operation.fraction, time.monotonic(), is_skipped=is_skipped)

    def skip(self, fraction: float) -> None:
        """Set the completed fraction of this part, 0 to 1, where an earlier operation did it: it says nothing of the speed.

        Raises:
            Cancelled: the operation was cancelled.
        """
        self.raise_if_cancelled()
        before = self._operation.fraction
        self._advance(self._start + (self._end - self._start) * min(1.0, max(0.0, fraction)), is_skipped=True)
        self._operation.skipped_fraction += self._operation.fraction - before

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Name another stage while a block runs, such as a wait. In the end the stage before it is the current one again."""
        operation = self._operation
        earlier_stage, operation.stage = operation.stage, name
        try:
            yield
        finally:
            operation.stage = earlier_stage

    def restart_clock(self) -> None:
        """Measure the time of the operation from now on, for one that waited before it began."""
        self._operation.start_s = time.monotonic()

    def cancel(self) -> None:
        """Cancel the whole operation, from any thread: its next `update` or `raise_if_cancelled` raises `Cancelled`."""
        self._operation.cancel_event.set()

    @property
    def is_cancelled(self) -> bool:
        """Whether the operation was cancelled."""
        return self._operation.cancel_event.is_set()

    def raise_if_cancelled(self) -> None:
        """Raise `Cancelled` if the operation was cancelled."""
        if self.is_cancelled:
            raise Cancelled

    @contextmanager
    def holding(self, lock: threading.Lock) -> Iterator[None]:
        """Hold a lock; a cancellation also ends the wait for it.

        Raises:
            Cancelled: the operation was cancelled before the lock was free.
        """
        while not lock.acquire(timeout=CANCEL_POLL_S):
            self.raise_if_cancelled()
        try:
            yield
        finally:
            lock.release()

    @property
    def report(self) -> ProgressReport:
        """The state of the whole operation."""
        operation = self._operation
        fraction, elapsed_s = operation.fraction, time.monotonic() - operation.start_s
        if operation.timetable is not None and (left_s := operation.timetable.seconds_left(time.monotonic())) is not None:
            return ProgressReport(operation.stage, fraction, left_s)
        done_fraction = fraction - operation.skipped_fraction
        has_estimate = done_fraction >= MIN_FRACTION_FOR_ETA
        return ProgressReport(operation.stage, fraction, elapsed_s / done_fraction * (1 - fraction) if has_estimate else None)


class _Unfollowed(Progress):
    """A progress that is never read. It holds no state, because all operations of the process share it."""

    def child(self, start: float, end: float, stage: str = "") -> Progress:  # noqa: ARG002
        return self

    def update(self, fraction: float) -> None:
        """Do nothing."""

    def stages(self, stages: Sequence[tuple[str, float]]) -> Iterator["Progress"]:
        for _ in stages:
            yield self

    def expect(self, seconds: float) -> None:
        """Do nothing."""

    def skip(self, fraction: float) -> None:
        """Do nothing."""

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:  # noqa: ARG002
        yield

    def cancel(self) -> None:
        raise AssertionError("an operation without a progress of its own cannot be cancelled")


NO_PROGRESS: Progress = _Unfollowed()
"""The default progress, for an operation that is neither followed nor cancelled."""
