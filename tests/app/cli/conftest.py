"""A library of its own for each module, which has one indexed video."""

import json
from pathlib import Path

import pytest

from longview.video.synthetic import render
from tests.support.cli_scene import DURATION_S, EVENTS
from tests.support.shell import Shell


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render(tmp_path_factory.mktemp("videos") / "five events.mp4", EVENTS, DURATION_S, seed=11)


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    return Shell(tmp_path_factory.mktemp("library"))


@pytest.fixture(scope="module")
def video_id(shell: Shell, video: Path) -> str:
    completed = shell.run("index", str(video), "--json")
    (row,) = json.loads(completed.stdout)["videos"]
    assert row["path"] == str(video)
    assert row["duration_s"] == pytest.approx(DURATION_S, abs=0.05)
    assert row["events"] == len(EVENTS)
    assert row["seconds_spent"] > 0
    assert "Captioning" in completed.stderr
    assert "demo checkpoint" in completed.stderr
    return str(row["video_id"])
