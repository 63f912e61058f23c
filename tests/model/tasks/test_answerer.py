"""Questions of every kind about one video are answered, with the bundled checkpoint."""

from dataclasses import replace

import pytest

from longview.core.time_text import find_times
from longview.core.timeline import Span
from longview.model.engine.local import LocalEngine
from longview.model.engine.sessions import SessionPool
from longview.model.errors import InvalidQuestion
from longview.model.tasks.answerer import VideoAnswer
from longview.model.tasks.answerer import answer_question as answer_stream
from longview.model.tasks.captioner import caption
from longview.model.tasks.context import TaskContext
from longview.model.tasks.events import run_to_end
from longview.model.tasks.question import MAX_QUESTION_CHARACTERS, Question
from longview.model.tasks.verifier import Verifier
from longview.model.verifiers import verifier_for
from longview.video.decoding.decoder import Decoder
from longview.video.probing.probe import VideoInfo, probe
from longview.video.synthetic import ShapesEvent, render
from tests.support.fakes import ANSWER_CHECKS, CAPTION_CHECKS, run_to_list

CIRCLE = ShapesEvent(5.0, 12.0, "red", "circle", "moves up")
STAR = ShapesEvent(50.0, 57.0, "yellow", "star", "grows")
SQUARE = ShapesEvent(70.0, 76.0, "blue", "square", "stays still")
SECOND_STAR = ShapesEvent(82.0, 88.0, "yellow", "star", "grows")
TIMELINE = (CIRCLE, STAR, SQUARE, SECOND_STAR)
LONG_S = 90.0


@pytest.fixture(scope="module")
def offset_pool(engine: LocalEngine, decoder: Decoder) -> SessionPool:
    """A pool of a checkpoint that was trained up to 40 seconds only, so that later windows have their own clock."""
    trained_range = replace(engine.checkpoint.trained_range, max_timestamp_s=40.0)
    checkpoint = replace(engine.checkpoint, trained_range=trained_range)
    return SessionPool(LocalEngine(checkpoint, device="cpu", cpu_threads=1), decoder, memory_bytes=1 << 30)


@pytest.fixture(scope="module")
def long_video(tmp_path_factory: pytest.TempPathFactory) -> VideoInfo:
    return probe(render(tmp_path_factory.mktemp("answerer") / "long.mp4", TIMELINE, LONG_S, fps=10))


def answer_question(pool: SessionPool, video: VideoInfo, question: str, likely_span: Span | None = None) -> VideoAnswer:
    verifier = verifier_for(pool.engine.checkpoint)
    pieces, answer = run_to_list(
        answer_stream(TaskContext(pool, verifier, video), Question(question), ANSWER_CHECKS, likely_span=likely_span)
    )
    assert answer.text == "".join(piece.text for piece in pieces).strip()
    assert 0 < answer.first_token_s <= answer.total_s
    return answer


@pytest.mark.parametrize(
    "question", ["What happens at 11 seconds?", "what is in the video at 0:11", "Is there a green square at 0:11?"]
)
def test_question_about_a_timestamp(pool: SessionPool, shapes_video: VideoInfo, question: str) -> None:
    answer = answer_question(pool, shapes_video, question)
    assert answer.text == "A green square stays still."
    (cited,) = answer.citations
    assert cited.overlap_s(Span(11, 11)) >= -answer.coverage.patch_period_s / 2
    assert cited.duration_s <= answer.coverage.patch_period_s


def test_question_about_a_timestamp_without_an_event(pool: SessionPool, shapes_video: VideoInfo) -> None:
    assert answer_question(pool, shapes_video, "What happens at 8 seconds?").text == "Nothing happens at that time."


@pytest.mark.parametrize(
    ("question", "numbers"),
    [
        ("What happens between 8 and 20 seconds?", (1, 2)),
        ("What happens from 0:00 to 0:08?", (0,)),
        ("What happens after 14 seconds?", (2,)),
        ("What happens before 0:08?", (0,)),
        ("Describe the last 10 seconds.", (1, 2)),
        ("What happens between 10 and 10.5 seconds?", (1,)),
    ],
)
def test_question_about_a_range(
    pool: SessionPool, shapes_video: VideoInfo, shapes_events: tuple[ShapesEvent, ...], question: str, numbers: tuple[int, ...]
) -> None:
    answer = answer_question(pool, shapes_video, question)
    expected = [shapes_events[number] for number in numbers]
    assert [line.partition(": ")[2] for line in answer.text.splitlines()] == [event.text for event in expected]
    for line, cited, event in zip(answer.text.splitlines(), answer.citations, expected, strict=True):
        assert cited.iou(event.event.span) > 0.85
        (stated,) = find_times(line, duration_s=20)
        assert stated.span.start_s == pytest.approx(cited.start_s, abs=0.06)
        assert stated.span.end_s == pytest.approx(cited.end_s, abs=0.06)


def test_empty_range_is_answered_with_its_coverage(pool: SessionPool, shapes_video: VideoInfo) -> None:
    answer = answer_question(pool, shapes_video, "What happens between 7.5 and 8.5 seconds?")
    assert answer.text.startswith("Nothing happens in that time. Searched")
    assert answer.citations == ()
    assert answer.coverage.frames > 0


def test_question_when_an_event_happens(
    pool: SessionPool, shapes_video: VideoInfo, shapes_events: tuple[ShapesEvent, ...]
) -> None:
    answer = answer_question(pool, shapes_video, "When does the blue star appear?")
    (cited,) = answer.citations
    assert cited.iou(shapes_events[2].event.span) > 0.9
    assert answer.text == f"From {cited.start_s:.1f} to {cited.end_s:.1f} seconds."


def test_question_when_an_absent_event_happens(pool: SessionPool, shapes_video: VideoInfo) -> None:
    answer = answer_question(pool, shapes_video, "When does the yellow ring appear?")
    assert answer.text.startswith("Not in this video: yellow ring.")
    assert answer.citations == ()
    assert answer.coverage.seconds == pytest.approx(20, abs=0.1)


def test_questions_about_count_and_order(pool: SessionPool, shapes_video: VideoInfo) -> None:
    assert answer_question(pool, shapes_video, "how many events are in the video").text == "3."
    assert answer_question(pool, shapes_video, "What happens after the green square?").text == "A blue star grows."


def test_unsupported_question_lists_the_supported_ones(pool: SessionPool, shapes_video: VideoInfo) -> None:
    answer = answer_question(pool, shapes_video, "Why is the sky blue?")
    assert "What happens at 12.5 seconds?" in answer.text
    assert "When does … appear?" in answer.text
    # Nothing was decoded for it.
    assert (answer.citations, answer.plan, answer.coverage.frames) == ((), None, 0)


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ("", "empty"),
        (" \n\t", "empty"),
        ("What happens at 9:00?", "0:09:00.0"),
        ("What happens between 2 and 3 minutes?", "0:02:00.0"),
        ("What happens after 21 seconds?", "0:00:20.0 long"),
        ("When?" * 500, f"2,500 characters long; at most {MAX_QUESTION_CHARACTERS:,}"),
        ("1 " * 500_000, "1,000,000 characters"),
    ],
    ids=["empty", "blank", "timestamp", "range", "after", "long", "very long"],
)
def test_invalid_question_is_refused_at_once(
    pool: SessionPool, verifier: Verifier, shapes_video: VideoInfo, question: str, message: str
) -> None:
    with pytest.raises(InvalidQuestion, match=message):
        next(answer_stream(TaskContext(pool, verifier, shapes_video), Question(question), ANSWER_CHECKS))


def test_question_of_maximum_length_is_answered(pool: SessionPool, shapes_video: VideoInfo) -> None:
    question = "What happens at 11 seconds?".ljust(MAX_QUESTION_CHARACTERS - 1, " ") + "?"
    assert answer_question(pool, shapes_video, question).text == "A green square stays still."


@pytest.mark.slow
def test_captions_of_offset_windows_are_on_the_videos_clock(offset_pool: SessionPool, long_video: VideoInfo) -> None:
    plan = offset_pool.planner.plan(long_video, "caption")
    assert [window.clock_offset_s > 0 for window in plan.windows] == [False, True, True]
    captions = run_to_end(
        caption(TaskContext(offset_pool, verifier_for(offset_pool.engine.checkpoint), long_video), plan, CAPTION_CHECKS)
    )
    assert [event.text for event in captions.events] == [event.text for event in TIMELINE]
    assert captions.coverage.uncovered == ()
    for event, true in zip(captions.events, TIMELINE, strict=True):
        assert event.span.iou(true.event.span) > 0.8


def test_answers_from_offset_windows_are_on_the_videos_clock(offset_pool: SessionPool, long_video: VideoInfo) -> None:
    at_timestamp = answer_question(offset_pool, long_video, "What happens at 1:13?")
    assert at_timestamp.text == SQUARE.text
    assert at_timestamp.citations[0].overlap_s(Span(73, 73)) >= -at_timestamp.coverage.patch_period_s / 2

    in_range = answer_question(offset_pool, long_video, "What happens between 60 and 80 seconds?")
    cited = in_range.citations[0]
    assert in_range.text == f"From {cited.start_s:.1f} to {cited.end_s:.1f} seconds: {SQUARE.text}"
    assert cited.iou(SQUARE.event.span) > 0.85

    when = answer_question(offset_pool, long_video, "When does the yellow star appear?")
    assert all(max(span.iou(star.event.span) for span in when.citations) > 0.85 for star in (STAR, SECOND_STAR))
    assert len(when.citations) == 2
    for stated, cited in zip(find_times(when.text, duration_s=LONG_S), when.citations, strict=True):
        assert stated.span.start_s == pytest.approx(cited.start_s, abs=0.06)
        assert stated.span.end_s == pytest.approx(cited.end_s, abs=0.06)


def test_answer_from_one_of_several_windows_says_so(offset_pool: SessionPool, long_video: VideoInfo) -> None:
    question = "What happens after the blue square?"
    answer = answer_question(offset_pool, long_video, question, likely_span=SQUARE.event.span)
    assert answer.text.startswith(SECOND_STAR.text)
    assert "(Only " in answer.text and "was searched" in answer.text
    searched = find_times(answer.text.partition("(")[2], duration_s=LONG_S)
    assert searched[0].span.start_s <= SQUARE.start_s and searched[0].span.end_s == pytest.approx(LONG_S, abs=0.1)


def test_times_in_free_form_replies_are_on_the_videos_clock(engine: LocalEngine, long_video: VideoInfo, decoder: Decoder) -> None:
    """A checkpoint without question templates states times itself, on the clock of its window."""
    trained_range = replace(engine.checkpoint.trained_range, max_timestamp_s=40.0)
    checkpoint = replace(engine.checkpoint, trained_range=trained_range, question_templates=())
    pool = SessionPool(LocalEngine(checkpoint, device="cpu", cpu_threads=1), decoder, memory_bytes=1 << 30)
    question = "At which seconds, when does the blue square appear?"
    answer = answer_question(pool, long_video, question, likely_span=SQUARE.event.span)
    (stated, *_) = find_times(answer.text, duration_s=LONG_S)
    assert stated.span.iou(SQUARE.event.span) > 0.7
    assert answer.citations[0].iou(SQUARE.event.span) > 0.7
