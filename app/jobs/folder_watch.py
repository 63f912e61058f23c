"""Media files below folders: all that are there, or, again and again, those that are new or have changed and are complete."""

import os
import stat
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from longview.app.errors import BadRequest
from longview.app.files.watched_file import FileState
from longview.video.probing.guard import MEDIA_SUFFIXES

MAX_LEFT_OUT = 5
"""Maximum number of files and folders that are named as left out."""


@dataclass
class FolderChanges:
    """What has changed below folders since they were last looked at."""

    complete: list[Path] = field(default_factory=list)
    """Files that are new or have changed, are no longer written, and are not marked as done."""
    gone: list[Path] = field(default_factory=list)
    """Files that were marked as done and are no longer there: removed, or renamed."""
    unreachable: list[Path] = field(default_factory=list)
    """Folders that could be read before and cannot be read now, such as those of a network disk that was unmounted."""


def media_files(folder: Path, *, max_s: float | None = None) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield the files below a folder that have the suffix of a video or of sound, in the order of their names.

    Symbolic links are not followed: what they lead to inside of the folder is found there, and what is outside is not meant.
    Hidden files and folders are left out, because programs write incomplete files under such names. What cannot be read is left
    out, too. `max_s`: maximum time, in seconds.

    Raises:
        BadRequest: there is no such folder, it cannot be read, or it has more folders than are read in `max_s`.
    """
    deadline_s = None if max_s is None else time.monotonic() + max_s
    try:
        next(os.scandir(folder), None)
    except OSError as error:
        raise BadRequest(f"{folder} cannot be searched: {error.strerror}.") from error
    for parent, folders, names in os.walk(folder):
        if deadline_s is not None and time.monotonic() > deadline_s:
            raise BadRequest(f"{folder} has more folders than can be read in {max_s:g} s; choose one below it.")
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


def left_out(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield what `media_files` leaves out although a person may count on it, and why: empty files, and folders and files that
    cannot be read. Hidden ones are not meant."""
    unreadable: list[tuple[Path, str]] = []

    def note(error: OSError) -> None:
        unreadable.append((Path(error.filename), f"cannot be read: {error.strerror}"))

    for parent, folders, names in os.walk(folder, onerror=note):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(parent, name)
            if name.startswith(".") or path.suffix.lower() not in MEDIA_SUFFIXES:
                continue
            try:
                status = path.lstat()
            except OSError as error:
                yield path, f"cannot be read: {error.strerror}"
                continue
            if stat.S_ISREG(status.st_mode) and not status.st_size:
                yield path, "is empty"
    yield from unreadable


def left_out_text(folder: Path) -> str:
    """Return what is left out of a folder as a sentence; empty if nothing is."""
    reasons = [f"{path} {reason}" for path, reason in left_out(folder)]
    more = [f"and {len(reasons) - MAX_LEFT_OUT:,} more"] if len(reasons) > MAX_LEFT_OUT else []
    return f"Left out: {'; '.join([*reasons[:MAX_LEFT_OUT], *more])}." if reasons else ""


class FolderWatch:
    """Follows the media files below folders by looking at them again and again, which works on network disks, too."""

    def __init__(self, folders: Sequence[Path], *, rest_s: float) -> None:
        """`rest_s`: time without a change after which a file is considered complete, in seconds."""
        self._folders, self._rest_s = tuple(folders), rest_s
        self._states: dict[Path, tuple[FileState, float]] = {}
        """State of each file, and when it was first seen in it, on the monotonic clock in seconds."""
        self._done_states: dict[Path, FileState] = {}
        """State in which each file was complete and the caller has marked it as done."""
        self._unreachable: frozenset[Path] = frozenset()
        self._devices: dict[Path, int] = {}
        """Number of the device of each folder when it was last read."""

    def look(self) -> FolderChanges:
        """Return what has changed since the last call.

        A file that is still written is reported by a later call. A complete file is reported by every call until `mark_done`. The
        files of a folder that cannot be read any more are considered unchanged until it can be read again.

        Raises:
            BadRequest: a folder cannot be read at the first call.
        """
        changes = FolderChanges()
        states: dict[Path, tuple[FileState, float]] = {}
        unreachable: set[Path] = set()
        now_s, is_first = time.monotonic(), not self._devices
        for folder in self._folders:
            files = self._media_files(folder)
            if files is None:
                unreachable.add(folder)
                continue
            for path, status in files:
                if path in states:  # one folder may be inside of another
                    continue
                state = FileState.of(status)
                earlier = self._states.get(path)
                since_s = earlier[1] if earlier and earlier[0] == state else now_s
                if is_first:
                    # The clock of a network disk may be behind. A file that comes later is observed for the whole time instead.
                    since_s = now_s - max(0.0, time.time() - status.st_ctime)
                states[path] = (state, since_s)
                if now_s - since_s >= self._rest_s and self._done_states.get(path) != state:
                    changes.complete.append(path)
        for path, (state, _) in self._states.items():
            if path not in states and any(path.is_relative_to(folder) for folder in unreachable):
                # Nobody sees meanwhile whether the file is written.
                states[path] = (state, now_s)
        changes.gone = [path for path in self._done_states if path not in states]
        for path in changes.gone:
            del self._done_states[path]
        changes.unreachable = [folder for folder in self._folders if folder in unreachable - self._unreachable]
        self._states, self._unreachable = states, frozenset(unreachable)
        return changes

    def mark_done(self, path: Path) -> None:
        """Report a complete file of the last call of `look` no more, unless it changes.

        The caller marks a file when it has added it, so that a file is not lost because the library could not be written.
        """
        self._done_states[path] = self._states[path][0]

    def _media_files(self, folder: Path) -> list[tuple[Path, os.stat_result]] | None:
        """Return the files of a folder; None if it could be read before and cannot be read now.

        Raises:
            BadRequest: it could never be read.
        """
        try:
            files = list(media_files(folder))
            device = folder.stat().st_dev
        except (BadRequest, OSError):
            if folder not in self._devices:
                raise
            return None
        # What is left of a disk that was unmounted is an empty folder of another disk.
        if not files and self._devices.get(folder, device) != device:
            return None
        self._devices[folder] = device
        return files
