"""The document of `jobs`: the queue of files to index."""

from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel

from longview.app.jobs.text import detail_text
from longview.app.schemas.base import rounded

if TYPE_CHECKING:
    from longview.app.serving.preparations import Preparation
    from longview.indexing.records.job import QueuedJob


class JobOut(BaseModel):
    """A job of the queue."""

    job_id: int
    path: str
    title: str
    video_id: str | None
    """Id of the video; null until the file was read."""
    in_library: bool = False
    """Whether the video is in the library: something of it was found, and nobody has removed it."""
    status: str
    """`waiting`, `running`, `paused`, `failed`, `done` or `cancelled`."""
    request: str
    """What was asked of a running job and is not done yet: `pause`, `cancel`, or empty."""
    stage: str
    fraction: float
    """The completed fraction, 0 to 1."""
    seconds_left: float | None
    reason: str
    """Why it failed or is paused, or its outcome."""
    error_code: str
    attempts: int
    partial_results: int = 0
    """Number of partial results so far."""
    priority: int
    position: float = 0.0
    """Place among the jobs of its priority that have not ended: the lowest is run first."""
    options: dict[str, Any]
    """What is indexed of the file, as far as it was chosen."""
    settings: dict[str, Any]
    """Settings that the job needs: only a process that has them runs it unasked."""
    added_at: str
    changed_at: str
    damage: str | None = None
    """What could not be decoded of the file, in words."""
    detail: str = ""
    """What users are told of its state: how far it is, what it needs, or why it waits or failed."""

    @classmethod
    def of(cls, job: "QueuedJob", damage: str = "") -> Self:
        """Return the document of a job. `damage`: what could not be decoded of its file."""
        return cls(
            job_id=job.job_id,
            path=str(job.path),
            title=job.title,
            video_id=job.video_id,
            in_library=job.is_in_library,
            status=job.status,
            request=job.request,
            stage=job.stage,
            fraction=round(job.fraction, 4),
            seconds_left=rounded(job.seconds_left),
            reason=job.reason,
            error_code=job.error_code,
            attempts=job.attempts,
            partial_results=job.partial_results,
            priority=job.priority,
            position=job.position,
            options=dict(job.options),
            settings=dict(job.settings),
            added_at=job.added_at,
            changed_at=job.changed_at,
            damage=damage or None,
            detail=detail_text(job),
        )


class KnownVideoOut(BaseModel):
    """A video that was in the library already."""

    video_id: str
    title: str


class AddedJobsDocument(BaseModel):
    """The document of files that were added to the queue."""

    jobs: list[JobOut]
    refused: list[str]
    """Why others were not added, as sentences."""
    known: list[KnownVideoOut] = []
    """The video of a file that was indexed completely before, so that its job will find nothing new."""


class PreparationOut(BaseModel):
    """Something that a server prepares beside the queue, such as a copy of a video that browsers play."""

    title: str
    action: str
    """What is done, in words that begin a line: `Preparing …`."""
    video_id: str | None
    stage: str
    fraction: float
    """The completed fraction, 0 to 1."""
    seconds_left: float | None
    reason: str | None
    """Why it failed; null while it is being prepared."""

    @classmethod
    def of(cls, preparation: "Preparation") -> Self:
        """Return the document of a preparation."""
        return cls(
            title=preparation.title,
            action=preparation.action,
            video_id=preparation.video_id,
            stage=preparation.stage,
            fraction=round(preparation.fraction, 3),
            seconds_left=rounded(preparation.seconds_left),
            reason=preparation.reason if preparation.status == "failed" else None,
        )


class JobsDocument(BaseModel):
    """The document of `jobs` and its subcommands: the jobs that are listed, or those that were changed."""

    jobs: list[JobOut]
    preparations: list[PreparationOut] = []
    """What a server prepares beside the queue; empty on the command line."""
