"""Videos of a library, and questions about them, as values."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from longview.core.timeline import Event, Span
from longview.indexing.records.track import Provenance, Track


@dataclass(frozen=True)
class VideoEntry:
    """A video of the library."""

    video_id: str
    content_hash: str
    path: Path
    """The path of the video file, which may no longer exist."""
    title: str
    duration_s: float
    facts: dict[str, Any] = field(default_factory=dict)
    """Width, height, codec, container and the like, for display."""
    summary: str = ""
    """A summary of the whole video."""
    chapters: tuple[Event, ...] = ()
    """Chapters in order, without gaps; their texts are titles."""
    added_at: str = ""
    """ISO 8601, UTC."""
    tracks: tuple[Track, ...] = ()
    """What each source has found."""
    position_s: float = 0.0
    """Time at which somebody stopped watching, in seconds; 0 if nobody has begun, or somebody has seen its end."""
    watched_at: str = ""
    """When that was, ISO 8601, UTC; empty if nobody has begun."""

    def track(self, source: str) -> Track | None:
        """Return the track of a source; None if that source was not run."""
        return next((track for track in self.tracks if track.source == source), None)

    @property
    def caption_count(self) -> int:
        """Number of captions."""
        track = self.track("captions")
        return track.segment_count if track else 0

    @property
    def has_frames(self) -> bool:
        """Whether the file has pictures, and not only sound."""
        return bool(self.facts.get("width", 1))

    @property
    def has_segments(self) -> bool:
        """Whether any source has found something."""
        return any(track.segment_count for track in self.tracks)


@dataclass(frozen=True)
class VideoName:
    """What names a video of the library."""

    video_id: str
    title: str
    path: Path


QUOTES = "quotes"
"""Name that stands for the checkpoint in the provenance of an answer that consists of quotes."""


@dataclass(frozen=True)
class AnsweredQuestion:
    """A question about a video and its answer."""

    question: str
    answer: str
    citations: tuple[Span, ...]
    provenance: Provenance

    @property
    def is_quoted(self) -> bool:
        """Whether the answer consists of quotes."""
        return self.provenance.checkpoint == QUOTES
