"""The files behind a library: originals and their content hashes, uploads, and what is made of videos for people to see."""

import errno
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from longview.app.errors import BadRequest, NoSpace, VideoGone
from longview.indexing.library import ID_DIGITS, Library, VideoEntry
from longview.video.atomic import atomic_write
from longview.video.clips import (
    CUT_SUFFIXES,
    SHEET_SUFFIXES,
    contact_sheet,
    cut_reencode,
    cut_stream_copy,
    make_browser_copy,
    thumbnail,
)
from longview.video.decoder import Decoder
from longview.video.errors import ImpossiblePlan, VideoError
from longview.video.guard import check_path
from longview.video.probe import VideoInfo, content_hash
from longview.video.sampler import PATCH_SIDE_PX
from longview.video.time_text import format_time
from longview.video.timeline import Span

END_SLACK_S = 0.5
"""An end this far behind the video's means its end: lengths are shown rounded."""


@dataclass(frozen=True)
class Cut:
    """A part of a video, written as a file of its own."""

    path: Path
    span: Span
    """What was written; it begins earlier than asked for where it had to begin with a key frame."""


class MediaStore:
    """The files of one library. Safe for several threads."""

    def __init__(self, library: Library, decoder: Decoder) -> None:
        self._library, self._decoder = library, decoder
        self._thumbnail_lock = threading.Lock()  # a page of thumbnails would otherwise start as many decoders at once

    def hash(self, path: Path) -> str:
        """The content hash of a checked path, remembered by size and time of change."""
        try:
            str(path).encode()
        except UnicodeEncodeError as error:
            shown = str(path).encode(errors="replace").decode()
            raise BadRequest(f"The name of {shown} is not written in UTF-8, which libraries cannot keep; rename it.") from error
        status = path.stat()
        known = self._library.known_hash(path, status.st_size, status.st_mtime_ns)
        if known is None:
            known = content_hash(path)
            self._library.remember_hash(path, status.st_size, status.st_mtime_ns, known)
        return known

    def source(self, entry: VideoEntry) -> Path:
        """Where the original of a library entry lies; it must still be there and unchanged."""
        if not entry.path.exists():
            raise VideoGone(f"The original of {entry.title} is no longer at {entry.path}; index it again from where it lies now.")
        # The folders that may be read can have become fewer since it was indexed.
        check_path(entry.path, self._decoder.limits)
        if self.hash(entry.path) != entry.content_hash:
            raise VideoGone(f"{entry.path} has changed since it was indexed; index it again.")
        return entry.path

    def probe(self, entry: VideoEntry) -> VideoInfo:
        """What the original of a library entry is."""
        return self._decoder.probe(self.source(entry), known_hash=entry.content_hash)

    def import_upload(self, upload: Path, name: str) -> Path:
        """Copy an uploaded file into the library folder and return where it lies now; the same content is kept once.

        Raises:
            NoSpace: the disk is full. VideoError: the file cannot be used.
        """
        try:
            checked = check_path(upload, self._decoder.limits)
            digest = content_hash(checked)
            self._decoder.probe(checked, known_hash=digest)
        except VideoError as error:
            # The user knows the file by its own name, not by that of the temporary copy.
            raise type(error)(str(error).replace(str(upload), name)) from error
        known = sorted((self._library.folder / "uploads").glob(f"{digest[:ID_DIGITS]}-*"))
        if known:
            return known[0]
        target = self._library.folder / "uploads" / f"{digest[:ID_DIGITS]}-{safe_name(name)}"
        try:
            with atomic_write(target) as partial:
                shutil.copyfile(checked, partial)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise NoSpace(f"There is no space left in {self._library.folder} for {name}.") from error
            raise
        return target

    def discard_upload(self, imported: Path) -> None:
        """Delete an adopted file again, unless a video of the library lies there."""
        if all(entry.path != imported for entry in self._library.videos()):
            imported.unlink(missing_ok=True)

    def ensure_browser_copy(self, entry: VideoEntry) -> Path:
        """A file that browsers play: the original, or a light copy that is made on the first call."""
        return self.browser_copy(entry) or make_browser_copy(
            self.probe(entry), self._browser_copy_path(entry), max_pixels=self._decoder.limits.pixels
        )

    def browser_copy(self, entry: VideoEntry) -> Path | None:
        """The same, if nothing has to be made for it."""
        made = self._browser_copy_path(entry)
        if made.exists():
            return made
        original = self.source(entry)
        return original if entry.facts.get("browser_plays") else None

    def _browser_copy_path(self, entry: VideoEntry) -> Path:
        return self._library.folder / "proxies" / f"{entry.video_id}.mp4"

    def thumbnail(self, video_id: str, time_s: float) -> Path:
        """A JPEG of what is on screen at a time."""
        # By the whole id and a whole second inside the video: what is asked for may be half an id, and any time at all.
        entry = self._library.video(video_id)
        inside_s = max(0.0, min(float(round(time_s)), entry.duration_s))
        target = self._library.folder / "thumbnails" / f"{entry.video_id}-{round(inside_s * 1000)}.jpg"
        with self._thumbnail_lock:
            return target if target.exists() else thumbnail(self._decoder, self.probe(entry), inside_s, target)

    def cut(self, entry: VideoEntry, span: Span, target: Path | None, *, reencode: bool) -> Cut:
        """Write a part of a video to `target`, by default beside where the user is, under its title and times.

        Raises:
            BadRequest: there is such a file already. ImpossiblePlan: the video has no such part, or no index to copy by.
            ToolFailed: it cannot be read, or not be written as that kind of file.
        """
        video = self.probe(entry)
        if span.start_s >= video.duration_s or span.end_s > video.duration_s + END_SLACK_S:
            outside_s = span.start_s if span.start_s >= video.duration_s else span.end_s
            raise ImpossiblePlan(
                f"{format_time(outside_s)} lies outside the video, which is {format_time(video.duration_s)} long."
            )
        span = Span(span.start_s, min(span.end_s, video.duration_s))
        suffix = ".mp4" if reencode else video.path.suffix
        times = f"{format_time(span.start_s)}-{format_time(span.end_s)}".replace(":", ".")
        target = _new_target(target or Path(f"{safe_name(entry.title)}-{times}{suffix}"), CUT_SUFFIXES)
        with _write_errors(target):
            if reencode:
                shown_s = self._frame_start_s(video, span.start_s)
                cut_reencode(video, span, target, first_frame_s=shown_s, max_pixels=self._decoder.limits.pixels)
                return Cut(target, span)
            keys_s = self._decoder.key_frames_around(video, span.start_s)
            if keys_s is None:
                raise ImpossiblePlan(f"{entry.title} has no index of key frames to copy by; add --reencode to cut it exactly.")
            return Cut(target, cut_stream_copy(video, span, target, key_frames_s=keys_s))

    def _frame_start_s(self, video: VideoInfo, time_s: float) -> float:
        """When the picture that is on screen at a time came on; a little later for one before the first picture."""
        (chunk,) = self._decoder.frames_played_at(video, [time_s], PATCH_SIDE_PX, PATCH_SIDE_PX)
        return float(chunk.times_s[0])

    def contact_sheet(
        self, entry: VideoEntry, target: Path | None, *, columns: int, rows: int
    ) -> tuple[Path, list[float], list[float]]:
        """Write a picture with thumbnails from the whole video; returns where, their times, and those that cannot be read.

        Raises:
            BadRequest: there is such a file already. UnreadableVideo: the video cannot be read.
        """
        target = _new_target(target or Path(f"{safe_name(entry.title)}-sheet.jpg"), SHEET_SUFFIXES)
        with _write_errors(target):
            return target, *contact_sheet(self._decoder, self.probe(entry), target, columns=columns, rows=rows)

    def delete_derived(self, video_id: str) -> None:
        """Delete the thumbnails and the browser's copy made of a video."""
        for folder in (self._library.folder / "proxies", self._library.folder / "thumbnails"):
            for made in folder.glob(f"{video_id}*"):
                made.unlink(missing_ok=True)


def _new_target(target: Path, suffixes: frozenset[str]) -> Path:
    target = target.expanduser()
    if target.suffix.lower() not in suffixes:
        kinds = " ".join(sorted(suffixes))
        raise BadRequest(f"{target.name} is no kind of file that can be written here; end its name in one of {kinds}.")
    if target.exists():
        raise BadRequest(f"{target} exists already and was not overwritten; choose another name.")
    return target


@contextmanager
def _write_errors(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpace(f"There is no space left for {target}.") from error
        raise BadRequest(f"{target} cannot be written: {error.strerror}.") from error


def safe_name(name: str) -> str:
    """A file name without anything that means something to a file system or a shell, at most 80 characters."""
    stem, suffix = Path(name).stem, Path(name).suffix
    clean = re.sub(r"[^\w.-]+", "_", stem).strip("._-")[:60] or "video"
    return clean + re.sub(r"[^\w.]+", "", suffix)[:12].lower()
