"""The monitor of a running job: a thread that stores its progress, and stops it if that was asked or if the disk is full."""

import logging
import shutil
import threading
import time
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import Any

from longview.app.ingest.indexer import IndexResult
from longview.core.processes import this_process
from longview.core.progress import Progress
from longview.indexing.errors import LibraryUnusable
from longview.indexing.records.job import QueuedJob, Request
from longview.indexing.sqlite.library import Library
from longview.model.tasks.events import PartialResult

log = logging.getLogger(__name__)

POLL_S = 0.25
"""Interval at which a running job looks for what was asked of it, and stores its progress, in seconds."""
REPORT_S = 1.0
"""Minimum time between two reports of a running job, in seconds."""
HEARTBEAT_S = 20.0
"""Maximum time between two reports of a running job, in seconds: its lease on another machine's files depends on them."""
LATE_S = 5.0
"""Time after which a job that was cancelled and still runs says so, in seconds. A chunk of frames takes less."""
MIN_FREE_BYTES = 8 << 20
"""Minimum free space on the disk of the library while a job runs, in bytes: the last blocks are left for what is committed."""


class JobMonitor:
    """Stores the progress of a running job from a thread of its own, and cancels it if that was asked, or if the disk is full."""

    def __init__(self, library: Library, job: QueuedJob, progress: Progress) -> None:
        self._library, self._job, self._progress = library, job, progress
        self._partial_results = job.partial_results
        self._end_event = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"longview-job-{job.job_id}", daemon=True)
        self.request: Request = ""
        """What was asked of the job by others."""
        self.is_disk_full = False

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._end_event.set()
        self._thread.join()

    def count(self, run: Generator[PartialResult[Any], None, IndexResult]) -> Generator[PartialResult[Any], None, IndexResult]:
        """Yield the partial results of a run, and count them; return its result."""
        try:
            while True:
                try:
                    partial_result = next(run)
                except StopIteration as end:
                    result: IndexResult = end.value
                    return result
                self._partial_results += 1
                yield partial_result
        finally:
            run.close()

    def _run(self) -> None:
        last_state: tuple[Any, ...] = ()
        # The first report is due at once.
        stored_s = time.monotonic() - REPORT_S
        while not self._end_event.wait(POLL_S):
            report = self._progress.report
            state = (report.stage, round(report.fraction, 3), self._partial_results)
            age_s = time.monotonic() - stored_s
            is_due = age_s > HEARTBEAT_S or (state != last_state and age_s > REPORT_S)
            try:
                request = self._report(*state, report.seconds_left) if is_due else self._read_request()
            except LibraryUnusable as error:
                # The run itself meets it, too, as soon as it has something to write.
                log.info("the progress of the job %d cannot be stored: %s", self._job.job_id, error)
                request = ""
            else:
                if is_due:
                    last_state, stored_s = state, time.monotonic()
            self.is_disk_full = not has_space(self._library.folder)
            if request or self.is_disk_full:
                self.request = request
                self._progress.cancel()
                self._wait_for_end()
                return

    def _wait_for_end(self) -> None:
        """Report a cancelled run that does not end, until it does: what runs may not look for the cancellation."""
        wait_s = LATE_S
        while not self._end_event.wait(wait_s):
            stage = f"Waiting for the end of “{self._progress.report.stage}”"
            with suppress(LibraryUnusable):
                self._library.queue.report_stopping(self._job.job_id, this_process(), stage)
            wait_s = HEARTBEAT_S

    def _report(self, stage: str, fraction: float, partial_results: int, seconds_left: float | None) -> Request:
        return self._library.queue.report(
            self._job.job_id,
            this_process(),
            stage=stage,
            fraction=fraction,
            seconds_left=seconds_left,
            partial_results=partial_results,
        )

    def _read_request(self) -> Request:
        return self._library.queue.request(self._job.job_id, this_process())


def has_space(folder: Path) -> bool:
    """Whether the disk of a library has space for the next things that a job commits."""
    return free_bytes(folder) >= MIN_FREE_BYTES


def free_bytes(folder: Path) -> int:
    """Return the free space of the disk of a folder that this user may use, in bytes; a large number if it is unknown."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        # The folder is gone, which whoever reads it next says.
        return 1 << 62
