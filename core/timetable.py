"""The timetable of a long operation: its stages with the times that they are expected to take, corrected by those that they take.

The first estimate is as good as what was learnt from earlier operations; each finished piece of a stage corrects it. Both are
blended, so that one slow piece at the beginning does not multiply the time that is left.
"""

from collections.abc import Sequence
from dataclasses import dataclass

PRIOR_SHARE = 0.5
"""Weight of what was expected of a stage at its beginning; what is observed of it has the weight 1 at its end."""
COUNTDOWN, MAX_COUNTDOWN = 0.5, 0.5
"""How fast the remaining time passes until the next news of a stage, in seconds per second: news that is late would lengthen it
again. The second is the maximum share of a stage's remaining time that passes so; after that it stands still."""
SLOWNESS_PRIOR = 1.0
"""Weight of the expected time of all stages where the slowness of those so far is transferred to the later ones."""
MIN_STAGE_S = 1e-3
MAX_GROWTH, MIN_SHOWN_GROWTH = 1.25, 1.6
"""Maximum growth of the remaining time over its least value so far, and growth from which it is shown in whole all the same.

Estimates are off by a factor up to the second (docs/performance.md), so a smaller growth may be undone by the next news. A larger
one means that the machine is busier, or the video other than expected.
"""


@dataclass
class _Stage:
    start: float
    """Its beginning, as a fraction of the operation."""
    end: float
    expected_s: float
    """Expected time from its beginning, in seconds."""
    start_s: float | None = None
    """Time at which it began; None: it has not."""
    skipped_to: float = 0.0
    """Fraction of the stage that is done without time: an earlier operation did it."""
    done: float = 0.0
    """Fraction of the rest of the stage that is done."""
    elapsed_s: float = 0.0
    """Time that it has taken at its last news, in seconds."""

    @property
    def total_s(self) -> float:
        """Time that it will take, by what was expected and observed."""
        weight = self.prior_weight
        return (weight * self.expected_s + self.elapsed_s) / (weight + self.done)

    @property
    def prior_weight(self) -> float:
        """Weight of what was expected, where what was observed has that of the fraction that is done."""
        return PRIOR_SHARE * (1.0 - self.done)

    def left_s(self, now_s: float) -> float:
        """Time that it will still take."""
        left_s = max(0.0, self.total_s * (1.0 - self.done))
        if self.start_s is None:
            return left_s
        since_news_s = now_s - self.start_s - self.elapsed_s
        return left_s - min(COUNTDOWN * max(0.0, since_news_s), MAX_COUNTDOWN * left_s)


class Timetable:
    """Stages one after another. Only the thread of the operation changes it; others may read the remaining time."""

    def __init__(self, start: float, end: float, expected_s: Sequence[float]) -> None:
        """`start`, `end`: the part of the operation that the stages are, as fractions; their lengths follow their times."""
        self.start, self.end = start, end
        lengths_s = [max(MIN_STAGE_S, seconds) for seconds in expected_s]
        unit = (end - start) / sum(lengths_s)
        self._stages: list[_Stage] = []
        for length_s, seconds in zip(lengths_s, expected_s, strict=True):
            stage_end = start + length_s * unit
            self._stages.append(_Stage(start, stage_end, max(0.0, seconds)))
            start = stage_end
        # Sums of fractions are not exact.
        self._stages[-1].end = end
        self._current = -1
        self._least_s = float("inf")
        """The least remaining time that was returned, in seconds."""

    @property
    def bounds(self) -> list[tuple[float, float]]:
        """Beginning and end of each stage, as fractions of the operation."""
        return [(stage.start, stage.end) for stage in self._stages]

    def begin(self, number: int, now_s: float) -> None:
        """Begin a stage; the one before it has ended."""
        if 0 <= self._current < number:
            self._end(self._stages[self._current], now_s)
        self._current = number
        self._stages[number].start_s = now_s

    @staticmethod
    def _end(stage: _Stage, now_s: float) -> None:
        stage.done = 1.0
        stage.elapsed_s = 0.0 if stage.start_s is None else now_s - stage.start_s

    def note(self, fraction: float, now_s: float, *, is_skipped: bool = False) -> None:
        """Note how far the operation has come, as a fraction of it. `is_skipped`: without time."""
        if self._current < 0:
            return
        stage = self._stages[self._current]
        within = min(1.0, max(0.0, (fraction - stage.start) / (stage.end - stage.start)))
        if is_skipped:
            stage.skipped_to = max(stage.skipped_to, within)
            return
        done_share = (within - stage.skipped_to) / max(1e-9, 1.0 - stage.skipped_to)
        if done_share > stage.done and stage.start_s is not None:
            stage.done, stage.elapsed_s = done_share, now_s - stage.start_s

    def expect(self, seconds: float, now_s: float) -> None:
        """Expect that the current stage takes so long from now on, in seconds, by what has become known in it."""
        if self._current >= 0 and (stage := self._stages[self._current]).start_s is not None:
            stage.elapsed_s = now_s - stage.start_s
            # The blend of expected and observed time has to give `seconds` for what is left of the stage.
            if (weight := stage.prior_weight) > 0.0:
                total_s = seconds / (1.0 - stage.done)
                stage.expected_s = max(0.0, (total_s * (weight + stage.done) - stage.elapsed_s) / weight)

    def seconds_left(self, now_s: float) -> float | None:
        """Return the time that the operation will still take, in seconds; None before its first stage."""
        if self._current < 0:
            return None
        current, later = self._stages[self._current], self._stages[self._current + 1 :]
        left_s = current.left_s(now_s) + self._slowness() * sum(stage.expected_s for stage in later)
        if left_s < MIN_SHOWN_GROWTH * self._least_s:
            left_s = min(left_s, MAX_GROWTH * self._least_s)
        self._least_s = min(self._least_s, left_s)
        return left_s

    def _slowness(self) -> float:
        """Return how much longer than expected the stages take so far, at least 1: the machine may be busier than it was.

        What takes less time than expected says little about later stages: the video may just have had less of one kind.
        """
        begun_stages = self._stages[: self._current + 1]
        prior_s = SLOWNESS_PRIOR * sum(stage.expected_s for stage in self._stages)
        expected_s = prior_s + sum(stage.expected_s * stage.done for stage in begun_stages)
        elapsed_s = prior_s + sum(stage.elapsed_s for stage in begun_stages)
        return max(1.0, elapsed_s / expected_s) if expected_s > 0 else 1.0
