"""What is wrong with a library whose database cannot be used: the errors of SQLite and of the disk in plain words."""

import errno
import os
import sqlite3
import tempfile
from pathlib import Path

from longview.core.atomic import FULL_DISK_ERRORS
from longview.indexing.errors import LibraryDamaged, LibraryFull, LibraryReadOnly, LibraryUnusable

READ_ONLY_ERRORS = (errno.EROFS, errno.EACCES, errno.EPERM)
MIN_FREE_BYTES = 64 << 10
"""Minimum space with which SQLite opens a database: an index of its log takes 32 KB."""
UNWRITABLE_CODES = frozenset({sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_FULL})
"""Primary error codes of a database that cannot be written."""
_DAMAGE_CODES = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_INTERRUPT})
"""Primary error codes of damage. A value that is too large, or a statement that finds no end, is not Longview's."""
_DAMAGE_TEXTS = ("malformed", "vtable constructor failed", "no such table", "no such column", "Could not decode")
_REPAIR = "`longview check` says what is damaged, and `longview check --repair` keeps a copy and saves what can be read"


def primary_code(error: sqlite3.Error) -> int:
    """Return the primary code of an error of SQLite; 0 if Python raised it."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def unusable(path: Path, error: sqlite3.Error) -> LibraryUnusable:
    """Return the error to show for an error of SQLite. `path`: the database."""
    folder, code = path.parent, primary_code(error)
    if not path.exists():
        return LibraryDamaged(f"The database {path} of the library is missing; put it back, or see `longview check`.")
    if code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and is_disk_full(folder)):
        return disk_full(folder)
    if code in UNWRITABLE_CODES and not is_writable(path):
        return read_only(folder)
    if code in _DAMAGE_CODES or any(text in str(error) for text in _DAMAGE_TEXTS):
        return damaged_library(path, str(error))
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return LibraryUnusable(f"Another process is writing to the library {path}, and did not end in time; try again.")
    return LibraryUnusable(f"The library {path} cannot be used: {error}; `longview check` examines it.")


def damaged_library(path: Path, reason: str) -> LibraryDamaged:
    """Return the error of a database that is damaged."""
    return LibraryDamaged(f"The library {path} is damaged ({reason}). {_REPAIR}; a back-up may have more.")


def foreign_schema(path: Path, names: list[str]) -> LibraryDamaged:
    """Return the error of a database with tables, indexes, triggers or views that are not Longview's. `names`: their names."""
    return LibraryDamaged(
        f"The library {path} has {foreign_text(names)}, so nothing of it was read. `longview check --repair` copies the videos "
        "into a new database without them, and keeps this one."
    )


def foreign_text(names: list[str]) -> str:
    """Return what a database has that Longview did not write, in words. `names`: the kinds and names of the objects."""
    name_list = ", ".join(name.encode("ascii", "backslashreplace").decode()[:60] for name in names[:5])
    return f"tables, indexes, triggers or views that Longview did not write ({name_list})"


def disk_full(folder: Path) -> LibraryFull:
    """Return the error of a library that cannot be written, because its disk is full."""
    return LibraryFull(
        f"The disk is full: there is no space left for the library in {folder}; delete other files. What is finished is kept."
    )


def read_only(folder: Path) -> LibraryReadOnly:
    """Return the error of a library that may only be read."""
    return LibraryReadOnly(
        f"The library in {folder} cannot be written: its disk or folder is read-only for this user. Searching and reading work; "
        "to add or change something, make it writable, or copy the folder and name the copy with --library."
    )


def folder_error(folder: Path, error: OSError) -> LibraryUnusable:
    """Return the error to show for an error of the operating system in the library's folder."""
    if error.errno in FULL_DISK_ERRORS:
        return disk_full(folder)
    if error.errno in READ_ONLY_ERRORS and folder.is_dir():
        return read_only(folder)
    reason = error.strerror or "another process holds its lock"
    return LibraryUnusable(f"The library folder {folder} cannot be written: {reason}.")


def is_disk_full(folder: Path) -> bool:
    """Whether the disk of a folder has no space for the least that SQLite needs, or the user's quota has none."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(MIN_FREE_BYTES))
            file.flush()
    except OSError as error:
        return error.errno in FULL_DISK_ERRORS
    return False


def is_writable(path: Path) -> bool:
    """Whether a database and its folder can be written; `os.access` also knows disks that are mounted read-only."""
    return os.access(path.parent, os.W_OK) and (not path.exists() or os.access(path, os.W_OK))
