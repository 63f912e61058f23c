"""Export captions for other programs: SRT, WebVTT, JSON, CSV and plain text."""

import csv
import io
import json
import re
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from html import escape
from typing import Any, Literal, get_args

import pysubs2

from longview.indexing.library import VideoEntry
from longview.video.time_text import format_time
from longview.video.timeline import Event

ExportFormat = Literal["srt", "vtt", "json", "csv", "txt"]
FORMATS: tuple[ExportFormat, ...] = get_args(ExportFormat)

WORD_JOINER = "\u2060"
"""An invisible character."""
MAX_LINE_CHARACTERS = 42
"""Maximum length of a subtitle line, in characters: the usual broadcast limit."""


def export_captions(format: ExportFormat, entry: VideoEntry, events: Sequence[Event]) -> str:
    """Return a video's captions as text in a format."""
    if format in ("srt", "vtt"):
        return _subtitles(format, events)
    if format == "json":
        return json.dumps(_document(entry, events), ensure_ascii=False, indent=2) + "\n"
    if format == "csv":
        return _table(events)
    lines = (f"{format_time(event.span.start_s)} - {format_time(event.span.end_s)}  {event.text}" for event in events)
    return "".join(f"{line}\n" for line in lines)


def event_row(event: Event) -> dict[str, Any]:
    """Return an event as exports have it: seconds for programs, clock times for people."""
    start_s, end_s = event.span.start_s, event.span.end_s
    return {
        "start_s": round(start_s, 3),
        "end_s": round(end_s, 3),
        "start": format_time(start_s),
        "end": format_time(end_s),
        "text": event.text,
    }


def _subtitles(format: Literal["srt", "vtt"], events: Sequence[Event]) -> str:
    subtitles = pysubs2.SSAFile()
    for event in events:
        line = pysubs2.SSAEvent(start=round(event.span.start_s * 1000), end=round(event.span.end_s * 1000))
        escaped_text = _escape_tags(format, event.text)
        line.plaintext = "\n".join(textwrap.wrap(escaped_text, MAX_LINE_CHARACTERS)) or escaped_text
        subtitles.append(line)
    return str(subtitles.to_string(format))


def _escape_tags(format: Literal["srt", "vtt"], text: str) -> str:
    """Escape what pysubs2 or a player would interpret as a tag, so that all of the text is shown."""
    text = text.replace("{", "(").replace("}", ")")
    # pysubs2 interprets \N, \n and \h as line breaks and spaces.
    text = re.sub(r"\\(?=[Nnh])", lambda _: "\\" + WORD_JOINER, text)
    if format == "vtt":
        return escape(text, quote=False)
    # SRT cannot escape HTML, or the `-->` of a subtitle's times.
    return text.replace("<", "‹").replace(">", "›")


def _document(entry: VideoEntry, events: Sequence[Event]) -> dict[str, Any]:
    return {
        "video_id": entry.video_id,
        "title": entry.title,
        "path": str(entry.path),
        "duration_s": entry.duration_s,
        "provenance": asdict(entry.provenance),
        "events": [event_row(event) for event in events],
    }


def _table(events: Sequence[Event]) -> str:
    target = io.StringIO()
    writer = csv.DictWriter(target, ["start_s", "end_s", "start", "end", "text"])
    writer.writeheader()
    for event in events:
        row = event_row(event)
        # A spreadsheet evaluates a cell that begins like a formula.
        row["text"] = f"'{row['text']}" if row["text"].startswith(("=", "+", "-", "@")) else row["text"]
        writer.writerow(row)
    return target.getvalue()
