"""The types of the queue: a file that is to be indexed, is being indexed, or was."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from longview.indexing.records.track import video_id_of

JobStatus = Literal["waiting", "running", "paused", "failed", "done", "cancelled"]
"""`waiting`: for its turn; `paused`: until somebody resumes it; `failed`: its reason says why, and it can be tried again."""
Request = Literal["", "pause", "cancel"]
"""What somebody has asked of the process that runs a job."""
UNFINISHED = ("waiting", "running", "paused")
"""States of jobs that have not ended."""
MAX_CRASHES = 2
"""Number of crashes in a row after which a job is not taken again by itself."""
CRASHED = "crashed"
"""Error code of such a job."""
PERSON, BATCH = 10, 0
"""Priorities: of a file that a person waits for, and of a file that was found in a folder."""


@dataclass(frozen=True)
class QueuedJob:
    """One file that is to be indexed, is being indexed, or was."""

    job_id: int
    path: Path
    content_hash: str
    """Hash of the file's content; empty until the file was read."""
    title: str
    options: Mapping[str, Any]
    """What is indexed of it, and how: the fields of `IndexOptions` that are not the default."""
    settings: Mapping[str, Any]
    """Settings that change the result and are not the default: only a process that has the same ones runs the job unasked."""
    priority: int
    status: JobStatus
    request: Request
    owner: str
    """Name of the process that runs it, or that will run it and no other; empty for any."""
    stage: str
    fraction: float
    """The completed fraction, 0 to 1."""
    seconds_left: float | None
    """Estimated remaining time, in seconds; None if it is unknown."""
    partial_results: int
    """Number of partial results so far, such as windows of captions."""
    reason: str
    """A sentence for users: why it failed or waits, or its outcome."""
    error_code: str
    attempts: int
    """Number of times that it was begun."""
    added_at: str
    changed_at: str
    """ISO 8601, UTC."""
    crashes: int = 0
    """Number of runs in a row whose process ended without a word, and that had committed nothing new."""
    position: float = 0.0
    """Place among the jobs of its priority: the lowest is run first."""
    committed: str = ""
    """What the library had of the video when the last run began; see `longview.indexing.sqlite.queue.rows.committed_state`."""

    is_in_library: bool = False
    """Whether users see its video in the library: something of it was found, and nobody has removed it."""

    @property
    def video_id(self) -> str | None:
        """The id of the video; None until the file was read."""
        return video_id_of(self.content_hash) or None

    @property
    def is_unfinished(self) -> bool:
        """Whether it waits, runs or is paused."""
        return self.status in UNFINISHED
