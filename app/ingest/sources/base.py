"""The interface of the evidence sources: each finds segments in a video, and writes them as a track of the library."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

from longview.app.files.watched_file import WatchedFile
from longview.app.ingest.media_look import MediaLook
from longview.core.progress import NO_PROGRESS, Progress
from longview.core.timeline import Span
from longview.indexing.records.track import Track
from longview.indexing.records.video import VideoEntry
from longview.model.engine.checkpoints.checkpoints import is_same_checkpoint
from longview.model.tasks.events import PartialResult
from longview.video.probing.probe import VideoInfo

SAME_SPAN_IOU = 0.999
"""Minimum IoU of two requested spans that are the same."""
SPAN_SLACK_S = 0.5
"""Maximum difference between the requested span and that of a track that covers it, in seconds: earlier versions stored the span
of the frames."""
Action = Literal["run", "keep", "skip", "decline"]
"""`run`; `keep`: the track is up to date; `skip`: not needed or not possible here; `decline`: nothing to find in this video."""
SourceStatus = Literal["indexed", "up_to_date", "skipped", "declined", "failed"]


@dataclass(frozen=True)
class Decision:
    """Whether a source is run for a video, and why not."""

    action: Action
    reason: str = ""
    """A clause of a message that explains why the source is not run, or on what its run depends."""
    estimated_seconds: float | None = None
    """Estimated time, in seconds; None if it is unknown."""
    is_failure: bool = False
    """Whether a user who chose this source by name has to be told that it failed: something is missing here."""


@dataclass(frozen=True)
class SourceJob:
    """The video and the options for which a source is run."""

    entry: VideoEntry
    """The video in the library, with the tracks that it has now."""
    video: VideoInfo
    span: Span
    """The part of the video that is requested."""
    is_requested: bool
    """Whether the user chose this source by name."""
    file: WatchedFile
    """The file, which is checked before segments are committed."""
    look: MediaLook
    """A look at the requested part, from which the times of the sources are estimated."""
    context_tokens: int | None = None
    keep_sessions: bool = True
    accepts_long: bool = False

    @property
    def is_partial(self) -> bool:
        """Whether only a part of the video is requested."""
        return self.span.duration_s < self.video.duration_s

    def _covers(self, track: Track) -> bool:
        """Whether a complete track was requested for all of this span, or an unfinished one for the same span."""
        if track.status in ("complete", "declined"):
            return track.span.overlap_s(self.span) >= self.span.duration_s - SPAN_SLACK_S
        return track.span.iou(self.span) >= SAME_SPAN_IOU

    def has_track(self, source: str, checkpoint: str, prompt_version: str, profile: str = "") -> Track | None:
        """Return the track of a source if the same checkpoint and prompts made it, and if it covers the requested span.

        `profile`: the profile of the checkpoint, if it has one.
        """
        track = self.entry.track(source)
        if track is None or not self._covers(track):
            return None
        provenance = track.provenance
        is_same = is_same_checkpoint(provenance.checkpoint, checkpoint) and provenance.prompt_version == prompt_version
        return track if is_same and provenance.has_profile(profile) else None


class NeedsConsent(Exception):
    """A source would take long, and nobody asked for that. The message says how to ask."""

    def __init__(self, message: str, estimated_seconds: float) -> None:
        super().__init__(message)
        self.estimated_seconds = estimated_seconds


@dataclass(frozen=True)
class SourceReport:
    """The outcome of one source."""

    source: str
    status: SourceStatus
    reason: str = ""
    """A clause or sentence of a message: why there is nothing, or what was left out."""
    segments: int = 0
    language: str | None = None
    seconds_spent: float = 0.0
    estimated_seconds: float | None = None
    error: Exception | None = None
    """The error of a source that failed."""


@dataclass(frozen=True)
class SourceResult:
    """The track that a run has written, and what the run was expected to take."""

    track: Track
    estimated_seconds: float | None
    """Time that was estimated beforehand, in seconds; None if it was unknown."""


class EvidenceSource(Protocol):
    """One kind of evidence about videos: what they show, what is said, what is written."""

    name: ClassVar[str]
    """Name of the source and of its track."""
    stage: ClassVar[str]
    """Name of its stage in the progress."""

    def decide(self, job: SourceJob, progress: Progress = NO_PROGRESS) -> Decision:
        """Decide whether the source is run. It must not read the whole file, and must not load weights.

        Raises:
            VideoError, ModelError: the source cannot be run. Cancelled: the operation was cancelled.
        """
        ...

    def loading_s(self) -> float:
        """Return the time until the models of the source are loaded, in seconds; 0 if they are."""
        ...

    def work_s(self, job: SourceJob) -> float | None:
        """Estimate the time of a run whose models are loaded, in seconds, by what this machine did before; None: it is unknown.

        The models that a look at the video needs are loaded.

        Raises:
            VideoError, ModelError: the source cannot be run. Cancelled: the operation was cancelled.
        """
        ...

    def run(self, job: SourceJob, progress: Progress) -> Generator[PartialResult[Any], None, SourceResult]:
        """Find the segments and write the track. Segments that are committed stay if the source is interrupted.

        Raises:
            VideoError, ModelError: the source failed. VideoGone: the file changed meanwhile. Cancelled: the operation was
                cancelled.
        """
        ...
