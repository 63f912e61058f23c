"""Replies in every form that checkpoints give become spans on the video's clock; nothing is invented, nothing crashes."""

import json
from dataclasses import dataclass
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longview.model.engine.base import TemporalPatch, VideoSession
from longview.model.tasks.replies import ParsedReply, parse_events, to_video_clock
from longview.video.timeline import Event, Span


@dataclass
class FakeSession:
    """A window with a patch each second: frames at 0.0 and 0.5, marker between them."""

    window: Span
    clock_offset_s: float = 0.0

    @property
    def patches(self) -> tuple[TemporalPatch, ...]:
        starts = [self.window.start_s + second for second in range(int(self.window.duration_s))]
        return tuple(TemporalPatch(round(start + 0.25 - self.clock_offset_s, 1), start, start + 0.5) for start in starts)


def session(start_s: float = 0.0, end_s: float = 60.0, offset_s: float = 0.0) -> VideoSession:
    return cast(VideoSession, FakeSession(Span(start_s, end_s), offset_s))


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
        json.dumps(
            [
                {
                    "start": f"00:{e['start']:04}",
                    "end": e["end"],
                    "event": e["description"],
                }
                for e in TWO
            ]
        ),
        json.dumps({f"{e['start']}-{e['end']}": e["description"] for e in TWO}),
        json.dumps({f"{e['start']}s – {e['end']}s": e["description"] for e in TWO}),
        json.dumps([{"start": e["end"], "end": e["start"], "description": e["description"]} for e in TWO]),
    ],
)
def test_the_same_two_events_are_read_from_every_form(reply: str) -> None:
    reading = parse_events(reply, session())
    assert (reading.events, reading.rejected, reading.is_json) == (TWO_EVENTS, 0, True)
    assert reading.is_in_order == (reply != json.dumps(TWO[::-1]))


@pytest.mark.parametrize(
    "reply", ["", "The dog runs from 3 to 5 seconds.", "[", "```json", '[{"start": 3.2, "en', "12.5", '"text"', "[" * 100_000]
)
def test_what_is_no_json_is_said_to_be_none(reply: str) -> None:
    assert parse_events(reply, session()) == ParsedReply((), 0, is_json=False)


def test_an_empty_list_is_an_answer() -> None:
    assert parse_events("[]", session()) == ParsedReply((), 0, is_json=True)


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
def test_an_entry_that_makes_no_sense_is_counted_and_the_rest_is_kept(entry: object) -> None:
    reading = parse_events(json.dumps([TWO[0], entry, TWO[1]]), session())
    assert reading == ParsedReply(TWO_EVENTS, 1, is_json=True)


def test_a_marker_stands_for_its_whole_patch() -> None:
    assert to_video_clock(3.2, 3.2, session()) == Span(3.0, 3.5)
    assert to_video_clock(3.4, 7.0, session()) == Span(3.0, 7.5)


def test_markers_of_a_window_with_its_own_clock_are_mapped_back() -> None:
    assert to_video_clock(3.2, 5.2, session(9000.0, 9060.0, offset_s=9000.0)) == Span(9003.0, 9005.5)


def test_a_span_that_runs_over_the_window_is_cut_and_one_outside_is_none() -> None:
    assert to_video_clock(55.0, 400.0, session()) == Span(55.0, 59.5)
    assert to_video_clock(70.0, 80.0, session()) is None


def test_a_lone_frame_lasts_until_the_window_ends() -> None:
    @dataclass
    class Single:
        window: Span = Span(0.0, 0.04)
        clock_offset_s: float = 0.0
        patches: tuple[TemporalPatch, ...] = (TemporalPatch(0.0, 0.0, 0.0),)

    assert to_video_clock(0.0, 0.0, cast(VideoSession, Single())) == Span(0.0, 0.04)


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12)
keys = st.sampled_from(["start", "end", "start_time", "end_time", "description", "events", "0-5", "1:00 - 2:00", ""])
nested = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4), max_leaves=12
)


@settings(max_examples=150, deadline=None)
@given(nested.map(json.dumps) | st.text(alphabet='[]{}":, \n0123456789.-`startendjson', max_size=80), st.integers(0, 200))
def test_whatever_the_model_says_gives_spans_inside_the_window(reply: str, cut: int) -> None:
    window = session(100.0, 130.0, offset_s=100.0)
    for text in (reply, reply[:cut]):
        reading = parse_events(text, window)
        assert list(reading.events) == sorted(reading.events, key=lambda event: event.span)
        assert all(100.0 <= event.span.start_s < event.span.end_s <= 130.0 for event in reading.events)
