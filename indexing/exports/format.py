"""The description of an export format: its name, what it can hold, and the function that writes it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from longview.core.timeline import Segment
from longview.indexing.records.video import VideoEntry


@dataclass(frozen=True)
class ExportedSegments:
    """What a format writes."""

    entry: VideoEntry
    segments: Sequence[Segment]
    """Segments of one or more sources, in order of time."""
    word_times: bool = False
    """Whether to write the time of each word."""


@dataclass(frozen=True)
class ExportFormat:
    """One file format."""

    name: str
    """Name for users and in addresses."""
    suffix: str
    """Ending of its files, with the dot."""
    media_type: str
    write: Callable[[ExportedSegments], str]
    """Return the text of a file; what cannot be encoded in UTF-8 is replaced afterwards."""
    holds_word_times: bool = False
    """Whether it can state the time of each word."""
    holds_sources: bool = True
    """Whether a reader can tell segments of several sources apart."""
    holds_languages: bool = True
    """Whether segments in several languages can stand in one file. Players show all subtitles of a file."""
