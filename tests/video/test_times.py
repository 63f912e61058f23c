"""Tests that every frame's timestamp equals the one that ffprobe, an independent oracle, finds in the file."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from longview.video.decoding.decoder import Decoder
from longview.video.probing.probe import probe
from tests.support import ffprobe_oracle, media_samples
from tests.video.decoding.test_decoder import KINDS


@pytest.fixture(scope="module")
def path_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A function that encodes a file of either collection once."""
    paths: dict[str, Path] = {}

    def of(name: str) -> Path:
        if name not in paths:
            folder = tmp_path_factory.mktemp("times")
            paths[name] = KINDS[name].make(folder) if name in KINDS else media_samples.make(folder, name)
        return paths[name]

    return of


@pytest.mark.parametrize("name", [*KINDS, *media_samples.SAMPLES])
@pytest.mark.usefixtures("ffprobe")
def test_timestamps_equal_those_of_ffprobe(path_of: Callable[[str], Path], decoder: Decoder, name: str) -> None:
    path = path_of(name)
    video = probe(path)
    entries = ("-select_streams", str(video.stream_index), "-show_entries", "frame=best_effort_timestamp_time")
    frames = ffprobe_oracle.ffprobe(path, *entries)["frames"]
    expected_s = np.array(
        sorted(float(frame["best_effort_timestamp_time"]) for frame in frames if "best_effort_timestamp_time" in frame)
    )
    requested_s = np.linspace(0, video.duration_s, 40, endpoint=False).tolist()
    times_s = (
        np.concatenate([chunk.times_s for chunk in decoder.frames_played_at(video, requested_s, 32, 32)]) + video.start_offset_s
    )
    assert len(times_s) >= 20
    assert np.abs(times_s[:, None] - expected_s).min(axis=1).max() <= 1e-3
    # No frame that ffprobe reports starts between the decoded frame and the requested time.
    limits_s = np.asarray(requested_s) + video.start_offset_s + 6e-4
    on_screen_s = expected_s[(np.searchsorted(expected_s, limits_s, side="right") - 1).clip(min=0)]
    assert times_s == pytest.approx(np.unique(on_screen_s), abs=1e-3)
