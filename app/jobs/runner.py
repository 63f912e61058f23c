"""Run jobs of the queue in the calling thread, and store their progress and how they ended."""

import logging
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from longview.app.errors import EXPECTED_ERRORS, BadRequest, JobStopped, NoSpace
from longview.app.files.content_hashes import ContentHashes
from longview.app.files.media import MediaStore
from longview.app.ingest.indexer import Indexer, IndexResult
from longview.app.ingest.options import RUN_SETTINGS, IndexOptions, RunSettings, settings_of_job
from longview.app.ingest.outcomes import describe
from longview.app.jobs.monitor import MIN_FREE_BYTES, JobMonitor, has_space
from longview.app.settings import Settings, job_settings
from longview.core.processes import this_process
from longview.core.progress import NO_PROGRESS, Cancelled, Progress
from longview.core.sources import source_label
from longview.indexing.errors import LibraryUnusable, UnknownJob, UnknownVideo
from longview.indexing.records.job import PERSON, JobStatus, QueuedJob
from longview.indexing.records.track import video_id_of
from longview.indexing.sqlite.library import Library
from longview.model.tasks.events import PartialResult
from longview.video.probing.guard import check_path

log = logging.getLogger(__name__)

WAIT_POLL_S = 0.3
"""Interval at which a job looks whether it may begin, in seconds."""
STOPPED_JOB = "It was stopped."
"""Reason of a job whose process was interrupted."""


class _ContentIsBusy(Exception):
    """Another job is indexing the same content."""


@dataclass(frozen=True)
class _End:
    """How a run of a job ended."""

    status: JobStatus
    reason: str = ""
    error_code: str = ""
    is_stopped: bool = False
    """Whether the run was interrupted; see `JobQueue.end`."""


class JobRunner:
    """Adds files to the queue of one library, and runs them. Safe for several threads."""

    def __init__(self, library: Library, media: MediaStore, indexer: Indexer, settings: Settings) -> None:
        self._library, self._queue, self._media, self._indexer = library, library.queue, media, indexer
        self._limits, self._hashes = settings.limits, ContentHashes(library)
        self._process_settings, self._settings = settings, job_settings(settings)
        self.stopped_status: JobStatus = "paused"
        """State of a job whose run is interrupted by this process."""
        self._is_stopping = False
        self._lock = threading.Lock()
        self._active: set[int] = set()
        """Numbers of the jobs that threads of this process run now."""
        self._taken_ids: set[int] = set()
        """Those of them that were taken by `claim_next` and are not run yet."""
        self._unstored_ends: dict[int, tuple[QueuedJob, _End]] = {}
        """How jobs ended while the library could not be written, by their numbers."""

    def add(
        self, path: Path, options: IndexOptions | None = None, *, priority: int = PERSON, title: str = "", is_own: bool = False
    ) -> QueuedJob:
        """Add a file to the queue, or return the job that does the same already.

        `is_own`: this process will run it with `run`; otherwise any process that serves the library does.

        Raises:
            VideoError: there is no such file, or it may not be read. BadRequest: the options are invalid.
            LibraryUnusable: the library cannot be written, for instance because the disk is full.
        """
        options = options or IndexOptions()
        self._indexer.check_options(options)
        checked_path = check_path(path, self._limits)
        if not has_space(self._library.folder):
            raise self._no_space()
        return self._queue.add(
            checked_path,
            title=title or checked_path.name,
            options=_options_fields(options),
            settings=self._stored_settings(options),
            priority=priority,
            content_hash=self._hashes.known(checked_path) or "",
            owner=this_process() if is_own else "",
        )

    def latest(self, path: Path, options: IndexOptions) -> QueuedJob | None:
        """Return the job that was added last for a file with these options, whatever its title; None if there is none."""
        wanted, settings = _options_fields(replace(options, title=None)), self._stored_settings(options)
        jobs = [
            job for job in self._queue.jobs() if job.path == path and job.settings == settings and _without_title(job) == wanted
        ]
        return max(jobs, key=lambda job: job.job_id, default=None)

    def _stored_settings(self, options: IndexOptions) -> dict[str, Any]:
        """Return the settings that a job with these options stores."""
        return options.settings.stored(self._process_settings) if options.settings != RunSettings() else self._settings

    def claim_next(self, *, within: Sequence[Path] = ()) -> QueuedJob | None:
        """Take the next job that waits for any process and can be run with the settings of this one; None if there is none.

        A job may have values of its own for the settings of `RunSettings`.

        `within`: the only folders whose files are meant; empty: all.
        """

        def accepts(job: QueuedJob) -> bool:
            return not within or any(job.path.is_relative_to(folder) for folder in within)

        with self._lock:
            self._store_ends()
            if not has_space(self._library.folder):
                # A job would only fail.
                return None
            job = self._queue.claim_next(this_process(), self._settings, free_settings=RUN_SETTINGS, accepts=accepts)
            if job is not None:
                self._active.add(job.job_id)
                self._taken_ids.add(job.job_id)
            return job

    def is_up_to_date(self, path: Path, options: IndexOptions) -> bool:
        """Whether a file is in the library under this path, and a job with the same options and settings was done; also whether
        it was removed from the library in the last day.

        A file that is not known with its size and time of change is not: its content would have to be read.

        Raises:
            OSError: the file is gone. BadRequest: its name is not valid.
        """
        content_hash = self._hashes.known(path)
        if not content_hash:
            return False
        try:
            entry = self._library.pending_video(video_id_of(content_hash))
        except UnknownVideo:
            # A removed video must not come back just because its file still exists.
            return any(video.content_hash == content_hash for video in self._library.removals.videos())
        is_found = entry.path == path or self._media.keeps_path(entry, path)
        return is_found and self._queue.has_done(content_hash, _options_fields(options), self._stored_settings(options))

    def cancel(self, job_id: int) -> QueuedJob:
        """Cancel a job; see `JobQueue.cancel`. A new video in which nothing was found yet is left out of the library.

        Raises:
            UnknownJob: there is no such job.
        """
        is_news = self._queue.job(job_id).status != "cancelled"
        job = self._queue.cancel(job_id)
        if is_news and job.status == "cancelled":
            self._forget(job)
        return job

    def cancel_content(self, content_hash: str) -> None:
        """Cancel the unfinished jobs of a video that is being removed, and forget those that have failed."""
        for job in self._queue.jobs(ended_limit=0):
            if job.content_hash == content_hash and (job.is_unfinished or job.status == "failed"):
                self._queue.cancel(job.job_id)

    def pause_own(self, reason: str = STOPPED_JOB, *, with_unowned: bool = False) -> None:
        """Pause the unfinished jobs of this process. `with_unowned`: see `JobQueue.pause_all`."""
        self._is_stopping = True
        self._queue.pause_all(owner=this_process(), reason=reason, with_unowned=with_unowned)

    def note_stop(self) -> None:
        """Note that this process ends as it should while its jobs still run; see `JobQueue.note_stop`."""
        self._queue.note_stop(this_process())

    def run(
        self, job: QueuedJob, *, keep_sessions: bool = True, waits: bool = True, progress: Progress = NO_PROGRESS
    ) -> Generator[PartialResult[Any], None, IndexResult]:
        """Run a job to its end, and store how it ended. One that waits is taken first.

        A job whose run settings are not those of this process has models of its own, which are freed when its run has ended.

        `waits`: whether to wait while another job indexes the same content; otherwise this one is given back to the queue.

        Raises:
            JobStopped: somebody has cancelled or paused the job, or it was given back. Cancelled: the operation was cancelled,
                and the job is paused. As `Indexer.index`.
        """
        progress = Progress() if progress is NO_PROGRESS else progress
        job = self._take(job, progress)
        if job.status == "done":
            # Another process has done it: all sources are up to date.
            return (yield from self._indexer.index(job.path, _options(job, keep_sessions), progress=progress))
        monitor = JobMonitor(self._library, job, progress)
        try:
            with monitor, ExitStack() as stack:
                settings = settings_of_job(self._process_settings, job.settings)
                is_own = settings is self._process_settings
                indexer = self._indexer if is_own else stack.enter_context(self._indexer.with_settings(settings))
                run = self._index(indexer, job, progress, keep_sessions=keep_sessions and is_own, waits=waits)
                result = yield from monitor.count(run)
        except BaseException as error:
            failure = self._store_failure(job, error, monitor)
            if failure is error:
                raise
            raise failure from None
        self._end(job, _end_of(result))
        return result

    def _index(
        self, indexer: Indexer, job: QueuedJob, progress: Progress, *, keep_sessions: bool, waits: bool
    ) -> Generator[PartialResult[Any], None, IndexResult]:
        """Index the file of a job that was taken."""

        def begin(content_hash: str) -> None:
            if not self._queue.identify(job.job_id, content_hash):
                if not waits:
                    raise _ContentIsBusy
                self._active.discard(job.job_id)
                self._take(job, progress)

        if not has_space(self._library.folder):
            raise self._no_space()
        return indexer.index(job.path, _options(job, keep_sessions), begin=begin, progress=progress)

    def _store_failure(self, job: QueuedJob, error: BaseException, monitor: JobMonitor) -> BaseException:
        """Store how a run ended that did not come to its end; return the error that says so."""
        if isinstance(error, _ContentIsBusy):
            self._end(job, _End("waiting", is_stopped=True))
            return JobStopped(f"{job.title}: another job is indexing the same content.")
        if isinstance(error, Cancelled | GeneratorExit) and monitor.is_disk_full:
            error = self._no_space()
        if isinstance(error, EXPECTED_ERRORS):
            # A job that only needs space resumes as soon as there is some.
            is_disk_full = error.code == NoSpace.code and not has_space(self._library.folder)
            status: JobStatus = "waiting" if is_disk_full else "failed"
            self._end(job, _End(status, str(error), error.code, is_stopped=is_disk_full))
            return error
        if isinstance(error, Exception) and not isinstance(error, Cancelled):
            self._end(job, _End("failed", "An unexpected error occurred; the log has the traceback.", "unexpected"))
            return error
        # If it was asked to stop and no longer is, somebody has called it back.
        status = "waiting" if monitor.request else self.stopped_status
        reason = STOPPED_JOB if self._is_stopping or status == "paused" else ""
        stored_status = self._end(job, _End(status, reason, is_stopped=True))
        if monitor.request:
            return JobStopped(_stopped_text(job, stored_status or self._queue.job(job.job_id).status))
        return error

    def _take(self, job: QueuedJob, progress: Progress) -> QueuedJob:
        """Take a job as soon as it is free; return it, or as it is if another process has done it meanwhile.

        Raises:
            JobStopped: it was cancelled or paused, or it failed elsewhere. Cancelled: the operation was cancelled.
        """
        while True:
            with self._lock:
                if job.job_id in self._taken_ids:
                    self._taken_ids.discard(job.job_id)
                    return job
                job = self._queue.claim(job.job_id, this_process())
                # A job that a thread of this process is running is not free either.
                if job.status == "running" and job.owner == this_process() and job.job_id not in self._active:
                    self._active.add(job.job_id)
                    return job
            if job.status == "done":
                return job
            if job.status in ("paused", "cancelled", "failed"):
                raise JobStopped(job.reason if job.status == "failed" else _stopped_text(job, job.status))
            progress.child(0.0, 0.0, "Waiting for another process that indexes this video")
            time.sleep(WAIT_POLL_S)

    def _end(self, job: QueuedJob, end: _End) -> JobStatus | None:
        """Store how a job ended; if the library cannot be written now, before the next job begins. Return the state of the job;
        None if it is no longer one of this process."""
        with self._lock:
            self._active.discard(job.job_id)
            try:
                return self._store_end(job, end)
            except LibraryUnusable as error:
                # If this process ends before that, the job waits for another one.
                log.warning("The end of the job %d cannot be stored now: %s", job.job_id, error)
                self._unstored_ends[job.job_id] = (job, end)
                return end.status

    def _store_ends(self) -> None:
        """Store how jobs ended that could not be stored then. The lock is held.

        Raises:
            LibraryUnusable: the library still cannot be written.
        """
        for job_id, (job, end) in list(self._unstored_ends.items()):
            self._store_end(job, end)
            del self._unstored_ends[job_id]

    def _store_end(self, job: QueuedJob, end: _End) -> JobStatus | None:
        status = self._queue.end(
            job.job_id,
            this_process(),
            end.status,
            reason=end.reason,
            error_code=end.error_code,
            is_stopped=end.is_stopped,
        )
        if status == "cancelled":
            with suppress(UnknownJob):
                self._forget(self._queue.job(job.job_id))
        return status

    def _forget(self, job: QueuedJob) -> None:
        """Leave the video of a cancelled job out of the library, with its upload, if this job added it and found nothing.

        Another job of the same content may have found something since.
        """
        others = [other for other in self._queue.jobs(ended_limit=0) if other.is_unfinished and other.job_id != job.job_id]
        if job.content_hash and all(other.content_hash != job.content_hash for other in others):
            self._indexer.forget_if_empty(job.content_hash, since=job.added_at)
        self._media.discard_upload(job.path)

    def _no_space(self) -> NoSpace:
        return NoSpace(
            f"The disk of the library ({self._library.folder}) is full: less than {MIN_FREE_BYTES >> 20} MiB are free. What was "
            "done is kept; delete other files, and try again."
        )


def _stopped_text(job: QueuedJob, status: JobStatus) -> str:
    """Return what is said of a run that others have stopped."""
    if status in ("paused", "cancelled"):
        return f"{job.title}: the job was {status}; `longview jobs retry {job.job_id}` resumes it where it stopped."
    return f"{job.title}: the job is {status} in another process."


def _options_fields(options: IndexOptions) -> dict[str, Any]:
    """Return the options that are not the default, as a job keeps them beside its settings. Whether sessions are kept is up to
    its process."""
    default = asdict(IndexOptions())
    others = ("keep_sessions", "settings")
    fields = {name: value for name, value in asdict(options).items() if name not in others and value != default[name]}
    return fields | ({"sources": list(options.sources)} if options.sources is not None else {})


def _without_title(job: QueuedJob) -> dict[str, Any]:
    """Return the options of a job but for the title."""
    return {name: value for name, value in job.options.items() if name != "title"}


def _options(job: QueuedJob, keep_sessions: bool) -> IndexOptions:
    """Return what is indexed of the file of a job."""
    sources = job.options.get("sources")
    names = {field.name for field in fields(IndexOptions)} - {"keep_sessions", "settings"}
    if unknown := job.options.keys() - names:
        raise BadRequest(f"The job {job.job_id} has options that this Longview does not know ({', '.join(sorted(unknown))}).")
    options = IndexOptions(**job.options, keep_sessions=keep_sessions)
    return replace(options, sources=None if sources is None else tuple(sources))


def _end_of(result: IndexResult) -> _End:
    """Return how a job ended whose run came to its end."""
    if not result.failures:
        return _End("done", describe(result))
    reasons = [f"{source_label(report.source)}: {report.reason}" for report in result.failures]
    error = result.failures[0].error
    return _End("failed", "; ".join(reasons), str(getattr(error, "code", "")) if error else "")
