"""Property tests of sampling plans for any duration, size and budget, with the demo checkpoint and Qwen3-VL."""

import json
import math
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, example, given, reject, settings
from hypothesis import strategies as st

from longview.core.timeline import Span
from longview.model.engine.checkpoints.checkpoints import DEMO
from longview.model.engine.checkpoints.profiles import find_profile
from longview.video.errors import ImpossiblePlan
from longview.video.probing.probe import VideoInfo
from longview.video.sampler import fit_grid, plan_sampling, window_meetings_s, window_overlaps
from longview.video.sampling_plan import Budget, Purpose, SamplingPlan, TrainedRange, Window

QWEN3_VL = find_profile("qwen3_vl").trained_range
DEMO_RANGE = json.loads((DEMO / "trained_range.json").read_text(encoding="utf-8"))
TRAINED_RANGES = {
    "demo": TrainedRange(**{field.name: DEMO_RANGE[field.name] for field in fields(TrainedRange) if field.name in DEMO_RANGE}),
    "qwen": QWEN3_VL,
}
RESERVED = 128
PURPOSES: tuple[Purpose, ...] = ("qa", "caption", "refine")


def video_info(duration_s: float, width: int = 1280, height: int = 720, fps: float = 25.0) -> VideoInfo:
    return VideoInfo(Path("v.mp4"), "0" * 40, duration_s, width, height, 0, fps, False, 0.0, 0, "h264", "mp4", "yuv420p", 1)


def timestamp_tokens(time_s: float) -> int:
    """Count tokens as Qwen's tokenizer does: one per character of the number, and five around it."""
    return len(f"{time_s:.1f}") + 5


def make_budget(tokens: int, trained_range: TrainedRange, *, takes_transcript: bool = False) -> Budget:
    return Budget(tokens, RESERVED, trained_range, timestamp_tokens, takes_transcript)


def window_tokens(plan: SamplingPlan, window: Window) -> int:
    """Count the tokens of one prompt independently, from its frames."""
    # A single last frame is repeated.
    times_s = [*window.times_s, window.times_s[-1]][: 2 * math.ceil(len(window.times_s) / 2)]
    timestamps_s = [
        (first + second) / 2 - window.clock_offset_s for first, second in zip(times_s[::2], times_s[1::2], strict=True)
    ]
    transcript_tokens = plan.window_transcript_tokens[plan.windows.index(window)]
    return RESERVED + transcript_tokens + sum(plan.tokens_per_patch + timestamp_tokens(time_s) for time_s in timestamps_s)


def plan_or_reject(video: VideoInfo, budget: Budget, purpose: Purpose = "qa", **options: Any) -> SamplingPlan:
    """Return the plan; reject the example if the budget is really too small for any plan."""
    try:
        return plan_sampling(video, budget, purpose, **options)
    except ImpossiblePlan as error:
        needed = int(str(error).rstrip(".").rsplit(" ", 1)[1])
        assert needed > budget.context_tokens and needed < 1024
        reject()


durations = st.floats(math.log(0.04), math.log(86400)).map(math.exp)
sides = st.integers(16, 7680)
budgets = st.floats(math.log(512), math.log(1_048_576)).map(lambda power: int(math.exp(power)))
rates = st.sampled_from([1.0, 10.0, 24.0, 25.0, 29.97, 60.0, 240.0])
checkpoints = st.sampled_from(sorted(TRAINED_RANGES))
purposes = st.sampled_from(PURPOSES)
words = st.booleans()
many = settings(max_examples=100, deadline=None)


@many
@given(durations, sides, sides, rates, budgets, checkpoints, purposes, words)
@example(86400.0, 7680, 16, 25.0, 4096, "qwen", "qa", False)
@example(0.04, 16, 7680, 25.0, 4096, "demo", "refine", False)
@example(7200.0, 1920, 1080, 25.0, 262144, "qwen", "qa", True)
@example(7200.1, 1920, 1080, 25.0, 262144, "qwen", "caption", True)
@example(3000.1, 1280, 720, 25.0, 8192, "demo", "qa", False)
@example(22000.0, 640, 360, 25.0, 26756, "qwen", "qa", True)
def test_every_window_is_within_budget_and_trained_range(
    duration_s: float,
    width: int,
    height: int,
    fps: float,
    tokens: int,
    checkpoint: str,
    purpose: Purpose,
    takes_transcript: bool,
) -> None:
    trained_range = TRAINED_RANGES[checkpoint]
    budget = make_budget(tokens, trained_range, takes_transcript=takes_transcript)
    plan = plan_or_reject(video_info(duration_s, width, height, fps), budget, purpose)
    assert plan.height % 32 == plan.width % 32 == 0
    assert trained_range.min_tokens_per_patch <= plan.tokens_per_patch <= trained_range.max_tokens_per_patch
    token_counts = []
    for window in plan.windows:
        patches = math.ceil(len(window.times_s) / 2)
        token_counts.append(window_tokens(plan, window))
        assert token_counts[-1] <= tokens
        assert window.temporal_patches == patches <= trained_range.max_frames / 2
        assert patches <= trained_range.max_patches
        assert patches * plan.tokens_per_patch <= trained_range.max_visual_tokens
        assert window.times_s[-1] - window.clock_offset_s <= trained_range.max_timestamp_s
        assert trained_range.min_frame_period_s - 1e-9 <= window.frame_period_s <= trained_range.max_frame_period_s + 1e-6
    assert plan.total_tokens == sum(token_counts)


@many
@given(durations, budgets, checkpoints, st.lists(st.floats(0.0, 86400.0), max_size=50))
def test_plan_is_rebuilt_from_the_times_at_which_its_windows_meet(
    duration_s: float, tokens: int, checkpoint: str, shares: list[float]
) -> None:
    video, budget = video_info(duration_s), make_budget(tokens, TRAINED_RANGES[checkpoint])
    overlaps = window_overlaps(plan_or_reject(video, budget, "caption"))
    # Shots begin in some of the overlaps, and elsewhere.
    starts_s = {span.start_s + share % 1.0 * span.duration_s for span, share in zip(overlaps, shares, strict=False)}
    plan = plan_sampling(video, budget, "caption", shot_starts_s=sorted(starts_s | set(shares)))
    assert plan_sampling(video, budget, "caption", shot_starts_s=window_meetings_s(plan)) == plan


@many
@given(durations, rates, budgets, checkpoints, purposes)
def test_whole_span_is_covered_in_order_of_time(
    duration_s: float, fps: float, tokens: int, checkpoint: str, purpose: Purpose
) -> None:
    plan = plan_or_reject(video_info(duration_s, fps=fps), make_budget(tokens, TRAINED_RANGES[checkpoint]), purpose)
    windows = plan.windows
    assert windows[0].span.start_s == 0
    assert windows[-1].span.end_s == pytest.approx(duration_s)
    for before, after in zip(windows, windows[1:], strict=False):
        assert before.span.start_s < after.span.start_s <= before.span.end_s < after.span.end_s
    for window in windows:
        assert all(first < second for first, second in zip(window.times_s, window.times_s[1:], strict=False))
        # Each time in the window is at most one frame period after a frame.
        assert window.times_s[0] == window.span.start_s
        assert window.times_s[-1] < window.span.end_s <= window.times_s[-1] + window.frame_period_s * (1 + 1e-6)
        gaps_s = [after - before for before, after in zip(window.times_s, window.times_s[1:], strict=False)]
        assert max(gaps_s, default=0.0) <= window.frame_period_s * (1 + 1e-6)


@many
@given(durations, sides, sides, budgets, budgets, checkpoints, words)
def test_larger_budget_never_reduces_detail(
    duration_s: float, width: int, height: int, one: int, other: int, checkpoint: str, takes_transcript: bool
) -> None:
    less, more = (
        plan_or_reject(
            video_info(duration_s, width, height),
            make_budget(tokens, TRAINED_RANGES[checkpoint], takes_transcript=takes_transcript),
        )
        for tokens in sorted((one, other))
    )
    assert len(more.windows) <= len(less.windows)
    # This holds for each window. It holds for their sum only with an equal number of windows, each of which uses the budget.
    less_tokens, more_tokens = (plan.windows[0].temporal_patches * plan.tokens_per_patch for plan in (less, more))
    assert more_tokens >= less_tokens * (1 - 1e-9)
    if len(less.windows) == len(more.windows):
        assert more.frames * more.height * more.width >= less.frames * less.height * less.width
        assert more.windows[0].frame_period_s <= less.windows[0].frame_period_s * (1 + 1e-6)


@many
@given(durations, st.integers(64, 7680), st.floats(0.4, 2.5), rates, budgets, checkpoints, words)
@example(7000.0, 1920, 1.78, 25.0, 60_000, "qwen", False)
@example(600.0, 1920, 1.78, 25.0, 262_144, "qwen", False)
def test_budget_is_used_as_far_as_possible(
    duration_s: float, width: int, aspect: float, fps: float, tokens: int, checkpoint: str, takes_transcript: bool
) -> None:
    height = round(width / aspect)
    trained_range = TRAINED_RANGES[checkpoint]
    budget = make_budget(tokens, trained_range, takes_transcript=takes_transcript)
    plan = plan_or_reject(video_info(duration_s, width, height, fps), budget)
    used_tokens = max(window_tokens(plan, window) for window in plan.windows)
    patches = plan.windows[0].temporal_patches
    rows, columns = plan.height // 32, plan.width // 32
    patch_tokens = plan.tokens_per_patch + timestamp_tokens(trained_range.max_timestamp_s)
    min_period_s = max(trained_range.frame_period_s, min(1 / fps, trained_range.max_frame_period_s))
    has_max_frames = (
        plan.windows[0].frame_period_s <= min_period_s * (1 + 1e-6)
        or (patches + 1) * 2 > trained_range.max_frames
        or patches + 1 > trained_range.max_patches
        or (patches + 1) * plan.tokens_per_patch > trained_range.max_visual_tokens
    )
    # Larger grids that distort the aspect ratio by more than 5 % do not count.
    larger_grids = ((rows + 1, columns), (rows, columns + 1), (rows + 1, columns + 1))
    larger_tokens = min(
        (
            grid_rows * grid_columns
            for grid_rows, grid_columns in larger_grids
            if abs(math.log(grid_columns / grid_rows / (width / height))) < 0.05
        ),
        default=1 << 30,
    )
    max_patch_tokens = min(
        trained_range.max_tokens_per_patch, trained_range.max_visual_tokens // patches, width * height // 32**2
    )
    max_useful_tokens = min(tokens, used_tokens + patches * (max_patch_tokens - plan.tokens_per_patch))
    if used_tokens < 0.9 * tokens:
        assert has_max_frames or used_tokens + patch_tokens > tokens
        if has_max_frames and used_tokens < 0.9 * max_useful_tokens:
            assert used_tokens + patches * (larger_tokens - plan.tokens_per_patch) > max_useful_tokens


@many
@given(durations, st.floats(0, 1), st.floats(0, 1), budgets, checkpoints, purposes)
def test_requested_part_of_a_video_is_planned(
    duration_s: float, start: float, end: float, tokens: int, checkpoint: str, purpose: Purpose
) -> None:
    start_s, end_s = start * duration_s, end * duration_s
    assume(end_s - start_s > 1e-3)
    plan = plan_or_reject(
        video_info(duration_s), make_budget(tokens, TRAINED_RANGES[checkpoint]), purpose, span=Span(start_s, end_s)
    )
    assert plan.span.start_s == start_s
    assert plan.span.end_s == pytest.approx(end_s)
    assert all(start_s <= time_s < end_s for window in plan.windows for time_s in window.times_s)


@many
@given(sides, sides, st.integers(1, 64), st.integers(1, 768), st.integers(0, 100))
def test_larger_token_limit_never_gives_a_smaller_grid(width: int, height: int, min_tokens: int, limit: int, more: int) -> None:
    rows, columns = fit_grid(width, height, min_tokens=min_tokens, max_tokens=limit)
    more_rows, more_columns = fit_grid(width, height, min_tokens=min_tokens, max_tokens=limit + more)
    assert 1 <= rows * columns <= limit
    assert more_rows * more_columns >= rows * columns


@pytest.mark.parametrize(("width", "height"), [(1920, 1080), (1080, 1920), (640, 480), (1000, 1000), (2560, 1080)])
def test_grid_keeps_the_aspect_ratio(width: int, height: int) -> None:
    rows, columns = fit_grid(width, height, min_tokens=16, max_tokens=400)
    assert columns / rows == pytest.approx(width / height, rel=0.08)
    assert rows * columns > 320


def test_short_video_keeps_resolution_and_preferred_rate() -> None:
    plan = plan_sampling(video_info(30.0, 640, 384), make_budget(131072, QWEN3_VL))
    assert (plan.width, plan.height) == (640, 384)
    assert len(plan.windows) == 1
    assert plan.frames == 60


def test_resolution_is_reduced_before_rate_and_windows() -> None:
    minute, hour, two_hours, day = (
        plan_sampling(video_info(seconds), make_budget(262144, QWEN3_VL)) for seconds in (60, 3600, 7200, 86400)
    )
    assert minute.tokens_per_patch > hour.tokens_per_patch >= 16
    assert minute.windows[0].frame_period_s == hour.windows[0].frame_period_s / (3600 / 2048 / 0.5) == 0.5
    assert len(two_hours.windows) == 1
    assert len(day.windows) > 1
    assert day.windows[0].clock_offset_s == day.windows[0].span.start_s == 0
    assert day.windows[-1].clock_offset_s == day.windows[-1].span.start_s > 7200


def test_period_and_overlap_depend_on_the_purpose() -> None:
    small_budget = make_budget(32768, QWEN3_VL)
    look = plan_sampling(video_info(600), small_budget, "refine", span=Span(100, 110))
    assert look.windows[0].frame_period_s == QWEN3_VL.min_frame_period_s
    captions = plan_sampling(video_info(600), small_budget, "caption")
    overlaps_s = [
        before.span.end_s - after.span.start_s for before, after in zip(captions.windows, captions.windows[1:], strict=False)
    ]
    assert overlaps_s == pytest.approx([4 * 2 * 0.5] * len(overlaps_s), rel=0.1)
    assert overlaps_s
    assert all(window.span.duration_s <= 180 for window in captions.windows)


@many
@given(durations, st.floats(0.25, 8), budgets, purposes)
@example(3.0, 1.0, 65536, "qa")
@example(10.1, 1.0, 65536, "qa")
@example(0.6, 8.0, 65536, "refine")
def test_requested_frame_rate_is_exact(duration_s: float, fps: float, tokens: int, purpose: Purpose) -> None:
    plan = plan_or_reject(video_info(duration_s), make_budget(tokens, QWEN3_VL), purpose, fps=fps)
    for window in plan.windows:
        assert window.frame_period_s == pytest.approx(1 / fps)
        assert list(window.times_s) == pytest.approx(
            [window.span.start_s + index / fps for index in range(math.ceil(window.span.duration_s * fps - 1e-6))]
        )


@many
@given(durations, budgets, st.integers(2, 3000), checkpoints, purposes)
def test_max_frames_holds_or_the_error_states_the_minimum(
    duration_s: float, tokens: int, max_frames: int, checkpoint: str, purpose: Purpose
) -> None:
    large_budget = make_budget(max(tokens, 2048), TRAINED_RANGES[checkpoint])
    try:
        plan = plan_sampling(video_info(duration_s), large_budget, purpose, max_frames=max_frames)
    except ImpossiblePlan as error:
        min_frames = int(str(error).rstrip(".").rsplit(" ", 1)[1])
        assert min_frames > max_frames
        assert plan_sampling(video_info(duration_s), large_budget, purpose, max_frames=min_frames).frames == min_frames
        return
    assert plan.frames <= max_frames
    assert all(window.frame_period_s <= TRAINED_RANGES[checkpoint].max_frame_period_s + 1e-6 for window in plan.windows)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"span": Span(60.0, 70.0)}, "outside the video"),
        ({"span": Span(-1.0, 60.0)}, "outside the video"),
        ({"span": Span(20.0, 20.0)}, "must come after the start"),
        ({"fps": 100.0}, "0.25 to 8"),
        ({"fps": 0.01}, "0.25 to 8"),
        ({"fps": 2.0, "max_frames": 100}, "takes 120"),
        ({"max_frames": 3}, "takes 16"),
    ],
)
def test_contradictory_options_are_rejected_with_a_reason(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ImpossiblePlan, match=message):
        plan_sampling(video_info(60), make_budget(65536, QWEN3_VL), **options)


@pytest.mark.parametrize("takes_transcript", [False, True])
@pytest.mark.parametrize("duration_s", [4, 600])
def test_context_size_in_the_error_message_suffices(duration_s: float, takes_transcript: bool) -> None:
    with pytest.raises(ImpossiblePlan, match="needs at least") as error:
        plan_sampling(video_info(duration_s), make_budget(200, QWEN3_VL, takes_transcript=takes_transcript))
    needed = int(str(error.value).rstrip(".").rsplit(" ", 1)[1])
    plan = plan_sampling(video_info(duration_s), make_budget(needed, QWEN3_VL, takes_transcript=takes_transcript))
    assert all(window_tokens(plan, window) <= needed for window in plan.windows)


def test_words_have_their_share_of_the_budget() -> None:
    def plan(duration_s: float, tokens: int, *, takes_transcript: bool = True) -> SamplingPlan:
        return plan_sampling(video_info(duration_s), make_budget(tokens, QWEN3_VL, takes_transcript=takes_transcript))

    minute, talk = plan(60, 65_536), plan(3600, 65_536)
    # Someone who speaks fast says 180 words a minute.
    assert minute.transcript_tokens > 180 * 2
    assert talk.transcript_tokens == int(0.15 * 65_536) == talk.window_transcript_tokens[0]
    assert max(talk.window_tokens) <= 65_536
    # A short video keeps its frames, and a checkpoint that does not take words keeps its whole context for frames.
    assert minute.windows == plan(60, 65_536, takes_transcript=False).windows
    without = plan(3600, 65_536, takes_transcript=False)
    assert without.transcript_tokens == 0 and without.visual_tokens > talk.visual_tokens
