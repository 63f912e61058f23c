"""Copies of a library's database: one that is made while the library is in use, and one that replaces the present database."""

import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from longview.core.atomic import replace_file, sync_file, sync_folder
from longview.core.progress import NO_PROGRESS, Progress
from longview.indexing.errors import LibraryUnusable
from longview.indexing.library_files import INDEX_FILE
from longview.indexing.sqlite.database.connections import connect
from longview.indexing.sqlite.database.database import DATABASE, Database
from longview.indexing.sqlite.database.failures import damaged_library
from longview.indexing.sqlite.database.migrations import MIGRATIONS
from longview.indexing.sqlite.database.rows import set_sort_titles
from longview.indexing.sqlite.database.schema import expected_schema
from longview.indexing.sqlite.repair.integrity import copy_problems, database_problems
from longview.indexing.sqlite.repair.recovery import dated_path, keep, only_process
from longview.indexing.sqlite.tracks.passage_rows import rebuild_passages
from longview.indexing.sqlite.tracks.rows import searched_tracks

STEP_PAGES = 2048
"""Number of pages that are copied between two checks for a cancellation: 8 MB."""
CHECK_INSTRUCTIONS = 100_000
"""Number of instructions of SQLite between two checks for a cancellation."""


@dataclass(frozen=True)
class DatabaseFacts:
    """What a copy of a database has, without the videos that were removed."""

    schema_version: int
    video_count: int
    segment_count: int


def database_bytes(folder: Path) -> int:
    """Return the size of a library's database and its log, in bytes."""
    paths = (folder / DATABASE, folder / f"{DATABASE}-wal")
    return sum(path.stat().st_size for path in paths if path.exists())


def copy_database(folder: Path, target: Path, progress: Progress = NO_PROGRESS) -> DatabaseFacts:
    """Copy the database of a library as it is at one moment, and check the copy. Other processes may write meanwhile.

    `target`: an empty or new file.

    Raises:
        LibraryDamaged: the copy does not pass SQLite's check. LibraryFull: the disk of `target` is full.
        Cancelled: the operation was cancelled.
    """

    def report(_status: int, remaining: int, total: int) -> None:
        progress.update(1 - remaining / max(total, 1))

    with Database(folder).connection() as db, closing(connect(target)) as copy:
        # Within a transaction, what others write does not make the copy begin again.
        db.execute("BEGIN")
        db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        db.backup(copy, pages=STEP_PAGES, progress=report)
        db.execute("ROLLBACK")
        # The copy is one file, without a log beside it.
        copy.execute("PRAGMA journal_mode = DELETE")
        copy.set_progress_handler(lambda: progress.is_cancelled, CHECK_INSTRUCTIONS)
        try:
            problem = copy.execute("PRAGMA quick_check(1)").fetchone()[0]
        except sqlite3.OperationalError:
            progress.raise_if_cancelled()
            raise
        if problem != "ok":
            raise damaged_library(folder / DATABASE, problem)
        version, videos, segments = (
            int(copy.execute(query).fetchone()[0])
            for query in (
                "PRAGMA user_version",
                "SELECT count(*) FROM videos WHERE removed_at = ''",
                "SELECT count(*) FROM segments JOIN videos USING (video_id) WHERE removed_at = ''",
            )
        )
    return DatabaseFacts(version, videos, segments)


def check_copy(folder: Path) -> None:
    """Check a database that anyone may have written and that no other process uses, and migrate one of an older version.

    Its schema and all its values are checked before the first statement changes anything.

    Raises:
        LibraryUnusable: it is damaged, is not as Longview writes it, or a newer version of Longview wrote it.
    """
    if problems := copy_problems(folder / DATABASE) or database_problems(folder):
        raise LibraryUnusable(
            f"The database in the back-up is damaged, or Longview did not write it, and nothing was restored: {problems[0]}"
        )


def rebuild_search(folder: Path) -> None:
    """Make the passages, the word index and the texts for sorting of a copy again: what others wrote into them is not used.

    Raises:
        LibraryUnusable: the database cannot be written.
    """
    with Database(folder).transaction() as db:
        set_sort_titles(db)
        db.execute("DROP TABLE passage_terms")
        db.execute(expected_schema(len(MIGRATIONS))["table passage_terms"])
        db.execute("DELETE FROM passages")
        for video_id, source in searched_tracks(db):
            rebuild_passages(db, video_id, source)


def release_jobs(folder: Path) -> None:
    """Let the unfinished jobs of a copy wait for any process: those that ran while it was made run in the other library."""
    with Database(folder).transaction() as db:
        db.execute(
            "UPDATE jobs SET status = 'waiting', request = '', stage = '', seconds_left = NULL WHERE status = 'running'",
        )
        db.execute("UPDATE jobs SET owner = '' WHERE status = 'waiting'")


def schema_version(folder: Path) -> int:
    """Return the schema version of a database that was not opened yet; 0 if it cannot be read."""
    with suppress(sqlite3.Error), closing(connect(folder / DATABASE, options="mode=ro&immutable=1")) as db:
        return int(db.execute("PRAGMA user_version").fetchone()[0])
    return 0


def prepare_replacement(library: Path, source: Path, progress: Progress = NO_PROGRESS) -> None:
    """Number the passages of a database after those of the library's database that it replaces, and make it one file.

    A running server has the vectors of the old passages in memory, by their numbers. `source`: the folder of the new one.

    Raises:
        Cancelled: the operation was cancelled.
    """
    passage_id, revision = _counters(library / DATABASE)
    with Database(source).transaction() as db:
        if passage_id:
            row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'passages'").fetchone()
            db.execute("DELETE FROM sqlite_sequence WHERE name = 'passages'")
            db.execute("INSERT INTO sqlite_sequence VALUES ('passages', ?)", (max(passage_id, row[0] if row else 0),))
            tracks = searched_tracks(db)
            for number, (video_id, source_name) in enumerate(tracks):
                rebuild_passages(db, video_id, source_name)
                progress.update((number + 1) / len(tracks))
        db.execute("UPDATE revision SET number = max(number, ?) + 1", (revision,))
    with closing(connect(source / DATABASE)) as db:
        db.execute("PRAGMA journal_mode = DELETE")
    # A full disk is noticed here, before anything of the library is changed.
    sync_file(source / DATABASE)


def replace_database(library: Path, source: Path) -> Path | None:
    """Put a database that was prepared in the place of a library's database, in one step; return what the old one is called now.

    The vectors of the library are removed; the next search makes them again. `source`: a folder on the same disk.

    Raises:
        LibraryUnusable: another process is using the library.
    """
    target = library / DATABASE
    with only_process(target):
        kept_copy = None
        if target.exists() and target.stat().st_size:
            kept_copy = dated_path(target, "before-restore")
            keep(target, kept_copy)
        for derived_file in (library / INDEX_FILE, (library / INDEX_FILE).with_suffix(".json")):
            derived_file.unlink(missing_ok=True)
        # SQLite would apply the log of the old database to the new one.
        for suffix in ("-wal", "-shm", "-journal"):
            target.with_name(target.name + suffix).unlink(missing_ok=True)
        # Without the deletions on the disk, a power cut could leave the new database with the log of the old one.
        sync_folder(library)
        replace_file(source / DATABASE, target)
    return kept_copy


def require_unused(library: Path) -> None:
    """Check that no other process is using a library.

    Raises:
        LibraryUnusable: another process is using it.
    """
    with only_process(library / DATABASE):
        pass


def _counters(path: Path) -> tuple[int, int]:
    """Return the last number of a passage and the revision of a database; 0 where they cannot be read."""
    # The last process that used the library may have left a log, which closing the last connection writes into the database.
    passage_id = revision = 0
    if not path.exists():
        return passage_id, revision
    with suppress(sqlite3.Error), closing(connect(path, options="mode=rw")) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        revision = int(db.execute("SELECT number FROM revision").fetchone()[0])
        row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'passages'").fetchone()
        passage_id = int(row[0]) if row else 0
    return passage_id, revision
