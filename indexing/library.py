"""The library: one SQLite database in WAL mode, so that several processes may use it at once.

A video and its captions are written in one transaction. Video files are referenced by path.
"""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from longview.indexing.errors import AmbiguousVideo, LibraryUnusable, UnknownVideo
from longview.indexing.schema import MIGRATIONS, statements
from longview.video.timeline import Event, Span

DATABASE = "library.db"
LOCK = "library.lock"
"""Lock file for the creation and the migration of a library."""
ID_DIGITS = 12
"""Number of hexadecimal digits of the content hash in a video id: 48 bits, one accidental collision in 10^7 at 7,500 videos."""
LOCK_TIMEOUT_S = 30.0
"""Maximum time that a writer waits for another process's transaction, in seconds."""


@dataclass(frozen=True)
class Provenance:
    """The checkpoint, the prompts and the plan that produced a result."""

    checkpoint: str
    """Name and fingerprint."""
    prompt_version: str
    plan: dict[str, Any]
    """The sampling plan in numbers."""


@dataclass(frozen=True)
class VideoEntry:
    """A video of the library."""

    video_id: str
    content_hash: str
    path: Path
    """The path of the video file, which may no longer exist."""
    title: str
    duration_s: float
    span: Span
    """The part that was indexed."""
    provenance: Provenance
    facts: dict[str, Any] = field(default_factory=dict)
    """Width, height, codec, container and the like, for display."""
    incomplete: tuple[Span, ...] = ()
    """Spans in which the captions may be incomplete."""
    summary: str = ""
    """A summary of the whole video."""
    chapters: tuple[Event, ...] = ()
    """Chapters in order, without gaps; their texts are titles."""
    added_at: str = ""
    """ISO 8601, UTC."""
    indexed_at: str = ""
    seconds_spent: float = 0.0
    caption_count: int = 0


@dataclass(frozen=True)
class Caption:
    """A caption of the library."""

    caption_id: int
    """An id that is never used for another text."""
    video_id: str
    event: Event
    source: str
    """Source of the text: `caption`."""


@dataclass(frozen=True)
class AnsweredQuestion:
    """A question about a video and its answer."""

    question: str
    answer: str
    citations: tuple[Span, ...]
    provenance: Provenance


class Library:
    """A library folder. Safe to use from several threads and processes."""

    def __init__(self, folder: Path) -> None:
        """Open the library, creating or upgrading it where needed.

        Raises:
            LibraryUnusable: the folder cannot be written, or the database is damaged or of a newer version.
        """
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # SQLite does not wait while it switches WAL on: of two processes that create a library, one would fail.
            with FileLock(folder / LOCK, timeout=LOCK_TIMEOUT_S):
                self._prepare()
        except OSError as error:
            reason = error.strerror or "another process holds its lock"
            raise LibraryUnusable(f"The library folder {folder} cannot be written: {reason}.") from error

    def _prepare(self) -> None:
        with self._connection() as db:
            db.execute("PRAGMA journal_mode = WAL")
        with self._transaction() as db:
            version = int(db.execute("PRAGMA user_version").fetchone()[0])
            if version > len(MIGRATIONS):
                raise LibraryUnusable(
                    f"The library in {self.folder} was written by a newer version of Longview; update Longview."
                )
            for script in MIGRATIONS[version:]:
                for statement in statements(script):
                    db.execute(statement)
            if version < len(MIGRATIONS):
                db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Provide a connection in a write transaction, which is committed, or rolled back on any error."""
        with self._connection() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                # A full disk makes SQLite roll back by itself.
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        path = self.folder / DATABASE
        try:
            db = sqlite3.connect(path, timeout=LOCK_TIMEOUT_S, isolation_level=None)
            try:
                db.row_factory = sqlite3.Row
                db.execute("PRAGMA foreign_keys = ON")
                yield db
            finally:
                db.close()
        except sqlite3.Error as error:
            full = "full" in str(error)
            raise LibraryUnusable(f"The library {path} cannot be used: {'the disk is full' if full else error}.") from error

    def put(self, entry: VideoEntry, events: Sequence[Event], *, source: str = "caption") -> VideoEntry:
        """Write a video and its captions in one transaction; replace its captions of the same source."""
        now = _now()
        with self._transaction() as db:
            old = db.execute("SELECT added_at FROM videos WHERE video_id = ?", (entry.video_id,)).fetchone()
            db.execute(
                "DELETE FROM captions WHERE video_id = :video_id AND source = :source",
                {"video_id": entry.video_id, "source": source},
            )
            values = {
                "video_id": entry.video_id,
                "content_hash": entry.content_hash,
                "path": str(entry.path),
                "title": entry.title,
                "duration_s": entry.duration_s,
                "facts": json.dumps(entry.facts),
                "start_s": entry.span.start_s,
                "end_s": entry.span.end_s,
                "checkpoint": entry.provenance.checkpoint,
                "prompt_version": entry.provenance.prompt_version,
                "plan": json.dumps(entry.provenance.plan),
                "incomplete": json.dumps([[span.start_s, span.end_s] for span in entry.incomplete]),
                "added_at": old["added_at"] if old else now,
                "indexed_at": now,
                "seconds_spent": entry.seconds_spent,
                "summary": entry.summary,
                "chapters": json.dumps([[chapter.span.start_s, chapter.span.end_s, chapter.text] for chapter in entry.chapters]),
            }
            changes = ", ".join(f"{name} = excluded.{name}" for name in values if name not in ("video_id", "content_hash"))
            db.execute(f"{_insertion('videos', values)} ON CONFLICT (video_id) DO UPDATE SET {changes}", values)
            rows = [
                {
                    "video_id": entry.video_id,
                    "start_s": event.span.start_s,
                    "end_s": event.span.end_s,
                    "text": event.text,
                    "source": source,
                }
                for event in events
            ]
            db.executemany(
                "INSERT INTO captions (video_id, start_s, end_s, text, source) "
                "VALUES (:video_id, :start_s, :end_s, :text, :source)",
                rows,
            )
        return self.video(entry.video_id)

    def remove(self, video_id: str) -> None:
        """Delete a video, its captions and its conversation; the video file stays."""
        with self._transaction() as db:
            db.execute("DELETE FROM captions WHERE video_id = ?", (video_id,))
            db.execute("DELETE FROM videos WHERE video_id = ?", (video_id,))

    def set_path(self, video_id: str, path: Path) -> None:
        """Set the path of a video file that was moved."""
        with self._transaction() as db:
            db.execute("UPDATE videos SET path = :path WHERE video_id = :video_id", {"path": str(path), "video_id": video_id})

    def videos(self) -> tuple[VideoEntry, ...]:
        """Return all videos in the order in which they were added."""
        with self._connection() as db:
            return tuple(_entry(row) for row in db.execute(f"{_SELECT_VIDEOS} ORDER BY added_at, rowid"))

    def video(self, reference: str) -> VideoEntry:
        """Return the video with this id, or the only one whose id has this prefix.

        Raises:
            UnknownVideo, AmbiguousVideo
        """
        prefix = reference.strip().lower()
        with self._connection() as db:
            rows = db.execute(
                f"{_SELECT_VIDEOS} WHERE substr(video_id, 1, length(:prefix)) = :prefix LIMIT 3", {"prefix": prefix}
            ).fetchall()
        if not prefix or not rows:
            raise UnknownVideo(f"There is no video {reference!r} in the library; `longview list` shows all videos.")
        if len(rows) > 1:
            raise AmbiguousVideo(
                f"Several video ids begin with {reference!r}: {', '.join(row['video_id'] for row in rows)}; add more digits."
            )
        return _entry(rows[0])

    def captions(self, video_id: str) -> tuple[Caption, ...]:
        """Return a video's captions in order of time."""
        with self._connection() as db:
            rows = db.execute("SELECT * FROM captions WHERE video_id = ? ORDER BY start_s, end_s, caption_id", (video_id,))
            return tuple(_caption(row) for row in rows)

    def captions_by_id(self, caption_ids: Sequence[int]) -> dict[int, Caption]:
        """Return the captions with these ids, as far as they exist."""
        with self._connection() as db:
            rows = db.execute(
                "SELECT * FROM captions WHERE caption_id IN (SELECT value FROM json_each(?))", (json.dumps(list(caption_ids)),)
            )
            return {row["caption_id"]: _caption(row) for row in rows}

    def caption_ids(self, video_id: str | None = None) -> frozenset[int]:
        """Return the ids of all captions, or of the captions of one video."""
        with self._connection() as db:
            rows = db.execute(
                "SELECT caption_id FROM captions WHERE :video_id IS NULL OR video_id = :video_id", {"video_id": video_id}
            )
            return frozenset(row[0] for row in rows)

    def revision(self) -> int:
        """Return a number that changes whenever a caption changes."""
        with self._connection() as db:
            return int(db.execute("SELECT number FROM revision").fetchone()[0])

    def match_words(
        self, words: Sequence[str], *, limit: int, video_id: str | None = None, require_all: bool = False
    ) -> tuple[int, ...]:
        """Return the ids of captions that have any of the words in any inflection (`require_all`: all of them), best first by
        BM25."""
        if not words:
            return ()
        query = (" AND " if require_all else " OR ").join('"' + word.replace('"', '""') + '"' for word in words)
        with self._connection() as db:
            rows = db.execute(
                "SELECT words.rowid FROM words JOIN captions ON caption_id = words.rowid "
                "WHERE words MATCH :query AND (:video_id IS NULL OR video_id = :video_id) ORDER BY rank LIMIT :limit",
                {"query": query, "video_id": video_id, "limit": limit},
            )
            return tuple(row[0] for row in rows)

    def filter_containing(self, word: str, caption_ids: Sequence[int]) -> frozenset[int]:
        """Return which of these captions have the word in any inflection."""
        with self._connection() as db:
            rows = db.execute(
                "SELECT rowid FROM words WHERE words MATCH :word AND rowid IN (SELECT value FROM json_each(:caption_ids))",
                {"word": '"' + word.replace('"', '""') + '"', "caption_ids": json.dumps(list(caption_ids))},
            )
            return frozenset(row[0] for row in rows)

    def add_answer(self, video_id: str, answer: AnsweredQuestion) -> None:
        """Store a question and its answer, unless the video was removed meanwhile."""
        provenance = answer.provenance
        values = {
            "video_id": video_id,
            "question": answer.question,
            "answer": answer.answer,
            "citations": json.dumps([[span.start_s, span.end_s] for span in answer.citations]),
            "checkpoint": provenance.checkpoint,
            "prompt_version": provenance.prompt_version,
            "plan": json.dumps(provenance.plan),
            "asked_at": _now(),
        }
        with self._transaction() as db:
            if db.execute("SELECT 1 FROM videos WHERE video_id = ?", (video_id,)).fetchone():
                db.execute(_insertion("answers", values), values)

    def delete_answers(self, video_id: str) -> None:
        """Delete the conversation about a video."""
        with self._transaction() as db:
            db.execute("DELETE FROM answers WHERE video_id = ?", (video_id,))

    def answers(self, video_id: str, *, limit: int = 50) -> tuple[AnsweredQuestion, ...]:
        """Return the latest questions about a video and their answers, oldest first."""
        with self._connection() as db:
            rows = db.execute(
                "SELECT * FROM answers WHERE video_id = :video_id ORDER BY answer_id DESC LIMIT :limit",
                {"video_id": video_id, "limit": limit},
            ).fetchall()
        return tuple(
            AnsweredQuestion(
                row["question"],
                row["answer"],
                tuple(Span(*bounds) for bounds in json.loads(row["citations"])),
                Provenance(row["checkpoint"], row["prompt_version"], json.loads(row["plan"])),
            )
            for row in reversed(rows)
        )

    def known_hash(self, path: Path, size_bytes: int, modified_ns: int) -> str | None:
        """Return the content hash of a file that was hashed before and has not changed; else None."""
        with self._connection() as db:
            row = db.execute(
                "SELECT content_hash FROM known_files "
                "WHERE path = :path AND size_bytes = :size_bytes AND modified_ns = :modified_ns",
                {"path": str(path), "size_bytes": size_bytes, "modified_ns": modified_ns},
            ).fetchone()
            return row[0] if row else None

    def remember_hash(self, path: Path, size_bytes: int, modified_ns: int, content_hash: str) -> None:
        """Store a file's content hash, so that it need not be read again."""
        with self._transaction() as db:
            db.execute(
                "INSERT OR REPLACE INTO known_files (path, size_bytes, modified_ns, content_hash) "
                "VALUES (:path, :size_bytes, :modified_ns, :content_hash)",
                {"path": str(path), "size_bytes": size_bytes, "modified_ns": modified_ns, "content_hash": content_hash},
            )


_SELECT_VIDEOS = (
    "SELECT *, (SELECT count(*) FROM captions WHERE captions.video_id = videos.video_id) AS caption_count FROM videos"
)


def _insertion(table: str, values: dict[str, Any]) -> str:
    """Return the statement that inserts a row of named values."""
    return f"INSERT INTO {table} ({', '.join(values)}) VALUES ({', '.join(f':{name}' for name in values)})"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _entry(row: sqlite3.Row) -> VideoEntry:
    return VideoEntry(
        video_id=row["video_id"],
        content_hash=row["content_hash"],
        path=Path(row["path"]),
        title=row["title"],
        duration_s=row["duration_s"],
        span=Span(row["start_s"], row["end_s"]),
        provenance=Provenance(row["checkpoint"], row["prompt_version"], json.loads(row["plan"])),
        facts=json.loads(row["facts"]),
        incomplete=tuple(Span(*bounds) for bounds in json.loads(row["incomplete"])),
        summary=row["summary"],
        chapters=tuple(Event(Span(start_s, end_s), title) for start_s, end_s, title in json.loads(row["chapters"])),
        added_at=row["added_at"],
        indexed_at=row["indexed_at"],
        seconds_spent=row["seconds_spent"],
        caption_count=row["caption_count"],
    )


def _caption(row: sqlite3.Row) -> Caption:
    return Caption(row["caption_id"], row["video_id"], Event(Span(row["start_s"], row["end_s"]), row["text"]), row["source"])
