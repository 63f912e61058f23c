"""Atomic file writes: a file appears complete or not at all."""

import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PARTIAL = ".partial-"
"""Beginning of the name of a file that is being written."""
FULL_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT)
"""Error numbers of a disk without space, and of a user whose quota is used up."""


@contextmanager
def atomic_write(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside `target` that replaces `target` only if the block succeeds.

    The permissions of a file that is replaced are kept.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays the same because ffmpeg selects the container by it.
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=PARTIAL, suffix=target.suffix)
    os.close(handle)
    temporary_path = Path(name)
    try:
        yield temporary_path
        temporary_path.chmod(_mode_of(target))
        temporary_path.replace(target)
    finally:
        temporary_path.unlink(missing_ok=True)


def _mode_of(target: Path) -> int:
    """Return the permissions of a file, or those of any new file; mkstemp creates private ones."""
    try:
        return stat.S_IMODE(target.stat().st_mode)
    except OSError:
        umask = os.umask(0)
        os.umask(umask)
        return 0o666 & ~umask
