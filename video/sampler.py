"""Length-adaptive frame sampling: select timestamps, frame size and windows for a token budget.

The module is pure arithmetic without I/O. A Qwen3-VL prompt represents a video as temporal patches of two frames. A patch
takes `(height/32) * (width/32)` visual tokens, the tokens of its `<t seconds>` timestamp, and one token each for vision start
and end (transformers `Qwen3VLProcessor`). A plan stays within the token budget and the checkpoint's trained range. It reduces
the resolution first, then the frame rate, and then splits the span into windows. The whole span is always covered.
"""

import bisect
import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from longview.core.time_format import format_time
from longview.core.timeline import Span
from longview.video.errors import ContextTooShort, ImpossiblePlan
from longview.video.sampling_plan import FRAMES_PER_PATCH, PATCH_SIDE_PX, Budget, Purpose, SamplingPlan, TrainedRange, Window

if TYPE_CHECKING:
    from longview.video.probing.probe import VideoInfo

OVERLAP_PATCHES = 4
"""Temporal patches that neighbouring windows share, so that an event at a boundary is complete in one of them."""


def fit_grid(width: int, height: int, *, min_tokens: int, max_tokens: int) -> tuple[int, int]:
    """Return rows and columns of visual tokens for a frame of that aspect ratio, with `min_tokens` to `max_tokens` tokens.

    The score weighs the number of tokens against the distortion of the aspect ratio. A larger `max_tokens` never gives fewer
    tokens: it only adds candidates, and each of them has more tokens than all others.
    """
    aspect_ratio = width / height
    best, best_score = (1, 1), -1.0
    for rows in range(1, max_tokens + 1):
        nearest = int(rows * aspect_ratio)
        base = max(1, nearest)
        for columns in {base, nearest + 1, max(1, max_tokens // rows) if rows * base > max_tokens else base}:
            tokens = rows * columns
            if tokens > max_tokens:
                continue
            score = tokens * math.exp(-2 * abs(math.log(columns / rows / aspect_ratio)))
            if tokens < min_tokens:
                score *= 1e-3
            if score > best_score:
                best, best_score = (rows, columns), score
    return best


def plan_sampling(
    video: "VideoInfo",
    budget: Budget,
    purpose: Purpose = "qa",
    *,
    span: Span | None = None,
    fps: float | None = None,
    max_frames: int | None = None,
    shot_starts_s: Sequence[float] = (),
) -> SamplingPlan:
    """Select windows, timestamps and frame size for a video, or for the part of it that is in `span`.

    `fps` fixes the frame rate; without it the plan prefers the checkpoint's own rate ("refine": its highest). `max_frames` limits
    the frames of all windows together. `shot_starts_s`: starts of shots; two windows that overlap at a shot start meet there.

    A larger budget never gives more windows, and never fewer frames times pixels in the same number of windows. (If it gives
    one window instead of two, both of which were full, the sum over windows may decrease.)

    Raises:
        ImpossiblePlan: span, rate, number of frames and budget contradict each other; the message states a possible value.
        NoFrames: the file has only sound.
    """
    from longview.video.probing.probe import require_frames

    require_frames(video)
    trained_range = budget.trained_range
    span = _span_of(video, span)
    period_s, max_period_s = _frame_periods(video, trained_range, purpose, fps)
    grid = fit_grid(
        video.width,
        video.height,
        min_tokens=trained_range.min_tokens_per_patch,
        max_tokens=min(trained_range.max_tokens_per_patch, trained_range.min_tokens_per_patch * 5 // 4),
    )
    min_patch_tokens = grid[0] * grid[1]
    max_trained_patches = min(
        trained_range.max_patches,
        trained_range.max_frames // FRAMES_PER_PATCH,
        trained_range.max_visual_tokens // min_patch_tokens,
    )
    max_window_s = min(span.duration_s, trained_range.max_timestamp_s)
    if purpose == "caption":
        max_window_s = min(max_window_s, trained_range.caption_window_s)
    # This many patches fit, even if every timestamp is as long as the longest one, and the window as long as possible.
    available = budget.context_tokens - budget.reserved_tokens - budget.transcript_tokens(max_window_s)
    max_timestamp_tokens = budget.timestamp_tokens(max(span.end_s, trained_range.max_timestamp_s) + 0.1)
    max_patches = min(max_trained_patches, available // (min_patch_tokens + max_timestamp_tokens))
    if max_patches < OVERLAP_PATCHES * 2:
        min_window_tokens = OVERLAP_PATCHES * 2 * (min_patch_tokens + max_timestamp_tokens)
        needed_tokens = budget.min_context_tokens(min_window_tokens, max_window_s)
        raise ContextTooShort(
            f"A context of {budget.context_tokens} tokens is too small; this checkpoint needs at least {needed_tokens}."
        )
    # In a longer window, even timestamps that count from the window's start would exceed the maximum.
    max_window_s = min(max_window_s, max_patches * FRAMES_PER_PATCH * (period_s if purpose == "caption" else max_period_s))
    spans = _window_spans(span, max_window_s, overlap_s=OVERLAP_PATCHES * FRAMES_PER_PATCH * period_s)
    spans = _snap_to_shots(shot_starts_s, spans)
    window_s = max(span.duration_s for span in spans)
    available = budget.context_tokens - budget.reserved_tokens - budget.transcript_tokens(window_s)
    target_patches = min(max(1, math.ceil(window_s / (FRAMES_PER_PATCH * period_s) - 1e-6)), max_trained_patches)
    if max_frames is not None:
        target_patches = _limit_frames(max_frames, target_patches, spans, period_s if fps else max_period_s, fps=fps)

    def windows_of(patches: int) -> tuple[Window, ...]:
        # With enough patches the period is exactly the preferred one, and it is never shorter.
        window_period_s = max(period_s, window_s / (patches * FRAMES_PER_PATCH))
        return tuple(_window(window_span, window_period_s, trained_range.max_timestamp_s) for window_span in spans)

    def timestamp_tokens_of(window: Window) -> int:
        return sum(budget.timestamp_tokens(time_s) for time_s in _patch_timestamps(window))

    def fits(patches: int) -> bool:
        return max(map(timestamp_tokens_of, windows_of(patches))) + patches * min_patch_tokens <= available

    patches = min(target_patches, max_patches)
    if patches < target_patches:
        # More patches may fit, because early timestamps are shorter than the longest one.
        patches = bisect.bisect_left(range(patches + 1, target_patches + 1), True, key=lambda more: not fits(more)) + patches
    windows = windows_of(patches)
    timestamp_tokens = [timestamp_tokens_of(window) for window in windows]
    if patches == target_patches:
        # Only a plan with the preferred frame rate spends the remaining tokens on larger frames.
        source_tokens = math.ceil(video.width / PATCH_SIDE_PX) * math.ceil(video.height / PATCH_SIDE_PX)
        max_tokens = min(
            trained_range.max_tokens_per_patch,
            trained_range.max_visual_tokens // patches,
            (available - max(timestamp_tokens)) // patches,
            max(min_patch_tokens, source_tokens),
        )
        larger_grid = fit_grid(video.width, video.height, min_tokens=trained_range.min_tokens_per_patch, max_tokens=max_tokens)
        if larger_grid[0] * larger_grid[1] >= min_patch_tokens:
            grid = larger_grid
    height, width = grid[0] * PATCH_SIDE_PX, grid[1] * PATCH_SIDE_PX
    transcript_tokens = tuple(budget.transcript_tokens(window.span.duration_s) for window in windows)
    return SamplingPlan(purpose, windows, height, width, tuple(timestamp_tokens), budget.reserved_tokens, transcript_tokens)


def _limit_frames(
    max_frames: int, target_patches: int, spans: list[Span], max_frame_period_s: float, *, fps: float | None
) -> int:
    """Return the patches per window that `max_frames` in all windows allow."""
    window_s = spans[0].duration_s
    min_patches = max(1, math.ceil(window_s / (FRAMES_PER_PATCH * max_frame_period_s) - 1e-6))
    patches = max_frames // (FRAMES_PER_PATCH * len(spans))
    if patches < min_patches:
        rate = f"{fps:g} frames per second" if fps else f"one frame every {max_frame_period_s:g} s, this checkpoint's minimum,"
        raise ImpossiblePlan(
            f"{max_frames} frames are too few: {rate} over {format_time(sum(span.duration_s for span in spans))} "
            f"takes {min_patches * FRAMES_PER_PATCH * len(spans)}."
        )
    return min(target_patches, patches)


def _span_of(video: "VideoInfo", span: Span | None) -> Span:
    """Return the part of a span that is in the video; the whole video without a span."""
    start, end = (0.0, video.duration_s) if span is None else (span.start_s, min(span.end_s, video.duration_s))
    if start < 0 or start >= video.duration_s:
        raise ImpossiblePlan(f"{format_time(start)} is outside the video, which is {format_time(video.duration_s)} long.")
    if end <= start:
        raise ImpossiblePlan(f"The end ({format_time(end)}) must come after the start ({format_time(start)}).")
    return Span(start, end)


def _frame_periods(video: "VideoInfo", trained_range: TrainedRange, purpose: Purpose, fps: float | None) -> tuple[float, float]:
    """Return the preferred and the maximum time between two frames, in seconds."""
    if fps is not None:
        min_fps, max_fps = 1 / trained_range.max_frame_period_s, 1 / trained_range.min_frame_period_s
        if not min_fps <= fps <= max_fps:
            raise ImpossiblePlan(
                f"{fps:g} frames per second are not possible: this checkpoint was trained on {min_fps:g} to {max_fps:g}."
            )
        return 1 / fps, 1 / fps
    period_s = trained_range.min_frame_period_s if purpose == "refine" else trained_range.frame_period_s
    return max(period_s, min(1 / video.fps_nominal, trained_range.max_frame_period_s)), trained_range.max_frame_period_s


def _window_spans(span: Span, max_window_s: float, *, overlap_s: float) -> list[Span]:
    """Split the span into equal windows of at most `max_window_s` seconds, of which neighbours share `overlap_s` seconds."""
    if span.duration_s <= max_window_s + 1e-6:
        return [span]
    overlap_s = min(overlap_s, max_window_s / 4)
    count = math.ceil((span.duration_s - overlap_s) / (max_window_s - overlap_s) - 1e-9)
    window_s = (span.duration_s + (count - 1) * overlap_s) / count
    starts_s = [span.start_s + index * (window_s - overlap_s) for index in range(count)]
    return [Span(start_s, min(start_s + window_s, span.end_s)) for start_s in starts_s]


def _snap_to_shots(shot_starts_s: Sequence[float], spans: list[Span]) -> list[Span]:
    """Let two overlapping windows meet at the first shot start that both contain; no event continues across a cut."""
    for index, (before, after) in enumerate(itertools.pairwise(spans)):
        overlap = Span(after.start_s, before.end_s) if after.start_s < before.end_s else None
        boundary_s = next((shot_start_s for shot_start_s in shot_starts_s if overlap and overlap.contains(shot_start_s)), None)
        if boundary_s is not None and boundary_s > before.start_s:
            spans[index] = Span(spans[index].start_s, boundary_s)
            spans[index + 1] = Span(boundary_s, after.end_s)
    return spans


def window_overlaps(plan: SamplingPlan) -> list[Span]:
    """Return the overlaps of neighbouring windows."""
    pairs = itertools.pairwise(window.span for window in plan.windows)
    return [Span(after.start_s, before.end_s) for before, after in pairs if after.start_s < before.end_s]


def window_meetings_s(plan: SamplingPlan) -> tuple[float, ...]:
    """Return the times at which neighbouring windows meet without an overlap: starts of shots, in seconds."""
    pairs = itertools.pairwise(window.span for window in plan.windows)
    return tuple(after.start_s for before, after in pairs if after.start_s == before.end_s)


def _window(span: Span, frame_period_s: float, max_timestamp_s: float) -> Window:
    frames = max(1, math.ceil(span.duration_s / frame_period_s - 1e-6))
    times_s = tuple(span.start_s + index * frame_period_s for index in range(frames))
    return Window(span, times_s, frame_period_s, span.start_s if span.end_s > max_timestamp_s else 0.0)


def _patch_timestamps(window: Window) -> list[float]:
    pairs = itertools.zip_longest(window.times_s[::2], window.times_s[1::2], fillvalue=window.times_s[-1])
    return [(first + second) / 2 - window.clock_offset_s for first, second in pairs]
