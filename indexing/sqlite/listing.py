"""A page of the videos of the library, filtered and sorted by the database, so that all pages take the same time."""

import base64
import binascii
import json
import sqlite3
import zlib
from dataclasses import replace
from typing import Any

from longview.indexing.errors import InvalidCursor
from longview.indexing.records.listing import ListingQuery
from longview.indexing.text.titles import SORTED_CHARACTERS, folded

HAS_TRACKS = "EXISTS (SELECT 1 FROM tracks WHERE tracks.video_id = videos.video_id)"
IS_IN_LIBRARY = f"removed_at = '' AND {HAS_TRACKS}"
"""Condition of a video that users see: one without tracks is not in the library yet."""
SORT_COLUMNS = {"added": "added_at", "title": "sort_title", "duration": "duration_s", "watched": "watched_at"}
"""Each has an index, so that a page reads its own rows only."""
SEARCHED_TITLE = f"CASE WHEN length(sort_title) < {SORTED_CHARACTERS} THEN sort_title ELSE folded(title) END"
"""Title without case and accents: of most titles, all of it is stored."""
UNFINISHED = "jobs.status IN ('waiting', 'running', 'paused')"
NOT_BEGUN = "jobs.status IN ('waiting', 'paused')"
IS_IN_STATE = "content_hash IN (SELECT content_hash FROM jobs WHERE status = :state)"
"""Condition of a video of which a job is in a state of the queue."""


def _is_not_sought(jobs: str) -> str:
    """Return the condition of a track that none of some jobs is to find. Most videos are not in the queue, as one list shows."""
    return (
        f"(content_hash NOT IN (SELECT content_hash FROM jobs WHERE {jobs}) OR NOT EXISTS "
        f"(SELECT 1 FROM jobs WHERE jobs.content_hash = videos.content_hash AND {jobs} AND CASE "
        "WHEN json_valid(options) AND json_type(options, '$.sources') = 'array' "
        "THEN tracks.source IN (SELECT value FROM json_each(options, '$.sources')) ELSE 1 END))"
    )


HAS_TRACK_IN_STATE = (
    "SELECT tracks.video_id FROM tracks JOIN videos USING (video_id) "
    f"WHERE tracks.status = :status AND {_is_not_sought(UNFINISHED)}"
)
HAS_FAILED_JOB = (
    "SELECT video_id FROM jobs JOIN videos USING (content_hash) WHERE jobs.status = 'failed' "
    f"AND content_hash NOT IN (SELECT content_hash FROM jobs WHERE {UNFINISHED})"
)
HAS_OUTDATED_CAPTIONS = (
    "EXISTS (SELECT 1 FROM tracks WHERE tracks.video_id = videos.video_id AND tracks.source = 'captions' "
    "AND tracks.status = 'complete' AND segment_counts != '{}' AND (checkpoint, profile, prompt_version) IN "
    "(SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]') FROM json_each(:makers)) "
    f"AND {_is_not_sought(NOT_BEGUN)})"
)
"""Condition of a video whose captions another checkpoint would make now: often of most, so that a page reads its own only. While
a job runs, captions that are complete stay what they are."""
MAX_WORDS = 20
"""Maximum number of words of a query that count."""
MAX_CURSOR_CHARACTERS = 4000
"""Maximum length of a cursor; it has a title."""


def read_listing(
    db: sqlite3.Connection, query: ListingQuery, cursor: str, limit: int
) -> tuple[list[sqlite3.Row], int, str | None]:
    """Return the rows of a page, the number of videos on all pages, and the cursor of the next page, if there is one.

    A page begins behind the last video of the one before, so that videos which are added or removed meanwhile neither repeat
    others nor leave them out. `cursor`: from the page before; empty for the first one. It has the number of videos, which are
    counted once for each list.

    Raises:
        InvalidCursor: the cursor belongs to another query, or to none.
    """
    db.create_function("folded", 1, folded, deterministic=True)
    conditions, values = _conditions(query)
    where = " AND ".join(conditions)
    column = SORT_COLUMNS[query.sort]
    if cursor:
        key, row_number, total = _parse_cursor(query, cursor)
        where += f" AND ({column}, videos.rowid) {'<' if query.is_descending else '>'} (:cursor_key, :cursor_row)"
        values |= {"cursor_key": key, "cursor_row": row_number}
    else:
        (total,) = db.execute(f"SELECT count(*) FROM videos WHERE {where}", values).fetchone()
        if not total:
            return [], 0, None
    direction = "DESC" if query.is_descending else "ASC"
    rows = db.execute(
        f"SELECT videos.*, videos.rowid AS row_number, {column} AS sort_key FROM videos WHERE {where} "
        f"ORDER BY {column} {direction}, videos.rowid {direction} LIMIT :limit",
        values | {"limit": limit + 1},
    ).fetchall()
    if len(rows) <= limit:
        return rows, total, None
    last = rows[limit - 1]
    return rows[:limit], total, _format_cursor(query, last["sort_key"], last["row_number"], total)


def _conditions(query: ListingQuery) -> tuple[list[str], dict[str, Any]]:
    """Return the conditions of a query, and the values that they name."""
    conditions, values = [IS_IN_LIBRARY], dict[str, Any]()
    for number, word in enumerate(folded(query.text).split()[:MAX_WORDS]):
        conditions.append(f"instr({SEARCHED_TITLE}, :word{number}) > 0")
        values[f"word{number}"] = word
    if query.state in ("running", "waiting", "paused"):
        conditions.append(IS_IN_STATE)
        values["state"] = query.state
    elif query.state == "failed":
        conditions.append(f"video_id IN ({HAS_TRACK_IN_STATE} UNION {HAS_FAILED_JOB})")
        values["status"] = "failed"
    elif query.state == "partial":
        conditions.append(f"video_id IN ({HAS_TRACK_IN_STATE})")
        values["status"] = "incomplete"
    elif query.state == "outdated":
        conditions.append(HAS_OUTDATED_CAPTIONS)
        makers = [[maker.checkpoint, maker.profile, maker.prompt_version] for maker in query.outdated]
        values["makers"] = json.dumps(makers)
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
    parts = replace(query, video_ids=None, outdated=frozenset())
    return zlib.crc32(repr(parts).encode())


def _format_cursor(query: ListingQuery, key: Any, row_number: int, total: int) -> str:
    parts = [_mark(query), key, row_number, total]
    return base64.urlsafe_b64encode(json.dumps(parts, ensure_ascii=False).encode()).decode()


def _parse_cursor(query: ListingQuery, cursor: str) -> tuple[Any, int, int]:
    """Return the sort key and the row number of the last video of a page, and the number of videos on all pages."""
    try:
        if len(cursor) > MAX_CURSOR_CHARACTERS:
            raise ValueError("too long")
        mark, key, row_number, total = json.loads(base64.urlsafe_b64decode(cursor.encode("ascii")))
        key_type = float if query.sort == "duration" else str
        if mark != _mark(query) or type(row_number) is not int or abs(row_number) >= 1 << 63:
            raise ValueError("of another query")
        if type(total) is not int or not 0 <= total < 1 << 53:
            raise ValueError("no number of videos")
        if not isinstance(key, key_type):
            raise TypeError("of another order")
        if isinstance(key, str):
            # A lone surrogate cannot be compared with texts of the database.
            key.encode()
    except (ValueError, TypeError, binascii.Error, RecursionError) as error:
        raise InvalidCursor("This page belongs to another list of videos; begin with the first page.") from error
    return key, row_number, total
