"""Background jobs of the server: they run one after another, and any page can show their progress."""

import logging
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from longview.app.errors import EXPECTED_ERRORS
from longview.app.indexer import IndexResult
from longview.app.reports import describe
from longview.app.service import IndexOptions, Longview
from longview.indexing.library import VideoEntry
from longview.model.tasks.events import PartialResult
from longview.video.progress import Cancelled, Progress, ProgressReport

log = logging.getLogger(__name__)


@dataclass
class Job:
    """One job; its fields change while it runs."""

    title: str
    progress: Progress = field(default_factory=Progress)
    video_id: str | None = None
    """The video that the job is about, once it is known and in the library."""
    partial_results: int = 0
    """Number of partial results of its sources so far, such as windows of captions. An older complete track stays until the new
    one is complete, so not every partial result changes the library."""
    note: str = ""
    """A sentence for the user about the result."""
    error: str | None = None
    """A sentence for the user, if the job failed."""
    finished_event: threading.Event = field(default_factory=threading.Event)

    @property
    def report(self) -> ProgressReport:
        """The state of the job."""
        report = self.progress.report
        return report if report.stage else replace(report, stage="Waiting")


class Jobs:
    """The server's jobs, newest last. One runs at a time, because all of them need the device."""

    def __init__(self, app: Longview) -> None:
        self._app = app
        self._jobs: list[Job] = []
        self.is_closed = False
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="longview-job")

    def finished_jobs(self) -> tuple[Job, ...]:
        """Return the jobs that have ended."""
        return tuple(job for job in self._jobs if job.finished_event.is_set())

    def running_jobs(self) -> tuple[Job, ...]:
        """Return the jobs that wait or run."""
        return tuple(job for job in self._jobs if not job.finished_event.is_set())

    def is_indexing(self, video_id: str) -> bool:
        """Whether a running job has partial results of a video."""
        return any(job.video_id == video_id and job.partial_results for job in self.running_jobs())

    def partial_results(self) -> int:
        """Return the number of partial results of all jobs; it grows whenever the library may have further segments."""
        return sum(job.partial_results for job in self._jobs)

    def latest_job(self) -> Job | None:
        """Return the job that was started last."""
        return self._jobs[-1] if self._jobs else None

    def close(self, *, wait_s: float = 0.0) -> None:
        """Cancel all jobs. The running job ends at its next chunk of frames or token, and its results are discarded.

        `wait_s`: maximum time to wait for its end, in seconds.
        """
        self.is_closed = True
        deadline = time.monotonic() + wait_s
        for job in self.running_jobs():
            # A job that waits ends as soon as the worker begins it.
            job.progress.cancel()
        self._worker.shutdown(wait=False)
        for job in self.running_jobs():
            job.finished_event.wait(max(0.0, deadline - time.monotonic()))

    def index(self, path: Path, *, upload_name: str | None = None, accepts_long: bool = False) -> Job:
        """Index a file. An upload is first copied into the library folder under its own name.

        `accepts_long`: see `longview.app.indexer.IndexOptions`.
        """

        def work(job: Job) -> None:
            def index(source: Path, title: str | None = None) -> None:
                options = IndexOptions(title=title, accepts_long=accepts_long)
                result = self._follow(job, source, self._app.indexer.index(source, options, progress=job.progress))
                job.video_id = result.entry.video_id
                job.note = describe(result)

            if upload_name is None:
                index(path)
                return
            try:
                copy = self._app.media.import_upload(path, upload_name, job.progress)
            finally:
                path.unlink(missing_ok=True)
            try:
                index(copy, Path(upload_name).stem)
            except BaseException:
                self._app.media.discard_upload(copy)
                raise

        return self._start(f"Indexing {upload_name or path.name}", work)

    def caption_again(self, entry: VideoEntry) -> Job:
        """Return the job that captions a video again; start it unless it waits or runs already. Nothing else is indexed."""
        existing = self.captioning_job(entry)

        def work(job: Job) -> None:
            path = self._app.media.source(entry, job.progress)
            options = IndexOptions(sources=("captions",))
            result = self._follow(job, path, self._app.indexer.index(path, options, progress=job.progress))
            job.note = describe(result)

        return existing or self._start(_captioning_title(entry), work, video_id=entry.video_id)

    def captioning_job(self, entry: VideoEntry) -> Job | None:
        """Return the job of `caption_again` that waits or runs; None if there is none."""
        key = (_captioning_title(entry), entry.video_id)
        return next((job for job in self.running_jobs() if (job.title, job.video_id) == key), None)

    def _follow(self, job: Job, source: Path, run: Generator[PartialResult[object], None, IndexResult]) -> IndexResult:
        """Run an index run to its end, and count its partial results in its job."""
        while True:
            try:
                next(run)
            except StopIteration as end:
                result: IndexResult = end.value
                return result
            if job.video_id is None:
                # A new video is in the library once it has a segment.
                with suppress(*EXPECTED_ERRORS):
                    job.video_id = self._app.media.find(str(source.absolute()), job.progress).video_id
            job.partial_results += 1

    def prepare_for_browser(self, entry: VideoEntry) -> Job:
        """Return the job that makes the browser copy of a video, or that failed to make it; start it if there is none."""
        title = f"Preparing a browser-compatible copy of {entry.title}"
        candidates = (job for job in self._jobs if job.error or not job.finished_event.is_set())
        existing = next((job for job in candidates if (job.title, job.video_id) == (title, entry.video_id)), None)

        def work(job: Job) -> None:
            self._app.media.ensure_browser_copy(entry, job.progress.child(0.0, 1.0, "Converting"))

        return existing or self._start(title, work, video_id=entry.video_id)

    def _start(self, title: str, work: Callable[[Job], None], *, video_id: str | None = None) -> Job:
        job = Job(title, video_id=video_id)

        def run() -> None:
            try:
                job.progress.restart_clock()
                job.progress.raise_if_cancelled()
                work(job)
                job.progress.child(1.0, 1.0, "Done")
            except Cancelled:
                job.error = "Cancelled; incomplete results were discarded."
            except EXPECTED_ERRORS as error:
                job.error = str(error)
            except Exception:
                log.exception("%s failed", title)
                job.error = "An unexpected error occurred; the log of the server has the traceback."
            finally:
                job.finished_event.set()

        self._jobs.append(job)
        if self.is_closed:
            job.error = "The server is stopping."
            job.finished_event.set()
        else:
            self._worker.submit(run)
        return job


def _captioning_title(entry: VideoEntry) -> str:
    return f"Captioning {entry.title} again"
