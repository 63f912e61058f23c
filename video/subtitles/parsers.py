"""Subtitle files beside a video: SRT, WebVTT, and the SubStation Alpha formats ASS and SSA, as segments.

The files are parsed here, because pysubs2 1.8, which writes the exports, changes real files: it drops a third digit of the hours
and the sign of SRT times, appends the identifiers and notes of WebVTT to the text of the cue before, and rejects a whole ASS file
for one malformed line.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from longview.core.time_format import format_time
from longview.core.timeline import Segment, Span
from longview.video.errors import UnreadableSubtitles
from longview.video.subtitles.cues import (
    MAX_CUES,
    Cue,
    ass_text,
    check_count,
    count_sentence,
    html_text,
    join_sentences,
    segments_from,
)
from longview.video.subtitles.encoding import DecodedText, read_text_file
from longview.video.subtitles.sidecars import language_in

MAX_SUBTITLE_BYTES = 20 << 20
"""Maximum size of a subtitle file, in bytes. Dialogue takes 0.1 MB per hour; only files with embedded fonts are larger."""
HEARTBEAT_LINES = 5000
"""Number of lines after which a heartbeat follows: they take about 50 ms."""
TIME = r"(-?)(?:(\d{1,4})\s?:\s?)?(\d{1,3})\s?:\s?(\d{1,2})(?:\s?[.,]\s?(\d{1,9}))?"
TIMING_LINE = re.compile(rf"\s{{0,9}}{TIME}\s{{0,9}}-{{1,2}}>\s{{0,9}}{TIME}(?:\s|$)")
"""The line of a cue in SRT or WebVTT that states its times; settings of WebVTT may follow them."""
BROKEN_TIMING_LINE = re.compile(r"\s{0,9}-?\d{1,4}\s?:.{0,40}-->")
"""The start of a line that was meant to state times."""
ASS_TIME = re.compile(rf"\s{{0,9}}{TIME}\s{{0,9}}$")
CUE_NUMBER = re.compile(r"\s{0,9}\d{1,9}\s{0,9}$")
INLINE_TIME = re.compile(r"<\d++:[\d:.]++>")
"""A time within a WebVTT line, from which on the next word is shown."""
ASS_FIELDS: tuple[str, ...] = ("layer", "start", "end", "style", "name", "marginl", "marginr", "marginv", "effect", "text")
"""Fields of a dialogue line in ASS and SSA files that do not state them."""
LINE_END = re.compile(r"(?<!\r)\r++\n|\r")
"""The end of a line other than a line feed alone. Some programs write two carriage returns per line, which would be a blank line
between all lines."""
ASS_SECTION = re.compile(r"\[(?:script info|events|v4\+? styles)\]", re.IGNORECASE)


@dataclass(frozen=True)
class SubtitleFile:
    """The subtitles of one file, or of one stream of a video."""

    path: Path
    """Path of the file; for uploaded content, its name."""
    segments: tuple[Segment, ...]
    """Segments with the source `subtitles`, in order of time. They may overlap."""
    language: str | None
    """Language as in `Segment.language`, from the file's name or the stream; None if neither states it."""
    encoding: str
    """Name of the text's encoding as in Python's `codecs`."""
    problems: tuple[str, ...] = ()
    """Sentences about what was left out or changed, with counts."""

    def clipped_to(self, duration_s: float) -> "SubtitleFile":
        """Leave out the segments that start after `duration_s`, in seconds, and cut those that end after it."""
        video = Span(0.0, duration_s)
        inside = tuple(
            replace(segment, span=segment.span.clamp(video)) for segment in self.segments if segment.span.start_s < duration_s
        )
        end = f"after the end of the video ({format_time(duration_s)})"
        removed_count = len(self.segments) - len(inside)
        sentence = count_sentence(removed_count, f"starts {end} and was left out", f"start {end} and were left out")
        return replace(self, segments=inside, problems=join_sentences((*self.problems, sentence)))


def read_subtitles(path: Path, *, offset_s: float = 0.0, heartbeat: Callable[[], None] = lambda: None) -> SubtitleFile:
    """Read a subtitle file. `offset_s`: seconds that are added to all times. `heartbeat` is called every few thousand lines.

    Anyone may have written the file; the application reads it with `Decoder.subtitle_file`, in a process with limits.

    Raises:
        UnreadableSubtitles: the file cannot be read, is too large, is not text, or contains no subtitles.
    """
    language = language_in(path.name)
    return _parse(read_text_file(path, max_bytes=MAX_SUBTITLE_BYTES, language=language), path, language, offset_s, heartbeat)


def _parse(
    decoded: DecodedText, path: Path, language: str | None, offset_s: float, heartbeat: Callable[[], None]
) -> SubtitleFile:
    lines = LINE_END.sub("\n", decoded.text).split("\n")
    head = decoded.text[:4096].lstrip("\ufeff \t\r\n")
    is_ass = not head.startswith("WEBVTT") and bool(ASS_SECTION.search(head))
    _check_cue_count(lines, str(path), is_ass=is_ass)
    if head.startswith("WEBVTT"):
        parsed_cues, broken_cues = _vtt_cues(lines, heartbeat)
    elif is_ass:
        parsed_cues, broken_cues = _ass_cues(_with_heartbeats(lines, heartbeat))
    else:
        parsed_cues, broken_cues = _srt_cues(_with_heartbeats(lines, heartbeat))
    if not parsed_cues:
        raise UnreadableSubtitles(f"{path} contains no subtitles that can be read; choose an SRT, WebVTT, ASS or SSA file.")
    segments, problems = segments_from(parsed_cues, name=str(path), language=language, offset_s=offset_s)
    times = "times that cannot be read"
    sentence = count_sentence(broken_cues, f"has {times} and was left out", f"have {times} and were left out")
    return SubtitleFile(path, segments, language, decoded.encoding, join_sentences((*decoded.problems, sentence, *problems)))


def _check_cue_count(lines: Sequence[str], name: str, *, is_ass: bool) -> None:
    """Refuse a file with too many subtitles before they are parsed, which would take a minute for a million."""
    if is_ass:
        cue_lines = (line for line in lines if line.lstrip()[:8].lower() == "dialogue")
    else:
        cue_lines = (line for line in lines if "->" in line and TIMING_LINE.match(line))
    check_count(sum(1 for _ in islice(cue_lines, MAX_CUES + 1)), name)


def _with_heartbeats(lines: Iterable[str], heartbeat: Callable[[], None]) -> Iterator[str]:
    for number, line in enumerate(lines):
        if number % HEARTBEAT_LINES == 0:
            heartbeat()
        yield line


def _srt_cues(lines: Iterable[str]) -> tuple[list[Cue], int]:
    """Return the cues of an SRT file, and the number of those with unreadable times.

    A text extends to the next times, because it may contain blank lines; the number of the next cue is not part of it.
    """
    cues, broken_cues = [], 0
    for timing, block in _blocks(lines):
        if block and CUE_NUMBER.match(block[-1]):
            block.pop()
        if timing is None:
            broken_cues += 1
        else:
            cues.append(Cue(*timing, html_text("\n".join(block))))
    return cues, broken_cues


def _vtt_cues(lines: Sequence[str], heartbeat: Callable[[], None]) -> tuple[list[Cue], int]:
    """Return the cues of a WebVTT file, and the number of those with unreadable times.

    A text extends to the next blank line, so that notes, styles and identifiers are not part of it. Automatic captions show each
    line again while the next one appears word by word; there, a line is left out if it repeats the last one of the cue before.
    """
    cues, broken_cues = [], 0
    is_rolling = any(map(INLINE_TIME.search, lines))
    last_line = ""
    for timing, block in _blocks(_with_heartbeats(lines, heartbeat)):
        end = next((index for index, line in enumerate(block) if not line), len(block))
        texts = list(filter(None, map(html_text, block[:end])))
        if is_rolling and texts:
            repeats, last_line = texts[0] == last_line, texts[-1]
            texts = texts[1:] if repeats else texts
        if timing is None:
            broken_cues += 1
        else:
            cues.append(Cue(*timing, " ".join(texts)))
    return cues, broken_cues


def _blocks(lines: Iterable[str]) -> Iterator[tuple[tuple[float, float] | None, list[str]]]:
    """Yield the times of each cue, or None if they are unreadable, and all lines up to the next times."""
    timing: tuple[float, float] | None = None
    block: list[str] | None = None
    for line in lines:
        match = TIMING_LINE.match(line)
        if match is None and not BROKEN_TIMING_LINE.match(line):
            if block is not None:
                block.append(line)
            continue
        if block is not None:
            yield timing, block
        timing = None if match is None else (_seconds(match.groups()[:5]), _seconds(match.groups()[5:]))
        block = []
    if block is not None:
        yield timing, block


def _ass_cues(lines: Iterable[str]) -> tuple[list[Cue], int]:
    """Return the cues of an ASS or SSA file, and the number of those with unreadable times."""
    fields, cues, broken_cues = ASS_FIELDS, [], 0
    is_events = False
    for line in lines:
        kind, _, rest = line.partition(":")
        kind = kind.strip().lower()
        if kind.startswith("["):
            is_events = kind == "[events]"
        elif kind == "format" and is_events:
            field_names = tuple(field.strip().lower() for field in rest.split(","))
            fields = field_names if {"start", "end"} <= set(field_names) and field_names[-1] == "text" else ASS_FIELDS
        elif kind == "dialogue":
            values = dict(zip(fields, rest.split(",", len(fields) - 1), strict=False))
            times = [ASS_TIME.match(values.get(edge, "")) for edge in ("start", "end")]
            if times[0] is None or times[1] is None:
                broken_cues += 1
            else:
                cues.append(Cue(_seconds(times[0].groups()), _seconds(times[1].groups()), ass_text(values.get("text", ""))))
    return cues, broken_cues


def _seconds(groups: tuple[str | None, ...]) -> float:
    """Return the seconds of a match of `TIME`, exact to the millisecond."""
    sign, hours, minutes, seconds, fraction = groups
    milliseconds = round(float(f"0.{fraction or 0}") * 1000)
    total = (int(hours or 0) * 3600 + int(minutes or 0) * 60 + int(seconds or 0)) * 1000 + milliseconds
    return (-total if sign else total) / 1000
