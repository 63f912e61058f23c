"""Rows of the database: their insertion, their times, and JSON in their columns."""

import json
from datetime import UTC, datetime
from typing import Any


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
