"""Tracks as rows of the database: functions that write and read them within a transaction."""

import json
import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from longview.core.sources import traits_of
from longview.core.timeline import Segment, Span
from longview.indexing.errors import SegmentsOutside, UnknownVideo
from longview.indexing.records.track import Provenance, Track
from longview.indexing.sqlite.database.rows import insertion, now, object_from
from longview.indexing.sqlite.tracks.passage_rows import rebuild_passages
from longview.indexing.sqlite.tracks.segment_rows import SEGMENT_COLUMNS, UNKNOWN_LANGUAGE, insert_segments

SPAN_SLACK_S = 1.0
"""Time by which a segment may begin before the video or end after it, in seconds: the last frame and the last sound do."""
IS_NOT_REMOVED = "EXISTS (SELECT 1 FROM videos WHERE videos.video_id = :video_id AND removed_at = '')"
"""Condition that the video `:video_id` is not among those that were removed and can be brought back."""


def require_video(db: sqlite3.Connection, video_id: str) -> None:
    """Check that a video still exists, within the transaction that writes about it.

    Raises:
        UnknownVideo: it was removed meanwhile.
    """
    if db.execute("SELECT 1 FROM videos WHERE video_id = ? AND removed_at = ''", (video_id,)).fetchone() is None:
        raise UnknownVideo("The video was removed from the library while it was being indexed.")


def check_spans(db: sqlite3.Connection, video_id: str, track: Track, segments: Sequence[Segment]) -> None:
    """Check that a source found its segments in the video. Files may have subtitles beyond its end.

    Raises:
        SegmentsOutside: one begins before the video or ends after it.
    """
    (duration_s,) = db.execute("SELECT duration_s FROM videos WHERE video_id = ?", (video_id,)).fetchone()
    # Sound may be longer than the pictures, and a track of what is said is then done later than the video ends.
    end_s = (max(duration_s, track.done_s) if traits_of(track.source).is_spoken else duration_s) + SPAN_SLACK_S
    outside = next((item for item in segments if item.span.start_s < -SPAN_SLACK_S or not item.span.end_s <= end_s), None)
    if outside and not traits_of(track.source).is_imported:
        span = f"{outside.span.start_s:.1f} to {outside.span.end_s:.1f} s"
        text = f"The source {track.source} found something from {span}, outside of the video; nothing of it was stored."
        raise SegmentsOutside(f"{text} `longview index` tries again.")


def replace_segments(
    db: sqlite3.Connection, video_id: str, track: Track, segments: Iterable[Segment], *, origin: str = ""
) -> None:
    """Replace the segments of one origin in a track, and store the track; see `Tracks.replace`.

    Raises:
        UnknownVideo: the video was removed meanwhile.
    """
    require_video(db, video_id)
    segments = list(segments)
    check_spans(db, video_id, track, segments)
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


def tracks_of_videos(db: sqlite3.Connection, video_ids: Collection[str]) -> dict[str, tuple[Track, ...]]:
    """Return the tracks of some videos by the ids of the videos. Their index is used, so that others are not read."""
    marks = ", ".join("?" * len(video_ids))
    rows = db.execute(f"SELECT * FROM tracks WHERE video_id IN ({marks}) ORDER BY source", tuple(video_ids))
    tracks: dict[str, list[Track]] = {}
    for row in rows:
        tracks.setdefault(row["video_id"], []).append(track_from(row))
    return {number: tuple(items) for number, items in tracks.items()}


def searched_tracks(db: sqlite3.Connection) -> list[tuple[str, str]]:
    """Return video and source of all tracks that have passages: removed videos have none."""
    rows = db.execute("SELECT video_id, source FROM tracks JOIN videos USING (video_id) WHERE removed_at = ''")
    return [(video_id, source) for video_id, source in rows.fetchall()]


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


def keep_replaced_track(db: sqlite3.Connection, video_id: str, track: Track) -> None:
    """Move what a track replaces to the earlier tracks, if it has segments and something else made it or its span is another.

    A track of the same provenance and span stays where it is: it is the same version, which is written again. Of two earlier
    tracks that are the same version, the more complete one is kept, so that they do not grow without limit.
    """
    key = {"video_id": video_id, "source": track.source}
    row = db.execute("SELECT * FROM tracks WHERE video_id = :video_id AND source = :source", key).fetchone()
    if traits_of(track.source).is_imported or row is None or _is_same_version(last_track := track_from(row), track):
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


def delete_segments(db: sqlite3.Connection, video_id: str, source: str) -> None:
    """Delete all segments of a track, and its passages."""
    for table in ("segments", "passages"):
        db.execute(
            f"DELETE FROM {table} WHERE video_id = :video_id AND source = :source", {"video_id": video_id, "source": source}
        )


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
