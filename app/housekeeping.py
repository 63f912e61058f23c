"""Housekeeping of a library: removals and jobs that have expired are deleted, with uploads that nothing needs; caches keep to
their limit."""

import logging
import shutil
import threading
from datetime import UTC, datetime

from longview.app.cache_limit import limit_caches
from longview.app.storage import partial_paths
from longview.indexing.errors import LibraryError
from longview.indexing.library import Library
from longview.indexing.removals import UPLOADS, RemovedVideo

log = logging.getLogger(__name__)

ENDED_JOBS_KEPT_S = 7 * 24 * 3600.0
"""Time for which a job that has ended is listed, and one that has failed can be tried again, in seconds."""
UNUSED_UPLOADS_KEPT_S = 24 * 3600.0
"""Minimum age of an upload that nothing needs, in seconds: its job may not have been added yet."""
PARTIAL_KEPT_S = 24 * 3600.0
"""Minimum time since the last change of a temporary file that a process has left, in seconds."""
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


def purge_jobs(library: Library) -> None:
    """Delete the jobs that ended some time ago, and the uploads that no video and no job needs any more.

    If the library cannot be written, the next call does it.
    """
    try:
        library.jobs.delete_ended(older_than_s=ENDED_JOBS_KEPT_S)
        unused = library.removals.unused_uploads(library.folder / UPLOADS, older_than_s=UNUSED_UPLOADS_KEPT_S)
    except LibraryError as error:
        log.info("Jobs that ended stay for now: %s", error)
        return
    for path in unused:
        log.info("The upload %s belongs to no video and no job; it is deleted.", path.name)
        path.unlink(missing_ok=True)


def run_housekeeping(library: Library, cache_bytes: int) -> None:
    """Purge what has expired, and delete cached files beyond a limit in bytes."""
    purge_expired(library)
    purge_jobs(library)
    for path in partial_paths(library.folder, older_than_s=PARTIAL_KEPT_S):
        # An interrupted restore leaves a folder.
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    limit_caches(library.folder, cache_bytes)


def run_hourly(library: Library, cache_bytes: int, stopping: threading.Event) -> None:
    """Run the housekeeping now and every hour, until an event is set."""
    while True:
        try:
            run_housekeeping(library, cache_bytes)
        except Exception:
            # A fault of one round must not end the others.
            log.exception("The housekeeping of the library failed; it is tried again in an hour.")
        if stopping.wait(PERIOD_S):
            return
