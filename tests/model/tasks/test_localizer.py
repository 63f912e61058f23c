"""Finding every occurrence of something, and nothing that is not there, with the bundled checkpoint."""

from pathlib import Path

import pytest

from longview.model.demo import prober_for
from longview.model.engine.local import LocalEngine
from longview.model.engine.sessions import SessionPool
from longview.model.errors import InvalidQuestion
from longview.model.tasks.localizer import MIN_SAME_EVENT_IOU, locate
from longview.model.tasks.question import MAX_QUESTION_CHARACTERS
from longview.video.decoder import Decoder
from longview.video.probe import VideoInfo, probe
from longview.video.synthetic import ShapesEvent, render
from longview.video.timeline import Span

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


@pytest.fixture(scope="module")
def pool(engine: LocalEngine, decoder: Decoder) -> SessionPool:
    return SessionPool(engine, decoder, memory_bytes=1 << 30)


def overlaps(found: list[Span], *events: ShapesEvent) -> list[float]:
    return [max((span.iou(event.event.span) for span in found), default=0.0) for event in events]


@pytest.mark.parametrize("query", ["red circle", "the red circle."])
def test_every_occurrence_is_found_at_its_own_time(pool: SessionPool, video: VideoInfo, query: str) -> None:
    result = locate(pool, prober_for(pool.engine.checkpoint), video, query)
    spans = [item.span for item in result.occurrences]
    assert len(spans) == 2 and spans == sorted(spans)
    assert min(overlaps(spans, EVENTS[0], EVENTS[3])) > 0.9
    for item, event in zip(result.occurrences, (EVENTS[0], EVENTS[3]), strict=True):
        assert abs(item.span.start_s - event.start_s) <= item.uncertainty_s
        assert abs(item.span.end_s - event.end_s) <= item.uncertainty_s


def test_the_edges_are_finer_than_the_first_look(pool: SessionPool, video: VideoInfo) -> None:
    result = locate(pool, prober_for(pool.engine.checkpoint), video, EVENTS[1].text)
    (item,) = result.occurrences
    assert item.uncertainty_s < result.coverage.patch_period_s
    assert item.span.iou(EVENTS[1].event.span) > 0.9


@pytest.mark.parametrize("query", ["a yellow ring grows", "something purple", "white cross"])
def test_what_is_not_there_is_not_found_and_the_whole_video_was_looked_at(
    pool: SessionPool, video: VideoInfo, query: str
) -> None:
    result = locate(pool, prober_for(pool.engine.checkpoint), video, query)
    assert result.occurrences == ()
    assert result.coverage.seconds == pytest.approx(DURATION_S, abs=0.1)
    assert result.coverage.frames >= 2 * DURATION_S


def test_a_hint_is_kept_only_if_a_closer_look_sees_it(pool: SessionPool, video: VideoInfo) -> None:
    # The checkpoint itself overlooks the second of the two when the whole sentence is asked for.
    query = EVENTS[3].text
    true, false = EVENTS[3].event.span, Span(14.0, 20.0)
    spans = [
        item.span for item in locate(pool, prober_for(pool.engine.checkpoint), video, query, candidates=[true, false]).occurrences
    ]
    assert min(overlaps(spans, EVENTS[0], EVENTS[3])) > 0.9
    assert all(span.iou(false) < MIN_SAME_EVENT_IOU for span in spans)
    assert (
        locate(
            pool, prober_for(pool.engine.checkpoint), video, "a yellow ring grows", candidates=[true, false, Span(0, 30)]
        ).occurrences
        == ()
    )


def test_a_hint_for_what_was_found_anyway_does_not_tell_it_twice(pool: SessionPool, video: VideoInfo) -> None:
    query = EVENTS[1].text
    plain = locate(pool, prober_for(pool.engine.checkpoint), video, query)
    assert (
        locate(
            pool, prober_for(pool.engine.checkpoint), video, query, candidates=[EVENTS[1].event.span, Span(9.5, 13.0)]
        ).occurrences
        == plain.occurrences
    )


def test_only_the_part_that_was_asked_for_is_looked_at(pool: SessionPool, video: VideoInfo) -> None:
    result = locate(pool, prober_for(pool.engine.checkpoint), video, "red circle", span=Span(14, 30))
    (item,) = result.occurrences
    assert item.span.iou(EVENTS[3].event.span) > 0.9
    assert result.coverage.seconds == pytest.approx(16.0)


def test_an_event_longer_than_a_close_look_is_found_by_its_two_edges(pool: SessionPool, tmp_path: Path) -> None:
    long = ShapesEvent(6.0, 60.0, "blue", "star", "stays still")
    other = ShapesEvent(63.0, 67.0, "red", "circle", "moves up")
    video = probe(render(tmp_path / "long.mp4", [long, other], 69.0, fps=5, width=160, height=96))
    (item,) = locate(pool, prober_for(pool.engine.checkpoint), video, "blue star").occurrences
    assert abs(item.span.start_s - long.start_s) < 1.0
    assert abs(item.span.end_s - long.end_s) < 1.0


def test_progress_goes_up_to_the_end(pool: SessionPool, video: VideoInfo) -> None:
    parts: list[float] = []
    locate(pool, prober_for(pool.engine.checkpoint), video, "red circle", on_part=parts.append)
    assert parts == sorted(parts) and parts[0] == 0.0 and parts[-1] == 1.0


@pytest.mark.parametrize(("query", "says"), [("", "empty"), (" \n", "empty"), ("x" * (MAX_QUESTION_CHARACTERS + 1), "2,001")])
def test_a_query_that_is_none_is_refused(pool: SessionPool, video: VideoInfo, query: str, says: str) -> None:
    with pytest.raises(InvalidQuestion, match=says):
        locate(pool, prober_for(pool.engine.checkpoint), video, query)
