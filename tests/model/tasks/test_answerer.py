"""Questions of every kind about one video, answered by the bundled checkpoint."""

from dataclasses import replace

import pytest

from longview.model.demo import prober_for
from longview.model.engine.local import LocalEngine
from longview.model.engine.sessions import SessionPool
from longview.model.errors import InvalidQuestion
from longview.model.tasks.answerer import VideoAnswer, VideoAnswerStream
from longview.model.tasks.captioner import caption
from longview.model.tasks.question import MAX_QUESTION_CHARACTERS
from longview.video.decoder import Decoder
from longview.video.probe import VideoInfo, probe
from longview.video.synthetic import ShapesEvent, render
from longview.video.time_text import find_times
from longview.video.timeline import Span

CIRCLE = ShapesEvent(5.0, 12.0, "red", "circle", "moves up")
STAR = ShapesEvent(50.0, 57.0, "yellow", "star", "grows")
SQUARE = ShapesEvent(70.0, 76.0, "blue", "square", "stays still")
STAR_AGAIN = ShapesEvent(82.0, 88.0, "yellow", "star", "grows")
TIMELINE = (CIRCLE, STAR, SQUARE, STAR_AGAIN)
LONG_S = 90.0


@pytest.fixture(scope="module")
def pool(engine: LocalEngine, decoder: Decoder) -> SessionPool:
    return SessionPool(engine, decoder, memory_bytes=1 << 30)


@pytest.fixture(scope="module")
def late_pool(engine: LocalEngine, decoder: Decoder) -> SessionPool:
    """As if the checkpoint had never seen a time after 40 seconds: later windows count from their own start."""
    trained = replace(engine.checkpoint.trained_range, max_timestamp_s=40.0)
    early = LocalEngine(replace(engine.checkpoint, trained_range=trained), device="cpu", cpu_threads=1)
    return SessionPool(early, decoder, memory_bytes=1 << 30)


@pytest.fixture(scope="module")
def long_video(tmp_path_factory: pytest.TempPathFactory) -> VideoInfo:
    return probe(render(tmp_path_factory.mktemp("answerer") / "long.mp4", TIMELINE, LONG_S, fps=10))


def answered(pool: SessionPool, video: VideoInfo, question: str, focus: Span | None = None) -> VideoAnswer:
    answering = VideoAnswerStream(pool, prober_for(pool.engine.checkpoint), video, question, likely_span=focus)
    text = "".join(answering)
    answer = answering.answer
    assert answer.text == text.strip()
    assert 0 < answer.first_token_s <= answer.total_s
    return answer


@pytest.mark.parametrize(
    "question", ["What happens at 11 seconds?", "what is in the video at 0:11", "Is there a green square at 0:11?"]
)
def test_a_moment(pool: SessionPool, shapes_video: VideoInfo, question: str) -> None:
    answer = answered(pool, shapes_video, question)
    assert answer.text == "A green square stays still."
    (seen,) = answer.citations
    assert (
        seen.overlap_s(Span(11, 11)) >= -answer.coverage.patch_period_s / 2 and seen.duration_s <= answer.coverage.patch_period_s
    )


def test_a_moment_when_nothing_happens(pool: SessionPool, shapes_video: VideoInfo) -> None:
    assert answered(pool, shapes_video, "What happens at 8 seconds?").text == "Nothing happens at that time."


@pytest.mark.parametrize(
    ("question", "told"),
    [
        ("What happens between 8 and 20 seconds?", (1, 2)),
        ("What happens from 0:00 to 0:08?", (0,)),
        ("What happens after 14 seconds?", (2,)),
        ("What happens before 0:08?", (0,)),
        ("Describe the last 10 seconds.", (1, 2)),
        ("What happens between 10 and 10.5 seconds?", (1,)),
    ],
)
def test_a_range(
    pool: SessionPool, shapes_video: VideoInfo, shapes_events: tuple[ShapesEvent, ...], question: str, told: tuple[int, ...]
) -> None:
    answer = answered(pool, shapes_video, question)
    expected = [shapes_events[number] for number in told]
    assert [line.partition(": ")[2] for line in answer.text.splitlines()] == [event.text for event in expected]
    for line, seen, event in zip(answer.text.splitlines(), answer.citations, expected, strict=True):
        assert seen.iou(event.event.span) > 0.85
        (stated,) = find_times(line, duration_s=20)
        assert stated.span.start_s == pytest.approx(seen.start_s, abs=0.06)
        assert stated.span.end_s == pytest.approx(seen.end_s, abs=0.06)


def test_a_range_in_which_nothing_happens_says_what_was_looked_at(pool: SessionPool, shapes_video: VideoInfo) -> None:
    answer = answered(pool, shapes_video, "What happens between 7.5 and 8.5 seconds?")
    assert answer.text.startswith("Nothing happens in that time. Looked at")
    assert answer.citations == ()
    assert answer.coverage.frames > 0


def test_when_something_happens(pool: SessionPool, shapes_video: VideoInfo, shapes_events: tuple[ShapesEvent, ...]) -> None:
    answer = answered(pool, shapes_video, "When does the blue star appear?")
    (seen,) = answer.citations
    assert seen.iou(shapes_events[2].event.span) > 0.9
    assert answer.text == f"From {seen.start_s:.1f} to {seen.end_s:.1f} seconds."


def test_when_something_happens_that_does_not(pool: SessionPool, shapes_video: VideoInfo) -> None:
    answer = answered(pool, shapes_video, "When does the yellow ring appear?")
    assert answer.text.startswith("Not in this video: yellow ring.")
    assert answer.citations == ()
    assert answer.coverage.seconds == pytest.approx(20, abs=0.1)


def test_counting_and_order(pool: SessionPool, shapes_video: VideoInfo) -> None:
    assert answered(pool, shapes_video, "how many events are in the video").text == "3."
    assert answered(pool, shapes_video, "What happens after the green square?").text == "A blue star grows."


def test_a_question_in_no_known_form_costs_nothing_and_shows_the_forms(pool: SessionPool, shapes_video: VideoInfo) -> None:
    answer = answered(pool, shapes_video, "Why is the sky blue?")
    assert "What happens at 12.5 seconds?" in answer.text
    assert "When does … appear?" in answer.text
    assert (answer.citations, answer.plan, answer.coverage.frames) == ((), None, 0)


@pytest.mark.parametrize(
    ("question", "says"),
    [
        ("", "empty"),
        (" \n\t", "empty"),
        ("What happens at 9:00?", "0:09:00.0"),
        ("What happens between 2 and 3 minutes?", "0:02:00.0"),
        ("What happens after 21 seconds?", "0:00:20.0 long"),
        ("When?" * 500, f"2,500 characters long; at most {MAX_QUESTION_CHARACTERS:,}"),
        ("1 " * 500_000, "1,000,000 characters"),
    ],
    ids=["empty", "blank", "moment", "range", "after", "long", "very long"],
)
def test_a_question_that_has_no_answer_is_refused_at_once(
    pool: SessionPool, shapes_video: VideoInfo, question: str, says: str
) -> None:
    with pytest.raises(InvalidQuestion, match=says):
        VideoAnswerStream(pool, prober_for(pool.engine.checkpoint), shapes_video, question)


def test_the_longest_question_is_read(pool: SessionPool, shapes_video: VideoInfo) -> None:
    question = "What happens at 11 seconds?".ljust(MAX_QUESTION_CHARACTERS - 1, " ") + "?"
    assert answered(pool, shapes_video, question).text == "A green square stays still."


def test_captions_beyond_the_latest_trained_time_are_on_the_videos_own_clock(
    late_pool: SessionPool, long_video: VideoInfo
) -> None:
    plan = late_pool.planner.plan(long_video, "caption")
    assert [window.clock_offset_s > 0 for window in plan.windows] == [False, True, True]
    told = caption(late_pool, prober_for(late_pool.engine.checkpoint), long_video, plan)
    assert [event.text for event in told.events] == [event.text for event in TIMELINE]
    assert told.coverage.uncovered == ()
    for event, true in zip(told.events, TIMELINE, strict=True):
        assert event.span.iou(true.event.span) > 0.8


def test_answers_beyond_the_latest_trained_time_are_on_the_videos_own_clock(
    late_pool: SessionPool, long_video: VideoInfo
) -> None:
    moment = answered(late_pool, long_video, "What happens at 1:13?")
    assert moment.text == SQUARE.text
    assert moment.citations[0].overlap_s(Span(73, 73)) >= -moment.coverage.patch_period_s / 2

    part = answered(late_pool, long_video, "What happens between 60 and 80 seconds?")
    assert part.text == f"From {part.citations[0].start_s:.1f} to {part.citations[0].end_s:.1f} seconds: {SQUARE.text}"
    assert part.citations[0].iou(SQUARE.event.span) > 0.85

    when = answered(late_pool, long_video, "When does the yellow star appear?")
    assert [max(span.iou(star.event.span) for span in when.citations) > 0.85 for star in (STAR, STAR_AGAIN)] == [True, True]
    assert len(when.citations) == 2
    for stated, seen in zip(find_times(when.text, duration_s=LONG_S), when.citations, strict=True):
        assert stated.span.start_s == pytest.approx(seen.start_s, abs=0.06)
        assert stated.span.end_s == pytest.approx(seen.end_s, abs=0.06)


def test_a_video_too_long_for_one_session_is_asked_in_the_part_in_focus_and_says_so(
    late_pool: SessionPool, long_video: VideoInfo
) -> None:
    answer = answered(late_pool, long_video, "What happens after the blue square?", focus=SQUARE.event.span)
    assert answer.text.startswith(STAR_AGAIN.text)
    assert "only" in answer.text
    looked = find_times(answer.text.partition("(")[2], duration_s=LONG_S)
    assert looked[0].span.start_s <= SQUARE.start_s and looked[0].span.end_s == pytest.approx(LONG_S, abs=0.1)


def test_the_models_own_times_are_told_on_the_videos_clock(engine: LocalEngine, long_video: VideoInfo, decoder: Decoder) -> None:
    """A checkpoint without fixed forms says times itself: by its window's clock, which nobody else knows."""
    trained = replace(engine.checkpoint.trained_range, max_timestamp_s=40.0)
    free = LocalEngine(replace(engine.checkpoint, trained_range=trained, question_templates=()), device="cpu", cpu_threads=1)
    pool = SessionPool(free, decoder, memory_bytes=1 << 30)
    answer = answered(pool, long_video, "At which seconds, when does the blue square appear?", focus=SQUARE.event.span)
    (stated, *_) = find_times(answer.text, duration_s=LONG_S)
    assert stated.span.iou(SQUARE.event.span) > 0.7
    assert answer.citations[0].iou(SQUARE.event.span) > 0.7
