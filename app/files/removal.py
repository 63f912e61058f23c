"""Removal of videos from the library and its undoing: what a removal frees now, and what it frees when it expires."""

from collections.abc import Callable
from dataclasses import dataclass

from longview.app.files.media import MediaStore
from longview.app.text.counts import size_text
from longview.app.text.local_time import moment_text
from longview.indexing.errors import LibraryFull
from longview.indexing.library_files import UPLOADS
from longview.indexing.records.video import VideoEntry
from longview.indexing.sqlite.library import Library
from longview.indexing.sqlite.tracks.removals import RemovedVideo


@dataclass(frozen=True)
class Removal:
    """A video that was removed."""

    video: RemovedVideo
    freed_bytes: int
    """Size of the thumbnails and the browser copy that were deleted, in bytes. They are rebuilt when they are needed."""
    upload_bytes: int
    """Size of the library's own copy of an upload, in bytes, which is deleted when the removal expires."""

    @property
    def text(self) -> str:
        """What was removed and what that frees, as text."""
        text = f"Removed {self.video.title} from the library"
        text += "." if self.upload_bytes else f"; its file {self.video.path} is unchanged."
        if self.freed_bytes:
            text += f" {size_text(self.freed_bytes)} of thumbnails and browser copies were freed."
        if self.upload_bytes:
            text += f" The library's copy of the upload ({size_text(self.upload_bytes)}) is deleted in 24 hours."
        return text

    @property
    def undo_advice(self) -> str:
        """How the removal is undone, as text."""
        until = moment_text(self.video.undo_until)
        return f"`longview remove --undo {self.video.video_id}` brings the video back, until {until}."


def remove(library: Library, media: MediaStore, entry: VideoEntry) -> Removal:
    """Remove a video from the library, with its thumbnails and browser copy; its source file stays.

    Raises:
        UnknownVideo: it was removed meanwhile. LibraryFull, LibraryReadOnly: the library cannot be written; nothing is removed.
    """
    freed_bytes = 0
    try:
        video = library.remove(entry.video_id)
    except LibraryFull:
        # Files that can be rebuilt make room for the removal.
        freed_bytes = media.delete_derived(entry.video_id)
        video = library.remove(entry.video_id)
    freed_bytes += media.delete_derived(entry.video_id)
    return Removal(video, freed_bytes, library.removals.upload_bytes(library.folder / UPLOADS, entry.video_id))


class VideoRemovals:
    """The removed videos of one library. Safe for several threads."""

    def __init__(self, library: Library, media: Callable[[], MediaStore]) -> None:
        """`media`: is called when a reference is read that may be the path of a file."""
        self._library, self._media = library, media

    def videos(self) -> tuple[RemovedVideo, ...]:
        """Return the videos whose removal can be undone."""
        return self._library.removals.videos()

    def undo(self, reference: str | None = None) -> VideoEntry:
        """Bring back the removed video that a reference names, with all that was found in it; None: the one removed last.

        `reference`: see `MediaStore.find_removed`.

        Raises:
            UnknownVideo: it was not removed, or longer than a day ago. AmbiguousVideo: several ids have this prefix.
        """
        return self._undo(self._media().find_removed(reference))

    def undo_of(self, video_id: str) -> VideoEntry:
        """Bring back the removed video with an id or a unique id prefix, and read no file: for requests to a server.

        Raises:
            UnknownVideo: it was not removed, or longer than a day ago. AmbiguousVideo: several ids have this prefix.
        """
        return self._undo(self._library.removals.find(video_id))

    def _undo(self, video: RemovedVideo) -> VideoEntry:
        self._library.removals.undo(video.video_id)
        return self._library.video(video.video_id)
