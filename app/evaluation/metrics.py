"""Metrics of temporal grounding and dense captioning, as pure functions of spans and events.

Temporal grounding follows Gao et al. 2017 (R@n at an IoU, mIoU). Dense captioning follows SODA (Fujita et al. 2020): it matches
captions and truth in order of time so that the sum of IoU times text similarity is greatest. The score is the F-measure of it.
"""

import math
from collections.abc import Callable, Sequence

from longview.core.timeline import Event, Span
from longview.model.tasks.text_match import is_paraphrase, token_f1

THRESHOLDS = (0.3, 0.5, 0.7)
"""IoUs at which recall is reported."""


def match_spans(predicted: Sequence[Span], truth: Sequence[Span]) -> list[int | None]:
    """Return, for each true span, the index of its predicted span. The best overlaps are matched first, each span once."""
    pairs = sorted(
        (
            (span.iou(true_span), index, true_index)
            for true_index, true_span in enumerate(truth)
            for index, span in enumerate(predicted)
            if span.iou(true_span) > 0
        ),
        reverse=True,
    )
    matches: list[int | None] = [None] * len(truth)
    used_indexes: set[int] = set()
    for _, index, true_index in pairs:
        if matches[true_index] is None and index not in used_indexes:
            matches[true_index] = index
            used_indexes.add(index)
    return matches


def overlap_ious(predicted: Sequence[Span], truth: Sequence[Span]) -> list[float]:
    """Return the IoU of each true span with its match, 0 without one. The mean over many spans is mIoU."""
    matches = match_spans(predicted, truth)
    return [0.0 if index is None else predicted[index].iou(span) for index, span in zip(matches, truth, strict=True)]


def is_recalled(predicted: Sequence[Span], truth: Sequence[Span], *, n: int, threshold: float) -> bool:
    """Whether one of the first n predicted spans has at least this IoU with a true one (R@n)."""
    return any(span.iou(true_span) >= threshold for span in predicted[:n] for true_span in truth)


def soda(predicted: Sequence[Event], truth: Sequence[Event], *, similarity: Callable[[str, str], float] = token_f1) -> float:
    """Return SODA's F-measure of captions, 0 to 1; 1 if both are empty.

    SODA compares texts by METEOR, which needs word lists of one language. The default is the F-measure of common words, which
    works for every language that separates its words.
    """
    if not predicted or not truth:
        return float(not predicted and not truth)
    predicted, truth = sorted(predicted, key=lambda event: event.span), sorted(truth, key=lambda event: event.span)
    row = [0.0] * (len(truth) + 1)
    for event in predicted:
        previous_row, row = row, [0.0]
        for column, true_event in enumerate(truth):
            overlaps = event.span.overlap_s(true_event.span) > 0
            gain = event.span.iou(true_event.span) * similarity(event.text, true_event.text) if overlaps else 0.0
            row.append(max(previous_row[column + 1], row[column], previous_row[column] + gain))
    precision, recall = row[-1] / len(predicted), row[-1] / len(truth)
    return 2 * precision * recall / (precision + recall) if row[-1] else 0.0


def recalled_events(predicted: Sequence[Event], truth: Sequence[Event], *, threshold: float = 0.5) -> list[bool]:
    """Return, for each true event, whether a caption has the same text and at least this IoU."""
    return [
        any(event.text == true_event.text and event.span.iou(true_event.span) >= threshold for event in predicted)
        for true_event in truth
    ]


def correct_captions(predicted: Sequence[Event], truth: Sequence[Event]) -> list[bool]:
    """Return, for each caption, whether it describes a true event, by the same criterion."""
    return recalled_events(truth, predicted)


def duplicate_count(predicted: Sequence[Event], truth: Sequence[Event]) -> int:
    """Return the number of captions beyond the first that describe the same true event in the same words."""
    spans_by_text: dict[str, list[Span]] = {}
    for event in predicted:
        spans_by_text.setdefault(event.text, []).append(event.span)
    count = 0
    for text, spans in spans_by_text.items():
        true_spans = [event.span for event in truth if event.text == text]
        count += sum(max(0, sum(span.overlap_s(true_span) > 0 for span in spans) - 1) for true_span in true_spans)
    return count


def hallucination_count(predicted: Sequence[Event], truth: Sequence[Event]) -> int:
    """Return the number of captions that overlap no true event with a similar text."""
    return sum(
        not any(event.span.overlap_s(true.span) > 0 and is_paraphrase(event.text, true.text) for true in truth)
        for event in predicted
    )


def percentile(values: Sequence[float], share: float) -> float | None:
    """Return the smallest value that at least this share of all values does not exceed (nearest rank); None without values."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)] if values else None
