"""The text of answers that consist of quotes: their lines, and what they say where there is nothing to quote."""

from collections.abc import Sequence
from dataclasses import dataclass

from longview.app.qa.citations import Citation
from longview.app.qa.transcript_coverage import TranscriptCoverage
from longview.core.sources import source_label, traits_of
from longview.core.time_format import format_time
from longview.core.timeline import Segment, Span
from longview.indexing.records.video import VideoEntry
from longview.indexing.search.quotes import Quote, screen_quote
from longview.indexing.text.sentences import Sentence

SIGHT_HINT = "This would need a checkpoint that sees; the command longview models names one for this machine."
"""Hint below an answer about what the pictures show, which words do not tell."""

NOT_LOOKED_AT = "What the pictures show was not looked at: that would need a checkpoint that sees."
"""Hint below the answer that something is neither said nor written, about a video with pictures."""
NO_SOUND = "This video has no sound."
MAX_SCREEN_LINES = 20
"""Maximum number of lines on screen in one quote; credits and terminals may have thousands."""


@dataclass(frozen=True)
class ExtractiveAnswer:
    """An answer that consists of quotes."""

    text: str
    citations: tuple[Citation, ...]
    found: bool | None
    """Whether the quotes answer the question; None: they are only the closest passages."""
    confidence: float | None
    """The confidence in that, from 0 to 1; None for kinds of questions whose answer is certain."""
    coverage: TranscriptCoverage
    hint: str = ""
    """A sentence that says what else the question needs; empty if nothing."""


def quote_line(quote: Quote, label: str = "") -> str:
    """Return a quote with its time and source, as a line. `label`: what is said of it, in place of its source alone."""
    # A line break would begin another line, which might look like one of ours.
    text = " ".join(quote.text.split())
    return f"{times_text(quote.span)}  {label or source_label(quote.source)}: “{text}”"


def times_text(span: Span) -> str:
    """Return the start and the end of a span as text."""
    return f"{format_time(span.start_s)} – {format_time(span.end_s)}"


def absence_text(what: str, within: Span | None, coverage: TranscriptCoverage) -> str:
    """Return that something is absent, and what was listened to and read; that the words are not known, if nothing was."""
    if coverage.is_empty:
        return f"The words of this {'part of the ' if within else ''}video are not known: {coverage}."
    where = "in this part of the video" if within else "in this video"
    return f"{what} {where}: {coverage}."


def cite(entry: VideoEntry, quotes: Sequence[Quote]) -> tuple[Citation, ...]:
    """Return quotes as citations of a video."""
    return tuple(Citation(entry.video_id, quote.span, quote.source, quote.text) for quote in quotes)


def said_once(segments: Sequence[Segment]) -> list[Segment]:
    """Return segments without those from files in a language in which speech was recognised, which say the same once more."""
    traits = {segment.source: traits_of(segment.source) for segment in segments}
    languages = {item.language for item in segments if traits[item.source].is_spoken and not traits[item.source].is_imported}
    return [item for item in segments if not traits[item.source].is_imported or item.language not in languages]


def group_screens(sentences: Sequence[Sentence]) -> list[Quote]:
    """Return sentences as quotes, with lines that appear and disappear together as one, or as several if they are many."""
    groups: dict[tuple[object, ...], list[Sentence]] = {}
    for number, sentence in enumerate(sentences):
        key: tuple[object, ...] = (number,)
        if traits_of(sentence.source).is_screen:
            key = (sentence.source, round(sentence.span.start_s), round(sentence.span.end_s))
        groups.setdefault(key, []).append(sentence)
    return [
        screen_quote(lines[start : start + MAX_SCREEN_LINES])
        for lines in groups.values()
        for start in range(0, len(lines), MAX_SCREEN_LINES)
    ]
