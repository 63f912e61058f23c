"""The types of tracks: what one source has found in one video."""

import json
import re
from dataclasses import dataclass, field
from typing import Any, Literal

from longview.core.timeline import Event, Segment, Span

ID_DIGITS = 12
"""Number of hexadecimal digits of the content hash in a video id: 48 bits, one accidental collision in 10^7 at 7,500 videos."""
VIDEO_ID = re.compile(rf"[0-9a-f]{{{ID_DIGITS}}}")
"""Form of a whole video id."""
TrackStatus = Literal["complete", "incomplete", "declined", "failed"]
"""`complete`; `incomplete`: interrupted or running, the next run resumes; `declined`: the source does not apply to this video;
`failed`: it failed, and the note says why."""


def video_id_of(content_hash: str) -> str:
    """Return the id of the video with this content."""
    return content_hash[:ID_DIGITS]


@dataclass(frozen=True)
class Provenance:
    """The checkpoint, the prompts and the plan that produced a result."""

    checkpoint: str
    """Name and fingerprint."""
    prompt_version: str
    plan: dict[str, Any]
    """The sampling plan in numbers, or the settings of a source that has no such plan."""
    revision: str = ""
    """Commit of the Hugging Face Hub; empty if it is unknown: a folder, a bundled model, a server, or an earlier version."""
    profile: str = ""
    """Name of the checkpoint's profile; empty for other models, and for results of earlier versions."""

    def is_same(self, other: "Provenance") -> bool:
        """Whether both are the same, as far as it is known: earlier versions kept neither revision nor profile."""
        return (
            (self.checkpoint, self.prompt_version) == (other.checkpoint, other.prompt_version)
            and is_same_name(self.revision, other.revision)
            and self.has_profile(other.profile)
            and json.dumps(self.plan, sort_keys=True) == json.dumps(other.plan, sort_keys=True)
        )

    def has_profile(self, name: str) -> bool:
        """Whether the result was made with this profile, as far as both are known."""
        return is_same_name(self.profile, name)


def is_same_name(one: str, other: str) -> bool:
    """Whether two names are the same, as far as both are known."""
    return not one or not other or one == other


@dataclass(frozen=True)
class Track:
    """What one source has found in a video, without the segments."""

    source: str
    """Name of the source: `captions`, `speech`, `subtitles` or `screen_text`."""
    status: TrackStatus
    span: Span
    """The part of the video that was requested."""
    done_s: float
    """Time up to which all segments are in the library, in seconds."""
    provenance: Provenance
    language: str | None = None
    """Main language of the segments."""
    uncovered: tuple[Span, ...] = ()
    """Spans that could not be decoded or understood."""
    note: str = ""
    """A sentence for users: why a track is empty, or what was left out."""
    seconds_spent: float = 0.0
    frames_read: int = 0
    """Number of frames in which text was looked for, with those that were skipped because nothing had changed."""
    updated_at: str = ""
    """ISO 8601, UTC."""
    segment_count: int = 0
    """Number of segments, of all languages."""
    languages: tuple[str, ...] = field(default=())
    """Languages of the segments, as far as they are known, most frequent first."""
    state: dict[str, Any] = field(default_factory=dict)
    """What the next run of an unfinished source needs to resume, in terms of the source."""

    @property
    def is_complete(self) -> bool:
        """Whether the source has covered all that was requested."""
        return self.status == "complete"


@dataclass(frozen=True)
class StoredSegment:
    """A segment of the library."""

    segment_id: int
    """An id that is never used for another text."""
    video_id: str
    segment: Segment


@dataclass(frozen=True)
class TrackVersion:
    """A track of a video that is searched now, or an earlier one that it has replaced."""

    number: int
    """Number that stays with the track when another one replaces it, and is never used for another track."""
    video_id: str
    track: Track
    replaced_at: str = ""
    """Time at which another track replaced it, as ISO 8601, UTC; empty for a current track."""
    summary: str = ""
    """The summary that belongs to captions."""
    chapters: tuple[Event, ...] = ()
    """The chapters that belong to captions."""

    @property
    def is_current(self) -> bool:
        """Whether it is the track that is searched, shown and quoted."""
        return not self.replaced_at


@dataclass(frozen=True)
class SegmentQuery:
    """Which segments of a video are read."""

    source: str | None = None
    """The only source; None: all of them."""
    language: str | None = None
    """The only language; None: all of them."""
    within: Span | None = None
    """The part of the video that the segments overlap; None: all of it."""
    version: TrackVersion | None = None
    """The track that is read in place of the current ones. Its source takes the place of `source`."""
    has_words: bool = True
    """Whether the segments are read with the times of their words, which are most of the data of a long video."""


@dataclass(frozen=True)
class SegmentPage:
    """A page of segments in order of time."""

    segments: tuple[StoredSegment, ...]
    total: int
    """Number of all segments of the source and the language, in the whole video."""
    next_offset: int | None
    """Number of the segments up to the end of this page; None if it is the last one."""
