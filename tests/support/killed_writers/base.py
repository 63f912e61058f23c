"""What a writer is, for tests that kill it, and how to read the library in which it works."""

import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from longview.app.maintenance import housekeeping
from longview.indexing.errors import LibraryDamaged
from longview.indexing.sqlite.database.database import DATABASE
from longview.indexing.sqlite.library import Library
from longview.indexing.sqlite.repair.integrity import database_problems
from tests.support.backups import contents
from tests.support.hub_server import Hub
from tests.support.library_samples import put_captions, sample_entry, sample_events

VIDEO_ID, OTHER_ID = "a" * 12, "b" * 12
CLIP_SIZE: dict[str, Any] = {"width": 64, "height": 48, "fps": 10.0}


@dataclass(frozen=True)
class Scene:
    """Where a writer works, and what it has."""

    folder: Path
    clip: Path
    """A video of a second."""
    hub: Hub

    @property
    def library(self) -> Path:
        """The folder of the library, if there is one."""
        return self.folder / "library"


Step = Callable[[Scene], object]


@dataclass(frozen=True)
class Writer:
    """A function of the application that puts files in their places."""

    write: Step
    modules: frozenset[str]
    """The modules that do so by `longview.core.atomic`."""
    prepare: Step
    """Makes what there was before."""
    read: Callable[[Scene], dict[str, object]]
    """Returns what a user finds, in parts that are replaced one by one."""
    tidy: Step | None
    """Deletes the temporary files that a kill has left, as the application does later. None: they stay, because the application
    deletes nothing in folders of users."""


def writer(
    *modules: str, prepare: Step, read: Callable[[Scene], dict[str, object]], tidy: Step | None
) -> Callable[[Step], Writer]:
    """Make the decorated function a writer."""
    return lambda write: Writer(write, frozenset(modules), prepare, read, tidy)


def digest(path: Path) -> str | None:
    """Return the hash of a file; None if there is none."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None


def nothing(_scene: Scene) -> None:
    """Do nothing: there is no file that is replaced, or the next run of the writer itself deletes what a kill has left."""


def keep_house(scene: Scene) -> None:
    """Run the housekeeping of a server."""
    housekeeping.run_housekeeping(Library(scene.library), 1 << 30)


def captioned(scene: Scene) -> Library:
    """Return a new library with a video and two captions."""
    library = Library(scene.library)
    put_captions(library, sample_entry(VIDEO_ID), sample_events("a red circle", "a blue star"))
    return library


@contextmanager
def copied(folder: Path) -> Iterator[Path]:
    """Provide a copy of a library: whoever opens one may upgrade it, or write its log into it."""
    with TemporaryDirectory() as parent:
        yield Path(shutil.copytree(folder, Path(parent) / "library", symlinks=True))


def library_contents(folder: Path) -> object:
    """Return the videos and captions of a library that is whole; "damaged" for another one, and none if there is none."""
    if not any((folder / name).exists() for name in (DATABASE, f"{DATABASE}-wal")):
        return None
    with copied(folder) as copy:
        try:
            library = Library(copy)
        except LibraryDamaged:
            return "damaged"
        assert database_problems(copy) == []
        return contents(library)
