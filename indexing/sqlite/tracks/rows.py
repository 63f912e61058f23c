"""Tracks as rows of the database: functions that write and read them within a transaction."""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple
from datetime import UTC, datetime
from typing import Any

from longview.core.timeline import Box, Segment, Span, Word
from longview.indexing.errors import UnknownVideo
from longview.indexing.records.track import Provenance, StoredSegment, Track
from longview.indexing.text.passages import Passage, first_window_after, is_screen, is_windowed, make_passages, window_start_s
from longview.indexing.text.terms import index_text

MAX_SEGMENT_S = 60.0
"""Maximum length of a segment of a track that is written piece by piece, in seconds; a chunk of speech has 30 s."""
SEGMENT_COLUMNS = "origin, start_s, end_s, text, language, confidence, words, box"
"""Columns that `segments` and `earlier_segments` have in common."""
UNVERSIONED_SOURCES = frozenset({"subtitles"})
"""Sources whose earlier tracks are not kept: files have the subtitles, and no model makes them."""
IS_NOT_REMOVED = "EXISTS (SELECT 1 FROM videos WHERE videos.video_id = :video_id AND removed_at = '')"
"""Condition that the video `:video_id` is not among those that were removed and can be brought back."""
UNKNOWN_LANGUAGE = ""
"""Key of the segments without a language in the counts of a track."""


def require_video(db: sqlite3.Connection, video_id: str) -> None:
    """Check that a video still exists, within the transaction that writes about it.

    Raises:
        UnknownVideo: it was removed meanwhile.
    """
    if db.execute("SELECT 1 FROM videos WHERE video_id = ? AND removed_at = ''", (video_id,)).fetchone() is None:
        raise UnknownVideo("The video was removed from the library while it was being indexed.")


def replace_segments(
    db: sqlite3.Connection, video_id: str, track: Track, segments: Iterable[Segment], *, origin: str = ""
) -> None:
    """Replace the segments of one origin in a track, and store the track; see `Tracks.replace`.

    Raises:
        UnknownVideo: the video was removed meanwhile.
    """
    require_video(db, video_id)
    keep_replaced_track(db, video_id, track)
    db.execute(
        "DELETE FROM segments WHERE video_id = :video_id AND source = :source AND origin = :origin",
        {"video_id": video_id, "source": track.source, "origin": origin},
    )
    insert_segments(db, video_id, segments, origin)
    rows = db.execute(
        "SELECT coalesce(language, :unknown), count(*) FROM segments WHERE video_id = :video_id AND source = :source GROUP BY 1",
        {"unknown": UNKNOWN_LANGUAGE, "video_id": video_id, "source": track.source},
    )
    write_track(db, video_id, track, dict(rows.fetchall()))
    rebuild_passages(db, video_id, track.source)


def tracks_of(db: sqlite3.Connection, video_id: str | None = None) -> dict[str, tuple[Track, ...]]:
    """Return the tracks of one video, or of all videos, by the id of the video."""
    rows = db.execute(
        "SELECT * FROM tracks WHERE :video_id IS NULL OR video_id = :video_id ORDER BY source", {"video_id": video_id}
    )
    tracks: dict[str, list[Track]] = {}
    for row in rows:
        tracks.setdefault(row["video_id"], []).append(track_from(row))
    return {number: tuple(items) for number, items in tracks.items()}


def searched_tracks(db: sqlite3.Connection) -> list[tuple[str, str]]:
    """Return video and source of all tracks that have passages: removed videos have none."""
    rows = db.execute("SELECT video_id, source FROM tracks JOIN videos USING (video_id) WHERE removed_at = ''")
    return [(video_id, source) for video_id, source in rows.fetchall()]


def insertion(table: str, values: dict[str, Any]) -> str:
    """Return the statement that inserts a row of named values."""
    return f"INSERT INTO {table} ({', '.join(values)}) VALUES ({', '.join(f':{name}' for name in values)})"


def now() -> str:
    """Return the present time as ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def provenance_columns(provenance: Provenance) -> dict[str, Any]:
    """Return a provenance as named values of a row."""
    return {
        "checkpoint": provenance.checkpoint,
        "revision": provenance.revision,
        "profile": provenance.profile,
        "prompt_version": provenance.prompt_version,
        "plan": json.dumps(provenance.plan),
    }


def provenance_from(row: sqlite3.Row) -> Provenance:
    """Return the provenance of a row."""
    plan = json.loads(row["plan"])
    return Provenance(row["checkpoint"], row["prompt_version"], plan, row["revision"], row["profile"])


def write_track(db: sqlite3.Connection, video_id: str, track: Track, segment_counts: Mapping[str, int] | None = None) -> None:
    """Write a track. `segment_counts`: number of segments by language, if it has changed."""
    values = {
        "video_id": video_id,
        "source": track.source,
        "status": track.status,
        "start_s": track.span.start_s,
        "end_s": track.span.end_s,
        "done_s": track.done_s,
        **provenance_columns(track.provenance),
        "language": track.language,
        "uncovered": json.dumps([[span.start_s, span.end_s] for span in track.uncovered]),
        "note": track.note,
        "seconds_spent": track.seconds_spent,
        "frames_read": track.frames_read,
        "state": json.dumps(track.state),
        "updated_at": now(),
    }
    if segment_counts is not None:
        values["segment_counts"] = json.dumps(segment_counts)
    changes = ", ".join(f"{name} = :{name}" for name in values)
    cursor = db.execute(f"UPDATE tracks SET {changes} WHERE video_id = :video_id AND source = :source", values)
    # An insertion that ends as an update would use up a number of a track.
    if not cursor.rowcount:
        db.execute(insertion("tracks", values), values)


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


def keep_replaced_track(db: sqlite3.Connection, video_id: str, track: Track) -> None:
    """Move what a track replaces to the earlier tracks, if it has segments and something else made it or its span is another.

    A track of the same provenance and span stays where it is: it is the same version, which is written again. Of two earlier
    tracks that are the same version, the more complete one is kept, so that they do not grow without limit.
    """
    key = {"video_id": video_id, "source": track.source}
    row = db.execute("SELECT * FROM tracks WHERE video_id = :video_id AND source = :source", key).fetchone()
    if track.source in UNVERSIONED_SOURCES or row is None or _is_same_version(last_track := track_from(row), track):
        return
    earlier = db.execute("SELECT * FROM earlier_tracks WHERE video_id = :video_id AND source = :source", key).fetchall()
    same = [item for item in earlier if _is_same_version(track_from(item), last_track)]
    is_kept = last_track.segment_count and all(_completeness(track_from(item)) <= _completeness(last_track) for item in same)
    if is_kept:
        db.executemany("DELETE FROM earlier_tracks WHERE number = ?", [(item["number"],) for item in same])
        _copy_to_earlier(db, row)
    db.execute("DELETE FROM segments WHERE video_id = :video_id AND source = :source", key)
    # The track that replaces it gets a number of its own.
    db.execute("DELETE FROM tracks WHERE number = ?", (row["number"],))


def _is_same_version(one: Track, other: Track) -> bool:
    return one.span == other.span and one.provenance.is_same(other.provenance)


def _completeness(track: Track) -> tuple[bool, float]:
    return track.is_complete, track.done_s


def _copy_to_earlier(db: sqlite3.Connection, row: sqlite3.Row) -> None:
    columns = ", ".join(row.keys())
    is_captions = row["source"] == "captions"
    text, chapters = ("summary", "chapters") if is_captions else ("''", "'[]'")
    db.execute(
        f"INSERT INTO earlier_tracks ({columns}, summary, chapters, replaced_at) "
        f"SELECT {columns}, {text}, {chapters}, :now FROM tracks JOIN videos USING (video_id) WHERE number = :number",
        {"now": now(), "number": row["number"]},
    )
    db.execute(
        f"INSERT INTO earlier_segments (segment_id, number, {SEGMENT_COLUMNS}) SELECT segment_id, :number, {SEGMENT_COLUMNS} "
        "FROM segments WHERE video_id = :video_id AND source = :source",
        {"number": row["number"], "video_id": row["video_id"], "source": row["source"]},
    )


def delete_open_segments(db: sqlite3.Connection, video_id: str, source: str, after_s: float) -> Counter[str]:
    """Delete the segments of a track that reach a time; return their number by language."""
    rows = db.execute(
        "DELETE FROM segments WHERE video_id = :video_id AND source = :source AND end_s >= :after_s RETURNING language",
        {"video_id": video_id, "source": source, "after_s": after_s},
    )
    return Counter(row["language"] or UNKNOWN_LANGUAGE for row in rows.fetchall())


def delete_segments(db: sqlite3.Connection, video_id: str, source: str) -> None:
    """Delete all segments of a track, and its passages."""
    for table in ("segments", "passages"):
        db.execute(
            f"DELETE FROM {table} WHERE video_id = :video_id AND source = :source", {"video_id": video_id, "source": source}
        )


def add_passages(db: sqlite3.Connection, video_id: str, source: str, segments: Sequence[Segment]) -> None:
    """Make the passages of segments that were appended. The windows that they share with earlier ones are rebuilt."""
    if not segments:
        return
    if is_screen(source):
        _update_passages(db, video_id, source)
        return
    if not is_windowed(source):
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
    affected = [segment_from(row).segment for row in rows]
    _insert_passages(db, make_passages(video_id, source, affected, first_position=first))


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
    known = {(row["position"], row["start_s"], row["text"]): row for row in rows.fetchall()}
    added = []
    for passage in passages:
        row = known.pop((passage.position, passage.span.start_s, passage.text), None)
        if row is None:
            added.append(passage)
        elif row["end_s"] != passage.span.end_s:
            values = {"end_s": passage.span.end_s, "passage_id": row["passage_id"]}
            db.execute("UPDATE passages SET end_s = :end_s WHERE passage_id = :passage_id", values)
    db.executemany("DELETE FROM passages WHERE passage_id = ?", [(row["passage_id"],) for row in known.values()])
    _insert_passages(db, added)


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


def track_from(row: sqlite3.Row) -> Track:
    """Return the track of a row."""
    counts: dict[str, int] = json.loads(row["segment_counts"])
    languages = sorted((language for language in counts if language != UNKNOWN_LANGUAGE), key=lambda name: -counts[name])
    return Track(
        source=row["source"],
        status=row["status"],
        span=Span(row["start_s"], row["end_s"]),
        done_s=row["done_s"],
        provenance=provenance_from(row),
        language=row["language"],
        uncovered=tuple(Span(*bounds) for bounds in json.loads(row["uncovered"])),
        note=row["note"],
        seconds_spent=row["seconds_spent"],
        frames_read=row["frames_read"],
        state=object_from(row["state"]),
        updated_at=row["updated_at"],
        segment_count=sum(counts.values()),
        languages=tuple(languages),
    )


def object_from(text: str) -> dict[str, Any]:
    """Return a JSON object; an empty one if the text is none, because of damage."""
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def segment_from(row: sqlite3.Row) -> StoredSegment:
    """Return the segment of a row."""
    words = tuple(
        Word(Span(start_s, end_s), text, confidence) for start_s, end_s, text, confidence in json.loads(row["words"] or "[]")
    )
    span = Span(row["start_s"], row["end_s"])
    box = Box(*json.loads(row["box"])) if row["box"] else None
    segment = Segment(span, row["text"], row["source"], row["language"], row["confidence"], words, box)
    return StoredSegment(row["segment_id"], row["video_id"], segment)


def passage_from(row: sqlite3.Row) -> Passage:
    """Return the passage of a row."""
    span = Span(row["start_s"], row["end_s"])
    return Passage(row["video_id"], row["source"], row["language"], row["position"], span, row["text"])
