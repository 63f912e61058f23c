"""A video, and a pool whose replies are scripted: the sessions are decoded once for all tests of this folder."""

from collections.abc import Callable, Iterator

import pytest

from longview.model.engine.sessions import SessionPool
from longview.video.decoding.decoder import Decoder
from longview.video.probing.probe import VideoInfo, probe
from longview.video.synthetic import ShapesEvent, render
from tests.support.fakes import Script, ScriptedEngine
from tests.support.task_scripts import (
    refuse,
    scripted,
)

DURATION_S = 180.0


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> VideoInfo:
    events = [ShapesEvent(5.0, 170.0, "red", "circle", "moves to the right")]
    return probe(render(tmp_path_factory.mktemp("real") / "video.mp4", events, DURATION_S, width=160, height=96, fps=5.0))


@pytest.fixture(scope="session")
def shared_pool(decoder: Decoder) -> SessionPool:
    """A pool whose sessions are decoded once for all scripts."""
    return SessionPool(ScriptedEngine(refuse), decoder)


@pytest.fixture
def play(shared_pool: SessionPool) -> Iterator[Callable[[Script], SessionPool]]:
    """A function that gives the shared pool a script."""

    def play(script: Script) -> SessionPool:
        scripted(shared_pool).script = script
        return shared_pool

    yield play
    scripted(shared_pool).script = refuse
