"""Examination of a library's database and vectors. Nothing is changed."""

import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from longview.indexing.errors import LibraryError, LibraryFull, LibraryReadOnly, LibraryUnusable
from longview.indexing.library_files import INDEX_FILE
from longview.indexing.sqlite.database.connections import connect
from longview.indexing.sqlite.database.database import DATABASE, Database
from longview.indexing.sqlite.database.failures import foreign_text
from longview.indexing.sqlite.database.inventory import lost_library, remains
from longview.indexing.sqlite.database.migrations import MIGRATIONS
from longview.indexing.sqlite.database.pages import DatabasePages
from longview.indexing.sqlite.database.row_checks import row_problems
from longview.indexing.sqlite.database.schema import expected_schema, foreign_objects, present_schema
from longview.indexing.sqlite.tracks.rows import searched_tracks
from longview.indexing.sqlite.tracks.segment_rows import segment_from
from longview.indexing.text.passages import make_passages

MAX_PROBLEMS = 5
"""Maximum number of problems of one kind that are listed."""


def database_problems(folder: Path, *, is_quick: bool = False) -> list[str]:
    """Return what is wrong with the database of a library, one sentence each; [] for a new folder.

    `is_quick`: without what reads all segments.
    """
    path = folder / DATABASE
    if not path.exists() or not path.stat().st_size:
        facts = remains(path)
        return [str(lost_library(path, facts))] if facts else []
    try:
        database = Database(folder)
    except LibraryError as error:
        return [str(error)]
    problems: list[str] = []
    try:
        with database.connection() as db:
            damage = [row[0] for row in db.execute(f"PRAGMA quick_check({MAX_PROBLEMS})")]
            if damage != ["ok"]:
                # What is read from damaged pages may say anything.
                lines = [line for text in damage for line in text.splitlines() if not line.startswith("***")]
                return [*problems, *(f"The database is damaged: {line}." for line in lines[:MAX_PROBLEMS])]
            problems += _foreign_key_problems(db)
            problems += _schema_problems(db)
            problems += row_problems(db, is_quick=is_quick)
            if not is_quick and not problems:
                problems += _passage_problems(db)
        if not is_quick and not problems:
            problems += _word_index_problems(database)
    except LibraryUnusable as error:
        problems.append(str(error))
    return problems


def copy_problems(path: Path) -> list[str]:
    """Return what is wrong with a database of any version that no other process uses. Nothing is written."""
    try:
        with closing(connect(path, options="mode=ro&immutable=1")) as db:
            db.row_factory = sqlite3.Row
            version = int(db.execute("PRAGMA user_version").fetchone()[0])
            if not 0 < version <= len(MIGRATIONS):
                return [f"Its schema version is {version}."]
            if foreign := foreign_objects(db, version):
                return [f"It has {foreign_text(foreign)}."]
            if (damage := db.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
                return [f"Its pages are damaged ({damage.splitlines()[0]})."]
            return list(row_problems(db, is_foreign=True))
    except (sqlite3.Error, UnicodeDecodeError) as error:
        return [f"It cannot be read ({error})."]


def log_problem(folder: Path) -> str | None:
    """Return what is wrong with the write-ahead log of a library that no process uses; None if nothing is.

    SQLite says nothing of it: it takes the changes before the damage, and deletes the log when the database is next closed.
    """
    path = folder / DATABASE
    try:
        with DatabasePages(path) as pages:
            lost_commits = pages.lost_commits
    except OSError:
        # The examination of the database says so.
        return None
    return f"The write-ahead log of {path} is damaged: its last {lost_commits} changes cannot be read." if lost_commits else None


def _foreign_key_problems(db: sqlite3.Connection) -> Iterator[str]:
    counts = Counter((row[0], row[2]) for row in db.execute("PRAGMA foreign_key_check"))
    for (table, parent), count in counts.items():
        noun = f"row of the table {table} belongs" if count == 1 else f"rows of the table {table} belong"
        yield f"{count} {noun} to no row of {parent}."


def _schema_problems(db: sqlite3.Connection) -> Iterator[str]:
    expected, present = expected_schema(len(MIGRATIONS)), present_schema(db)
    for name, sql in expected.items():
        if name not in present:
            yield f"The database has no {name}."
        elif present[name] != sql:
            yield f"The {name} of the database is not that of this version."


def _passage_problems(db: sqlite3.Connection) -> Iterator[str]:
    searched_names = set(searched_tracks(db))
    for video_id, source in map(tuple, db.execute("SELECT video_id, source FROM tracks").fetchall()):
        key = {"video_id": video_id, "source": source}
        rows = db.execute(
            "SELECT * FROM segments WHERE video_id = :video_id AND source = :source ORDER BY start_s, segment_id", key
        )
        passages = make_passages(video_id, source, [segment_from(row).segment for row in rows])
        expected = len(passages) if (video_id, source) in searched_names else 0
        (count,) = db.execute("SELECT count(*) FROM passages WHERE video_id = :video_id AND source = :source", key).fetchone()
        if count != expected:
            yield f"The {source} of {video_id} has {count} passages for the search, and should have {expected}."
    unindexed_count, extra = (
        db.execute(f"SELECT count(*) FROM {table} WHERE {number} NOT IN (SELECT {other_number} FROM {other})").fetchone()[0]
        for table, number, other, other_number in (
            ("passages", "passage_id", "passage_terms", "rowid"),
            ("passage_terms", "rowid", "passages", "passage_id"),
        )
    )
    if unindexed_count or extra:
        yield f"The word index lacks {unindexed_count} passages, and has {extra} that do not exist."


def _word_index_problems(database: Database) -> Iterator[str]:
    try:
        # The check of FTS5 has the form of an insertion.
        with database.transaction() as db:
            try:
                db.execute("INSERT INTO passage_terms (passage_terms) VALUES ('integrity-check')")
            except sqlite3.DatabaseError as error:
                yield f"The word index is damaged: {error}."
    except (LibraryFull, LibraryReadOnly):
        return


def vector_problem(folder: Path) -> str | None:
    """Return what is wrong with the vectors of a library; None if nothing is, or if there are none.

    Vectors of passages that were added or removed since are no problem: the next search updates them.
    """
    path = folder / INDEX_FILE
    if not path.exists():
        return None
    try:
        blob = path.read_bytes()
        label = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        if label["checksum"] != hashlib.blake2b(blob, digest_size=16).hexdigest():
            return f"The vectors in {path} are damaged: their checksum is another one."
        if not isinstance(label["texts"], list):
            raise TypeError("texts")
    except (OSError, ValueError, LookupError, TypeError) as error:
        return f"The vectors in {path} cannot be read ({error})."
    return None
