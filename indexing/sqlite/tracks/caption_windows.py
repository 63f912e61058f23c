"""Finished caption windows of runs that are not complete, as rows of the library. The next run with the same settings needs them.

What a row says is data from disk: whoever reads it checks it.
"""

import sqlite3
from contextlib import suppress
from dataclasses import dataclass

from longview.indexing.sqlite.database.database import Database
from longview.indexing.sqlite.database.rows import insertion
from longview.indexing.sqlite.tracks.rows import require_video


@dataclass(frozen=True)
class CaptionWindowRow:
    """A caption window that is finished."""

    position: int
    """Position of the window in the plan of its run, from 0."""
    run: str
    """Settings and plan of the run, as JSON. Only windows with the same text belong together."""
    content: str
    """Captions and coverage of the window, as JSON."""


class CaptionWindows:
    """The finished caption windows of one library. Safe to use from several threads and processes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def rows(self, video_id: str) -> tuple[CaptionWindowRow, ...]:
        """Return the finished windows of a video in order of their positions, without those whose text is damaged."""
        windows = []
        with self._database.connection() as db:
            # As bytes, because SQLite would not read any row after one that is not UTF-8.
            rows = db.execute(
                "SELECT position, CAST(run AS BLOB), CAST(content AS BLOB) FROM caption_windows WHERE video_id = ? "
                "ORDER BY position",
                (video_id,),
            )
            for position, run, content in rows:
                with suppress(UnicodeDecodeError):
                    windows.append(CaptionWindowRow(position, run.decode(), content.decode()))
        return tuple(windows)

    def put(self, video_id: str, row: CaptionWindowRow) -> None:
        """Write a finished window.

        Raises:
            UnknownVideo: the video was removed meanwhile.
        """
        with self._database.transaction() as db:
            require_video(db, video_id)
            write_caption_window(db, video_id, row)

    def delete(self, video_id: str, *, except_run: str = "") -> None:
        """Delete the windows of a video, but not those of the run `except_run`."""
        with self._database.transaction() as db:
            delete_caption_windows(db, video_id, except_run=except_run)


def write_caption_window(db: sqlite3.Connection, video_id: str, row: CaptionWindowRow) -> None:
    """Write a finished window within a transaction."""
    values = {"video_id": video_id, "position": row.position, "run": row.run, "content": row.content}
    db.execute(insertion("caption_windows", values).replace("INSERT", "INSERT OR REPLACE", 1), values)


def delete_caption_windows(db: sqlite3.Connection, video_id: str, *, except_run: str = "") -> None:
    """Delete the windows of a video, but not those of the run `except_run`, within a transaction."""
    db.execute("DELETE FROM caption_windows WHERE video_id = ? AND run != ?", (video_id, except_run))
