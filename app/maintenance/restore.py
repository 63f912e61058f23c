"""Restore of a library from a back-up: all of it or nothing."""

import hashlib
import os
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from zipfile import ZipFile

from longview.app.errors import BackupUnusable, BadRequest
from longview.app.files.file_names import write_errors
from longview.app.files.originals import has_original
from longview.app.maintenance.archive import ORIGINALS, Manifest, open_backup, read_member, transfer
from longview.app.maintenance.backup import require_space
from longview.core.atomic import PRIVATE_FOLDER_MODE, PRIVATE_MODE, create_private_folder, make_private, replace_file
from longview.core.progress import NO_PROGRESS, Progress
from longview.indexing.records.video import VideoEntry
from longview.indexing.sqlite.database.database import DATABASE, LOCK
from longview.indexing.sqlite.database.migrations import MIGRATIONS
from longview.indexing.sqlite.library import Library
from longview.indexing.sqlite.repair.copies import (
    check_copy,
    prepare_replacement,
    rebuild_search,
    release_jobs,
    replace_database,
    require_unused,
    schema_version,
)
from longview.indexing.sqlite.tracks.removals import RemovedVideo

STAGING_PREFIX = ".partial-restore-"
"""Beginning of the name of the folder where a library is unpacked before it takes its place."""
SPACE_FACTOR = 3
"""Space that the database needs while it is restored, in its sizes: the log of its changes may be as large as itself."""


@dataclass
class RestoreReport:
    """What was restored."""

    library: Path
    manifest: Manifest
    kept: Path | None = None
    """What the database that was there before is called now; None: there was none."""
    restored_files: int = 0
    """Number of video files that were written."""
    missing: list[VideoEntry] = field(default_factory=list)
    """Videos whose files are neither in the back-up nor where they were."""


def restore(source: Path, library_folder: Path, *, replace: bool, progress: Progress = NO_PROGRESS) -> RestoreReport:
    """Restore a library from a back-up into a new or empty folder. What was there stays if anything fails.

    `replace`: also into a folder with a library, whose database is kept under another name. Other processes must have ended.

    Raises:
        BadRequest: the folder is not empty, or the back-up or the folder cannot be used. NoSpace: the disk is full.
        BackupUnusable: the back-up is damaged, or of a newer version. LibraryUnusable: another process uses the library.
        Cancelled: the operation was cancelled.
    """
    source = source.expanduser().absolute()
    with open_backup(source) as (archive, manifest), ExitStack() as stack, write_errors(library_folder):
        if manifest.schema_version > len(MIGRATIONS):
            raise BackupUnusable(
                f"The library in {source} has schema version {manifest.schema_version}, and this Longview knows versions up to "
                f"{len(MIGRATIONS)}: Longview {manifest.program_version} wrote it. Update Longview."
            )
        is_new = not library_folder.exists()
        create_private_folder(library_folder)
        if is_new:
            stack.callback(_delete_if_empty, library_folder)
        if {path.name for path in library_folder.iterdir()} <= {LOCK}:
            make_private(library_folder, PRIVATE_FOLDER_MODE)
        if not replace and not all(_is_left(path, library_folder, manifest) for path in library_folder.iterdir()):
            raise BadRequest(
                f"{library_folder} is not empty. Name a new folder with --library, or add --replace, which keeps the present "
                "database under another name."
            )
        require_unused(library_folder)
        sizes = [member.size_bytes for member in manifest.members.values()]
        require_space(library_folder, sum(sizes) + (SPACE_FACTOR - 1) * manifest.members[DATABASE].size_bytes)
        staging = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=library_folder, prefix=STAGING_PREFIX)))
        report = RestoreReport(library_folder, manifest)
        files = _unpack(archive, report, staging, progress.child(0.0, 0.7, "Reading the back-up"))
        prepare_replacement(library_folder, staging, progress.child(0.7, 1.0, "Putting the library in its place"))
        with ExitStack() as undo:
            for staged_path, target in files.items():
                create_private_folder(target.parent)
                replace_file(staged_path, target)
                undo.callback(_delete_file, target, library_folder)
            report.kept = replace_database(library_folder, staging)
            undo.pop_all()
        return report


def _is_left(path: Path, library_folder: Path, manifest: Manifest) -> bool:
    """Whether a restore of this back-up that was killed has left a file, or all files of a folder, in a new library."""
    if path.name.startswith(STAGING_PREFIX) or path == library_folder / LOCK:
        return True
    if path.is_symlink():
        return False
    name = path.relative_to(library_folder).as_posix()
    if path.is_dir():
        has_members = any(member_name.startswith(f"{name}/") for member_name in manifest.members)
        return has_members and all(_is_left(item, library_folder, manifest) for item in path.iterdir())
    member = manifest.members.get(name)
    return member is not None and path.name != DATABASE and path.is_file() and _sha256(path) == member.sha256


def _delete_file(path: Path, library_folder: Path) -> None:
    """Delete a file, and the folders above it that are empty then, up to that of the library."""
    path.unlink(missing_ok=True)
    for folder in path.parents:
        if folder == library_folder or any(folder.iterdir()):
            break
        folder.rmdir()


def _delete_if_empty(folder: Path) -> None:
    if {path.name for path in folder.iterdir()} <= {LOCK}:
        with suppress(OSError):
            (folder / LOCK).unlink(missing_ok=True)
            folder.rmdir()


def _unpack(archive: ZipFile, report: RestoreReport, staging: Path, progress: Progress) -> dict[Path, Path]:
    """Unpack a library into a folder, check it and set the paths of its videos; return where each video file belongs."""
    manifest, total = report.manifest, max(1, sum(member.size_bytes for member in report.manifest.members.values()))
    done_bytes = 0

    def report_bytes(count: int) -> None:
        nonlocal done_bytes
        done_bytes += count
        progress.update(done_bytes / total)

    _extract(archive, manifest, DATABASE, staging / DATABASE, report_bytes)
    if schema_version(staging) != manifest.schema_version:
        raise BackupUnusable("The database in the back-up has another version than the back-up says; nothing was changed.")
    check_copy(staging)
    rebuild_search(staging)
    release_jobs(staging)
    library = Library(staging)
    entries = library.videos()
    # The upload of a removed video is restored with it, because the removal can still be undone.
    videos: tuple[VideoEntry | RemovedVideo, ...] = (*entries, *library.removals.videos(with_expired=True))
    owners = {video.video_id: video for video in videos}
    ids = {name: video_id for video_id, name in manifest.originals.items()}
    files: dict[Path, Path] = {}
    for name in manifest.members:
        if name == DATABASE:
            continue
        entry = owners.get(ids.get(name, ""))
        if name in ids and entry is None:
            raise BackupUnusable(f"{name} in the back-up belongs to no video of it; nothing was changed.")
        is_original = name.startswith(f"{ORIGINALS}/")
        if entry and is_original and has_original(library, entry, progress):
            # It is read all the same, so that damage is noticed.
            read_member(archive, manifest, name, lambda _block: None, report_bytes)
            continue
        staged_path = staging / name
        digest = _extract(archive, manifest, name, staged_path, report_bytes)
        if entry and digest != entry.content_hash:
            raise BackupUnusable(f"{name} in the back-up is not the file of {entry.title}; nothing was changed.")
        target = _free_path(report.library / name, manifest.members[name].sha256)
        if not target.exists():
            files[staged_path] = target
            report.restored_files += 1
        if entry:
            status = (target if target.exists() else staged_path).stat()
            library.set_path(entry.video_id, target)
            library.known_files.remember(target, status.st_size, status.st_mtime_ns, entry.content_hash)
    for entry in entries:
        if entry.video_id not in manifest.originals and not has_original(library, entry, progress):
            report.missing.append(entry)
    progress.raise_if_cancelled()
    return files


def _extract(archive: ZipFile, manifest: Manifest, name: str, target: Path, report_bytes: Callable[[int], None]) -> str:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file:
        make_private(target, PRIVATE_MODE)
        digest = read_member(archive, manifest, name, file.write, report_bytes)
        file.flush()
        os.fsync(file.fileno())
    return digest


def _free_path(path: Path, sha256: str) -> Path:
    """Return a path of this name that is free, or that has this content already."""
    candidate, number = path, 0
    while candidate.exists() or candidate.is_symlink():
        if candidate.is_file() and _sha256(candidate) == sha256:
            break
        number += 1
        candidate = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return candidate


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        transfer(file.read, lambda _block: None, (digest,), lambda _count: None)
    return digest.hexdigest()
