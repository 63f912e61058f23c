"""Conversations: questions about videos and their answers. One that was cleared can be brought back until that expires."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from longview.core.timeline import Span
from longview.indexing.errors import NothingCleared
from longview.indexing.records.video import AnsweredQuestion
from longview.indexing.sqlite.database.database import Database
from longview.indexing.sqlite.database.rows import insertion, now
from longview.indexing.sqlite.tracks.rows import IS_NOT_REMOVED, provenance_columns, provenance_from

CLEARED_KEPT_S = 24 * 3600.0
"""Time for which a cleared conversation can be brought back, in seconds; as long as a removed video."""
IS_NOT_CLEARED = "cleared_at = ''"
"""Condition on the answers of a conversation as it is now."""

_EXPIRED = "cleared_at != '' AND julianday(cleared_at) < julianday(:before)"
"""Condition on answers that were cleared too long ago. It is not true of a damaged time, so that nothing is deleted for one."""


class Conversations:
    """The conversations of one library. Safe to use from several threads and processes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, video_id: str, answer: AnsweredQuestion, *, raise_if_cancelled: Callable[[], None] = lambda: None) -> None:
        """Store a question and its answer, unless the video was removed meanwhile.

        `raise_if_cancelled`: called when no other process can write any more. Who cancels an answer before the conversation is
        cleared can thus rely on it that the answer is not stored after that.
        """
        values = {
            "video_id": video_id,
            "question": answer.question,
            "answer": answer.answer,
            "citations": json.dumps([[span.start_s, span.end_s] for span in answer.citations]),
            **provenance_columns(answer.provenance),
            "asked_at": now(),
        }
        with self._database.transaction() as db:
            raise_if_cancelled()
            if db.execute("SELECT 1 FROM videos WHERE video_id = ? AND removed_at = ''", (video_id,)).fetchone():
                db.execute(insertion("answers", values), values)

    def count(self, video_id: str) -> int:
        """Return the number of questions about a video that have an answer."""
        with self._database.connection() as db:
            query = f"SELECT count(*) FROM answers WHERE video_id = :video_id AND {IS_NOT_REMOVED} AND {IS_NOT_CLEARED}"
            return int(db.execute(query, {"video_id": video_id}).fetchone()[0])

    def answers(self, video_id: str, *, limit: int = 50) -> tuple[AnsweredQuestion, ...]:
        """Return the latest questions about a video and their answers, oldest first."""
        with self._database.connection() as db:
            rows = db.execute(
                f"SELECT * FROM answers WHERE video_id = :video_id AND {IS_NOT_REMOVED} AND {IS_NOT_CLEARED} "
                "ORDER BY answer_id DESC LIMIT :limit",
                {"video_id": video_id, "limit": limit},
            ).fetchall()
            return tuple(
                AnsweredQuestion(
                    row["question"],
                    row["answer"],
                    tuple(Span(*bounds) for bounds in json.loads(row["citations"])),
                    provenance_from(row),
                )
                for row in reversed(rows)
            )

    def clear(self, video_id: str) -> None:
        """Clear the conversation about a video; what was cleared before can still be brought back, too."""
        values = {"video_id": video_id, "now": datetime.now(UTC).isoformat(timespec="microseconds")}
        # A page that is still open does not clear the conversation about a video that may come back.
        condition = f"video_id = :video_id AND {IS_NOT_REMOVED}"
        with self._database.transaction() as db:
            db.execute(f"UPDATE answers SET cleared_at = :now WHERE {condition} AND {IS_NOT_CLEARED}", values)

    def cleared_count(self, video_id: str) -> int:
        """Return the number of questions about a video that `undo` brings back."""
        values = {"video_id": video_id, "before": _expiry(datetime.now(UTC))}
        query = f"SELECT count(*) FROM answers WHERE video_id = :video_id AND {IS_NOT_REMOVED} AND {_IS_LATEST}"
        with self._database.connection() as db:
            return int(db.execute(query, values).fetchone()[0])

    def undo(self, video_id: str) -> None:
        """Bring the questions and answers about a video back that were cleared last, before those that were asked since.

        Raises:
            NothingCleared: there are none, or they were cleared longer than a day ago.
        """
        values = {"video_id": video_id, "before": _expiry(datetime.now(UTC))}
        with self._database.transaction() as db:
            cursor = db.execute(
                f"UPDATE answers SET cleared_at = '' WHERE video_id = :video_id AND {IS_NOT_REMOVED} AND {_IS_LATEST}", values
            )
            if not cursor.rowcount:
                raise NothingCleared("Nothing about this video was cleared in the last 24 hours, so nothing can be undone.")

    def delete_expired(self, time: datetime) -> None:
        """Delete what was cleared too long ago.

        Raises:
            LibraryFull, LibraryReadOnly: the library cannot be written.
        """
        values = {"before": _expiry(time)}
        with self._database.connection() as db:
            # Most calls have nothing to delete, and need not wait for a writer.
            if db.execute(f"SELECT 1 FROM answers WHERE {_EXPIRED}", values).fetchone() is None:
                return
        with self._database.transaction() as db:
            db.execute(f"DELETE FROM answers WHERE {_EXPIRED}", values)


_IS_KEPT = f"NOT ({IS_NOT_CLEARED}) AND julianday(cleared_at) IS NOT NULL AND NOT ({_EXPIRED})"
_IS_LATEST = f"{_IS_KEPT} AND cleared_at = (SELECT max(cleared_at) FROM answers WHERE video_id = :video_id AND {_IS_KEPT})"
"""Condition on the answers of a video that were cleared last."""


def _expiry(time: datetime) -> str:
    return (time - timedelta(seconds=CLEARED_KEPT_S)).isoformat()
