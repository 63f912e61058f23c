"""How far something long has come."""

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """One report."""

    stage: str
    """What is being done, in words."""
    fraction: float
    """Of everything, 0 to 1."""
    seconds_left: float | None
    """None while it cannot be told yet."""


OnProgress = Callable[[Progress], None]

MIN_FRACTION_FOR_ETA = 0.05
"""Before that part is done, the time left is anybody's guess."""


class StagedProgress:
    """Reports stages that each take a stated share of the whole."""

    def __init__(self, on_progress: OnProgress | None) -> None:
        self._on_progress = on_progress
        self._start = time.monotonic()
        self._stage, self._from, self._to = "", 0.0, 0.0

    def begin(self, stage: str, *, until: float) -> None:
        """A stage that ends when the part `until` of everything is done."""
        self._stage, self._from, self._to = stage, self._to, until
        self(0.0)

    def __call__(self, fraction_of_stage: float) -> None:
        """Report how far the current stage has come, 0 to 1."""
        if self._on_progress is None:
            return
        part = self._from + (self._to - self._from) * fraction_of_stage
        elapsed_s = time.monotonic() - self._start
        left_s = elapsed_s / part * (1 - part) if part >= MIN_FRACTION_FOR_ETA else None
        self._on_progress(Progress(self._stage, part, left_s))
