"""The queue of files to index, as rows of the library's database, so that it survives the end of any process.

A job is run by the process that owns it. The lease of the owner ends with its process: whoever looks at the queue next finds out
that it is gone, and the job waits again. On another machine, which cannot be asked, a lease ends some time after its last report.
"""

import json
import sqlite3
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from longview.indexing.records.job import CRASHED, PERSON, JobStatus, QueuedJob, Request
from longview.indexing.sqlite.database.database import Database
from longview.indexing.sqlite.database.rows import insertion, now
from longview.indexing.sqlite.queue.rows import (
    JOBS,
    begin_job,
    change_job,
    committed_state,
    find_same_job,
    gone_owners,
    has_request,
    is_content_busy,
    job_from,
    pause_job,
    read_job,
    read_request,
    release_lost_jobs,
    without_owner,
)

CANCELLED_AT_THE_END = "It was cancelled when all of it was done; what was found is in the library."
"""Reason of a job that was cancelled, and whose run came to its end."""


class JobQueue:
    """The queue of one library. Safe to use from several threads and processes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # -- reading -------------------------------------------------------------------------------------------------------

    def jobs(self, *, ended_limit: int | None = None) -> tuple[QueuedJob, ...]:
        """Return all jobs: the running ones, then the others that are unfinished in the order in which they will run, then those
        that have ended, latest first.

        `ended_limit`: maximum number of those that are done or were cancelled.
        """
        with self._database.connection() as db:
            rows = db.execute(
                f"SELECT * FROM {JOBS} WHERE status IN ('waiting', 'running', 'paused', 'failed') "
                "ORDER BY priority DESC, position"
            ).fetchall()
            ended_rows = db.execute(
                f"SELECT * FROM {JOBS} WHERE status IN ('done', 'cancelled') ORDER BY changed_at DESC, job_id DESC LIMIT ?",
                (-1 if ended_limit is None else ended_limit,),
            ).fetchall()
            dead_owners = gone_owners(db)
            jobs = [without_owner(job) if job.owner in dead_owners else job for job in map(job_from, rows)]
            # The owner of a job that was to be cancelled may be gone.
            ended_jobs = [*(job for job in jobs if not job.is_unfinished), *map(job_from, ended_rows)]
        ended_jobs.sort(key=lambda job: job.changed_at, reverse=True)
        running = [job for job in jobs if job.status == "running"]
        waiting = [job for job in jobs if job.is_unfinished and job.status != "running"]
        return (*running, *waiting, *ended_jobs)

    def job(self, job_id: int) -> QueuedJob:
        """Return the job with this number.

        Raises:
            UnknownJob: there is none.
        """
        with self._database.connection() as db:
            return read_job(db, job_id)

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
            release_lost_jobs(db)
            same_job = find_same_job(db, path, content_hash, options, settings)
            if same_job is not None:
                changes: dict[str, Any] = {"priority": max(priority, same_job.priority)}
                # Who follows a folder does not try a file again that has ended its processes; a person does.
                is_left = same_job.error_code == CRASHED and same_job.status == "failed" and priority < PERSON
                if same_job.status != "running" and not is_left:
                    changes |= {"crashes": 0}
                    # A process that has reserved it still runs, because the jobs of others were released.
                    changes |= {"status": "waiting", "request": "", "owner": same_job.owner or owner, "path": str(path)}
                return change_job(db, same_job.job_id, **changes)
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
            return read_job(db, db.execute(insertion("jobs", values), values).lastrowid or 0)

    def cancel(self, job_id: int) -> QueuedJob:
        """Cancel a job: one that runs ends at its next chunk or token. What it has committed stays.

        Raises:
            UnknownJob: there is no such job.
        """
        with self._database.transaction() as db:
            release_lost_jobs(db)
            job = read_job(db, job_id)
            if job.status == "running":
                return change_job(db, job_id, request="cancel")
            return change_job(db, job_id, status="cancelled", request="", owner="", reason="") if job.status != "done" else job

    def pause(self, job_id: int) -> QueuedJob:
        """Pause a job until it is resumed: one that runs ends at its next chunk or token, and resumes there later.

        Raises:
            UnknownJob: there is no such job.
        """
        with self._database.transaction() as db:
            release_lost_jobs(db)
            return pause_job(db, read_job(db, job_id))

    def pause_all(self, *, owner: str, reason: str, with_unowned: bool = False) -> None:
        """Pause the unfinished jobs of a process. `with_unowned`: and all that wait for any, unless another process runs jobs."""
        with self._database.transaction() as db:
            release_lost_jobs(db)
            rows = db.execute(f"SELECT * FROM {JOBS} WHERE status IN ('waiting', 'running')").fetchall()
            jobs = [job_from(row) for row in rows]
            with_unowned = with_unowned and not any(job.owner not in ("", owner) for job in jobs)
            for job in jobs:
                if job.owner == owner or (with_unowned and not job.owner):
                    pause_job(db, job, reason)

    def retry(self, job_id: int) -> QueuedJob:
        """Let a job wait for its turn again that is paused, has failed or was cancelled; its reason is kept until it ends again.

        Raises:
            UnknownJob: there is no such job.
        """
        with self._database.transaction() as db:
            release_lost_jobs(db)
            job = read_job(db, job_id)
            if job.status in ("paused", "failed", "cancelled"):
                return change_job(db, job_id, status="waiting", request="", owner="", crashes=0)
            # It was paused or cancelled a moment ago, and its process has not noticed yet.
            return change_job(db, job_id, request="") if job.request else job

    def move_first(self, job_id: int) -> QueuedJob:
        """Let a job that waits or is paused run before all others that wait.

        Raises:
            UnknownJob: there is no such job.
        """
        with self._database.transaction() as db:
            release_lost_jobs(db)
            job = read_job(db, job_id)
            if job.status not in ("waiting", "paused"):
                return job
            row = db.execute(
                "SELECT coalesce(max(priority), 0), coalesce(min(position), 1) FROM jobs WHERE status IN ('waiting', 'paused')"
            ).fetchone()
            return change_job(db, job_id, priority=row[0], position=row[1] - 1.0)

    def delete_ended(self, *, older_than_s: float) -> int:
        """Delete the jobs that ended some time ago; return their number."""
        before = (datetime.now(UTC) - timedelta(seconds=older_than_s)).isoformat(timespec="seconds")
        with self._database.transaction() as db:
            # A job that has ended its processes stays, so that whoever follows a folder does not add it anew.
            cursor = db.execute(
                "DELETE FROM jobs WHERE status IN ('failed', 'cancelled') AND error_code != ? AND changed_at < ?",
                (CRASHED, before),
            )
            # What was done is not done again by whoever follows a folder, as long as the video is in the library.
            deletion = db.execute(
                "DELETE FROM jobs WHERE status = 'done' AND changed_at < ? "
                "AND content_hash NOT IN (SELECT content_hash FROM videos WHERE removed_at = '')",
                (before,),
            )
            return cursor.rowcount + deletion.rowcount

    def has_done(self, content_hash: str, options: Mapping[str, Any], settings: Mapping[str, Any]) -> bool:
        """Whether a job with these options and settings has come to its end for this content."""
        with self._database.connection() as db:
            rows = db.execute(f"SELECT * FROM {JOBS} WHERE content_hash = ? AND status = 'done'", (content_hash,))
            return any(has_request(job, options, settings) for job in map(job_from, rows))

    # -- running -------------------------------------------------------------------------------------------------------

    def mark(self) -> object:
        """Return a mark of the library's files, which is another one after each change of the queue; see `Database.mark`."""
        return self._database.mark()

    def claim_next(
        self,
        owner: str,
        settings: Mapping[str, Any],
        *,
        free_settings: Collection[str] = (),
        accepts: Callable[[QueuedJob], bool] = lambda _: True,
    ) -> QueuedJob | None:
        """Take the next job that waits for any process; None if there is none.

        `settings`: those of this process. A job with settings of its own is taken only if they are the same, but for
        `free_settings`, which this process gives to each job. `accepts`: whether this process runs a job at all.
        """

        def fixed(values: Mapping[str, Any]) -> dict[str, Any]:
            return {name: value for name, value in values.items() if name not in free_settings}

        def find(db: sqlite3.Connection) -> QueuedJob | None:
            rows = db.execute(
                f"SELECT * FROM {JOBS} WHERE status = 'waiting' AND owner = '' AND (content_hash = '' OR content_hash NOT IN "
                "(SELECT content_hash FROM jobs WHERE status = 'running')) ORDER BY priority DESC, position"
            )
            suitable = (job for job in map(job_from, rows) if not job.settings or fixed(job.settings) == fixed(settings))
            return next(filter(accepts, suitable), None)

        with self._database.connection() as db:
            # Without a job to take, nothing is locked.
            if find(db) is None and not gone_owners(db):
                return None
        with self._database.transaction() as db:
            release_lost_jobs(db)
            job = find(db)
            return begin_job(db, job, owner) if job else None

    def claim(self, job_id: int, owner: str) -> QueuedJob:
        """Take a job that waits for this or any process, unless its content is being indexed; return it as it is then.

        Raises:
            UnknownJob: there is no such job.
        """
        with self._database.transaction() as db:
            release_lost_jobs(db)
            job = read_job(db, job_id)
            is_free = job.status == "waiting" and job.owner in ("", owner)
            return begin_job(db, job, owner) if is_free and not is_content_busy(db, job.content_hash) else job

    def identify(self, job_id: int, content_hash: str) -> bool:
        """Store the content hash of a running job. If another job is indexing the same content, the job waits again; return
        whether it may continue."""
        with self._database.transaction() as db:
            is_busy = is_content_busy(db, content_hash, besides=job_id)
            job = change_job(db, job_id, content_hash=content_hash, committed=committed_state(db, content_hash))
            if is_busy:
                # This was no attempt.
                change_job(db, job_id, status="waiting", attempts=job.attempts - 1)
            return not is_busy

    def report(
        self, job_id: int, owner: str, *, stage: str, fraction: float, seconds_left: float | None, partial_results: int
    ) -> Request:
        """Store how far a running job has come, which renews its lease; return what was asked of it meanwhile.

        A job that another process has taken, or that was deleted, is to be cancelled.
        """
        with self._database.transaction() as db:
            request = read_request(db, job_id, owner)
            if not request and read_job(db, job_id).status == "running":
                change_job(
                    db, job_id, stage=stage, fraction=fraction, seconds_left=seconds_left, partial_results=partial_results
                )  # fmt: skip
            # The files that wait for this process, too.
            db.execute("UPDATE jobs SET changed_at = ? WHERE owner = ? AND status = 'waiting'", (now(), owner))
            return request

    def report_stopping(self, job_id: int, owner: str, stage: str) -> None:
        """Store in which stage a job does not end that was asked to; the rest stays as it was, and its lease is renewed."""
        with self._database.transaction() as db:
            row = db.execute("SELECT owner, status FROM jobs WHERE job_id = ?", (job_id,)).fetchone()
            if row is not None and (row["owner"], row["status"]) == (owner, "running"):
                change_job(db, job_id, stage=stage)

    def request(self, job_id: int, owner: str) -> Request:
        """Return what was asked of a job of this process, without writing."""
        with self._database.connection() as db:
            return read_request(db, job_id, owner)

    def note_stop(self, owner: str) -> None:
        """Note that a process ends as it should while its jobs still run, so that its end does not count as a crash of them."""
        with self._database.transaction() as db:
            # For `release_lost_jobs`, something was committed since.
            db.execute("UPDATE jobs SET crashes = 0, committed = '' WHERE owner = ? AND status = 'running'", (owner,))

    def end(
        self, job_id: int, owner: str, status: JobStatus, *, reason: str = "", error_code: str = "", is_stopped: bool = False
    ) -> JobStatus | None:
        """Store how a run of a job has ended; return the state of the job, or None if it is no longer one of this process.

        `is_stopped`: the run did not come to its end. Then what was asked of the job decides before `status`. A job that was to
        be cancelled is, even if its run came to its end first: who asked was told so.
        """
        with self._database.transaction() as db:
            row = db.execute(f"SELECT * FROM {JOBS} WHERE job_id = ?", (job_id,)).fetchone()
            if row is None or row["owner"] != owner:
                return None
            request = row["request"]
            if request == "cancel":
                reason = CANCELLED_AT_THE_END if status == "done" else ""
                status, error_code = "cancelled", ""
            elif request == "pause" and is_stopped:
                status = "paused"
            changes: dict[str, Any] = {"status": status, "request": "", "owner": "", "reason": reason, "error_code": error_code}
            changes |= {"seconds_left": None, "stage": "", "crashes": 0} | ({"fraction": 1.0} if status == "done" else {})
            change_job(db, job_id, **changes)
            return status
