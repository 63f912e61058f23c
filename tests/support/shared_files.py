"""Files that all workers of one run of the tests need, such as rendered videos: each is made once."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock


def shared_folder(factory: pytest.TempPathFactory, name: str, fill: Callable[[Path], object]) -> Path:
    """Return the folder of this name, which the first worker that asks fills. Tests only read what is in it."""
    # The folder of a worker is inside of that of the run; without workers, the folder above belongs to all runs.
    base = factory.getbasetemp()
    root = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    root.mkdir(exist_ok=True)
    folder = root / name
    with FileLock(root / f"{name}.lock"):
        if not (root / f"{name}.done").exists():
            folder.mkdir(exist_ok=True)
            fill(folder)
            (root / f"{name}.done").touch()
    return folder
