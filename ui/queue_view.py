"""What open pages show of the jobs: a line about the current one, and the table of the queue; rendered once for all pages."""

import json
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from longview.app.service import Longview
from longview.app.serving.preparations import Preparation
from longview.app.serving.workers import Workers
from longview.indexing.errors import LibraryUnusable
from longview.indexing.records.job import QueuedJob
from longview.ui import render

MAX_ROWS = 100
"""Maximum number of jobs in the table: a page gets all of them when it is opened, and lays them out."""


@dataclass(frozen=True)
class QueueState:
    """What a page shows of the jobs at one time."""

    ended_count: int
    """Number of jobs and browser copies that have ended: whenever it changes, the library may have changed."""
    partial_results: int
    """Number of partial results: whenever it changes, the library may have further segments."""
    line: str = ""
    """HTML of the line about the current job."""
    summary: str = ""
    """Title of the table; empty if there is nothing to show in it."""
    rows: tuple[tuple[int, str], ...] = ()
    """The numbers of the jobs in the table, in its order, each with the HTML of its row."""
    more: str = ""
    """Text below the table about the jobs that are not in it."""

    def message(self, last_state: "QueueState | None") -> str:
        """Return this state as JSON, without the rows that a page has got with an earlier state (`sent`)."""
        sent_rows = dict(last_state.rows) if last_state else {}
        return json.dumps(
            {
                "html": self.line,
                "summary": self.summary,
                "order": [job_id for job_id, _ in self.rows],
                "rows": {job_id: html for job_id, html in self.rows if sent_rows.get(job_id) != html},
                "more": self.more,
                "ended": self.ended_count,
                "partial_results": self.partial_results,
            }
        )


class QueueView:
    """Renders the jobs of one server whenever they were read again. Safe for several threads."""

    def __init__(self, app: Longview, workers: Workers) -> None:
        self._app, self._workers = app, workers
        self._lock = threading.Lock()
        self._reading: int | None = None
        self._state = QueueState(0, 0)

    def state(self) -> QueueState:
        """Return what pages show now. Between two readings of the queue, all of them get the same object."""
        with self._lock:
            reading = self._workers.refresh()
            if reading != self._reading:
                self._state = self._render_state()
                self._reading = reading
            return self._state

    def _render_state(self) -> QueueState:
        jobs = self._workers.jobs()
        counts = (len(self._workers.ended_video_ids()), self._workers.partial_results())
        ordered_jobs = _in_table_order(jobs)
        first_rows = ordered_jobs[:MAX_ROWS]
        with suppress(LibraryUnusable):
            known_ids = self._app.known_ids([job.video_id for job in first_rows if job.video_id])
            rows = tuple((job.job_id, render.queue_row(job, known_ids)) for job in first_rows)
            return QueueState(
                *counts, self._line(jobs), queue_summary(ordered_jobs), rows, _more_text(len(ordered_jobs) - len(first_rows))
            )
        return QueueState(*counts)

    def _line(self, jobs: Sequence[QueuedJob]) -> str:
        """Render the line that shows what runs, else what has ended last since the server started."""
        active = [job for job in jobs if job.status in ("running", "waiting")]
        unfinished: list[QueuedJob | Preparation] = [*active, *self._workers.unfinished_preparations()]
        return render.job(unfinished[0] if unfinished else self._workers.latest_ended(), waiting=max(0, len(unfinished) - 1))


def queue_summary(ordered_jobs: Sequence[QueuedJob]) -> str:
    """Return the title of the table: how many files are in it, and how many of them have failed; empty without any."""
    if not ordered_jobs:
        return ""
    failed_count = sum(job.status == "failed" for job in ordered_jobs)
    files = "1 file" if len(ordered_jobs) == 1 else f"{len(ordered_jobs)} files"
    return f"Queue: {files}, {failed_count} failed" if failed_count else f"Queue: {files}"


def _in_table_order(jobs: Sequence[QueuedJob]) -> list[QueuedJob]:
    """Return the jobs that are not done: what runs, what somebody has to decide about, and what waits."""
    ranks = {"running": 0, "failed": 1, "paused": 1, "waiting": 2}
    return sorted((job for job in jobs if job.status in ranks), key=lambda job: ranks[job.status])


def _more_text(count: int) -> str:
    return f"and {count} more; the command longview jobs lists all." if count else ""
