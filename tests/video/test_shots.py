"""Cuts are found where they are, and windows of captions meet there."""

from pathlib import Path

import ffmpeg
import numpy as np
import pytest

from longview.model.engine.local import LocalEngine
from longview.model.engine.sessions import SessionPool
from longview.video.decoder import Decoder
from longview.video.ffmpeg import run
from longview.video.probe import VideoInfo, probe
from longview.video.sampler import window_overlaps
from longview.video.shots import FPS, shot_start_frames, shot_starts
from longview.video.timeline import Span

CUTS_S = (30.0, 67.4, 95.2, 140.0)
LONG_S = 170.0
COLORS = ("red", "navy", "olive", "white", "purple")


def shots(path: Path, cuts_s: tuple[float, ...]) -> VideoInfo:
    """One colour after another, each until a cut."""
    bounds = (0.0, *cuts_s, LONG_S)
    sources = [
        ffmpeg.input(f"color={color}:s=320x192:r=25:d={end_s - start_s:.2f}", f="lavfi")
        for color, start_s, end_s in zip(COLORS, bounds, bounds[1:], strict=False)
    ]
    run(ffmpeg.concat(*sources).output(str(path), pix_fmt="yuv420p").overwrite_output(), timeout_s=120)
    return probe(path)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> VideoInfo:
    return shots(tmp_path_factory.mktemp("shots") / "film.mp4", CUTS_S)


def test_cuts_are_found_to_a_fifth_of_a_second(film: VideoInfo, decoder: Decoder) -> None:
    found = shot_starts(decoder, film, [Span(20.0, 100.0)])
    assert found == pytest.approx(CUTS_S[:3], abs=1 / FPS + 0.04)


def test_only_cuts_inside_of_the_regions_are_told(film: VideoInfo, decoder: Decoder) -> None:
    assert shot_starts(decoder, film, [Span(32.0, 60.0)]) == ()
    assert shot_starts(decoder, film, [Span(66.0, 70.0), Span(135.0, 145.0)]) == pytest.approx((67.4, 140.0), abs=1 / FPS + 0.04)
    assert shot_starts(decoder, film, []) == ()


def test_motion_and_noise_are_no_cuts() -> None:
    chance = np.random.default_rng(5)
    frames = []
    for index in range(25):
        frame = chance.integers(90, 110, (96, 160, 3), dtype=np.uint8)
        frame[20:60, 4 * index : 4 * index + 40] = (200, 30, 30)
        frames.append(frame)
    assert shot_start_frames(frames) == []
    other = [np.full((96, 160, 3), 20, np.uint8)] * 5
    assert shot_start_frames([*frames, *other]) == [25]


def test_caption_windows_meet_at_cuts(engine: LocalEngine, decoder: Decoder, tmp_path: Path) -> None:
    pool = SessionPool(engine, decoder, memory_bytes=1 << 28, context_tokens=3500)
    without = pool.plan(shots(tmp_path / "one.mp4", ()), "caption")
    first, second = window_overlaps(without)[:2]
    cut_s = round((first.start_s + first.end_s) / 2, 1)
    windows = pool.plan(shots(tmp_path / "two.mp4", (cut_s,)), "caption").windows
    assert windows[0].span.end_s == windows[1].span.start_s == pytest.approx(cut_s, abs=1 / FPS + 0.04)
    # Where there is none, they share what they shared.
    assert (windows[2].span.start_s, windows[1].span.end_s) == pytest.approx((second.start_s, second.end_s), abs=0.1)
    assert windows[-1].span.end_s == pytest.approx(LONG_S, abs=0.1)
