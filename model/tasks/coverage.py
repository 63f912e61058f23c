"""Coverage: the part of a video that an answer is based on. Every answer states it, above all "not in this video"."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from longview.core.time_format import format_spans, format_time
from longview.core.timeline import Span, merge_spans, subtract_spans

if TYPE_CHECKING:
    from longview.model.engine.base import VideoSession
    from longview.video.sampling_plan import SamplingPlan


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


@dataclass(frozen=True)
class WindowCoverage:
    """What one window adds to the coverage of a plan."""

    window: Span
    is_readable: bool
    """Whether it has decodable frames, and its reply was complete and could be parsed."""
    is_out_of_distribution: bool = False
    undecodable: tuple[Span, ...] = ()
    """Spans whose frames are damaged or missing."""
    frames: int = 0
    """Number of decoded frames."""
    prompt_tokens: int = 0
    """Number of tokens of the prompt with these frames."""
    max_gap_s: float = 0.0
    """Longest time between two frames, in seconds, if only key frames are decoded; 0 otherwise."""

    @property
    def uncovered(self) -> list[Span]:
        """Spans without decodable frames or a readable reply."""
        return list(self.undecodable) if self.is_readable else [self.window]


class CoverageTracker:
    """Collects the coverage of a plan, window by window."""

    def __init__(self, plan: "SamplingPlan", *, key_frames_only: bool = False) -> None:
        """`key_frames_only`: only key frames are decoded, so that the patch period is that of the sessions, not of the plan."""
        self._patch_period_s = plan.patch_period_s
        self._key_frames_only = key_frames_only
        self._windows: list[WindowCoverage] = []

    @property
    def has_gaps(self) -> bool:
        """Whether some frames or replies were unreadable. An event may then be present although it was not found."""
        return any(item.uncovered and not item.is_out_of_distribution for item in self._windows)

    @property
    def out_of_distribution(self) -> list[Span]:
        """Windows that are out-of-distribution for the checkpoint."""
        return [item.window for item in self._windows if item.is_out_of_distribution]

    def mark_uncovered(self, span: Span) -> None:
        """Note a window that has no decodable frames."""
        self.add_window(WindowCoverage(span, is_readable=False))

    def mark_out_of_distribution(self, span: Span) -> WindowCoverage:
        """Note a window that is out-of-distribution; return what it adds."""
        return self.add_window(WindowCoverage(span, is_readable=False, is_out_of_distribution=True))

    def add(self, session: "VideoSession", *, is_readable: bool = True) -> WindowCoverage:
        """Add the window of a session after its reply, and return what it adds.

        `is_readable`: the reply was complete and could be parsed.
        """
        window = session.window
        return self.add_window(
            WindowCoverage(
                window,
                is_readable,
                undecodable=tuple(
                    Span(max(span.start_s, window.start_s), min(span.end_s, window.end_s)) for span in session.undecodable
                ),
                frames=session.frames,
                prompt_tokens=session.prompt_tokens,
                max_gap_s=max_gap_s(session) if self._key_frames_only else 0.0,
            )
        )

    def add_window(self, coverage: WindowCoverage) -> WindowCoverage:
        """Add a window, also one of an earlier run; return it."""
        self._windows.append(coverage)
        return coverage

    def coverage(self) -> Coverage:
        """Return the coverage of all added windows. Seconds that several windows share count once."""
        covered_spans = [span for item in self._windows for span in subtract_spans(item.window, item.uncovered)]
        return Coverage(
            seconds=sum(span.duration_s for span in merge_spans(covered_spans)),
            frames=sum(item.frames for item in self._windows),
            patch_period_s=max([self._patch_period_s, *(item.max_gap_s for item in self._windows)]),
            uncovered=merge_spans(span for item in self._windows for span in item.uncovered),
            prompt_tokens=sum(item.prompt_tokens for item in self._windows),
        )


def max_gap_s(session: "VideoSession") -> float:
    """Return the longest time between two frames of a session, or from its last frame to the window's end, in seconds."""
    times_s = [time_s for patch in session.patches for time_s in (patch.first_frame_s, patch.last_frame_s)]
    return max(after - before for before, after in zip(times_s, [*times_s[1:], session.window.end_s], strict=True))
