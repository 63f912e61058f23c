"""Weights that are damaged are named before they are loaded."""

import os
import shutil
from pathlib import Path

import pytest

from longview.model.engine.checkpoints.checkpoints import DEMO, find_checkpoint
from longview.model.engine.checkpoints.weight_files import check_demo
from longview.model.engine.loading import load_model
from longview.model.errors import InvalidCheckpoint


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the demo checkpoint in another folder."""
    return shutil.copytree(DEMO, tmp_path / "copy", ignore=shutil.ignore_patterns("*.py", "__pycache__"))


def test_flipped_exponents_of_the_demo_checkpoint_are_noticed(copy: Path) -> None:
    check_demo(DEMO)
    check_demo(copy)
    weights = copy / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 0x40
    weights.write_bytes(content)
    with pytest.raises(InvalidCheckpoint, match=rf"{weights} .*install Longview again"):
        check_demo.__wrapped__(copy)


@pytest.mark.parametrize("damage", ["cut", "header"])
def test_a_damaged_weight_file_of_a_checkpoint_is_named(copy: Path, damage: str) -> None:
    weights = copy / "model.safetensors"
    if damage == "cut":
        os.truncate(weights, weights.stat().st_size - 1)
    else:
        with weights.open("r+b") as file:
            file.write(b"\xff" * 16)
    with pytest.raises(InvalidCheckpoint, match=f"{weights} is damaged.*copy it again"):
        load_model(find_checkpoint(str(copy)), "cpu")
