"""The queue of files to index, as rows of the library's database, so that it survives the end of any process.

A job is run by the process that owns it. The lease of the owner ends with its process: whoever looks at the queue next finds out
that it is gone, and the job waits again. On another machine, which cannot be asked, a lease ends some time after its last report.
"""

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from longview.indexing.database import Database
from longview.indexing.errors import UnknownJob
from longview.indexing.processes import is_on_this_machine, is_running
from longview.indexing.track import ID_DIGITS
from longview.indexing.track_rows import insertion, now

JobStatus = Literal["waiting", "running", "paused", "failed", "done", "cancelled"]
"""`waiting`: for its turn; `paused`: until somebody resumes it; `failed`: its reason says why, and it can be tried again."""
Request = Literal["", "pause", "cancel"]
"""What somebody has asked of the process that runs a job."""
UNFINISHED = ("waiting", "running", "paused")
"""States of jobs that have not ended."""
PERSON, BATCH = 10, 0
"""Priorities: of a file that a person waits for, and of a file that was found in a folder."""
LEASE_S = 120.0
"""Time after the last report of a job at which a process on another machine is taken for gone, in seconds."""


@dataclass(frozen=True)
class QueuedJob:
    """One file that is to be indexed, is being indexed, or was."""

    job_id: int
    path: Path
    content_hash: str
    """Hash of the file's content; empty until the file was read."""
    title: str
    options: Mapping[str, Any]
    """What is indexed of it, and how: the fields of `IndexOptions` that are not the default."""
    settings: Mapping[str, Any]
    """Settings that change the result and are not the default: only a process that has the same ones runs the job unasked."""
    priority: int
    status: JobStatus
    request: Request
    owner: str
    """Name of the process that runs it, or that will run it and no other; empty for any."""
    stage: str
    fraction: float
    """The completed fraction, 0 to 1."""
    seconds_left: float | None
    """Estimated remaining time, in seconds; None if it is unknown."""
    partial_results: int
    """Number of partial results so far, such as windows of captions."""
    reason: str
    """A sentence for people: why it failed or waits, or what came of it."""
    error_code: str
    attempts: int
    """Number of times that it was begun."""
    added_at: str
    changed_at: str
    """ISO 8601, UTC."""

    @property
    def video_id(self) -> str | None:
        """The id of the video, which is in the library once something was found; None until the file was read."""
        return self.content_hash[:ID_DIGITS] or None

    @property
    def is_unfinished(self) -> bool:
        """Whether it waits, runs or is paused."""
        return self.status in UNFINISHED


class JobQueue:
    """The queue of one library. Safe to use from several threads and processes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # -- reading -------------------------------------------------------------------------------------------------------

    def jobs(self) -> tuple[QueuedJob, ...]:
        """Return all jobs: the running ones, then the others that are unfinished in the order in which they will run, then those
        that have ended, latest first."""
        with self._database.connection() as db:
            rows = db.execute("SELECT * FROM jobs ORDER BY priority DESC, position").fetchall()
        found = [_job_from(row) for row in rows]
        lost = {job.job_id: status for job, status in _lost(found)}
        jobs = [replace(job, status=lost[job.job_id], request="") if job.job_id in lost else job for job in found]
        ended = sorted((job for job in jobs if not job.is_unfinished), key=lambda job: job.changed_at, reverse=True)
        running = [job for job in jobs if job.status == "running"]
        return (*running, *(job for job in jobs if job.is_unfinished and job.status != "running"), *ended)

    def job(self, job_id: int) -> QueuedJob:
        """Return the job with this number.

        Raises:
            UnknownJob: there is none.
        """
        with self._database.connection() as db:
            return _job(db, job_id)

    # -- adding and changing -------------------------------------------------------------------------------------------

    def add(
        self,
        path: Path,
        *,
        title: str,
        options: Mapping[str, Any],
        settings: Mapping[str, Any],
        priority: int,
        content_hash: str = "",
        owner: str = "",
    ) -> QueuedJob:
        """Add a file, or return the job that does the same and has not succeeded yet, which waits again.

        `owner`: the process that will run it; empty for any. A job that runs elsewhere stays there.
        """
        with self._database.transaction() as db:
            _release_lost(db)
            rows = db.execute(
                "SELECT * FROM jobs WHERE status IN ('waiting', 'running', 'paused', 'failed') "
                "AND (path = :path OR (:hash != '' AND content_hash = :hash))",
                {"path": str(path), "hash": content_hash},
            ).fetchall()
            request = (dict(options), dict(settings))
            known = next((job for job in map(_job_from, rows) if (dict(job.options), dict(job.settings)) == request), None)
            if known is None:
                last = db.execute("SELECT coalesce(max(position), 0) FROM jobs").fetchone()[0]
                values = {
                    "path": str(path),
                    "content_hash": content_hash,
                    "title": title,
                    "options": json.dumps(options),
                    "settings": json.dumps(settings),
                    "priority": priority,
                    "position": last + 1.0,
                    "status": "waiting",
                    "request": "",
                    "owner": owner,
                    "stage": "",
                    "fraction": 0.0,
                    "seconds_left": None,
                    "partial_results": 0,
                    "reason": "",
                    "error_code": "",
                    "attempts": 0,
                    "added_at": now(),
                    "changed_at": now(),
                }
                return _job(db, db.execute(insertion("jobs", values), values).lastrowid or 0)
            changes: dict[str, Any] = {"priority": max(priority, known.priority)}
            if known.status != "running":
                changes |= {"status": "waiting", "request": "", "owner": owner or known.owner, "path": str(path)}
            return _change(db, known.job_id, **changes)

    def cancel(self, job_id: int) -> QueuedJob:
        """Cancel a job: one that runs ends at its next chunk or token. What it has committed stays.

        Raises:
            UnknownJob: there is no such job.
        """
        with self._database.transaction() as db:
            _release_lost(db)
            job = _job(db, job_id)
            if job.status == "running":
                return _change(db, job_id, request="cancel")
            return _change(db, job_id, status="cancelled", request="", owner="", reason="") if job.status != "done" else job

    def pause(self, job_id: int, reason: str = "") -> QueuedJob:
        """Pause a job until it is resumed: one that runs ends at its next chunk or token, and goes on there later.

        Raises:
            UnknownJob: there is no such job.
        """
        with self._database.transaction() as db:
            _release_lost(db)
            return _pause(db, _job(db, job_id), reason)

    def pause_all(self, *, owner: str, reason: str, with_unowned: bool = False) -> int:
        """Pause the unfinished jobs of a process; return their number. `with_unowned`: and all that wait for any process."""
        with self._database.transaction() as db:
            rows = db.execute("SELECT * FROM jobs WHERE status IN ('waiting', 'running')").fetchall()
            jobs = [job for job in map(_job_from, rows) if job.owner == owner or (with_unowned and not job.owner)]
            for job in jobs:
                _pause(db, job, reason)
            return len(jobs)

    def retry(self, job_id: int) -> QueuedJob:
        """Let a job wait for its turn again that is paused, has failed or was cancelled; its reason is kept until it ends again.

        Raises:
            UnknownJob: there is no such job.
        """
        with self._database.transaction() as db:
            _release_lost(db)
            job = _job(db, job_id)
            if job.status in ("paused", "failed", "cancelled"):
                return _change(db, job_id, status="waiting", request="", owner="")
            # It was paused or cancelled a moment ago, and its process has not noticed yet.
            return _change(db, job_id, request="") if job.request else job

    def move_first(self, job_id: int) -> QueuedJob:
        """Let an unfinished job run before all others that wait.

        Raises:
            UnknownJob: there is no such job.
        """
        with self._database.transaction() as db:
            _job(db, job_id)
            row = db.execute(
                "SELECT coalesce(max(priority), 0), coalesce(min(position), 1) FROM jobs "
                "WHERE status IN ('waiting', 'running', 'paused')"
            ).fetchone()
            return _change(db, job_id, priority=row[0], position=row[1] - 1.0)

    def delete_ended(self, *, older_than_s: float) -> int:
        """Delete the jobs that ended some time ago; return their number."""
        before = (datetime.now(UTC) - timedelta(seconds=older_than_s)).isoformat(timespec="seconds")
        with self._database.transaction() as db:
            cursor = db.execute("DELETE FROM jobs WHERE status IN ('failed', 'done', 'cancelled') AND changed_at < ?", (before,))
            return cursor.rowcount

    # -- running -------------------------------------------------------------------------------------------------------

    def claim_next(
        self, owner: str, settings: Mapping[str, Any], *, accepts: Callable[[QueuedJob], bool] = lambda _: True
    ) -> QueuedJob | None:
        """Take the next job that waits for any process; None if there is none.

        `settings`: those of this process. A job with settings of its own is taken only if they are the same. `accepts`: whether
        this process runs a job at all.
        """
        with self._database.connection() as db:
            # Without a job, nothing is locked.
            if db.execute("SELECT 1 FROM jobs WHERE status IN ('waiting', 'running') LIMIT 1").fetchone() is None:
                return None
        with self._database.transaction() as db:
            _release_lost(db)
            rows = db.execute(
                "SELECT * FROM jobs WHERE status = 'waiting' AND owner = '' AND (content_hash = '' OR content_hash NOT IN "
                "(SELECT content_hash FROM jobs WHERE status = 'running')) ORDER BY priority DESC, position"
            )
            suitable = (job for job in map(_job_from, rows) if not job.settings or dict(job.settings) == dict(settings))
            job = next(filter(accepts, suitable), None)
            return _begin(db, job, owner) if job else None

    def claim(self, job_id: int, owner: str) -> QueuedJob:
        """Take a job that waits for this or any process, unless its content is being indexed; return it as it is then.

        Raises:
            UnknownJob: there is no such job.
        """
        with self._database.transaction() as db:
            _release_lost(db)
            job = _job(db, job_id)
            is_free = job.status == "waiting" and job.owner in ("", owner)
            return _begin(db, job, owner) if is_free and not _is_busy(db, job.content_hash) else job

    def identify(self, job_id: int, content_hash: str) -> bool:
        """Store the content hash of a running job. If another job is indexing the same content, the job waits again; return
        whether it may go on."""
        with self._database.transaction() as db:
            is_busy = _is_busy(db, content_hash, besides=job_id)
            _change(db, job_id, content_hash=content_hash, **({"status": "waiting"} if is_busy else {}))
            return not is_busy

    def report(
        self, job_id: int, owner: str, *, stage: str, fraction: float, seconds_left: float | None, partial_results: int
    ) -> Request:
        """Store how far a running job has come, which renews its lease; return what was asked of it meanwhile.

        A job that another process has taken, or that was deleted, is to be cancelled.
        """
        with self._database.transaction() as db:
            request = _request(db, job_id, owner)
            changes = {"stage": stage, "fraction": fraction, "seconds_left": seconds_left, "partial_results": partial_results}
            if not request and _job(db, job_id).status == "running":
                _change(db, job_id, **changes)
            return request

    def request(self, job_id: int, owner: str) -> Request:
        """Return what was asked of a job of this process, without writing."""
        with self._database.connection() as db:
            return _request(db, job_id, owner)

    def end(self, job_id: int, owner: str, status: JobStatus, *, reason: str = "", error_code: str = "") -> None:
        """Store that a job of this process has ended, is paused, or waits again."""
        with self._database.transaction() as db:
            row = db.execute("SELECT owner FROM jobs WHERE job_id = ?", (job_id,)).fetchone()
            if row is not None and row["owner"] == owner:
                fraction = {"fraction": 1.0} if status == "done" else {}
                _change(
                    db, job_id, status=status, request="", owner="", reason=reason, error_code=error_code, seconds_left=None,
                    stage="", **fraction,
                )  # fmt: skip


def _release_lost(db: sqlite3.Connection) -> None:
    """Let the jobs of processes that are gone wait for any process. One that was to be paused or cancelled is."""
    rows = db.execute("SELECT * FROM jobs WHERE owner != '' AND status IN ('waiting', 'running')").fetchall()
    for job, status in _lost(map(_job_from, rows)):
        _change(db, job.job_id, status=status, request="", owner="", stage="", seconds_left=None)


def _lost(jobs: Iterable[QueuedJob]) -> Iterator[tuple[QueuedJob, JobStatus]]:
    """Yield the jobs whose processes are gone, and the state in which they are without them."""
    is_alive: dict[str, bool] = {}
    statuses: dict[str, JobStatus] = {"pause": "paused", "cancel": "cancelled"}
    for job in jobs:
        if not job.owner or job.status not in ("waiting", "running"):
            continue
        if not is_on_this_machine(job.owner):
            has_reported = datetime.fromisoformat(job.changed_at) > datetime.now(UTC) - timedelta(seconds=LEASE_S)
        elif job.owner not in is_alive:
            has_reported = is_alive[job.owner] = is_running(job.owner)
        else:
            has_reported = is_alive[job.owner]
        if not has_reported:
            yield job, statuses.get(job.request, "waiting")


def _request(db: sqlite3.Connection, job_id: int, owner: str) -> Request:
    row = db.execute("SELECT * FROM jobs WHERE job_id = ?", (job_id,)).fetchone()
    is_own = row is not None and row["owner"] == owner
    return _job_from(row).request if is_own else "cancel"


def _is_busy(db: sqlite3.Connection, content_hash: str, *, besides: int = 0) -> bool:
    """Whether a job is indexing this content now."""
    query = "SELECT 1 FROM jobs WHERE content_hash = ? AND content_hash != '' AND status = 'running' AND job_id != ?"
    return db.execute(query, (content_hash, besides)).fetchone() is not None


def _begin(db: sqlite3.Connection, job: QueuedJob, owner: str) -> QueuedJob:
    return _change(db, job.job_id, status="running", request="", owner=owner, stage="", fraction=0.0, attempts=job.attempts + 1)


def _pause(db: sqlite3.Connection, job: QueuedJob, reason: str) -> QueuedJob:
    if job.status == "running":
        return _change(db, job.job_id, request="pause")
    return _change(db, job.job_id, status="paused", owner="", reason=reason or job.reason) if job.status == "waiting" else job


def _change(db: sqlite3.Connection, job_id: int, **values: Any) -> QueuedJob:
    values["changed_at"] = now()
    changes = ", ".join(f"{name} = :{name}" for name in values)
    db.execute(f"UPDATE jobs SET {changes} WHERE job_id = :job_id", values | {"job_id": job_id})
    return _job(db, job_id)


def _job(db: sqlite3.Connection, job_id: int) -> QueuedJob:
    row = db.execute("SELECT * FROM jobs WHERE job_id = ?", (job_id,)).fetchone()
    if row is None:
        raise UnknownJob(f"There is no job {job_id}; `longview jobs` lists those of this library.")
    return _job_from(row)


def _job_from(row: sqlite3.Row) -> QueuedJob:
    names: Iterable[str] = row.keys()
    values = {name: row[name] for name in names if name != "position"}
    return QueuedJob(
        **values | {"path": Path(row["path"]), "options": json.loads(row["options"]), "settings": json.loads(row["settings"])}
    )
