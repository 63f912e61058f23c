"""Terms: words match in any inflection, and words of one and two characters in Chinese, Japanese and Korean."""

import pytest

from longview.indexing.text.terms import index_text, match_terms, merge_matches, query_terms


def highlight_terms(text: str, query: str) -> list[str]:
    ranges = merge_matches(match_terms(text, query_terms(query)))
    return [text[start:end] for start, end in ranges]


@pytest.mark.parametrize(
    ("text", "query", "expected"),
    [
        ("Two dogs are running.", "the DOG runs", ["dogs", "running"]),
        ("A café by the sea", "cafe", ["café"]),
        ("The teacher’s budget", "teachers budgets", ["teacher’s budget"]),
        ("올해 예산은 늘었습니다", "예산", ["예산"]),
        ("港口在北边", "港口", ["港口"]),
        ("富士山に登る", "山", ["山"]),
        ("山を見る", "山", ["山"]),
        ("เราพูดถึงงบประมาณ", "งบ", ["งบ"]),
        ("nothing of it", "budget", []),
        ("<b>bold</b> & “quoted”", "bold quoted", ["bold", "quoted"]),
    ],
)
def test_query_highlights_the_words_that_match(text: str, query: str, expected: list[str]) -> None:
    # Neighbouring ranges are merged where only their words touch, not across a space.
    parts = [part for found in highlight_terms(text, query) for part in found.split(" ")]
    assert parts == [part for found in expected for part in found.split(" ")]


def test_last_character_of_a_run_is_found_by_a_prefix() -> None:
    assert query_terms("山") == ("山*",)
    assert "山" in index_text("富士山").split() and "山を" in index_text("山を").split()


def test_stop_words_are_not_searched() -> None:
    assert query_terms("When is the budget mentioned?") == ("budget",)
    assert query_terms("what is it") == ()
    assert query_terms("") == query_terms("?!") == ()
