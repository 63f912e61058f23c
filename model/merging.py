"""One timeline from windows that overlap."""

import itertools
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from video.timeline import Event, Span

SAME_IOU = 0.5
"""Events of two windows, told in like words, are one if they overlap that well."""
UNDER_WAY = 2.5
"""How long before a window, in lengths of its overlap with the one before, an event may seem to have ended that goes on in it."""
SAME_LIKENESS = 0.5
"""How alike their words must be; one event, seen in two halves, is often told in somewhat other words."""


@dataclass(frozen=True)
class Told:
    """What one window's captions tell."""

    window: Span
    events: Sequence[Event]


def joined(windows: Sequence[Told], *, grain_s: float) -> list[Event]:
    """One timeline from windows in order of time: what two of them tell of one event becomes one event.

    The same event has the same text and overlaps or lies no further apart than two patches; or it has a like text (`likeness`)
    and either overlaps well or goes over the border, so that each window saw a part of it, or one no more than a part of what
    the other saw: the longer part's words are kept.
    What is under way when a window begins is also what the window before told in the same words a little earlier.
    What a window shows no more than a patch of, at an end that another window shows, too, is left to that one.
    Within one window only the same text at overlapping times is one event.
    """
    timeline: list[Event] = []
    last: Span | None = None
    for told, following in itertools.zip_longest(windows, windows[1:]):
        before = list(timeline)
        for event in told.events:
            if _is_scrap(event, told.window, last, following.window if following else None, grain_s):
                continue
            twin = next((old for old in before if _told_twice(old, event, gap_s=2 * grain_s)), None)
            twin = twin or next((old for old in timeline if _told_twice(old, event, gap_s=0.0)), None)
            twin = twin or _under_way(before, event, last, told.window, grain_s)
            twin = twin or _other_half(before, event, last, told.window, grain_s)
            if twin is None:
                timeline.append(event)
                continue
            both = Span(min(twin.span.start_s, event.span.start_s), max(twin.span.end_s, event.span.end_s))
            longer = max(twin, event, key=lambda one: one.span.duration_s)
            timeline[timeline.index(twin)] = Event(both, longer.text)
            if twin in before:
                before.remove(twin)
        last = told.window
    return sorted(timeline, key=lambda event: event.span)


def _is_scrap(event: Event, window: Span, last: Span | None, following: Span | None, grain_s: float) -> bool:
    """Whether a window shows no more than a patch of an event that another window shows in its inside, and tells better."""
    begins_late = event.span.start_s >= window.end_s - grain_s
    ends_early = event.span.end_s <= window.start_s + grain_s
    is_shown_after = following is not None and following.start_s <= event.span.start_s - grain_s
    is_shown_before = last is not None and last.end_s >= event.span.end_s + grain_s
    return (begins_late and is_shown_after) or (ends_early and is_shown_before)


def _told_twice(first: Event, second: Event, *, gap_s: float) -> bool:
    between_s = -first.span.overlap_s(second.span)
    return first.text == second.text and (between_s <= gap_s if gap_s else between_s < 0)


def _under_way(before: Sequence[Event], event: Event, last: Span | None, window: Span, grain_s: float) -> Event | None:
    """What the window before told, in the same words, of an event that was under way when this window began, if it did.

    Of what goes over its end a window often tells the beginning only, and ends it too soon.
    """
    if last is None or event.span.start_s > window.start_s + grain_s:
        return None
    earliest_s = window.start_s - UNDER_WAY * max(0.0, last.end_s - window.start_s)
    return next((old for old in before if old.text == event.text and earliest_s <= old.span.end_s <= event.span.start_s), None)


def _other_half(before: Sequence[Event], event: Event, last: Span | None, window: Span, grain_s: float) -> Event | None:
    """What the window before told of the same event in other words, if it did."""
    if last is None:
        return None

    def is_same(old: Event) -> bool:
        if old.span.overlap_s(event.span) <= 0 or not is_alike(old.text, event.text):
            return False
        is_cut_after, is_cut_before = old.span.end_s >= last.end_s - grain_s, event.span.start_s <= window.start_s + grain_s
        if is_cut_after and is_cut_before:
            return True
        shorter_s = min(old.span.duration_s, event.span.duration_s)
        is_inside = old.span.overlap_s(event.span) >= SAME_IOU * shorter_s
        return ((is_cut_after or is_cut_before) and is_inside) or old.span.iou(event.span) >= SAME_IOU

    return max(filter(is_same, before), key=lambda old: likeness(old.text, event.text), default=None)


def is_alike(first: str, second: str) -> bool:
    """Whether two sentences may tell of one event in somewhat other words."""
    return likeness(first, second) >= SAME_LIKENESS


def likeness(first: str, second: str) -> float:
    """F-measure of the words that two sentences share, 0 to 1; for every language that parts its words."""
    words = [Counter(re.findall(r"\w+", text.lower())) for text in (first, second)]
    shared = sum((words[0] & words[1]).values())
    total = sum(words[0].values()) + sum(words[1].values())
    return 2 * shared / total if total else 0.0
