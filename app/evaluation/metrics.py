"""The field's measures of moments and dense captions, as pure functions of spans.

Temporal grounding after Gao et al. 2017 (R@n at an IoU, mIoU); dense captions after SODA (Fujita et al. 2020): captions and truth
are matched in order of time so that the sum of IoU times likeness of text is greatest, and its F-measure is the score.
"""

import math
from collections.abc import Callable, Sequence

from longview.model.tasks.text_match import is_paraphrase, token_f1
from longview.video.timeline import Event, Span

THRESHOLDS = (0.3, 0.5, 0.7)
"""IoUs at which recall is told."""


def match_spans(found: Sequence[Span], truth: Sequence[Span]) -> list[int | None]:
    """For each true span the index of the found one that is its, each used once; the best overlaps are served first."""
    pairs = sorted(
        ((span.iou(true), at, of) for of, true in enumerate(truth) for at, span in enumerate(found) if span.iou(true) > 0),
        reverse=True,
    )
    partner: list[int | None] = [None] * len(truth)
    used: set[int] = set()
    for _, at, of in pairs:
        if partner[of] is None and at not in used:
            partner[of] = at
            used.add(at)
    return partner


def overlap_ious(found: Sequence[Span], truth: Sequence[Span]) -> list[float]:
    """IoU of each true span with its match, 0 where there is none; the mean of many is mIoU."""
    return [0.0 if at is None else found[at].iou(true) for at, true in zip(match_spans(found, truth), truth, strict=True)]


def is_recalled(found: Sequence[Span], truth: Sequence[Span], *, n: int, threshold: float) -> bool:
    """R@n: whether one of the first n found spans overlaps a true one well enough."""
    return any(span.iou(true) >= threshold for span in found[:n] for true in truth)


def soda(found: Sequence[Event], truth: Sequence[Event], *, like: Callable[[str, str], float] = token_f1) -> float:
    """SODA's F-measure of captions, 0 to 1; both empty is 1.

    SODA uses METEOR as the likeness of two texts, which needs word lists of one language; shared words work in every language
    that parts its words.
    """
    if not found or not truth:
        return float(not found and not truth)
    found, truth = sorted(found, key=lambda event: event.span), sorted(truth, key=lambda event: event.span)
    best = [0.0] * (len(truth) + 1)
    for event in found:
        above = best
        best = [0.0]
        for at, true in enumerate(truth):
            shared = event.span.overlap_s(true.span) > 0
            here = event.span.iou(true.span) * like(event.text, true.text) if shared else 0.0
            best.append(max(above[at + 1], best[at], above[at] + here))
    precision, recall = best[-1] / len(found), best[-1] / len(truth)
    return 2 * precision * recall / (precision + recall) if best[-1] else 0.0


def recalled_events(found: Sequence[Event], truth: Sequence[Event], *, threshold: float = 0.5) -> list[bool]:
    """For each true event whether a caption tells it in the same words and overlaps it well enough."""
    return [any(event.text == true.text and event.span.iou(true.span) >= threshold for event in found) for true in truth]


def correct_captions(found: Sequence[Event], truth: Sequence[Event]) -> list[bool]:
    """For each caption whether it tells a true event, in the same sense."""
    return recalled_events(truth, found)


def duplicate_count(found: Sequence[Event], truth: Sequence[Event]) -> int:
    """Captions that tell in the same words what another one tells already: more of a true event than one."""
    of_text: dict[str, list[Span]] = {}
    for event in found:
        of_text.setdefault(event.text, []).append(event.span)
    count = 0
    for text, spans in of_text.items():
        true = [event.span for event in truth if event.text == text]
        count += sum(max(0, sum(span.overlap_s(one) > 0 for span in spans) - 1) for one in true)
    return count


def hallucination_count(found: Sequence[Event], truth: Sequence[Event]) -> int:
    """Captions under which nothing lies that is told in like words."""
    return sum(
        not any(event.span.overlap_s(true.span) > 0 and is_paraphrase(event.text, true.text) for true in truth) for event in found
    )


def percentile(values: Sequence[float], part: float) -> float | None:
    """The smallest value that at least that part of all does not exceed (nearest rank); None of none."""
    return sorted(values)[max(0, math.ceil(part * len(values)) - 1)] if values else None
