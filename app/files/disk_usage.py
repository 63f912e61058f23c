"""Bytes of a library and of its videos: originals, uploads, caches, vectors and database. No file is read for it."""

import os
import stat
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from longview.app.files.cache_limit import cached_files
from longview.indexing.library_files import INDEX_FILE, UPLOADS
from longview.indexing.records.track import ID_DIGITS
from longview.indexing.records.video import VideoEntry
from longview.indexing.sqlite.library import Library
from longview.indexing.sqlite.repair.copies import database_bytes


@dataclass(frozen=True)
class VideoBytes:
    """Sizes of what belongs to one video, in bytes."""

    original: int | None
    """Size of its file; None if the file is not where it was."""
    caches: int
    """Size of its thumbnails and its browser copy."""
    vectors: int
    """Its share of the files of the vectors, by its number of passages; 0 before the first search."""


@dataclass(frozen=True)
class LibraryBytes:
    """Sizes of what belongs to a library, in bytes."""

    originals: int
    """Size of the video files that are not uploads."""
    uploads: int
    """Size of the library's own copies of uploads, also of videos whose removal can be undone."""
    caches: int
    """Size of thumbnails and browser copies."""
    vectors: int
    database: int
    """Size of the database and its log."""


def original_bytes(path: Path | str) -> int | None:
    """Return the size of a video file; None if it is not there. Whether its content is the same is not checked."""
    try:
        status = os.stat(path)  # noqa: PTH116 (to make a `Path` takes longer than this look)
    except (OSError, ValueError):
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def missing_ids(paths: Mapping[str, str]) -> frozenset[str]:
    """Return the ids of the videos whose files are not where they were. `paths`: those of the files by the ids."""
    return frozenset(video_id for video_id, path in paths.items() if original_bytes(path) is None)


def video_bytes(library: Library, entries: Sequence[VideoEntry]) -> dict[str, VideoBytes]:
    """Return the sizes of videos by their ids."""
    caches: Counter[str] = Counter()
    for file in cached_files(library.folder):
        caches[file.path.name[:ID_DIGITS]] += file.size_bytes
    passages = library.tracks.passage_counts()
    bytes_per_passage = _vector_bytes(library.folder) / max(1, sum(passages.values()))
    return {
        entry.video_id: VideoBytes(
            original_bytes(entry.path),
            caches[entry.video_id],
            round(passages.get(entry.video_id, 0) * bytes_per_passage),
        )
        for entry in entries
    }


def library_bytes(library: Library, entries: Sequence[VideoEntry]) -> LibraryBytes:
    """Return the sizes of a library."""
    uploads = library.folder / UPLOADS
    return LibraryBytes(
        originals=sum(original_bytes(entry.path) or 0 for entry in entries if entry.path.parent != uploads),
        uploads=_folder_bytes(uploads),
        caches=sum(file.size_bytes for file in cached_files(library.folder)),
        vectors=_vector_bytes(library.folder),
        database=database_bytes(library.folder),
    )


def _vector_bytes(folder: Path) -> int:
    path = folder / INDEX_FILE
    return sum(original_bytes(file) or 0 for file in (path, path.with_suffix(".json")))


def _folder_bytes(folder: Path) -> int:
    try:
        with os.scandir(folder) as items:
            return sum(original_bytes(Path(item.path)) or 0 for item in items)
    except OSError:
        return 0
