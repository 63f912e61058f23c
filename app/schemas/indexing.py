"""The documents of the commands that add, list, plan and remove videos."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel

from longview.app.files.disk_usage import original_bytes
from longview.app.jobs.source_states import source_states
from longview.app.schemas.base import ErrorOut, SpanOut, rounded
from longview.app.text.damage import damage_of

if TYPE_CHECKING:
    # They import torch, which takes seconds.
    from longview.app.files.disk_usage import VideoBytes
    from longview.app.files.removal import Removal
    from longview.app.ingest.indexer import IndexResult
    from longview.app.ingest.sources import SourceReport
    from longview.app.jobs.source_states import SourceState
    from longview.indexing.records.job import QueuedJob
    from longview.indexing.records.track import Track
    from longview.indexing.records.video import VideoEntry
    from longview.video.probing.probe import VideoInfo


class SourceOut(BaseModel):
    """The outcome of one source."""

    source: str
    status: str
    """`indexed`, `up_to_date`, `skipped`, `declined` (nothing to find in this video) or `failed`."""
    reason: str
    """Why the source was not run, failed or found nothing, or what it left out."""
    segments: int
    language: str | None
    seconds_spent: float
    estimated_seconds: float | None
    error: ErrorOut | None

    @classmethod
    def of(cls, report: "SourceReport") -> Self:
        """Return the document of a source's report."""
        return cls(
            source=report.source,
            status=report.status,
            reason=report.reason,
            segments=report.segments,
            language=report.language,
            seconds_spent=round(report.seconds_spent, 2),
            estimated_seconds=rounded(report.estimated_seconds),
            error=ErrorOut.of(report.error) if report.error else None,
        )


class DamageOut(BaseModel):
    """What could not be decoded of a video."""

    text: str
    """In words."""
    lost_frames: int
    frames: int
    """Number of frames that were to be decoded, five of each second."""
    pictures: list[SpanOut]
    sound: list[SpanOut]

    @classmethod
    def of(cls, entry: "VideoEntry") -> Self | None:
        """Return the document of the damage of a video; None if nothing is known to be lost."""
        damage = damage_of(entry)
        if damage is None:
            return None
        return cls(
            text=damage.text,
            lost_frames=damage.lost_frames,
            frames=damage.frames,
            pictures=[SpanOut.of(span) for span in damage.pictures],
            sound=[SpanOut.of(span) for span in damage.sound],
        )


class IndexedVideoOut(BaseModel):
    """A file that was indexed."""

    video_id: str
    path: str
    status: str = "indexed"
    """`indexed`, or `partial` if a source failed."""
    duration_s: float
    events: int
    """Number of captions."""
    seconds_spent: float
    sources: list[SourceOut]
    incomplete: list[SpanOut]
    """Spans in which captions may be incomplete."""
    damage: DamageOut | None = None
    """What could not be decoded of the file."""

    @classmethod
    def of(cls, result: "IndexResult") -> Self:
        """Return the document of the result of `index`."""
        entry, captions = result.entry, result.entry.track("captions")
        return cls(
            video_id=entry.video_id,
            path=str(entry.path),
            status="partial" if result.failures else "indexed",
            duration_s=round(entry.duration_s, 3),
            events=entry.caption_count,
            seconds_spent=round(result.seconds_spent, 2),
            sources=[SourceOut.of(report) for report in result.reports],
            incomplete=[SpanOut.of(span) for span in (captions.uncovered if captions else ())],
            damage=DamageOut.of(entry),
        )


class FailedVideoOut(BaseModel):
    """A file that could not be indexed."""

    video_id: None = None
    path: str
    status: str = "failed"
    error: ErrorOut


class IndexDocument(BaseModel):
    """The document of `index`."""

    videos: list[IndexedVideoOut | FailedVideoOut]
    notice: str | None


class TrackOut(BaseModel):
    """What one source has found in a video."""

    source: str
    status: str
    """`complete`, `incomplete` (interrupted: `index` resumes), `declined` or `failed`."""
    segments: int
    languages: list[str]
    indexed: SpanOut
    """The part that was requested."""
    done_s: float
    """Time up to which it is complete, in seconds."""
    model: str
    """Checkpoint or speech model, and its fingerprint."""
    updated_at: str
    note: str
    uncovered: list[SpanOut] = []
    """Parts of what is complete that were not read to their end, so that something may be missing there."""

    @classmethod
    def of(cls, track: "Track") -> Self:
        """Return the document of a track."""
        return cls(
            source=track.source,
            status=track.status,
            segments=track.segment_count,
            languages=list(track.languages),
            indexed=SpanOut.of(track.span),
            done_s=round(track.done_s, 3),
            model=track.provenance.checkpoint,
            updated_at=track.updated_at,
            note=track.note,
            uncovered=[SpanOut.of(span) for span in track.uncovered],
        )


class VideoBytesOut(BaseModel):
    """Sizes of what belongs to one video, in bytes."""

    original: int | None
    """Size of its file; null if the file is missing."""
    caches: int
    """Size of its thumbnails and its browser copy."""
    vectors: int
    """Its share of the files of the vectors, by its number of passages."""


class SourceStateOut(BaseModel):
    """The state of one source of a video."""

    source: str
    state: str
    """`waiting`, `running`, `paused`, `failed`, `current`, `outdated` (another checkpoint would find it now), `partial`, `none`
    (there was nothing), `not_yet`, or `needs_model` (captions, which need a model that is not on this machine)."""
    fraction: float
    """The share of the requested part that was looked at, 0 to 1."""
    segment_count: int
    seconds_left: float | None
    reason: str
    job_id: int | None

    @classmethod
    def of(cls, state: "SourceState") -> Self:
        """Return the document of a state."""
        return cls(**asdict(state) | {"fraction": round(state.fraction, 4), "seconds_left": rounded(state.seconds_left)})


class VideoOut(BaseModel):
    """A video of the library."""

    video_id: str
    title: str
    path: str
    duration_s: float
    events: int
    """Number of captions."""
    tracks: list[TrackOut]
    outdated: bool
    """Whether another checkpoint would now caption it."""
    bytes: VideoBytesOut | None
    """Null in a page of many videos, for which the files are not counted."""
    missing: bool
    """Whether its file is no longer at `path`; `longview relink FOLDER` finds one that was moved."""
    damage: DamageOut | None = None
    """What could not be decoded of the file."""
    job: str | None = None
    """State of the unfinished job that indexes it: `waiting`, `running` or `paused`; null if there is none."""
    sources: list[SourceStateOut] = []
    """What was found, is looked for, or was not looked for yet, by source."""
    added_at: str = ""
    """ISO 8601, UTC."""
    position_s: float = 0.0
    """Time at which somebody stopped watching it on the page; 0 if nobody has begun, or somebody has seen its end."""
    watched_at: str = ""
    """When that was, ISO 8601, UTC; empty if nobody has begun."""
    has_pictures: bool = True
    """Whether the file has pictures, and not only sound."""
    facts: dict[str, Any] = {}
    """Width, height, frames per second, codec and container of the file, and whether it has sound."""
    example_questions: list[str] = []
    """What can be asked about a sample; empty for other videos."""

    @classmethod
    def of(
        cls,
        entry: "VideoEntry",
        *,
        is_outdated: bool,
        sizes: "VideoBytes | None",
        captions_footage: bool,
        job: "QueuedJob | None" = None,
        **fields: Any,
    ) -> Self:
        """Return the document of a library entry. `fields`: those of a child. `sizes`: None if they were not counted.

        `captions_footage`: see `source_states`. `job`: the unfinished one that indexes it, or the one that has failed.
        """
        states = source_states(entry, job, is_outdated=is_outdated, captions_footage=captions_footage)
        return cls(
            video_id=entry.video_id,
            title=entry.title,
            path=str(entry.path),
            duration_s=round(entry.duration_s, 3),
            events=entry.caption_count,
            tracks=[TrackOut.of(track) for track in entry.tracks],
            outdated=is_outdated,
            bytes=VideoBytesOut(**asdict(sizes)) if sizes else None,
            missing=(sizes.original if sizes else original_bytes(entry.path)) is None,
            damage=DamageOut.of(entry),
            job=job.status if job and job.is_unfinished else None,
            sources=[SourceStateOut.of(state) for state in states],
            position_s=round(entry.position_s, 3),
            watched_at=entry.watched_at,
            has_pictures=entry.has_frames,
            facts=dict(entry.facts),
            **{"added_at": entry.added_at} | fields,
        )


class InfoDocument(VideoOut):
    """The document of `info`: one video."""

    added_at: str
    """ISO 8601, UTC."""
    chapters: int | None
    """Number of chapters; null if they cannot be found now."""
    questions: int
    """Number of questions that were asked about it and not cleared."""
    next: list[str]
    """What can be done next, as sentences."""


class RenameDocument(BaseModel):
    """The document of `rename`."""

    video_id: str
    path: str
    title: str
    old_title: str
    namesakes: list[str]
    """Ids of other videos with the same title, which then does not name one of them."""


class ListDocument(BaseModel):
    """The document of `list`, and of a page of the library."""

    videos: list[VideoOut]
    total: int | None = None
    """Number of videos on all pages; null if these are all."""
    next_cursor: str | None = None
    """The parameter `cursor` of the next page; null if there is none."""


class BulkResultOut(BaseModel):
    """What became of one of several videos."""

    video_id: str
    error: str | None = None
    """Why nothing was done; null if it was done."""
    job_id: int | None = None
    """The job that was added or changed; null if there is none."""


class BulkDocument(BaseModel):
    """The document of a change of several videos."""

    results: list[BulkResultOut]


class RemoveDocument(BaseModel):
    """The document of `remove`."""

    video_id: str
    path: str
    removed: bool = True
    freed_bytes: int
    """Size of the thumbnails and the browser copy that were deleted, in bytes."""
    upload_bytes: int
    """Size of the library's own copy of an upload, in bytes, which is deleted when the removal expires."""
    undo_until: str
    """The time until which `remove --undo` brings the video back, ISO 8601, UTC."""

    @classmethod
    def of(cls, removal: "Removal") -> Self:
        """Return the document of a removal."""
        return cls(
            video_id=removal.video.video_id,
            path=str(removal.video.path),
            freed_bytes=removal.freed_bytes,
            upload_bytes=removal.upload_bytes,
            undo_until=removal.video.undo_until,
        )


class UndoRemovalDocument(BaseModel):
    """The document of `remove --undo`."""

    video_id: str
    path: str
    removed: bool = False
    missing: bool
    """Whether its file is no longer at `path`."""


def video_fields(video: "VideoInfo") -> dict[str, Any]:
    """Return the fields of a video file, without its path, content hash and stream index."""
    fields = asdict(video)
    for internal in ("path", "content_hash", "stream_index"):
        del fields[internal]
    return fields
