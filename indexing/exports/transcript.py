"""Export segments as plain text, one line each."""

from collections.abc import Sequence

from longview.core.time_format import format_time
from longview.core.timeline import Segment
from longview.indexing.exports.cleaning import one_line


def to_text(segments: Sequence[Segment]) -> str:
    """Return one line for each segment; the line names the segment's source if there are several sources."""
    mark_sources = len({segment.source for segment in segments}) > 1
    return "".join(f"{_line(segment, mark_source=mark_sources)}\n" for segment in segments)


def _line(segment: Segment, *, mark_source: bool) -> str:
    times = f"{format_time(segment.span.start_s)} - {format_time(segment.span.end_s)}"
    source = f"[{segment.source}] " if mark_source else ""
    return f"{times}  {source}{one_line(segment.text)}"
