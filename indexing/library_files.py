"""Files in the folder of a library. Only those that lie in it are deleted, by whatever name or link they are reached."""

import shutil
from pathlib import Path

from longview.indexing.errors import LibraryDamaged
from longview.indexing.records.track import VIDEO_ID

UPLOADS, PROXIES, THUMBNAILS, BACKUPS, SAMPLE_FILES = "uploads", "proxies", "thumbnails", "backups", "samples"
"""Folders in that of a library: copies of uploaded files, copies for browsers, images of frames, copies of the database, and the
sample videos."""
INDEX_FILE = "vectors.faiss"
"""Name of the file with the vectors; see `longview.indexing.sqlite.vectors`."""


def require_id(video_id: str) -> str:
    """Return the id of a video, which becomes part of the name of a file.

    Raises:
        LibraryDamaged: it is none; it comes from a row that Longview did not write.
    """
    if VIDEO_ID.fullmatch(video_id) is None:
        raise LibraryDamaged(f"The library has a video with the id {video_id[:40]!r}, which is none; see `longview check`.")
    return video_id


def files_of(folder: Path, video_id: str) -> list[Path]:
    """Return the files in a folder whose names begin with the id of a video, followed by `-` or `.`. Links are left out."""
    beginnings = (f"{video_id}-", f"{video_id}.")
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    return [path for path in paths if path.name.startswith(beginnings) and path.is_file() and not path.is_symlink()]


def is_inside(folder: Path, path: Path) -> bool:
    """Whether a file or folder lies in a library, and not where a link in its path or `..` leads."""
    return path.name not in ("", ".", "..") and path.parent.resolve().is_relative_to(folder.resolve())


def delete_inside(folder: Path, path: Path) -> int:
    """Delete a file, or a folder with all that is in it, of a library; return the size of the file in bytes.

    A file that is gone, and one that does not lie in the library, is left as it is.

    Raises:
        OSError: it cannot be deleted.
    """
    if not is_inside(folder, path):
        return 0
    try:
        size_bytes = path.lstat().st_size
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
            path.rmdir()
            return 0
        path.unlink()
    except FileNotFoundError:
        return 0
    return size_bytes
