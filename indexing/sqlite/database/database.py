"""The SQLite database of a library, in WAL mode, so that several processes may use it at once."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from pathlib import Path

from filelock import FileLock

from longview.core.atomic import (
    FULL_DISK_ERRORS,
    PRIVATE_FOLDER_MODE,
    PRIVATE_MODE,
    atomic_write,
    create_private_folder,
    make_private,
)
from longview.indexing.errors import LibraryError, LibraryUnusable
from longview.indexing.sqlite.database.connections import connect, connect_image
from longview.indexing.sqlite.database.failures import (
    READ_ONLY_ERRORS,
    UNWRITABLE_CODES,
    damaged_library,
    disk_full,
    folder_error,
    foreign_schema,
    primary_code,
    unusable,
)
from longview.indexing.sqlite.database.inventory import lost_library, remains
from longview.indexing.sqlite.database.migrations import MIGRATIONS
from longview.indexing.sqlite.database.pages import DatabasePages
from longview.indexing.sqlite.database.row_checks import row_problems
from longview.indexing.sqlite.database.schema import add_functions, foreign_objects, migrate
from longview.indexing.sqlite.database.shared_memory import allocate_memory, is_memory_safe

DATABASE = "library.db"
LOCK = "library.lock"
"""Lock file for the creation and the migration of a library."""
MAX_CHECKED_BYTES = 64 << 20
"""Maximum size of a database whose pages are checked when it is opened, in bytes; it takes up to a tenth of a second."""
MAX_FINDINGS = 100
SHARED_PAGE = "2nd reference to page"
"""Words of SQLite's check about a page that is in two places."""
PRIVATE_VERSION = 9
"""Version with which the folder and the database became readable by their owner only. Who shares them can allow it again."""
LOCK_TIMEOUT_S = 30.0
"""Maximum time that a writer waits for another process's transaction, in seconds."""


class Database:
    """The database of one library folder. Safe to use from several threads and processes."""

    def __init__(self, folder: Path) -> None:
        """Open the database, creating or upgrading it where needed. One that cannot be written is opened for reading.

        Raises:
            LibraryUnusable: the folder cannot be used, or the database is damaged, missing or of a newer version.
        """
        self.folder, self.path = folder, folder / DATABASE
        self._image: tuple[object, bytes] | None = None
        try:
            create_private_folder(folder)
            # SQLite does not wait while it switches WAL on: of two processes that create a library, one would fail.
            with FileLock(folder / LOCK, timeout=LOCK_TIMEOUT_S):
                self._prepare()
        except OSError as error:
            if error.errno not in (*READ_ONLY_ERRORS, *FULL_DISK_ERRORS) or not _has_content(self.path):
                raise folder_error(folder, error) from error
            if (version := self._version()) != len(MIGRATIONS):
                raise LibraryUnusable(
                    f"{folder_error(folder, error)} It has schema version {version}, and must be upgraded to "
                    f"{len(MIGRATIONS)} before it can be read."
                ) from error

    def _prepare(self) -> None:
        if not _has_content(self.path):
            if file_facts := remains(self.path):
                raise lost_library(self.path, file_facts)
            if {path.name for path in self.folder.iterdir()} <= {LOCK, DATABASE}:
                # The folder is new, or was made for the library.
                make_private(self.folder, PRIVATE_FOLDER_MODE)
            self.path.touch(mode=PRIVATE_MODE)
        version = self._version()
        with self.connection() as db:
            foreign = foreign_objects(db, version)
        if foreign:
            raise foreign_schema(self.path, foreign)
        if (problem := self._shared_page()) is not None:
            raise damaged_library(self.path, problem)
        with self.connection() as db:
            # A copy that another program made may have another mode.
            if db.execute("PRAGMA journal_mode").fetchone()[0] == "delete":
                db.execute("PRAGMA journal_mode = WAL")
        if version == len(MIGRATIONS):
            return
        if version:
            self._keep_copy()
        if 0 < version < PRIVATE_VERSION:
            make_private(self.folder, PRIVATE_FOLDER_MODE)
            make_private(self.path, PRIVATE_MODE)
        # A migration may replace a table that others refer to, which must not delete their rows.
        with self.transaction(has_foreign_keys=False) as db:
            # The schema is that of the version, so its triggers are Longview's own.
            db.execute("PRAGMA trusted_schema = ON")
            add_functions(db)
            migrate(db, version, len(MIGRATIONS))
            db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")

    def _shared_page(self) -> str | None:
        """Return what SQLite says of a page that several others refer to; None if there is none, or if the database is too large
        to be checked whenever it is opened.

        Such pages make trees that are read without an end. Other damage costs its own rows only, and is not a reason to refuse.
        """
        if self.path.stat().st_size > MAX_CHECKED_BYTES:
            return None
        try:
            with self.connection() as db:
                rows = db.execute(f"PRAGMA quick_check({MAX_FINDINGS})").fetchall()
        except (LibraryError, UnicodeDecodeError):
            # Whoever reads what is damaged says so.
            return None
        lines = (line for row in rows for line in str(row[0]).splitlines())
        return next((line for line in lines if SHARED_PAGE in line), None)

    def require_writable(self) -> None:
        """Check that the database can be written.

        Raises:
            LibraryFull, LibraryReadOnly
        """
        with self.transaction() as db:
            # The version is written even if it stays the same.
            db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")

    def _version(self) -> int:
        with self.connection() as db:
            version = int(db.execute("PRAGMA user_version").fetchone()[0])
        if version < 0:
            raise damaged_library(self.path, f"schema version {version}")
        if version > len(MIGRATIONS):
            raise LibraryUnusable(
                f"The library in {self.folder} has schema version {version}, and this Longview {program_version()} knows "
                f"versions up to {len(MIGRATIONS)}: a newer version of Longview wrote it. Update Longview, or restore a back-up "
                "that this version made."
            )
        return version

    def _keep_copy(self) -> None:
        """Copy the database before a migration.

        The copy stays until the next migration, because a fault may show late; it takes the size of the database once.
        """
        copy = self.path.with_name(f"{DATABASE}.before-version-{len(MIGRATIONS)}")
        with self.connection() as db, atomic_write(copy, is_private=True) as partial, closing(connect(partial)) as target:
            db.backup(target)
            problem = target.execute("PRAGMA quick_check(1)").fetchone()[0]
            if problem != "ok":
                raise damaged_library(self.path, problem)
        for older in self.folder.glob(f"{DATABASE}.before-version-*"):
            if older != copy:
                older.unlink(missing_ok=True)

    @contextmanager
    def transaction(self, *, has_foreign_keys: bool = True) -> Iterator[sqlite3.Connection]:
        """Provide a connection in a write transaction, which is committed, or rolled back on any error.

        Raises:
            LibraryUnusable: as `connection`. LibraryFull, LibraryReadOnly: the library cannot be written.
        """
        with self._connection(has_foreign_keys=has_foreign_keys, is_writing=True) as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                # A full disk makes SQLite roll back by itself.
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")

    def mark(self) -> object:
        """Return a mark of the files, which is another one after each transaction of any process. No connection is opened."""
        times: list[tuple[int, int] | None] = []
        for path in (self.path, self.path.with_name(f"{DATABASE}-wal")):
            try:
                status = path.stat()
                times.append((status.st_mtime_ns, status.st_size))
            except OSError:
                times.append(None)
        return times

    def file_number(self) -> int:
        """Return the number of the database file on its disk, which is another one once another database has replaced it."""
        try:
            return self.path.stat().st_ino
        except OSError:
            # Whoever reads the database says that it is missing.
            return 0

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """Provide a connection for reading, which is closed in the end.

        Raises:
            LibraryUnusable: SQLite fails. LibraryDamaged: the database is damaged, or was deleted.
        """
        with self._connection(has_foreign_keys=True, is_writing=False) as db:
            yield db

    @contextmanager
    def _connection(self, *, has_foreign_keys: bool, is_writing: bool) -> Iterator[sqlite3.Connection]:
        try:
            with closing(self._open(is_writing=is_writing)) as db:
                db.row_factory = sqlite3.Row
                db.execute(f"PRAGMA foreign_keys = {'ON' if has_foreign_keys else 'OFF'}")
                try:
                    yield db
                except (ValueError, TypeError, LookupError, RecursionError):
                    # A damaged row may be one that SQLite reads and Longview does not.
                    problem = _damage(db)
                    if problem is not None:
                        raise sqlite3.DatabaseError(f"malformed: {problem}") from None
                    raise
        except sqlite3.Error as error:
            raise unusable(self.path, error) from error

    def _open(self, *, is_writing: bool) -> sqlite3.Connection:
        if not is_memory_safe(self.path):
            if is_writing or not _has_content(self.path):
                raise disk_full(self.folder)
            return self._open_unwritable()
        # A database that was deleted is not created again, because it would be an empty library.
        db = connect(self.path, options="mode=rw", timeout_s=LOCK_TIMEOUT_S)
        try:
            # This reads the first page, for which SQLite creates its shared memory beside the database.
            db.execute("PRAGMA user_version").fetchone()
            allocate_memory(self.path)
        except OSError as error:
            db.close()
            raise folder_error(self.folder, error) from error
        except sqlite3.Error as error:
            db.close()
            if is_writing or primary_code(error) not in UNWRITABLE_CODES or not _has_content(self.path):
                raise
            return self._open_unwritable()
        return db

    def _open_unwritable(self) -> sqlite3.Connection:
        """Open a database beside which no file can be created. SQLite would ignore a log: with one, a copy in memory is read."""
        log = self.path.with_name(DATABASE + "-wal")
        try:
            if not _has_content(log):
                return connect(self.path, options="mode=ro&immutable=1")
            state = [(path.stat().st_size, path.stat().st_mtime_ns) for path in (self.path, log)]
            if self._image is None or self._image[0] != state:
                with DatabasePages(self.path) as pages:
                    self._image = (state, pages.image())
        except OSError as error:
            raise folder_error(self.folder, error) from error
        return connect_image(self._image[1])


def _damage(db: sqlite3.Connection) -> str | None:
    """Return what is wrong with the pages or the rows of a database; None if nothing is."""
    try:
        problem = str(db.execute("PRAGMA quick_check(1)").fetchone()[0])
        return next(row_problems(db), None) if problem == "ok" else problem
    except UnicodeDecodeError:
        return "its schema is not UTF-8"


def _has_content(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def program_version() -> str:
    """Return the version of Longview that runs."""
    try:
        return version_of("longview-video")
    except PackageNotFoundError:
        return "(not installed)"
