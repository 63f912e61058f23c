"""The state of a training run in one file, which is always complete."""

import io
import pickle
from pathlib import Path
from typing import Any

import torch

from longview.core.atomic import atomic_write
from longview.model.errors import TrainingRefused

STATE_FILE = "training_state.pt"


def save_state(folder: Path, state: dict[str, Any]) -> None:
    """Replace the state in a folder. An interruption at any point leaves the old state unchanged."""
    with atomic_write(folder / STATE_FILE) as partial, partial.open("wb") as file:
        torch.save(state, file)


def load_state(folder: Path) -> dict[str, Any] | None:
    """Load the state in a folder to the CPU; None if there is none.

    Raises:
        TrainingRefused: the file is not a training state.
    """
    path = folder / STATE_FILE
    if not path.exists():
        return None
    try:
        # Only plain values and tensors are loaded, so that a file from elsewhere cannot run code.
        state: dict[str, Any] = torch.load(io.BytesIO(path.read_bytes()), map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError) as error:
        raise TrainingRefused(f"{path} is not a training state ({error}); remove it to start again.") from error
    return state


def delete_state(folder: Path) -> None:
    """Delete the state, and the files that an interrupted write left beside it."""
    (folder / STATE_FILE).unlink(missing_ok=True)
    delete_partial_files(folder)


def delete_partial_files(folder: Path) -> None:
    """Delete the files that interrupted writes left in a folder."""
    for path in folder.glob(".partial-*"):
        path.unlink(missing_ok=True)
