"""Pages of the segments of a video. A page costs about as much as its own rows, wherever it is in the track."""

import json
import sqlite3
from typing import Any

from longview.indexing.records.track import SegmentPage, SegmentQuery
from longview.indexing.sqlite.tracks.rows import IS_NOT_REMOVED
from longview.indexing.sqlite.tracks.segment_rows import SEGMENT_COLUMNS, segment_from


def read_page(db: sqlite3.Connection, video_id: str, query: SegmentQuery, *, offset: int, limit: int) -> SegmentPage:
    """Return a page of the segments that a query names, within a read transaction."""
    source = query.version.track.source if query.version else query.source
    values: dict[str, Any] = {"video_id": video_id, "source": source, "language": query.language}
    segments, tracks, identity, names = "segments", "tracks", "video_id, source", ["video_id", "source"]
    if query.version is not None:
        values["number"] = query.version.number
        # Another process may move a track from one table to the other.
        if db.execute("SELECT 1 FROM tracks WHERE number = :number", values).fetchone() is None:
            segments, tracks, names = "earlier_segments", "earlier_tracks", ["number"]
            identity = ":video_id AS video_id, :source AS source"
    clauses = [IS_NOT_REMOVED, *(f"{name} = :{name}" for name in names if values[name] is not None)]
    counts = db.execute(f"SELECT segment_counts FROM {tracks} WHERE {' AND '.join(clauses)}", values)
    total = sum(_count(json.loads(row[0]), query.language) for row in counts)
    if query.language is not None:
        clauses.append("language = :language")
    if query.within is not None:
        clauses.append("start_s < :end_s AND end_s > :start_s")
        values |= {"start_s": query.within.start_s, "end_s": query.within.end_s}
    selection = f"FROM {segments} WHERE {' AND '.join(clauses)}"
    # The index has the starts: for the pages before, neither of these statements reads rows or sorts.
    first = f"SELECT start_s {selection} ORDER BY start_s LIMIT 1 OFFSET :offset"
    first_row = db.execute(first, values | {"offset": offset}).fetchone()
    if first_row is None:
        return SegmentPage((), total, None)
    values["first_s"] = first_row[0]
    (earlier_count,) = db.execute(f"SELECT count(*) {selection} AND start_s < :first_s", values).fetchone()
    columns = SEGMENT_COLUMNS if query.has_words else SEGMENT_COLUMNS.replace("words", "NULL AS words")
    # One row at a time: what lives on costs the collections of garbage that many objects cause.
    rows = db.execute(
        f"SELECT segment_id, {identity}, {columns} {selection} AND start_s >= :first_s "
        "ORDER BY start_s, end_s, segment_id LIMIT :limit OFFSET :offset",
        values | {"limit": limit + 1, "offset": offset - earlier_count},
    )
    page = tuple(segment_from(row) for row in rows)
    return SegmentPage(page[:limit], total, offset + limit if len(page) > limit else None)


def _count(counts: dict[str, int], language: str | None) -> int:
    return sum(counts.values()) if language is None else counts.get(language, 0)
