"""Questions of users are matched to the question templates of a checkpoint."""

import json

import pytest

from longview.model.demo.templates import Templates
from longview.model.engine.checkpoints.checkpoints import DEMO

TEXTS = ("When does the {thing} appear?", "What happens at {time} seconds?", "How many events are in the video?")


@pytest.mark.parametrize(
    ("question", "wording"),
    [
        ("when does the RED circle appear", "When does the red circle appear?"),
        ("When  does the blue star appear ?!", "When does the blue star appear?"),
        ("what happens at 12.5 seconds", "What happens at 12.5 seconds?"),
        ("How many events are in the video", "How many events are in the video?"),
        ("What happens at noon seconds?", None),
        ("When does the appear?", None),
        ("Tell me: when does the red circle appear?", None),
        ("", None),
    ],
)
def test_match_ignores_case_spaces_and_closing_marks(question: str, wording: str | None) -> None:
    assert Templates(TEXTS).match(question) == wording


def test_nothing_matches_without_templates() -> None:
    assert Templates(()).match("How many events are in the video?") is None


def test_timestamp_is_rounded_to_a_tenth_of_a_second() -> None:
    assert Templates(TEXTS).at_timestamp(12.34) == "What happens at 12.3 seconds?"
    assert Templates(TEXTS[:1]).at_timestamp(12.34) is None


def test_every_template_of_the_demo_matches_its_own_questions() -> None:
    texts = tuple(json.loads((DEMO / "trained_range.json").read_text(encoding="utf-8"))["question_templates"])
    for text in texts:
        question = text.format(time="12.5", thing="red circle")
        assert Templates(texts).match(question.upper()) == question
