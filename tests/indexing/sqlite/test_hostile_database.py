"""What others wrote into a database is data: none of it runs, is read as something else, or names a file."""

import shutil
import sqlite3
import struct
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from longview.indexing.errors import LibraryDamaged
from longview.indexing.library_files import delete_inside
from longview.indexing.records.listing import ListingQuery
from longview.indexing.sqlite.database import connections
from longview.indexing.sqlite.database.connections import connect
from longview.indexing.sqlite.database.database import DATABASE
from longview.indexing.sqlite.database.migrations import MIGRATIONS
from longview.indexing.sqlite.database.row_rules import rule_of
from longview.indexing.sqlite.database.schema import add_functions, migrate
from longview.indexing.sqlite.library import Library
from longview.indexing.sqlite.repair.copies import rebuild_search
from longview.indexing.sqlite.repair.integrity import copy_problems, database_problems
from longview.indexing.sqlite.repair.recovery import recover

FIXTURE = Path(__file__).parents[2] / "fixtures" / "library_8d61d84"

FOREIGN_SCHEMAS = {
    "trigger": "CREATE TRIGGER evil AFTER INSERT ON jobs BEGIN DELETE FROM videos; END",
    "endless trigger": "CREATE TRIGGER evil AFTER UPDATE ON revision BEGIN INSERT INTO known_files SELECT hex(randomblob(8)), x, "
    "x, 'a' FROM (WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c); END",
    "view": "CREATE VIEW evil AS SELECT * FROM videos",
    "view as table": "ALTER TABLE videos RENAME TO real; CREATE VIEW videos AS SELECT * FROM real",
    "table": "CREATE TABLE evil (content BLOB)",
    "virtual table": "CREATE VIRTUAL TABLE evil USING fts5 (text)",
    "index": "CREATE INDEX evil ON videos (abs(duration_s))",
    "generated column": "ALTER TABLE videos ADD COLUMN evil TEXT AS (hex(zeroblob(1000000)))",
    "column of another name": 'ALTER TABLE videos RENAME COLUMN summary TO "summary TEXT"',
    "changed trigger": "DROP TRIGGER passage_added; CREATE TRIGGER passage_added AFTER INSERT ON passages BEGIN "
    "DELETE FROM tracks; END",
}
"""Statements that add to the schema, or change it."""

VALUES = {
    "id that leaves the folder": "UPDATE videos SET video_id = '../../victim/' WHERE title = 'shapes'",
    "id that is a pattern": "UPDATE videos SET video_id = '*' WHERE title = 'shapes'",
    "title as bytes": "UPDATE videos SET title = x'FFFE'",
    "text that is not UTF-8": "UPDATE segments SET text = CAST(x'C328' AS TEXT)",
    "path with a zero": "UPDATE videos SET path = 'a' || char(0) || 'b'",
    "endless duration": "UPDATE videos SET duration_s = 9e999",
    "duration as text": "UPDATE videos SET duration_s = 'long'",
    "facts as a list": "UPDATE videos SET facts = '[1]'",
    "facts of other types": """UPDATE videos SET facts = '{"width": "<b>", "size_bytes": "x"}'""",
    "facts that are no JSON": "UPDATE videos SET facts = '{'",
    "chapters without a title": "UPDATE videos SET chapters = '[[0, 1]]'",
    "time of another age": "UPDATE segments SET end_s = 1e308",
    "end before the start": "UPDATE segments SET start_s = 5, end_s = 4",
    "negative time": "UPDATE segments SET start_s = -5, end_s = -4",
    "box outside of the frame": "UPDATE segments SET box = '[0, 0, 9, 9]' WHERE box IS NOT NULL",
    "words of other forms": "UPDATE segments SET words = '[[0, 1, 2, 3]]' WHERE words IS NOT NULL",
    "numbers that are none": "UPDATE tracks SET plan = '{\"frames\": NaN}'",
    "deep JSON": """UPDATE tracks SET state = '{"a":' || replace(hex(zeroblob(300)), '00', '[') """
    "|| replace(hex(zeroblob(300)), '00', ']') || '}'",
    "lone surrogate in JSON": 'UPDATE answers SET plan = \'{"a": "\\ud800"}\'',
    "other status": "UPDATE jobs SET status = 'owned'",
    "other date": "UPDATE videos SET removed_at = 'yesterday'",
    "hash of another video": "UPDATE videos SET content_hash = substr(content_hash, 2) || 'abc'",
    "options of a job": "UPDATE jobs SET options = '{\"sources\": {}}'",
    "last number": "UPDATE sqlite_sequence SET seq = 9223372036854775807",
    "plan that cannot be described": """UPDATE tracks SET plan = '{"windows": 5, "patch_period_s": 0}'""",
    "origins without a name": """UPDATE tracks SET plan = '{"origins": [[]]}'""",
    "time of an option as text": """UPDATE jobs SET options = '{"start_s": "abc"}'""",
    "date of another age": "UPDATE videos SET added_at = '9999-12-31T23:59:59+00:00'",
    "two counters": "INSERT INTO revision VALUES (1)",
}
"""Statements that write values which Longview does not write."""


@pytest.fixture
def hostile(tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that runs statements on the database of a library, and returns its folder."""

    def change(statements: str) -> Path:
        folder = Path(shutil.copytree(FIXTURE, tmp_path / "library"))
        with closing(sqlite3.connect(folder / DATABASE, isolation_level=None)) as db:
            add_functions(db)
            db.executescript(statements)
        return folder

    return change


@pytest.mark.parametrize("name", FOREIGN_SCHEMAS)
def test_what_the_schema_does_not_have_is_refused_before_anything_runs(hostile: Callable[[str], Path], name: str) -> None:
    folder = hostile(FOREIGN_SCHEMAS[name])
    before = (folder / DATABASE).read_bytes()
    with pytest.raises(LibraryDamaged, match=r"did not write.*check --repair"):
        Library(folder)
    assert copy_problems(folder / DATABASE) and (folder / DATABASE).read_bytes() == before
    recover(folder / DATABASE)
    assert database_problems(folder) == []


@pytest.mark.parametrize("name", VALUES)
def test_values_that_longview_does_not_write_are_reported_and_not_recovered(hostile: Callable[[str], Path], name: str) -> None:
    folder = hostile(VALUES[name])
    before = (folder / DATABASE).read_bytes()
    assert copy_problems(folder / DATABASE) and (folder / DATABASE).read_bytes() == before
    assert database_problems(folder)
    recover(folder / DATABASE)
    assert database_problems(folder) == []
    Library(folder).videos()


def test_row_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = Path(shutil.copytree(FIXTURE, tmp_path / "library")) / DATABASE
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("UPDATE videos SET title = printf('%.*c', 20000000, 'x')")
    (problem,) = copy_problems(path)
    assert "too big" in problem
    assert recover(path).rebuilt_videos == 3


def test_statement_without_an_end_is_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MIN_STEPS", 2)
    endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c"
    with closing(connect(tmp_path / DATABASE)) as db, pytest.raises(sqlite3.OperationalError, match="interrupted"):
        db.execute(endless).fetchone()


def test_every_column_of_every_version_has_a_rule() -> None:
    with closing(sqlite3.connect(":memory:")) as db:
        add_functions(db)
        for version in range(len(MIGRATIONS)):
            migrate(db, version, version + 1)
            tables = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()]
            for table in (name for name in tables if not name.startswith(("words", "passage_terms"))):
                for column in (row[1] for row in db.execute(f"PRAGMA table_info({table})").fetchall()):
                    # A rule that allows bytes would allow anything.
                    assert not rule_of(table, column)(b"bytes"), (table, column)


def test_only_what_lies_in_the_library_is_deleted(tmp_path: Path) -> None:
    library, outside = tmp_path / "library", tmp_path / "outside"
    for folder in (library / "thumbnails", outside):
        folder.mkdir(parents=True)
        (folder / "file").write_bytes(b"12345")
    (library / "proxies").symlink_to(outside)
    (library / "link").symlink_to(outside / "file")
    for path in (
        library / ".." / "outside" / "file",
        library / "proxies" / "file",
        outside / "file",
        library / "thumbnails" / "..",
    ):
        assert delete_inside(library, path) == 0
    assert delete_inside(library, library / "link") and not (library / "link").is_symlink()
    assert delete_inside(library, library / "thumbnails" / "file") == 5
    assert (outside / "file").read_bytes() == b"12345" and (library / "thumbnails").is_dir()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE videos SET sort_title = replace(hex(zeroblob(60)), '0', 'x')",
        "UPDATE videos SET watched_at = 'yesterday'",
        "UPDATE changes SET kind = 'x' WHERE number = (SELECT min(number) FROM changes)",
        "UPDATE changes SET video_id = '../x' WHERE number = (SELECT min(number) FROM changes)",
        f"UPDATE changes SET number = {1 << 50} WHERE number = (SELECT min(number) FROM changes)",
    ],
)
def test_values_of_lists_and_changes_that_longview_does_not_write_are_refused(tmp_path: Path, statement: str) -> None:
    folder = Path(shutil.copytree(FIXTURE, tmp_path / "library"))
    Library(folder).rename("86fa35fdbb05", "Renamed")
    with closing(sqlite3.connect(folder / DATABASE, isolation_level=None)) as db:
        db.execute(statement)
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert copy_problems(folder / DATABASE)
    recover(folder / DATABASE)
    assert database_problems(folder) == [] and copy_problems(folder / DATABASE) == []


def test_texts_for_sorting_that_others_wrote_are_not_used(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(FIXTURE, tmp_path / "library"))
    expected = [entry.title for entry in Library(folder).listing(ListingQuery(sort="title"), limit=5).entries]
    for make_again in (lambda: rebuild_search(folder), lambda: recover(folder / DATABASE)):
        with closing(sqlite3.connect(folder / DATABASE, isolation_level=None)) as db:
            db.execute("UPDATE videos SET sort_title = 'z' || hex(100 - instr(title, 's'))")
        make_again()
        library = Library(folder)
        assert [entry.title for entry in library.listing(ListingQuery(sort="title"), limit=5).entries] == expected
        assert library.listing(ListingQuery(text="shapes"), limit=5).total == 1


def test_numbers_that_leave_no_room_for_others_are_not_taken_over(tmp_path: Path) -> None:
    path = Path(shutil.copytree(FIXTURE, tmp_path / "library")) / DATABASE
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(f"UPDATE revision SET number = {1 << 53}")
    assert "number" in copy_problems(path)[0]


def test_journal_that_names_a_file_deletes_nothing(tmp_path: Path) -> None:
    folder, victim = Path(shutil.copytree(FIXTURE, tmp_path / "library")), tmp_path / "thesis.txt"
    victim.write_text("precious")
    page_bytes, name, magic = 4096, str(victim).encode(), connections.JOURNAL_MAGIC
    pages = (folder / DATABASE).stat().st_size // page_bytes
    head = magic + struct.pack(">IIIII", 0, 1, pages, 512, page_bytes)
    end = struct.pack(">I", 0x40000000 // page_bytes + 1) + name + struct.pack(">II", len(name), sum(name)) + magic
    journal = folder / f"{DATABASE}-journal"
    for database in (folder / DATABASE, tmp_path / "link.db"):
        journal.write_bytes(head.ljust(512, b"\0") + end)
        if database.parent == tmp_path:
            database.symlink_to(folder / DATABASE)
        with pytest.raises(sqlite3.DatabaseError, match="journal names a file"):
            connect(database, options="mode=rw").close()
    with pytest.raises(LibraryDamaged):
        Library(folder)
    assert database_problems(folder) and victim.read_text() == "precious"
    recover(folder / DATABASE)
    assert database_problems(folder) == [] and not journal.exists() and victim.exists()


def test_tree_of_shared_pages_is_refused_before_it_is_read(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(FIXTURE, tmp_path / "library"))
    with closing(sqlite3.connect(folder / DATABASE)) as db:
        (root,) = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'videos'").fetchone()
    content = bytearray((folder / DATABASE).read_bytes())
    page_bytes, levels = 4096, 4
    leaf = content[(root - 1) * page_bytes : root * page_bytes]
    count = len(content) // page_bytes
    # Each page of a level has 400 times the same page of the next one.
    numbers = [root, *range(count + 1, count + 1 + levels)]
    content += bytes(page_bytes * levels)
    for number, child in zip(numbers, numbers[1:], strict=False):
        cells = b"".join(struct.pack(">IB", child, 1) for _ in range(400))
        start = page_bytes - len(cells)
        pointers = b"".join(struct.pack(">H", start + 5 * i) for i in range(400))
        page = struct.pack(">BHHHBI", 5, 0, 400, start, 0, child) + pointers
        content[(number - 1) * page_bytes : number * page_bytes] = page.ljust(start, b"\0") + cells
    content[(numbers[-1] - 1) * page_bytes : numbers[-1] * page_bytes] = leaf
    content[28:32] = struct.pack(">I", len(content) // page_bytes)
    (folder / DATABASE).write_bytes(content)
    with pytest.raises(LibraryDamaged, match="2nd reference to page"):
        Library(folder)
    recover(folder / DATABASE)
    assert database_problems(folder) == [] and len(Library(folder).videos()) == 2
