"""The demo checkpoint is asked what happens at single timestamps."""

import pytest

from longview.core.timeline import Span
from longview.model.engine.base import VideoSession
from longview.model.engine.sessions import SessionPool
from longview.model.tasks.verifier import TimestampVerifier, Verifier
from longview.video.probing.probe import VideoInfo, probe
from longview.video.synthetic import ShapesEvent, render

CIRCLE = ShapesEvent(30.0, 55.0, "red", "circle", "moves to the right")
EVENTS = (
    ShapesEvent(6.0, 14.0, "green", "square", "moves up"),
    ShapesEvent(12.0, 24.0, "blue", "star", "grows"),
    CIRCLE,
)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> VideoInfo:
    return probe(render(tmp_path_factory.mktemp("probing") / "shapes.mp4", EVENTS, 60.0, fps=12.5))


@pytest.fixture(scope="module")
def session(pool: SessionPool, video: VideoInfo) -> VideoSession:
    """The whole video in one window."""
    plan = pool.planner.plan(video, "caption")
    return pool.session(video, plan, plan.windows[0])


@pytest.fixture(scope="module")
def timestamps(verifier: Verifier) -> TimestampVerifier:
    assert verifier.timestamps is not None
    return verifier.timestamps


@pytest.mark.parametrize("missing", EVENTS, ids=lambda event: event.shape)
def test_missed_event_is_found_in_silence(timestamps: TimestampVerifier, session: VideoSession, missing: ShapesEvent) -> None:
    captions = [event.event for event in EVENTS if event is not missing]
    (event,) = timestamps.find_missed_events(session, captions)
    assert event.text == missing.text and event.span.iou(missing.event.span) >= 0.85


def test_complete_timeline_has_no_missed_events(timestamps: TimestampVerifier, session: VideoSession) -> None:
    captions = [event.event for event in EVENTS]
    assert timestamps.find_missed_events(session, captions) == []


def test_verified_spans_are_those_of_the_event(timestamps: TimestampVerifier, session: VideoSession) -> None:
    around = Span(31.0, 32.0)
    (span,) = timestamps.find_spans(session, CIRCLE.text, around)
    assert span.iou(CIRCLE.event.span) >= 0.9
    assert timestamps.find_spans(session, "A white ring shrinks.", around) == []
