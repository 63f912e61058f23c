"""The tracks of a library's videos: what each source has found, segment by segment, and how far it has come.

Captions, speech and subtitles are stored, read and searched in the same way. Segments are committed while a source runs,
together with the time that it has reached, so an interrupted run goes on there.
"""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from longview.indexing.database import Database
from longview.indexing.errors import TrackChanged
from longview.indexing.passages import (
    Passage,
    first_window_after,
    is_windowed,
    make_passages,
    window_start_s,
)
from longview.video.timeline import Segment, Span, Word

TrackStatus = Literal["complete", "incomplete", "declined", "failed"]
"""`complete`; `incomplete`: interrupted or running, the next run goes on; `declined`: the source does not apply to this video;
`failed`: it failed, and the note says why."""


MAX_SEGMENT_S = 60.0
"""Maximum length of a segment of a track that is written piece by piece, in seconds; a chunk of speech has 30 s."""
UNKNOWN_LANGUAGE = ""
"""Key of the segments without a language in the counts of a track."""


@dataclass(frozen=True)
class Provenance:
    """The checkpoint, the prompts and the plan that produced a result."""

    checkpoint: str
    """Name and fingerprint."""
    prompt_version: str
    plan: dict[str, Any]
    """The sampling plan in numbers, or the settings of a source that has no such plan."""


@dataclass(frozen=True)
class Track:
    """What one source has found in a video, without the segments."""

    source: str
    """Name of the source: `captions`, `speech` or `subtitles`."""
    status: TrackStatus
    span: Span
    """The part of the video that was requested."""
    done_s: float
    """Time up to which all segments are in the library, in seconds."""
    provenance: Provenance
    language: str | None = None
    """Main language of the segments."""
    uncovered: tuple[Span, ...] = ()
    """Spans that could not be decoded or understood."""
    note: str = ""
    """A sentence for people: why a track is empty, or what was left out."""
    seconds_spent: float = 0.0
    updated_at: str = ""
    """ISO 8601, UTC."""
    segment_count: int = 0
    """Number of segments, of all languages."""
    languages: tuple[str, ...] = field(default=())
    """Languages of the segments, as far as they are known, most frequent first."""

    @property
    def is_complete(self) -> bool:
        """Whether the source has covered all that was requested."""
        return self.status == "complete"


@dataclass(frozen=True)
class StoredSegment:
    """A segment of the library."""

    segment_id: int
    """An id that is never used for another text."""
    video_id: str
    segment: Segment


class Tracks:
    """The tracks of one library. Safe to use from several threads and processes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # -- writing -------------------------------------------------------------------------------------------------------

    def begin(self, video_id: str, track: Track) -> None:
        """Start a track: delete what the source found before, and store the track without segments."""
        with self._database.transaction() as db:
            _delete_segments(db, video_id, track.source)
            _write_track(db, video_id, track, {})

    def append(self, video_id: str, track: Track, segments: Sequence[Segment], *, after_s: float) -> None:
        """Add the next segments of a track, in order of time, and store how far it has come, in one transaction.

        `track.done_s`: time that the track has reached with these segments; `after_s`: time that it had reached before.

        Raises:
            TrackChanged: another run has begun or continued the track meanwhile; nothing is added.
        """
        with self._database.transaction() as db:
            row = db.execute(
                "SELECT done_s, segment_counts FROM tracks WHERE video_id = :video_id AND source = :source",
                {"video_id": video_id, "source": track.source},
            ).fetchone()
            if row is None or row["done_s"] != after_s:
                raise TrackChanged(f"Another run is writing the {track.source} of this video; its result is kept.")
            _insert_segments(db, video_id, segments)
            counts = Counter(json.loads(row["segment_counts"]))
            counts.update(segment.language or UNKNOWN_LANGUAGE for segment in segments)
            _write_track(db, video_id, track, counts)
            _add_passages(db, video_id, track.source, segments)

    def replace(self, video_id: str, track: Track, segments: Sequence[Segment], *, origin: str = "") -> None:
        """Replace the segments of one origin in a track, and store the track, in one transaction.

        `origin`: which stream or file of the source they are from; those of other origins stay.
        """
        with self._database.transaction() as db:
            replace_segments(db, video_id, track, segments, origin=origin)

    def update(self, video_id: str, track: Track) -> None:
        """Store the state of a track; its segments stay."""
        with self._database.transaction() as db:
            _write_track(db, video_id, track)

    def delete(self, video_id: str, source: str) -> None:
        """Delete a track with its segments."""
        with self._database.transaction() as db:
            _delete_segments(db, video_id, source)
            db.execute(
                "DELETE FROM tracks WHERE video_id = :video_id AND source = :source", {"video_id": video_id, "source": source}
            )

    def delete_empty(self, video_id: str) -> None:
        """Delete the tracks of a video that failed or were interrupted before they had a segment."""
        with self._database.transaction() as db:
            db.execute(
                "DELETE FROM tracks WHERE video_id = :video_id AND status IN ('incomplete', 'failed') AND NOT EXISTS (SELECT 1 "
                "FROM segments WHERE segments.video_id = tracks.video_id AND segments.source = tracks.source)",
                {"video_id": video_id},
            )

    # -- reading -------------------------------------------------------------------------------------------------------

    def segments(
        self, video_id: str, source: str | None = None, *, language: str | None = None, within: Span | None = None
    ) -> tuple[StoredSegment, ...]:
        """Return segments of a video in order of time: of one source or of all, in one language or in all.

        `within`: only those that overlap this span.
        """
        # Conditions that do not apply are left out, so that the others can use the index.
        values: dict[str, Any] = {"video_id": video_id, "source": source, "language": language}
        clauses = [f"{name} = :{name}" for name, value in values.items() if value is not None]
        if within is not None:
            clauses.append("start_s < :end_s AND end_s > :start_s")
            values |= {"start_s": within.start_s, "end_s": within.end_s}
        with self._database.connection() as db:
            rows = db.execute(f"SELECT * FROM segments WHERE {' AND '.join(clauses)} ORDER BY start_s, end_s, segment_id", values)
            return tuple(_segment(row) for row in rows)

    def origins(self, video_id: str, source: str) -> tuple[str, ...]:
        """Return the streams and files that a track's segments are from."""
        with self._database.connection() as db:
            rows = db.execute(
                "SELECT DISTINCT origin FROM segments WHERE video_id = :video_id AND source = :source ORDER BY origin",
                {"video_id": video_id, "source": source},
            )
            return tuple(row[0] for row in rows)

    def passage_ids(self, video_id: str | None = None, sources: Iterable[str] | None = None) -> frozenset[int]:
        """Return the ids of all passages, or of those of one video, or of some sources."""
        with self._database.connection() as db:
            rows = db.execute(
                "SELECT passage_id FROM passages WHERE (:video_id IS NULL OR video_id = :video_id) "
                "AND (:sources IS NULL OR source IN (SELECT value FROM json_each(:sources)))",
                {"video_id": video_id, "sources": _json_list(sources)},
            )
            return frozenset(row[0] for row in rows)

    def passages_by_id(self, passage_ids: Sequence[int]) -> dict[int, Passage]:
        """Return the passages with these ids, as far as they exist."""
        with self._database.connection() as db:
            rows = db.execute(
                "SELECT * FROM passages WHERE passage_id IN (SELECT value FROM json_each(?))", (json.dumps(list(passage_ids)),)
            )
            return {row["passage_id"]: _passage(row) for row in rows}

    def revision(self) -> int:
        """Return a number that changes whenever a passage changes."""
        with self._database.connection() as db:
            return int(db.execute("SELECT number FROM revision").fetchone()[0])

    # -- terms ---------------------------------------------------------------------------------------------------------

    def match_terms(
        self,
        terms: Sequence[str],
        *,
        limit: int,
        video_id: str | None = None,
        sources: Iterable[str] | None = None,
        require_all: bool = False,
    ) -> dict[int, float]:
        """Return the BM25 scores of the passages that have any of the terms (`require_all`: all of them), by id, best first.

        `video_id`, `sources`: the only video and the only sources that are searched.
        """
        if not terms:
            return {}
        query = (" AND " if require_all else " OR ").join(map(_fts_term, terms))
        with self._database.connection() as db:
            rows = db.execute(
                "SELECT passage_terms.rowid, bm25(passage_terms) FROM passage_terms "
                "JOIN passages ON passage_id = passage_terms.rowid "
                "WHERE passage_terms MATCH :query AND (:video_id IS NULL OR video_id = :video_id) "
                "AND (:sources IS NULL OR source IN (SELECT value FROM json_each(:sources))) ORDER BY rank LIMIT :limit",
                {"query": query, "video_id": video_id, "sources": _json_list(sources), "limit": limit},
            )
            # FTS5 returns smaller numbers for better matches.
            return {row[0]: -row[1] for row in rows}

    def passage_count(self) -> int:
        """Return the number of passages."""
        with self._database.connection() as db:
            return int(db.execute("SELECT count(*) FROM passages").fetchone()[0])

    def count_with_term(self, term: str) -> int:
        """Return the number of passages that have a term."""
        with self._database.connection() as db:
            row = db.execute("SELECT count(*) FROM passage_terms WHERE passage_terms MATCH ?", (_fts_term(term),)).fetchone()
            return int(row[0])


def replace_segments(
    db: sqlite3.Connection, video_id: str, track: Track, segments: Iterable[Segment], *, origin: str = ""
) -> None:
    """Replace the segments of one origin in a track, and store the track; see `Tracks.replace`."""
    db.execute(
        "DELETE FROM segments WHERE video_id = :video_id AND source = :source AND origin = :origin",
        {"video_id": video_id, "source": track.source, "origin": origin},
    )
    _insert_segments(db, video_id, segments, origin)
    rows = db.execute(
        "SELECT coalesce(language, :unknown), count(*) FROM segments WHERE video_id = :video_id AND source = :source GROUP BY 1",
        {"unknown": UNKNOWN_LANGUAGE, "video_id": video_id, "source": track.source},
    )
    _write_track(db, video_id, track, dict(rows.fetchall()))
    _rebuild_passages(db, video_id, track.source)


def tracks_of(db: sqlite3.Connection, video_id: str | None = None) -> dict[str, tuple[Track, ...]]:
    """Return the tracks of one video, or of all videos, by the id of the video."""
    rows = db.execute(
        "SELECT * FROM tracks WHERE :video_id IS NULL OR video_id = :video_id ORDER BY source", {"video_id": video_id}
    )
    tracks: dict[str, list[Track]] = {}
    for row in rows:
        tracks.setdefault(row["video_id"], []).append(_track(row))
    return {number: tuple(items) for number, items in tracks.items()}


def insertion(table: str, values: dict[str, Any]) -> str:
    """Return the statement that inserts a row of named values."""
    return f"INSERT INTO {table} ({', '.join(values)}) VALUES ({', '.join(f':{name}' for name in values)})"


def now() -> str:
    """Return the present time as ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _json_list(values: Iterable[str] | None) -> str | None:
    return None if values is None else json.dumps(list(values))


def _fts_term(term: str) -> str:
    is_prefix = term.endswith("*")
    quoted = '"' + term.removesuffix("*").replace('"', '""') + '"'
    return f"{quoted}*" if is_prefix else quoted


def _write_track(db: sqlite3.Connection, video_id: str, track: Track, segment_counts: Mapping[str, int] | None = None) -> None:
    """Write a track. `segment_counts`: number of segments by language, if it has changed."""
    values = {
        "video_id": video_id,
        "source": track.source,
        "status": track.status,
        "start_s": track.span.start_s,
        "end_s": track.span.end_s,
        "done_s": track.done_s,
        "checkpoint": track.provenance.checkpoint,
        "prompt_version": track.provenance.prompt_version,
        "plan": json.dumps(track.provenance.plan),
        "language": track.language,
        "uncovered": json.dumps([[span.start_s, span.end_s] for span in track.uncovered]),
        "note": track.note,
        "seconds_spent": track.seconds_spent,
        "updated_at": now(),
    }
    if segment_counts is not None:
        values["segment_counts"] = json.dumps(segment_counts)
    changes = ", ".join(f"{name} = excluded.{name}" for name in values if name not in ("video_id", "source"))
    db.execute(f"{insertion('tracks', values)} ON CONFLICT (video_id, source) DO UPDATE SET {changes}", values)


def _insert_segments(db: sqlite3.Connection, video_id: str, segments: Iterable[Segment], origin: str = "") -> None:
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
        }
        db.execute(insertion("segments", values), values)


def _words_json(words: Sequence[Word]) -> str:
    rows = [[round(word.span.start_s, 3), round(word.span.end_s, 3), word.text, word.confidence] for word in words]
    return json.dumps(rows, ensure_ascii=False, separators=(",", ":"))


def _delete_segments(db: sqlite3.Connection, video_id: str, source: str) -> None:
    for table in ("segments", "passages"):
        db.execute(
            f"DELETE FROM {table} WHERE video_id = :video_id AND source = :source", {"video_id": video_id, "source": source}
        )


def _add_passages(db: sqlite3.Connection, video_id: str, source: str, segments: Sequence[Segment]) -> None:
    """Make the passages of segments that were appended. The windows that they share with earlier ones are made again."""
    if not segments:
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
    affected = [_segment(row).segment for row in rows]
    _insert_passages(db, make_passages(video_id, source, affected, first_position=first))


def _rebuild_passages(db: sqlite3.Connection, video_id: str, source: str) -> None:
    key = {"video_id": video_id, "source": source}
    db.execute("DELETE FROM passages WHERE video_id = :video_id AND source = :source", key)
    rows = db.execute("SELECT * FROM segments WHERE video_id = :video_id AND source = :source ORDER BY start_s, segment_id", key)
    _insert_passages(db, make_passages(video_id, source, [_segment(row).segment for row in rows.fetchall()]))


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
        db.execute(insertion("passages", values), values)


def _track(row: sqlite3.Row) -> Track:
    counts: dict[str, int] = json.loads(row["segment_counts"])
    languages = sorted((language for language in counts if language != UNKNOWN_LANGUAGE), key=lambda name: -counts[name])
    return Track(
        source=row["source"],
        status=row["status"],
        span=Span(row["start_s"], row["end_s"]),
        done_s=row["done_s"],
        provenance=Provenance(row["checkpoint"], row["prompt_version"], json.loads(row["plan"])),
        language=row["language"],
        uncovered=tuple(Span(*bounds) for bounds in json.loads(row["uncovered"])),
        note=row["note"],
        seconds_spent=row["seconds_spent"],
        updated_at=row["updated_at"],
        segment_count=sum(counts.values()),
        languages=tuple(languages),
    )


def _segment(row: sqlite3.Row) -> StoredSegment:
    words = tuple(
        Word(Span(start_s, end_s), text, confidence) for start_s, end_s, text, confidence in json.loads(row["words"] or "[]")
    )
    span = Span(row["start_s"], row["end_s"])
    segment = Segment(span, row["text"], row["source"], row["language"], row["confidence"], words)
    return StoredSegment(row["segment_id"], row["video_id"], segment)


def _passage(row: sqlite3.Row) -> Passage:
    span = Span(row["start_s"], row["end_s"])
    return Passage(row["video_id"], row["source"], row["language"], row["position"], span, row["text"])
