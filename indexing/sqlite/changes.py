"""What has changed in a library, from any process: triggers of the database number the last change of each video."""

import sqlite3

from longview.indexing.records.changes import LibraryChanges, Revision
from longview.indexing.sqlite.database.database import Database


class Changes:
    """The changes of one library. Safe to use from several threads and processes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def revision(self) -> Revision:
        """Return the present state of the library."""
        file_number = self._database.file_number()
        with self._database.connection() as db:
            return Revision(file_number, int(db.execute("SELECT coalesce(max(number), 0) FROM changes").fetchone()[0]))

    def since(self, revision: Revision) -> LibraryChanges | None:
        """Return what has changed since a revision; None if it is not known, because another database has replaced that one."""
        file_number = self._database.file_number()
        if file_number != revision.file_number:
            return None
        with self._database.connection() as db:
            query = "SELECT number, video_id, kind FROM changes WHERE number > ? ORDER BY number"
            rows = list(map(tuple, db.execute(query, (revision.number,)).fetchall()))
        ids = {kind: frozenset(row[1] for row in rows if row[2] == kind) for kind in ("video", "position", "conversation")}
        last = Revision(file_number, rows[-1][0] if rows else revision.number)
        return LibraryChanges(last, ids["video"], ids["position"], ids["conversation"])

    def of_video(self, video_id: str) -> Revision:
        """Return the state of the library after the last change of a video and of what was found in it."""
        file_number = self._database.file_number()
        with self._database.connection() as db:
            query = "SELECT number FROM changes WHERE video_id = ? AND kind = 'video'"
            row = db.execute(query, (video_id,)).fetchone()
            return Revision(file_number, int(row[0]) if row else 0)


def delete_changes_of_gone_videos(db: sqlite3.Connection) -> None:
    """Delete the numbers of videos that were deleted, within a transaction. The table would grow with each of them."""
    db.execute("DELETE FROM changes WHERE video_id NOT IN (SELECT video_id FROM videos)")
