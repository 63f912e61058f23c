"""The versions of a video's tracks: those that are searched now, and earlier ones that others have replaced.

A run with another checkpoint, profile, prompt or plan does not delete what was found before:
`longview.indexing.sqlite.tracks.rows` moves it to tables of its own, within the transaction that writes the new track. Search,
quotes and answers never read them.
"""

import json
import sqlite3

from longview.core.timeline import Event, Segment, Span
from longview.indexing.errors import UnknownVersion
from longview.indexing.records.track import TrackVersion
from longview.indexing.sqlite.database.database import Database
from longview.indexing.sqlite.tracks.rows import track_from
from longview.indexing.sqlite.tracks.segment_rows import SEGMENT_COLUMNS, segment_from

MAX_NUMBER = (1 << 63) - 1
"""Maximum number of a track."""

_TRACK_COLUMNS = (
    "number, video_id, source, status, start_s, end_s, done_s, checkpoint, revision, profile, prompt_version, plan, language, "
    "uncovered, note, seconds_spent, frames_read, state, updated_at, segment_counts"
)
# In one statement, because another process may move a track from one table to the other.
_VERSIONS = (
    f"SELECT {_TRACK_COLUMNS}, '' AS replaced_at, CASE source WHEN 'captions' THEN summary ELSE '' END AS summary, "
    "CASE source WHEN 'captions' THEN chapters ELSE '[]' END AS chapters FROM tracks JOIN videos USING (video_id) "
    "WHERE removed_at = '' "
    f"UNION ALL SELECT {_TRACK_COLUMNS}, replaced_at, summary, chapters FROM earlier_tracks WHERE EXISTS "
    "(SELECT 1 FROM videos WHERE videos.video_id = earlier_tracks.video_id AND removed_at = '')"
)
_SEGMENTS = (
    f"SELECT segment_id, video_id, source, {SEGMENT_COLUMNS} FROM segments WHERE video_id = :video_id AND source = :source "
    "AND EXISTS (SELECT 1 FROM tracks WHERE number = :number) "
    f"UNION ALL SELECT segment_id, :video_id, :source, {SEGMENT_COLUMNS} FROM earlier_segments WHERE number = :number "
    "ORDER BY start_s, end_s, segment_id"
)


class Versions:
    """The versions of the tracks of one library. Safe to use from several threads and processes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of_video(self, video_id: str) -> tuple[TrackVersion, ...]:
        """Return all tracks of a video, current and earlier, in the order in which they were begun."""
        with self._database.connection() as db:
            rows = db.execute(f"SELECT * FROM ({_VERSIONS}) WHERE video_id = ? ORDER BY number", (video_id,))
            return tuple(map(_version_from, rows))

    def version(self, video_id: str, number: int) -> TrackVersion:
        """Return the track of a video with this number.

        Raises:
            UnknownVersion: there is none, or it belongs to another video.
        """
        with self._database.connection() as db:
            # SQLite refuses larger numbers. No track has the number 0.
            known_number = number if 0 < number <= MAX_NUMBER else 0
            row = db.execute(f"SELECT * FROM ({_VERSIONS}) WHERE number = ?", (known_number,)).fetchone()
        if row is None or row["video_id"] != video_id:
            what = f"Version {number} is of the video {row['video_id']}" if row else f"There is no version {number}"
            raise UnknownVersion(f"{what}; `longview versions {video_id}` lists those of this video.")
        return _version_from(row)

    def segments(self, version: TrackVersion) -> tuple[Segment, ...]:
        """Return the segments of a version in order of time."""
        with self._database.connection() as db:
            values = {"number": version.number, "video_id": version.video_id, "source": version.track.source}
            rows = db.execute(_SEGMENTS, values)
            return tuple(segment_from(row).segment for row in rows)


def chapters_from(row: sqlite3.Row) -> tuple[Event, ...]:
    """Return the chapters of a row; their texts are titles."""
    return tuple(Event(Span(start_s, end_s), title) for start_s, end_s, title in json.loads(row["chapters"]))


def _version_from(row: sqlite3.Row) -> TrackVersion:
    return TrackVersion(row["number"], row["video_id"], track_from(row), row["replaced_at"], row["summary"], chapters_from(row))
