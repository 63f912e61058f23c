"""Original video files of a library: whether they are where they were, and where moved or renamed ones are now."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from longview.app.errors import BadRequest
from longview.app.files.content_hashes import ContentHashes
from longview.core.progress import NO_PROGRESS, Progress
from longview.indexing.records.video import VideoEntry
from longview.indexing.sqlite.library import Library
from longview.indexing.sqlite.tracks.removals import RemovedVideo
from longview.video.errors import VideoError
from longview.video.probing.guard import Limits, check_path


@dataclass(frozen=True)
class Relinked:
    """A video whose file was found at another place."""

    entry: VideoEntry
    """The video with its old path."""
    path: Path
    """The new path."""


@dataclass
class RelinkReport:
    """What a search for moved files has found."""

    found: list[Relinked] = field(default_factory=list)
    missing: list[VideoEntry] = field(default_factory=list)
    """Videos whose files are still missing, or were changed."""
    unreadable: list[Path] = field(default_factory=list)
    """Folders and files that could not be read, or may not."""


def has_original(library: Library, entry: VideoEntry | RemovedVideo, progress: Progress = NO_PROGRESS) -> bool:
    """Whether the file at the path of a video is there, can be read and still has the same content.

    A file that is not known with its size and time of change is read.

    Raises:
        Cancelled: the operation was cancelled.
    """
    try:
        status = entry.path.stat()
        # A pipe or a device may have no end.
        return stat.S_ISREG(status.st_mode) and ContentHashes(library).of(entry.path, progress) == entry.content_hash
    except OSError:
        return False


def relink(library: Library, folder: Path, limits: Limits, progress: Progress = NO_PROGRESS) -> RelinkReport:
    """Find the missing files of a library below a folder, by size and then by content hash, and set their paths.

    Symbolic links are not followed: what they lead to inside of the folder is found there.

    Raises:
        BadRequest: there is no such folder, or it cannot be read. LibraryFull, LibraryReadOnly: the library cannot be written.
        Cancelled: the operation was cancelled; the paths that were found so far are set.
    """
    folder = folder.expanduser().resolve()
    try:
        next(os.scandir(folder), None)
    except OSError as error:
        raise BadRequest(f"{folder} cannot be searched: {error.strerror}.") from error
    library.require_writable()
    report, entries = RelinkReport(), library.videos()
    step = progress.child(0.0, 0.3, "Looking for missing files")
    for number, entry in enumerate(entries):
        if not has_original(library, entry, step):
            report.missing.append(entry)
        step.update((number + 1) / len(entries))
    missing_entries = {entry.content_hash: entry for entry in report.missing}
    sizes = {entry.facts.get("size_bytes") for entry in report.missing}
    candidates = []
    if missing_entries:
        for path, status in _files(folder, report.unreadable, progress):
            # The first libraries did not know the sizes of their files.
            if status.st_size in sizes or (None in sizes and status.st_size):
                candidates.append(path)
    step = progress.child(0.3, 1.0, "Comparing files")
    for number, path in enumerate(candidates):
        if not missing_entries:
            break
        try:
            checked_path = check_path(path, limits)
            digest = ContentHashes(library).of(checked_path, step)
        except (OSError, VideoError, BadRequest):
            report.unreadable.append(path)
            continue
        if digest in missing_entries:
            entry = missing_entries.pop(digest)
            library.set_path(entry.video_id, checked_path)
            report.found.append(Relinked(entry, checked_path))
        step.update((number + 1) / len(candidates))
    report.missing = list(missing_entries.values())
    return report


def _files(folder: Path, unreadable: list[Path], progress: Progress) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield the regular files below a folder in the order of their names; note what cannot be read."""

    def note(error: OSError) -> None:
        unreadable.append(Path(error.filename))

    for parent, folders, names in os.walk(folder, onerror=note):
        progress.raise_if_cancelled()
        folders.sort()
        for name in sorted(names):
            path = Path(parent, name)
            try:
                status = path.lstat()
            except OSError:
                unreadable.append(path)
                continue
            if stat.S_ISREG(status.st_mode):
                yield path, status
