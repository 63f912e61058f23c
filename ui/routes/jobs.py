"""Routes of the queue: its jobs, and their changes."""

from contextlib import suppress
from pathlib import Path
from typing import Literal

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import Response
from pydantic import Field

from longview.app import schemas
from longview.app.errors import BadRequest
from longview.app.ingest.options import IndexOptions
from longview.app.jobs.text import refused_text
from longview.app.serving.workers import FolderAddition, Workers
from longview.model.tasks.question import MAX_QUESTION_CHARACTERS
from longview.ui.routes.common import PREFIX, JobId, RequestBody, checked_options, conditional

Action = Literal["cancel", "pause", "resume", "retry", "first"]


class Addition(RequestBody):
    """A file or folder of this machine that is added to the queue."""

    path: str = Field(max_length=MAX_QUESTION_CHARACTERS)
    options: schemas.RunOptions = schemas.RunOptions()


def jobs_router(workers: Workers) -> APIRouter:
    """Make the routes over the queue of one library."""
    router = APIRouter(prefix=PREFIX)

    @router.get("/jobs")
    def jobs(request: Request) -> Response:
        document = schemas.JobsDocument(
            jobs=[schemas.JobOut.of(job) for job in workers.jobs()],
            preparations=[schemas.PreparationOut.of(item) for item in workers.shown_preparations()],
        )
        return conditional(request, document)

    @router.post("/jobs")
    def add(request: Request, addition: Addition) -> Response:
        """Add a file, or all videos of a folder, to the queue."""
        added = add_path(workers, addition.path.strip(), checked_options(addition.options))
        refused = [refused_text(added.refused)] if added.refused else []
        known = [schemas.KnownVideoOut(video_id=video.video_id, title=video.title) for video in added.known]
        document = schemas.AddedJobsDocument(jobs=[schemas.JobOut.of(job) for job in added.jobs], refused=refused, known=known)
        return conditional(request, document)

    @router.post("/jobs/{job_id}/{action}")
    def change(request: Request, job_id: JobId, action: Action) -> Response:
        """Change a job of the queue."""
        # What is paused is resumed, and what has failed tried again, in the same way: it waits for its turn.
        job = workers.change(job_id, "retry" if action == "resume" else action)
        if action == "cancel" and job.status == "done":
            raise HTTPException(409, f"The job {job_id} is done; what was found is in the library.")
        return conditional(request, schemas.JobOut.of(job))

    return router


def add_path(workers: Workers, text: str, options: IndexOptions) -> FolderAddition:
    """Add a file, or all videos of a folder, to the queue.

    Raises:
        BadRequest: the path is empty, or a folder is to have one title. ImpossiblePlan: the part is outside of the file.
        As `Workers.index` and `Workers.index_folder`.
    """
    if not text:
        raise BadRequest("The path is empty; enter the path of a video on this machine.")
    path, is_folder = Path(text), False
    # A path that no file can have, such as that of an unknown user, is refused with its reason as a file.
    with suppress(OSError, RuntimeError, ValueError):
        path = path.expanduser()
        is_folder = path.is_dir()
    if not is_folder:
        workers.check_part(path, options)
        job = workers.index(path, options)
        known = workers.known_video(job, options)
        return FolderAddition([job], known=[known] if known else [])
    if options.title is not None:
        raise BadRequest("A title is for one video; a folder may have several.")
    return workers.index_folder(path, options)
