"""Housekeeping of a library: removals and jobs that have expired are deleted, with uploads that nothing needs, and temporary
files; caches keep to their limit."""

import logging
import os
import re
import stat
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from longview.app.files.cache_limit import CACHE_FOLDERS, limit_caches
from longview.app.maintenance.restore import STAGING_PREFIX
from longview.app.service import Longview
from longview.app.serving.cuts import delete_expired_cuts
from longview.app.serving.part_uploads import delete_expired_uploads
from longview.app.serving.upload_cache import delete_left_uploads
from longview.core.atomic import PARTIAL_PREFIX
from longview.indexing.errors import LibraryError
from longview.indexing.library_files import SAMPLE_FILES, UPLOADS, delete_inside
from longview.indexing.sqlite.library import Library
from longview.indexing.sqlite.tracks.removals import RemovedVideo

log = logging.getLogger(__name__)

ENDED_JOBS_KEPT_S = 7 * 24 * 3600.0
"""Time for which a job that has ended is listed, and one that has failed can be tried again, in seconds."""
UNUSED_UPLOADS_KEPT_S = 24 * 3600.0
"""Minimum age of an upload that nothing needs, in seconds: its job may not have been added yet."""
PARTIAL_KEPT_S = 24 * 3600.0
"""Minimum time since the last change of a temporary file that a process has left, in seconds."""
DATABASE_AND_VECTORS = re.compile(r"\.(db|db-\w+|before-version-\d+|before-version-\d+-\w+|faiss|json)")
"""Suffixes of the temporary files in the library folder itself: of the database, its log and copies, and the vectors."""
PERIOD_S = 3600.0
"""Time between two rounds of housekeeping of a server, in seconds."""


def purge_expired(library: Library, *, now: datetime | None = None) -> tuple[RemovedVideo, ...]:
    """Delete the videos that were removed more than a day ago, and the library's own copies of their uploads; return the videos.

    Video files outside of the library folder stay. An upload stays while another video or a file of the queue needs it. If the
    library cannot be written, the next call does it.
    """
    try:
        videos, freed_bytes = library.removals.delete_expired(library.folder / UPLOADS, now or datetime.now(UTC))
    except LibraryError as error:
        log.info("Expired removals stay for now: %s", error)
        return ()
    for video in videos:
        log.info("The removal of %s (%s) is final.", video.video_id, video.title)
    if freed_bytes:
        log.info("%.1f MB of uploads were deleted with them.", freed_bytes / 1e6)
    return videos


def purge_cleared(library: Library, *, now: datetime | None = None) -> None:
    """Delete the conversations that were cleared more than a day ago. If the library cannot be written, the next call does it."""
    try:
        library.conversations.delete_expired(now or datetime.now(UTC))
    except LibraryError as error:
        log.info("Cleared conversations stay for now: %s", error)


def purge_jobs(library: Library) -> None:
    """Delete the jobs that ended some time ago, and the uploads that no video and no job needs any more.

    If the library cannot be written, or its folder cannot be read, the next call does it.
    """
    try:
        library.queue.delete_ended(older_than_s=ENDED_JOBS_KEPT_S)
        unused_uploads = library.removals.unused_uploads(library.folder / UPLOADS, older_than_s=UNUSED_UPLOADS_KEPT_S)
    except (LibraryError, OSError) as error:
        log.info("Jobs that ended stay for now: %s", error)
        return
    for path in unused_uploads:
        log.info("The upload %s belongs to no video and no job; it is deleted.", path.name)
        _delete(library.folder, path)


def partial_paths(folder: Path, *, older_than_s: float) -> list[Path]:
    """Return the temporary files that processes have left in a library, and the folders of interrupted restores.

    Only where Longview writes such files itself: others in the library folder belong to the user. What was changed less than
    `older_than_s` seconds ago is left out, because it may be in use, and so is what cannot be examined.
    """
    before_s = time.time() - older_than_s
    return sorted(path for path, changed_s in _partial_paths(folder) if changed_s < before_s)


def _partial_paths(folder: Path) -> Iterator[tuple[Path, float]]:
    """Yield temporary files and folders with the times of their last changes, in seconds since the epoch."""
    for parent in (folder, *(folder / name for name in (UPLOADS, SAMPLE_FILES, *CACHE_FOLDERS))):
        for path, status in _items(parent):
            if not path.name.startswith(PARTIAL_PREFIX):
                continue
            if stat.S_ISREG(status.st_mode) and (parent != folder or DATABASE_AND_VECTORS.fullmatch(path.suffix)):
                yield path, status.st_mtime
            elif stat.S_ISDIR(status.st_mode) and parent == folder and path.name.startswith(STAGING_PREFIX):
                parents = (Path(name) for name, _, _ in os.walk(path))
                yield path, max([status.st_mtime, *(item.st_mtime for inside in parents for _, item in _items(inside))])


def _items(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield what is directly in a folder and can be examined. Symbolic links are not followed."""
    try:
        paths = list(folder.iterdir())
    except FileNotFoundError:
        return
    except OSError as error:
        log.info("%s cannot be searched: %s", folder, error.strerror)
        return
    for path in paths:
        try:
            status = path.lstat()
        except OSError as error:
            log.info("%s cannot be examined: %s", path, error.strerror)
        else:
            yield path, status


def delete_partial(folder: Path) -> None:
    """Delete the temporary files that were left in a library, or in the cache of this machine, more than a day ago."""
    for path in partial_paths(folder, older_than_s=PARTIAL_KEPT_S):
        _delete(folder, path)


def _delete(folder: Path, path: Path) -> None:
    """Delete a file, or a folder with all that is in it; log what cannot be deleted."""
    try:
        delete_inside(folder, path)
    except OSError as error:
        log.info("%s cannot be deleted: %s", path, error.strerror)


def run_housekeeping(library: Library, cache_bytes: int) -> None:
    """Purge what has expired, temporary files, uploads and cuts that were left, and cached files beyond a limit in bytes."""
    purge_expired(library)
    purge_cleared(library)
    purge_jobs(library)
    delete_left_uploads(library.folder)
    delete_expired_uploads(library.folder)
    delete_expired_cuts(library.folder)
    delete_partial(library.folder)
    limit_caches(library.folder, cache_bytes)


def purge(app: Longview) -> None:
    """Delete the videos and the conversations that were removed or cleared more than a day ago."""
    purge_expired(app.parts.library)
    purge_cleared(app.parts.library)


def run_hourly(app: Longview, stopping: threading.Event) -> None:
    """Run the housekeeping now and every hour, until an event is set."""
    while True:
        try:
            run_housekeeping(app.parts.library, app.settings.cache_bytes)
            delete_partial(app.settings.cache)
        except Exception:
            # A fault of one round must not end the others.
            log.exception("The housekeeping of the library failed; it is tried again in an hour.")
        if stopping.wait(PERIOD_S):
            return
