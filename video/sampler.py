"""The length-adaptive frame sampler: which frames to look at, at which size, for which price in tokens.

Pure arithmetic, no I/O. A Qwen3-VL prompt shows a video as temporal patches of two frames. A patch costs
`(height/32) * (width/32)` visual tokens, its `<t seconds>` marker, and one token each for vision start and end
(transformers `Qwen3VLProcessor`). Given a token budget and what the checkpoint was trained on, a plan keeps the
preferred frame rate as long as it can, gives up resolution first, then frames a second, and then splits the span
into windows; time is always covered from the first frame to the last.
"""

import bisect
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from longview.video.errors import ImpossiblePlan
from longview.video.probe import VideoInfo
from longview.video.time_text import format_time
from longview.video.timeline import Span

PATCH_SIDE_PX = 32
"""Pixels a side that become one visual token: patch 16, merged 2x2."""
FRAMES_PER_PATCH = 2
"""Frames in one temporal patch."""
OVERLAP_PATCHES = 4
"""Temporal patches that neighbouring windows share, so that an event on a border is whole in one of them."""
Purpose = Literal["watch", "caption", "look"]
"""watch: one session for questions. caption: overlapping windows. look: a short span at the finest trained step."""


@dataclass(frozen=True)
class TrainedRange:
    """What a checkpoint saw in training; plans stay inside it."""

    max_frames: int
    max_patches: int
    """Temporal patches in one prompt."""
    max_visual_tokens: int
    min_tokens_per_patch: int
    max_tokens_per_patch: int
    min_frame_period_s: float
    max_frame_period_s: float
    max_timestamp_s: float
    """The latest marker time; beyond it markers count from the window's own start."""
    frame_period_s: float = 0.5
    """The step that is chosen when nothing speaks against it."""
    caption_window_s: float = 180.0
    """Longest window to caption at once: a reply must hold all its events, and stay right about them."""


@dataclass(frozen=True)
class Budget:
    """How many tokens one prompt may have, and what else has to fit into them."""

    context_tokens: int
    """Prompt and reply together."""
    reserved_tokens: int
    """Of these: the chat template, the question and the reply."""
    trained: TrainedRange
    timestamp_tokens: Callable[[float], int]
    """Tokens of the marker `<t seconds>` with vision start and end, for t in seconds, by the loaded tokenizer."""


@dataclass(frozen=True)
class Window:
    """The frames of one prompt."""

    span: Span
    times_s: tuple[float, ...]
    """Where a frame is wanted, increasing and evenly spaced; two a temporal patch, of which the last may have but one."""
    frame_period_s: float
    """Seconds between two wanted frames."""
    clock_offset_s: float = 0.0
    """What is taken off a frame's time for its marker: 0, or the window's start beyond the trained times."""

    @property
    def temporal_patches(self) -> int:
        """Temporal patches; a lone last frame is shown twice."""
        return math.ceil(len(self.times_s) / FRAMES_PER_PATCH)


@dataclass(frozen=True)
class SamplingPlan:
    """What will be looked at and what it costs, before anything is decoded."""

    purpose: Purpose
    windows: tuple[Window, ...]
    height: int
    """Frame size in pixels, a multiple of 32."""
    width: int
    window_timestamp_tokens: tuple[int, ...]
    """For each window: tokens of its markers, with the vision start and end of each patch."""
    reserved_tokens: int
    """Of each window, for template, question and reply."""

    @property
    def span(self) -> Span:
        """From the start of the first window to the end of the last."""
        return Span(self.windows[0].span.start_s, self.windows[-1].span.end_s)

    @property
    def frames(self) -> int:
        """Frames in all windows; those in an overlap count twice."""
        return sum(len(window.times_s) for window in self.windows)

    @property
    def temporal_patches(self) -> int:
        """Temporal patches in all windows."""
        return sum(window.temporal_patches for window in self.windows)

    @property
    def tokens_per_patch(self) -> int:
        """Visual tokens of one temporal patch."""
        return (self.height // PATCH_SIDE_PX) * (self.width // PATCH_SIDE_PX)

    @property
    def visual_tokens(self) -> int:
        """Visual tokens in all windows."""
        return self.temporal_patches * self.tokens_per_patch

    @property
    def timestamp_tokens(self) -> int:
        """Tokens of all markers, with the vision start and end of each patch."""
        return sum(self.window_timestamp_tokens)

    @property
    def window_tokens(self) -> tuple[int, ...]:
        """For each window: its prompt and reply, which is what the budget bounds."""
        return tuple(
            window.temporal_patches * self.tokens_per_patch + stamps + self.reserved_tokens
            for window, stamps in zip(self.windows, self.window_timestamp_tokens, strict=True)
        )

    @property
    def total_tokens(self) -> int:
        """Visual tokens, markers and reserve of all windows."""
        return self.visual_tokens + self.timestamp_tokens + self.reserved_tokens * len(self.windows)

    @property
    def patch_period_s(self) -> float:
        """The patch period in seconds: the step to which a single look can tell time."""
        return FRAMES_PER_PATCH * self.windows[0].frame_period_s


def fit_grid(width: int, height: int, *, min_tokens: int, max_tokens: int) -> tuple[int, int]:
    """Rows and columns of visual tokens for a picture of that shape, with between `tokens_min` and `tokens_max` tokens.

    Weighs tokens against distortion of the aspect. A larger `tokens_max` never gives fewer tokens: candidates are
    only added, and an added one has more tokens than all before it.
    """
    aspect = width / height
    best, best_score = (1, 1), -1.0
    for rows in range(1, max_tokens + 1):
        near = int(rows * aspect)
        for columns in {max(1, near), near + 1, max(1, max_tokens // rows) if rows * max(1, near) > max_tokens else max(1, near)}:
            tokens = rows * columns
            if tokens > max_tokens:
                continue
            score = tokens * math.exp(-2 * abs(math.log(columns / rows / aspect)))
            if tokens < min_tokens:
                score *= 1e-3
            if score > best_score:
                best, best_score = (rows, columns), score
    return best


def plan(
    video: VideoInfo,
    budget: Budget,
    purpose: Purpose = "watch",
    *,
    start_s: float | None = None,
    end_s: float | None = None,
    fps: float | None = None,
    max_frames: int | None = None,
    shot_starts_s: Sequence[float] = (),
) -> SamplingPlan:
    """Choose windows, frame times and frame size for a video, or for the part of it from `start_s` to `end_s`.

    `fps` fixes the frames a second; without it the plan prefers the checkpoint's own rate ("look": its finest).
    `max_frames` bounds the frames of all windows together. `cuts_s`: where shots begin; two windows that share a cut meet there.

    More budget never gives more windows, and in as many windows never fewer frames times pixels. (When it makes one
    window of two, both are full; the sum over windows may then be less.)

    Raises:
        ImpossiblePlan: if span, rate, number of frames and budget cannot be had together; the message says what would do.
    """
    trained = budget.trained
    span = _span(video, start_s, end_s)
    step_s, longest_step_s = _frame_periods(video, trained, purpose, fps)
    grid = fit_grid(
        video.width,
        video.height,
        min_tokens=trained.min_tokens_per_patch,
        max_tokens=min(trained.max_tokens_per_patch, trained.min_tokens_per_patch * 5 // 4),
    )
    floor_tokens = grid[0] * grid[1]
    available = budget.context_tokens - budget.reserved_tokens
    patches_trained = min(trained.max_patches, trained.max_frames // FRAMES_PER_PATCH, trained.max_visual_tokens // floor_tokens)
    # What surely fits, whatever the times in the markers.
    dearest_marker = budget.timestamp_tokens(max(span.end_s, trained.max_timestamp_s) + 0.1)
    patches_limit = min(patches_trained, available // (floor_tokens + dearest_marker))
    if patches_limit < OVERLAP_PATCHES * 2:
        needed = budget.reserved_tokens + OVERLAP_PATCHES * 2 * (floor_tokens + dearest_marker)
        raise ImpossiblePlan(
            f"A context of {budget.context_tokens} tokens is too small; this checkpoint needs at least {needed}."
        )
    longest_s = patches_limit * FRAMES_PER_PATCH * (step_s if purpose == "caption" else longest_step_s)
    # A window that is longer than the latest trained time would pass it even by its own clock.
    longest_s = min(longest_s, trained.max_timestamp_s)
    if purpose == "caption":
        longest_s = min(longest_s, trained.caption_window_s)
    spans = _window_spans(span, longest_s, overlap_s=OVERLAP_PATCHES * FRAMES_PER_PATCH * step_s)
    spans = _snap_to_shots(shot_starts_s, spans)
    length_s = max(span.duration_s for span in spans)
    wished = min(max(1, math.ceil(length_s / (FRAMES_PER_PATCH * step_s) - 1e-6)), patches_trained)
    if max_frames is not None:
        wished = _limit_frames(max_frames, wished, spans, step_s if fps else longest_step_s, fps=fps)

    def windows_of(patches: int) -> tuple[Window, ...]:
        # Where there is room for it, the step is the wished one to the digit, and never finer.
        step = max(step_s, length_s / (patches * FRAMES_PER_PATCH))
        return tuple(_window(window_span, step, trained.max_timestamp_s) for window_span in spans)

    def stamps_of(window: Window) -> int:
        return sum(budget.timestamp_tokens(time_s) for time_s in _patch_timestamps(window))

    def fits(patches: int) -> bool:
        return max(map(stamps_of, windows_of(patches))) + patches * floor_tokens <= available

    patches = min(wished, patches_limit)
    if patches < wished:
        # Early times have shorter markers than the dearest.
        patches = bisect.bisect_left(range(patches + 1, wished + 1), True, key=lambda more: not fits(more)) + patches
    windows = windows_of(patches)
    stamps = [stamps_of(window) for window in windows]
    if patches == wished:
        # Only when time is covered as finely as wished is the rest spent on larger frames.
        source_tokens = math.ceil(video.width / PATCH_SIDE_PX) * math.ceil(video.height / PATCH_SIDE_PX)
        tokens_max = min(
            trained.max_tokens_per_patch,
            trained.max_visual_tokens // patches,
            (available - max(stamps)) // patches,
            max(floor_tokens, source_tokens),
        )
        larger = fit_grid(video.width, video.height, min_tokens=trained.min_tokens_per_patch, max_tokens=tokens_max)
        if larger[0] * larger[1] >= floor_tokens:
            grid = larger
    height, width = grid[0] * PATCH_SIDE_PX, grid[1] * PATCH_SIDE_PX
    return SamplingPlan(purpose, windows, height, width, tuple(stamps), budget.reserved_tokens)


def _limit_frames(
    max_frames: int, target_patches: int, spans: list[Span], max_frame_period_s: float, *, fps: float | None
) -> int:
    """Patches a window, as many as `max_frames` in all windows allow."""
    length_s = spans[0].duration_s
    needed = max(1, math.ceil(length_s / (FRAMES_PER_PATCH * max_frame_period_s) - 1e-6))
    patches = max_frames // (FRAMES_PER_PATCH * len(spans))
    if patches < needed:
        rate = f"{fps:g} frames a second" if fps else f"one frame every {max_frame_period_s:g} s, the least for this checkpoint,"
        raise ImpossiblePlan(
            f"{max_frames} frames are too few: {rate} over {format_time(sum(span.duration_s for span in spans))} "
            f"takes {needed * FRAMES_PER_PATCH * len(spans)}."
        )
    return min(target_patches, patches)


def _span(video: VideoInfo, start_s: float | None, end_s: float | None) -> Span:
    start = 0.0 if start_s is None else start_s
    end = video.duration_s if end_s is None else min(end_s, video.duration_s)
    if start < 0 or start >= video.duration_s:
        raise ImpossiblePlan(f"{format_time(start)} lies outside the video, which is {format_time(video.duration_s)} long.")
    if end <= start:
        raise ImpossiblePlan(f"The end ({format_time(end)}) must come after the start ({format_time(start)}).")
    return Span(start, end)


def _frame_periods(video: VideoInfo, trained: TrainedRange, purpose: Purpose, fps: float | None) -> tuple[float, float]:
    """The wanted seconds between frames, and the most that may be."""
    if fps is not None:
        finest, coarsest = 1 / trained.min_frame_period_s, 1 / trained.max_frame_period_s
        if not coarsest <= fps <= finest:
            raise ImpossiblePlan(
                f"{fps:g} frames a second cannot be had: this checkpoint was trained on {coarsest:g} to {finest:g}."
            )
        return 1 / fps, 1 / fps
    step_s = trained.min_frame_period_s if purpose == "look" else trained.frame_period_s
    return max(step_s, min(1 / video.fps_nominal, trained.max_frame_period_s)), trained.max_frame_period_s


def _window_spans(span: Span, max_window_s: float, *, overlap_s: float) -> list[Span]:
    """Equal windows of at most `longest_s` seconds that cover the span, neighbours sharing `overlap_s`."""
    if span.duration_s <= max_window_s + 1e-6:
        return [span]
    overlap_s = min(overlap_s, max_window_s / 4)
    count = math.ceil((span.duration_s - overlap_s) / (max_window_s - overlap_s) - 1e-9)
    length_s = (span.duration_s + (count - 1) * overlap_s) / count
    starts = [span.start_s + index * (length_s - overlap_s) for index in range(count)]
    return [Span(start, min(start + length_s, span.end_s)) for start in starts]


def _snap_to_shots(shot_starts_s: Sequence[float], spans: list[Span]) -> list[Span]:
    """The windows, where two that overlap both show a cut, only up to it and only from it: nothing goes on across a cut."""
    for index, (before, after) in enumerate(itertools.pairwise(spans)):
        shared = Span(after.start_s, before.end_s) if after.start_s < before.end_s else None
        cut_s = next((cut_s for cut_s in shot_starts_s if shared and shared.contains(cut_s)), None)
        if cut_s is not None and cut_s > before.start_s:
            spans[index] = Span(spans[index].start_s, cut_s)
            spans[index + 1] = Span(cut_s, after.end_s)
    return spans


def window_overlaps(plan: SamplingPlan) -> list[Span]:
    """What neighbouring windows share."""
    pairs = itertools.pairwise(window.span for window in plan.windows)
    return [Span(after.start_s, before.end_s) for before, after in pairs if after.start_s < before.end_s]


def _window(span: Span, frame_period_s: float, max_timestamp_s: float) -> Window:
    frames = max(1, math.ceil(span.duration_s / frame_period_s - 1e-6))
    times_s = tuple(span.start_s + index * frame_period_s for index in range(frames))
    return Window(span, times_s, frame_period_s, span.start_s if span.end_s > max_timestamp_s else 0.0)


def _patch_timestamps(window: Window) -> list[float]:
    pairs = itertools.zip_longest(window.times_s[::2], window.times_s[1::2], fillvalue=window.times_s[-1])
    return [(first + second) / 2 - window.clock_offset_s for first, second in pairs]
