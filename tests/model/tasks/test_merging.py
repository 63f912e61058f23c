"""Windows that overlap become one timeline."""

import pytest

from longview.model.tasks.merging import WindowCaptions
from longview.model.tasks.merging import merge_windows as _joined
from longview.model.tasks.text_match import token_f1
from longview.video.timeline import Event, Span

GRAIN_S = 1.0


def joined(windows: list[list[Event]], *, grain_s: float) -> list[Event]:
    """Of windows whose borders do not matter."""
    return _joined([WindowCaptions(Span(0, 1e4), events) for events in windows], patch_period_s=grain_s)


def event(start_s: float, end_s: float, text: str = "A dog runs.") -> Event:
    return Event(Span(start_s, end_s), text)


@pytest.mark.parametrize(
    ("first", "second", "together"),
    [
        ([event(50, 60)], [event(56, 64)], [event(50, 64)]),
        ([event(50, 58)], [event(60, 64)], [event(50, 64)]),
        ([event(50, 58)], [event(60.5, 64)], [event(50, 58), event(60.5, 64)]),
        ([event(50, 60)], [event(56, 64, "Cats sleep.")], [event(50, 60), event(56, 64, "Cats sleep.")]),
        ([event(50, 64)], [event(56, 60)], [event(50, 64)]),
    ],
    ids=["overlap", "two patches apart", "further apart", "other words", "inside"],
)
def test_what_two_windows_tell_in_the_same_words_becomes_one(
    first: list[Event], second: list[Event], together: list[Event]
) -> None:
    assert joined([first, second], grain_s=GRAIN_S) == together


def test_what_one_window_tells_twice_stays_two_events() -> None:
    twice = [event(10, 12), event(13, 15)]
    assert joined([twice], grain_s=GRAIN_S) == twice
    assert joined([twice, twice], grain_s=GRAIN_S) == twice


def test_an_event_through_many_windows_becomes_one_long_event() -> None:
    windows = [[event(start, start + 60)] for start in range(0, 300, 50)]
    assert joined(windows, grain_s=GRAIN_S) == [event(0, 310)]


def test_the_timeline_is_in_order_of_time() -> None:
    timeline = joined([[event(5, 9, "b"), event(1, 3, "a")], [], [event(4, 8, "c")]], grain_s=GRAIN_S)
    assert [told.text for told in timeline] == ["a", "c", "b"]


def test_one_reply_that_tells_an_event_twice_gives_one_event() -> None:
    twice = [Event(Span(7, 10), "A red ring moves up."), Event(Span(8, 14), "A red ring moves up.")]
    assert joined([twice], grain_s=1.0) == [Event(Span(7, 14), "A red ring moves up.")]


def test_one_reply_may_tell_the_same_of_two_times() -> None:
    twice = [Event(Span(7, 10), "A red ring moves up."), Event(Span(10.5, 14), "A red ring moves up.")]
    assert joined([twice], grain_s=1.0) == twice


DOOR = event(50, 60, "A man in red opens the door.")
GOES_ON, INSIDE = event(56, 70, "A man in red opens a door."), event(56, 59, "A man in red opens a door.")
DOG, LATER = event(57, 70, "A dog barks at the window."), event(59, 70, "A man in red opens a door.")


@pytest.mark.parametrize(
    ("second", "together"),
    [
        (GOES_ON, [event(50, 70, GOES_ON.text)]),
        (INSIDE, [DOOR]),
        (DOG, [DOOR, DOG]),
        # In the middle of its window it was seen whole: it is another one.
        (LATER, [DOOR, LATER]),
    ],
    ids=["goes on", "longer part first", "something else", "begins later"],
)
def test_an_event_over_a_border_told_in_other_words_becomes_one(second: Event, together: list[Event]) -> None:
    assert _joined([WindowCaptions(Span(0, 60), [DOOR]), WindowCaptions(Span(56, 120), [second])], patch_period_s=1.0) == together


def test_what_one_window_cuts_short_and_the_next_shows_whole_is_told_as_the_next_tells_it() -> None:
    cut, whole = event(57, 60, "A man in red opens the door."), event(57.5, 75, "A man in red runs through the door.")
    assert _joined([WindowCaptions(Span(0, 60), [cut]), WindowCaptions(Span(56, 120), [whole])], patch_period_s=1.0) == [
        event(57, 75, whole.text)
    ]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (event(40, 60, "A red circle moves up."), event(57.5, 61, "A blue circle moves up.")),
        (event(50, 60, "A man in red opens the door."), event(57.5, 75, "A man in red runs through the door.")),
        (event(50, 58, "A red circle moves up."), event(56, 75, "A blue circle moves up.")),
    ],
)
def test_what_only_sounds_alike_stays_apart(first: Event, second: Event) -> None:
    assert _joined([WindowCaptions(Span(0, 60), [first]), WindowCaptions(Span(56, 120), [second])], patch_period_s=1.0) == [
        first,
        second,
    ]


def test_of_two_looks_at_one_window_neither_has_scraps() -> None:
    early, late = event(0, 0.5, "A light flashes."), event(59.5, 60, "A dog lies.")
    assert _joined([WindowCaptions(Span(0, 60), [late]), WindowCaptions(Span(0, 60), [early])], patch_period_s=1.0) == [
        early,
        late,
    ]


@pytest.mark.parametrize(
    ("first", "second", "alike"),
    [
        ("A dog runs.", "a dog runs", 1.0),
        ("A dog runs.", "", 0.0),
        ("A dog runs.", "Cats sleep.", 0.0),
        ("a b c", "a b d", 2 / 3),
        ("빨간 원", "빨간 별", 0.5),
    ],
)
def test_likeness_is_the_share_of_words(first: str, second: str, alike: float) -> None:
    assert token_f1(first, second) == token_f1(second, first) == pytest.approx(alike)


@pytest.mark.parametrize(
    ("first", "second", "together"),
    [
        (event(50, 52), event(56, 70), [event(50, 70)]),
        (event(40, 42), event(56, 70), [event(40, 42), event(56, 70)]),
        # It begins later in its window: it was not under way.
        (event(50, 52), event(59, 70), [event(50, 52), event(59, 70)]),
        (event(50, 52), event(56, 70, "Cats sleep."), [event(50, 52), event(56, 70, "Cats sleep.")]),
    ],
    ids=["ended too soon", "long before", "begins later", "something else"],
)
def test_an_event_that_is_under_way_when_a_window_begins_is_the_one_that_was_told_before(
    first: Event, second: Event, together: list[Event]
) -> None:
    assert (
        _joined([WindowCaptions(Span(0, 60), [first]), WindowCaptions(Span(56, 120), [second])], patch_period_s=1.0) == together
    )


def test_nothing_is_under_way_across_a_cut() -> None:
    windows = [WindowCaptions(Span(0, 60), [event(50, 52)]), WindowCaptions(Span(60, 120), [event(60, 70)])]
    assert _joined(windows, patch_period_s=1.0) == [event(50, 52), event(60, 70)]


@pytest.mark.parametrize(
    ("first", "second", "together"),
    [
        # Half a patch of it is seen before the window ends, and told as something else.
        ([event(59.5, 60, "A dog lies.")], [event(59.5, 70)], [event(59.5, 70)]),
        ([event(59.5, 60, "A dog lies.")], [event(60, 70)], [event(60, 70)]),
        ([event(50, 56.5)], [event(56, 56.5, "A dog lies.")], [event(50, 56.5)]),
        ([event(58, 60, "A cat sits.")], [event(58, 61)], [event(58, 60, "A cat sits."), event(58, 61)]),
        # The neighbour tells nothing there: something was seen all the same.
        ([event(59.5, 60, "A cat sits.")], [event(70, 80)], [event(59.5, 60, "A cat sits."), event(70, 80)]),
        # The end of what the first window told.
        ([event(46, 52)], [event(56, 56.9)], [event(46, 56.9)]),
    ],
    ids=["at the end", "told later by the next", "at the beginning", "two patches long", "told by no other", "under way"],
)
def test_a_scrap_at_the_edge_of_a_window_is_left_to_the_window_that_shows_all_of_it(
    first: list[Event], second: list[Event], together: list[Event]
) -> None:
    assert _joined([WindowCaptions(Span(0, 60), first), WindowCaptions(Span(56, 120), second)], patch_period_s=1.0) == together


def test_at_a_cut_and_at_the_ends_of_a_video_nothing_is_a_scrap() -> None:
    first = [event(0, 0.5), event(59.5, 60, "A light flashes.")]
    second = [event(60, 60.5, "Rain falls."), event(119.5, 120, "Snow.")]
    assert _joined([WindowCaptions(Span(0, 60), first), WindowCaptions(Span(60, 120), second)], patch_period_s=1.0) == [
        *first,
        *second,
    ]
