"""Plans keep every promise for any length, size and budget, for the demo checkpoint and for Qwen3-VL."""

import json
import math
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, example, given, reject, settings
from hypothesis import strategies as st

from longview.model.engine.checkpoints import DEMO, QWEN3_VL
from longview.video.errors import ImpossiblePlan
from longview.video.probe import VideoInfo
from longview.video.sampler import Budget, Purpose, SamplingPlan, TrainedRange, Window, fit_grid, plan

STATED = json.loads((DEMO / "trained_range.json").read_text(encoding="utf-8"))
TRAINED = {
    "demo": TrainedRange(**{field.name: STATED[field.name] for field in fields(TrainedRange) if field.name in STATED}),
    "qwen": QWEN3_VL,
}
RESERVED = 128
PURPOSES: tuple[Purpose, ...] = ("watch", "caption", "look")


def video(duration_s: float, width: int = 1280, height: int = 720, fps: float = 25.0) -> VideoInfo:
    return VideoInfo(Path("v.mp4"), "0" * 40, duration_s, width, height, 0, fps, False, 0.0, 0, "h264", "mp4", "yuv420p", 1)


def marker_tokens(time_s: float) -> int:
    """As Qwen's tokenizer: one token a character of the number, the point too, and five around it."""
    return len(f"{time_s:.1f}") + 5


def budget(tokens: int, trained: TrainedRange) -> Budget:
    return Budget(tokens, RESERVED, trained, marker_tokens)


def window_tokens(chosen: SamplingPlan, window: Window) -> int:
    """What one prompt costs, counted anew from its frames."""
    # A lone last frame is shown twice.
    times_s = [*window.times_s, window.times_s[-1]][: 2 * math.ceil(len(window.times_s) / 2)]
    markers = [(first + second) / 2 - window.clock_offset_s for first, second in zip(times_s[::2], times_s[1::2], strict=True)]
    return RESERVED + sum(chosen.tokens_per_patch + marker_tokens(time_s) for time_s in markers)


def planned(chosen_for: VideoInfo, room: Budget, purpose: Purpose = "watch", **wishes: Any) -> SamplingPlan:
    """The plan; a budget that is truly too small for any is not looked at further."""
    try:
        return plan(chosen_for, room, purpose, **wishes)
    except ImpossiblePlan as refusal:
        needed = int(str(refusal).rstrip(".").rsplit(" ", 1)[1])
        assert needed > room.context_tokens and needed < 1024
        reject()


durations = st.floats(math.log(0.04), math.log(86400)).map(math.exp)
sides = st.integers(16, 7680)
budgets = st.floats(math.log(512), math.log(1_048_576)).map(lambda power: int(math.exp(power)))
rates = st.sampled_from([1.0, 10.0, 24.0, 25.0, 29.97, 60.0, 240.0])
checkpoints = st.sampled_from(sorted(TRAINED))
purposes = st.sampled_from(PURPOSES)
many = settings(max_examples=100, deadline=None)


@many
@given(durations, sides, sides, rates, budgets, checkpoints, purposes)
@example(86400.0, 7680, 16, 25.0, 4096, "qwen", "watch")
@example(0.04, 16, 7680, 25.0, 4096, "demo", "look")
@example(7200.0, 1920, 1080, 25.0, 262144, "qwen", "watch")
@example(7200.1, 1920, 1080, 25.0, 262144, "qwen", "caption")
@example(3000.1, 1280, 720, 25.0, 8192, "demo", "watch")
@example(22000.0, 640, 360, 25.0, 26756, "qwen", "watch")
def test_every_window_stays_within_budget_and_training(
    duration_s: float, width: int, height: int, fps: float, tokens: int, checkpoint: str, purpose: Purpose
) -> None:
    trained = TRAINED[checkpoint]
    chosen = planned(video(duration_s, width, height, fps), budget(tokens, trained), purpose)
    assert chosen.height % 32 == chosen.width % 32 == 0
    assert trained.min_tokens_per_patch <= chosen.tokens_per_patch <= trained.max_tokens_per_patch
    costs = []
    for window in chosen.windows:
        patches = math.ceil(len(window.times_s) / 2)
        costs.append(window_tokens(chosen, window))
        assert costs[-1] <= tokens
        assert window.temporal_patches == patches <= trained.max_frames / 2
        assert patches <= trained.max_patches
        assert patches * chosen.tokens_per_patch <= trained.max_visual_tokens
        assert window.times_s[-1] - window.clock_offset_s <= trained.max_timestamp_s
        assert trained.min_frame_period_s - 1e-9 <= window.frame_period_s <= trained.max_frame_period_s + 1e-6
    assert chosen.total_tokens == sum(costs)


@many
@given(durations, rates, budgets, checkpoints, purposes)
def test_the_whole_span_is_covered_in_order_of_time(
    duration_s: float, fps: float, tokens: int, checkpoint: str, purpose: Purpose
) -> None:
    chosen = planned(video(duration_s, fps=fps), budget(tokens, TRAINED[checkpoint]), purpose)
    windows = chosen.windows
    assert windows[0].span.start_s == 0
    assert windows[-1].span.end_s == pytest.approx(duration_s)
    for before, after in zip(windows, windows[1:], strict=False):
        assert before.span.start_s < after.span.start_s <= before.span.end_s < after.span.end_s
    for window in windows:
        assert all(first < second for first, second in zip(window.times_s, window.times_s[1:], strict=False))
        # Every moment has a frame at most one step before it: from the window's very start to its end.
        assert window.times_s[0] == window.span.start_s
        assert window.times_s[-1] < window.span.end_s <= window.times_s[-1] + window.frame_period_s * (1 + 1e-6)
        gaps_s = [after - before for before, after in zip(window.times_s, window.times_s[1:], strict=False)]
        assert max(gaps_s, default=0.0) <= window.frame_period_s * (1 + 1e-6)


@many
@given(durations, sides, sides, budgets, budgets, checkpoints)
def test_more_budget_never_means_less_detail(
    duration_s: float, width: int, height: int, one: int, other: int, checkpoint: str
) -> None:
    less, more = (
        planned(video(duration_s, width, height), budget(tokens, TRAINED[checkpoint])) for tokens in sorted((one, other))
    )
    assert len(more.windows) <= len(less.windows)
    # In each window always; in all of them together where they are as many: fewer windows spend the budget fewer times.
    each_less, each_more = (chosen.windows[0].temporal_patches * chosen.tokens_per_patch for chosen in (less, more))
    assert each_more >= each_less * (1 - 1e-9)
    if len(less.windows) == len(more.windows):
        assert more.frames * more.height * more.width >= less.frames * less.height * less.width
        assert more.windows[0].frame_period_s <= less.windows[0].frame_period_s * (1 + 1e-6)


@many
@given(durations, st.integers(64, 7680), st.floats(0.4, 2.5), rates, budgets, checkpoints)
@example(7000.0, 1920, 1.78, 25.0, 60_000, "qwen")
@example(600.0, 1920, 1.78, 25.0, 262_144, "qwen")
def test_the_budget_is_used_unless_one_step_more_would_exceed_it_or_there_is_no_more_to_see(
    duration_s: float, width: int, aspect: float, fps: float, tokens: int, checkpoint: str
) -> None:
    height = round(width / aspect)
    trained = TRAINED[checkpoint]
    chosen = planned(video(duration_s, width, height, fps), budget(tokens, trained))
    used = max(window_tokens(chosen, window) for window in chosen.windows)
    patches = chosen.windows[0].temporal_patches
    rows, columns = chosen.height // 32, chosen.width // 32
    one_patch = chosen.tokens_per_patch + marker_tokens(trained.max_timestamp_s)
    finest_s = max(trained.frame_period_s, min(1 / fps, trained.max_frame_period_s))
    all_frames = (
        chosen.windows[0].frame_period_s <= finest_s * (1 + 1e-6)
        or (patches + 1) * 2 > trained.max_frames
        or patches + 1 > trained.max_patches
        or (patches + 1) * chosen.tokens_per_patch > trained.max_visual_tokens
    )
    # A step that bends the picture's shape by more than a twentieth is none.
    steps = ((rows + 1, columns), (rows, columns + 1), (rows + 1, columns + 1))
    larger = min((high * wide for high, wide in steps if abs(math.log(wide / high / (width / height))) < 0.05), default=1 << 30)
    most_tokens = min(trained.max_tokens_per_patch, trained.max_visual_tokens // patches, width * height // 32**2)
    most_useful = min(tokens, used + patches * (most_tokens - chosen.tokens_per_patch))
    if used < 0.9 * tokens:
        assert all_frames or used + one_patch > tokens
        if all_frames and used < 0.9 * most_useful:
            assert used + patches * (larger - chosen.tokens_per_patch) > most_useful


@many
@given(durations, st.floats(0, 1), st.floats(0, 1), budgets, checkpoints, purposes)
def test_a_part_of_a_video_is_planned_as_wished(
    duration_s: float, start: float, end: float, tokens: int, checkpoint: str, purpose: Purpose
) -> None:
    start_s, end_s = start * duration_s, end * duration_s
    assume(end_s - start_s > 1e-3)
    chosen = planned(video(duration_s), budget(tokens, TRAINED[checkpoint]), purpose, start_s=start_s, end_s=end_s)
    assert chosen.span.start_s == start_s
    assert chosen.span.end_s == pytest.approx(end_s)
    assert all(start_s <= time_s < end_s for window in chosen.windows for time_s in window.times_s)


@many
@given(sides, sides, st.integers(1, 64), st.integers(1, 768), st.integers(0, 100))
def test_a_larger_grid_limit_never_gives_a_smaller_grid(width: int, height: int, tokens_min: int, limit: int, more: int) -> None:
    rows, columns = fit_grid(width, height, min_tokens=tokens_min, max_tokens=limit)
    more_rows, more_columns = fit_grid(width, height, min_tokens=tokens_min, max_tokens=limit + more)
    assert 1 <= rows * columns <= limit
    assert more_rows * more_columns >= rows * columns


@pytest.mark.parametrize(("width", "height"), [(1920, 1080), (1080, 1920), (640, 480), (1000, 1000), (2560, 1080)])
def test_the_picture_keeps_its_shape_where_there_is_room(width: int, height: int) -> None:
    rows, columns = fit_grid(width, height, min_tokens=16, max_tokens=400)
    assert columns / rows == pytest.approx(width / height, rel=0.08)
    assert rows * columns > 320


def test_a_short_video_gets_its_own_resolution_and_the_preferred_rate() -> None:
    chosen = plan(video(30.0, 640, 384), budget(131072, QWEN3_VL))
    assert (chosen.width, chosen.height) == (640, 384)
    assert len(chosen.windows) == 1
    assert chosen.frames == 60


def test_resolution_goes_first_then_rate_then_the_single_session() -> None:
    minute, hour, two_hours, day = (plan(video(seconds), budget(262144, QWEN3_VL)) for seconds in (60, 3600, 7200, 86400))
    assert minute.tokens_per_patch > hour.tokens_per_patch >= 16
    assert minute.windows[0].frame_period_s == hour.windows[0].frame_period_s / (3600 / 2048 / 0.5) == 0.5
    assert len(two_hours.windows) == 1
    assert len(day.windows) > 1
    assert day.windows[0].clock_offset_s == day.windows[0].span.start_s == 0
    assert day.windows[-1].clock_offset_s == day.windows[-1].span.start_s > 7200


def test_a_look_is_finer_than_a_watch_and_captions_share_four_patches() -> None:
    room = budget(32768, QWEN3_VL)
    look = plan(video(600), room, "look", start_s=100, end_s=110)
    assert look.windows[0].frame_period_s == QWEN3_VL.min_frame_period_s
    captions = plan(video(600), room, "caption")
    shared_s = [
        before.span.end_s - after.span.start_s for before, after in zip(captions.windows, captions.windows[1:], strict=False)
    ]
    assert shared_s == pytest.approx([4 * 2 * 0.5] * len(shared_s), rel=0.1)
    assert shared_s
    assert all(window.span.duration_s <= 180 for window in captions.windows)


@many
@given(durations, st.floats(0.25, 8), budgets, purposes)
@example(3.0, 1.0, 65536, "watch")
@example(10.1, 1.0, 65536, "watch")
@example(0.6, 8.0, 65536, "look")
def test_a_frame_rate_is_kept_exactly_when_it_is_asked_for(duration_s: float, fps: float, tokens: int, purpose: Purpose) -> None:
    chosen = planned(video(duration_s), budget(tokens, QWEN3_VL), purpose, fps=fps)
    for window in chosen.windows:
        assert window.frame_period_s == pytest.approx(1 / fps)
        assert list(window.times_s) == pytest.approx(
            [window.span.start_s + index / fps for index in range(math.ceil(window.span.duration_s * fps - 1e-6))]
        )


@many
@given(durations, budgets, st.integers(2, 3000), checkpoints, purposes)
def test_no_more_frames_than_wished_or_the_number_that_would_do(
    duration_s: float, tokens: int, most: int, checkpoint: str, purpose: Purpose
) -> None:
    room = budget(max(tokens, 2048), TRAINED[checkpoint])
    try:
        chosen = plan(video(duration_s), room, purpose, max_frames=most)
    except ImpossiblePlan as refusal:
        least = int(str(refusal).rstrip(".").rsplit(" ", 1)[1])
        assert least > most
        assert plan(video(duration_s), room, purpose, max_frames=least).frames == least
        return
    assert chosen.frames <= most
    assert all(window.frame_period_s <= TRAINED[checkpoint].max_frame_period_s + 1e-6 for window in chosen.windows)


@pytest.mark.parametrize(
    ("wishes", "says"),
    [
        ({"start_s": 60.0}, "outside the video"),
        ({"start_s": -1.0}, "outside the video"),
        ({"start_s": 20.0, "end_s": 20.0}, "must come after the start"),
        ({"start_s": 30.0, "end_s": 20.0}, "must come after the start"),
        ({"fps": 100.0}, "0.25 to 8"),
        ({"fps": 0.01}, "0.25 to 8"),
        ({"fps": 2.0, "max_frames": 100}, "takes 120"),
        ({"max_frames": 3}, "takes 16"),
    ],
)
def test_wishes_that_contradict_each_other_are_refused_with_the_reason(wishes: dict[str, float], says: str) -> None:
    with pytest.raises(ImpossiblePlan, match=says):
        plan(video(60), budget(65536, QWEN3_VL), **wishes)  # type: ignore[arg-type]


def test_the_context_that_a_refusal_names_is_enough() -> None:
    with pytest.raises(ImpossiblePlan, match="needs at least") as refusal:
        plan(video(600), budget(300, QWEN3_VL))
    needed = int(str(refusal.value).rstrip(".").rsplit(" ", 1)[1])
    chosen = plan(video(600), budget(needed, QWEN3_VL))
    assert all(window_tokens(chosen, window) <= needed for window in chosen.windows)
