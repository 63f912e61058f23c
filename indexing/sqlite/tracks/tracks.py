"""The tracks of a library's videos: what each source has found, segment by segment, and how far it has come.

Captions, speech and subtitles are stored, read and searched in the same way. Segments are committed while a source runs,
together with the time that it has reached, so an interrupted run resumes there.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from longview.core.timeline import Segment, Span
from longview.indexing.errors import TrackChanged
from longview.indexing.records.track import Provenance, SegmentPage, SegmentQuery, StoredSegment, Track, TrackStatus
from longview.indexing.sqlite.database.database import Database
from longview.indexing.sqlite.tracks.passage_rows import add_passages, passage_from
from longview.indexing.sqlite.tracks.rows import (
    IS_NOT_REMOVED,
    check_spans,
    delete_segments,
    keep_replaced_track,
    replace_segments,
    require_video,
    write_track,
)
from longview.indexing.sqlite.tracks.segment_pages import read_page
from longview.indexing.sqlite.tracks.segment_rows import UNKNOWN_LANGUAGE, delete_open_segments, insert_segments, segment_from
from longview.indexing.text.passages import Passage

__all__ = ["Provenance", "StoredSegment", "Track", "TrackStatus", "Tracks"]


_CHOSEN = (
    "(:video_id IS NULL OR video_id = :video_id) AND (:sources IS NULL OR source IN (SELECT value FROM json_each(:sources))) "
    "AND (:start_s IS NULL OR (passages.start_s < :end_s AND passages.end_s > :start_s))"
)
"""Condition on passages: those of one video, of some sources, and that overlap a span."""


class Tracks:
    """The tracks of one library. Safe to use from several threads and processes.

    What writes a track raises `UnknownVideo` if the video was removed meanwhile.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    # -- writing -------------------------------------------------------------------------------------------------------

    def begin(self, video_id: str, track: Track) -> None:
        """Start a track without segments. What the source found before with other settings becomes an earlier track."""
        with self._database.transaction() as db:
            require_video(db, video_id)
            keep_replaced_track(db, video_id, track)
            delete_segments(db, video_id, track.source)
            write_track(db, video_id, track, {})

    def append(
        self, video_id: str, track: Track, segments: Sequence[Segment], *, after_s: float, replaces_open: bool = False
    ) -> None:
        """Add the next segments of a track, in order of time, and store how far it has come, in one transaction.

        `track.done_s`: time that the track has reached with these segments; `after_s`: time that it had reached before.
        `replaces_open`: `segments` also has those that reached `after_s` and continue; see `open_segments`.

        Raises:
            TrackChanged: another run has begun or continued the track meanwhile; nothing is added.
        """
        with self._database.transaction() as db:
            require_video(db, video_id)
            row = db.execute(
                "SELECT done_s, segment_counts FROM tracks WHERE video_id = :video_id AND source = :source",
                {"video_id": video_id, "source": track.source},
            ).fetchone()
            if row is None or row["done_s"] != after_s:
                raise TrackChanged(f"Another run is writing the {track.source} of this video; its result is kept.")
            check_spans(db, video_id, track, segments)
            counts = Counter(json.loads(row["segment_counts"]))
            if replaces_open:
                counts.subtract(delete_open_segments(db, video_id, track.source, after_s))
            insert_segments(db, video_id, segments)
            counts.update(segment.language or UNKNOWN_LANGUAGE for segment in segments)
            write_track(db, video_id, track, +counts)
            add_passages(db, video_id, track.source, segments)

    def replace(self, video_id: str, track: Track, segments: Sequence[Segment], *, origin: str = "") -> None:
        """Replace the segments of one origin in a track, and store the track, in one transaction.

        `origin`: which stream or file of the source they are from; those of other origins stay.
        """
        with self._database.transaction() as db:
            replace_segments(db, video_id, track, segments, origin=origin)

    def update(self, video_id: str, track: Track) -> None:
        """Store the state of a track; its segments stay."""
        with self._database.transaction() as db:
            require_video(db, video_id)
            write_track(db, video_id, track)

    def delete(self, video_id: str, source: str) -> None:
        """Delete a track with its segments."""
        with self._database.transaction() as db:
            require_video(db, video_id)
            delete_segments(db, video_id, source)
            db.execute(
                "DELETE FROM tracks WHERE video_id = :video_id AND source = :source", {"video_id": video_id, "source": source}
            )

    def delete_unbegun(self, video_id: str) -> None:
        """Delete the tracks of a video that failed or were interrupted before they had come anywhere."""
        with self._database.transaction() as db:
            require_video(db, video_id)
            db.execute(
                "DELETE FROM tracks WHERE video_id = :video_id AND status IN ('incomplete', 'failed') AND done_s <= start_s "
                "AND NOT EXISTS (SELECT 1 FROM segments WHERE segments.video_id = tracks.video_id "
                "AND segments.source = tracks.source)",
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
        clauses.append(IS_NOT_REMOVED)
        if within is not None:
            clauses.append("start_s < :end_s AND end_s > :start_s")
            values |= {"start_s": within.start_s, "end_s": within.end_s}
        with self._database.connection() as db:
            rows = db.execute(f"SELECT * FROM segments WHERE {' AND '.join(clauses)} ORDER BY start_s, end_s, segment_id", values)
            return tuple(segment_from(row) for row in rows)

    def page(self, video_id: str, query: SegmentQuery, *, offset: int, limit: int) -> SegmentPage:
        """Return the segments of a video that a query names, in order of time: at most `limit`, from number `offset` on."""
        with self._database.connection() as db:
            # What is read belongs to one state of the library.
            db.execute("BEGIN")
            return read_page(db, video_id, query, offset=offset, limit=limit)

    def open_segments(self, video_id: str, track: Track) -> tuple[Segment, ...]:
        """Return the segments of a track that reach the time up to which it is done: what they show may continue."""
        with self._database.connection() as db:
            rows = db.execute(
                "SELECT * FROM segments WHERE video_id = :video_id AND source = :source AND end_s >= :done_s "
                "ORDER BY start_s, segment_id",
                {"video_id": video_id, "source": track.source, "done_s": track.done_s},
            )
            return tuple(segment_from(row).segment for row in rows)

    def origins(self, video_id: str, source: str) -> tuple[str, ...]:
        """Return the streams and files that a track's segments are from."""
        with self._database.connection() as db:
            rows = db.execute(
                f"SELECT DISTINCT origin FROM segments WHERE video_id = :video_id AND source = :source AND {IS_NOT_REMOVED} "
                "ORDER BY origin",
                {"video_id": video_id, "source": source},
            )
            return tuple(row[0] for row in rows)

    def passage_ids(
        self, video_id: str | None = None, sources: Iterable[str] | None = None, *, within: Span | None = None
    ) -> frozenset[int]:
        """Return the ids of all passages, or of those of one video, of some sources, or that overlap a span."""
        with self._database.connection() as db:
            rows = db.execute(f"SELECT passage_id FROM passages WHERE {_CHOSEN}", _selection(video_id, sources, within))
            return frozenset(row[0] for row in rows)

    def passages_by_id(self, passage_ids: Sequence[int]) -> dict[int, Passage]:
        """Return the passages with these ids, as far as they exist."""
        with self._database.connection() as db:
            rows = db.execute(
                "SELECT * FROM passages WHERE passage_id IN (SELECT value FROM json_each(?))", (json.dumps(list(passage_ids)),)
            )
            return {row["passage_id"]: passage_from(row) for row in rows}

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
        within: Span | None = None,
        require_all: bool = False,
    ) -> dict[int, float]:
        """Return the BM25 scores of the passages that have any of the terms (`require_all`: all of them), by id, best first.

        `video_id`, `sources`, `within`: the only video, sources and span that are searched.
        """
        if not terms:
            return {}
        query = (" AND " if require_all else " OR ").join(map(_fts_term, terms))
        with self._database.connection() as db:
            rows = db.execute(
                "SELECT passage_terms.rowid, bm25(passage_terms) FROM passage_terms "
                "JOIN passages ON passage_id = passage_terms.rowid "
                f"WHERE passage_terms MATCH :query AND {_CHOSEN} ORDER BY rank LIMIT :limit",
                {"query": query, "limit": limit, **_selection(video_id, sources, within)},
            )
            # FTS5 returns smaller numbers for better matches.
            return {row[0]: -row[1] for row in rows}

    def match_phrase(
        self,
        terms: Sequence[str],
        *,
        limit: int,
        video_id: str | None = None,
        sources: Iterable[str] | None = None,
        within: Span | None = None,
    ) -> frozenset[int]:
        """Return the ids of passages that have all of the terms one after another."""
        phrase = " ".join(terms).replace('"', '""')
        if not phrase:
            return frozenset()
        with self._database.connection() as db:
            rows = db.execute(
                "SELECT passage_id FROM passage_terms JOIN passages ON passage_id = passage_terms.rowid "
                f"WHERE passage_terms MATCH :phrase AND {_CHOSEN} LIMIT :limit",
                {"phrase": f'"{phrase}"', "limit": limit, **_selection(video_id, sources, within)},
            )
            return frozenset(row[0] for row in rows)

    def passage_count(self, video_id: str | None = None) -> int:
        """Return the number of passages, of all videos or of one."""
        with self._database.connection() as db:
            row = db.execute(
                "SELECT count(*) FROM passages WHERE :video_id IS NULL OR video_id = :video_id", {"video_id": video_id}
            )
            return int(row.fetchone()[0])

    def passage_counts(self) -> dict[str, int]:
        """Return the numbers of passages of all videos that have any, by their ids."""
        with self._database.connection() as db:
            return dict(map(tuple, db.execute("SELECT video_id, count(*) FROM passages GROUP BY video_id").fetchall()))

    def count_with_term(self, term: str, video_id: str | None = None) -> int:
        """Return the number of passages that have a term, in all videos or in one."""
        with self._database.connection() as db:
            row = db.execute(
                "SELECT count(*) FROM passage_terms JOIN passages ON passage_id = passage_terms.rowid "
                "WHERE passage_terms MATCH :term AND (:video_id IS NULL OR video_id = :video_id)",
                {"term": _fts_term(term), "video_id": video_id},
            ).fetchone()
            return int(row[0])


def _selection(video_id: str | None, sources: Iterable[str] | None, within: Span | None) -> dict[str, Any]:
    """Return the values of `_CHOSEN`."""
    return {
        "video_id": video_id,
        "sources": _json_list(sources),
        "start_s": within.start_s if within else None,
        "end_s": within.end_s if within else None,
    }


def _json_list(values: Iterable[str] | None) -> str | None:
    return None if values is None else json.dumps(list(values))


def _fts_term(term: str) -> str:
    is_prefix = term.endswith("*")
    phrase = '"' + term.removesuffix("*").replace('"', '""') + '"'
    return f"{phrase}*" if is_prefix else phrase
