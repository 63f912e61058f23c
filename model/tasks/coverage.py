"""Coverage: the part of a video that an answer is based on. Every answer states it, above all "not in this video"."""

from dataclasses import dataclass

from longview.model.engine.base import VideoSession
from longview.video.sampler import SamplingPlan
from longview.video.time_text import format_spans, format_time
from longview.video.timeline import Span, merge_spans, subtract_spans


@dataclass(frozen=True)
class Coverage:
    """The part of a video that was decoded and that a readable reply is about."""

    seconds: float
    """Total length of the covered spans, in seconds."""
    frames: int
    """Number of decoded frames."""
    patch_period_s: float
    """Time between two temporal patches, in seconds: a shorter event may have been missed."""
    uncovered: tuple[Span, ...] = ()
    """Spans that were planned, but have no decodable frames or no readable reply."""
    prompt_tokens: int = 0
    """Number of tokens of the prompts with these frames, as the engine or the server counted them."""

    def __str__(self) -> str:
        """One sentence for users, and a second one if spans are uncovered."""
        resolution_note = f"events shorter than {self.patch_period_s:.1f} s may have been missed"
        frames_text = "1 frame" if self.frames == 1 else f"{self.frames} frames"
        text = f"Searched {frames_text} over {format_time(self.seconds)}; {resolution_note}."
        if self.uncovered:
            spans = format_spans(*self.uncovered)
            text += f" These spans could not be searched: {spans}."
        return text


class CoverageTracker:
    """Collects the coverage of a plan, session by session."""

    def __init__(self, plan: SamplingPlan, *, key_frames_only: bool = False) -> None:
        """`key_frames_only`: only key frames are decoded, so that the patch period is that of the sessions, not of the plan."""
        self._patch_period_s = plan.patch_period_s
        self._key_frames_only = key_frames_only
        self._covered: list[Span] = []
        self._uncovered: list[Span] = []
        self.out_of_distribution: list[Span] = []
        """Windows that are out-of-distribution for the checkpoint."""
        self._frames = 0
        self._prompt_tokens = 0

    @property
    def has_gaps(self) -> bool:
        """Whether some frames or replies were unreadable. An event may then be present although it was not found."""
        return bool(self._uncovered)

    def mark_uncovered(self, span: Span, *, out_of_distribution: bool = False) -> None:
        """Note a window that has no decodable frames, or that is out-of-distribution."""
        (self.out_of_distribution if out_of_distribution else self._uncovered).append(span)

    def add(self, session: VideoSession, *, is_readable: bool = True) -> None:
        """Add the window of a session after its reply; `is_readable`: the reply was complete and could be parsed."""
        self._frames += session.frames
        self._prompt_tokens += session.prompt_tokens
        window = session.window
        if self._key_frames_only:
            self._patch_period_s = max(self._patch_period_s, max_gap_s(session))
        if not is_readable:
            self._uncovered.append(window)
            return
        gaps = [Span(max(span.start_s, window.start_s), min(span.end_s, window.end_s)) for span in session.undecodable]
        self._uncovered += gaps
        self._covered += subtract_spans(window, gaps)

    def coverage(self) -> Coverage:
        """Return the coverage of all added windows. Seconds that several windows share count once."""
        seconds = sum(span.duration_s for span in merge_spans(self._covered))
        uncovered = merge_spans([*self._uncovered, *self.out_of_distribution])
        return Coverage(seconds, self._frames, self._patch_period_s, uncovered, self._prompt_tokens)


def max_gap_s(session: VideoSession) -> float:
    """Return the longest time between two frames of a session, or from its last frame to the window's end, in seconds."""
    times_s = [time_s for patch in session.patches for time_s in (patch.first_frame_s, patch.last_frame_s)]
    return max(after - before for before, after in zip(times_s, [*times_s[1:], session.window.end_s], strict=True))
