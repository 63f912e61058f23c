"""Export captions, speech and subtitles for other programs: SRT, WebVTT, JSON, CSV and plain text."""

import re
from collections.abc import Callable, Sequence
from typing import Literal, get_args

from longview.core.timeline import Segment
from longview.indexing.errors import ExportNotPossible
from longview.indexing.exports.document import segment_row, to_json
from longview.indexing.exports.subtitles import to_srt, to_vtt
from longview.indexing.exports.table import to_csv
from longview.indexing.exports.transcript import to_text
from longview.indexing.records.provenance_text import describe_maker
from longview.indexing.records.video import VideoEntry

__all__ = ["FORMATS", "WORD_FORMATS", "ExportFormat", "export_segments", "segment_row"]

ExportFormat = Literal["srt", "vtt", "json", "csv", "txt"]
FORMATS: tuple[ExportFormat, ...] = get_args(ExportFormat)
WORD_FORMATS: tuple[ExportFormat, ...] = ("vtt", "json")
"""The formats that can represent the time of each word."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_WRITERS: dict[ExportFormat, Callable[[VideoEntry, Sequence[Segment], bool], str]] = {
    "srt": lambda entry, segments, _: to_srt(segments, entry.duration_s),
    "vtt": lambda entry, segments, word_times: to_vtt(
        segments, entry.duration_s, word_times=word_times, notes=_notes(entry, segments)
    ),
    "json": lambda entry, segments, word_times: to_json(entry, segments, word_times=word_times),
    "csv": lambda _entry, segments, _: to_csv(segments),
    "txt": lambda _entry, segments, _: to_text(segments),
}


def export_segments(format: ExportFormat, entry: VideoEntry, segments: Sequence[Segment], *, word_times: bool = False) -> str:
    """Return segments of a video as text in a format, in order of time; the text can be encoded as UTF-8.

    Args:
        format: the file format.
        entry: the video.
        segments: segments of one or more sources, in any order. Segments of different sources are never merged.
        word_times: whether to include the time of each word.

    Raises:
        ExportNotPossible: the format cannot represent the times of words, or cannot distinguish several sources.
    """
    if word_times and format not in WORD_FORMATS:
        raise ExportNotPossible(f"{format.upper()} cannot represent the times of words; export to VTT or JSON instead.")
    text = _WRITERS[format](entry, sorted(segments, key=lambda segment: (segment.span, segment.source)), word_times)
    # A file name that is not valid UTF-8 has lone surrogates too.
    return _SURROGATE.sub("\ufffd", text)


def _notes(entry: VideoEntry, segments: Sequence[Segment]) -> list[str]:
    """Return what made the tracks of the segments, one line each."""
    sources = dict.fromkeys(segment.source for segment in segments)
    return [f"{source}: {describe_maker(track)}" for source in sources if (track := entry.track(source))]
