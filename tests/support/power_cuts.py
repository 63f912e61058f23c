"""The calls that decide what a power cut leaves of files that are written under another name and renamed."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


class DiskCalls:
    """The synchronisations and renames of a real run, which all take place.

    After a rename, a power cut may leave an empty file unless its content was synchronised before, and the old file, or none,
    unless the folder was synchronised after it.
    """

    def __init__(self) -> None:
        self.renamed: list[str] = []
        """Names of the files that were put in their places."""
        self._synced: dict[tuple[int, int], tuple[int, int]] = {}
        self._problems: list[str] = []
        self._pending: dict[tuple[int, int], list[str]] = {}

    def note_sync(self, handle: int) -> None:
        """Note that a file or a folder was synchronised."""
        status = os.fstat(handle)
        if stat.S_ISDIR(status.st_mode):
            self._pending.pop(_identity(status), None)
        else:
            self._synced[_identity(status)] = _content(status)

    def note_rename(self, source: str | Path, target: str | Path) -> None:
        """Note that a file is about to be renamed."""
        status = Path(source).stat()
        self.renamed.append(Path(target).name)
        if self._synced.get(_identity(status)) != _content(status):
            self._problems.append(f"{target} may be empty: its content was not synchronised before the rename")
        self._pending.setdefault(_identity(Path(target).parent.stat()), []).append(f"{target} may be missing")

    @property
    def losses(self) -> list[str]:
        """What a power cut at this moment may damage."""
        return [*self._problems, *(text for texts in self._pending.values() for text in texts)]


@contextmanager
def disk_calls() -> Iterator[DiskCalls]:
    """Record the synchronisations and renames of this process while the block runs."""
    calls, fsync = DiskCalls(), os.fsync

    def noted_fsync(handle: int) -> None:
        fsync(handle)
        calls.note_sync(handle)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", noted_fsync)
        for name in ("replace", "rename"):
            original = getattr(os, name)

            def noted(source: str, target: str, original=original) -> None:  # type: ignore[no-untyped-def]
                calls.note_rename(source, target)
                original(source, target)

            patch.setattr(os, name, noted)
        yield calls


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _content(status: os.stat_result) -> tuple[int, int]:
    return status.st_size, status.st_mtime_ns
