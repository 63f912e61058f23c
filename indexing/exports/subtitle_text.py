"""The text of subtitle files: cues as pysubs2 writes them, without what it or a player would interpret."""

import re
from collections.abc import Sequence
from typing import Literal

import pysubs2

from longview.indexing.exports.cues import Cue

WORD_JOINER = "\u2060"
"""An invisible character."""

_TIMESTAMP = re.compile(r"(?<=\d):(?=\d{1,2}[.,]\d)")
"""The last colon of what may be a timestamp."""
_ESCAPE = re.compile(r"\\(?=[Nnh])")
"""The beginning of what pysubs2 interprets as a line break or a space."""


def subtitle_file(format: Literal["srt", "vtt"], cues: Sequence[tuple[Cue, str]]) -> str:
    """Return a file of cues with their texts."""
    subtitles = pysubs2.SSAFile()
    for cue, text in cues:
        line = pysubs2.SSAEvent(*times_ms(cue))
        line.plaintext = text
        subtitles.append(line)
    return str(subtitles.to_string(format))


def times_ms(cue: Cue) -> tuple[int, int]:
    """Return the start and the end of a cue in milliseconds. The end follows the start: players skip an empty cue."""
    start_ms = round(cue.span.start_s * 1000)
    return start_ms, max(round(cue.span.end_s * 1000), start_ms + 1)


def join_lines(lines: Sequence[str]) -> str:
    """Return the text of a cue. Readers may take a line of digits for the number of the next cue; pysubs2 does at the end."""
    return "\n".join(line + WORD_JOINER if number and line.isdecimal() else line for number, line in enumerate(lines))


def without_tags(text: str) -> str:
    """Return a text without what pysubs2 or a player would interpret as a tag or a time, so that all of it is shown."""
    text = text.replace("{", "(").replace("}", ")")
    # pysubs2 interprets \N, \n and \h as line breaks and spaces, and a line with two timestamps as the times of a cue.
    text = _ESCAPE.sub(lambda _: "\\" + WORD_JOINER, text)
    return _TIMESTAMP.sub(":" + WORD_JOINER, text)
