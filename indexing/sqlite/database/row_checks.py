"""Check of all rows of a database by the rules of `longview.indexing.sqlite.database.row_rules`. Nothing is changed."""

import sqlite3
from collections import Counter
from collections.abc import Iterator

from longview.indexing.sqlite.database.row_rules import COUNTERS, broken_columns

_ROW_NUMBER = "row_number_of_sqlite"
_INDEX_TABLES = ("passage_terms", "words", "sqlite_stat")
"""Beginnings of the names of tables that SQLite alone writes."""
_LONG_TABLES = frozenset({"segments", "earlier_segments", "passages", "captions"})


def row_problems(db: sqlite3.Connection, *, is_quick: bool = False, is_foreign: bool = False) -> Iterator[str]:
    """Yield a sentence for each table with rows that break the rules.

    `is_quick`: without the tables that grow with the length of the videos. `is_foreign`: see `broken_columns`.

    Raises:
        sqlite3.Error: the database is damaged.
    """
    text_factory = db.text_factory
    # SQLite itself would stop at the first text that is not UTF-8.
    db.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
    try:
        names = [str(row[0]) for row in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()]
        for table in names:
            if table.startswith(_INDEX_TABLES) or (is_quick and table in _LONG_TABLES):
                continue
            columns: Counter[str] = Counter()
            rows = first = 0
            for row in db.execute(f"SELECT rowid AS {_ROW_NUMBER}, * FROM {table}"):
                values = {name: row[name] for name in row.keys() if name != _ROW_NUMBER}  # noqa: SIM118
                if bad_columns := broken_columns(table, values, is_foreign=is_foreign):
                    columns.update(bad_columns)
                    rows, first = rows + 1, first or row[_ROW_NUMBER]
            if rows:
                column_names = ", ".join(name for name, _ in columns.most_common())
                subject = f"1 row of the table {table} has" if rows == 1 else f"{rows} rows of the table {table} have"
                yield f"{subject} values that Longview does not write, in {column_names}; the first is row {first}."
            if table in COUNTERS and (count := db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]) != 1:
                yield f"The table {table} does not have one row, but {count}."
    finally:
        db.text_factory = text_factory
