"""Passages of tracks as rows of the database, which are rebuilt from segments."""

import sqlite3
from collections.abc import Sequence

from longview.core.sources import traits_of
from longview.core.timeline import Segment, Span
from longview.indexing.sqlite.database.rows import insertion
from longview.indexing.sqlite.tracks.segment_rows import segment_from
from longview.indexing.text.passages import Passage, first_window_after, make_passages, window_start_s
from longview.indexing.text.terms import index_text

MAX_SEGMENT_S = 60.0
"""Maximum length of a segment of a track that is written piece by piece, in seconds; a chunk of speech has 30 s."""


def add_passages(db: sqlite3.Connection, video_id: str, source: str, segments: Sequence[Segment]) -> None:
    """Make the passages of segments that were appended. The windows that they share with earlier ones are rebuilt."""
    if not segments:
        return
    if traits_of(source).is_screen:
        _update_passages(db, video_id, source)
        return
    if not traits_of(source).is_spoken:
        count = db.execute(
            "SELECT count(*) FROM passages WHERE video_id = :video_id AND source = :source",
            {"video_id": video_id, "source": source},
        ).fetchone()[0]
        _insert_passages(db, make_passages(video_id, source, segments, first_position=count))
        return
    first = first_window_after(min(segment.span.start_s for segment in segments))
    db.execute(
        "DELETE FROM passages WHERE video_id = :video_id AND source = :source AND position >= :first",
        {"video_id": video_id, "source": source, "first": first},
    )
    rows = db.execute(
        "SELECT * FROM segments WHERE video_id = :video_id AND source = :source AND start_s >= :start_s "
        "ORDER BY start_s, segment_id",
        {"video_id": video_id, "source": source, "start_s": window_start_s(first) - MAX_SEGMENT_S},
    ).fetchall()
    affected_segments = [segment_from(row).segment for row in rows]
    _insert_passages(db, make_passages(video_id, source, affected_segments, first_position=first))


def rebuild_passages(db: sqlite3.Connection, video_id: str, source: str) -> None:
    """Make all passages of a track again."""
    key = {"video_id": video_id, "source": source}
    db.execute("DELETE FROM passages WHERE video_id = :video_id AND source = :source", key)
    rows = db.execute("SELECT * FROM segments WHERE video_id = :video_id AND source = :source ORDER BY start_s, segment_id", key)
    _insert_passages(db, make_passages(video_id, source, [segment_from(row).segment for row in rows.fetchall()]))


def _update_passages(db: sqlite3.Connection, video_id: str, source: str) -> None:
    """Make the passages of a track again, and keep the rows of those whose text is the same, with their vectors."""
    key = {"video_id": video_id, "source": source}
    rows = db.execute("SELECT * FROM segments WHERE video_id = :video_id AND source = :source ORDER BY start_s, segment_id", key)
    passages = make_passages(video_id, source, [segment_from(row).segment for row in rows.fetchall()])
    rows = db.execute("SELECT * FROM passages WHERE video_id = :video_id AND source = :source", key)
    known_rows = {(row["position"], row["start_s"], row["text"]): row for row in rows.fetchall()}
    added_ids = []
    for passage in passages:
        row = known_rows.pop((passage.position, passage.span.start_s, passage.text), None)
        if row is None:
            added_ids.append(passage)
        elif row["end_s"] != passage.span.end_s:
            values = {"end_s": passage.span.end_s, "passage_id": row["passage_id"]}
            db.execute("UPDATE passages SET end_s = :end_s WHERE passage_id = :passage_id", values)
    db.executemany("DELETE FROM passages WHERE passage_id = ?", [(row["passage_id"],) for row in known_rows.values()])
    _insert_passages(db, added_ids)


def _insert_passages(db: sqlite3.Connection, passages: Sequence[Passage]) -> None:
    for passage in passages:
        values = {
            "video_id": passage.video_id,
            "source": passage.source,
            "language": passage.language,
            "position": passage.position,
            "start_s": passage.span.start_s,
            "end_s": passage.span.end_s,
            "text": passage.text,
        }
        number = db.execute(insertion("passages", values), values).lastrowid
        db.execute("INSERT INTO passage_terms (rowid, terms) VALUES (?, ?)", (number, index_text(passage.text)))


def passage_from(row: sqlite3.Row) -> Passage:
    """Return the passage of a row."""
    span = Span(row["start_s"], row["end_s"])
    return Passage(row["video_id"], row["source"], row["language"], row["position"], span, row["text"])
