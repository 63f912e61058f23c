"""The metrics of words against values that were calculated by hand."""

import pytest

from longview.app.evaluation.word_metrics import LineScores, TimedWord, WordScores, align, first_correct, normalize, roc_auc
from longview.core.timeline import Span


def timed(text: str, start_s: float = 0.0) -> list[TimedWord]:
    """One word per second from `start_s`, each 0.8 s long."""
    return [TimedWord(word, start_s + number, start_s + number + 0.8) for number, word in enumerate(text.split())]


def test_alignment_has_the_fewest_errors() -> None:
    pairs = [(None, 0), (0, 1), (1, 2), (2, 3), (3, None), (4, 4)]
    assert align(["a", "b", "c", "d", "e"], ["x", "a", "b", "c", "e"]) == pairs
    assert align([], ["a"]) == [(None, 0)] and align(["a"], []) == [(0, None)] and align([], []) == []


def test_case_punctuation_and_hyphens_are_no_errors() -> None:
    words = normalize([TimedWord("Well-known:", 1.0, 2.0), TimedWord("–", 2.0, 2.1), TimedWord("L’Église!", 3.0, 4.0)])
    assert words == [TimedWord("well", 1.0, None), TimedWord("known", None, 2.0), TimedWord("léglise", 3.0, 4.0)]


def test_word_error_rate_and_errors_of_times_by_hand() -> None:
    scores = WordScores()
    # One substitution, one insertion, one deletion; right words are 0.2 s late or 0.1 s early.
    scores.add(timed("The cat sat down."), timed("the hat sat", 0.2))
    scores.add(timed("Yes"), timed("yes indeed", -0.1))
    assert (scores.words, scores.substitutions, scores.insertions, scores.deletions) == (5, 1, 1, 1)
    summary = scores.summary()
    assert summary["word_error_rate"] == pytest.approx(3 / 5)
    assert scores.start_errors_s == pytest.approx([0.2, 0.2, -0.1])
    assert summary["start_median_s"] == summary["end_p90_s"] == pytest.approx(0.2)
    assert [(item["said"], item["recognized"]) for item in scores.mistakes][:2] == [("cat", "hat"), ("down", None)]


def test_word_without_a_known_time_has_no_error_of_time() -> None:
    scores = WordScores()
    scores.add([TimedWord("of", 1.0, None), TimedWord("the", None, 2.0)], [TimedWord("of", 1.1, 1.4), TimedWord("the", 1.4, 1.9)])
    assert scores.start_errors_s == pytest.approx([0.1]) and scores.end_errors_s == pytest.approx([-0.1])


def test_scores_without_words_have_no_rate() -> None:
    assert WordScores().summary()["word_error_rate"] is None


def test_first_correct_result_starts_near_the_truth() -> None:
    truth = Span(30.0, 40.0)
    assert first_correct([None, 19.9, 50.1, 20.0, 35.0], truth, slack_s=10.0) == 4
    assert first_correct([None, 19.9], truth, slack_s=10.0) is None


def test_errors_of_lines_by_hand() -> None:
    scores = LineScores()
    shown = [("Budget 2026", Span(0, 10)), ("灯台は船に", Span(0, 10)), ("Roads", Span(20, 30))]
    # One line is exact, one has one wrong character of five, and one was not read; another line was not shown.
    read = [("Budget2026", Span(0.2, 10)), ("灯台は船た", Span(0, 9.8)), ("noise", Span(40, 41))]
    scores.add(shown, read)
    summary = scores.summary()
    assert (summary["lines"], summary["exact"], summary["additional"]) == (3, pytest.approx(1 / 3, abs=1e-4), 1)
    assert summary["character_error_rate"] == pytest.approx((1 + 5) / 20)
    assert summary["time_p90_s"] == pytest.approx(0.2)


def test_roc_auc_by_hand() -> None:
    assert roc_auc([0.9, 0.4], [0.4, 0.1]) == pytest.approx((1 + 1 + 0.5 + 1) / 4)
    assert roc_auc([], [0.1]) is None
