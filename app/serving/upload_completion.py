"""The end of an upload in parts: the file takes its place in the library, and a job is added for it."""

import threading
from dataclasses import dataclass, replace
from pathlib import Path

from longview.app.errors import UnknownUpload
from longview.app.files.originals import has_original
from longview.app.ingest.options import IndexOptions
from longview.app.service import Longview
from longview.app.serving.upload_files import UploadFiles
from longview.app.serving.workers import Workers
from longview.indexing.errors import UnknownJob, UnknownVideo
from longview.indexing.records.job import QueuedJob
from longview.indexing.records.track import video_id_of
from longview.video.errors import VideoError


@dataclass(frozen=True)
class CompleteUpload:
    """An upload whose file is in the library folder."""

    job: QueuedJob
    sha256: str
    """SHA-256 of the file, hexadecimal."""
    is_repeated: bool
    """Whether the library had the content already, or a job for it."""


class UploadCompletion:
    """Completes uploads in parts. Safe for several threads."""

    def __init__(self, app: Longview, workers: Workers) -> None:
        self._app, self._workers = app, workers
        # Two uploads of one file must not both find that there is neither a copy nor a job.
        self._add_lock = threading.Lock()

    def complete(self, upload_id: str, options: IndexOptions, sha256: str = "") -> CompleteUpload:
        """Hash an upload all of which has arrived, move it into the library folder, and add it to the queue.

        A second call returns the same job. `sha256`: that of the file of the client, hexadecimal, if it knows it.

        Raises:
            As `PartUploads.checked` and `JobRunner.add`. VideoError: it is not a video, so that nothing of it stays.
        """
        self._app.parts.indexer.check_options(options)
        uploads = self._workers.part_uploads
        with uploads.checked(upload_id, sha256) as upload:
            state = upload.state
            if state.job_id is not None:
                return CompleteUpload(self._job(state.job_id), state.sha256, state.is_repeated)
            try:
                with self._add_lock:
                    job, is_repeated = self._add(upload, options)
            except VideoError:
                uploads.delete(upload)
                raise
            uploads.finish(upload, job.job_id, is_repeated=is_repeated)
            return CompleteUpload(job, state.sha256, is_repeated)

    def _job(self, job_id: int) -> QueuedJob:
        try:
            return self._workers.job(job_id)
        except UnknownJob as error:
            raise UnknownUpload("The upload was complete, and its job has been deleted since; send the file again.") from error

    def _add(self, upload: UploadFiles, options: IndexOptions) -> tuple[QueuedJob, bool]:
        """Return the job of a file, and whether the library had its content already, or a job for it."""
        state = upload.state
        path = self._original(state.content_hash)
        is_known = path is not None
        if path is None:
            path = self._app.parts.media.import_upload(upload.data, state.name, known_hash=state.content_hash)
        earlier_job = self._app.parts.runner.latest(path, options) if options.title is None else None
        if earlier_job is not None and earlier_job.status == "done" and is_known:
            return earlier_job, True
        # With the title of an earlier job of the file, it is the same job.
        own_title = options.title or (earlier_job.options.get("title") if earlier_job else Path(state.name).stem)
        job_title = earlier_job.title if earlier_job else state.name
        job = self._workers.add(path, replace(options, title=own_title), title=job_title)
        return job, is_known or earlier_job is not None

    def _original(self, content_hash: str) -> Path | None:
        """Return the file of a video of the library that has this content; None if there is none."""
        library = self._app.parts.library
        try:
            entry = library.video(video_id_of(content_hash))
        except UnknownVideo:
            return None
        return entry.path if entry.content_hash == content_hash and has_original(library, entry) else None
