"""A video file while sessions are made of it: whether its content is still what was hashed."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from longview.app.errors import VideoGone
from longview.core.progress import NO_PROGRESS, Progress
from longview.video.probing.content_hash import content_hash


@dataclass(frozen=True)
class FileState:
    """Properties of a file that change with its content. A program cannot set the time of the last change of any kind."""

    size_bytes: int
    modified_ns: int
    changed_ns: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> Self:
        """Return the state of a file from what the operating system says of it."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


class WatchedFile:
    """A file whose state was recorded before it was hashed and read."""

    def __init__(self, path: Path, content_hash: str = "") -> None:
        """`content_hash`: the hash of the content that is read, if it is known already."""
        self._path = path
        self._state = _state_of(path)
        self.content_hash = content_hash

    @property
    def has_changed(self) -> bool:
        """Whether the file, but perhaps not its content, has changed since it was recorded or checked."""
        return _state_of(self._path) != self._state

    def check(self, progress: Progress = NO_PROGRESS) -> None:
        """Check that the content is still the same. The file is read only if its state has changed.

        Raises:
            VideoGone: the content has changed, so the result may be about another video. Cancelled: the operation was cancelled.
        """
        state = _state_of(self._path)
        if state is not None and state == self._state:
            return
        if state is None:
            raise VideoGone(f"{self._path} was moved or deleted while it was being read; index it again from where it is now.")
        if content_hash(self._path, progress) != self.content_hash:
            raise VideoGone(f"{self._path} changed while it was being read, so the result was discarded; try again.")
        self._state = state


def _state_of(path: Path) -> FileState | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return FileState.of(status)
