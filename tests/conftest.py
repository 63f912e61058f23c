"""Fixtures that several test modules share.

The process that distributes the tests over workers reads this file, too, and needs no PyTorch: fixtures import what they use.
"""

import gc
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from longview.video.synthetic import ShapesEvent, render
from tests.support.shared_files import shared_folder

if TYPE_CHECKING:
    from longview.model.engine.local import LocalEngine
    from longview.model.engine.sessions import SessionPool
    from longview.model.tasks.verifier import Verifier
    from longview.video.decoding.decoder import Decoder
    from longview.video.probing.probe import VideoInfo
    from tests.support.hub_server import Hub

SHAPES = (
    ShapesEvent(2.0, 7.0, "red", "circle", "moves to the right"),
    ShapesEvent(9.0, 13.0, "green", "square", "stays still"),
    ShapesEvent(15.0, 19.0, "blue", "star", "grows"),
)
"""Events of `shapes_video`, which is 20 seconds long."""


LONGEST_FILES = (
    "test_regular_expressions.py",
    "test_commands.py",
    "test_caption_resume.py",
    "test_speech.py",
    "test_browser.py",
    "test_evaluate.py",
    "test_server.py",
)
"""Files that take a minute or longer. They begin first, so that in the end no worker waits for another one."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the tests of the longest files before those of the others."""
    items.sort(key=lambda item: item.path.name not in LONGEST_FILES)


@pytest.fixture(scope="module", autouse=True)
def freed_memory() -> Iterator[None]:
    """Free what a module has left in cycles: models have few objects, so that gigabytes would wait for the garbage collector.

    It need not look again at what lives on, above all the imports.
    """
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def machine_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep measured speeds out of the user's cache, and use random weights; processes that the tests start inherit both."""
    os.environ["LONGVIEW_CANARY"] = "0"
    os.environ["LONGVIEW_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def shapes_events() -> tuple[ShapesEvent, ...]:
    """The true timeline of `shapes_video`."""
    return SHAPES


@pytest.fixture(scope="session")
def shapes_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MP4 of 20 seconds at 25 frames per second, 320x192, without sound."""
    return shared_folder(tmp_path_factory, "shapes", lambda folder: render(folder / "shapes.mp4", SHAPES, 20.0)) / "shapes.mp4"


@pytest.fixture(scope="session")
def shapes_video(shapes_path: Path) -> "VideoInfo":
    """The same video, probed."""
    from longview.video.probing.probe import probe

    return probe(shapes_path)


@pytest.fixture(scope="session")
def engine() -> "LocalEngine":
    """The bundled checkpoint, loaded once, on the CPU with one thread."""
    from longview.model.engine.checkpoints.checkpoints import find_checkpoint
    from longview.model.engine.local import LocalEngine

    return LocalEngine(find_checkpoint("demo"), device="cpu", cpu_threads=1)


@pytest.fixture(scope="session")
def decoder() -> Iterator["Decoder"]:
    """A decoder with the default limits for all tests."""
    from longview.video.decoding.decoder import Decoder

    decoder = Decoder()
    yield decoder
    decoder.close()


@pytest.fixture(scope="module")
def pool(engine: "LocalEngine", decoder: "Decoder") -> "SessionPool":
    """A pool of sessions of the bundled checkpoint for one module."""
    from longview.model.engine.sessions import SessionPool

    return SessionPool(engine, decoder, memory_bytes=1 << 30)


@pytest.fixture(scope="session")
def verifier(engine: "LocalEngine") -> "Verifier":
    """The verifier of the bundled checkpoint."""
    from longview.model.verifiers import verifier_for

    return verifier_for(engine.checkpoint)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator["Hub"]:
    """A model hub on the loopback interface, for this process alone, with an empty cache and no token."""
    from huggingface_hub import close_session, constants

    from tests.support.hub_server import running_hub

    with running_hub() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}")
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf" / "hub"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "hf" / "token"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        # Small files have several chunks, too.
        monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield hub
        close_session()


@pytest.fixture(scope="session")
def ffprobe() -> str:
    """Path of ffprobe, for `tests.support.ffprobe_oracle`. Without it tests are skipped, or fail if LONGVIEW_NEED_FFPROBE is
    set."""
    path = shutil.which("ffprobe")
    if path is None and os.environ.get("LONGVIEW_NEED_FFPROBE"):
        pytest.fail("ffprobe is not installed, but LONGVIEW_NEED_FFPROBE is set.")
    if path is None:
        pytest.skip("ffprobe is not installed")
    return path
