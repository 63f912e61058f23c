"""The questions that the page suggests: each has an answer in its video."""

import pytest

from longview.app.qa.example_questions import Examples, examples_for, examples_of
from longview.core.timeline import Segment, Span
from longview.model.tasks.question import Question

DURATION_S = 100.0


def segments(source: str, *texts: str) -> list[Segment]:
    """Segments of four seconds that are ten seconds apart."""
    return [Segment(Span(10.2 * row, 10.2 * row + 4.0), text, source) for row, text in enumerate(texts)]


@pytest.mark.parametrize("duration_s", [3.0, 10.0, 600.0])
def test_questions_about_captions_suit_videos_of_any_length(duration_s: float) -> None:
    examples = examples_for(duration_s, {"captions": segments("captions", "A red circle moves up."), "speech": []})
    assert examples.search == "A red circle moves up"
    for text in examples.questions:
        # A time that the video does not have is an error.
        has_time = Question(text).about(duration_s).span is not None
        assert has_time == any(character.isdigit() for character in text)


def test_of_a_long_video_only_the_segments_that_tell_are_read() -> None:
    tracks = {
        "speech": segments("speech", *["The clockwork turns."] * 5000),
        "captions": segments("captions", *["A circle."] * 10),
    }
    read: list[tuple[str, int]] = []

    def first_segments(source: str, limit: int) -> list[Segment]:
        read.append((source, limit))
        return tracks.get(source, [])[:limit]

    assert examples_of(DURATION_S, first_segments) == examples_for(DURATION_S, tracks) and read == [("captions", 1)]
    del tracks["captions"]
    assert examples_of(DURATION_S, first_segments) == examples_for(DURATION_S, tracks)
    assert examples_of(DURATION_S, lambda _source, _limit: []) == Examples()


@pytest.mark.parametrize(("source", "verb", "mentioned"), [("speech", "said", "mentioned"), ("screen_text", "shown", "shown")])
def test_questions_about_words_name_a_time_and_a_word_of_the_video(source: str, verb: str, mentioned: str) -> None:
    spoken = segments(
        source, "Hello everybody, welcome.", "Yes.", "A clockwork turns it.", "Wind the clockwork.", "Extraordinarily."
    )
    examples = examples_for(DURATION_S, {"captions": [], source: spoken})
    about, at, when = examples.questions
    assert about == "What is it about?"
    time_s = Question(at).about(DURATION_S).timestamp_s
    assert at.startswith(f"What is {verb} at") and time_s is not None and time_s >= 20.0
    assert any(segment.span.contains(time_s) for segment in spoken)
    assert when == f"When is “clockwork” {mentioned}?" and examples.search == "clockwork"


def test_scripts_without_spaces_and_empty_videos_have_no_question_about_a_word() -> None:
    spoken = segments("speech", "灯塔照亮夜里的大海")
    examples = examples_for(DURATION_S, {"speech": spoken})
    assert examples.search == spoken[0].text
    assert not any("“" in question for question in examples.questions)
    assert examples_for(DURATION_S, {"captions": [], "speech": []}) == Examples()
