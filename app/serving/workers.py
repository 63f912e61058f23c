"""The server's share of the queue: workers that run whatever waits, and the state of all jobs for the pages."""

import logging
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from longview.app.errors import EXPECTED_ERRORS, BadRequest, NoSpace
from longview.app.ingest.options import IndexOptions
from longview.app.ingest.ranges import requested_span
from longview.app.jobs.folder_watch import left_out, left_out_text, media_files
from longview.app.service import Longview
from longview.app.serving.cuts import Cuts
from longview.app.serving.part_uploads import PartUploads
from longview.app.serving.preparations import EndedPreparations, Preparation
from longview.app.serving.running_answers import RunningAnswers
from longview.app.serving.upload_cache import UploadCache
from longview.app.serving.video_preparations import VideoPreparations
from longview.core.progress import Cancelled, Progress
from longview.indexing.errors import LibraryUnusable, UnknownVideo
from longview.indexing.records.job import BATCH, QueuedJob
from longview.indexing.records.video import VideoEntry

log = logging.getLogger(__name__)

POLL_S = 0.5
"""Interval at which a worker without a job looks whether another process has written to the library, in seconds."""
FULL_POLL_S = 5.0
"""Interval at which such a worker reads the queue in any case, in seconds: a process that is gone writes nothing."""
STATE_S = 0.25
"""Maximum age of the state that pages see, in seconds."""
MAX_ENDED = 100
"""Maximum number of jobs that are done or were cancelled in each reading of the queue: pages show what has ended last."""
UNUSABLE_S = 5.0
"""Time until a worker tries again after it could not take a job, in seconds."""
JobAction = Literal["cancel", "pause", "resume"]
NO_SUCH_JOB: dict[JobAction, str] = {
    "cancel": "is not in the queue",
    "pause": "neither waits in the queue nor is being indexed",
    "resume": "is not paused",
}
"""Why an action changes no job of a video, as the end of a sentence."""
CAPTION_AGAIN = IndexOptions(sources=("captions",))
DEFAULTS = IndexOptions()
"""All sources that apply, with the settings of the server."""


@dataclass(frozen=True)
class FolderAddition:
    """The outcome of adding the files of a folder to the queue."""

    jobs: list[QueuedJob] = field(default_factory=list)
    refused: list[tuple[Path, Exception]] = field(default_factory=list)
    """Files that were not added, each with the reason."""
    known: list[VideoEntry] = field(default_factory=list)
    """Videos of the library in which the jobs will find nothing new."""


class Workers:
    """The workers of one server, and all jobs of its library, from any process. Safe for several threads."""

    def __init__(self, app: Longview, *, starts: bool = True) -> None:
        """`starts`: whether the workers take jobs at once; otherwise from `start` on."""
        self._app, self._runner, self._queue = app, app.parts.runner, app.parts.library.queue
        self.ended_preparations = EndedPreparations()
        self.browser_copies = VideoPreparations(
            "Preparing a browser-compatible copy of", app.parts.media.ensure_browser_copy, self.ended_preparations
        )
        self.waveforms = VideoPreparations("Drawing the waveform of", app.parts.media.ensure_waveform, self.ended_preparations)
        self.cuts = Cuts(app.parts, self.ended_preparations)
        self.answers = RunningAnswers(app)
        self._preparations: list[Preparation] = []
        self.uploads = UploadCache(app.parts.library.folder, max_upload_bytes=app.settings.max_upload_bytes)
        self.part_uploads = PartUploads(app.settings)
        self._closing = threading.Event()
        self._pauses = False
        self._wake = threading.Event()
        self._lock = threading.Lock()
        self._running: dict[int, Progress] = {}
        self._jobs: tuple[QueuedJob, ...] = ()
        self._read_s = -STATE_S
        self._reading = 0
        self._has_changed = threading.Event()
        self._mark: object = None
        self._workers = [
            threading.Thread(target=self._work, name=f"longview-worker-{number}", daemon=True)
            for number in range(app.settings.workers)
        ]
        if starts:
            self.start()

    def start(self) -> None:
        """Let the workers take jobs. A server does this when it listens, so that it can be reached whatever a file does to it."""
        for worker in self._workers:
            worker.start()

    # -- adding --------------------------------------------------------------------------------------------------------

    def index(self, path: Path, options: IndexOptions = DEFAULTS, *, upload_name: str | None = None) -> QueuedJob:
        """Add a file to the queue. An upload is first stored in the library folder under its own name.

        Raises:
            As `JobRunner.add`. NoSpace: the disk has no space for an upload. VideoError: an upload is not a video.
        """
        if upload_name is None:
            return self._wake_workers(self._runner.add(path, options))
        try:
            target = self._app.parts.media.import_upload(path, upload_name)
        finally:
            self.uploads.discard(path)
        options = replace(options, title=options.title or Path(upload_name).stem)
        return self._wake_workers(self._runner.add(target, options, title=upload_name))

    def known_video(self, job: QueuedJob, options: IndexOptions) -> VideoEntry | None:
        """Return the video of a job that was added if it is in the library, and all was done already; None otherwise."""
        if not self._runner.is_up_to_date(job.path, options):
            return None
        with suppress(UnknownVideo):
            return self._app.video_with_id(job.video_id or "")
        return None

    def check_part(self, path: Path, options: IndexOptions) -> None:
        """Check that the part that is to be indexed is inside of a file, whose length is read for that.

        Raises:
            ImpossiblePlan: it is outside. VideoError: the file cannot be read.
        """
        if options.start_s is not None or options.end_s is not None:
            # The hash of its content is not needed.
            requested_span(self._app.parts.decoder.probe(path, known_hash="-"), options.start_s, options.end_s)

    def add(self, path: Path, options: IndexOptions, *, title: str) -> QueuedJob:
        """Add a file to the queue with options; see `JobRunner.add`."""
        return self._wake_workers(self._runner.add(path, options, title=title))

    def index_folder(self, folder: Path, options: IndexOptions = DEFAULTS) -> FolderAddition:
        """Add the media files below a folder to the queue; they give way to files that a person names.

        A file that is refused prevents no other.

        Raises:
            BadRequest: it has no such file, or cannot be read. LibraryUnusable, NoSpace: the library cannot be written.
        """
        paths = [path for path, _ in media_files(folder.resolve())]
        if not paths:
            raise BadRequest(" ".join(filter(None, (f"{folder} has no video or audio files.", left_out_text(folder.resolve())))))
        addition = FolderAddition()
        addition.refused.extend([(path, BadRequest(f"{path.name} {reason}.")) for path, reason in left_out(folder.resolve())])
        for path in paths:
            try:
                addition.jobs.append(self._wake_workers(self._runner.add(path, options, priority=BATCH)))
            except (LibraryUnusable, NoSpace):
                raise
            except EXPECTED_ERRORS as error:
                addition.refused.append((path, error))
        return addition

    def caption_again(self, entry: VideoEntry) -> QueuedJob:
        """Return the job that captions a video again; add it unless it waits or runs already. Nothing else is indexed.

        Raises:
            VideoError: the file is not where it was. LibraryUnusable: the library cannot be written.
        """
        return self.add(entry.path, CAPTION_AGAIN, title=entry.title)

    def captioning_job(self, entry: VideoEntry) -> QueuedJob | None:
        """Return the job of `caption_again` that waits or runs; None if there is none."""
        jobs = (job for job in self.jobs() if job.status in ("waiting", "running") and job.options == {"sources": ["captions"]})
        return next((job for job in jobs if job.video_id == entry.video_id or job.path == entry.path), None)

    def prepare_for_browser(self, entry: VideoEntry) -> Preparation:
        """Return the browser copy of a video that is being made, or that could not be made; begin it if there is none."""
        return self.browser_copies.prepare(entry)

    def show_preparation(self, preparation: Preparation) -> None:
        """Show something on the pages that another thread prepares; `stop` cancels it."""
        self._preparations.append(preparation)
        if self.is_closed:
            preparation.progress.cancel()

    # -- the state -----------------------------------------------------------------------------------------------------

    @property
    def is_closed(self) -> bool:
        """Whether the server is stopping."""
        return self._closing.is_set()

    def refresh(self) -> int:
        """Read the queue again if it was last read `STATE_S` ago, or was changed here since; return the number of this reading.

        Nothing else reads all jobs, so that the queue is not read while no page is open, and once for all that are.
        """
        with self._lock:
            if self._has_changed.is_set() or time.monotonic() - self._read_s >= STATE_S:
                # What changes during the reading is read the next time.
                self._has_changed.clear()
                # A library that cannot be read shows its error elsewhere.
                with suppress(LibraryUnusable):
                    mark = self._queue.mark()
                    self._jobs = self._queue.jobs(ended_limit=MAX_ENDED)
                    self._mark = mark
                self._read_s = time.monotonic()
                self._reading += 1
            return self._reading

    @property
    def read_mark(self) -> object:
        """The mark of the library when the queue was last read; see `Longview.mark`."""
        with self._lock:
            return self._mark

    def jobs(self) -> tuple[QueuedJob, ...]:
        """Return the jobs as they were a moment ago, in the order of `JobQueue.jobs`; `MAX_ENDED` of those that have ended."""
        self.refresh()
        return self._jobs

    def job(self, job_id: int) -> QueuedJob:
        """Return a job as it is now.

        Raises:
            UnknownJob: there is none.
        """
        return self._queue.job(job_id)

    def shown_preparations(self) -> tuple[Preparation, ...]:
        """Return the files that are being prepared beside the queue, and those that could not be made for all."""
        own = (item for item in self._preparations if not item.ended_event.is_set() or item.status == "failed")
        return (*own, *self.browser_copies.unfinished(), *self.waveforms.unfinished(), *self.cuts.unfinished())

    def is_indexing(self, video_id: str) -> bool:
        """Whether a running job has partial results of a video."""
        return any(job.video_id == video_id and job.partial_results for job in self.jobs() if job.status == "running")

    def change(self, job_id: int, action: str) -> QueuedJob:
        """Cancel, pause or retry a job, or let it run before all others that wait; return it as it is then.

        Raises:
            UnknownJob: there is no such job. LibraryUnusable: the library cannot be written. LookupError: no such action.
        """
        actions = {
            "cancel": self._runner.cancel,
            "pause": self._queue.pause,
            "retry": self._queue.retry,
            "first": self._queue.move_first,
        }
        return self._wake_workers(actions[action](job_id))

    def change_all(self, entry: VideoEntry, jobs: Iterable[QueuedJob], action: JobAction) -> QueuedJob:
        """Cancel, pause or resume the unfinished jobs of a video; return the first that was changed, as it is then.

        Raises:
            BadRequest: none of its jobs can be changed in this way. LibraryUnusable: the library cannot be written.
        """
        if action != "cancel":
            jobs = [job for job in jobs if (job.status == "paused" or job.request == "pause") == (action == "resume")]
        # What is paused is resumed as what has failed is tried again.
        changed = [self.change(job.job_id, "retry" if action == "resume" else action) for job in jobs]
        if not changed:
            raise BadRequest(f"{entry.title} {NO_SUCH_JOB[action]}.")
        return changed[0]

    def _wake_workers(self, job: QueuedJob) -> QueuedJob:
        """Let a worker and the pages see a change of the queue at once."""
        self._has_changed.set()
        self._wake.set()
        return job

    # -- running -------------------------------------------------------------------------------------------------------

    def stop(self, *, pauses: bool = False) -> None:
        """Tell the running jobs to end at their next chunk of frames or token, and begin no other. It does not wait.

        `pauses`: whether what is unfinished waits until somebody resumes it; otherwise the next server resumes it.
        """
        if not self.is_closed:
            self._pauses = pauses
            self._runner.stopped_status = "paused" if pauses else "waiting"
            self._closing.set()
        self._wake.set()
        self.browser_copies.close()
        self.waveforms.close()
        self.cuts.close()
        self.part_uploads.close()
        for progress in [*self._running.values(), *(item.progress for item in self._preparations)]:
            progress.cancel()

    def close(self, *, pauses: bool = False, wait_s: float = 0.0) -> None:
        """Stop, and wait for the end of the running jobs. `pauses`: see `stop`. `wait_s`: maximum time to wait, in seconds."""
        self.stop(pauses=pauses)
        self.answers.close()
        self.uploads.delete()
        if self._pauses:
            with suppress(LibraryUnusable):
                self._runner.pause_own(with_unowned=True)
        deadline = time.monotonic() + wait_s
        for worker in self._workers:
            if worker.ident is not None:
                worker.join(max(0.0, deadline - time.monotonic()))
        if any(worker.is_alive() for worker in self._workers):
            with suppress(LibraryUnusable):
                self._runner.note_stop()

    def _wait_for_change(self, mark: object) -> None:
        """Wait until a job may be there that was not when the library's files had this mark."""
        deadline_s = time.monotonic() + FULL_POLL_S
        while not self._wake.wait(POLL_S) and self._queue.mark() == mark and time.monotonic() < deadline_s:
            pass

    def _work(self) -> None:
        """Run one job after another until the server stops."""
        while not self.is_closed:
            self._wake.clear()
            # What is written from here on is looked at again.
            mark = self._queue.mark()
            try:
                job = self._runner.claim_next()
            except LibraryUnusable as error:
                log.info("The queue cannot be read: %s", error)
                self._closing.wait(UNUSABLE_S)
                continue
            except Exception:
                # Without its worker, nothing would be indexed until the server is started again.
                log.exception("the next job cannot be taken")
                self._closing.wait(UNUSABLE_S)
                continue
            if job is None:
                self._wait_for_change(mark)
                continue
            progress = Progress()
            with self._lock:
                self._running[job.job_id] = progress
            if self.is_closed:
                progress.cancel()
            try:
                for _ in self._runner.run(job, waits=False, progress=progress):
                    pass
            except Cancelled:
                pass
            except EXPECTED_ERRORS as error:
                log.info("%s: %s", job.title, error)
            except Exception:
                log.exception("indexing %s failed", job.title)
            finally:
                with self._lock:
                    del self._running[job.job_id]
                self._has_changed.set()
