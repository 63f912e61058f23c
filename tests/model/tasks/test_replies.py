"""Replies of every form are parsed into spans on the video's clock; malformed entries are counted and never invented."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longview.core.timeline import Event, Span
from longview.model.engine.base import TemporalPatch, VideoSession
from longview.model.tasks.replies import ParsedReply, parse_events, to_video_clock
from tests.support.fakes import FakeSession


def session(start_s: float = 0.0, end_s: float = 60.0, offset_s: float = 0.0) -> VideoSession:
    return FakeSession(Span(start_s, end_s), offset_s)


TWO = [{"start": 3.2, "end": 5.2, "description": "A dog runs."}, {"start": 10.2, "end": 12.2, "description": "It  sits\n down."}]
TWO_EVENTS = (Event(Span(3.0, 5.5), "A dog runs."), Event(Span(10.0, 12.5), "It sits down."))


@pytest.mark.parametrize(
    "reply",
    [
        json.dumps(TWO),
        json.dumps(TWO, indent=2),
        "```json\n" + json.dumps(TWO) + "\n```",
        "```\n" + json.dumps(TWO),
        "Here are the [events]:\n" + json.dumps(TWO) + "\nI hope this helps.",
        "<think>Maybe [1, 2]?</think>" + json.dumps(TWO),
        json.dumps({"events": TWO}),
        "\n".join(json.dumps(entry) for entry in TWO),
        json.dumps(TWO[::-1]),
        json.dumps(TWO)[:-1] + ', {"start": 20.2, "end": 2',
        json.dumps(
            [{"start_time": str(e["start"]), "end_time": f"{e['end']} seconds", "caption": e["description"]} for e in TWO]
        ),
        json.dumps([{"start": f"00:{e['start']:04}", "end": e["end"], "event": e["description"]} for e in TWO]),
        json.dumps({f"{e['start']}-{e['end']}": e["description"] for e in TWO}),
        json.dumps({f"{e['start']}s – {e['end']}s": e["description"] for e in TWO}),
        json.dumps([{"start": e["end"], "end": e["start"], "description": e["description"]} for e in TWO]),
    ],
)
def test_every_reply_form_gives_the_same_events(reply: str) -> None:
    parsed = parse_events(reply, session())
    assert (parsed.events, parsed.rejected_count, parsed.has_form) == (TWO_EVENTS, 0, True)
    assert parsed.is_in_order == (reply != json.dumps(TWO[::-1]))


@pytest.mark.parametrize(
    "reply", ["", "The dog runs from 3 to 5 seconds.", "[", "```json", '[{"start": 3.2, "en', "12.5", '"text"', "[" * 100_000]
)
def test_reply_without_json_is_not_json(reply: str) -> None:
    assert parse_events(reply, session()) == ParsedReply((), 0, has_form=False)


def test_empty_list_is_a_valid_reply() -> None:
    assert parse_events("[]", session()) == ParsedReply((), 0, has_form=True)


@pytest.mark.parametrize(
    "entry",
    [
        {"start": 3, "description": "no end"},
        {"start": "soon", "end": "later"},
        {"start": None, "end": 3},
        {"start": True, "end": 3},
        {"start": -4, "end": 3},
        {"start": float("nan"), "end": 3},
        {"start": 3, "end": float("inf")},
        {"start": 3, "end": 10**400},
        {"start": [1], "end": {}},
        {"start": 500, "end": 510},
        "3-5",
        7,
        None,
        [3, 5],
    ],
)
def test_malformed_entry_is_counted_and_others_are_kept(entry: object) -> None:
    parsed = parse_events(json.dumps([TWO[0], entry, TWO[1]]), session())
    assert parsed == ParsedReply(TWO_EVENTS, 1, has_form=True)


def test_timestamp_means_its_whole_patch() -> None:
    assert to_video_clock(3.2, 3.2, session()) == Span(3.0, 3.5)
    assert to_video_clock(3.4, 7.0, session()) == Span(3.0, 7.5)


def test_timestamps_of_an_offset_clock_are_mapped_back() -> None:
    assert to_video_clock(3.2, 5.2, session(9000.0, 9060.0, offset_s=9000.0)) == Span(9003.0, 9005.5)


def test_span_is_clamped_to_the_window() -> None:
    assert to_video_clock(55.0, 400.0, session()) == Span(55.0, 59.5)
    assert to_video_clock(70.0, 80.0, session()) is None


def test_single_frame_lasts_until_the_window_ends() -> None:
    single = FakeSession(Span(0.0, 0.04), patches=(TemporalPatch(0.0, 0.0, 0.0),))
    assert to_video_clock(0.0, 0.0, single) == Span(0.0, 0.04)


def test_one_image_among_others_lasts_until_the_next() -> None:
    images = FakeSession(Span(0.0, 60.0), patches=tuple(TemporalPatch(time_s, time_s, time_s) for time_s in (1.0, 1.5, 2.0)))
    assert to_video_clock(1.5, 1.5, images) == Span(1.5, 2.0)
    assert to_video_clock(2.0, 2.0, images) == Span(2.0, 60.0)


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12)
keys = st.sampled_from(["start", "end", "start_time", "end_time", "description", "events", "0-5", "1:00 - 2:00", ""])
nested = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4), max_leaves=12
)


@settings(max_examples=150, deadline=None)
@given(nested.map(json.dumps) | st.text(alphabet='[]{}":, \n0123456789.-`startendjson', max_size=80), st.integers(0, 200))
def test_any_reply_gives_spans_inside_the_window(reply: str, cut: int) -> None:
    window = session(100.0, 130.0, offset_s=100.0)
    for text in (reply, reply[:cut]):
        parsed = parse_events(text, window)
        assert list(parsed.events) == sorted(parsed.events, key=lambda event: event.span)
        assert all(100.0 <= event.span.start_s < event.span.end_s <= 130.0 for event in parsed.events)


@pytest.mark.parametrize("reply", ["[" * 800 + "1," * 100_000, '["' + "[" * 800 + '["' + "x" * 200_000, '{"a": [' * 20_000])
@pytest.mark.timeout(60)
def test_brackets_without_ends_take_no_time(reply: str) -> None:
    assert parse_events(reply, session()).events == ()
