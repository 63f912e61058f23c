"""Events with wrong times, at a window boundary or beside another event, are corrected in a clip of their own."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from longview.core.progress import NO_PROGRESS, Cancelled
from longview.core.timeline import Event, Span
from longview.model.engine.local import LocalEngine
from longview.model.engine.sessions import SessionPool
from longview.model.errors import OutOfMemory
from longview.model.tasks import refiner
from longview.model.tasks.captioner import caption
from longview.model.tasks.context import TaskContext
from longview.model.tasks.events import run_to_end
from longview.model.tasks.refiner import EventRefiner, crosses_window_boundary, refine_timeline, shares_boundary
from longview.model.tasks.verifier import Verifier
from longview.model.verifiers import verifier_for
from longview.video.decoding.decoder import Decoder
from longview.video.probing.probe import VideoInfo, probe
from longview.video.sampler import window_overlaps
from longview.video.sampling_plan import SamplingPlan
from longview.video.synthetic import ShapesEvent, render
from tests.support.fakes import CAPTION_CHECKS, RecordedProgress
from tests.support.media_samples import make

SQUARE = ShapesEvent(6.0, 14.0, "green", "square", "moves up")
STAR = ShapesEvent(12.0, 24.0, "blue", "star", "grows")
CIRCLE = ShapesEvent(30.0, 55.0, "red", "circle", "moves to the right")
EVENTS = (SQUARE, STAR, CIRCLE)
DURATION_S = 60.0
LONG_S = 90.0
LONG_CIRCLE = replace(CIRCLE, start_s=42.0, end_s=58.0)
TRUNCATED_CIRCLE = Event(Span(42.0, 46.0), CIRCLE.text)
"""The circle as the first window of the long video may report it."""


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> VideoInfo:
    return probe(render(tmp_path_factory.mktemp("refiner") / "shapes.mp4", EVENTS, DURATION_S, fps=12.5))


@pytest.fixture(scope="module")
def long_video(tmp_path_factory: pytest.TempPathFactory) -> VideoInfo:
    """A video that needs two windows of the bundled checkpoint; the circle crosses their boundary."""
    events = (SQUARE, STAR, LONG_CIRCLE)
    return probe(render(tmp_path_factory.mktemp("refiner") / "two windows.mp4", events, LONG_S, fps=12.5))


@pytest.fixture(scope="module")
def plan(pool: SessionPool, long_video: VideoInfo) -> SamplingPlan:
    """The plan of the long video."""
    plan = pool.planner.plan(long_video, "caption")
    assert len(plan.windows) == 2 and window_overlaps(plan)
    return plan


@pytest.fixture(scope="module")
def free_pool(engine: LocalEngine, decoder: Decoder) -> SessionPool:
    """A pool of a checkpoint without question templates."""
    free = LocalEngine(replace(engine.checkpoint, question_templates=()), device="cpu", cpu_threads=1)
    return SessionPool(free, decoder, memory_bytes=1 << 30)


def refine(pool: SessionPool, video: VideoInfo, event: Event, *, is_contested: bool) -> Span | None:
    """Return the refined time of an event."""
    plan = pool.planner.plan(video, "caption")
    verifier = verifier_for(pool.engine.checkpoint)
    return EventRefiner(pool, verifier, video, event, plan, is_contested=is_contested, progress=NO_PROGRESS).refine()


TRUNCATED = [(CIRCLE, Span(30.0, 34.0)), (CIRCLE, Span(51.0, 55.0))]
"""Only the first or last seconds of the event, as in a window that ends or begins there."""
SWAPPED = [(SQUARE, Span(6.0, 24.0)), (STAR, Span(12.0, 14.0))]
"""Each with the end of the other event."""


@pytest.mark.parametrize(
    ("event", "span", "is_contested"), [*((*case, False) for case in TRUNCATED), *((*case, True) for case in SWAPPED)]
)
def test_wrong_time_is_corrected(pool: SessionPool, video: VideoInfo, event: ShapesEvent, span: Span, is_contested: bool) -> None:
    refined = refine(pool, video, Event(span, event.text), is_contested=is_contested)
    assert refined is not None and refined.iou(event.event.span) >= 0.85


@pytest.mark.parametrize(("event", "span"), TRUNCATED)
def test_free_form_checkpoint_follows_an_event_to_its_end(
    free_pool: SessionPool, video: VideoInfo, event: ShapesEvent, span: Span
) -> None:
    refined = refine(free_pool, video, Event(span, event.text), is_contested=True)
    assert refined is not None and refined.iou(event.event.span) >= 0.85


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.shape)
def test_correct_time_is_kept(pool: SessionPool, video: VideoInfo, event: ShapesEvent) -> None:
    refined = refine(pool, video, event.event, is_contested=True)
    assert refined is not None and refined.iou(event.event.span) >= 0.9


def test_only_timestamps_drop_unconfirmed_events(pool: SessionPool, free_pool: SessionPool, video: VideoInfo) -> None:
    invented = Event(Span(30.0, 40.0), "A white ring shrinks.")
    assert refine(pool, video, invented, is_contested=True) is None
    assert refine(free_pool, video, invented, is_contested=True) == invented.span


def test_out_of_distribution_clip_keeps_the_time(pool: SessionPool, tmp_path: Path) -> None:
    event = Event(Span(1.0, 3.0), "A white ring shrinks.")
    assert refine(pool, probe(make(tmp_path, "h264.mp4")), event, is_contested=True) == event.span


def test_clips_are_released_and_other_sessions_stay(engine: LocalEngine, decoder: Decoder, video: VideoInfo) -> None:
    pool = SessionPool(engine, decoder, memory_bytes=1 << 30)
    refine(pool, video, CIRCLE.event, is_contested=False)
    assert not pool._sessions
    # A clip with the frames of a window does not end the session of that window.
    plan = pool.planner.plan(video, "caption", span=Span(4.0, 20.0))
    session = pool.session(video, plan, plan.windows[0])
    refine(pool, video, Event(Span(8.0, 16.0), SQUARE.text), is_contested=False)
    assert list(pool._sessions.values()) == [session]


def test_only_contested_events_of_a_timeline_are_refined(
    pool: SessionPool, verifier: Verifier, long_video: VideoInfo, plan: SamplingPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips: list[Span] = []
    open_clip = refiner.open_clip

    def record_clip(pool: SessionPool, video: VideoInfo, around: Span, **options: Any) -> Any:
        clips.append(around)
        return open_clip(pool, video, around, **options)

    monkeypatch.setattr(refiner, "open_clip", record_clip)
    progress = RecordedProgress()
    timeline = [SQUARE.event, STAR.event, TRUNCATED_CIRCLE]
    refined = refine_timeline(pool, verifier, long_video, timeline, plan, progress=progress)
    assert refined[:2] == [SQUARE.event, STAR.event]
    assert refined[2].span.iou(LONG_CIRCLE.event.span) >= 0.85
    assert clips and all(around.start_s > STAR.end_s for around in clips)
    progress.check_complete()


def test_failed_refinement_keeps_the_timeline(
    pool: SessionPool, verifier: Verifier, long_video: VideoInfo, plan: SamplingPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    timeline = [TRUNCATED_CIRCLE]

    def run_out_of_memory(*_: Any, **__: Any) -> Any:
        raise OutOfMemory("No room.")

    monkeypatch.setattr(refiner, "open_clip", run_out_of_memory)
    assert refine_timeline(pool, verifier, long_video, timeline, plan) == timeline

    def cancel(*_: Any, **__: Any) -> Any:
        raise Cancelled

    monkeypatch.setattr(refiner, "open_clip", cancel)
    with pytest.raises(Cancelled):
        refine_timeline(pool, verifier, long_video, timeline, plan)


def test_event_longer_than_a_clip_is_kept(
    pool: SessionPool, verifier: Verifier, long_video: VideoInfo, plan: SamplingPlan
) -> None:
    timeline = [Event(Span(10.0, 80.0), CIRCLE.text)]
    assert refine_timeline(pool, verifier, long_video, timeline, plan) == timeline


def test_captions_are_complete_across_window_boundaries(
    pool: SessionPool, verifier: Verifier, long_video: VideoInfo, plan: SamplingPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    refined_texts: list[str] = []
    refine_event = EventRefiner.refine

    def record_event(self: EventRefiner) -> Span | None:
        refined_texts.append(self.event.text)
        return refine_event(self)

    monkeypatch.setattr(EventRefiner, "refine", record_event)
    events = run_to_end(caption(TaskContext(pool, verifier, long_video), plan, CAPTION_CHECKS)).events
    assert [event.text for event in events] == [SQUARE.text, STAR.text, CIRCLE.text]
    assert events[2].span.iou(LONG_CIRCLE.event.span) >= 0.85
    assert CIRCLE.text in refined_texts


@pytest.mark.parametrize(
    ("start_s", "end_s", "expected"),
    [(50, 57, True), (56, 57, True), (59, 80, True), (40, 113, True), (50, 56, False), (60, 70, False), (5, 9, False)],
)
def test_boundary_is_where_two_windows_overlap(start_s: float, end_s: float, expected: bool) -> None:
    boundaries = [Span(56.0, 60.0), Span(112.0, 116.0)]
    assert crosses_window_boundary(Event(Span(start_s, end_s), "A dog runs."), boundaries) is expected


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        (Span(5, 20), True),
        (Span(10, 14), True),
        (Span(10, 20), True),
        (Span(12, 17), False),
        (Span(5, 25), False),
        # Consecutive events do not overlap.
        (Span(20, 30), False),
        # The edges of the captioned span do not count.
        (Span(0, 30), False),
    ],
)
def test_overlapping_events_may_share_a_boundary(span: Span, expected: bool) -> None:
    event, other = Event(span, "A dog runs."), Event(Span(10, 20), "A cat sleeps.")
    others = [other, Event(Span(0, 60), "Rain falls.")]
    assert shares_boundary(event, [event, *others], within=Span(0, 60), patch_period_s=1.0) is expected
