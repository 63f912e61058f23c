"""Events that windows tell badly, on a border or beside another, are put right by a look of their own."""

from dataclasses import replace
from pathlib import Path

import pytest

from model.doubts import looked_at_again, on_a_border, shares_an_edge
from model.engine import VideoSession
from model.moments import stretches, untold
from model.qwen import QwenEngine
from model.sessions import SessionPool
from tests.filmkinds import make
from video.decoder import Decoder
from video.probe import VideoInfo, probe
from video.shapes import ShapesEvent, render
from video.timeline import Event, Span

SQUARE = ShapesEvent(6.0, 14.0, "green", "square", "moves up")
STAR = ShapesEvent(12.0, 24.0, "blue", "star", "grows")
CIRCLE = ShapesEvent(30.0, 55.0, "red", "circle", "moves to the right")
EVENTS = (SQUARE, STAR, CIRCLE)
DURATION_S = 60.0


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> VideoInfo:
    return probe(render(tmp_path_factory.mktemp("doubts") / "beside.mp4", EVENTS, DURATION_S, fps=12.5))


@pytest.fixture(scope="module")
def pool(engine: QwenEngine, decoder: Decoder) -> SessionPool:
    return SessionPool(engine, decoder, memory_bytes=1 << 30)


@pytest.fixture(scope="module")
def free_pool(engine: QwenEngine, decoder: Decoder) -> SessionPool:
    """Of a checkpoint that is not bound to forms."""
    free = QwenEngine(replace(engine.checkpoint, question_forms=()), device="cpu", threads=1)
    return SessionPool(free, decoder, memory_bytes=1 << 30)


def nothing() -> None:
    pass


CUT = [(CIRCLE, Span(30.0, 34.0)), (CIRCLE, Span(51.0, 55.0))]
"""Its first or last seconds only, as a window tells what goes over its border."""
SWAPPED = [(SQUARE, Span(6.0, 24.0)), (STAR, Span(12.0, 14.0))]
"""With the other's end."""


@pytest.mark.parametrize(("event", "told", "disputed"), [*((*one, False) for one in CUT), *((*one, True) for one in SWAPPED)])
def test_a_wrong_time_is_put_right(pool: SessionPool, video: VideoInfo, event: ShapesEvent, told: Span, disputed: bool) -> None:
    again = looked_at_again(pool, video, Event(told, event.text), disputed=disputed, tick=nothing)
    assert again is not None and again.text == event.text
    assert again.span.iou(event.event.span) >= 0.85


@pytest.mark.parametrize(("event", "told"), CUT)
def test_a_checkpoint_without_forms_follows_an_event_to_its_end(
    free_pool: SessionPool, video: VideoInfo, event: ShapesEvent, told: Span
) -> None:
    again = looked_at_again(free_pool, video, Event(told, event.text), disputed=True, tick=nothing)
    assert again is not None and again.span.iou(event.event.span) >= 0.85


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.shape)
def test_a_right_time_stays(pool: SessionPool, video: VideoInfo, event: ShapesEvent) -> None:
    again = looked_at_again(pool, video, event.event, disputed=True, tick=nothing)
    assert again is not None and again.span.iou(event.event.span) >= 0.9


def test_what_is_seen_at_no_moment_goes_and_only_where_moments_can_be_asked(
    pool: SessionPool, free_pool: SessionPool, video: VideoInfo
) -> None:
    invented = Event(Span(30.0, 40.0), "A white ring shrinks.")
    assert looked_at_again(pool, video, invented, disputed=True, tick=nothing) is None
    assert looked_at_again(free_pool, video, invented, disputed=True, tick=nothing) == invented


def test_where_no_look_can_be_had_it_stays_as_it_is(pool: SessionPool, tmp_path: Path) -> None:
    unfamiliar = probe(make(tmp_path, "h264.mp4"))
    told = Event(Span(1.0, 3.0), "A white ring shrinks.")
    assert looked_at_again(pool, unfamiliar, told, disputed=True, tick=nothing) == told


def test_the_looks_are_not_kept(pool: SessionPool, video: VideoInfo) -> None:
    empty = SessionPool(pool.engine, pool.decoder, memory_bytes=1 << 30)
    looked_at_again(empty, video, CIRCLE.event, disputed=False, tick=nothing)
    assert not empty._sessions


BORDERS = [Span(56.0, 60.0), Span(112.0, 116.0)]


@pytest.mark.parametrize(
    ("start_s", "end_s", "is_on_one"),
    [(50, 57, True), (56, 57, True), (59, 80, True), (40, 113, True), (50, 56, False), (60, 70, False), (5, 9, False)],
)
def test_what_two_windows_share_is_a_border(start_s: float, end_s: float, is_on_one: bool) -> None:
    assert on_a_border(Event(Span(start_s, end_s), "A dog runs."), BORDERS) is is_on_one


@pytest.mark.parametrize(
    ("span", "does"),
    [
        (Span(5, 20), True),
        (Span(10, 14), True),
        (Span(10, 20), True),
        (Span(12, 17), False),
        (Span(5, 25), False),
        # One after the other is not beside each other.
        (Span(20, 30), False),
    ],
)
def test_events_that_lie_beside_each_other_may_share_an_edge(span: Span, does: bool) -> None:
    event, other = Event(span, "A dog runs."), Event(Span(10, 20), "A cat sleeps.")
    assert shares_an_edge(event, [event, other], grain_s=1.0) is does


@pytest.fixture(scope="module")
def session(pool: SessionPool, video: VideoInfo) -> VideoSession:
    """The whole video in one window."""
    plan = pool.plan(video, "caption")
    return pool.session(video, plan, plan.windows[0])


@pytest.mark.parametrize("missing", EVENTS, ids=lambda event: event.shape)
def test_what_a_timeline_leaves_out_is_found_by_asking_where_it_is_quiet(
    pool: SessionPool, session: VideoSession, missing: ShapesEvent
) -> None:
    told = [event.event for event in EVENTS if event is not missing]
    (found,) = untold(session, told, pool.engine.checkpoint, tick=nothing)
    assert found.text == missing.text and found.span.iou(missing.event.span) >= 0.85


def test_where_nothing_happens_nothing_is_found(pool: SessionPool, session: VideoSession) -> None:
    assert untold(session, [event.event for event in EVENTS], pool.engine.checkpoint, tick=nothing) == []


def test_moments_show_where_something_is_and_where_it_is_not(pool: SessionPool, session: VideoSession) -> None:
    forms = pool.engine.checkpoint.question_forms
    (found,) = stretches(session, CIRCLE.text, Span(31.0, 32.0), forms, tick=nothing)
    assert found.iou(CIRCLE.event.span) >= 0.9
    assert stretches(session, "A white ring shrinks.", Span(31.0, 32.0), forms, tick=nothing) == []
