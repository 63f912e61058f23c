"""Atomic file writes: a file appears complete or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_write(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside `target` that replaces `target` only if the block succeeds."""
    target.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays the same because ffmpeg selects the container by it.
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=".partial-", suffix=target.suffix)
    os.close(handle)
    temporary_path = Path(name)
    try:
        yield temporary_path
        # mkstemp creates private files; the final file gets the permissions of any new file.
        umask = os.umask(0)
        os.umask(umask)
        temporary_path.chmod(0o666 & ~umask)
        temporary_path.replace(target)
    finally:
        temporary_path.unlink(missing_ok=True)
