"""Jobs as rows of the database: functions that find, change and release them within a transaction."""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from longview.core.processes import has_same_boot, is_on_this_machine, is_running
from longview.indexing.errors import UnknownJob
from longview.indexing.records.job import CRASHED, MAX_CRASHES, JobStatus, QueuedJob, Request
from longview.indexing.records.track import ID_DIGITS, video_id_of
from longview.indexing.sqlite.database.rows import now, object_from
from longview.indexing.sqlite.listing import IS_IN_LIBRARY

JOBS = (
    "(SELECT jobs.*, content_hash != '' AND EXISTS (SELECT 1 FROM videos "
    f"WHERE videos.video_id = substr(jobs.content_hash, 1, {ID_DIGITS}) AND {IS_IN_LIBRARY}) AS is_in_library FROM jobs)"
)
"""All jobs, with whether users see their videos in the library."""
MAX_NUMBER = (1 << 63) - 1
"""Maximum number of a job."""
LEASE_S = 120.0
"""Time after the last report of a job at which a process on another machine is considered dead, in seconds."""


def find_same_job(
    db: sqlite3.Connection, path: Path, content_hash: str, options: Mapping[str, Any], settings: Mapping[str, Any]
) -> QueuedJob | None:
    """Return the job that does the same and has not succeeded yet; None if there is none.

    A job that runs counts only if it has read this content, and if it is not about to be stopped.
    """
    rows = db.execute(
        f"SELECT * FROM {JOBS} WHERE path = :path AND status IN ('waiting', 'running', 'paused', 'failed') "
        f"UNION SELECT * FROM {JOBS} WHERE content_hash = :hash AND :hash != '' "
        "AND status IN ('waiting', 'running', 'paused', 'failed')",
        {"path": str(path), "hash": content_hash},
    ).fetchall()
    for job in map(job_from, rows):
        is_other = job.status == "running" and (job.request or job.content_hash != content_hash)
        if not is_other and has_request(job, options, settings):
            return job
    return None


def has_request(job: QueuedJob, options: Mapping[str, Any], settings: Mapping[str, Any]) -> bool:
    """Whether a job has these options and settings."""
    return dict(job.options) == dict(options) and dict(job.settings) == dict(settings)


def release_lost_jobs(db: sqlite3.Connection) -> None:
    """Let the jobs of processes that are gone wait for any process. One that was to be paused or cancelled is.

    A job whose process ended without a word `MAX_CRASHES` times in a row, without anything new in the library, fails: its file
    may be what ends every process that reads it.
    """
    for owner in gone_owners(db):
        rows = db.execute(f"SELECT * FROM {JOBS} WHERE owner = ? AND status IN ('waiting', 'running')", (owner,)).fetchall()
        for job in map(job_from, rows):
            values: dict[str, Any] = {"status": without_owner(job).status, "request": "", "owner": "", "stage": ""}
            # A machine that was shut down says nothing about the file.
            if job.status == "running" and has_same_boot(owner):
                is_further = committed_state(db, job.content_hash) != job.committed
                values["crashes"] = 1 if is_further else job.crashes + 1
                if values["status"] == "waiting" and values["crashes"] >= MAX_CRASHES:
                    values |= {"status": "failed", "error_code": CRASHED, "reason": _crash_text(job)}
            change_job(db, job.job_id, seconds_left=None, **values)


def committed_state(db: sqlite3.Connection, content_hash: str) -> str:
    """Return a text that changes whenever a run commits something of a video that the next run need not do again."""
    values = (video_id_of(content_hash),)
    tracks = db.execute(
        "SELECT source, status, done_s, frames_read, segment_counts FROM tracks WHERE video_id = ? ORDER BY source", values
    ).fetchall()
    (windows,) = db.execute("SELECT count(*) FROM caption_windows WHERE video_id = ?", values).fetchone()
    return json.dumps([*map(list, tracks), windows])


def _crash_text(job: QueuedJob) -> str:
    return (
        f"The process that indexed it ended without a word {MAX_CRASHES} times in a row, and nothing new was found between, so "
        f"it is not tried again by itself; `longview jobs retry {job.job_id}` tries it once more."
    )


def gone_owners(db: sqlite3.Connection) -> set[str]:
    """Return the owners of jobs that no longer run, or that have not reported for long from another machine."""
    rows = db.execute(
        "SELECT owner, max(changed_at) FROM jobs WHERE status IN ('waiting', 'running') AND owner != '' GROUP BY owner"
    ).fetchall()
    before = (datetime.now(UTC) - timedelta(seconds=LEASE_S)).isoformat(timespec="seconds")
    return {owner for owner, changed_at in rows if not (is_running(owner) if is_on_this_machine(owner) else changed_at > before)}


def without_owner(job: QueuedJob) -> QueuedJob:
    """Return the state of a job whose owner is gone."""
    statuses: dict[str, JobStatus] = {"pause": "paused", "cancel": "cancelled"}
    return replace(job, status=statuses.get(job.request, "waiting"), request="", owner="")


def read_request(db: sqlite3.Connection, job_id: int, owner: str) -> Request:
    """Return what was asked of a job of a process; `cancel` if the job is no longer its own."""
    row = db.execute(f"SELECT * FROM {JOBS} WHERE job_id = ?", (job_id,)).fetchone()
    is_own = row is not None and row["owner"] == owner
    return job_from(row).request if is_own else "cancel"


def is_content_busy(db: sqlite3.Connection, content_hash: str, *, besides: int = 0) -> bool:
    """Whether a job is indexing this content now."""
    query = "SELECT 1 FROM jobs WHERE content_hash = ? AND content_hash != '' AND status = 'running' AND job_id != ?"
    return db.execute(query, (content_hash, besides)).fetchone() is not None


def begin_job(db: sqlite3.Connection, job: QueuedJob, owner: str) -> QueuedJob:
    """Let a process run a job."""
    values = {"request": "", "owner": owner, "stage": "", "fraction": 0.0, "attempts": job.attempts + 1}
    return change_job(db, job.job_id, status="running", committed=committed_state(db, job.content_hash), **values)


def pause_job(db: sqlite3.Connection, job: QueuedJob, reason: str = "") -> QueuedJob:
    """Pause a job that waits, or ask the process that runs it to."""
    if job.status == "running":
        # A job that is being cancelled stays so.
        return change_job(db, job.job_id, request=job.request or "pause")
    return change_job(db, job.job_id, status="paused", owner="", reason=reason or job.reason) if job.status == "waiting" else job


def change_job(db: sqlite3.Connection, job_id: int, **values: Any) -> QueuedJob:
    """Change columns of a job; return it as it is then."""
    values["changed_at"] = now()
    changes = ", ".join(f"{name} = :{name}" for name in values)
    db.execute(f"UPDATE jobs SET {changes} WHERE job_id = :job_id", values | {"job_id": job_id})
    return read_job(db, job_id)


def read_job(db: sqlite3.Connection, job_id: int) -> QueuedJob:
    """Return the job with this number.

    Raises:
        UnknownJob: there is none.
    """
    # SQLite refuses larger numbers.
    row = None if job_id > MAX_NUMBER else db.execute(f"SELECT * FROM {JOBS} WHERE job_id = ?", (job_id,)).fetchone()
    if row is None:
        raise UnknownJob(f"There is no job {job_id}; `longview jobs` lists those of this library.")
    return job_from(row)


def job_from(row: sqlite3.Row) -> QueuedJob:
    """Return the job of a row."""
    names: Iterable[str] = row.keys()
    values: dict[str, Any] = {name: row[name] for name in names}
    options, settings = object_from(row["options"]), object_from(row["settings"])
    parsed = {"path": Path(row["path"]), "options": options, "settings": settings, "is_in_library": bool(row["is_in_library"])}
    return QueuedJob(**values | parsed)
