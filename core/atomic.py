"""Atomic file writes: a file appears complete or not at all."""

import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PARTIAL_PREFIX = ".partial-"
"""Beginning of the name of a file that is being written."""
PRIVATE_MODE, PRIVATE_FOLDER_MODE = 0o600, 0o700
"""Permissions of a file and of a folder that only their owner can read."""
FULL_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT)
"""Error numbers of a disk without space, and of a user whose quota is used up."""


@contextmanager
def atomic_write(target: Path, *, is_private: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `target` that replaces `target` only if the block succeeds.

    The permissions of a file that is replaced are kept. `is_private`: a new file can be read by its owner only.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays the same because ffmpeg selects the container by it.
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=PARTIAL_PREFIX, suffix=target.suffix)
    os.close(handle)
    temporary_path = Path(name)
    try:
        yield temporary_path
        temporary_path.chmod(_mode_of(target, PRIVATE_MODE if is_private else None))
        temporary_path.replace(target)
    finally:
        temporary_path.unlink(missing_ok=True)


def _mode_of(target: Path, new_mode: int | None) -> int:
    """Return the permissions of a file, or else `new_mode`; None: those of any new file, because mkstemp creates private ones."""
    try:
        return stat.S_IMODE(target.stat().st_mode)
    except OSError:
        if new_mode is not None:
            return new_mode
        umask = os.umask(0)
        os.umask(umask)
        return 0o666 & ~umask


def create_private_folder(folder: Path) -> None:
    """Create a folder that only its owner can read, unless it exists; the folders above it get the usual permissions.

    Raises:
        OSError: it cannot be created, or is a file.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=PRIVATE_FOLDER_MODE, exist_ok=True)


def make_private(path: Path, mode: int) -> None:
    """Set the permissions of a file or folder; those of another owner, and on disks without permissions, stay as they are."""
    with suppress(OSError):
        path.chmod(mode)
