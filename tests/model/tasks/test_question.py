"""A question for a time names the thing whose time it asks for."""

import pytest

from longview.model.tasks.question import when_query


@pytest.mark.parametrize(
    ("question", "query"),
    [
        ("When does the red circle appear?", "red circle"),
        ("when is the dog on screen", "dog"),
        ("At what time does a train arrive?", "a train arrive"),
        ("At which moments can we see the goal in the video?", "goal"),
        ("  When   did the\nlights show up ?", "lights"),
        ("Where in the video is the map shown?", "map"),
    ],
)
def test_question_for_a_time_gives_its_query(question: str, query: str) -> None:
    assert when_query(question) == query


@pytest.mark.parametrize(
    "question",
    ["What happens when the dog barks?", "Whenever it rains, what is shown?", "Who is speaking?", "", "When?", "When does"],
)
def test_other_question_gives_no_query(question: str) -> None:
    assert when_query(question) is None
