"""Captions of overlapping windows are merged into one timeline."""

import pytest

from longview.core.timeline import Event, Span
from longview.model.tasks.merging import WindowCaptions, merge_windows

PATCH_PERIOD_S = 1.0
OVERLAPPING = (Span(0, 60), Span(56, 120))
ADJACENT = (Span(0, 60), Span(60, 120))


def merge(windows: list[list[Event]]) -> list[Event]:
    """Merge the captions of windows so long that their boundaries do not matter."""
    return merge_windows([WindowCaptions(Span(0, 1e4), events) for events in windows], patch_period_s=PATCH_PERIOD_S)


def merge_pair(first: list[Event], second: list[Event], windows: tuple[Span, Span] = OVERLAPPING) -> list[Event]:
    """Merge the captions of two windows."""
    captions = [WindowCaptions(window, events) for window, events in zip(windows, (first, second), strict=True)]
    return merge_windows(captions, patch_period_s=PATCH_PERIOD_S)


def event(start_s: float, end_s: float, text: str = "A dog runs.") -> Event:
    return Event(Span(start_s, end_s), text)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([event(50, 60)], [event(56, 64)], [event(50, 64)]),
        ([event(50, 58)], [event(60, 64)], [event(50, 64)]),
        ([event(50, 58)], [event(60.5, 64)], [event(50, 58), event(60.5, 64)]),
        ([event(50, 60)], [event(56, 64, "Cats sleep.")], [event(50, 60), event(56, 64, "Cats sleep.")]),
        ([event(50, 64)], [event(56, 60)], [event(50, 64)]),
    ],
    ids=["overlap", "two patches apart", "further apart", "other words", "inside"],
)
def test_same_text_in_two_windows_is_one_event(first: list[Event], second: list[Event], expected: list[Event]) -> None:
    assert merge([first, second]) == expected


def test_separate_events_of_one_window_stay_separate() -> None:
    twice = [event(10, 12), event(13, 15)]
    assert merge([twice]) == twice
    assert merge([twice, twice]) == twice


def test_event_across_many_windows_is_one_event() -> None:
    windows = [[event(start, start + 60)] for start in range(0, 300, 50)]
    assert merge(windows) == [event(0, 310)]


def test_timeline_is_in_order_of_time() -> None:
    timeline = merge([[event(5, 9, "b"), event(1, 3, "a")], [], [event(4, 8, "c")]])
    assert [one.text for one in timeline] == ["a", "c", "b"]


def test_overlapping_events_with_one_text_are_one_event() -> None:
    assert merge([[event(7, 10), event(8, 14)]]) == [event(7, 14)]


def test_events_with_one_text_and_a_gap_stay_separate() -> None:
    twice = [event(7, 10), event(10.5, 14)]
    assert merge([twice]) == twice


DOOR = event(50, 60, "A man in red opens the door.")
CONTINUED, INSIDE = event(56, 70, "A man in red opens a door."), event(56, 59, "A man in red opens a door.")
DOG, LATER = event(57, 70, "A dog barks at the window."), event(59, 70, "A man in red opens a door.")


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        (CONTINUED, [event(50, 70, CONTINUED.text)]),
        (INSIDE, [DOOR]),
        (DOG, [DOOR, DOG]),
        # It does not begin at the window's start, so it is another event.
        (LATER, [DOOR, LATER]),
    ],
    ids=["continued", "longer part first", "other event", "begins later"],
)
def test_paraphrase_across_a_boundary_is_one_event(second: Event, expected: list[Event]) -> None:
    assert merge_pair([DOOR], [second]) == expected


def test_text_of_the_longer_part_is_kept() -> None:
    cut, whole = event(57, 60, "A man in red opens the door."), event(57.5, 75, "A man in red runs through the door.")
    assert merge_pair([cut], [whole]) == [event(57, 75, whole.text)]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (event(40, 60, "A red circle moves up."), event(57.5, 61, "A blue circle moves up.")),
        (event(50, 60, "A man in red opens the door."), event(57.5, 75, "A man in red runs through the door.")),
        (event(50, 58, "A red circle moves up."), event(56, 75, "A blue circle moves up.")),
    ],
)
def test_similar_texts_of_other_events_stay_separate(first: Event, second: Event) -> None:
    assert merge_pair([first], [second]) == [first, second]


def test_two_attempts_at_one_window_have_no_fragments() -> None:
    early, late = event(0, 0.5, "A light flashes."), event(59.5, 60, "A dog lies.")
    assert merge_pair([late], [early], (Span(0, 60), Span(0, 60))) == [early, late]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (event(50, 52), event(56, 70), [event(50, 70)]),
        (event(40, 42), event(56, 70), [event(40, 42), event(56, 70)]),
        # It begins later in its window, so it was not in progress.
        (event(50, 52), event(59, 70), [event(50, 52), event(59, 70)]),
        (event(50, 52), event(56, 70, "Cats sleep."), [event(50, 52), event(56, 70, "Cats sleep.")]),
    ],
    ids=["ended too early", "long before", "begins later", "other event"],
)
def test_event_in_progress_continues_the_earlier_one(first: Event, second: Event, expected: list[Event]) -> None:
    assert merge_pair([first], [second]) == expected


def test_nothing_is_in_progress_across_a_cut() -> None:
    assert merge_pair([event(50, 52)], [event(60, 70)], ADJACENT) == [event(50, 52), event(60, 70)]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        # The first window shows half a patch of it, and describes it as another event.
        ([event(59.5, 60, "A dog lies.")], [event(59.5, 70)], [event(59.5, 70)]),
        ([event(59.5, 60, "A dog lies.")], [event(60, 70)], [event(60, 70)]),
        ([event(50, 56.5)], [event(56, 56.5, "A dog lies.")], [event(50, 56.5)]),
        ([event(58, 60, "A cat sits.")], [event(58, 61)], [event(58, 60, "A cat sits."), event(58, 61)]),
        # The neighbour reports no event there, so the fragment is kept.
        ([event(59.5, 60, "A cat sits.")], [event(70, 80)], [event(59.5, 60, "A cat sits."), event(70, 80)]),
        # The fragment is the end of an event of the first window.
        ([event(46, 52)], [event(56, 56.9)], [event(46, 56.9)]),
    ],
    ids=["at the end", "reported later by the next", "at the start", "two patches long", "reported by no other", "in progress"],
)
def test_fragment_is_dropped_if_the_neighbour_shows_more(first: list[Event], second: list[Event], expected: list[Event]) -> None:
    assert merge_pair(first, second) == expected


def test_no_fragments_at_a_cut_and_at_the_ends_of_a_video() -> None:
    first = [event(0, 0.5), event(59.5, 60, "A light flashes.")]
    second = [event(60, 60.5, "Rain falls."), event(119.5, 120, "Snow.")]
    assert merge_pair(first, second, ADJACENT) == [*first, *second]
