"""Spans of time, events, and the segments of a video's tracks.

All times are float seconds from the container's start, as players show them: presentation timestamp minus the container's
start time. Spans are half-open, `[start_s, end_s)`.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from longview.core.scripts import UNSPACED_LANGUAGES


@dataclass(frozen=True, order=True)
class Span:
    """A half-open interval of time, `[start_s, end_s)`, in seconds.

    Raises:
        ValueError: a bound is not finite, or the end precedes the start.
    """

    start_s: float
    end_s: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.start_s) and math.isfinite(self.end_s)):
            raise ValueError(f"a span needs finite bounds, not {self.start_s}..{self.end_s}")
        if self.end_s < self.start_s:
            raise ValueError(f"a span cannot end ({self.end_s}) before it starts ({self.start_s})")

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.end_s - self.start_s

    def contains(self, time_s: float) -> bool:
        """Whether the half-open span contains `time_s`."""
        return self.start_s <= time_s < self.end_s

    def overlap_s(self, other: "Span") -> float:
        """Return the seconds that both spans cover, or minus the seconds between them."""
        return min(self.end_s, other.end_s) - max(self.start_s, other.start_s)

    def iou(self, other: "Span") -> float:
        """Return the temporal intersection over union (tIoU), 0 to 1."""
        intersection_s = max(0.0, self.overlap_s(other))
        union_s = self.duration_s + other.duration_s - intersection_s
        return intersection_s / union_s if union_s > 0 else 0.0

    def clamp(self, bounds: "Span") -> "Span":
        """Return the part of this span inside `bounds`; if there is none, an empty span at the nearer edge."""
        start_s = min(max(self.start_s, bounds.start_s), bounds.end_s)
        return Span(start_s, min(max(self.end_s, start_s), bounds.end_s))

    def shift(self, by_s: float) -> "Span":
        """Return the span shifted by `by_s` seconds."""
        return Span(self.start_s + by_s, self.end_s + by_s)


@dataclass(frozen=True)
class Event:
    """A span of a video and a description of what happens in it."""

    span: Span
    text: str


@dataclass(frozen=True)
class Word:
    """A spoken word with its time."""

    span: Span
    text: str
    """The word with its punctuation, without surrounding spaces."""
    confidence: float | None = None
    """Probability from 0 to 1; None if the source does not state it."""


@dataclass(frozen=True)
class Box:
    """A rectangle in a frame, in shares of its width and height from the top left corner, 0 to 1.

    Raises:
        ValueError: a bound is outside the frame, or the right or the bottom precedes the left or the top.
    """

    left: float
    top: float
    right: float
    bottom: float

    def __post_init__(self) -> None:
        if not (0.0 <= self.left <= self.right <= 1.0 and 0.0 <= self.top <= self.bottom <= 1.0):
            raise ValueError(f"a box needs bounds from 0 to 1, not {self.left}, {self.top}, {self.right}, {self.bottom}")


@dataclass(frozen=True)
class Segment:
    """A span of a video with the text that one source has for it: a caption, a spoken sentence, a subtitle, a line on screen."""

    span: Span
    text: str
    source: str
    """Name of the source, which is also the name of the track: `captions`, `speech`, `subtitles` or `screen_text`."""
    language: str | None = None
    """Language of the text as an ISO 639-1 code, or ISO 639-2 or 639-3 where there is none; None if it is unknown."""
    confidence: float | None = None
    """Probability from 0 to 1; None if the source does not state it."""
    words: tuple[Word, ...] = ()
    """The words of the text in order of time; empty if the source has no times of words."""
    box: Box | None = None
    """Where the text stands in the frame; None for what is not read from frames."""


def join_words(texts: Iterable[str], language: str | None) -> str:
    """Join words into a text, without spaces in the languages that have none."""
    return ("" if language in UNSPACED_LANGUAGES else " ").join(texts)


def merge_spans(spans: Iterable[Span], *, gap_s: float = 0.0) -> tuple[Span, ...]:
    """Merge spans that overlap or are at most `gap_s` seconds apart, and sort them by time."""
    result: list[Span] = []
    for span in sorted(spans):
        if result and span.start_s - result[-1].end_s <= gap_s:
            result[-1] = Span(result[-1].start_s, max(result[-1].end_s, span.end_s))
        else:
            result.append(span)
    return tuple(result)


def subtract_spans(span: Span, holes: Iterable[Span]) -> list[Span]:
    """Return the parts of a span that no hole covers, in order of time."""
    parts, start_s = [], span.start_s
    for hole in merge_spans(holes):
        if hole.start_s > start_s:
            parts.append(Span(start_s, min(hole.start_s, span.end_s)))
        start_s = max(start_s, hole.end_s)
        if start_s >= span.end_s:
            return parts
    return [*parts, Span(start_s, span.end_s)]
