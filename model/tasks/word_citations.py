"""Which lines of the transcript a reply is based on: those whose times it names, and those that it quotes.

A time that stands for a line is evidence of the line's source and has its own span. Any other time is a timestamp of the frames.
"""

import itertools
import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from longview.core.scripts import sentence_ends
from longview.core.time_text import TimeReference, known_times
from longview.model.tasks.transcript_context import TranscriptLine, units_of

TIME_TOLERANCE_S = 0.06
"""Maximum difference between a time in a reply and that of a line, in seconds: both are stated to a tenth of a second."""
QUOTE_TOLERANCE_S = 1.0
"""Maximum time between a quoted line and a time that stands for it, in seconds: clock times are stated to a second."""
MAX_RUN_LINES = 6
"""Maximum number of successive lines that one range stands for. A longer range is about the frames too."""
QUOTED_WORDS = 5
"""Minimum number of consecutive words that a quote repeats. Four often agree by chance ("at the end of")."""
CHARACTER_WORDS = 0.5
"""Number of words that one character counts for in a script that does not separate words, and in Korean."""
MIN_SHARED_LETTERS = 4
"""Minimum length of a word that a sentence must share with a line if it names the start of the line only."""
_LINE_TIMES = re.compile(r"\[(\d++\.\d) ?[-–] ?(\d++\.\d)\]")


@dataclass(frozen=True)
class ReplyEvidence:
    """The evidence of a reply: lines of the transcript, and times of the frames."""

    lines: tuple[TranscriptLine, ...]
    """Lines that it names or quotes, in order of time."""
    frame_times: tuple[TimeReference, ...]
    """Times in it that stand for no line."""


def with_units(reply: str) -> str:
    """Return a reply in which the times of lines have a unit also where it was left out: `[12.5 - 15.0]`."""
    return _LINE_TIMES.sub(r"[\1 - \2 seconds]", reply)


def find_evidence(reply: str, lines: Sequence[TranscriptLine]) -> ReplyEvidence:
    """Find the lines that a reply is based on. `reply`: with units, and on the session's clock, as the lines are."""
    reply_text = _join_units(reply)
    quoted_lines = [line for line in lines if _is_quoted(line.text, reply_text, QUOTED_WORDS)]
    evidence = {id(line): line for line in quoted_lines}
    frame_times = []
    ends = sentence_ends(reply)
    for reference in known_times(reply):
        named_lines = _named_lines(reference, _sentence_around(reply, ends, reference), lines) or [
            line for line in quoted_lines if line.span.overlap_s(reference.span) >= -QUOTE_TOLERANCE_S
        ]
        evidence |= {id(line): line for line in named_lines}
        if not named_lines:
            frame_times.append(reference)
    in_order = sorted(evidence.values(), key=lambda line: (line.span, line.segment.source))
    return ReplyEvidence(tuple(in_order), tuple(frame_times))


def _named_lines(reference: TimeReference, sentence: str, lines: Sequence[TranscriptLine]) -> list[TranscriptLine]:
    """Return the lines that a time stands for: with both times of a range, in a run of a range, or at a single time."""
    start_s, end_s = reference.span.start_s, reference.span.end_s
    first_lines = [line for line in lines if abs(line.span.start_s - start_s) <= TIME_TOLERANCE_S]
    if reference.is_point:
        return [line for line in first_lines if _shares_word(sentence, line.text)]
    if same_times := [line for line in first_lines if abs(line.span.end_s - end_s) <= TIME_TOLERANCE_S]:
        return same_times
    for first in first_lines:
        run = [
            line
            for line in lines
            if line.segment.source == first.segment.source
            and line.span.start_s >= start_s - TIME_TOLERANCE_S
            and line.span.end_s <= end_s + TIME_TOLERANCE_S
        ]
        if run and run[-1].span.end_s >= end_s - TIME_TOLERANCE_S and len(run) <= MAX_RUN_LINES:
            return run
    return []


def _sentence_around(reply: str, ends: Sequence[int], reference: TimeReference) -> str:
    """Return the sentence of a time. `ends`: where the sentences of the reply end, in order."""
    before, after = bisect_right(ends, reference.text_start), bisect_left(ends, reference.text_end)
    return reply[ends[before - 1] if before else 0 : ends[after] if after < len(ends) else len(reply)]


def _shares_word(sentence: str, text: str) -> bool:
    return not _long_words(sentence).isdisjoint(_long_words(text))


def _long_words(text: str) -> set[str]:
    """Return the words that say what a text is about, and pairs of characters where a script does not separate words."""
    units = units_of(text)
    pairs = (first + second for first, second in itertools.pairwise(units) if _is_character(first) and _is_character(second))
    return {unit for unit in units if len(unit) >= MIN_SHARED_LETTERS and not unit.isdigit()}.union(pairs)


def _is_character(unit: str) -> bool:
    return len(unit) == 1 and not unit.isascii()


def _join_units(text: str) -> str:
    return f" {' '.join(units_of(text))} "


def _is_quoted(text: str, reply_text: str, min_words: float) -> bool:
    """Whether a reply, joined from its words, has at least `min_words` consecutive words of a text."""
    units = units_of(text)
    counts = [CHARACTER_WORDS if _is_character(unit) else 1.0 for unit in units]
    end, words = 0, 0.0
    for start in range(len(units)):
        while words < min_words and end < len(units):
            words += counts[end]
            end += 1
        if words < min_words:
            return False
        if f" {' '.join(units[start:end])} " in reply_text:
            return True
        words -= counts[start]
    return False
