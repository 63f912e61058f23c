"""Media files below folders: all that are there, or, again and again, those that are new or have changed and are complete."""

import os
import stat
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from longview.app.errors import BadRequest
from longview.video.guard import MEDIA_SUFFIXES


@dataclass(frozen=True)
class _State:
    """Properties of a file that change whenever it is written."""

    size_bytes: int
    modified_ns: int
    changed_ns: int
    inode: int


@dataclass
class FolderChanges:
    """What has changed below folders since they were last looked at."""

    complete: list[Path] = field(default_factory=list)
    """Files that are new or have changed, and are no longer written."""
    gone: list[Path] = field(default_factory=list)
    """Files that were complete and are no longer there: removed, or renamed."""


def media_files(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield the files below a folder that have the suffix of a video or of sound, in the order of their names.

    Symbolic links are not followed: what they lead to inside of the folder is found there, and what is outside is not meant.
    Hidden files and folders are left out, because programs write incomplete files under such names. What cannot be read is left
    out, too.

    Raises:
        BadRequest: there is no such folder, or it cannot be read.
    """
    try:
        next(os.scandir(folder), None)
    except OSError as error:
        raise BadRequest(f"{folder} cannot be searched: {error.strerror}.") from error
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(parent, name)
            if name.startswith(".") or path.suffix.lower() not in MEDIA_SUFFIXES:
                continue
            try:
                status = path.lstat()
            except OSError:
                continue
            if stat.S_ISREG(status.st_mode) and status.st_size:
                yield path, status


class FolderWatch:
    """Follows the media files below folders by looking at them again and again, which works on network disks, too."""

    def __init__(self, folders: Sequence[Path], *, rest_s: float) -> None:
        """`rest_s`: time without a change after which a file is taken for complete, in seconds."""
        self._folders, self._rest_s = tuple(folders), rest_s
        self._seen: dict[Path, tuple[_State, float]] = {}
        """State of each file, and when it was first seen in it, on the monotonic clock in seconds."""
        self._complete: dict[Path, _State] = {}

    def look(self) -> FolderChanges:
        """Return what has changed since the last call. A file that is still written is reported by a later call.

        Raises:
            BadRequest: a folder is no longer there.
        """
        found = FolderChanges()
        seen: dict[Path, tuple[_State, float]] = {}
        now_s = time.monotonic()
        for folder in self._folders:
            for path, status in media_files(folder):
                state = _State(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
                earlier = self._seen.get(path)
                # The clocks of this machine and of a network disk may differ, so that an age is trusted at the first look only.
                age_s = max(0.0, time.time() - status.st_ctime)
                since_s = now_s - age_s if earlier is None else (earlier[1] if earlier[0] == state else now_s)
                seen[path] = (state, since_s)
                if now_s - since_s >= self._rest_s and self._complete.get(path) != state:
                    self._complete[path] = state
                    found.complete.append(path)
        found.gone = [path for path in self._complete if path not in seen]
        for path in found.gone:
            del self._complete[path]
        self._seen = seen
        return found
