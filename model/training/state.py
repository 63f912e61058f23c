"""The state of a run in one file, which is there whole or not at all."""

import io
import os
import pickle
from pathlib import Path
from typing import Any

import torch

from longview.model.errors import TrainingRefused
from longview.video.atomic import atomic_write

STATE_FILE = "training_state.pt"


def save_state(folder: Path, state: dict[str, Any]) -> None:
    """Replace the state in a folder; whatever stops this on its way leaves the old one as it was."""
    with atomic_write(folder / STATE_FILE) as partial, partial.open("wb") as file:
        torch.save(state, file)
        # On the disk before it takes the old one's name, or a power cut leaves an empty file of that name.
        file.flush()
        os.fsync(file.fileno())


def load_state(folder: Path) -> dict[str, Any] | None:
    """The state in a folder, on the CPU; None if there is none.

    Raises:
        TrainingRefused: the file is no state of this program.
    """
    path = folder / STATE_FILE
    if not path.exists():
        return None
    try:
        # Only plain values and tensors: a file from elsewhere cannot run code.
        state: dict[str, Any] = torch.load(io.BytesIO(path.read_bytes()), map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError) as error:
        raise TrainingRefused(f"{path} cannot be read as the state of a run ({error}); remove it to begin anew.") from error
    return state


def forget_state(folder: Path) -> None:
    """Remove the state, and what an interrupted write left beside it."""
    (folder / STATE_FILE).unlink(missing_ok=True)
    remove_partials(folder)


def remove_partials(folder: Path) -> None:
    """Remove what killed writes left in a folder."""
    for path in folder.glob(".partial-*"):
        path.unlink(missing_ok=True)
