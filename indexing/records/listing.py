"""The types of a list of videos: which ones, in which order, and one page of them."""

from dataclasses import dataclass
from typing import Literal

from longview.indexing.records.video import VideoEntry

SortKey = Literal["added", "title", "duration"]
QueueState = Literal["running", "failed"]
"""`running`: a job of the video waits, runs or is paused; `failed`: its last job or one of its tracks has failed."""


@dataclass(frozen=True)
class ListingQuery:
    """Which videos are listed, and in which order."""

    text: str = ""
    """Words that the titles have, without regard to case and accents."""
    queue_state: QueueState | None = None
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
