"""The limit of a library's caches: of thumbnails and browser copies, those that were used longest ago are deleted first."""

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from longview.indexing.library_files import PROXIES, THUMBNAILS, delete_inside

log = logging.getLogger(__name__)

CACHE_FOLDERS = (THUMBNAILS, PROXIES)
"""Folders of a library with files that are rebuilt when they are needed; each name begins with the id of its video."""
RECENT_S = 300.0
"""Time after its last use for which a file is not deleted, in seconds, unless it alone exceeds the limit."""
USE_PERIOD_S = 60.0
"""Minimum time between two uses of a file that are noted, in seconds."""
MEASURE_PERIOD_S = 600.0
"""Time after which the size of the caches is measured again, in seconds: other processes write files, too."""
FILLED_SHARE = 0.95
"""Share of the limit that is left when files are deleted, so that the folders are not read for every file that is written."""


@dataclass(frozen=True)
class CachedFile:
    """A thumbnail or a browser copy."""

    path: Path
    size_bytes: int
    used_at: float
    """Time of its last use in seconds since the epoch: the time of change of the file."""


def cached_files(folder: Path) -> Iterator[CachedFile]:
    """Yield the cached files of a library folder, without those that are being written."""
    for name in CACHE_FOLDERS:
        with suppress(OSError), os.scandir(folder / name) as items:
            for item in items:
                # Another process may delete the file.
                with suppress(OSError):
                    if not item.name.startswith(".") and item.is_file(follow_symlinks=False):
                        status = item.stat(follow_symlinks=False)
                        yield CachedFile(Path(item.path), status.st_size, status.st_mtime)


def limit_caches(folder: Path, max_bytes: int, *, written: Path | None = None) -> int:
    """Delete the cached files of a library folder that were used longest ago, if all exceed a limit; return the size of the rest.

    `written`: a file that was just written, which stays. Files that cannot be deleted stay, too.
    """
    files = list(cached_files(folder))
    total = sum(file.size_bytes for file in files)
    if total <= max_bytes:
        return total
    now = time.time()
    for file in sorted(files, key=lambda file: file.used_at):
        if total <= max_bytes * FILLED_SHARE:
            break
        is_recent = abs(now - file.used_at) < RECENT_S
        if file.path == written or (is_recent and file.size_bytes <= max_bytes):
            continue
        try:
            delete_inside(folder, file.path)
        except OSError as error:
            log.warning("%s cannot be deleted: %s", file.path, error.strerror)
            continue
        total -= file.size_bytes
    return total


class CacheLimit:
    """The limit of the caches of one library folder. Safe for several threads."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder, self._max_bytes = folder, max_bytes
        self._lock = threading.Lock()
        self._total_bytes = 0
        self._measured_at = -MEASURE_PERIOD_S

    def note_use(self, path: Path) -> None:
        """Set the last use of a file to now. In a library that cannot be written, it stays as it is."""
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > USE_PERIOD_S:
                os.utime(path)

    def note_write(self, path: Path) -> None:
        """Count a file that was just written, and delete others where all exceed the limit."""
        with self._lock, suppress(OSError):
            self._total_bytes += path.stat().st_size
            is_measured = time.monotonic() - self._measured_at < MEASURE_PERIOD_S
            if not is_measured or self._total_bytes > self._max_bytes:
                self._total_bytes = limit_caches(self._folder, self._max_bytes, written=path)
                self._measured_at = time.monotonic()
