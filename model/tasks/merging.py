"""One timeline from windows that overlap."""

from collections.abc import Sequence
from dataclasses import dataclass

from longview.model.tasks.text_match import is_paraphrase, token_f1
from longview.video.timeline import Event, Span

MIN_SAME_EVENT_IOU = 0.5
"""Events of two windows, told in like words, are one if they overlap that well."""
CONTINUATION_OVERLAPS = 2.5
"""How long before a window, in lengths of its overlap with the one before, an event may seem to have ended that goes on in it."""


@dataclass(frozen=True)
class WindowCaptions:
    """What one window's captions tell."""

    window: Span
    events: Sequence[Event]


def merge_windows(windows: Sequence[WindowCaptions], *, patch_period_s: float) -> list[Event]:
    """One timeline from windows in order of time: what two of them tell of one event becomes one event.

    The same event has the same text and overlaps or lies no further apart than two patches; or it has a like text (`likeness`)
    and either overlaps well, or goes over the border, so that each window saw a part of it, or was cut short by one window only,
    and begins or ends with what the other tells: the longer part's words are kept.
    What is under way when a window begins is also what the window before told in the same words a little earlier.
    What a window shows no more than a patch of is left to the neighbour that shows more of it, if that tells anything there.
    Within one window only the same text at overlapping times is one event.
    """
    timeline: list[Event] = []
    for previous, told, following in zip([None, *windows], windows, [*windows[1:], None], strict=False):
        last = previous.window if previous else None
        before = list(timeline)
        for event in told.events:
            match = next((old for old in before if _is_duplicate(old, event, gap_s=2 * patch_period_s)), None)
            match = match or next((old for old in timeline if _is_duplicate(old, event, gap_s=0.0)), None)
            match = match or _continues_from(before, event, last, told.window, patch_period_s)
            match = match or _find_counterpart(before, event, last, told.window, patch_period_s)
            if match is None:
                if not _is_fragment(event, told.window, (previous, following), patch_period_s):
                    timeline.append(event)
                continue
            both = Span(min(match.span.start_s, event.span.start_s), max(match.span.end_s, event.span.end_s))
            longer = max(match, event, key=lambda one: one.span.duration_s)
            timeline[timeline.index(match)] = Event(both, longer.text)
            if match in before:
                before.remove(match)
    return sorted(timeline, key=lambda event: event.span)


def _is_fragment(event: Event, window: Span, neighbours: Sequence[WindowCaptions | None], patch_period_s: float) -> bool:
    """Whether a window shows no more than a patch of an event, where a neighbour shows more of it and tells something."""
    begins_late = event.span.start_s >= window.end_s - patch_period_s
    ends_early = event.span.end_s <= window.start_s + patch_period_s

    def tells_it(told: WindowCaptions) -> bool:
        goes_on = begins_late and told.window.start_s <= event.span.start_s - patch_period_s and told.window.end_s > window.end_s
        went_on = ends_early and told.window.end_s >= event.span.end_s + patch_period_s and told.window.start_s < window.start_s
        return (goes_on or went_on) and any(other.span.overlap_s(event.span) >= -patch_period_s for other in told.events)

    return any(told is not None and tells_it(told) for told in neighbours)


def _is_duplicate(first: Event, second: Event, *, gap_s: float) -> bool:
    between_s = -first.span.overlap_s(second.span)
    return first.text == second.text and (between_s <= gap_s if gap_s else between_s < 0)


def _continues_from(
    before: Sequence[Event], event: Event, last: Span | None, window: Span, patch_period_s: float
) -> Event | None:
    """What the window before told, in the same words, of an event that was under way when this window began, if it did.

    Of what goes over its end a window often tells the beginning only, and ends it too soon.
    """
    if last is None or event.span.start_s > window.start_s + patch_period_s:
        return None
    earliest_s = window.start_s - CONTINUATION_OVERLAPS * max(0.0, last.end_s - window.start_s)
    return next((old for old in before if old.text == event.text and earliest_s <= old.span.end_s <= event.span.start_s), None)


def _find_counterpart(
    before: Sequence[Event], event: Event, last: Span | None, window: Span, patch_period_s: float
) -> Event | None:
    """What the window before told of the same event in other words, if it did."""
    if last is None:
        return None

    def is_same(old: Event) -> bool:
        if old.span.overlap_s(event.span) <= 0 or not is_paraphrase(old.text, event.text):
            return False
        is_cut_after, is_cut_before = (
            old.span.end_s >= last.end_s - patch_period_s,
            event.span.start_s <= window.start_s + patch_period_s,
        )
        begin_together = abs(old.span.start_s - event.span.start_s) <= patch_period_s
        end_together = abs(old.span.end_s - event.span.end_s) <= patch_period_s
        is_part = (is_cut_after and (is_cut_before or begin_together)) or (is_cut_before and end_together)
        return is_part or old.span.iou(event.span) >= MIN_SAME_EVENT_IOU

    return max(filter(is_same, before), key=lambda old: token_f1(old.text, event.text), default=None)
