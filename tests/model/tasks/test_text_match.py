"""Texts are compared by their words."""

import pytest

from longview.model.tasks.text_match import contains_query, has_paraphrase, token_f1


@pytest.mark.parametrize(
    ("query", "description", "expected"),
    [
        ("red circle", "A red circle moves up.", True),
        ("A red circle is moving up.", "A red circle moves up.", True),
        ("red circle", "A red square moves up. A blue circle grows.", False),
        ("red circle", "Nothing happens at that time.", False),
        ("the", "A red circle moves up.", False),
        ("", "A red circle moves up.", False),
    ],
)
def test_one_sentence_must_contain_the_whole_query(query: str, description: str, expected: bool) -> None:
    assert contains_query(query, description) is expected


def test_paraphrase_of_a_caption_is_recognised() -> None:
    assert has_paraphrase("A red circle moves up.", "A blue star grows. A red circle moves down.")
    assert not has_paraphrase("A red circle moves up.", "A blue star grows.")
    assert not has_paraphrase("A red circle moves up.", "Nothing happens at that time.")


@pytest.mark.parametrize(
    ("first", "second", "f1"),
    [
        ("A dog runs.", "a dog runs", 1.0),
        ("A dog runs.", "", 0.0),
        ("A dog runs.", "Cats sleep.", 0.0),
        ("a b c", "a b d", 2 / 3),
        ("빨간 원", "빨간 별", 0.5),
    ],
)
def test_token_f1_is_the_share_of_common_words(first: str, second: str, f1: float) -> None:
    assert token_f1(first, second) == token_f1(second, first) == pytest.approx(f1)
