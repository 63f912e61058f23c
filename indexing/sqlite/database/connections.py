"""Connections to SQLite databases, whose files anyone may have written: what is in them is data, and runs nothing.

The settings follow SQLite's advice for files that are not trusted: https://www.sqlite.org/security.html
"""

import os
import sqlite3
from pathlib import Path
from urllib.parse import quote

MAX_VALUE_BYTES = 16 << 20
"""Maximum size of a value and of a row, in bytes. The largest are the states of sources and finished windows of captions."""
MAX_COLUMNS = 64
"""Maximum number of columns of a table, an index or a result."""
MAX_STATEMENT_BYTES = 1 << 20
"""Maximum length of a statement, also of one that creates a table, in bytes."""
MAX_TRIGGER_DEPTH = 4
STEP_INSTRUCTIONS = 1_000_000
"""Number of instructions of SQLite's virtual machine between two counts, about a hundredth of a second."""
MIN_STEPS, STEPS_PER_MB = 50, 20
"""Number of steps after which a statement is considered endless: at least, and per megabyte of the database. To make all passages
of 100,000 segments again takes two."""
JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")
"""Bytes at the end of a rollback journal that names another file."""
_LIMITS = {
    sqlite3.SQLITE_LIMIT_LENGTH: MAX_VALUE_BYTES,
    sqlite3.SQLITE_LIMIT_COLUMN: MAX_COLUMNS,
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: MAX_STATEMENT_BYTES,
    sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: MAX_TRIGGER_DEPTH,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
}


def connect(path: Path, *, options: str = "mode=rwc", timeout_s: float = 5.0) -> sqlite3.Connection:
    """Open a database in autocommit mode, with the settings for a file that anyone may have written.

    `options`: the query of the file's address (https://www.sqlite.org/uri.html). `timeout_s`: maximum time to wait for a lock of
    another connection, in seconds.

    Raises:
        sqlite3.Error: the file cannot be opened, or its journal names another file. Later, a statement is interrupted if the
            connection has needed more steps than the size of the database explains.
    """
    refuse_foreign_journal(path)
    address = f"file:{quote(str(path))}?{options}"
    return _secure(sqlite3.connect(address, uri=True, timeout=timeout_s, isolation_level=None), path)


def refuse_foreign_journal(path: Path) -> None:
    """Refuse the rollback journal of a transaction on several databases, which Longview never makes.

    SQLite rolls a journal back before any statement, and then deletes the file that such a journal names at its end, whatever
    that is (https://www.sqlite.org/fileformat2.html#the_rollback_journal).

    Raises:
        sqlite3.DatabaseError: the journal beside the database names a file.
    """
    try:
        # SQLite resolves links before it looks for the journal.
        with Path(f"{path.resolve()}-journal").open("rb") as journal:
            journal.seek(-min(len(JOURNAL_MAGIC), journal.seek(0, os.SEEK_END)), os.SEEK_END)
            ending = journal.read()
    except OSError:
        # Without a journal, nothing is rolled back; one that cannot be read is SQLite's error.
        return
    if ending == JOURNAL_MAGIC:
        raise sqlite3.DatabaseError("malformed: the rollback journal names a file of another database")


def connect_image(image: bytes) -> sqlite3.Connection:
    """Open a database that is in memory, for reading. See `connect`."""
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.deserialize(image)
    db = _secure(db, None)
    db.execute("PRAGMA query_only = ON")
    return db


def _secure(db: sqlite3.Connection, path: Path | None) -> sqlite3.Connection:
    try:
        for limit, value in _LIMITS.items():
            db.setlimit(limit, value)
        # What the schema runs by itself can neither call functions of the application nor reach beyond the database.
        db.execute("PRAGMA trusted_schema = OFF")
        db.execute("PRAGMA cell_size_check = ON")
        # Python offers it from 3.12 on: no statement writes to the pages of the schema and of virtual tables.
        if (set_config := getattr(db, "setconfig", None)) is not None:
            set_config(sqlite3.SQLITE_DBCONFIG_DEFENSIVE, True)  # type: ignore[attr-defined]
        _bound_steps(db, path)
    except BaseException:
        db.close()
        raise
    return db


def _bound_steps(db: sqlite3.Connection, path: Path | None) -> None:
    """Interrupt statements that would run for ever, because of pages or triggers that were made for that."""
    steps, allowed_steps = 0, MIN_STEPS

    def count() -> bool:
        nonlocal steps, allowed_steps
        steps += 1
        if steps > allowed_steps and path is not None:
            # The size is looked up late, because most connections never come this far.
            files = (path, path.with_name(path.name + "-wal"))
            size_bytes = sum(file.stat().st_size for file in files if file.exists())
            allowed_steps = max(MIN_STEPS, int(size_bytes / 1e6 * STEPS_PER_MB))
        return steps > allowed_steps

    db.set_progress_handler(count, STEP_INSTRUCTIONS)
