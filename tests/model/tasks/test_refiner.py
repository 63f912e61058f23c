"""Events that windows tell badly, on a border or beside another, are put right by a look of their own."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from longview.model.demo import prober_for
from longview.model.demo.probing import find_missed_events, probe_spans
from longview.model.engine.base import VideoSession
from longview.model.engine.local import LocalEngine
from longview.model.engine.sessions import SessionPool
from longview.model.errors import Cancelled, OutOfMemory
from longview.model.tasks import refiner
from longview.model.tasks.captioner import caption
from longview.model.tasks.refiner import EventRefiner, crosses_boundary, refine_timeline, shares_boundary
from longview.video.decoder import Decoder
from longview.video.probe import VideoInfo, probe
from longview.video.sampler import SamplingPlan, window_overlaps
from longview.video.synthetic import ShapesEvent, render
from longview.video.timeline import Event, Span
from tests.media_samples import make

SQUARE = ShapesEvent(6.0, 14.0, "green", "square", "moves up")
STAR = ShapesEvent(12.0, 24.0, "blue", "star", "grows")
CIRCLE = ShapesEvent(30.0, 55.0, "red", "circle", "moves to the right")
EVENTS = (SQUARE, STAR, CIRCLE)
DURATION_S = 60.0


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> VideoInfo:
    return probe(render(tmp_path_factory.mktemp("refiner") / "beside.mp4", EVENTS, DURATION_S, fps=12.5))


@pytest.fixture(scope="module")
def pool(engine: LocalEngine, decoder: Decoder) -> SessionPool:
    return SessionPool(engine, decoder, memory_bytes=1 << 30)


@pytest.fixture(scope="module")
def free_pool(engine: LocalEngine, decoder: Decoder) -> SessionPool:
    """Of a checkpoint that is not bound to forms."""
    free = LocalEngine(replace(engine.checkpoint, question_templates=()), device="cpu", cpu_threads=1)
    return SessionPool(free, decoder, memory_bytes=1 << 30)


def nothing() -> None:
    pass


def looked_at(pool: SessionPool, video: VideoInfo, text: str, told: Span, *, disputed: bool) -> Span | None:
    """When it happens, after a look at what was told."""
    return EventRefiner(
        pool,
        prober_for(pool.engine.checkpoint),
        video,
        Event(told, text),
        pool.planner.plan(video, "caption"),
        is_contested=disputed,
        tick=nothing,
    ).refine()


CUT = [(CIRCLE, Span(30.0, 34.0)), (CIRCLE, Span(51.0, 55.0))]
"""Its first or last seconds only, as a window tells what goes over its border."""
SWAPPED = [(SQUARE, Span(6.0, 24.0)), (STAR, Span(12.0, 14.0))]
"""With the other's end."""


@pytest.mark.parametrize(("event", "told", "disputed"), [*((*one, False) for one in CUT), *((*one, True) for one in SWAPPED)])
def test_a_wrong_time_is_put_right(pool: SessionPool, video: VideoInfo, event: ShapesEvent, told: Span, disputed: bool) -> None:
    again = looked_at(pool, video, event.text, told, disputed=disputed)
    assert again is not None and again.iou(event.event.span) >= 0.85


@pytest.mark.parametrize(("event", "told"), CUT)
def test_a_checkpoint_without_forms_follows_an_event_to_its_end(
    free_pool: SessionPool, video: VideoInfo, event: ShapesEvent, told: Span
) -> None:
    again = looked_at(free_pool, video, event.text, told, disputed=True)
    assert again is not None and again.iou(event.event.span) >= 0.85


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.shape)
def test_a_right_time_stays(pool: SessionPool, video: VideoInfo, event: ShapesEvent) -> None:
    again = looked_at(pool, video, event.text, event.event.span, disputed=True)
    assert again is not None and again.iou(event.event.span) >= 0.9


def test_what_is_seen_at_no_moment_goes_and_only_where_moments_can_be_asked(
    pool: SessionPool, free_pool: SessionPool, video: VideoInfo
) -> None:
    invented = Span(30.0, 40.0)
    assert looked_at(pool, video, "A white ring shrinks.", invented, disputed=True) is None
    assert looked_at(free_pool, video, "A white ring shrinks.", invented, disputed=True) == invented


def test_where_no_look_can_be_had_it_stays_as_it_is(pool: SessionPool, tmp_path: Path) -> None:
    unfamiliar = probe(make(tmp_path, "h264.mp4"))
    assert looked_at(pool, unfamiliar, "A white ring shrinks.", Span(1.0, 3.0), disputed=True) == Span(1.0, 3.0)


def test_the_looks_are_not_kept_but_what_was_there_before_is(engine: LocalEngine, decoder: Decoder, video: VideoInfo) -> None:
    pool = SessionPool(engine, decoder, memory_bytes=1 << 30)
    looked_at(pool, video, CIRCLE.text, Span(30.0, 55.0), disputed=False)
    assert not pool._sessions
    # A look that shows the same as a window does not end that window's session.
    plan = pool.planner.plan(video, "caption", span=Span(4.0, 20.0))
    kept = pool.session(video, plan, plan.windows[0])
    looked_at(pool, video, SQUARE.text, Span(8.0, 16.0), disputed=False)
    assert list(pool._sessions.values()) == [kept]


WHOLE = Span(0.0, 90.0)


@pytest.fixture(scope="module")
def over_borders(tmp_path_factory: pytest.TempPathFactory) -> VideoInfo:
    """A video that takes two windows of the bundled checkpoint."""
    events = (SQUARE, STAR, replace(CIRCLE, start_s=42.0, end_s=58.0))
    return probe(render(tmp_path_factory.mktemp("borders") / "two windows.mp4", events, WHOLE.end_s, fps=12.5))


def plan_of(pool: SessionPool, video: VideoInfo) -> SamplingPlan:
    plan = pool.planner.plan(video, "caption")
    assert len(plan.windows) == 2 and window_overlaps(plan)
    return plan


def test_of_a_timeline_only_the_doubtful_events_are_looked_at(
    pool: SessionPool, over_borders: VideoInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    circle = Event(Span(42.0, 46.0), CIRCLE.text)
    looks: list[Span] = []
    look = refiner.open_clip

    def noted(pool: SessionPool, video: VideoInfo, around: Span, **options: Any) -> Any:
        looks.append(around)
        return look(pool, video, around, **options)

    monkeypatch.setattr(refiner, "look", noted)
    plan = plan_of(pool, over_borders)
    parts: list[float] = []
    found = refine_timeline(
        pool, prober_for(pool.engine.checkpoint), over_borders, [SQUARE.event, STAR.event, circle], plan, on_part=parts.append
    )
    assert found[:2] == [SQUARE.event, STAR.event]
    assert found[2].span.iou(Span(42.0, 58.0)) >= 0.85
    assert looks and all(around.start_s > STAR.end_s for around in looks)
    assert parts == sorted(parts) and parts[-1] == 1.0


def test_a_second_look_that_fails_costs_nothing_that_was_told(
    pool: SessionPool, over_borders: VideoInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = [Event(Span(42.0, 46.0), CIRCLE.text)]
    plan = plan_of(pool, over_borders)

    def full(*_: Any, **__: Any) -> Any:
        raise OutOfMemory("No room.")

    monkeypatch.setattr(refiner, "look", full)
    assert refine_timeline(pool, prober_for(pool.engine.checkpoint), over_borders, told, plan, on_part=lambda _: None) == told

    def stopped(*_: Any, **__: Any) -> Any:
        raise Cancelled("Stopped.")

    monkeypatch.setattr(refiner, "look", stopped)
    with pytest.raises(Cancelled):
        refine_timeline(pool, prober_for(pool.engine.checkpoint), over_borders, told, plan, on_part=lambda _: None)


def test_an_event_that_is_too_long_for_a_look_stays(pool: SessionPool, over_borders: VideoInfo) -> None:
    told = [Event(Span(10.0, 80.0), CIRCLE.text)]
    assert (
        refine_timeline(
            pool, prober_for(pool.engine.checkpoint), over_borders, told, plan_of(pool, over_borders), on_part=lambda _: None
        )
        == told
    )


def test_captions_go_over_borders_and_leave_nothing_out(
    pool: SessionPool, over_borders: VideoInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    span = EventRefiner.refine

    def noted(doubt: EventRefiner) -> Span | None:
        looked.append(doubt.event.text)
        return span(doubt)

    monkeypatch.setattr(EventRefiner, "span", noted)
    told = caption(pool, prober_for(pool.engine.checkpoint), over_borders, plan_of(pool, over_borders)).events
    assert [event.text for event in told] == [SQUARE.text, STAR.text, CIRCLE.text]
    assert told[2].span.iou(Span(42.0, 58.0)) >= 0.85
    assert CIRCLE.text in looked


BORDERS = [Span(56.0, 60.0), Span(112.0, 116.0)]


@pytest.mark.parametrize(
    ("start_s", "end_s", "is_on_one"),
    [(50, 57, True), (56, 57, True), (59, 80, True), (40, 113, True), (50, 56, False), (60, 70, False), (5, 9, False)],
)
def test_what_two_windows_share_is_a_border(start_s: float, end_s: float, is_on_one: bool) -> None:
    assert crosses_boundary(Event(Span(start_s, end_s), "A dog runs."), BORDERS) is is_on_one


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
        # Where the looking began and ended is nobody's edge.
        (Span(0, 30), False),
    ],
)
def test_events_that_lie_beside_each_other_may_share_an_edge(span: Span, does: bool) -> None:
    event, other = Event(span, "A dog runs."), Event(Span(10, 20), "A cat sleeps.")
    others = [other, Event(Span(0, 60), "Rain falls.")]
    assert shares_boundary(event, [event, *others], within=Span(0, 60), patch_period_s=1.0) is does


@pytest.fixture(scope="module")
def session(pool: SessionPool, video: VideoInfo) -> VideoSession:
    """The whole video in one window."""
    plan = pool.planner.plan(video, "caption")
    return pool.session(video, plan, plan.windows[0])


@pytest.mark.parametrize("missing", EVENTS, ids=lambda event: event.shape)
def test_what_a_timeline_leaves_out_is_found_by_asking_where_it_is_quiet(
    pool: SessionPool, session: VideoSession, missing: ShapesEvent
) -> None:
    told = [event.event for event in EVENTS if event is not missing]
    (found,) = find_missed_events(session, told, pool.engine.checkpoint, tick=nothing)
    assert found.text == missing.text and found.span.iou(missing.event.span) >= 0.85


def test_where_nothing_happens_nothing_is_found(pool: SessionPool, session: VideoSession) -> None:
    assert find_missed_events(session, [event.event for event in EVENTS], pool.engine.checkpoint, tick=nothing) == []


def test_moments_show_where_something_is_and_where_it_is_not(pool: SessionPool, session: VideoSession) -> None:
    forms = pool.engine.checkpoint.question_templates
    (found,) = probe_spans(session, CIRCLE.text, Span(31.0, 32.0), forms, tick=nothing)
    assert found.iou(CIRCLE.event.span) >= 0.9
    assert probe_spans(session, "A white ring shrinks.", Span(31.0, 32.0), forms, tick=nothing) == []
