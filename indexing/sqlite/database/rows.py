"""Rows of the database: their insertion, their times, and JSON in their columns."""

import json
import sqlite3
from datetime import UTC, datetime
from typing import Any

from longview.indexing.text.titles import sort_title


def insertion(table: str, values: dict[str, Any]) -> str:
    """Return the statement that inserts a row of named values."""
    return f"INSERT INTO {table} ({', '.join(values)}) VALUES ({', '.join(f':{name}' for name in values)})"


def now() -> str:
    """Return the present time as ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def object_from(text: str) -> dict[str, Any]:
    """Return a JSON object; an empty one if the text is none, because of damage."""
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def set_sort_titles(db: sqlite3.Connection) -> None:
    """Set the texts by which the videos are sorted to those of their titles: somebody else may have written others."""
    db.create_function("sort_title", 1, sort_title, deterministic=True)
    db.execute("UPDATE videos SET sort_title = sort_title(title)")
