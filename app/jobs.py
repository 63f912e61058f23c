"""Background jobs of the server: they run one after another, and any page can show their progress."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from longview.app.errors import EXPECTED_ERRORS
from longview.app.progress import OnProgress, Progress
from longview.app.service import NO_CAPTIONS, Longview
from longview.indexing.library import VideoEntry

log = logging.getLogger(__name__)


@dataclass
class Job:
    """One job; its fields change while it runs."""

    title: str
    progress: Progress = field(default_factory=lambda: Progress("Waiting", 0.0, None))
    video_id: str | None = None
    """The video that the job is about, once it is known."""
    note: str = ""
    """A sentence for the user about the result."""
    error: str | None = None
    """A sentence for the user, if the job failed."""
    finished_event: threading.Event = field(default_factory=threading.Event)


class Jobs:
    """The server's jobs, newest last. One runs at a time, because all of them need the device."""

    def __init__(self, app: Longview) -> None:
        self._app = app
        self._jobs: list[Job] = []
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="longview-job")

    def finished_jobs(self) -> tuple[Job, ...]:
        """Return the jobs that have ended."""
        return tuple(job for job in self._jobs if job.finished_event.is_set())

    def running_jobs(self) -> tuple[Job, ...]:
        """Return the jobs that wait or run."""
        return tuple(job for job in self._jobs if not job.finished_event.is_set())

    def latest_job(self) -> Job | None:
        """Return the job that was started last."""
        return self._jobs[-1] if self._jobs else None

    def index(self, path: Path, *, upload_name: str | None = None) -> Job:
        """Index a file. An upload is first copied into the library folder under its own name."""

        def work(job: Job, on_progress: OnProgress) -> None:
            def index(source: Path, title: str | None = None) -> None:
                entry = self._app.index(source, title=title, on_progress=on_progress).entry
                job.video_id = entry.video_id
                if entry.incomplete and not entry.caption_count:
                    job.note = NO_CAPTIONS

            if upload_name is None:
                index(path)
                return
            try:
                copy = self._app.media.import_upload(path, upload_name)
            finally:
                path.unlink(missing_ok=True)
            try:
                index(copy, Path(upload_name).stem)
            except BaseException:
                self._app.media.discard_upload(copy)
                raise

        return self._start(f"Indexing {upload_name or path.name}", work)

    def prepare_for_browser(self, entry: VideoEntry) -> Job:
        """Make the browser copy of a video once: return the job that makes it, or that failed to."""
        title = f"Preparing a browser-compatible copy of {entry.title}"
        candidates = (job for job in self._jobs if job.error or not job.finished_event.is_set())
        existing = next((job for job in candidates if (job.title, job.video_id) == (title, entry.video_id)), None)

        def work(_: Job, on_progress: OnProgress) -> None:
            on_progress(Progress("Converting", 0.0, None))
            self._app.media.ensure_browser_copy(entry)

        return existing or self._start(title, work, video_id=entry.video_id)

    def _start(self, title: str, work: Callable[[Job, OnProgress], None], *, video_id: str | None = None) -> Job:
        job = Job(title, video_id=video_id)

        def report(progress: Progress) -> None:
            job.progress = progress

        def run() -> None:
            try:
                work(job, report)
                job.progress = Progress("Done", 1.0, 0.0)
            except EXPECTED_ERRORS as error:
                job.error = str(error)
            except Exception:
                log.exception("%s failed", title)
                job.error = "Something unexpected went wrong; the server's log says what."
            finally:
                job.finished_event.set()

        self._jobs.append(job)
        self._worker.submit(run)
        return job
