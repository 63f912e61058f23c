"""Questions in people's words reach the wording that a checkpoint knows."""

import json

import pytest

from longview.model.demo.templates import match_template, timestamp_question
from longview.model.engine.checkpoints import DEMO
from longview.model.tasks.prompts import localize_prompt
from longview.model.tasks.question import when_query

FORMS = ("When does the {thing} appear?", "What happens at {time} seconds?", "How many events are in the video?")


@pytest.mark.parametrize(
    ("question", "what"),
    [
        ("When does the red circle appear?", "red circle"),
        ("when is the dog on screen", "dog"),
        ("At what time does a train arrive?", "a train arrive"),
        ("At which moments can we see the goal in the video?", "goal"),
        ("  When   did the\nlights show up ?", "lights"),
        ("Where in the video is the map shown?", "map"),
    ],
)
def test_a_question_for_a_time_names_what_to_look_for(question: str, what: str) -> None:
    assert when_query(question) == what


@pytest.mark.parametrize(
    "question",
    ["What happens when the dog barks?", "Whenever it rains, what is shown?", "Who is speaking?", "", "When?", "When does"],
)
def test_other_questions_are_not_taken_for_one(question: str) -> None:
    assert when_query(question) is None


@pytest.mark.parametrize(
    ("question", "known"),
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
def test_case_spaces_and_marks_do_not_matter_but_words_do(question: str, known: str | None) -> None:
    assert match_template(question, FORMS) == known


def test_without_forms_nothing_is_known() -> None:
    assert match_template("How many events are in the video?", ()) is None


def test_a_moment_is_asked_about_to_a_tenth_of_a_second() -> None:
    assert timestamp_question(12.34, FORMS) == "What happens at 12.3 seconds?"
    assert timestamp_question(12.34, FORMS[:1]) is None


def test_every_form_of_the_bundled_checkpoint_knows_itself_when_filled_in() -> None:
    forms = tuple(json.loads((DEMO / "trained_range.json").read_text(encoding="utf-8"))["question_templates"])
    for form in forms:
        filled = form.format(time="12.5", thing="red circle")
        assert match_template(filled.upper(), forms) == filled


@pytest.mark.parametrize("query", ['He says "go".', "a {curly} 100% [query]", "빨간 원"])
def test_a_query_cannot_break_out_of_its_quotes(query: str) -> None:
    prompt = localize_prompt(query)
    assert prompt.count('"') == localize_prompt("plain").count('"')
    assert query.strip(".").replace('"', "'") in prompt
