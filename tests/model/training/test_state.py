"""A training state is always complete, whatever interrupts its write."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from longview.model.errors import TrainingRefused
from longview.model.training.state import STATE_FILE, delete_state, load_state, save_state


class Interrupted(Exception):
    pass


def test_failed_write_leaves_the_old_state(tmp_path: Path) -> None:
    save_state(tmp_path, {"step": 1, "weights": torch.arange(1000)})

    class Unpicklable:
        def __reduce__(self) -> Any:
            raise Interrupted

    with pytest.raises(Interrupted):
        save_state(tmp_path, {"step": 2, "weights": torch.arange(1000), "more": Unpicklable()})
    state = load_state(tmp_path)
    assert state is not None and state["step"] == 1 and torch.equal(state["weights"], torch.arange(1000))
    assert [path.name for path in tmp_path.iterdir()] == [STATE_FILE]


def test_killed_write_leaves_a_complete_state(tmp_path: Path) -> None:
    save_state(tmp_path, {"step": 0, "weights": torch.zeros(300_000)})
    before = 0
    for pause_s in (0.05, 0.073, 0.11):
        child = os.fork()
        if child == 0:
            for step in range(before + 1, 1_000_000):
                save_state(tmp_path, {"step": step, "weights": torch.full((300_000,), float(step))})
            os._exit(0)
        time.sleep(pause_s)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        state = load_state(tmp_path)
        assert state is not None and state["step"] >= before
        assert (state["weights"] == state["step"]).all()
        before = state["step"]
    assert before > 0
    delete_state(tmp_path)
    assert not list(tmp_path.iterdir())


def test_other_file_is_refused_as_a_state(tmp_path: Path) -> None:
    assert load_state(tmp_path) is None
    (tmp_path / STATE_FILE).write_bytes(b"not a state")
    with pytest.raises(TrainingRefused, match="remove it"):
        load_state(tmp_path)
