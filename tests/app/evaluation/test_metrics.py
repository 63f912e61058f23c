"""The metrics against values that were calculated by hand."""

import pytest

from longview.app.evaluation import metrics
from longview.core.timeline import Event, Span

TRUE_SPANS = [Span(0, 10), Span(20, 30), Span(40, 50)]


def event(start_s: float, end_s: float, text: str) -> Event:
    return Event(Span(start_s, end_s), text)


TRUE_EVENTS = [event(0, 10, "a dog runs"), event(20, 30, "a cat sleeps")]


def test_each_true_span_is_matched_once_best_first() -> None:
    predicted = [Span(18, 30), Span(20, 29), Span(41, 50), Span(70, 80)]
    assert metrics.match_spans(predicted, TRUE_SPANS) == [None, 1, 2]
    assert metrics.overlap_ious(predicted, TRUE_SPANS) == pytest.approx([0.0, 0.9, 0.9])
    assert metrics.match_spans([], TRUE_SPANS[:1]) == [None]


def test_recall_counts_the_first_n() -> None:
    predicted = [Span(5, 15), Span(20, 30)]
    assert not metrics.is_recalled(predicted, TRUE_SPANS[:2], n=1, threshold=0.5)
    assert metrics.is_recalled(predicted, TRUE_SPANS[:2], n=1, threshold=0.3)
    assert metrics.is_recalled(predicted, TRUE_SPANS[:2], n=2, threshold=0.7)
    assert not metrics.is_recalled([], TRUE_SPANS[:1], n=5, threshold=0.3)


def test_soda_by_hand() -> None:
    assert metrics.soda(TRUE_EVENTS, TRUE_EVENTS) == 1.0
    assert metrics.soda([], []) == 1.0
    assert metrics.soda([], TRUE_EVENTS) == metrics.soda(TRUE_EVENTS, []) == 0.0
    # One of two events has the right words and an IoU of 0.5: precision 0.5 / 1, recall 0.5 / 2.
    assert metrics.soda([event(0, 5, "a dog runs")], TRUE_EVENTS) == pytest.approx(2 * 0.5 * 0.25 / 0.75)
    # In the wrong order only one of the two can be matched.
    assert metrics.soda([event(0, 10, "a cat sleeps"), event(20, 30, "a dog runs")], TRUE_EVENTS) == pytest.approx(1 / 3)


def test_duplicates_hallucinations_recall_and_precision() -> None:
    predicted = [
        event(0, 4, "a dog runs"),
        event(4, 9, "a dog runs"),
        event(20, 30, "a cat sleeps"),
        event(40, 50, "rain falls"),
    ]
    assert metrics.duplicate_count(predicted, TRUE_EVENTS) == 1
    assert metrics.hallucination_count(predicted, TRUE_EVENTS) == 1
    assert metrics.recalled_events(predicted, TRUE_EVENTS) == [True, True]
    assert metrics.recalled_events(predicted[:1], TRUE_EVENTS) == [False, False]
    assert metrics.correct_captions(predicted, TRUE_EVENTS) == [False, True, True, False]


def test_percentiles_are_observed_values() -> None:
    assert metrics.percentile([4.0, 1.0, 3.0, 2.0], 0.5) == 2.0
    assert metrics.percentile([float(value) for value in range(1, 11)], 0.9) == 9.0
    assert metrics.percentile([1.0], 0.9) == 1.0
    assert metrics.percentile([], 0.9) is None
