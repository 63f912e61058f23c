"""A library of its own for each module, which has one indexed video."""

import json
import shutil
from pathlib import Path

import pytest

from longview.video.synthetic import render
from tests.support.cli_scene import DURATION_S, EVENTS
from tests.support.shared_files import shared_folder
from tests.support.shell import Shell


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    name = "five events.mp4"
    return shared_folder(tmp_path_factory, "five", lambda folder: render(folder / name, EVENTS, DURATION_S, seed=11)) / name


@pytest.fixture(scope="session")
def indexed_library(tmp_path_factory: pytest.TempPathFactory, video: Path) -> Path:
    """A library in which the command line has indexed the video, for modules to copy."""

    def index(folder: Path) -> None:
        completed = Shell(folder).run("index", str(video), "--json")
        (row,) = json.loads(completed.stdout)["videos"]
        assert row["path"] == str(video)
        assert row["duration_s"] == pytest.approx(DURATION_S, abs=0.05)
        assert row["events"] == len(EVENTS)
        assert row["seconds_spent"] > 0
        assert "Captioning" in completed.stderr
        assert "demo checkpoint" in completed.stderr

    return shared_folder(tmp_path_factory, "five_indexed", index)


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    return Shell(tmp_path_factory.mktemp("library"))


@pytest.fixture(scope="module")
def video_id(shell: Shell, video: Path, indexed_library: Path) -> str:
    if not any(shell.library.iterdir()):
        shutil.copytree(indexed_library, shell.library, dirs_exist_ok=True)
    (row,) = shell.call("index", str(video))["videos"]
    return str(row["video_id"])
