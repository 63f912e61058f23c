"""The library: its videos. Their tracks are in `longview.indexing.sqlite.tracks.tracks`.

Video files are referenced by path.
"""

import json
import sqlite3
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from longview.core.timeline import Event, Segment
from longview.indexing.errors import AmbiguousVideo, UnknownVideo
from longview.indexing.records.listing import CaptionMaker, Listing, ListingQuery
from longview.indexing.records.track import Track
from longview.indexing.records.video import VideoEntry, VideoName
from longview.indexing.sqlite.changes import Changes
from longview.indexing.sqlite.conversations import Conversations
from longview.indexing.sqlite.database.database import Database
from longview.indexing.sqlite.database.rows import insertion, now
from longview.indexing.sqlite.known_files import KnownFiles
from longview.indexing.sqlite.listing import HAS_TRACKS, IS_IN_LIBRARY, read_listing
from longview.indexing.sqlite.queue.job_queue import JobQueue
from longview.indexing.sqlite.tracks.caption_windows import (
    CaptionWindowRow,
    CaptionWindows,
    delete_caption_windows,
    write_caption_window,
)
from longview.indexing.sqlite.tracks.removals import Removals, RemovedVideo
from longview.indexing.sqlite.tracks.rows import (
    replace_segments,
    require_video,
    tracks_of,
    tracks_of_videos,
)
from longview.indexing.sqlite.tracks.tracks import Tracks
from longview.indexing.sqlite.tracks.versions import Versions, chapters_from
from longview.indexing.text.titles import sort_title


class Library:
    """A library folder. Safe to use from several threads and processes."""

    def __init__(self, folder: Path) -> None:
        """Open the library, creating or upgrading it where needed.

        Raises:
            LibraryUnusable: the folder cannot be written, or the database is damaged or of a newer version.
        """
        self.folder = folder
        self._database = Database(folder)
        self.tracks = Tracks(self._database)
        self.versions = Versions(self._database)
        self.queue = JobQueue(self._database)
        self.caption_windows = CaptionWindows(self._database)
        self.removals = Removals(self._database)
        self.conversations = Conversations(self._database)
        self.known_files = KnownFiles(self._database)
        self.changes = Changes(self._database)

    def require_writable(self) -> None:
        """Check that the library can be written.

        Raises:
            LibraryFull, LibraryReadOnly
        """
        self._database.require_writable()

    def put(self, entry: VideoEntry) -> VideoEntry:
        """Write a video without its tracks; replace what the library has about it, except when it was added.

        A video that is in the library keeps its title: it may have been renamed since the entry was read. If it was removed, that
        becomes final: nothing of what was found before comes back.
        """
        values = {
            "video_id": entry.video_id,
            "content_hash": entry.content_hash,
            "path": str(entry.path),
            "title": entry.title,
            "sort_title": sort_title(entry.title),
            "duration_s": entry.duration_s,
            "facts": json.dumps(entry.facts),
            "summary": entry.summary,
            "chapters": _chapters_json(entry.chapters),
            "added_at": now(),
        }
        kept_columns = ("video_id", "content_hash", "added_at", "title", "sort_title")
        changes = ", ".join(f"{name} = excluded.{name}" for name in values if name not in kept_columns)
        for name in ("title", "sort_title"):
            changes += f", {name} = CASE WHEN {HAS_TRACKS} THEN videos.{name} ELSE excluded.{name} END"
        with self._database.transaction() as db:
            db.execute("DELETE FROM videos WHERE video_id = :video_id AND removed_at != ''", values)
            db.execute(f"{insertion('videos', values)} ON CONFLICT (video_id) DO UPDATE SET {changes}", values)
        return self.pending_video(entry.video_id)

    def pending_video(self, video_id: str) -> VideoEntry:
        """Return a video that was put, even if it has no tracks yet: it is being indexed, or its first run was stopped.

        Raises:
            UnknownVideo: it was removed meanwhile.
        """
        with self._database.connection() as db:
            row = db.execute("SELECT * FROM videos WHERE video_id = ?", (video_id,)).fetchone()
            require_video(db, video_id)
            return video_from(row, tracks_of(db, video_id).get(video_id, ()))

    def put_captions(
        self,
        video_id: str,
        track: Track,
        captions: Iterable[Segment],
        *,
        summary: str,
        chapters: Sequence[Event],
        window: CaptionWindowRow | None = None,
    ) -> None:
        """Replace a video's captions, summary and chapters in one transaction; keep those of another checkpoint as earlier ones.

        `window`: the window with which an incomplete track has come so far. A track that is complete or declined has no use for
        finished windows, which are deleted.

        Raises:
            UnknownVideo: the video was removed meanwhile.
        """
        with self._database.transaction() as db:
            replace_segments(db, video_id, track, captions)
            db.execute(
                "UPDATE videos SET summary = :summary, chapters = :chapters WHERE video_id = :video_id",
                {"video_id": video_id, "summary": summary, "chapters": _chapters_json(chapters)},
            )
            if track.status in ("complete", "declined"):
                delete_caption_windows(db, video_id)
            elif window:
                write_caption_window(db, video_id, window)

    def remove(self, video_id: str) -> RemovedVideo:
        """Remove a video; see `Removals.remove`."""
        return self.removals.remove(video_id)

    def set_path(self, video_id: str, path: Path) -> None:
        """Set the path of a video file that was moved."""
        with self._database.transaction() as db:
            db.execute("UPDATE videos SET path = :path WHERE video_id = :video_id", {"path": str(path), "video_id": video_id})

    def videos(self) -> tuple[VideoEntry, ...]:
        """Return all videos in the order in which they were added. A video without tracks is not in the library yet."""
        with self._database.connection() as db:
            rows = db.execute(f"SELECT * FROM videos WHERE {IS_IN_LIBRARY} ORDER BY added_at, rowid").fetchall()
            tracks = tracks_of(db)
            return tuple(video_from(row, tracks.get(row["video_id"], ())) for row in rows)

    def known_ids(self, video_ids: Collection[str]) -> set[str]:
        """Return those ids whose videos are in the library."""
        with self._database.connection() as db:
            marks = ", ".join("?" * len(video_ids))
            query = f"SELECT video_id FROM videos WHERE {IS_IN_LIBRARY} AND video_id IN ({marks})"
            return {row["video_id"] for row in db.execute(query, tuple(video_ids))}

    def titles(self) -> dict[str, str]:
        """Return the titles of all videos by their ids."""
        with self._database.connection() as db:
            return dict(db.execute("SELECT video_id, title FROM videos WHERE removed_at = ''").fetchall())

    def names(self) -> tuple[VideoName, ...]:
        """Return the names of all videos in the order in which they were added, without what was found in them."""
        with self._database.connection() as db:
            rows = db.execute(f"SELECT video_id, title, path FROM videos WHERE {IS_IN_LIBRARY} ORDER BY added_at, rowid")
            return tuple(VideoName(video_id, title, Path(path)) for video_id, title, path in map(tuple, rows.fetchall()))

    def paths(self) -> dict[str, str]:
        """Return the paths of the files of all videos by their ids."""
        with self._database.connection() as db:
            return dict(map(tuple, db.execute(f"SELECT video_id, path FROM videos WHERE {IS_IN_LIBRARY}").fetchall()))

    def rename(self, video_id: str, title: str) -> VideoEntry:
        """Set the title of a video.

        Raises:
            UnknownVideo: it was removed meanwhile.
        """
        values = {"title": title, "sort_title": sort_title(title), "video_id": video_id}
        changes = "title = :title, sort_title = :sort_title"
        with self._database.transaction() as db:
            cursor = db.execute(f"UPDATE videos SET {changes} WHERE video_id = :video_id AND removed_at = ''", values)
            if not cursor.rowcount:
                raise UnknownVideo(f"There is no video {video_id!r} in the library; `longview list` shows all videos.")
        return self.pending_video(video_id)

    def mark(self) -> object:
        """Return a mark of the files, which is another one after each transaction of any process; see `Database.mark`."""
        return self._database.mark()

    def set_position(self, video_id: str, position_s: float) -> None:
        """Store the time at which somebody stopped watching a video, in seconds; 0 after its end.

        Nothing is stored if the video was removed meanwhile.
        """
        watched_at = datetime.now(UTC).isoformat(timespec="milliseconds")
        values = {"position_s": position_s, "watched_at": watched_at, "video_id": video_id}
        changes = "position_s = :position_s, watched_at = :watched_at"
        with self._database.transaction() as db:
            db.execute(f"UPDATE videos SET {changes} WHERE video_id = :video_id AND removed_at = ''", values)

    def caption_makers(self) -> frozenset[CaptionMaker]:
        """Return what has made the captions of all videos."""
        with self._database.connection() as db:
            rows = db.execute("SELECT DISTINCT checkpoint, profile, prompt_version FROM tracks WHERE source = 'captions'")
            return frozenset(CaptionMaker(*row) for row in map(tuple, rows.fetchall()))

    def listing(self, query: ListingQuery, cursor: str = "", *, limit: int) -> Listing:
        """Return a page of the videos that a query names; see `longview.indexing.sqlite.listing.read_listing`."""
        with self._database.connection() as db:
            rows, total, next_cursor = read_listing(db, query, cursor, limit)
            tracks = tracks_of_videos(db, [row["video_id"] for row in rows])
            entries = tuple(video_from(row, tracks.get(row["video_id"], ())) for row in rows)
            return Listing(entries, total, next_cursor)

    def video(self, reference: str) -> VideoEntry:
        """Return the video with this id, or the only one whose id has this prefix.

        Raises:
            UnknownVideo, AmbiguousVideo
        """
        prefix = reference.strip().lower()
        with self._database.connection() as db:
            # The range is one of the index. `~` comes after all characters of an id.
            rows = db.execute(
                f"SELECT * FROM videos WHERE {IS_IN_LIBRARY} AND video_id BETWEEN :prefix AND :prefix || '~' "
                "AND substr(video_id, 1, length(:prefix)) = :prefix LIMIT 3",
                {"prefix": prefix},
            ).fetchall()
            if not prefix or not rows:
                raise UnknownVideo(f"There is no video {reference!r} in the library; `longview list` shows all videos.")
            if len(rows) > 1:
                ids = ", ".join(row["video_id"] for row in rows)
                raise AmbiguousVideo(f"Several video ids begin with {reference!r}: {ids}; add more digits.")
            return video_from(rows[0], tracks_of(db, rows[0]["video_id"]).get(rows[0]["video_id"], ()))


def _chapters_json(chapters: Sequence[Event]) -> str:
    return json.dumps([[chapter.span.start_s, chapter.span.end_s, chapter.text] for chapter in chapters])


def video_from(row: sqlite3.Row, tracks: tuple[Track, ...]) -> VideoEntry:
    """Return the video of a row, with its tracks."""
    return VideoEntry(
        video_id=row["video_id"],
        content_hash=row["content_hash"],
        path=Path(row["path"]),
        title=row["title"],
        duration_s=row["duration_s"],
        facts=json.loads(row["facts"]),
        summary=row["summary"],
        chapters=chapters_from(row),
        added_at=row["added_at"],
        tracks=tracks,
        position_s=row["position_s"],
        watched_at=row["watched_at"],
    )
