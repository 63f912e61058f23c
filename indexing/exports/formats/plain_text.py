"""Plain text: one line for each segment, which names its source if there are several."""

from longview.core.time_format import format_time
from longview.core.timeline import Segment
from longview.indexing.exports.cleaning import one_line
from longview.indexing.exports.format import ExportedSegments, ExportFormat


def _write(content: ExportedSegments) -> str:
    mark_sources = len({segment.source for segment in content.segments}) > 1
    return "".join(f"{_line(segment, mark_source=mark_sources)}\n" for segment in content.segments)


def _line(segment: Segment, *, mark_source: bool) -> str:
    times = f"{format_time(segment.span.start_s)} - {format_time(segment.span.end_s)}"
    source = f"[{segment.source}] " if mark_source else ""
    return f"{times}  {source}{one_line(segment.text)}"


FORMAT = ExportFormat("txt", ".txt", "text/plain", _write)
