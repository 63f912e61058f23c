"""SRT: subtitles of one source in one language."""

from longview.indexing.exports.cues import lay_out
from longview.indexing.exports.format import ExportedSegments, ExportFormat
from longview.indexing.exports.layout import line_text
from longview.indexing.exports.subtitle_text import join_lines, subtitle_file, without_tags


def _write(content: ExportedSegments) -> str:
    cues = lay_out(content.segments, content.entry.duration_s)
    return subtitle_file("srt", [(cue, join_lines([_escape(line_text(line)) for line in cue.lines])) for cue in cues])


def _escape(text: str) -> str:
    # SRT cannot escape HTML, or the `-->` of a subtitle's times.
    return without_tags(text).replace("<", "‹").replace(">", "›")


FORMAT = ExportFormat("srt", ".srt", "application/x-subrip", _write, holds_sources=False, holds_languages=False)
