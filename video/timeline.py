"""Spans of time, events, and the ways people write times.

All times are float seconds on the clock that players show: presentation time minus the container's
start time. Spans are half-open, `[start_s, end_s)`.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Span:
    """A half-open stretch of time, `[start_s, end_s)`, in seconds.

    Raises:
        ValueError: if a bound is not finite or the end lies before the start.
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
        """Whether `time_s` lies in the half-open span."""
        return self.start_s <= time_s < self.end_s

    def overlap_s(self, other: "Span") -> float:
        """Seconds that both spans cover; negative: the seconds between them."""
        return min(self.end_s, other.end_s) - max(self.start_s, other.start_s)

    def iou(self, other: "Span") -> float:
        """Temporal intersection over union (tIoU), 0 to 1."""
        shared = max(0.0, self.overlap_s(other))
        union = self.duration_s + other.duration_s - shared
        return shared / union if union > 0 else 0.0

    def clamped(self, bounds: "Span") -> "Span":
        """The part of this span inside `bounds`; empty, at the nearer edge, if there is none."""
        start = min(max(self.start_s, bounds.start_s), bounds.end_s)
        return Span(start, min(max(self.end_s, start), bounds.end_s))

    def shifted(self, by_s: float) -> "Span":
        """The span moved by `by_s` seconds."""
        return Span(self.start_s + by_s, self.end_s + by_s)


@dataclass(frozen=True)
class Event:
    """Something that happens: when, and in words."""

    span: Span
    text: str


def merge_spans(spans: Iterable[Span], *, gap_s: float = 0.0) -> tuple[Span, ...]:
    """Spans in order of time, with those joined that overlap or lie at most `gap_s` seconds apart."""
    merged_spans: list[Span] = []
    for span in sorted(spans):
        if merged_spans and span.start_s - merged_spans[-1].end_s <= gap_s:
            merged_spans[-1] = Span(merged_spans[-1].start_s, max(merged_spans[-1].end_s, span.end_s))
        else:
            merged_spans.append(span)
    return tuple(merged_spans)


def subtract_spans(span: Span, holes: Iterable[Span]) -> list[Span]:
    """What is left of a span when holes are cut out of it, in order of time."""
    remaining, start_s = [], span.start_s
    for hole in merge_spans(holes):
        if hole.start_s > start_s:
            remaining.append(Span(start_s, min(hole.start_s, span.end_s)))
        start_s = max(start_s, hole.end_s)
        if start_s >= span.end_s:
            return remaining
    return [*remaining, Span(start_s, span.end_s)]
