"""An application over a library of its own for each module, and videos for it."""

from pathlib import Path

import pytest

from longview.app.service import Longview
from longview.indexing.records.video import VideoEntry
from longview.video.synthetic import render
from tests.support.app_samples import RING, TWICE, demo_settings
from tests.support.shared_files import shared_folder


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Longview:
    return Longview(demo_settings(tmp_path_factory.mktemp("library")))


@pytest.fixture(scope="session")
def twice_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    name = "twice.mp4"
    return shared_folder(tmp_path_factory, "twice", lambda folder: render(folder / name, TWICE, 30.0, fps=12.5)) / name


@pytest.fixture(scope="module")
def twice(app: Longview, twice_path: Path) -> VideoEntry:
    return app.index(twice_path).result().entry


@pytest.fixture
def short_path(tmp_path: Path) -> Path:
    """A new file for each test, which may change or delete it."""
    return render(tmp_path / "short.mp4", [RING], 5.0, fps=5)
