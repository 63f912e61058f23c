"""The types of a list of videos: which ones, in which order, and one page of them."""

from dataclasses import dataclass
from typing import Literal

from longview.indexing.records.video import VideoEntry

SortKey = Literal["added", "title", "duration", "watched"]
ListState = Literal["running", "waiting", "paused", "failed", "partial", "outdated"]
"""States by which videos are listed. `running`, `waiting`, `paused`: a job of the video is in this state. Of a source that no
unfinished job is to find: `failed`: it has failed, or a job of the video has; `partial`: only a part was looked at; `outdated`:
another checkpoint would make the captions now."""


@dataclass(frozen=True)
class CaptionMaker:
    """What made captions, as far as it decides whether they are outdated: a checkpoint, and its profile."""

    checkpoint: str
    profile: str
    """Name of the profile."""
    prompt_version: str
    """Version of the profile."""


@dataclass(frozen=True)
class ListingQuery:
    """Which videos are listed, and in which order."""

    text: str = ""
    """Words that the titles have, without regard to case and accents."""
    state: ListState | None = None
    outdated: frozenset[CaptionMaker] = frozenset()
    """What made the captions that are outdated, for that state; see `Library.caption_makers`."""
    source: str = ""
    """A source that has found something in the videos."""
    video_ids: frozenset[str] | None = None
    """The only videos that are listed; None: all."""
    sort: SortKey = "added"
    is_descending: bool = False


@dataclass(frozen=True)
class Listing:
    """One page of a list of videos."""

    entries: tuple[VideoEntry, ...]
    total: int
    """Number of videos on all pages."""
    next_cursor: str | None
    """What names the next page; None if this is the last one."""
