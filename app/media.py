"""The files of a library: sources and their content hashes, uploads, and what is derived from videos for people to see.

`MediaStore.open` is the way from a path of the user to a `VideoInfo`: it checks the file, hashes its content and probes it.
"""

import errno
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from longview.app.cache_limit import CACHE_FOLDERS, CacheLimit
from longview.app.errors import AppError, BadRequest, NoSpace, VideoGone
from longview.app.lazy import LazyPart
from longview.indexing.errors import LibraryFull, LibraryReadOnly, UnknownVideo
from longview.indexing.library import ID_DIGITS, Library, VideoEntry
from longview.indexing.library_files import delete_inside, files_of, require_id
from longview.indexing.removals import UPLOADS, RemovedVideo
from longview.video.atomic import FULL_DISK_ERRORS, atomic_write
from longview.video.errors import ImpossiblePlan, VideoError
from longview.video.guard import Limits, check_path
from longview.video.progress import NO_PROGRESS, Progress
from longview.video.time_text import format_time
from longview.video.timeline import Span

if TYPE_CHECKING:
    from longview.video.decoder import Decoder
    from longview.video.probe import VideoInfo

MAX_ID_CHARACTERS = 40
"""Maximum length of a reference that may be an id: the number of digits of a content hash."""
_UNSAFE_IN_STEM = re.compile(r"[^\w.-]++")
_UNSAFE_IN_SUFFIX = re.compile(r"[^\w.]++")
COPY_BLOCK_BYTES = 1 << 22
END_SLACK_S = 0.5
"""Maximum time by which a requested end may exceed the video's end, in seconds: displayed lengths are rounded."""


@dataclass(frozen=True)
class Cut:
    """A part of a video that was written as a file of its own."""

    path: Path
    span: Span
    """The span that was written. Without re-encoding it begins at a key frame, which may be earlier than requested."""


class MediaStore:
    """The files of one library. Safe for several threads."""

    def __init__(self, library: Library, limits: Limits, make_decoder: "Callable[[], Decoder]", cache_bytes: int) -> None:
        """`make_decoder` is called when the first file is decoded. `cache_bytes`: maximum size of all thumbnails and browser
        copies, in bytes."""
        self._library, self._limits, self._make_decoder = library, limits, make_decoder
        self._caches = CacheLimit(library.folder, cache_bytes)
        self._thumbnail_lock = threading.Lock()  # a page of thumbnails would otherwise start as many decoders at once

    @LazyPart
    def _decoder(self) -> "Decoder":
        return self._make_decoder()

    # -- from paths and references to videos -------------------------------------------------------------------------

    def open(self, path: Path | str, progress: Progress = NO_PROGRESS) -> "VideoInfo":
        """Check a file, hash its content and probe it.

        Raises:
            VideoError: the file cannot be used. BadRequest: the library cannot store its name.
        """
        checked_path = check_path(path, self._limits)
        content_hash = self._hash(checked_path, progress)
        return self._decoder.probe(checked_path, known_hash=content_hash, progress=progress)

    def find(self, reference: str, progress: Progress = NO_PROGRESS) -> VideoEntry:
        """Return the library entry that an id, a unique id prefix or a path names.

        Raises:
            UnknownVideo: it is not in the library. AmbiguousVideo: several ids have this prefix. VideoNotFound: it is a path
                without a file.
        """
        if not is_file_name(reference):
            return self._entry(reference)
        checked_path = check_path(reference, self._limits)
        video_id = self._hash(checked_path, progress)[:ID_DIGITS]
        try:
            entry = self._library.video(video_id)
        except UnknownVideo as error:
            raise UnknownVideo(f"{checked_path} is not in the library yet; `longview index` adds it.") from error
        if entry.path.exists():
            return entry
        # The source was moved or renamed: this file has the same content under another name.
        with suppress(LibraryFull, LibraryReadOnly):
            self._library.set_path(entry.video_id, checked_path)
        return replace(entry, path=checked_path)

    def find_removed(self, reference: str | None) -> RemovedVideo:
        """Return the removed video that an id, a unique id prefix or a path names; None: the one that was removed last.

        Raises:
            UnknownVideo: it was not removed, or longer than a day ago. AmbiguousVideo: several ids have this prefix.
        """
        if reference is not None and is_file_name(reference):
            path = check_path(reference, self._limits)
            try:
                return self._library.removals.find(self._hash(path)[:ID_DIGITS])
            except UnknownVideo:
                # The file may have changed since.
                return self._library.removals.find_path(path)
        if reference is not None and _is_path(reference):
            return self._library.removals.find_path(Path(reference).expanduser().absolute())
        return self._library.removals.find(reference)

    def resolve(self, reference: str) -> "tuple[str, VideoInfo]":
        """Return title and file of the video that an id, a prefix or a path names. A path need not be in the library.

        Raises:
            VideoError, BadRequest: as `open`. UnknownVideo, AmbiguousVideo: as `find`. VideoGone: as `source`.
        """
        if is_file_name(reference):
            video = self.open(reference)
            try:
                return self._library.video(video.content_hash[:ID_DIGITS]).title, video
            except UnknownVideo:
                return video.path.stem, video
        entry = self._entry(reference)
        return entry.title, self.probe(entry)

    def _entry(self, reference: str) -> VideoEntry:
        """Return the library entry that an id or a prefix names. For a path without a file, raise the reason."""
        if _is_path(reference):
            # The file of an entry may be gone, and what was found in it is still there.
            with suppress(OSError, ValueError, RuntimeError):
                path = Path(reference).expanduser().absolute()
                if entry := next((entry for entry in self._library.videos() if entry.path == path), None):
                    return entry
            check_path(reference, self._limits)
        return self._library.video(reference)

    def _hash(self, path: Path, progress: Progress = NO_PROGRESS) -> str:
        """Return the content hash of a checked path. The library remembers it by path, size and time of change."""
        from longview.video.content_hash import content_hash

        require_utf8(path)
        status = path.stat()
        known_hash = self._library.known_hash(path, status.st_size, status.st_mtime_ns)
        if known_hash is None:
            known_hash = content_hash(path, progress)
            # A library that cannot be written reads the file again the next time.
            with suppress(LibraryFull, LibraryReadOnly):
                self._library.remember_hash(path, status.st_size, status.st_mtime_ns, known_hash)
        return known_hash

    def source(self, entry: VideoEntry, progress: Progress = NO_PROGRESS) -> Path:
        """Return the path of an entry's source file.

        Raises:
            VideoGone: the file is missing or was changed. VideoError: it may no longer be read.
        """
        if not entry.path.exists():
            raise VideoGone(
                f"The file of {entry.title} is no longer at {entry.path}; index it again from where it is now, or let "
                "`longview relink FOLDER` find it."
            )
        # The settings may allow fewer folders than when it was indexed.
        check_path(entry.path, self._limits)
        if self._hash(entry.path, progress) != entry.content_hash:
            raise VideoGone(f"{entry.path} has changed since it was indexed; index it again.")
        return entry.path

    def keeps_path(self, entry: VideoEntry, path: Path) -> bool:
        """Whether an entry keeps its path although the same content is at another one: a copy may vanish again.

        It does not if its own file was moved, deleted or changed, or if the other one is the library's own copy.
        """
        if path.parent == self._library.folder / "uploads":
            return False
        with suppress(OSError, AppError):
            return self._hash(entry.path) == entry.content_hash
        return False

    def probe(self, entry: VideoEntry, progress: Progress = NO_PROGRESS) -> "VideoInfo":
        """Probe an entry's source file; errors as for `source`."""
        return self._decoder.probe(self.source(entry, progress), known_hash=entry.content_hash, progress=progress)

    # -- uploads -------------------------------------------------------------------------------------------------------

    def import_upload(self, upload: Path, name: str, progress: Progress = NO_PROGRESS) -> Path:
        """Move an uploaded file into the library folder and return its path there. The same content is stored once.

        Raises:
            NoSpace: the disk is full. VideoError: the file cannot be used. Cancelled: the operation was cancelled.
        """
        try:
            # The hash of the temporary file is not remembered, that of its copy is.
            video = self._decoder.probe(upload, progress=progress)
        except VideoError as error:
            # The user knows the file by its own name, not by that of the temporary copy.
            raise type(error)(str(error).replace(str(upload), name)) from error
        video_id = video.content_hash[:ID_DIGITS]
        copies = files_of(self._library.folder / UPLOADS, video_id)
        if copies:
            return copies[0]
        target = self._library.folder / UPLOADS / f"{video_id}-{safe_name(name)}"
        try:
            self._store(video.path, target, progress)
        except OSError as error:
            if error.errno in FULL_DISK_ERRORS:
                raise NoSpace(
                    f"The disk is full: there is no space in {self._library.folder} for {name}; delete other files."
                ) from error
            raise
        status = target.stat()
        self._library.remember_hash(target, status.st_size, status.st_mtime_ns, video.content_hash)
        return target

    def _store(self, upload: Path, target: Path, progress: Progress) -> None:
        """Move a file into the library folder; copy it from another disk.

        Raises:
            OSError: the disk is full, or a file cannot be read or written. Cancelled: the operation was cancelled.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        if upload.stat().st_dev == target.parent.stat().st_dev:
            upload.replace(target)
            return
        if shutil.disk_usage(target.parent).free < upload.stat().st_size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        with atomic_write(target) as partial, upload.open("rb") as source, partial.open("wb") as copy:
            while block := source.read(COPY_BLOCK_BYTES):
                copy.write(block)
                progress.raise_if_cancelled()

    def discard_upload(self, copy: Path) -> None:
        """Delete an upload's copy, unless a video, also a removed one, or a job needs it. Other files are left alone."""
        uploads = self._library.folder / UPLOADS
        if copy.parent == uploads and not self._library.removals.is_upload_used(copy):
            delete_inside(self._library.folder, copy)

    # -- derived files -------------------------------------------------------------------------------------------------

    def ensure_browser_copy(self, entry: VideoEntry, progress: Progress = NO_PROGRESS) -> Path:
        """Return a file that browsers play: the source, or a light copy that the first call makes.

        Raises:
            NoSpace: the disk is full. FFmpegFailed: the copy cannot be made. Cancelled: the operation was cancelled.
        """
        from longview.video.clips import make_browser_copy

        if (copy := self.browser_copy(entry)) is not None:
            return copy
        video, target = self.probe(entry, progress), self._browser_copy_path(entry)
        with write_errors(target):
            make_browser_copy(video, target, max_pixels=self._limits.pixels, progress=progress)
        self._caches.note_write(target)
        return target

    def browser_copy(self, entry: VideoEntry) -> Path | None:
        """Return the same file if it exists already, else None."""
        copy = self._browser_copy_path(entry)
        if copy.exists():
            self._caches.note_use(copy)
            return copy
        source = self.source(entry)
        return source if entry.facts.get("browser_plays") else None

    def _browser_copy_path(self, entry: VideoEntry) -> Path:
        return self._library.folder / "proxies" / f"{require_id(entry.video_id)}.mp4"

    def thumbnail(self, video_id: str, time_s: float) -> Path:
        """Return a JPEG of the frame at a time.

        Raises:
            NoSpace: the disk is full.
        """
        from longview.video.clips import thumbnail

        # A request may name an id prefix and any time. The file name has the whole id and a whole second.
        entry = self._library.video(video_id)
        inside_s = max(0.0, min(float(round(time_s)), entry.duration_s))
        target = self._library.folder / "thumbnails" / f"{require_id(entry.video_id)}-{round(inside_s * 1000)}.jpg"
        with self._thumbnail_lock:
            if target.exists():
                self._caches.note_use(target)
                return target
            video = self.probe(entry)
            with write_errors(target):
                thumbnail(self._decoder, video, inside_s, target)
        self._caches.note_write(target)
        return target

    def delete_derived(self, video_id: str) -> int:
        """Delete the thumbnails and the browser copy of a video; return their size in bytes."""
        paths = [path for name in CACHE_FOLDERS for path in files_of(self._library.folder / name, video_id)]
        return sum(delete_inside(self._library.folder, path) for path in paths)

    # -- files for the user --------------------------------------------------------------------------------------------

    def cut(self, title: str, video: "VideoInfo", span: Span, target: Path | None, *, reencode: bool) -> Cut:
        """Write a part of a video to `target`, by default into the current folder under its title and times.

        Raises:
            NoFrames: the file has only sound.
            BadRequest: the target exists already. ImpossiblePlan: the video has no such part, or no index of key frames.
            FFmpegFailed: the part cannot be decoded, or cannot be written as that kind of file. NoSpace: the disk is full.
        """
        from longview.video.clips import CUT_SUFFIXES, cut_reencode, cut_stream_copy
        from longview.video.probe import require_frames

        require_frames(video)
        if span.start_s >= video.duration_s or span.end_s > video.duration_s + END_SLACK_S:
            outside_s = span.start_s if span.start_s >= video.duration_s else span.end_s
            raise ImpossiblePlan(f"{format_time(outside_s)} is outside the video, which is {format_time(video.duration_s)} long.")
        span = Span(span.start_s, min(span.end_s, video.duration_s))
        suffix = ".mp4" if reencode else video.path.suffix
        times = f"{format_time(span.start_s)}-{format_time(span.end_s)}".replace(":", ".")
        target = _new_target(target or Path(f"{safe_name(title)}-{times}{suffix}"), CUT_SUFFIXES)
        with write_errors(target):
            if reencode:
                first_frame_s = self._frame_start_s(video, span.start_s)
                cut_reencode(video, span, target, first_frame_s=first_frame_s, max_pixels=self._limits.pixels)
                return Cut(target, span)
            key_frames_s = self._decoder.key_frames_around(video, span.start_s)
            if key_frames_s is None:
                raise ImpossiblePlan(
                    f"The file of {title} has no index of key frames, which a copy needs; add --reencode to cut it exactly."
                )
            return Cut(target, cut_stream_copy(video, span, target, key_frames_s=key_frames_s))

    def _frame_start_s(self, video: "VideoInfo", time_s: float) -> float:
        """Return the start of the frame at a time, in seconds; the start of the first frame for an earlier time."""
        from longview.video.sampler import PATCH_SIDE_PX

        (chunk,) = self._decoder.frames_played_at(video, [time_s], PATCH_SIDE_PX, PATCH_SIDE_PX)
        return float(chunk.times_s[0])

    def contact_sheet(
        self, title: str, video: "VideoInfo", target: Path | None, *, columns: int, rows: int
    ) -> tuple[Path, list[float], list[float]]:
        """Write an image with thumbnails from the whole video; return its path, their times, and the undecodable times.

        Raises:
            BadRequest: the target exists already. UnreadableVideo: no frame can be decoded.
        """
        from longview.video.clips import SHEET_FORMATS, contact_sheet

        target = _new_target(target or Path(f"{safe_name(title)}-sheet.jpg"), frozenset(SHEET_FORMATS))
        with write_errors(target):
            return target, *contact_sheet(self._decoder, video, target, columns=columns, rows=rows)


def require_utf8(path: Path) -> None:
    """Check that the library can store a path.

    Raises:
        BadRequest: it is not valid UTF-8.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        printable = str(path).encode(errors="replace").decode()
        raise BadRequest(
            f"The name of {printable} is not valid UTF-8, so the library cannot store it; rename the file."
        ) from error


def is_file_name(reference: str) -> bool:
    """Whether a reference names an existing file, and not a library entry."""
    try:
        return Path(reference).expanduser().exists()
    except (OSError, ValueError, RuntimeError):
        return False


def _is_path(reference: str) -> bool:
    """Whether a reference without a file is a path: an id is short and has neither slash nor dot."""
    has_separator = "/" in reference or os.sep in reference
    return has_separator or bool(Path(reference).suffix) or len(reference) > MAX_ID_CHARACTERS or Path(reference).is_symlink()


def _new_target(target: Path, suffixes: frozenset[str]) -> Path:
    target = target.expanduser()
    if target.suffix.lower() not in suffixes:
        kinds = " ".join(sorted(suffixes))
        raise BadRequest(f"{target.name} does not have a suffix that can be written here; use one of {kinds}.")
    with write_errors(target):
        if target.exists():
            raise BadRequest(f"{target} already exists and was not overwritten; choose another name.")
    return target


@contextmanager
def write_errors(target: Path) -> Iterator[None]:
    """Turn the errors of the operating system while a file is written into expected errors.

    Raises:
        NoSpace: the disk is full. BadRequest: the file cannot be written.
    """
    try:
        yield
    except OSError as error:
        if error.errno in FULL_DISK_ERRORS:
            raise NoSpace(f"The disk is full: there is no space for {target}; delete other files.") from error
        raise BadRequest(f"{target} cannot be written: {error.strerror}.") from error


def safe_name(name: str) -> str:
    """Return a file name without characters that mean something to a file system or a shell, at most 80 characters long."""
    stem, suffix = Path(name).stem, Path(name).suffix
    clean = _UNSAFE_IN_STEM.sub("_", stem).strip("._-")[:60] or "video"
    return clean + _UNSAFE_IN_SUFFIX.sub("", suffix)[:12].lower()
