"""Segments as rows of the database."""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple

from longview.core.timeline import Box, Segment, Span, Word
from longview.indexing.records.track import StoredSegment
from longview.indexing.sqlite.database.rows import insertion

SEGMENT_COLUMNS = "origin, start_s, end_s, text, language, confidence, words, box"
"""Columns that `segments` and `earlier_segments` have in common."""
UNKNOWN_LANGUAGE = ""
"""Key of the segments without a language in the counts of a track."""


def insert_segments(db: sqlite3.Connection, video_id: str, segments: Iterable[Segment], origin: str = "") -> None:
    """Write segments of one origin."""
    for segment in segments:
        values = {
            "video_id": video_id,
            "source": segment.source,
            "origin": origin,
            "start_s": segment.span.start_s,
            "end_s": segment.span.end_s,
            "text": segment.text,
            "language": segment.language,
            "confidence": segment.confidence,
            "words": _words_json(segment.words) if segment.words else None,
            "box": json.dumps([round(bound, 4) for bound in astuple(segment.box)]) if segment.box else None,
        }
        db.execute(insertion("segments", values), values)


def _words_json(words: Sequence[Word]) -> str:
    rows = [[round(word.span.start_s, 3), round(word.span.end_s, 3), word.text, word.confidence] for word in words]
    return json.dumps(rows, ensure_ascii=False, separators=(",", ":"))


def delete_open_segments(db: sqlite3.Connection, video_id: str, source: str, after_s: float) -> Counter[str]:
    """Delete the segments of a track that reach a time; return their number by language."""
    rows = db.execute(
        "DELETE FROM segments WHERE video_id = :video_id AND source = :source AND end_s >= :after_s RETURNING language",
        {"video_id": video_id, "source": source, "after_s": after_s},
    )
    return Counter(row["language"] or UNKNOWN_LANGUAGE for row in rows.fetchall())


def _words(text: str) -> Iterator[Word]:
    return (Word(Span(start_s, end_s), word, confidence) for start_s, end_s, word, confidence in json.loads(text))


def segment_from(row: sqlite3.Row) -> StoredSegment:
    """Return the segment of a row."""
    words = tuple(_words(row["words"])) if row["words"] else ()
    span = Span(row["start_s"], row["end_s"])
    box = Box(*json.loads(row["box"])) if row["box"] else None
    segment = Segment(span, row["text"], row["source"], row["language"], row["confidence"], words, box)
    return StoredSegment(row["segment_id"], row["video_id"], segment)
