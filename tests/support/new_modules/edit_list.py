"""A format that this program does not have, as somebody would add it: the times in milliseconds, for an editor."""

from longview.indexing.exports.format import ExportedSegments, ExportFormat


def _write(exported: ExportedSegments) -> str:
    return "".join(f"{item.span.start_s * 1000:.0f} {item.span.end_s * 1000:.0f}\n" for item in exported.segments)


FORMAT = ExportFormat("edl", ".cuts", "text/x-edit-list", _write, holds_sources=False)
