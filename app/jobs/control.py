"""The queue of files to index, as users and other programs operate it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from longview.app.ingest.options import IndexOptions
from longview.indexing.records.job import PERSON, QueuedJob
from longview.indexing.sqlite.queue.job_queue import JobQueue

if TYPE_CHECKING:
    from longview.app.jobs.runner import JobRunner


class JobControl:
    """What can be done with the jobs of one library. Safe for several threads.

    Every method that takes the number of a job raises UnknownJob if there is none.
    """

    def __init__(self, queue: JobQueue, runner: "Callable[[], JobRunner]") -> None:
        """`runner`: is called when a job is added, taken or cancelled, because it loads the decoder, which lists do not need."""
        self._queue, self._runner = queue, runner

    def all(self, *, ended_limit: int | None = None) -> tuple[QueuedJob, ...]:
        """Return all jobs, with at most `ended_limit` of those that have ended; see `JobQueue.jobs`."""
        return self._queue.jobs(ended_limit=ended_limit)

    def unfinished(self) -> tuple[QueuedJob, ...]:
        """Return the jobs that run, wait or are paused, in the order in which they will run."""
        return tuple(job for job in self._queue.jobs(ended_limit=0) if job.is_unfinished)

    def job(self, job_id: int) -> QueuedJob:
        """Return a job as it is now."""
        return self._queue.job(job_id)

    def add(
        self, path: Path, options: IndexOptions | None = None, *, priority: int = PERSON, title: str = "", is_own: bool = False
    ) -> QueuedJob:
        """Add a file to the queue, or return the job that does the same already; see `JobRunner.add`."""
        return self._runner().add(path, options, priority=priority, title=title, is_own=is_own)

    def is_up_to_date(self, path: Path, options: IndexOptions) -> bool:
        """Whether a file was indexed with these options, or was removed in the last day; see `JobRunner.is_up_to_date`."""
        return self._runner().is_up_to_date(path, options)

    def claim_next(self, *, within: Sequence[Path] = ()) -> QueuedJob | None:
        """Take the next job of the files in some folders for `Longview.run_job`; see `JobRunner.claim_next`."""
        return self._runner().claim_next(within=within)

    def cancel(self, job_id: int) -> QueuedJob:
        """Cancel a job; see `JobRunner.cancel`."""
        return self._runner().cancel(job_id)

    def pause(self, job_id: int) -> QueuedJob:
        """Pause a job; see `JobQueue.pause`."""
        return self._queue.pause(job_id)

    def retry(self, job_id: int) -> QueuedJob:
        """Let a job that is paused, has failed or was cancelled wait for its turn again; see `JobQueue.retry`."""
        return self._queue.retry(job_id)

    def move_first(self, job_id: int) -> QueuedJob:
        """Let a job run before all others that wait; see `JobQueue.move_first`."""
        return self._queue.move_first(job_id)

    def pause_own(self) -> None:
        """Pause the unfinished jobs of this process."""
        self._runner().pause_own()
