"""The questions that the page suggests."""

import pytest

from longview.model.tasks.question import Question
from longview.ui.watch_tab import EXAMPLES


@pytest.mark.parametrize("text", EXAMPLES)
def test_example_questions_suit_a_video_of_ten_seconds(text: str) -> None:
    question = Question(text, duration_s=10.0)
    assert question.when is None
    has_time = question.timestamp_s is not None or question.range is not None
    assert has_time == any(character.isdigit() for character in text)
