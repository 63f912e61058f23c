"""What the server makes of videos beside the queue, such as browser-compatible copies. They are caches, so nothing is queued."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from longview.app.serving.preparations import EndedPreparations, Preparation
from longview.core.progress import Progress
from longview.indexing.records.video import VideoEntry


class VideoPreparations:
    """Makes one thing of each video, in a thread of its own: a person waits for it, and does not wait for the queue."""

    def __init__(self, action: str, make: Callable[[VideoEntry, Progress], object], ended: EndedPreparations) -> None:
        """`action`: what is done, in words before the title of a video. `ended`: where the end of each is noted."""
        self._action, self._make_file, self._ended = action, make, ended
        self._lock = threading.Lock()
        self._preparations: dict[str, Preparation] = {}
        self._is_closed = False
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="longview-preparation")

    def prepare(self, entry: VideoEntry, *, again: bool = False) -> Preparation:
        """Return what is being made of a video, or could not be made; begin it if there is none.

        `again`: whether what could not be made, or was cancelled, is begun again.
        """
        with self._lock:
            earlier = self._preparations.get(entry.video_id)
            if earlier and earlier.status != "done" and not (again and earlier.status == "failed"):
                return earlier
            preparation = Preparation(entry.title, f"{self._action} {entry.title}", entry.video_id)
            self._preparations[entry.video_id] = preparation
            if self._is_closed:
                preparation.status, preparation.reason = "failed", "The server is stopping."
                preparation.ended_event.set()
            else:
                self._worker.submit(self._make, preparation, entry)
            return preparation

    def cancel(self, video_id: str) -> None:
        """Cancel what is made of a video; an incomplete file is removed. It is not begun again until somebody asks for that."""
        preparation = self._preparations.get(video_id)
        if preparation is not None:
            preparation.progress.cancel()

    def unfinished(self) -> tuple[Preparation, ...]:
        """Return what waits or is being made."""
        return tuple(item for item in list(self._preparations.values()) if not item.ended_event.is_set())

    def close(self) -> None:
        """Cancel everything; incomplete files are removed."""
        with self._lock:
            self._is_closed = True
        for preparation in self.unfinished():
            preparation.progress.cancel()
        self._worker.shutdown(wait=False)

    def _make(self, preparation: Preparation, entry: VideoEntry) -> None:
        with preparation.running():
            self._make_file(entry, preparation.progress)
        self._ended.note(entry.video_id)
