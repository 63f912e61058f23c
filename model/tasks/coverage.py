"""What was really looked at: said beside every answer, and above all beside "it is not in this video"."""

from dataclasses import dataclass

from longview.model.engine.base import VideoSession
from longview.video.sampler import SamplingPlan
from longview.video.time_text import format_time
from longview.video.timeline import Span, merge_spans, subtract_spans


@dataclass(frozen=True)
class Coverage:
    """What was looked at before something was said."""

    seconds: float
    frames: int
    patch_period_s: float
    """The patch period: what lasts shorter than this may have been missed."""
    uncovered: tuple[Span, ...] = ()
    """Parts that were meant to be looked at, but have no readable pictures or got no readable reply."""

    def __str__(self) -> str:
        """One sentence, for people."""
        missed = f"what lasts less than {self.patch_period_s:.1f} seconds could have been missed"
        said = f"Looked at {self.frames} frames over {format_time(self.seconds)}; {missed}."
        if self.uncovered:
            parts = ", ".join(f"{format_time(span.start_s)} to {format_time(span.end_s)}" for span in self.uncovered)
            said += f" Could not be looked at: {parts}."
        return said


class CoverageTracker:
    """Collects, session by session, how much of a plan was really looked at."""

    def __init__(self, plan: SamplingPlan, *, key_frames_only: bool = False) -> None:
        """`key_frames_only`: between two pictures that were looked at there are others that were not."""
        self._patch_period_s = plan.patch_period_s
        self._key_frames_only = key_frames_only
        self._covered: list[Span] = []
        self._uncovered: list[Span] = []
        self.out_of_distribution: list[Span] = []
        """Windows of a kind that the checkpoint does not know."""
        self._frames = 0

    @property
    def has_gaps(self) -> bool:
        """Whether pictures or replies could not be read somewhere, so that what was not found there may be there all the same."""
        return bool(self._uncovered)

    def mark_uncovered(self, span: Span, *, out_of_distribution: bool = False) -> None:
        """A window was not looked at: it has no readable pictures, or is of a kind that the checkpoint does not know."""
        (self.out_of_distribution if out_of_distribution else self._uncovered).append(span)

    def add(self, session: VideoSession, *, is_readable: bool = True) -> None:
        """A window was looked at; `understood`: its reply was complete and could be read."""
        self._frames += session.frames
        window = session.window
        if self._key_frames_only:
            self._patch_period_s = max(self._patch_period_s, max_gap_s(session))
        if not is_readable:
            self._uncovered.append(window)
            return
        lost = [Span(max(span.start_s, window.start_s), min(span.end_s, window.end_s)) for span in session.undecodable]
        self._uncovered += lost
        self._covered += subtract_spans(window, lost)

    def coverage(self) -> Coverage:
        """What all added windows come to; seconds that several windows share count once."""
        seconds = sum(span.duration_s for span in merge_spans(self._covered))
        return Coverage(seconds, self._frames, self._patch_period_s, merge_spans([*self._uncovered, *self.out_of_distribution]))


def max_gap_s(session: VideoSession) -> float:
    """The longest time in a window between two pictures that were looked at, or from the last one to the window's end."""
    times_s = [time_s for patch in session.patches for time_s in (patch.first_frame_s, patch.last_frame_s)]
    return max(after - before for before, after in zip(times_s, [*times_s[1:], session.window.end_s], strict=True))
