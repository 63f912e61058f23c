"""Tests of the plans and frames for devices on which every token is slow."""

import subprocess
from dataclasses import replace
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest

from longview.core.timeline import Span
from longview.model.engine.base import WindowRequest
from longview.model.engine.checkpoints.profiles import find_profile
from longview.model.engine.execution.patch_selection import MAX_STILL_GAP_S, select_patches
from longview.model.engine.local import LocalEngine
from longview.model.engine.planner import Planner
from longview.model.tasks.replies import to_video_clock
from longview.video.decoding.decoder import Decoder, TimedFrames
from longview.video.probing.probe import VideoInfo, probe

NO_FRAMES = np.zeros((0, 64, 96, 3), np.uint8)


def picture(seed: int) -> np.ndarray:
    levels = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    return levels.repeat(16, axis=0).repeat(16, axis=1)


def split(frames: TimedFrames, size: int) -> list[TimedFrames]:
    return [
        TimedFrames(frames.frames[start : start + size], frames.times_s[start : start + size])
        for start in range(0, len(frames), size)
    ]


@pytest.mark.parametrize("chunk_size", [1, 3, 4, 50])
def test_only_patches_with_something_new_are_kept(chunk_size: int) -> None:
    # Ten seconds of a picture, a small object for a second, the picture again, then another one; noise as of a codec.
    frames = np.stack([picture(1)] * 12 + [picture(2)] * 9)
    frames[10, 24:34, 40:50] = 255
    noise = np.random.default_rng(0).integers(-2, 3, frames.shape)
    frames = np.clip(frames.astype(int) + noise, 0, 255).astype(np.uint8)
    video = TimedFrames(frames, np.arange(21.0))
    kept = list(select_patches(split(video, chunk_size)))
    times_s = np.concatenate([chunk.times_s for chunk in kept])
    # The first patch, one after at most eight seconds, the object with the picture without it, the next picture from its first
    # to its last patch, and the odd last frame.
    assert times_s.tolist() == [0, 1, 8, 9, 10, 11, 12, 13, 18, 19, 20]
    for chunk in kept:
        for frame, time_s in zip(chunk.frames, chunk.times_s, strict=True):
            assert np.array_equal(frame, frames[int(time_s)])
    assert np.diff(times_s).max() <= MAX_STILL_GAP_S


@pytest.mark.parametrize("fps", [24, 25, 30, 30_000 / 1001, 24_000 / 1001, 60_000 / 1001])
def test_moving_shot_has_every_second_patch_and_both_sides_of_a_cut(fps: float) -> None:
    # An object moves through a picture for 12 seconds, then through another one. Frames are displayed just before the grid.
    frames = np.stack([picture(1)] * 12 + [picture(9)] * 12)
    for index, frame in enumerate(frames):
        frame[8:24, 3 * index : 3 * index + 16] = 255
    times_s = (np.floor(np.arange(24) * fps + 1e-6) / fps).astype(np.float64)
    kept_s = np.concatenate([chunk.times_s for chunk in select_patches(split(TimedFrames(frames, times_s), 5))])
    assert kept_s[::2] == pytest.approx([0, 4, 8, 10, 12, 16, 20, 22], abs=0.05)
    # The clips of refinement are denser, and keep all patches.
    dense = TimedFrames(frames, np.arange(24.0) / 4)
    assert sum(len(chunk) for chunk in select_patches([dense])) == len(frames)


@pytest.mark.parametrize("start_s", [2, 6, 10])
def test_object_that_is_there_for_a_moment_is_kept_with_the_picture_around_it(start_s: int) -> None:
    frames = np.stack([picture(1)] * 24)
    frames[start_s : start_s + 2, 24:34, 40:50] = 255
    kept = np.concatenate([chunk.times_s for chunk in select_patches([TimedFrames(frames, np.arange(24.0))])])[::2]
    assert {start_s - 2, start_s, start_s + 2} <= {*kept.tolist()} and len(kept) < 9


@pytest.mark.parametrize("period_s", [1.0, 1.25, 1.5, 1.75])
def test_gaps_of_a_still_picture_are_limited(period_s: float) -> None:
    times_s = np.arange(60, dtype=np.float64) * period_s
    kept = np.concatenate([chunk.times_s for chunk in select_patches([TimedFrames(np.stack([picture(1)] * 60), times_s)])])
    assert 4 < np.diff(kept[::2]).max() <= MAX_STILL_GAP_S + period_s


def test_slow_change_is_kept() -> None:
    frames = np.stack([np.full((64, 96, 3), 2 * index, np.uint8) for index in range(40)])
    kept = np.concatenate([chunk.times_s for chunk in select_patches([TimedFrames(frames, np.arange(40.0))])])[::2]
    assert np.diff(kept).max() <= 4


def test_undecodable_spans_are_kept() -> None:
    chunks = [TimedFrames(NO_FRAMES, np.zeros(0), (Span(0, 5),)), TimedFrames(np.stack([picture(1)] * 2), np.array([5.0, 6.0]))]
    kept = list(select_patches(chunks))
    assert kept[0].undecodable == (Span(0, 5),) and [len(chunk) for chunk in kept] == [0, 2, 0]


def test_event_of_a_still_clip_keeps_its_time(engine: LocalEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "saves_tokens", True)
    clip = TimedFrames(np.stack([picture(1)] * 12), 100 + np.arange(12.0) / 2)
    session = engine.open_session([clip], WindowRequest(Span(100, 106), capacity_tokens=4000, clock_offset_s=100.0))
    assert [patch.timestamp_s for patch in session.patches] == [0.2, 5.2]
    assert to_video_clock(0.0, 5.5, session) == Span(100.0, 105.5)


def test_change_of_colour_alone_is_a_change() -> None:
    # Both have the same grey level.
    colours = np.zeros((4, 64, 96, 3), np.uint8)
    colours[:2, ..., 0], colours[2:, ..., 1] = 200, 102
    kept = list(select_patches([TimedFrames(colours, np.arange(4.0))]))
    assert [len(chunk) for chunk in kept] == [4, 0]


def test_slow_device_gets_fewer_and_smaller_frames(
    engine: LocalEngine, decoder: Decoder, shapes_video: VideoInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = replace(shapes_video, duration_s=600.0, width=1920, height=1080)
    monkeypatch.setattr(engine, "checkpoint", replace(engine.checkpoint, trained_range=find_profile().trained_range))
    monkeypatch.setattr(engine, "context_tokens", 262_144)
    usual = Planner(engine, decoder).plan(video, "qa")
    monkeypatch.setattr(engine, "saves_tokens", True)
    saving = Planner(engine, decoder).plan(video, "qa")
    assert saving.tokens_per_patch == 84 and saving.windows[0].frame_period_s == 1.0
    # What lies between two patches that are kept may be missed.
    assert usual.patch_period_s == 1.0 and saving.patch_period_s == 4.0 and saving.visual_tokens < usual.visual_tokens / 4
    # A rate that the user asks for is used.
    assert Planner(engine, decoder).plan(video, "qa", fps=2.0).patch_period_s == 1.0


def test_estimate_follows_the_patches_that_are_kept(
    engine: LocalEngine, decoder: Decoder, still_path: Path, shapes_video: VideoInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    planner, still = Planner(engine, decoder), probe(still_path)
    plan = planner.plan(still, "qa")
    assert planner.estimate_kept_share(still, plan).kept_share == 1
    monkeypatch.setattr(engine, "saves_tokens", True)
    estimate = planner.estimate_kept_share(still, plan)
    session = engine.open_session(
        decoder.frames_played_at(still, plan.windows[0].times_s, plan.height, plan.width),
        WindowRequest(plan.span, capacity_tokens=9000),
    )
    assert estimate.kept_share == pytest.approx(session.frames / plan.frames, abs=0.01) and estimate.kept_share < 0.3
    assert estimate.kept_tokens < 0.3 * (plan.visual_tokens + plan.timestamp_tokens)
    seconds = [engine.estimated_seconds(one, reply_tokens=0) for one in (plan, estimate)]
    assert seconds[0] and seconds[1] and seconds[1] < 0.4 * seconds[0]
    # Of a moving video with frames at the rate of a refinement all are kept.
    assert planner.estimate_kept_share(shapes_video, planner.plan(shapes_video, "refine", span=Span(2, 6))).kept_share == 1


@pytest.fixture
def still_path(tmp_path: Path) -> Path:
    path = tmp_path / "slides.mp4"
    source = "testsrc2=s=320x192:r=10:d=1,loop=loop=199:size=1,setpts=N/10/TB"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-f", "lavfi", "-i", source, "-t", "20", str(path)]
    subprocess.run(command, check=True)
    return path


def test_frames_of_a_still_video_are_left_out_of_the_prompt(
    engine: LocalEngine, decoder: Decoder, still_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = probe(still_path)
    plan = Planner(engine, decoder).plan(video, "qa")
    monkeypatch.setattr(engine, "saves_tokens", True)
    frames = decoder.frames_played_at(video, plan.windows[0].times_s, plan.height, plan.width)
    session = engine.open_session(frames, WindowRequest(plan.span, capacity_tokens=plan.window_tokens[0]))
    assert len(session.patches) <= 4 < plan.temporal_patches
    assert session.frames == 2 * len(session.patches) and not session.undecodable
