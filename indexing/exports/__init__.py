"""Export captions, speech and subtitles for other programs: SRT, WebVTT, JSON, CSV and plain text."""

import logging
import re
from collections.abc import Sequence

from longview.core.timeline import Segment
from longview.indexing.errors import ExportNotPossible, NothingToExport
from longview.indexing.exports.format import ExportedSegments, ExportFormat
from longview.indexing.exports.formats import FORMATS
from longview.indexing.records.video import VideoEntry

__all__ = ["FORMATS", "ExportFormat", "export_format", "export_segments"]

log = logging.getLogger(__name__)

_SURROGATE = re.compile("[\ud800-\udfff]")


def export_format(name: str) -> ExportFormat:
    """Return a format by its name.

    Raises:
        ExportNotPossible: there is no such format.
    """
    if name not in FORMATS:
        raise NothingToExport(f"There is no format {name!r}; choose from {', '.join(FORMATS)}.")
    return FORMATS[name]


def export_segments(name: str, entry: VideoEntry, segments: Sequence[Segment], *, word_times: bool = False) -> str:
    """Return segments of a video as text in a format, in order of time; the text can be encoded as UTF-8.

    Args:
        name: the name of the format.
        entry: the video.
        segments: segments of one or more sources, in any order. Segments of different sources are never merged.
        word_times: whether to include the time of each word.

    Raises:
        ExportNotPossible: there is no such format, it cannot hold the times of words, or several sources, or has a fault.
    """
    format = export_format(name)
    if word_times and not format.holds_word_times:
        others = _others([item.name.upper() for item in FORMATS.values() if item.holds_word_times])
        raise ExportNotPossible(f"{name.upper()} cannot represent the times of words; export to {others} instead.")
    sources = sorted({segment.source for segment in segments})
    if len(sources) > 1 and not format.holds_sources:
        others = _others([item.name.upper() for item in FORMATS.values() if item.holds_sources])
        raise ExportNotPossible(
            f"{name.upper()} cannot distinguish several sources ({', '.join(sources)}); choose one source, or export to {others}."
        )
    in_order = sorted(segments, key=lambda segment: (segment.span, segment.source))
    try:
        text = format.write(ExportedSegments(entry, in_order, word_times))
    except Exception as error:
        log.exception("the format %s cannot write %s", name, entry.video_id)
        fault = f"The format {name.upper()} has a fault ({type(error).__name__}: {error}); export to another one."
        raise ExportNotPossible(fault) from error
    # A file name that is not valid UTF-8 has lone surrogates too.
    return _SURROGATE.sub("\ufffd", text)


def _others(names: Sequence[str]) -> str:
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))
