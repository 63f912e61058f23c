"""The files of a library: sources and their content hashes, uploads, and what is derived from videos for display.

`MediaStore.open` is the way from a path of the user to a `VideoInfo`: it checks the file, hashes its content and probes it.
"""

import errno
import json
import os
import shutil
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from longview.app.errors import AppError, NoSpace, VideoGone
from longview.app.files.cache_limit import CACHE_FOLDERS, CacheLimit
from longview.app.files.content_hashes import ContentHashes
from longview.app.files.file_names import is_file_name, is_path, safe_name, write_errors
from longview.app.files.video_names import shortened, with_beginning, with_id, with_title
from longview.app.files.waveforms import waveform_path, write_waveform
from longview.core.atomic import FULL_DISK_ERRORS, atomic_write, create_folder, replace_file
from longview.core.lazy import LazyPart
from longview.core.progress import NO_PROGRESS, Progress
from longview.indexing.errors import AmbiguousVideo, LibraryFull, LibraryReadOnly, UnknownVideo
from longview.indexing.library_files import PROXIES, THUMBNAILS, UPLOADS, delete_inside, files_of, require_id
from longview.indexing.records.track import video_id_of
from longview.indexing.records.video import VideoEntry, VideoName
from longview.indexing.sqlite.library import Library
from longview.indexing.sqlite.tracks.removals import RemovedVideo
from longview.video.errors import VideoError
from longview.video.probing.guard import Limits, check_path

if TYPE_CHECKING:
    from longview.video.decoding.decoder import Decoder
    from longview.video.probing.probe import VideoInfo
    from longview.video.thumbnails import Sprite

COPY_BLOCK_BYTES = 1 << 22


class MediaStore:
    """The files of one library. Safe for several threads."""

    def __init__(self, library: Library, limits: Limits, make_decoder: "Callable[[], Decoder]", cache_bytes: int) -> None:
        """`make_decoder` is called when the first file is decoded. `cache_bytes`: maximum size of all thumbnails and browser
        copies, in bytes."""
        self._library, self._limits, self._make_decoder = library, limits, make_decoder
        self._hashes = ContentHashes(library)
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
        content_hash = self._hashes.of(checked_path, progress)
        return self._decoder.probe(checked_path, known_hash=content_hash, progress=progress)

    def find(self, reference: str, progress: Progress = NO_PROGRESS) -> VideoEntry:
        """Return the library entry that an id, a path, a title, or a unique beginning of an id or a title names.

        They come in this order, so that nobody can take the id or the file of a video for the title of another one.

        Raises:
            UnknownVideo: it is not in the library. AmbiguousVideo: several videos are meant. VideoError: it is a path without a
                file, or what is there cannot be used.
        """
        if not reference.strip():
            raise UnknownVideo("The name of the video is empty; `longview list` shows all videos.")
        names = self._library.names()
        if match := with_id(reference, names):
            return self._library.video(match.video_id)
        if is_file_name(reference) and (entry := self._entry_of_file(reference, names, progress)):
            return entry
        if entry := self._entry_at(reference):
            return entry
        if match := with_title(reference, names) or with_beginning(reference, names):
            return self._library.video(match.video_id)
        if is_path(reference) or is_file_name(reference):
            # It says why there is no such file.
            check_path(reference, self._limits)
        raise UnknownVideo(f"There is no video {shortened(reference)!r} in the library; `longview list` shows all videos.")

    def _entry_of_file(self, reference: str, names: Sequence[VideoName], progress: Progress) -> VideoEntry | None:
        """Return the library entry with the content of an existing file; None if what has this name cannot be a video.

        Raises:
            UnknownVideo: it is not in the library. AmbiguousVideo: the name of the file is the title of a video.
        """
        try:
            checked_path = check_path(reference, self._limits)
        except VideoError:
            # A folder, for instance, may have the name of a title.
            return None
        video_id = video_id_of(self._hashes.of(checked_path, progress))
        try:
            entry = self._library.video(video_id)
        except UnknownVideo as error:
            if match := with_title(reference, names):
                raise AmbiguousVideo(
                    f"{shortened(reference)} is a file here that is not in the library, and the name of another video in it: "
                    f"write {match.video_id} for the video, and {checked_path} for the file."
                ) from error
            raise UnknownVideo(f"{checked_path} is not in the library yet; `longview index` adds it.") from error
        if entry.path.exists():
            return entry
        # The source was moved or renamed: this file has the same content under another name.
        with suppress(LibraryFull, LibraryReadOnly):
            self._library.set_path(entry.video_id, checked_path)
        return replace(entry, path=checked_path)

    def _entry_at(self, reference: str) -> VideoEntry | None:
        """Return the library entry whose path this is. Its file may be gone, and what was found in it is still there."""
        with suppress(OSError, ValueError, RuntimeError):
            path = Path(reference).expanduser().absolute()
            return next((entry for entry in self._library.videos() if entry.path == path), None)
        return None

    def find_removed(self, reference: str | None) -> RemovedVideo:
        """Return the removed video that a reference names as in `find`; None: the one that was removed last.

        Raises:
            UnknownVideo: it was not removed, or longer than a day ago. AmbiguousVideo: several videos are meant.
        """
        removals = self._library.removals
        if reference is None:
            return removals.find()
        videos = removals.videos()
        if video := with_id(reference, videos) or self._removed_file(reference, videos):
            return video
        if video := with_title(reference, videos) or with_beginning(reference, videos):
            return video
        return removals.find(shortened(reference))

    def _removed_file(self, reference: str, videos: Sequence[RemovedVideo]) -> RemovedVideo | None:
        """Return the removed video with the content of a file, else the one that was last removed of those at this path."""
        with suppress(VideoError):
            if is_file_name(reference):
                path = check_path(reference, self._limits)
                # The file may have changed since.
                return with_id(video_id_of(self._hashes.of(path)), videos) or next(
                    (item for item in videos if item.path == path), None
                )
        with suppress(OSError, ValueError, RuntimeError):
            path = Path(reference).expanduser().absolute()
            return next((item for item in videos if item.path == path), None)
        return None

    def resolve(self, reference: str) -> "tuple[str, VideoInfo]":
        """Return title and file of the video that a reference names as in `find`. A path need not be in the library.

        Raises:
            VideoError, BadRequest: as `open`. UnknownVideo, AmbiguousVideo: as `find`. VideoGone: as `source`.
        """
        try:
            entry = self.find(reference)
        except UnknownVideo:
            if not is_file_name(reference):
                raise
            video = self.open(reference)
            return video.path.stem, video
        if is_file_name(reference):
            # A file that is named is used itself, and not another one with the same content.
            with suppress(VideoError):
                video = self.open(reference)
                if video.content_hash == entry.content_hash:
                    return entry.title, video
        return entry.title, self.probe(entry)

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
        if self._hashes.of(entry.path, progress) != entry.content_hash:
            raise VideoGone(f"{entry.path} has changed since it was indexed; index it again.")
        return entry.path

    def keeps_path(self, entry: VideoEntry, path: Path) -> bool:
        """Whether an entry keeps its path although the same content is at another one: a copy may vanish again.

        It does not if its own file was moved, deleted or changed, or if the other one is the library's own copy.
        """
        if path.parent == self._library.folder / UPLOADS:
            return False
        with suppress(OSError, AppError):
            return self._hashes.of(entry.path) == entry.content_hash
        return False

    def probe(self, entry: VideoEntry, progress: Progress = NO_PROGRESS) -> "VideoInfo":
        """Probe an entry's source file; errors as for `source`."""
        return self._decoder.probe(self.source(entry, progress), known_hash=entry.content_hash, progress=progress)

    # -- uploads -------------------------------------------------------------------------------------------------------

    def import_upload(self, upload: Path, name: str, progress: Progress = NO_PROGRESS, *, known_hash: str | None = None) -> Path:
        """Move an uploaded file into the library folder and return its path there. The same content is stored once.

        `known_hash`: the content hash of the file, if it was computed while the file arrived. A file that was moved by an
        interrupted call need not be there any more.

        Raises:
            NoSpace: the disk is full. VideoError: the file cannot be used. Cancelled: the operation was cancelled.
        """
        if known_hash and (copies := files_of(self._library.folder / UPLOADS, video_id_of(known_hash))):
            return copies[0]
        try:
            # The hash of the temporary file is not remembered, that of its copy is.
            video = self._decoder.probe(upload, known_hash=known_hash, progress=progress)
        except VideoError as error:
            # The user knows the file by its own name, not by that of the temporary copy.
            raise type(error)(str(error).replace(str(upload), name)) from error
        video_id = video_id_of(video.content_hash)
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
        self._library.known_files.remember(target, status.st_size, status.st_mtime_ns, video.content_hash)
        return target

    def _store(self, upload: Path, target: Path, progress: Progress) -> None:
        """Move a file into the library folder; copy it from another disk.

        Raises:
            OSError: the disk is full, or a file cannot be read or written. Cancelled: the operation was cancelled.
        """
        create_folder(target.parent)
        if upload.stat().st_dev == target.parent.stat().st_dev:
            replace_file(upload, target)
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
        from longview.video.transcoding import make_browser_copy

        if (copy := self.browser_copy(entry)) is not None:
            return copy
        video, target = self.probe(entry, progress), self._browser_copy_path(entry)
        with write_errors(target):
            step = progress.child(0.0, 1.0, "Converting")
            make_browser_copy(video, target, max_pixels=self._limits.pixels, progress=step)
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
        return self._library.folder / PROXIES / f"{require_id(entry.video_id)}.mp4"

    def thumbnail(self, video_id: str, time_s: float) -> Path:
        """Return a JPEG of the frame at a time.

        Raises:
            NoSpace: the disk is full.
        """
        from longview.video.thumbnails import thumbnail

        # A request may name an id prefix and any time. The file name has the whole id and a whole second.
        entry = self._library.video(video_id)
        inside_s = max(0.0, min(float(round(time_s)), entry.duration_s))
        target = self._library.folder / THUMBNAILS / f"{require_id(entry.video_id)}-{round(inside_s * 1000)}.jpg"
        with self._thumbnail_lock:
            if target.exists():
                self._caches.note_use(target)
                return target
            video = self.probe(entry)
            with write_errors(target):
                thumbnail(self._decoder, video, inside_s, target)
        self._caches.note_write(target)
        return target

    def sprite(self, entry: VideoEntry) -> "tuple[Path, Sprite]":
        """Return small pictures over a whole video in one JPEG, and what they show.

        Raises:
            NoSpace: the disk is full. NoFrames: the file has only sound.
        """
        from longview.video.thumbnails import Sprite, write_sprite

        folder = self._library.folder / THUMBNAILS
        picture, facts = (folder / f"{require_id(entry.video_id)}-sprite{suffix}" for suffix in (".jpg", ".json"))
        with self._thumbnail_lock:
            with suppress(OSError, ValueError, TypeError):
                fields = json.loads(facts.read_text(encoding="utf-8"))
                if picture.exists():
                    self._caches.note_use(picture)
                    return picture, Sprite(**fields | {"times_s": tuple(fields["times_s"])})
            video = self.probe(entry)
            with write_errors(picture):
                create_folder(folder)
                sprite = write_sprite(self._decoder, video, picture)
                with atomic_write(facts) as temporary_path:
                    temporary_path.write_text(json.dumps(asdict(sprite)), encoding="utf-8")
        self._caches.note_write(picture)
        return picture, sprite

    def waveform(self, entry: VideoEntry) -> Path | None:
        """Return the file with the peaks of a video's sound, a byte each; None if it was not made yet."""
        path = waveform_path(self._library.folder, entry.video_id)
        if not path.exists():
            return None
        self._caches.note_use(path)
        return path

    def ensure_waveform(self, entry: VideoEntry, progress: Progress = NO_PROGRESS) -> Path:
        """Return the same file, which the first call makes; see `longview.video.waveform.waveform`.

        Raises:
            NoSuchTrack: the video has no sound. NoSpace: the disk is full. UnreadableVideo, FFmpegFailed: its sound cannot be
                decoded. Cancelled: the operation was cancelled.
        """
        from longview.video.decoding.audio import select_audio_stream
        from longview.video.waveform import waveform

        if (path := self.waveform(entry)) is not None:
            return path
        video = self.probe(entry, progress)
        peaks = waveform(video, select_audio_stream(video, None).index, progress.child(0.0, 1.0, "Reading the sound"))
        target = write_waveform(self._library.folder, entry.video_id, peaks)
        self._caches.note_write(target)
        return target

    def delete_derived(self, video_id: str) -> int:
        """Delete the thumbnails, the waveform and the browser copy of a video; return their size in bytes."""
        paths = [path for name in CACHE_FOLDERS for path in files_of(self._library.folder / name, video_id)]
        return sum(delete_inside(self._library.folder, path) for path in paths)
