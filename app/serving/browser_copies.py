"""Browser-compatible copies that the server makes of videos, one after another. They are caches, so nothing of them is queued."""

from concurrent.futures import ThreadPoolExecutor

from longview.app.files.media import MediaStore
from longview.app.serving.preparations import Preparation
from longview.indexing.records.video import VideoEntry


class BrowserCopies:
    """Makes the copies in a thread of its own. A person waits for each, so that they do not wait for the queue."""

    def __init__(self, media: MediaStore) -> None:
        self._media = media
        self._copies: dict[str, Preparation] = {}
        self._is_closed = False
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="longview-browser-copy")

    def prepare(self, entry: VideoEntry) -> Preparation:
        """Return the copy of a video that is being made, or that could not be made; begin it if there is none."""
        copy = self._copies.get(entry.video_id)
        if copy is None or copy.status == "done":
            action = f"Preparing a browser-compatible copy of {entry.title}"
            copy = self._copies[entry.video_id] = Preparation(entry.title, action, entry.video_id)
            if self._is_closed:
                copy.status, copy.reason = "failed", "The server is stopping."
                copy.ended_event.set()
            else:
                self._worker.submit(self._make, copy, entry)
        return copy

    def unfinished(self) -> tuple[Preparation, ...]:
        """Return the copies that wait or are being made."""
        return tuple(copy for copy in self._copies.values() if not copy.ended_event.is_set())

    def close(self) -> None:
        """Cancel all copies; incomplete files are removed."""
        self._is_closed = True
        for copy in self.unfinished():
            copy.progress.cancel()
        self._worker.shutdown(wait=False)

    def _make(self, copy: Preparation, entry: VideoEntry) -> None:
        with copy.running():
            self._media.ensure_browser_copy(entry, copy.progress.child(0.0, 1.0, "Converting"))
