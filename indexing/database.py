"""The SQLite database of a library, in WAL mode, so that several processes may use it at once."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from longview.indexing.errors import LibraryUnusable
from longview.indexing.schema import MIGRATIONS, statements
from longview.indexing.terms import index_text

DATABASE = "library.db"
LOCK = "library.lock"
"""Lock file for the creation and the migration of a library."""
LOCK_TIMEOUT_S = 30.0
"""Maximum time that a writer waits for another process's transaction, in seconds."""


class Database:
    """The database of one library folder. Safe to use from several threads and processes."""

    def __init__(self, folder: Path) -> None:
        """Open the database, creating or upgrading it where needed.

        Raises:
            LibraryUnusable: the folder cannot be written, or the database is damaged or of a newer version.
        """
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # SQLite does not wait while it switches WAL on: of two processes that create a library, one would fail.
            with FileLock(folder / LOCK, timeout=LOCK_TIMEOUT_S):
                self._prepare()
        except OSError as error:
            reason = error.strerror or "another process holds its lock"
            raise LibraryUnusable(f"The library folder {folder} cannot be written: {reason}.") from error

    def _prepare(self) -> None:
        with self.connection() as db:
            db.execute("PRAGMA journal_mode = WAL")
        # A migration may replace a table that others refer to, which must not delete their rows.
        with self.transaction(has_foreign_keys=False) as db:
            version = int(db.execute("PRAGMA user_version").fetchone()[0])
            if version > len(MIGRATIONS):
                raise LibraryUnusable(
                    f"The library in {self.folder} was written by a newer version of Longview; update Longview."
                )
            for script in MIGRATIONS[version:]:
                for statement in statements(script):
                    db.execute(statement)
            if version < len(MIGRATIONS):
                db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")

    @contextmanager
    def transaction(self, *, has_foreign_keys: bool = True) -> Iterator[sqlite3.Connection]:
        """Provide a connection in a write transaction, which is committed, or rolled back on any error."""
        with self.connection(has_foreign_keys=has_foreign_keys) as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                # A full disk makes SQLite roll back by itself.
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")

    @contextmanager
    def connection(self, *, has_foreign_keys: bool = True) -> Iterator[sqlite3.Connection]:
        """Provide a connection, which is closed in the end.

        Raises:
            LibraryUnusable: SQLite fails, for instance because the disk is full.
        """
        path = self.folder / DATABASE
        try:
            db = sqlite3.connect(path, timeout=LOCK_TIMEOUT_S, isolation_level=None)
            try:
                db.row_factory = sqlite3.Row
                db.execute(f"PRAGMA foreign_keys = {'ON' if has_foreign_keys else 'OFF'}")
                # The triggers of the word index call it.
                db.create_function("index_text", 1, index_text, deterministic=True)
                yield db
            finally:
                db.close()
        except sqlite3.Error as error:
            full = "full" in str(error)
            raise LibraryUnusable(f"The library {path} cannot be used: {'the disk is full' if full else error}.") from error
