"""Back-ups of a library: one zip file with the database, the uploads and, if wanted, all video files, each with its hash."""

import hashlib
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from longview.app.errors import BackupUnusable, BadRequest, NoSpace
from longview.app.files.file_names import safe_name, write_errors
from longview.app.files.originals import has_original
from longview.app.maintenance.archive import (
    FORMAT,
    MANIFEST,
    ORIGINALS,
    UPLOAD_PATTERN,
    Manifest,
    Member,
    is_portable,
    open_backup,
    read_members,
    transfer,
)
from longview.core.atomic import atomic_write
from longview.core.progress import NO_PROGRESS, Progress
from longview.indexing.errors import LibraryFull
from longview.indexing.library_files import UPLOADS
from longview.indexing.records.video import VideoEntry
from longview.indexing.sqlite.database.database import DATABASE, program_version
from longview.indexing.sqlite.database.inventory import remains
from longview.indexing.sqlite.library import Library
from longview.indexing.sqlite.repair.copies import copy_database, database_bytes
from longview.indexing.sqlite.tracks.removals import RemovedVideo


@dataclass
class BackupReport:
    """A back-up that was written and read back."""

    path: Path
    manifest: Manifest
    size_bytes: int = 0
    missing: list[VideoEntry] = field(default_factory=list)
    """Videos whose files should be in the back-up, and are missing, were changed or cannot be read."""


def backup(library_folder: Path, target: Path, *, with_originals: bool, progress: Progress = NO_PROGRESS) -> BackupReport:
    """Write a library into a new file, which appears when it is complete and was read back. The library may be in use.

    Raises:
        BadRequest: there is no library, or the file exists or cannot be written. NoSpace: its disk is full.
        LibraryUnusable: the library cannot be read. BackupUnusable: what was read back differs from what was written.
        Cancelled: the operation was cancelled.
    """
    target = target.expanduser().absolute()
    _require_new(target)
    if not (library_folder / DATABASE).exists() and not remains(library_folder / DATABASE):
        raise BadRequest(f"There is no library in {library_folder}; name its folder with --library.")
    library = Library(library_folder)
    with write_errors(target), atomic_write(target, is_private=True) as partial:
        require_space(target.parent, 2 * database_bytes(library_folder))
        # It is in the folder of the back-up, because the disk of the library may be full.
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".partial-") as folder:
            copy = Path(folder, DATABASE)
            try:
                facts = copy_database(library_folder, copy, progress.child(0.0, 0.2, "Copying the database"))
            except LibraryFull as error:
                raise NoSpace(f"The disk is full: there is no space for {target}; delete other files.") from error
            manifest = Manifest(
                format=FORMAT,
                schema_version=facts.schema_version,
                program_version=program_version(),
                created_at=datetime.now(UTC).isoformat(timespec="seconds"),
                video_count=facts.video_count,
                segment_count=facts.segment_count,
                members={},
                originals={},
            )
            report = BackupReport(target, manifest)
            step = progress.child(0.2, 0.6, "Writing the back-up")
            # What is added to the library from now on is not in the back-up.
            copied = Library(Path(folder))
            entries, removed_videos = copied.videos(), copied.removals.videos()
            videos: tuple[VideoEntry | RemovedVideo, ...] = (*entries, *removed_videos)
            hashes = {video.video_id: video.content_hash for video in videos}
            files = _video_files(library, entries, report, with_originals=with_originals, progress=step)
            _note_removed_uploads(library, removed_videos, files, manifest, step)
            require_space(target.parent, sum(path.stat().st_size for path in (copy, *files.values())))
            _write(partial, copy, files, report, hashes, step)
        with open_backup(partial) as (archive, read_back):
            if read_back != manifest:
                raise BackupUnusable(f"{target} was not written as it should be, and was deleted; its disk may be damaged.")
            read_members(archive, read_back, progress.child(0.6, 1.0, "Reading the back-up"))
        report.size_bytes = partial.stat().st_size
        _require_new(target)
    return report


def require_space(folder: Path, size_bytes: int) -> None:
    """Check that a disk has space.

    Raises:
        NoSpace: it has less.
    """
    if (free := shutil.disk_usage(folder).free) < size_bytes:
        raise NoSpace(f"{size_bytes / 1e6:.1f} MB are needed in {folder}, and {free / 1e6:.1f} MB are free; delete other files.")


def _require_new(target: Path) -> None:
    if target.exists() or target.is_symlink():
        raise BadRequest(f"{target} already exists and was not overwritten; choose another name.")
    if not target.parent.is_dir():
        raise BadRequest(f"There is no folder {target.parent}; create it, or attach its disk.")


def _video_files(
    library: Library, entries: tuple[VideoEntry, ...], report: BackupReport, *, with_originals: bool, progress: Progress
) -> dict[str, Path]:
    """Return the video files of a back-up by their names in it, and note which belong to which video, and what is missing."""
    uploads = library.folder / UPLOADS
    files = {
        f"{UPLOADS}/{path.name}": path
        for path in (sorted(uploads.iterdir()) if uploads.is_dir() else ())
        if UPLOAD_PATTERN.fullmatch(path.name) and is_portable(path.name) and path.is_file() and not path.is_symlink()
    }
    by_path = {path: name for name, path in files.items()}
    for entry in entries:
        is_upload = entry.path.parent == uploads
        if not is_upload and not with_originals:
            continue
        if not has_original(library, entry, progress):
            report.missing.append(entry)
            continue
        file_name = entry.path.name if is_portable(entry.path.name) else safe_name(entry.path.name)
        name = by_path.get(entry.path, f"{ORIGINALS}/{entry.video_id}/{file_name}")
        files[name] = entry.path
        report.manifest.originals[entry.video_id] = name
    return files


def _note_removed_uploads(
    library: Library, removed: tuple[RemovedVideo, ...], files: dict[str, Path], manifest: Manifest, progress: Progress
) -> None:
    """Note which uploads belong to removed videos, so that these have their files when they are brought back after a restore."""
    names = {path: name for name, path in files.items()}
    for video in removed:
        if video.path in names and has_original(library, video, progress):
            manifest.originals[video.video_id] = names[video.path]


def _write(
    partial: Path, copy: Path, files: dict[str, Path], report: BackupReport, hashes: dict[str, str], progress: Progress
) -> None:
    """Write the members, and note their sizes and hashes. `hashes`: the content hashes of the videos by their ids."""
    ids = {name: video_id for video_id, name in report.manifest.originals.items()}
    total = max(1, sum(path.stat().st_size for path in (copy, *files.values())))
    done_bytes = 0

    def report_bytes(count: int) -> None:
        nonlocal done_bytes
        done_bytes += count
        progress.update(done_bytes / total)

    with partial.open("w+b") as file:
        with zipfile.ZipFile(file, "w") as archive:
            for name, path in {DATABASE: copy, **files}.items():
                info = zipfile.ZipInfo.from_file(path, name, strict_timestamps=False)
                # Videos are compressed already.
                info.compress_type = zipfile.ZIP_DEFLATED if name == DATABASE else zipfile.ZIP_STORED
                sha256, content = hashlib.sha256(), hashlib.blake2b(digest_size=20)
                with _open_to_read(path) as read, archive.open(info, "w", force_zip64=True) as member:
                    size_bytes = transfer(read, member.write, (sha256, content), report_bytes)
                if (video_id := ids.get(name)) and content.hexdigest() != hashes[video_id]:
                    raise BadRequest(f"{path} was changed while it was being backed up; try again.")
                report.manifest.members[name] = Member(size_bytes=size_bytes, sha256=sha256.hexdigest())
            archive.writestr(MANIFEST, report.manifest.model_dump_json(indent=1), zipfile.ZIP_DEFLATED)
        file.flush()
        os.fsync(file.fileno())
        if hasattr(os, "posix_fadvise"):
            # What is read back comes from the disk, and not from memory.
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@contextmanager
def _open_to_read(path: Path) -> Iterator[Callable[[int], bytes]]:
    """Provide the function that reads from a file, whose errors name the file."""

    def read_error(error: OSError) -> BadRequest:
        return BadRequest(f"{path} cannot be read ({error.strerror}), so nothing was backed up; try again, or move it away.")

    try:
        file = path.open("rb")
    except OSError as error:
        raise read_error(error) from error

    def read(size: int) -> bytes:
        try:
            return file.read(size)
        except OSError as error:
            raise read_error(error) from error

    with file:
        yield read
