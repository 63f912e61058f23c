"""The localizer finds every occurrence of a query, and none of an absent one, with the bundled checkpoint."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from longview.core.timeline import Span
from longview.model.engine.sessions import SessionPool
from longview.model.tasks.context import TaskContext
from longview.model.tasks.grounding import MIN_SAME_EVENT_IOU
from longview.model.tasks.localizer import locate
from longview.model.tasks.verifier import Verifier
from longview.video.probing.probe import VideoInfo, probe
from longview.video.synthetic import ShapesEvent, render
from tests.support.fakes import LOCATE_CHECKS, RecordedProgress

EVENTS = (
    ShapesEvent(2.0, 7.0, "red", "circle", "moves to the right"),
    ShapesEvent(9.0, 13.0, "green", "square", "stays still"),
    ShapesEvent(15.0, 19.0, "blue", "star", "grows"),
    ShapesEvent(22.0, 27.0, "red", "circle", "moves to the right"),
)
DURATION_S = 30.0


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> VideoInfo:
    """A red circle twice, a green square and a blue star once."""
    return probe(render(tmp_path_factory.mktemp("localizer") / "twice.mp4", EVENTS, DURATION_S, fps=12.5))


def best_ious(spans: Sequence[Span], *events: ShapesEvent) -> list[float]:
    return [max((span.iou(event.event.span) for span in spans), default=0.0) for event in events]


@pytest.mark.parametrize("query", ["red circle", "the red circle."])
def test_every_occurrence_is_found(pool: SessionPool, verifier: Verifier, video: VideoInfo, query: str) -> None:
    result = locate(TaskContext(pool, verifier, video), query, LOCATE_CHECKS)
    spans = [item.span for item in result.occurrences]
    assert len(spans) == 2 and spans == sorted(spans)
    assert min(best_ious(spans, EVENTS[0], EVENTS[3])) > 0.9
    for item, event in zip(result.occurrences, (EVENTS[0], EVENTS[3]), strict=True):
        assert abs(item.span.start_s - event.start_s) <= item.uncertainty_s
        assert abs(item.span.end_s - event.end_s) <= item.uncertainty_s


def test_boundaries_are_finer_than_the_coarse_pass(pool: SessionPool, verifier: Verifier, video: VideoInfo) -> None:
    result = locate(TaskContext(pool, verifier, video), EVENTS[1].text, LOCATE_CHECKS)
    (item,) = result.occurrences
    assert item.uncertainty_s < result.coverage.patch_period_s
    assert item.span.iou(EVENTS[1].event.span) > 0.9


@pytest.mark.parametrize("query", ["a yellow ring grows", "something purple", "white cross"])
def test_absent_query_is_not_found_anywhere(pool: SessionPool, verifier: Verifier, video: VideoInfo, query: str) -> None:
    result = locate(TaskContext(pool, verifier, video), query, LOCATE_CHECKS)
    assert result.occurrences == ()
    assert result.coverage.seconds == pytest.approx(DURATION_S, abs=0.1)
    assert result.coverage.frames >= 2 * DURATION_S


def test_candidate_is_kept_only_if_a_clip_confirms_it(pool: SessionPool, verifier: Verifier, video: VideoInfo) -> None:
    # The checkpoint alone misses the second of the two events for the whole sentence.
    query = EVENTS[3].text
    true, false = EVENTS[3].event.span, Span(14.0, 20.0)
    spans = [
        item.span
        for item in locate(TaskContext(pool, verifier, video), query, LOCATE_CHECKS, candidates=[true, false]).occurrences
    ]
    assert min(best_ious(spans, EVENTS[0], EVENTS[3])) > 0.9
    assert all(span.iou(false) < MIN_SAME_EVENT_IOU for span in spans)
    absent = locate(
        TaskContext(pool, verifier, video), "a yellow ring grows", LOCATE_CHECKS, candidates=[true, false, Span(0, 30)]
    )
    assert absent.occurrences == ()


def test_known_candidate_is_not_reported_twice(pool: SessionPool, verifier: Verifier, video: VideoInfo) -> None:
    query = EVENTS[1].text
    without = locate(TaskContext(pool, verifier, video), query, LOCATE_CHECKS)
    with_candidates = locate(
        TaskContext(pool, verifier, video), query, LOCATE_CHECKS, candidates=[EVENTS[1].event.span, Span(9.5, 13.0)]
    )
    assert with_candidates.occurrences == without.occurrences


def test_only_the_requested_span_is_searched(pool: SessionPool, verifier: Verifier, video: VideoInfo) -> None:
    result = locate(TaskContext(pool, verifier, video), "red circle", LOCATE_CHECKS, span=Span(14, 30))
    (item,) = result.occurrences
    assert item.span.iou(EVENTS[3].event.span) > 0.9
    assert result.coverage.seconds == pytest.approx(16.0)


def test_event_longer_than_a_clip_is_refined_at_both_ends(pool: SessionPool, verifier: Verifier, tmp_path: Path) -> None:
    long = ShapesEvent(6.0, 60.0, "blue", "star", "stays still")
    other = ShapesEvent(63.0, 67.0, "red", "circle", "moves up")
    video = probe(render(tmp_path / "long.mp4", [long, other], 69.0, fps=5, width=160, height=96))
    (item,) = locate(TaskContext(pool, verifier, video), "blue star", LOCATE_CHECKS).occurrences
    assert abs(item.span.start_s - long.start_s) < 1.0
    assert abs(item.span.end_s - long.end_s) < 1.0


def test_progress_increases_to_the_end(pool: SessionPool, verifier: Verifier, video: VideoInfo) -> None:
    progress = RecordedProgress()
    locate(TaskContext(pool, verifier, video, progress=progress), "red circle", LOCATE_CHECKS)
    progress.check_complete()
