"""Every frame's time is that which ffprobe, an independent witness, finds in the file."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from longview.video.decoder import Decoder
from longview.video.probe import probe
from tests import ffprobe_oracle, media_samples
from tests.video.test_decoder import KINDS


@pytest.fixture(scope="module")
def maker(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes a file of either collection once."""
    made: dict[str, Path] = {}

    def of(name: str) -> Path:
        if name not in made:
            folder = tmp_path_factory.mktemp("times")
            made[name] = KINDS[name].make(folder) if name in KINDS else media_samples.make(folder, name)
        return made[name]

    return of


@pytest.mark.parametrize("name", [*KINDS, *media_samples.KINDS])
@pytest.mark.usefixtures("ffprobe")
def test_our_time_and_the_containers_start_make_a_presentation_time_that_ffprobe_knows(
    maker: Callable[[str], Path], decoder: Decoder, name: str
) -> None:
    path = maker(name)
    video = probe(path)
    entries = ("-select_streams", str(video.stream_index), "-show_entries", "frame=best_effort_timestamp_time")
    frames = ffprobe_oracle.ffprobe(path, *entries)["frames"]
    known_s = np.array(
        sorted(float(frame["best_effort_timestamp_time"]) for frame in frames if "best_effort_timestamp_time" in frame)
    )
    wanted_s = np.linspace(0, video.duration_s, 40, endpoint=False).tolist()
    times_s = (
        np.concatenate([chunk.times_s for chunk in decoder.frames_played_at(video, wanted_s, 32, 32)]) + video.start_offset_s
    )
    assert len(times_s) >= 20
    assert np.abs(times_s[:, None] - known_s).min(axis=1).max() <= 1e-3
    # And of those that ffprobe knows it is the one on screen: none starts between it and the wanted time.
    wanted = np.asarray(wanted_s) + video.start_offset_s + 6e-4
    shown_s = known_s[(np.searchsorted(known_s, wanted, side="right") - 1).clip(min=0)]
    assert times_s == pytest.approx(np.unique(shown_s), abs=1e-3)
