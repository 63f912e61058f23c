"""Export segments as subtitles: SRT and WebVTT."""

import re
from collections.abc import Sequence
from html import escape
from typing import Literal

import pysubs2
from pysubs2.formats.webvtt import WebVTTFormat

from longview.core.timeline import Segment
from longview.indexing.errors import ExportNotPossible
from longview.indexing.exports.cleaning import one_line
from longview.indexing.exports.cues import Cue, lay_out
from longview.indexing.exports.layout import line_text

WORD_JOINER = "\u2060"
"""An invisible character."""

_TIMESTAMP = re.compile(r"(?<=\d):(?=\d{1,2}[.,]\d)")
"""The last colon of what may be a timestamp."""
_ARROW = re.compile(r"(?<!-)-{2,}+>")
_ESCAPE = re.compile(r"\\(?=[Nnh])")
"""The beginning of what pysubs2 interprets as a line break or a space."""


def to_srt(segments: Sequence[Segment], duration_s: float) -> str:
    """Return segments of one source as SRT; `duration_s`: the video's length.

    Raises:
        ExportNotPossible: the segments have several sources.
    """
    sources = sorted({segment.source for segment in segments})
    if len(sources) > 1:
        raise ExportNotPossible(
            f"SRT cannot distinguish several sources ({', '.join(sources)}); "
            "choose one source, or export to VTT, JSON, CSV or TXT."
        )
    return _file("srt", [(cue, _text("srt", cue)) for cue in lay_out(segments, duration_s)])


def to_vtt(segments: Sequence[Segment], duration_s: float, *, word_times: bool, notes: Sequence[str] = ()) -> str:
    """Return segments as WebVTT; `duration_s`: the video's length; `word_times`: whether each word has a timestamp.

    `notes`: lines of a comment before the first cue, which players do not show.
    If there are several sources, each cue is a class span that names its source: `<c.speech>`. A voice span, `<v Speech>`, would
    name a speaker, and players may display it. Source: https://www.w3.org/TR/webvtt1/#webvtt-cue-class-span
    """
    cues = [(cue, _text("vtt", cue, word_times=word_times)) for cue in lay_out(segments, duration_s)]
    if len({cue.source for cue, _ in cues}) > 1:
        cues = [(cue, f"<c.{cue.source}>{text}</c>") for cue, text in cues]
    header, _, body = _file("vtt", cues).partition("\n\n")
    return "\n\n".join([header, *([_comment(notes)] if notes else []), body])


def _comment(notes: Sequence[str]) -> str:
    """Return a comment of WebVTT. A blank line would end it, and an arrow would make it a cue.

    Source: https://www.w3.org/TR/webvtt1/#introduction-comments
    """
    lines = (_ARROW.sub("→", one_line(note)) for note in notes)
    return "\n".join(["NOTE Made with Longview", *filter(None, lines)])


def _file(format: Literal["srt", "vtt"], cues: Sequence[tuple[Cue, str]]) -> str:
    subtitles = pysubs2.SSAFile()
    for cue, text in cues:
        line = pysubs2.SSAEvent(*_times_ms(cue))
        line.plaintext = text
        subtitles.append(line)
    return str(subtitles.to_string(format))


def _times_ms(cue: Cue) -> tuple[int, int]:
    """Return the start and the end of a cue in milliseconds. The end follows the start: players skip an empty cue."""
    start_ms = round(cue.span.start_s * 1000)
    return start_ms, max(round(cue.span.end_s * 1000), start_ms + 1)


def _text(format: Literal["srt", "vtt"], cue: Cue, *, word_times: bool = False) -> str:
    lines = [_escape(format, line_text(line)) for line in cue.lines]
    if word_times:
        lines = _lines_with_timestamps(cue)
    # Readers may take a line of digits for the number of the next cue; pysubs2 does at the end of a file.
    return "\n".join(line + WORD_JOINER if number and line.isdecimal() else line for number, line in enumerate(lines))


def _lines_with_timestamps(cue: Cue) -> list[str]:
    """Return the lines of a WebVTT cue with a timestamp before each word but the first.

    Timestamps must lie inside of the cue and increase, so words that start at the same time share one.
    Source: https://www.w3.org/TR/webvtt1/#webvtt-cue-timestamp
    """
    latest_ms, end_ms = _times_ms(cue)
    lines = []
    for line in cue.lines:
        text = ""
        for piece in line:
            start_ms = round(piece.span.start_s * 1000)
            timestamp = ""
            if piece.timed and latest_ms < start_ms < end_ms:
                timestamp, latest_ms = f"<{WebVTTFormat.ms_to_timestamp(start_ms)}>", start_ms
            space = " " if piece.spaced and text else ""
            text += space + timestamp + _escape("vtt", piece.text)
        lines.append(text)
    return lines


def _escape(format: Literal["srt", "vtt"], text: str) -> str:
    """Escape what pysubs2 or a player would interpret as a tag or a time, so that all of the text is shown."""
    text = text.replace("{", "(").replace("}", ")")
    # pysubs2 interprets \N, \n and \h as line breaks and spaces, and a line with two timestamps as the times of a cue.
    text = _ESCAPE.sub(lambda _: "\\" + WORD_JOINER, text)
    text = _TIMESTAMP.sub(":" + WORD_JOINER, text)
    if format == "vtt":
        return escape(text, quote=False)
    # SRT cannot escape HTML, or the `-->` of a subtitle's times.
    return text.replace("<", "‹").replace(">", "›")
