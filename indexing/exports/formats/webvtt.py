"""WebVTT: subtitles, with what made them in a comment.

If there are several sources, each cue is a class span that names its source: `<c.speech>`. A voice span, `<v Speech>`, would
name a speaker, and players may display it. Source: https://www.w3.org/TR/webvtt1/#webvtt-cue-class-span
"""

import re
from collections.abc import Sequence
from html import escape

from pysubs2.formats.webvtt import WebVTTFormat

from longview.indexing.exports.cleaning import one_line
from longview.indexing.exports.cues import Cue, lay_out
from longview.indexing.exports.format import ExportedSegments, ExportFormat
from longview.indexing.exports.layout import line_text
from longview.indexing.exports.subtitle_text import join_lines, subtitle_file, times_ms, without_tags
from longview.indexing.records.provenance_text import describe_maker

_ARROW = re.compile(r"(?<!-)-{2,}+>")


def _write(content: ExportedSegments) -> str:
    cues = [
        (cue, join_lines(_lines(cue, word_times=content.word_times)))
        for cue in lay_out(content.segments, content.entry.duration_s)
    ]
    if len({cue.source for cue, _ in cues}) > 1:
        cues = [(cue, f"<c.{cue.source}>{text}</c>") for cue, text in cues]
    header, _, body = subtitle_file("vtt", cues).partition("\n\n")
    notes = _notes(content)
    return "\n\n".join([header, *([_comment(notes)] if notes else []), body])


def _notes(content: ExportedSegments) -> list[str]:
    """Return what made the tracks of the segments, one line each."""
    sources = dict.fromkeys(segment.source for segment in content.segments)
    return [f"{source}: {describe_maker(track)}" for source in sources if (track := content.entry.track(source))]


def _comment(notes: Sequence[str]) -> str:
    """Return a comment of WebVTT. A blank line would end it, and an arrow would make it a cue.

    Source: https://www.w3.org/TR/webvtt1/#introduction-comments
    """
    lines = (_ARROW.sub("→", one_line(note)) for note in notes)
    return "\n".join(["NOTE Made with Longview", *filter(None, lines)])


def _lines(cue: Cue, *, word_times: bool) -> list[str]:
    return _lines_with_timestamps(cue) if word_times else [_escape(line_text(line)) for line in cue.lines]


def _lines_with_timestamps(cue: Cue) -> list[str]:
    """Return the lines of a WebVTT cue with a timestamp before each word but the first.

    Timestamps must lie inside of the cue and increase, so words that start at the same time share one.
    Source: https://www.w3.org/TR/webvtt1/#webvtt-cue-timestamp
    """
    latest_ms, end_ms = times_ms(cue)
    lines = []
    for line in cue.lines:
        text = ""
        for piece in line:
            start_ms = round(piece.span.start_s * 1000)
            timestamp = ""
            if piece.timed and latest_ms < start_ms < end_ms:
                timestamp, latest_ms = f"<{WebVTTFormat.ms_to_timestamp(start_ms)}>", start_ms
            space = " " if piece.spaced and text else ""
            text += space + timestamp + _escape(piece.text)
        lines.append(text)
    return lines


def _escape(text: str) -> str:
    return escape(without_tags(text), quote=False)


FORMAT = ExportFormat("vtt", ".vtt", "text/vtt", _write, holds_word_times=True, holds_languages=False)
