"""Parts of videos that a server writes as files of their own, to be downloaded: one after another, beside the queue."""

import secrets
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from longview.app.errors import BadRequest, NoSpace, ServerBusy, UnknownCut
from longview.app.files.download_names import cut_name
from longview.app.files.outputs import Cut, part_of
from longview.app.ingest.ranges import check_range
from longview.app.jobs.monitor import MIN_FREE_BYTES, free_bytes
from longview.app.parts import Parts
from longview.app.serving.preparations import EndedPreparations, Preparation
from longview.app.serving.upload_cache import CACHE
from longview.core.atomic import create_folder
from longview.core.timeline import Span
from longview.indexing.library_files import delete_inside, is_inside
from longview.indexing.records.video import VideoEntry

CUTS = "cuts"
"""Folder of the cuts inside of the cache of a library; each has a folder of its own."""
KEPT_S = 24 * 3600.0
"""Time after which a cut is given up, in seconds."""
MAX_KEPT = 32
"""Maximum number of cuts that are kept; of those that have ended, the oldest are given up for new ones."""
MAX_UNFINISHED = 8
"""Maximum number of cuts that wait or are being written."""


@dataclass
class RequestedCut:
    """A part of a video that somebody asked for."""

    video_id: str
    span: Span
    """What was asked for."""
    is_exact: bool
    """Whether it is encoded again, and not copied from a key frame on."""
    preparation: Preparation
    cut_id: str = field(default_factory=lambda: secrets.token_urlsafe(12))
    begun_s: float = field(default_factory=time.monotonic)
    result: Cut | None = None
    """None until the file is complete."""
    size_bytes: int | None = None
    name: str = ""
    """Name of the download."""


class Cuts:
    """The cuts of one server. Safe for several threads."""

    def __init__(self, parts: Parts, ended: EndedPreparations) -> None:
        """`ended`: where the end of each is noted."""
        self._parts, self._ended = parts, ended
        self._library = parts.library.folder
        self._lock = threading.Lock()
        self._cuts: dict[str, RequestedCut] = {}
        self._is_closed = False
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="longview-cut")

    def begin(self, entry: VideoEntry, start_s: float, end_s: float, *, is_exact: bool) -> RequestedCut:
        """Begin to write a part of a video, in seconds from its start, to a file.

        Raises:
            ImpossiblePlan: the video has no such part. NoSpace: the disk has no space for it. ServerBusy: too many wait already.
            BadRequest: the start is negative, or the file is one with only sound.
        """
        if start_s < 0:
            raise BadRequest("A cut cannot begin before the video.")
        check_range(start_s, end_s)
        span = part_of(Span(start_s, end_s), entry.duration_s)
        if not entry.has_frames:
            raise BadRequest(f"“{entry.title}” has sound only, which cannot be cut; choose a video.")
        self._require_space(entry, span)
        preparation = Preparation(entry.title, f"Cutting a part of {entry.title}", entry.video_id)
        cut = RequestedCut(entry.video_id, span, is_exact, preparation)
        with self._lock:
            self._give_up_old()
            if self._is_closed or len(self.unfinished()) >= MAX_UNFINISHED:
                raise ServerBusy(f"{MAX_UNFINISHED} cuts wait already, or the server is stopping; cut again when some are done.")
            self._cuts[cut.cut_id] = cut
            self._worker.submit(self._write, cut, entry)
        return cut

    def cut(self, video_id: str, cut_id: str) -> RequestedCut:
        """Return a cut of a video.

        Raises:
            UnknownCut: there is none.
        """
        with self._lock:
            self._give_up_old()
            cut = self._cuts.get(cut_id)
        if cut is None or cut.video_id != video_id:
            raise UnknownCut("There is no such cut; those of yesterday, and of an earlier start of the server, are given up.")
        return cut

    def of_video(self, video_id: str) -> tuple[RequestedCut, ...]:
        """Return the cuts of a video that are kept, in the order of their time."""
        with self._lock:
            self._give_up_old()
            cuts = [cut for cut in self._cuts.values() if cut.video_id == video_id]
        return tuple(sorted(cuts, key=lambda cut: (cut.span.start_s, cut.span.end_s)))

    def remove(self, video_id: str, cut_id: str) -> None:
        """Cancel a cut, and delete its file.

        Raises:
            UnknownCut: there is none.
        """
        cut = self.cut(video_id, cut_id)
        with self._lock:
            self._give_up(cut)

    def unfinished(self) -> tuple[Preparation, ...]:
        """Return the cuts that wait or are being written."""
        preparations = [cut.preparation for cut in list(self._cuts.values())]
        return tuple(item for item in preparations if not item.ended_event.is_set())

    def close(self) -> None:
        """Cancel all cuts, and delete their files."""
        with self._lock:
            self._is_closed = True
            for cut in list(self._cuts.values()):
                self._give_up(cut)
        self._worker.shutdown(wait=False)

    def _write(self, cut: RequestedCut, entry: VideoEntry) -> None:
        folder = self._folder(cut)
        with cut.preparation.running():
            progress = cut.preparation.progress
            video = self._parts.media.probe(entry, progress)
            if not is_inside(self._library, folder):
                raise BadRequest(f"Cuts cannot be stored in {folder.parent}, because a link leads from there to another folder.")
            suffix = ".mp4" if cut.is_exact else video.path.suffix.lower()
            step = progress.child(0.0, 1.0, "Cutting")
            create_folder(folder)
            target = folder / f"cut{suffix}"
            result = self._parts.outputs.cut(entry.title, video, cut.span, target, reencode=cut.is_exact, progress=step)
            cut.size_bytes, cut.name = target.stat().st_size, cut_name(entry.title, result.span, suffix)
            cut.result = result
        with self._lock:
            # It may have been removed after its last look whether it is cancelled.
            if cut.result is None or cut.cut_id not in self._cuts:
                self._delete(cut)
        self._ended.note(cut.video_id)

    def _require_space(self, entry: VideoEntry, span: Span) -> None:
        """Check that the disk has space for a part of the size that a copy has.

        Raises:
            NoSpace
        """
        size_bytes = round(entry.facts.get("size_bytes", 0) * span.duration_s / max(entry.duration_s, 1e-3))
        free = free_bytes(self._library)
        if free - size_bytes < MIN_FREE_BYTES:
            raise NoSpace(
                f"The disk is full: the cut needs about {size_bytes:,} bytes, and the disk of the library has {free:,}, "
                f"{MIN_FREE_BYTES:,} of which stay free; delete other files."
            )

    def _give_up_old(self) -> None:
        """Give up the cuts that have expired, and the oldest that have ended, if there are too many."""
        before_s = time.monotonic() - KEPT_S
        ended = [cut for cut in self._cuts.values() if cut.preparation.ended_event.is_set()]
        for number, cut in enumerate(ended):
            if cut.begun_s < before_s or len(ended) - number >= MAX_KEPT:
                self._give_up(cut)

    def _give_up(self, cut: RequestedCut) -> None:
        del self._cuts[cut.cut_id]
        cut.preparation.progress.cancel()
        if cut.preparation.ended_event.is_set():
            self._delete(cut)

    def _folder(self, cut: RequestedCut) -> Path:
        return self._library / CACHE / CUTS / cut.cut_id

    def _delete(self, cut: RequestedCut) -> None:
        with suppress(OSError):
            delete_inside(self._library, self._folder(cut))


def delete_expired_cuts(library: Path) -> None:
    """Delete the cuts in a library that were written more than a day ago; servers that were killed have left them."""
    folder = library / CACHE / CUTS
    try:
        items = list(folder.iterdir()) if is_inside(library, folder / CUTS) else []
    except OSError:
        return
    for item in items:
        with suppress(OSError):
            if item.lstat().st_mtime < time.time() - KEPT_S:
                delete_inside(library, item)
