"""Browser-compatible copies that the server makes of videos, one after another. They are caches, so nothing of them is queued."""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal

from longview.app.errors import EXPECTED_ERRORS
from longview.app.media import MediaStore
from longview.indexing.library import VideoEntry
from longview.video.progress import Cancelled, Progress

log = logging.getLogger(__name__)


@dataclass
class BrowserCopy:
    """A copy that is made; its fields change meanwhile. They have the names of those of a job of the queue."""

    video_id: str
    title: str
    progress: Progress = field(default_factory=Progress)
    status: Literal["waiting", "running", "done", "failed"] = "waiting"
    reason: str = ""
    """A sentence for the user, if it failed."""
    ended_event: threading.Event = field(default_factory=threading.Event)

    @property
    def stage(self) -> str:
        """The name of the current stage."""
        return self.progress.report.stage

    @property
    def fraction(self) -> float:
        """The completed fraction, 0 to 1."""
        return self.progress.report.fraction

    @property
    def seconds_left(self) -> float | None:
        """Estimated remaining time, in seconds; None if it is unknown."""
        return self.progress.report.seconds_left


class BrowserCopies:
    """Makes the copies in a thread of its own. A person waits for each, so that they do not wait for the queue."""

    def __init__(self, media: MediaStore) -> None:
        self._media = media
        self._copies: dict[str, BrowserCopy] = {}
        self._is_closed = False
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="longview-browser-copy")

    def prepare(self, entry: VideoEntry) -> BrowserCopy:
        """Return the copy of a video that is being made, or that could not be made; begin it if there is none."""
        copy = self._copies.get(entry.video_id)
        if copy is None or copy.status == "done":
            copy = self._copies[entry.video_id] = BrowserCopy(entry.video_id, entry.title)
            if self._is_closed:
                copy.status, copy.reason = "failed", "The server is stopping."
                copy.ended_event.set()
            else:
                self._worker.submit(self._make, copy, entry)
        return copy

    def unfinished(self) -> tuple[BrowserCopy, ...]:
        """Return the copies that wait or are being made."""
        return tuple(copy for copy in self._copies.values() if not copy.ended_event.is_set())

    def ended(self) -> tuple[BrowserCopy, ...]:
        """Return the copies that are complete or have failed."""
        return tuple(copy for copy in self._copies.values() if copy.ended_event.is_set())

    def close(self) -> None:
        """Cancel all copies; incomplete files are removed."""
        self._is_closed = True
        for copy in self.unfinished():
            copy.progress.cancel()
        self._worker.shutdown(wait=False)

    def _make(self, copy: BrowserCopy, entry: VideoEntry) -> None:
        try:
            copy.status = "running"
            copy.progress.restart_clock()
            self._media.ensure_browser_copy(entry, copy.progress.child(0.0, 1.0, "Converting"))
            copy.status = "done"
        except Cancelled:
            copy.status, copy.reason = "failed", "It was cancelled."
        except EXPECTED_ERRORS as error:
            copy.status, copy.reason = "failed", str(error)
        except Exception:
            log.exception("the browser copy of %s failed", entry.title)
            copy.status, copy.reason = "failed", "An unexpected error occurred; the log of the server has the traceback."
        finally:
            copy.ended_event.set()
