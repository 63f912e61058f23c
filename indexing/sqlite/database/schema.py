"""The schema of the database: how a version of it is made, and whether a database has it."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from functools import cache

from longview.indexing.sqlite.database.migrations import MIGRATIONS
from longview.indexing.text.terms import index_text
from longview.indexing.text.titles import sort_title

MAX_OBJECTS = 1000
"""Maximum number of tables, indexes and triggers that are read of a schema; no version has 100."""
_RENAMED_TABLE = re.compile(r'\ACREATE TABLE "(\w{1,40})"')
INTERNAL_TABLES = {
    "table sqlite_sequence": "CREATE TABLE sqlite_sequence(name,seq)",
    "table sqlite_stat1": "CREATE TABLE sqlite_stat1(tbl,idx,stat)",
    "table sqlite_stat4": "CREATE TABLE sqlite_stat4(tbl,idx,neq,nlt,ndlt,sample)",
}
"""Tables that SQLite makes for itself, if they are needed."""


def add_functions(db: sqlite3.Connection) -> None:
    """Add the functions that migrations and triggers of earlier versions call, before a migration or an older row."""
    db.create_function("index_text", 1, index_text, deterministic=True)
    db.create_function("sort_title", 1, sort_title, deterministic=True)


def migrate(db: sqlite3.Connection, start: int, end: int) -> None:
    """Apply the migrations from one version to another within a transaction; see `add_functions`."""
    for script in MIGRATIONS[start:end]:
        for statement in statements(script):
            db.execute(statement)


def expected_schema(version: int) -> dict[str, str]:
    """Return the statements that a database of a version consists of, by the kinds and names of what they create."""
    return _schema_of(MIGRATIONS[:version])


@cache
def _schema_of(scripts: tuple[str, ...]) -> dict[str, str]:
    with closing(sqlite3.connect(":memory:")) as db:
        add_functions(db)
        for script in scripts:
            for statement in statements(script):
                db.execute(statement)
        return present_schema(db)


def present_schema(db: sqlite3.Connection) -> dict[str, str]:
    """Return the statements that a database consists of, without what SQLite makes for itself.

    Raises:
        UnicodeDecodeError, sqlite3.Error: the schema is damaged.
    """
    # Pages can refer to one another so that there is no end of rows.
    rows = db.execute(f"SELECT type, name, sql FROM sqlite_schema LIMIT {MAX_OBJECTS}").fetchall()
    schema = {f"{kind} {name}": _normalize(sql) for kind, name, sql in map(tuple, rows) if sql is not None}
    # Indexes of keys have no statement.
    schema |= {f"{kind} {name}": "" for kind, name, sql in map(tuple, rows) if sql is None and not _is_key(kind, name)}
    return {name: sql for name, sql in schema.items() if INTERNAL_TABLES.get(name) != sql}


def foreign_objects(db: sqlite3.Connection, version: int) -> list[str]:
    """Return the tables, indexes, triggers and views of a database that its version does not have in this form."""
    expected = expected_schema(version)
    return [name for name, sql in present_schema(db).items() if expected.get(name) != sql]


def _is_key(kind: object, name: object) -> bool:
    return kind == "index" and str(name).startswith("sqlite_autoindex_")


def _normalize(sql: object) -> str:
    # A table that was renamed has its name in quotes.
    return " ".join(_RENAMED_TABLE.sub(r"CREATE TABLE \1 ", str(sql), count=1).split())


def statements(script: str) -> Iterator[str]:
    """Yield the statements of a script one by one: `executescript` would commit the transaction around them."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
