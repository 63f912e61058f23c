"""Progress of long operations."""

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """One progress report."""

    stage: str
    """The name of the current stage."""
    fraction: float
    """The completed fraction of the whole operation, 0 to 1."""
    seconds_left: float | None
    """Estimated remaining time, in seconds; None as long as it cannot be estimated."""


OnProgress = Callable[[Progress], None]

MIN_FRACTION_FOR_ETA = 0.05
"""Minimum fraction from which the remaining time is estimated."""


class StagedProgress:
    """Reports stages that each take a stated share of the whole operation."""

    def __init__(self, on_progress: OnProgress | None) -> None:
        self._on_progress = on_progress
        self._start = time.monotonic()
        self._stage, self._from, self._to = "", 0.0, 0.0

    def begin(self, stage: str, *, until: float) -> None:
        """Begin a stage that ends when the fraction `until` of the whole is done."""
        self._stage, self._from, self._to = stage, self._to, until
        self(0.0)

    def __call__(self, fraction_of_stage: float) -> None:
        """Report the completed fraction of the current stage, 0 to 1."""
        if self._on_progress is None:
            return
        fraction = self._from + (self._to - self._from) * fraction_of_stage
        elapsed_s = time.monotonic() - self._start
        left_s = elapsed_s / fraction * (1 - fraction) if fraction >= MIN_FRACTION_FOR_ETA else None
        self._on_progress(Progress(self._stage, fraction, left_s))
