"""Work in the background of the server: one job after another, each with progress that any page can show."""

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
    """One piece of work; its fields change while it runs."""

    title: str
    progress: Progress = field(default_factory=lambda: Progress("waiting", 0.0, None))
    video_id: str | None = None
    """The video it made or is about, once known."""
    note: str = ""
    """What the user should know of how it went."""
    error: str | None = None
    """One sentence for the user, if it failed."""
    finished: threading.Event = field(default_factory=threading.Event)


class Jobs:
    """The server's jobs, newest last. One runs at a time, because they share the device."""

    def __init__(self, app: Longview) -> None:
        self._app = app
        self._jobs: list[Job] = []
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="longview-job")

    def finished(self) -> tuple[Job, ...]:
        """Jobs that have ended, in the order in which they did."""
        return tuple(job for job in self._jobs if job.finished.is_set())

    def running(self) -> tuple[Job, ...]:
        """Jobs that wait or run."""
        return tuple(job for job in self._jobs if not job.finished.is_set())

    def latest(self) -> Job | None:
        """The job that was started last."""
        return self._jobs[-1] if self._jobs else None

    def index(self, path: Path, *, upload_name: str | None = None) -> Job:
        """Index a file; an upload is first copied into the library folder under its name."""

        def work(job: Job, on_progress: OnProgress) -> None:
            def indexed(original: Path, title: str | None = None) -> None:
                entry = self._app.index(original, title=title, on_progress=on_progress).entry
                job.video_id = entry.video_id
                if entry.incomplete and not entry.caption_count:
                    job.note = NO_CAPTIONS

            if upload_name is None:
                indexed(path)
                return
            try:
                original = self._app.media.import_upload(path, upload_name)
            finally:
                path.unlink(missing_ok=True)
            try:
                indexed(original, Path(upload_name).stem)
            except BaseException:
                self._app.media.discard_upload(original)
                raise

        return self._start(f"Indexing {upload_name or path.name}", work)

    def prepare_for_browser(self, entry: VideoEntry) -> Job:
        """Make the light copy of a video that browsers cannot play, once: a job that does so or failed to is given again."""
        title = f"Making a copy of {entry.title} that browsers play"
        unfinished = (job for job in self._jobs if job.error or not job.finished.is_set())
        already = next((job for job in unfinished if (job.title, job.video_id) == (title, entry.video_id)), None)

        def work(_: Job, on_progress: OnProgress) -> None:
            on_progress(Progress("converting", 0.0, None))
            self._app.media.ensure_browser_copy(entry)

        return already or self._start(title, work, video_id=entry.video_id)

    def _start(self, title: str, work: Callable[[Job, OnProgress], None], *, video_id: str | None = None) -> Job:
        job = Job(title, video_id=video_id)

        def report(progress: Progress) -> None:
            job.progress = progress

        def run() -> None:
            try:
                work(job, report)
                job.progress = Progress("done", 1.0, 0.0)
            except EXPECTED_ERRORS as error:
                job.error = str(error)
            except Exception:
                log.exception("%s failed", title)
                job.error = "Something unexpected went wrong; the server's log says what."
            finally:
                job.finished.set()

        self._jobs.append(job)
        self._worker.submit(run)
        return job
