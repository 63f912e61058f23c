"""What was really looked at: said beside every answer, and above all beside "it is not in this video"."""

from dataclasses import dataclass

from model.engine import VideoSession
from video.sampler import SamplingPlan
from video.timeline import Span, format_time, merged, without


@dataclass(frozen=True)
class Coverage:
    """What was looked at before something was said."""

    seconds: float
    frames: int
    grain_s: float
    """The patch period: what lasts shorter than this may have been missed."""
    unseen: tuple[Span, ...] = ()
    """Parts that were meant to be looked at, but have no readable pictures or got no readable reply."""

    def __str__(self) -> str:
        """One sentence, for people."""
        missed = f"what lasts less than {self.grain_s:.1f} seconds could have been missed"
        said = f"Looked at {self.frames} frames over {format_time(self.seconds)}; {missed}."
        if self.unseen:
            parts = ", ".join(f"{format_time(span.start_s)} to {format_time(span.end_s)}" for span in self.unseen)
            said += f" Could not be looked at: {parts}."
        return said


class Seen:
    """Collects, session by session, how much of a plan was really looked at."""

    def __init__(self, plan: SamplingPlan, *, key_frames_only: bool = False) -> None:
        """`key_frames_only`: between two pictures that were looked at there are others that were not."""
        self._grain_s = plan.grain_s
        self._key_frames_only = key_frames_only
        self._seen: list[Span] = []
        self._unseen: list[Span] = []
        self.unfamiliar: list[Span] = []
        """Windows of a kind that the checkpoint does not know."""
        self._frames = 0

    @property
    def is_blind(self) -> bool:
        """Whether pictures or replies could not be read somewhere, so that what was not found there may be there all the same."""
        return bool(self._unseen)

    def missed(self, span: Span, *, unfamiliar: bool = False) -> None:
        """A window was not looked at: it has no readable pictures, or is of a kind that the checkpoint does not know."""
        (self.unfamiliar if unfamiliar else self._unseen).append(span)

    def add(self, session: VideoSession, *, understood: bool = True) -> None:
        """A window was looked at; `understood`: its reply was complete and could be read."""
        self._frames += session.frames
        window = session.window
        if self._key_frames_only:
            self._grain_s = max(self._grain_s, widest_gap_s(session))
        if not understood:
            self._unseen.append(window)
            return
        lost = [Span(max(span.start_s, window.start_s), min(span.end_s, window.end_s)) for span in session.unreadable]
        self._unseen += lost
        self._seen += without(window, lost)

    def coverage(self) -> Coverage:
        """What all added windows come to; seconds that several windows share count once."""
        seconds = sum(span.duration_s for span in merged(self._seen))
        return Coverage(seconds, self._frames, self._grain_s, merged([*self._unseen, *self.unfamiliar]))


def widest_gap_s(session: VideoSession) -> float:
    """The longest time in a window between two pictures that were looked at, or from the last one to the window's end."""
    times_s = [time_s for patch in session.patches for time_s in (patch.first_s, patch.last_s)]
    return max(after - before for before, after in zip(times_s, [*times_s[1:], session.window.end_s], strict=True))
