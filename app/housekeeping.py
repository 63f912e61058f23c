"""Housekeeping of a library: removals that have expired become final, and caches keep to their limit."""

import logging
import threading
from datetime import UTC, datetime

from longview.app.cache_limit import limit_caches
from longview.indexing.errors import LibraryError
from longview.indexing.library import Library
from longview.indexing.removals import UPLOADS, RemovedVideo

log = logging.getLogger(__name__)

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


def run_housekeeping(library: Library, cache_bytes: int) -> None:
    """Purge what has expired, and delete cached files beyond a limit in bytes."""
    purge_expired(library)
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
