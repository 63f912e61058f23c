"""Merge the captions of overlapping windows into one timeline."""

from collections.abc import Sequence
from dataclasses import dataclass

from longview.core.timeline import Event, Span
from longview.model.tasks.text_match import is_paraphrase, token_f1

MIN_MERGE_IOU = 0.5
"""Minimum tIoU of two paraphrased events of neighbouring windows that are one event."""
CONTINUATION_OVERLAPS = 2.5
"""Maximum time between the end of an event and the window in which it continues, as a multiple of the windows' overlap."""


@dataclass(frozen=True)
class WindowCaptions:
    """The captions of one window."""

    window: Span
    events: Sequence[Event]


def merge_windows(windows: Sequence[WindowCaptions], *, patch_period_s: float) -> list[Event]:
    """Merge windows in order of time into one timeline: events of two windows that are the same event become one.

    Two events are the same if they have the same text and overlap or are at most two patch periods apart. With paraphrased texts
    (`is_paraphrase`) they are the same if they overlap with a high tIoU, or if each window shows a part of the event and the
    parts meet; the text of the longer part is kept. An event that is in progress when a window begins continues one with the
    same text that ended a little earlier. An event that covers at most one temporal patch of its window is dropped if the
    neighbouring window shows more of it and reports an event there. Within one window, only overlapping events with the same
    text are one event.
    """
    timeline: list[Event] = []
    for previous, current, following in zip([None, *windows], windows, [*windows[1:], None], strict=False):
        previous_window = previous.window if previous else None
        earlier = list(timeline)
        for event in current.events:
            match = next((old for old in earlier if _is_duplicate(old, event, max_gap_s=2 * patch_period_s)), None)
            match = match or next((old for old in timeline if _is_duplicate(old, event, max_gap_s=0.0)), None)
            match = match or _continues_from(earlier, event, previous_window, current.window, patch_period_s)
            match = match or _find_counterpart(earlier, event, previous_window, current.window, patch_period_s)
            if match is None:
                if not _is_fragment(event, current.window, (previous, following), patch_period_s):
                    timeline.append(event)
                continue
            both = Span(min(match.span.start_s, event.span.start_s), max(match.span.end_s, event.span.end_s))
            longer = max(match, event, key=lambda one: one.span.duration_s)
            timeline[timeline.index(match)] = Event(both, longer.text)
            if match in earlier:
                earlier.remove(match)
    return sorted(timeline, key=lambda event: event.span)


def _is_fragment(event: Event, window: Span, neighbours: Sequence[WindowCaptions | None], patch_period_s: float) -> bool:
    """Whether a window shows at most one temporal patch of an event, and a neighbour shows more and reports an event there."""
    begins_late = event.span.start_s >= window.end_s - patch_period_s
    ends_early = event.span.end_s <= window.start_s + patch_period_s

    def reports_event(neighbour: WindowCaptions) -> bool:
        other = neighbour.window
        shows_rest = begins_late and other.start_s <= event.span.start_s - patch_period_s and other.end_s > window.end_s
        shows_start = ends_early and other.end_s >= event.span.end_s + patch_period_s and other.start_s < window.start_s
        return (shows_rest or shows_start) and any(
            reported.span.overlap_s(event.span) >= -patch_period_s for reported in neighbour.events
        )

    return any(neighbour is not None and reports_event(neighbour) for neighbour in neighbours)


def _is_duplicate(first: Event, second: Event, *, max_gap_s: float) -> bool:
    between_s = -first.span.overlap_s(second.span)
    return first.text == second.text and (between_s <= max_gap_s if max_gap_s else between_s < 0)


def _continues_from(
    earlier: Sequence[Event], event: Event, previous_window: Span | None, window: Span, patch_period_s: float
) -> Event | None:
    """Return the event of the window before, with the same text, that was in progress when this window began; else None.

    A window often reports only the beginning of an event that crosses its end, and ends it too early.
    """
    if previous_window is None or event.span.start_s > window.start_s + patch_period_s:
        return None
    earliest_s = window.start_s - CONTINUATION_OVERLAPS * max(0.0, previous_window.end_s - window.start_s)
    return next((old for old in earlier if old.text == event.text and earliest_s <= old.span.end_s <= event.span.start_s), None)


def _find_counterpart(
    earlier: Sequence[Event], event: Event, previous_window: Span | None, window: Span, patch_period_s: float
) -> Event | None:
    """Return the same event in other words, as the window before reported it; else None."""
    if previous_window is None:
        return None

    def is_same(old: Event) -> bool:
        if old.span.overlap_s(event.span) <= 0 or not is_paraphrase(old.text, event.text):
            return False
        is_cut_after = old.span.end_s >= previous_window.end_s - patch_period_s
        is_cut_before = event.span.start_s <= window.start_s + patch_period_s
        begin_together = abs(old.span.start_s - event.span.start_s) <= patch_period_s
        end_together = abs(old.span.end_s - event.span.end_s) <= patch_period_s
        is_part = (is_cut_after and (is_cut_before or begin_together)) or (is_cut_before and end_together)
        return is_part or old.span.iou(event.span) >= MIN_MERGE_IOU

    return max(filter(is_same, earlier), key=lambda old: token_f1(old.text, event.text), default=None)
