"""Folders of models: names that mean a folder of the user, and the files of weights that a folder must have."""

import json
from pathlib import Path

from longview.model.errors import InvalidCheckpoint

WEIGHT_INDEX = "model.safetensors.index.json"
"""Name of the file that lists the files of a checkpoint's weights, if there are several."""


def find_folder(name: str) -> Path | None:
    """Return the folder that a name means; None if it means none, for instance because no path can be so long."""
    try:
        folder = Path(name).expanduser()
        return folder if folder.is_dir() else None
    except (OSError, RuntimeError, ValueError):
        # `~name` of a user who does not exist is a RuntimeError.
        return None


def indexed_files(folder: Path) -> list[str]:
    """Return the names of the weight files that the index of a checkpoint of several files lists; empty without an index.

    Raises:
        InvalidCheckpoint: the index cannot be read.
    """
    path = folder / WEIGHT_INDEX
    if not path.exists():
        return []
    try:
        return sorted({str(name) for name in json.loads(path.read_text(encoding="utf-8"))["weight_map"].values()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidCheckpoint(f"{path} is not the index of a checkpoint's weights.") from error
