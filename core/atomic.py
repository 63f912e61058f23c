"""Atomic file writes: a file appears complete or not at all, also after a power cut.

A file system may store a rename before the content of the file, and neither of them before it is asked to: the content is
therefore synchronised before the rename, and the folder after it (POSIX `fsync`; man 2 fsync, "Notes").
"""

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PARTIAL_PREFIX = ".partial-"
"""Beginning of the name of a file that is being written."""
PRIVATE_MODE, PRIVATE_FOLDER_MODE = 0o600, 0o700
"""Permissions of a file and of a folder that only their owner can read."""
USUAL_MODE = 0o666
"""Permissions that are asked for a file that others may read. The system takes away those that the umask forbids."""
FULL_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT)
"""Error numbers of a disk without space, and of a user whose quota is used up."""
UNSYNCABLE_FOLDER_ERRORS = (errno.EINVAL, errno.ENOTSUP, errno.EACCES)
"""Error numbers of a folder that cannot be synchronised: some network disks refuse it, and some folders can be written but not
read."""


@contextmanager
def atomic_write(target: Path, *, is_private: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `target` that replaces `target` only if the block succeeds.

    The permissions of a file that is replaced are kept. `is_private`: a new file can be read by its owner only.
    """
    create_folder(target.parent)
    # The suffix stays the same because ffmpeg selects the container by it.
    temporary_path = target.with_name(f"{PARTIAL_PREFIX}{secrets.token_hex(8)}{target.suffix}")
    # A file that takes the place of a private one is never readable by others, not even while it is written.
    asked_mode = PRIVATE_MODE if is_private or target.exists() else USUAL_MODE
    handle = os.open(temporary_path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, asked_mode)
    # The umask is a property of the process: to read it means to change it under the other threads.
    new_mode = stat.S_IMODE(os.fstat(handle).st_mode)
    os.close(handle)
    try:
        yield temporary_path
        temporary_path.chmod(_mode_of(target, new_mode))
        replace_file(temporary_path, target)
    finally:
        temporary_path.unlink(missing_ok=True)


def replace_file(source: Path, target: Path) -> None:
    """Move a file to a path on the same disk, in place of a file there, so that a power cut leaves either of them complete.

    Raises:
        OSError: the disk is full, or the file or the folder cannot be written.
    """
    sync_file(source)
    source.replace(target)
    sync_folder(target.parent)


def sync_file(path: Path) -> None:
    """Wait until the content of a file, whoever wrote it, is stored on its disk.

    Raises:
        OSError: it cannot be stored: the disk is full or broken.
    """
    # Windows synchronises only what is open for writing.
    _sync(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)


def sync_folder(folder: Path) -> None:
    """Wait until the names of a folder are stored on its disk, where the system can do this.

    Raises:
        OSError: they cannot be stored: the disk is full or broken.
    """
    if os.name == "nt":
        return
    try:
        _sync(folder, os.O_RDONLY)
    except OSError as error:
        if error.errno not in UNSYNCABLE_FOLDER_ERRORS:
            raise


def _sync(path: Path, flags: int) -> None:
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _mode_of(target: Path, new_mode: int) -> int:
    """Return the permissions of a file, or else `new_mode`."""
    try:
        return stat.S_IMODE(target.stat().st_mode)
    except OSError:
        return new_mode


def create_folder(folder: Path, mode: int = 0o777) -> None:
    """Create a folder, and those above it with the usual permissions, unless they exist; store their names on the disk.

    Raises:
        OSError: it cannot be created, or is a file.
    """
    if folder.is_dir():
        return
    try:
        folder.mkdir(mode=mode, exist_ok=True)
    except FileNotFoundError:
        if folder.parent == folder:
            raise
        create_folder(folder.parent)
        folder.mkdir(mode=mode, exist_ok=True)
    sync_folder(folder.parent)


def create_private_folder(folder: Path) -> None:
    """Create a folder that only its owner can read, unless it exists; the folders above it get the usual permissions.

    Raises:
        OSError: it cannot be created, or is a file.
    """
    create_folder(folder, PRIVATE_FOLDER_MODE)


def make_private(path: Path, mode: int) -> None:
    """Set the permissions of a file or folder; those of another owner, and on disks without permissions, stay as they are."""
    with suppress(OSError):
        path.chmod(mode)
