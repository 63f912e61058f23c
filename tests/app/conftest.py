"""An application over a library of its own for each module, and videos for it."""

from pathlib import Path

import pytest

from longview.app.service import Longview
from longview.indexing.records.video import VideoEntry
from longview.video.synthetic import render
from tests.support.app_samples import RING, TWICE, demo_settings


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Longview:
    return Longview(demo_settings(tmp_path_factory.mktemp("library")))


@pytest.fixture(scope="session")
def twice_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render(tmp_path_factory.mktemp("videos") / "twice.mp4", TWICE, 30.0, fps=12.5)


@pytest.fixture(scope="module")
def twice(app: Longview, twice_path: Path) -> VideoEntry:
    return app.index(twice_path).result().entry


@pytest.fixture
def short_path(tmp_path: Path) -> Path:
    """A new file for each test, which may change or delete it."""
    return render(tmp_path / "short.mp4", [RING], 5.0, fps=5)
