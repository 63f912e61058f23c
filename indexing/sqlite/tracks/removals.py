"""Videos that were removed from a library: nothing finds them, and until a removal expires it can be undone.

The rows of a removed video stay as they are, but for its passages, without which nothing is searched: undoing the removal makes
them again. Indexing the same content again makes a removal final (`Library.put`).
"""

import stat
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from longview.indexing.errors import AmbiguousVideo, UnknownVideo
from longview.indexing.library_files import UPLOADS, delete_inside, files_of
from longview.indexing.sqlite.changes import delete_changes_of_gone_videos
from longview.indexing.sqlite.database.database import Database
from longview.indexing.sqlite.tracks.passage_rows import rebuild_passages

REMOVAL_KEPT_S = 24 * 3600.0
"""Time for which a removal can be undone, in seconds."""

_EXPIRED = "removed_at != '' AND julianday(removed_at) < julianday(:before)"
"""Condition on videos whose removal has expired. It is not true of a damaged time, so that nothing is deleted because of one."""


@dataclass(frozen=True)
class RemovedVideo:
    """A video whose removal can be undone."""

    video_id: str
    content_hash: str
    path: Path
    """The path of the video file, which may no longer exist."""
    title: str
    removed_at: str
    """ISO 8601, UTC."""

    @property
    def undo_until(self) -> str:
        """The time at which the removal expires, ISO 8601, UTC."""
        return (datetime.fromisoformat(self.removed_at) + timedelta(seconds=REMOVAL_KEPT_S)).isoformat(timespec="seconds")


class Removals:
    """The removed videos of one library. Safe to use from several threads and processes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def remove(self, video_id: str) -> RemovedVideo:
        """Remove a video, its tracks, also the earlier ones, and its conversation; the video file stays.

        Raises:
            UnknownVideo: there is no such video, or it was removed already.
        """
        # Several videos may be removed within a second.
        values = {"video_id": video_id, "now": datetime.now(UTC).isoformat(timespec="microseconds")}
        with self._database.transaction() as db:
            cursor = db.execute("UPDATE videos SET removed_at = :now WHERE video_id = :video_id AND removed_at = ''", values)
            if not cursor.rowcount:
                raise UnknownVideo(f"There is no video {video_id!r} in the library; `longview list` shows all videos.")
            db.execute("DELETE FROM passages WHERE video_id = :video_id", values)
            row = db.execute(f"SELECT {_COLUMNS} FROM videos WHERE video_id = :video_id", values).fetchone()
            return _removed_video(row)

    def undo(self, video_id: str) -> None:
        """Bring a removed video back, with all that was found in it.

        Raises:
            UnknownVideo: it is not among the removed videos, or it has expired.
        """
        with self._database.transaction() as db:
            values = {"video_id": video_id, "before": _expiry(datetime.now(UTC))}
            cursor = db.execute(
                f"UPDATE videos SET removed_at = '' WHERE video_id = :video_id AND removed_at != '' AND NOT ({_EXPIRED})", values
            )
            if not cursor.rowcount:
                raise _not_removed(video_id)
            for (source,) in map(tuple, db.execute("SELECT source FROM tracks WHERE video_id = :video_id", values).fetchall()):
                rebuild_passages(db, video_id, source)

    def videos(self, *, with_expired: bool = False) -> tuple[RemovedVideo, ...]:
        """Return the videos whose removal can be undone, the last removed first.

        `with_expired`: also those whose removal can no longer be undone, and that are not deleted yet.
        """
        with self._database.connection() as db:
            # A video that was removed before it had a track was not in the library.
            rows = db.execute(
                f"SELECT {_COLUMNS} FROM videos WHERE julianday(removed_at) IS NOT NULL "
                f"AND (:with_expired OR NOT ({_EXPIRED})) AND EXISTS "
                "(SELECT 1 FROM tracks WHERE tracks.video_id = videos.video_id) ORDER BY removed_at DESC, rowid DESC",
                {"before": _expiry(datetime.now(UTC)), "with_expired": with_expired},
            )
            return tuple(map(_removed_video, rows.fetchall()))

    def find(self, reference: str | None = None) -> RemovedVideo:
        """Return the removed video with this id, or the only one whose id has this prefix.

        None: the video that was removed last.

        Raises:
            UnknownVideo, AmbiguousVideo
        """
        videos = self.videos()
        if reference is None:
            if not videos:
                raise UnknownVideo("No video was removed in the last 24 hours, so there is nothing to undo.")
            return videos[0]
        prefix = reference.strip().lower()
        matches = [video for video in videos if prefix and video.video_id.startswith(prefix)]
        if len(matches) > 1:
            ids = ", ".join(video.video_id for video in matches)
            raise AmbiguousVideo(f"The ids of several removed videos begin with {reference!r}: {ids}; add more digits.")
        if not matches:
            raise _not_removed(reference)
        return matches[0]

    def delete_expired(self, uploads: Path, now: datetime) -> tuple[tuple[RemovedVideo, ...], int]:
        """Delete the videos whose removal has expired, and the library's own copies of their uploads.

        Return the videos, and the size of the copies in bytes.

        Raises:
            LibraryFull, LibraryReadOnly: the library cannot be written; what is left is deleted by the next call.
        """
        values = {"before": _expiry(now)}
        query = f"SELECT {_COLUMNS} FROM videos WHERE {_EXPIRED}"
        with self._database.connection() as db:
            # Most calls have nothing to delete, and need not wait for a writer.
            if db.execute(query, values).fetchone() is None:
                return (), 0
        freed_bytes = 0
        # Within the transaction, no other process can index the same content again or bring a video back.
        with self._database.transaction() as db:
            videos = tuple(map(_removed_video, db.execute(query, values).fetchall()))
            # Those that are deleted now are read by open pages first, and leave the table the next time.
            delete_changes_of_gone_videos(db)
            db.execute(f"DELETE FROM videos WHERE {_EXPIRED}", values)
            used_names = _used_uploads(db.execute(_USED_PATHS, {"video_id": ""}).fetchall())
            for path in (path for video in videos for path in files_of(uploads, video.video_id) if path.name not in used_names):
                with suppress(OSError):
                    freed_bytes += delete_inside(uploads.parent, path)
        return videos, freed_bytes

    def unused_uploads(self, uploads: Path, *, older_than_s: float) -> tuple[Path, ...]:
        """Return the library's own copies of uploads that no video and no job needs, and that were stored some time ago."""
        with self._database.connection() as db:
            used_names = _used_uploads(db.execute(_USED_PATHS, {"video_id": ""}).fetchall())
        before_s = datetime.now(UTC).timestamp() - older_than_s
        paths = sorted(uploads.iterdir()) if uploads.is_dir() else ()
        # The time of the last change of any kind: a moved file keeps the time at which it was written.
        return tuple(path for path in paths if path.name not in used_names and _is_stored_before(path, before_s))

    def is_upload_used(self, upload: Path) -> bool:
        """Whether a video, also a removed one, or a job that has not ended needs the library's own copy of an upload."""
        query = f"SELECT path FROM ({_USED_PATHS}) WHERE substr(path, -length(:name)) = :name"
        with self._database.connection() as db:
            rows = db.execute(query, {"video_id": "", "name": upload.name}).fetchall()
        return upload.name in _used_uploads(rows)

    def upload_bytes(self, uploads: Path, video_id: str) -> int:
        """Return the size of the library's own copies of an upload that no other video uses, in bytes."""
        with self._database.connection() as db:
            used_names = _used_uploads(db.execute(_USED_PATHS, {"video_id": video_id}).fetchall())
        return sum(path.stat().st_size for path in files_of(uploads, video_id) if path.name not in used_names)


_COLUMNS = "video_id, content_hash, path, title, removed_at"
_USED_PATHS = (
    "SELECT path FROM videos WHERE video_id != :video_id "
    "AND EXISTS (SELECT 1 FROM tracks WHERE tracks.video_id = videos.video_id) "
    "UNION SELECT path FROM jobs WHERE status NOT IN ('done', 'cancelled')"
)
"""The paths of all videos but one, and of the files that will be indexed or can be tried again. A row without a track is of a
file in which nothing was found, and that is not in the library."""


def _expiry(now: datetime) -> str:
    return (now - timedelta(seconds=REMOVAL_KEPT_S)).isoformat()


def _removed_video(row: tuple[str, ...]) -> RemovedVideo:
    video_id, content_hash, path, title, removed_at = row
    return RemovedVideo(video_id, content_hash, Path(path), title, removed_at)


def _not_removed(reference: str) -> UnknownVideo:
    return UnknownVideo(
        f"No video {reference!r} was removed in the last 24 hours; without a video, `longview remove --undo` brings back the one "
        "that was removed last."
    )


def _used_uploads(rows: list[tuple[str, ...]]) -> frozenset[str]:
    """Return the names of the uploads among paths. The folder may be written in several ways."""
    return frozenset(path.name for path in (Path(row[0]) for row in rows) if path.parent.name == UPLOADS)


def _is_stored_before(path: Path, time_s: float) -> bool:
    try:
        status = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and max(status.st_ctime, status.st_mtime) < time_s
