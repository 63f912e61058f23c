"""Tests of shot detection, and of caption windows that meet at shot starts."""

from pathlib import Path

import ffmpeg
import numpy as np
import pytest

from longview.core.timeline import Span
from longview.model.engine.local import LocalEngine
from longview.model.engine.sessions import SessionPool
from longview.video.decoding.decoder import Decoder
from longview.video.ffmpeg import run
from longview.video.probing.probe import VideoInfo, probe
from longview.video.sampler import window_overlaps
from longview.video.shots import FPS, shot_start_frames, shot_starts

CUTS_S = (30.0, 67.4, 95.2, 140.0)
DURATION_S = 170.0
COLORS = ("red", "navy", "olive", "white", "purple")


def render_shots(path: Path, cuts_s: tuple[float, ...]) -> VideoInfo:
    """Render one shot per colour, with cuts at the given times."""
    bounds = (0.0, *cuts_s, DURATION_S)
    sources = [
        ffmpeg.input(f"color={color}:s=320x192:r=25:d={end_s - start_s:.2f}", f="lavfi")
        for color, start_s, end_s in zip(COLORS, bounds, bounds[1:], strict=False)
    ]
    run(ffmpeg.concat(*sources).output(str(path), pix_fmt="yuv420p").overwrite_output(), timeout_s=120)
    return probe(path)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> VideoInfo:
    return render_shots(tmp_path_factory.mktemp("shots") / "shots.mp4", CUTS_S)


def test_shot_starts_are_accurate_to_a_fifth_of_a_second(video: VideoInfo, decoder: Decoder) -> None:
    starts_s = shot_starts(decoder, video, [Span(20.0, 100.0)])
    assert starts_s == pytest.approx(CUTS_S[:3], abs=1 / FPS + 0.04)


def test_only_shot_starts_inside_the_regions_are_returned(video: VideoInfo, decoder: Decoder) -> None:
    assert shot_starts(decoder, video, [Span(32.0, 60.0)]) == ()
    assert shot_starts(decoder, video, [Span(66.0, 70.0), Span(135.0, 145.0)]) == pytest.approx((67.4, 140.0), abs=1 / FPS + 0.04)
    assert shot_starts(decoder, video, []) == ()


def test_motion_and_noise_are_not_cuts() -> None:
    rng = np.random.default_rng(5)
    frames = []
    for index in range(25):
        frame = rng.integers(90, 110, (96, 160, 3), dtype=np.uint8)
        frame[20:60, 4 * index : 4 * index + 40] = (200, 30, 30)
        frames.append(frame)
    assert shot_start_frames(frames) == []
    next_shot = [np.full((96, 160, 3), 20, np.uint8)] * 5
    assert shot_start_frames([*frames, *next_shot]) == [25]


def test_caption_windows_meet_at_shot_starts(engine: LocalEngine, decoder: Decoder, tmp_path: Path) -> None:
    pool = SessionPool(engine, decoder, memory_bytes=1 << 28, context_tokens=3500)
    plan = pool.planner.plan(render_shots(tmp_path / "one.mp4", ()), "caption")
    first, second = window_overlaps(plan)[:2]
    cut_s = round((first.start_s + first.end_s) / 2, 1)
    windows = pool.planner.plan(render_shots(tmp_path / "two.mp4", (cut_s,)), "caption").windows
    assert windows[0].span.end_s == windows[1].span.start_s == pytest.approx(cut_s, abs=1 / FPS + 0.04)
    # Windows without a cut in their overlap keep the overlap.
    assert (windows[2].span.start_s, windows[1].span.end_s) == pytest.approx((second.start_s, second.end_s), abs=0.1)
    assert windows[-1].span.end_s == pytest.approx(DURATION_S, abs=0.1)
