"""Fixtures that several test modules share."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from longview.model.engine.checkpoints import find_checkpoint
from longview.model.engine.local import LocalEngine
from longview.video.decoder import Decoder
from longview.video.probe import VideoInfo, probe
from longview.video.synthetic import ShapesEvent, render

SHAPES = (
    ShapesEvent(2.0, 7.0, "red", "circle", "moves to the right"),
    ShapesEvent(9.0, 13.0, "green", "square", "stays still"),
    ShapesEvent(15.0, 19.0, "blue", "star", "grows"),
)
"""What happens in `shapes_video`, in 20 seconds."""


@pytest.fixture(scope="session")
def shapes_events() -> tuple[ShapesEvent, ...]:
    """The true timeline of `shapes_video`."""
    return SHAPES


@pytest.fixture(scope="session")
def shapes_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MP4 of 20 seconds at 25 frames a second, 320x192, without sound."""
    return render(tmp_path_factory.mktemp("shapes") / "shapes.mp4", SHAPES, 20.0)


@pytest.fixture(scope="session")
def shapes_video(shapes_path: Path) -> VideoInfo:
    """The same video, probed."""
    return probe(shapes_path)


@pytest.fixture(scope="session")
def engine() -> LocalEngine:
    """The bundled checkpoint, loaded once, on the CPU with one thread."""
    return LocalEngine(find_checkpoint("demo"), device="cpu", cpu_threads=1)


@pytest.fixture(scope="session")
def decoder() -> Iterator[Decoder]:
    """One with the default limits, kept for all tests."""
    decoder = Decoder()
    yield decoder
    decoder.close()


@pytest.fixture(scope="session")
def ffprobe() -> str:
    """The witness of `tests.ffprobe_oracle`. Where LONGVIEW_NEED_FFPROBE is set it must be there, elsewhere its tests are left out."""
    found = shutil.which("ffprobe")
    if found is None and os.environ.get("LONGVIEW_NEED_FFPROBE"):
        pytest.fail("ffprobe is not installed, but LONGVIEW_NEED_FFPROBE is set.")
    if found is None:
        pytest.skip("ffprobe is not installed")
    return found
