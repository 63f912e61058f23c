"""The command line of the training."""

from dataclasses import replace
from pathlib import Path

import pytest

from longview.model.engine.checkpoints.checkpoints import find_checkpoint
from longview.model.training.__main__ import main
from longview.model.training.configs import SIZES, TOY


def test_command_writes_a_checkpoint_and_never_overwrites(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(SIZES, "toy", replace(TOY, scored=((3, 1),), max_reply_tokens=4, tokens_per_step=300))
    folder = tmp_path / "checkpoint"
    monkeypatch.setattr("sys.argv", ["training", "--minutes", "0.002", "--size", "toy", "-o", str(folder)])
    assert main() == 0
    assert "is complete" in capsys.readouterr().out
    assert find_checkpoint(str(folder)).trained_range.max_frames == 24
    assert main() == 1
    assert "already contains a checkpoint" in capsys.readouterr().err
    monkeypatch.setattr("sys.argv", ["training", "--minutes", "0", "-o", str(folder)])
    assert main() == 1
    assert "--minutes" in capsys.readouterr().err
