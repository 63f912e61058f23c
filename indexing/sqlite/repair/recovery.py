"""Recovery of a damaged database: every row that can still be read is copied into a new one.

The pages are read without SQLite (`longview.indexing.sqlite.database.pages`), each for itself: a damaged one loses its own rows
only. Rows of pages that no table leads to any more are recognised by the
values of their columns (`longview.indexing.sqlite.database.row_rules`). What can be derived is rebuilt:
passages and the word index from segments, a video from its path and tracks, a track from its segments.
"""

import json
import os
import shlex
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from longview.core.atomic import atomic_write, sync_file, sync_folder
from longview.indexing.errors import LibraryUnusable
from longview.indexing.sqlite.database.database import LOCK
from longview.indexing.sqlite.database.failures import disk_full, folder_error
from longview.indexing.sqlite.database.migrations import MIGRATIONS
from longview.indexing.sqlite.database.pages import INDEX_INTERIOR, INDEX_LEAF, TABLE_LEAF, DatabasePages, Row, Value
from longview.indexing.sqlite.database.row_rules import broken_columns
from longview.indexing.sqlite.database.rows import insertion, now, set_sort_titles
from longview.indexing.sqlite.database.schema import add_functions, migrate
from longview.indexing.sqlite.tracks.passage_rows import rebuild_passages
from longview.indexing.sqlite.tracks.rows import searched_tracks
from longview.indexing.sqlite.tracks.segment_rows import UNKNOWN_LANGUAGE

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

SQLITE_LOCK_START, SQLITE_LOCK_BYTES = 0x40000000, 512
"""The bytes of a database file on which SQLite has its locks; every open connection holds one of them in WAL mode."""
DERIVED = ("passages", "passage_terms", "words", "changes")
"""Tables that are rebuilt from others."""
COUNTERS = ("revision", "generation")
"""Tables of one number, which every change of a passage raises."""
SPACE_FACTOR = 1.5
"""Space that a recovery needs, in sizes of the database."""
MIN_WITNESSES = 2
"""Minimum number of rows from which a video or a track is rebuilt: a single one may have a damaged id."""
RECOVERED_NOTE = "a part of it was lost when the library was damaged; index the video again"


@dataclass(frozen=True)
class Table:
    """A table of the schema, as its rows are stored."""

    name: str
    columns: tuple[str, ...]
    row_number_column: str | None
    """The column that is the number of the row, and is stored as NULL."""
    defaults: tuple[Value, ...]
    """Values of columns that a later migration has added, where a row does not have them."""

    def row(self, number: int, values: Row) -> dict[str, Value] | None:
        """Return a row by the names of its columns; None if it cannot be a row of this table."""
        # A column that is missing was added after the row was written.
        if not values or len(values) > len(self.columns):
            return None
        row = {}
        for position, name in enumerate(self.columns):
            value = values[position] if position < len(values) else self.defaults[position]
            if name == self.row_number_column:
                value = number if value is None else value
            row[name] = value
        return None if broken_columns(self.name, row, is_foreign=True) else row


@dataclass
class Recovery:
    """What a recovery has brought back."""

    kept_file: Path
    """The damaged database, under its new name."""
    rows: Counter[str] = field(default_factory=Counter)
    """Number of rows of each table."""
    lost_rows: Counter[str] = field(default_factory=Counter)
    """Number of rows of each table that were lost, as far as its indexes and tracks count them."""
    rebuilt_videos: int = 0
    rebuilt_tracks: int = 0
    damaged_videos: list[str] = field(default_factory=list)
    """Ids of the videos of which a track has lost segments."""
    damaged_files: list[str] = field(default_factory=list)
    """The files of these videos."""

    def text(self) -> str:
        """Return a sentence for each kind of result."""
        names = [name for name in (*self.rows, *self.lost_rows) if name not in ("known_files",)]
        parts = [
            f"{name}: {self.rows[name]}" + (f" (at least {lost} lost)" if (lost := self.lost_rows[name]) else "")
            for name in dict.fromkeys(names)
        ]
        text = f"Rows that were saved: {', '.join(parts) or 'none'}."
        if self.rebuilt_videos or self.rebuilt_tracks:
            text += f" Rebuilt from other rows: videos: {self.rebuilt_videos}, tracks: {self.rebuilt_tracks}."
        if self.damaged_videos:
            files = " ".join(map(shlex.quote, self.damaged_files))
            text += f" A part of what was found is missing; `longview index {files}` finds it again."
        return text + f" What it was read from is kept as {self.kept_file}."


def dated_path(path: Path, kind: str = "damaged") -> Path:
    """Return the name under which a file that is replaced is kept. `kind`: why, as
    `longview.indexing.sqlite.database.inventory.copies`."""
    name = f"{path.name}.{kind}-{datetime.now().strftime('%Y-%m-%d-%H%M%S')}"
    candidates = (path.with_name(name + (f"-{number}" if number else "")) for number in range(1000))
    return next(candidate for candidate in candidates if not candidate.exists())


def recover(target: Path, source: Path | None = None) -> Recovery:
    """Write what can be read of a database into a new one, and put it in its place; the old one is kept under a dated_path name.

    The caller holds the lock of the library. `source`: the file that is read; by default the database itself.

    Raises:
        LibraryUnusable: the disk is full, or nothing of the file can be read.
    """
    source = source or target
    # Of a database that was deleted, the log may be left.
    source.touch()
    if shutil.disk_usage(target.parent).free < source.stat().st_size * SPACE_FACTOR:
        raise disk_full(target.parent)
    kept_copy = dated_path(target)
    recovery = Recovery(kept_copy if source == target else source)
    # Close last, because closing a file releases the locks of this process on it.
    with DatabasePages(source) as pages, atomic_write(target) as partial:
        version = pages.user_version
        if not version or version > len(MIGRATIONS):
            version = _likely_version(pages)
        _write(partial, pages, version, recovery)
        if not recovery.rows:
            raise LibraryUnusable(f"Nothing of {source} can be read; it was left as it is. Restore a back-up.")
        keep(target, kept_copy)
        for suffix in ("-wal", "-shm", "-journal"):
            target.with_name(target.name + suffix).unlink(missing_ok=True)
        # Without the deletions on the disk, a power cut could leave the new database with the log of the old one.
        sync_folder(target.parent)
    return recovery


def _has_content(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def keep(target: Path, kept_copy: Path) -> None:
    """Give the present database and its log a second name, so that at any moment one of them is there."""
    has_log = _has_content(target.with_name(f"{target.name}-wal"))
    for suffix in ("", "-wal"):
        old, new = target.with_name(target.name + suffix), kept_copy.with_name(kept_copy.name + suffix)
        # A log is found by its database, even if that is empty.
        if _has_content(old) or (has_log and old.exists()):
            try:
                os.link(old, new)
            except OSError:
                shutil.copy2(old, new)
                sync_file(new)
    sync_folder(kept_copy.parent)


def _write(path: Path, pages: DatabasePages, version: int, recovery: Recovery) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.row_factory = sqlite3.Row
        add_functions(db)
        db.execute("BEGIN")
        migrate(db, 0, version)
        tables = _tables(db)
        for name, values in _read(pages, tables, recovery):
            _insert(db, name, values, recovery)
        migrate(db, version, len(MIGRATIONS))
        _restore_parents(db, recovery)
        _mark_damaged_tracks(db, recovery)
        set_sort_titles(db)
        for video_id, source in searched_tracks(db):
            rebuild_passages(db, video_id, source)
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        db.execute("COMMIT")
        db.execute("PRAGMA journal_mode = WAL")


def _likely_version(pages: DatabasePages) -> int:
    """Return the version of a database without a header: the oldest one whose tables have most of the rows.

    Versions with the same tables differ in names inside of texts, which later migrations change only where they are old.
    """
    counts: dict[int, int] = {}
    for version in range(1, len(MIGRATIONS) + 1):
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
            db.row_factory = sqlite3.Row
            add_functions(db)
            migrate(db, 0, version)
            counts[version] = sum(1 for _ in _read(pages, _tables(db), Recovery(Path())))
    return max(counts, key=lambda version: counts[version])


def _tables(db: sqlite3.Connection) -> list[Table]:
    """Return the tables with content of their own."""
    tables = []
    for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'").fetchall():
        if name.startswith(DERIVED):
            continue
        info = db.execute(f"PRAGMA table_info({name})").fetchall()
        number_column = next((row["name"] for row in info if row["pk"] and row["type"] == "INTEGER"), None)
        columns = tuple(row["name"] for row in info)
        defaults = tuple(
            None if row["dflt_value"] is None else db.execute(f"SELECT {row['dflt_value']}").fetchone()[0] for row in info
        )
        tables.append(Table(name, columns, number_column, defaults))
    return tables


def _read(pages: DatabasePages, tables: list[Table], recovery: Recovery) -> Iterator[tuple[str, dict[str, Value]]]:
    """Yield the rows of all tables, and count those that the indexes have and the tables do not."""
    by_name = {table.name: table for table in tables}
    visited_pages: set[int] = set()
    entries: Counter[str] = Counter()
    for number in list(pages.tree(1)):
        visited_pages.add(number)
        if pages.kind(number) != TABLE_LEAF:
            continue
        for _, values in pages.rows(number):
            if len(values) != 5 or not isinstance(values[3], int):
                continue
            kind, name, table_name, root, _ = values
            tree = [page for page in pages.tree(root) if page not in visited_pages] if isinstance(root, int) else []
            visited_pages.update(tree)
            if kind == "table" and (table := by_name.get(str(name))):
                yield from _rows(pages, tree, [table])
            elif kind == "index" and table_name in by_name:
                count = sum(pages.cell_count(page) for page in tree if pages.kind(page) in (INDEX_LEAF, INDEX_INTERIOR))
                entries[str(table_name)] = max(entries[str(table_name)], count)
    free = pages.free_pages()
    orphans = [number for number in range(1, pages.count + 1) if number not in visited_pages and number not in free]
    yield from _rows(pages, [number for number in orphans if pages.kind(number) == TABLE_LEAF], tables)
    recovery.lost_rows.update(entries)


def _rows(pages: DatabasePages, numbers: list[int], tables: list[Table]) -> Iterator[tuple[str, dict[str, Value]]]:
    for number in numbers:
        if pages.kind(number) != TABLE_LEAF:
            continue
        for row_number, values in pages.rows(number):
            for table in tables:
                # Of a page that no table leads to, only rows that have all columns are recognised.
                is_complete = len(tables) == 1 or len(values) == len(table.columns)
                if is_complete and table.name not in COUNTERS and (row := table.row(row_number, values)):
                    yield table.name, row
                    break


def _insert(db: sqlite3.Connection, table: str, values: dict[str, Value], recovery: Recovery) -> None:
    statement = insertion(table, values).replace("INSERT", "INSERT OR IGNORE", 1)
    with suppress(sqlite3.IntegrityError):
        if db.execute(statement, values).rowcount > 0:
            recovery.rows[table] += 1


def _restore_parents(db: sqlite3.Connection, recovery: Recovery) -> None:
    """Make the videos and tracks again whose rows were lost, while what belongs to them was found."""
    recovery.lost_rows = Counter(
        {name: lost for name, count in recovery.lost_rows.items() if (lost := count - recovery.rows[name]) > 0}
    )
    orphans = db.execute(
        "SELECT video_id, max(end_s) AS end_s FROM "
        "(SELECT video_id, end_s FROM tracks UNION ALL SELECT video_id, end_s FROM segments "
        "UNION ALL SELECT video_id, end_s FROM earlier_tracks) "
        "WHERE video_id NOT IN (SELECT video_id FROM videos) GROUP BY video_id HAVING count(*) >= :witnesses",
        {"witnesses": MIN_WITNESSES},
    ).fetchall()
    for row in orphans:
        video_row = db.execute(
            "SELECT path, content_hash FROM known_files WHERE substr(content_hash, 1, length(:video_id)) = :video_id",
            {"video_id": row["video_id"]},
        ).fetchone()
        path = Path(video_row["path"]) if video_row else Path(row["video_id"])
        values = {
            "video_id": row["video_id"],
            "content_hash": video_row["content_hash"] if video_row else row["video_id"],
            "path": str(path),
            "title": path.stem,
            "duration_s": row["end_s"],
            "facts": "{}",
            "summary": "",
            "chapters": "[]",
            "added_at": now(),
        }
        db.execute(insertion("videos", values), values)
        recovery.rebuilt_videos += 1
    lost_tracks = db.execute(
        "SELECT video_id, source, min(start_s) AS start_s, max(end_s) AS end_s FROM segments WHERE NOT EXISTS "
        "(SELECT 1 FROM tracks WHERE tracks.video_id = segments.video_id AND tracks.source = segments.source) "
        "AND video_id IN (SELECT video_id FROM videos) "
        "GROUP BY 1, 2 HAVING count(*) >= :witnesses OR source IN (SELECT source FROM tracks)",
        {"witnesses": MIN_WITNESSES},
    ).fetchall()
    for row in lost_tracks:
        values = dict(row) | {
            "status": "incomplete",
            "done_s": row["end_s"],
            "checkpoint": "",
            "prompt_version": "",
            "plan": "{}",
            "uncovered": "[]",
            "note": RECOVERED_NOTE,
            "seconds_spent": 0.0,
            "frames_read": 0,
            "updated_at": now(),
        }
        db.execute(insertion("tracks", values), values)
        recovery.rebuilt_tracks += 1
    # A segment without a track could be shown nowhere. What refers to a row that was lost, such as an answer, is lost with it.
    orphans = db.execute(
        "SELECT segment_id FROM segments WHERE NOT EXISTS "
        "(SELECT 1 FROM tracks WHERE tracks.video_id = segments.video_id AND tracks.source = segments.source)"
    ).fetchall()
    _delete(db, "segments", [row["segment_id"] for row in orphans], recovery)
    while violations := db.execute("PRAGMA foreign_key_check").fetchall():
        for table in {row["table"] for row in violations}:
            _delete(db, table, [row["rowid"] for row in violations if row["table"] == table], recovery)
    recovery.rows, recovery.lost_rows = +recovery.rows, +recovery.lost_rows


def _delete(db: sqlite3.Connection, table: str, row_numbers: list[int], recovery: Recovery) -> None:
    numbers = sorted(set(row_numbers))
    db.executemany(f"DELETE FROM {table} WHERE rowid = ?", [(number,) for number in numbers])
    recovery.rows[table] -= len(numbers)
    recovery.lost_rows[table] += len(numbers)


def _mark_damaged_tracks(db: sqlite3.Connection, recovery: Recovery) -> None:
    """Mark tracks that have fewer segments than they counted as incomplete, so that `index` makes them again."""
    missing, searched_names = 0, set(searched_tracks(db))
    for track in db.execute("SELECT number, video_id, source, segment_counts FROM tracks").fetchall():
        rows = db.execute(
            "SELECT coalesce(language, :unknown), count(*) FROM segments "
            "WHERE video_id = :video_id AND source = :source GROUP BY 1",
            {"unknown": UNKNOWN_LANGUAGE, "video_id": track["video_id"], "source": track["source"]},
        )
        counts = dict(rows.fetchall())
        try:
            expected = sum(json.loads(track["segment_counts"]).values())
        except (ValueError, TypeError, AttributeError):
            expected = 0
        is_short = sum(counts.values()) < expected
        if is_short:
            missing += expected - sum(counts.values())
            # Without its version of the prompts it is not considered the same track, and is begun anew.
            db.execute(
                "UPDATE tracks SET status = 'incomplete', prompt_version = '', note = ? WHERE number = ?",
                (RECOVERED_NOTE, track["number"]),
            )
            if (track["video_id"], track["source"]) in searched_names:
                recovery.damaged_videos.append(track["video_id"])
        db.execute("UPDATE tracks SET segment_counts = ? WHERE number = ?", (json.dumps(counts), track["number"]))
    recovery.damaged_videos = list(dict.fromkeys(recovery.damaged_videos))
    paths = dict(map(tuple, db.execute("SELECT video_id, path FROM videos").fetchall()))
    recovery.damaged_files = [paths[video_id] for video_id in recovery.damaged_videos if video_id in paths]
    recovery.lost_rows["segments"] = max(recovery.lost_rows["segments"], missing)
    recovery.lost_rows = +recovery.lost_rows


@contextmanager
def only_process(target: Path) -> Iterator[None]:
    """Hold the locks of a library, so that no other process opens, reads or writes it meanwhile.

    SQLite's own lock is taken on its bytes of the file, because SQLite does not lock a file whose header is damaged.

    Raises:
        LibraryUnusable: another process is using the library.
    """
    busy = LibraryUnusable(
        f"Another process is using the library {target}, so nothing was changed; end it (`longview serve`, `longview index`), "
        "and try again."
    )
    try:
        with FileLock(target.parent / LOCK, timeout=0), ExitStack() as stack:
            if target.exists() and fcntl is not None:
                file = stack.enter_context(target.open("r+b"))
                try:
                    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, SQLITE_LOCK_BYTES, SQLITE_LOCK_START)
                except OSError as error:
                    raise busy from error
            yield
    except Timeout as error:
        raise busy from error
    except OSError as error:
        raise folder_error(target.parent, error) from error
