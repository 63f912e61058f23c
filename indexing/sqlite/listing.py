"""A page of the videos of the library, filtered and sorted by the database, so that all pages take the same time."""

import base64
import binascii
import json
import sqlite3
import unicodedata
import zlib
from dataclasses import replace
from functools import lru_cache
from typing import Any

from longview.indexing.errors import InvalidCursor
from longview.indexing.records.listing import ListingQuery

HAS_TRACKS = "EXISTS (SELECT 1 FROM tracks WHERE tracks.video_id = videos.video_id)"
IS_IN_LIBRARY = f"removed_at = '' AND {HAS_TRACKS}"
"""Condition of a video that users see: one without tracks is not in the library yet."""
SORTED_CHARACTERS = 100
"""Length of the beginning of a title by which the videos are sorted, in characters: it is part of the cursor."""
SORT_COLUMNS = {"added": "added_at", "title": f"substr(folded(title), 1, {SORTED_CHARACTERS})", "duration": "duration_s"}
UNFINISHED_JOBS = "SELECT content_hash FROM jobs WHERE status IN ('waiting', 'running', 'paused')"
FAILED_JOBS = "SELECT content_hash FROM jobs WHERE status = 'failed'"
HAS_FAILED = "EXISTS (SELECT 1 FROM tracks WHERE tracks.video_id = videos.video_id AND status = 'failed')"
MAX_WORDS = 20
"""Maximum number of words of a query that count."""
MAX_CURSOR_CHARACTERS = 4000
"""Maximum length of a cursor; it has a title."""
FOLDED_TITLES = 1 << 16
"""Number of titles whose form without case and accents is kept: to make it takes longer than to compare it."""


@lru_cache(maxsize=FOLDED_TITLES)
def folded(text: str) -> str:
    """Return a text without case and accents."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(character for character in decomposed if not unicodedata.combining(character))


def read_listing(
    db: sqlite3.Connection, query: ListingQuery, cursor: str, limit: int
) -> tuple[list[sqlite3.Row], int, str | None]:
    """Return the rows of a page, the number of videos on all pages, and the cursor of the next page, if there is one.

    A page begins behind the last video of the one before, so that videos which are added or removed meanwhile neither repeat
    others nor leave them out. `cursor`: from the page before; empty for the first one.

    Raises:
        InvalidCursor: the cursor belongs to another query, or to none.
    """
    db.create_function("folded", 1, folded, deterministic=True)
    conditions, values = _conditions(query)
    where = " AND ".join(conditions)
    (total,) = db.execute(f"SELECT count(*) FROM videos WHERE {where}", values).fetchone()
    column = SORT_COLUMNS[query.sort]
    if cursor:
        key, row_number = _parse_cursor(query, cursor)
        where += f" AND ({column}, videos.rowid) {'<' if query.is_descending else '>'} (:cursor_key, :cursor_row)"
        values |= {"cursor_key": key, "cursor_row": row_number}
    direction = "DESC" if query.is_descending else "ASC"
    rows = db.execute(
        f"SELECT videos.*, videos.rowid AS row_number, {column} AS sort_key FROM videos WHERE {where} "
        f"ORDER BY {column} {direction}, videos.rowid {direction} LIMIT :limit",
        values | {"limit": limit + 1},
    ).fetchall()
    if len(rows) <= limit:
        return rows, total, None
    last = rows[limit - 1]
    return rows[:limit], total, _format_cursor(query, last["sort_key"], last["row_number"])


def _conditions(query: ListingQuery) -> tuple[list[str], dict[str, Any]]:
    """Return the conditions of a query, and the values that they name."""
    conditions, values = [IS_IN_LIBRARY], dict[str, Any]()
    for number, word in enumerate(folded(query.text).split()[:MAX_WORDS]):
        conditions.append(f"instr(folded(title), :word{number}) > 0")
        values[f"word{number}"] = word
    if query.queue_state == "running":
        conditions.append(f"content_hash IN ({UNFINISHED_JOBS})")
    if query.queue_state == "failed":
        conditions.append(f"(content_hash IN ({FAILED_JOBS}) OR {HAS_FAILED})")
    if query.source:
        conditions.append(
            "EXISTS (SELECT 1 FROM segments WHERE segments.video_id = videos.video_id AND segments.source = :source)"
        )
        values["source"] = query.source
    if query.video_ids is not None:
        conditions.append("video_id IN (SELECT value FROM json_each(:ids))")
        values["ids"] = json.dumps(sorted(query.video_ids))
    return conditions, values


def _mark(query: ListingQuery) -> int:
    """Return a number that other queries do not have. A page may begin elsewhere if the set of videos has changed."""
    parts = replace(query, video_ids=None)
    return zlib.crc32(repr(parts).encode())


def _format_cursor(query: ListingQuery, key: Any, row_number: int) -> str:
    return base64.urlsafe_b64encode(json.dumps([_mark(query), key, row_number], ensure_ascii=False).encode()).decode()


def _parse_cursor(query: ListingQuery, cursor: str) -> tuple[Any, int]:
    try:
        if len(cursor) > MAX_CURSOR_CHARACTERS:
            raise ValueError("too long")
        mark, key, row_number = json.loads(base64.urlsafe_b64decode(cursor.encode("ascii")))
        key_type = float if query.sort == "duration" else str
        if mark != _mark(query) or type(row_number) is not int or abs(row_number) >= 1 << 63:
            raise ValueError("of another query")
        if not isinstance(key, key_type):
            raise TypeError("of another order")
    except (ValueError, TypeError, binascii.Error, RecursionError) as error:
        raise InvalidCursor("This page belongs to another list of videos; begin with the first page.") from error
    return key, row_number
