"""Check of a library and of the weights that come with Longview: what is damaged, what can be rebuilt, and what to do."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from PIL import Image

from longview.app.diagnostics.findings import Finding
from longview.app.diagnostics.weights_check import weight_findings
from longview.app.errors import VideoGone
from longview.app.files.cache_limit import CACHE_FOLDERS
from longview.app.maintenance.housekeeping import partial_paths
from longview.app.service import Longview
from longview.app.settings import Settings
from longview.app.text.counts import count_text, size_text
from longview.core.progress import NO_PROGRESS, Progress
from longview.indexing.errors import InvalidEncoder, LibraryDamaged, LibraryUnusable
from longview.indexing.library_files import INDEX_FILE, PROXIES, THUMBNAILS, delete_inside
from longview.indexing.records.track import ID_DIGITS
from longview.indexing.records.video import VideoEntry
from longview.indexing.sqlite.database.database import DATABASE, Database
from longview.indexing.sqlite.database.failures import disk_full, is_disk_full
from longview.indexing.sqlite.database.inventory import copies
from longview.indexing.sqlite.repair.integrity import database_problems, log_problem, vector_problem
from longview.indexing.sqlite.repair.recovery import only_process, recover
from longview.video.errors import VideoError
from longview.video.probing.content_hash import content_hash

PARTIAL_AGE_S = 3600.0
"""Minimum age of a temporary file that no process is writing any more, in seconds."""
REPAIR = "`longview check --repair` repairs it."


def check(
    settings: Settings, *, repair: bool = False, hash_originals: bool = False, progress: Progress = NO_PROGRESS
) -> list[Finding]:
    """Check the database, the vectors, the caches, the weights and the originals of a library; return what is broken.

    `repair`: rebuild what can be rebuilt. `hash_originals`: read all originals, and compare them with their content hashes.

    Raises:
        LibraryUnusable: something would be repaired while another process is using the library, or on a full disk.
    """
    folder = settings.library.expanduser().resolve()
    findings = list(_check_database(folder, repair=repair))
    findings += weight_findings(settings)
    if database_problems(folder, is_quick=True) or not (folder / DATABASE).exists():
        # Without the database nobody knows what else belongs to the library.
        return findings
    if is_disk_full(folder):
        findings.append(Finding("database", str(disk_full(folder)), "The library can be read meanwhile."))
    app = Longview(settings)
    try:
        has_encoder = all(finding.code != InvalidEncoder.code for finding in findings)
        findings += _check_vectors(app, repair=repair, can_embed=has_encoder)
        findings += _check_caches(app, repair=repair)
        findings += _check_originals(app.videos(), app, hash_originals=hash_originals, progress=progress)
    finally:
        app.parts.decoder.close()
    return findings


def quick_problems(settings: Settings) -> list[str]:
    """Return what the quick part of a check finds in the library and in the weights, as text."""
    folder = settings.library.expanduser().resolve()
    problems = [f"{problem} {_database_advice(folder)}" for problem in database_problems(folder, is_quick=True)]
    if problem := vector_problem(folder):
        problems.append(f"{problem} {REPAIR}")
    return problems


def _check_database(folder: Path, *, repair: bool) -> Iterator[Finding]:
    path = folder / DATABASE
    # Opening the database would delete the log.
    if problem := log_problem(folder):
        yield Finding("database", problem, "What was indexed or changed last may be missing; index it again.")
    problems = database_problems(folder)
    if not problems:
        return
    source = _recoverable(path)
    advice = _database_advice(folder)
    if not repair or source is None:
        yield from (Finding("database", problem, advice, source is not None) for problem in problems)
        return
    with only_process(path):
        if is_disk_full(folder):
            raise disk_full(folder)
        recovery = recover(path, source)
    text = recovery.text()
    remaining_problems = database_problems(folder)
    yield from (
        Finding("database", problem, advice, is_repairable=True, repaired=None if remaining_problems else text)
        for problem in problems
    )


def _recoverable(path: Path) -> Path | None:
    """Return the file from which a database can be recovered; None: none.

    If it is missing, that is the newest copy, else what its log has.
    """
    if path.exists() and path.stat().st_size:
        # One of a newer version, or that another user owns, is not damaged.
        return None if _is_refused(path.parent) else path
    log = path.with_name(path.name + "-wal")
    return next(iter(copies(path)), path if log.exists() and log.stat().st_size else None)


def _is_refused(folder: Path) -> bool:
    """Whether a database cannot be opened for another reason than damage: a newer version, or a folder that cannot be written."""
    try:
        Database(folder)
    except LibraryDamaged:
        return False
    except LibraryUnusable:
        return True
    return False


def _database_advice(folder: Path) -> str:
    path = folder / DATABASE
    if (source := _recoverable(path)) is None:
        return ""
    if source != path:
        return f"`longview check --repair` puts the content of {source} back; a back-up of yours may be newer."
    return (
        "What is written in undamaged pages can be saved, and passages and word index are rebuilt: `longview check --repair` "
        "does so, and keeps the damaged file. If you have a back-up, compare both."
    )


def _check_vectors(app: Longview, *, repair: bool, can_embed: bool) -> Iterator[Finding]:
    path = app.parts.library.folder / INDEX_FILE
    problem = vector_problem(app.parts.library.folder)
    if problem is None:
        return
    repaired = None
    if repair and can_embed:
        for damaged_file in (path, path.with_suffix(".json")):
            damaged_file.unlink(missing_ok=True)
        app.parts.runtime.vectors.update()
        repaired = f"The vectors in {path} were rebuilt."
    yield Finding("vectors", problem, f"Nothing is lost: they are rebuilt from the passages. {REPAIR}", True, repaired)


def _check_caches(app: Longview, *, repair: bool) -> Iterator[Finding]:
    folder, ids = app.parts.library.folder, {entry.video_id for entry in app.videos()}
    unreadable = [path for path in sorted((folder / THUMBNAILS).glob("[!.]*.jpg")) if not _is_picture(path)]
    unreadable += [path for path in sorted((folder / PROXIES).glob("[!.]*")) if not _is_video(app, path)]
    foreign = [
        path
        for name in CACHE_FOLDERS
        for path in sorted((folder / name).glob("[!.]*"))
        if path not in unreadable and path.name[:ID_DIGITS] not in ids
    ]
    partial = partial_paths(folder, older_than_s=PARTIAL_AGE_S)
    for paths, what, reason in (
        (unreadable, "cannot be read", "Nothing is lost: it is rebuilt when it is needed."),
        (foreign, "belong to no video of the library", "Nothing is lost."),
        (partial, "are what interrupted runs have left", "Nothing is lost."),
    ):
        if not paths:
            continue
        size = sum(part.stat().st_size for path in paths for part in (path, *path.rglob("*")))
        if repair:
            for path in paths:
                with suppress(OSError):
                    delete_inside(folder, path)
        yield Finding(
            "caches",
            f"Temporary or derived files {what}: {len(paths):,} ({size_text(size)}), such as {paths[0]}.",
            f"{reason} {REPAIR}",
            True,
            f"{count_text(len(paths), 'file')} deleted." if repair else None,
        )


def _is_picture(path: Path) -> bool:
    try:
        with Image.open(path) as image:
            image.load()
    except (OSError, SyntaxError, ValueError):
        return False
    return True


def _is_video(app: Longview, path: Path) -> bool:
    try:
        app.parts.decoder.probe(path)
    except VideoError:
        return False
    return True


def _check_originals(
    entries: tuple[VideoEntry, ...], app: Longview, *, hash_originals: bool, progress: Progress
) -> Iterator[Finding]:
    for number, entry in enumerate(entries):
        step = progress.child(number / len(entries), (number + 1) / len(entries), f"Reading {entry.title}")
        try:
            path = app.parts.media.source(entry, step)
            if hash_originals and content_hash(path, step) != entry.content_hash:
                raise VideoGone(f"{path} has changed since it was indexed, though its size and time have not.")
        except (VideoGone, VideoError) as error:
            yield Finding(
                "originals",
                f"{entry.title} ({entry.video_id}): {error}",
                "What was found in it stays searchable. If it was moved or renamed, `longview relink FOLDER` finds it by "
                "its content; a file that was changed is another video.",
            )
