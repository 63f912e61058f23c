"""Evaluate the application on labelled videos, through the use cases that the command line and the page call."""

import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from longview.app.evaluation import metrics
from longview.app.evaluation.datasets import LabelledVideo, Question
from longview.core.progress import NO_PROGRESS, Progress
from longview.core.timeline import Event, Span
from longview.indexing.records.video import VideoEntry

if TYPE_CHECKING:
    from longview.app.service import Longview

RETRIEVAL_DEPTHS = (1, 5, 10)
"""Numbers n of results at which R@n is computed."""
MIN_CORRECT_IOU = 0.5
"""Minimum IoU of a correct span."""


@dataclass
class Scores:
    """Observations of all videos; `summary` computes the metrics."""

    videos: int = 0
    seconds: float = 0.0
    """Total length of the videos, in seconds."""
    elapsed_s: dict[str, float] = field(default_factory=lambda: {"index": 0.0, "locate": 0.0})
    ious: list[float] = field(default_factory=list)
    """IoU of each true span of a query."""
    grounding_recall: dict[str, list[bool]] = field(default_factory=dict)
    """For each query, by n and IoU: whether one of the first n spans is a true one."""
    overlap_recall: list[bool] = field(default_factory=list)
    """For each query: whether any span overlaps a true one."""
    false_positives: list[bool] = field(default_factory=list)
    """For each predicted span: whether it matches no true one."""
    edge_errors_s: list[float] = field(default_factory=list)
    edge_coverage: list[bool] = field(default_factory=list)
    """For each edge: whether its error is within its uncertainty."""
    absent_rejections: list[bool] = field(default_factory=list)
    """For each query for what does not happen: whether its absence was stated."""
    event_recall: list[bool] = field(default_factory=list)
    caption_precision: list[bool] = field(default_factory=list)
    """For each caption: whether it describes a true event."""
    soda_scores: list[float] = field(default_factory=list)
    duplicates: int = 0
    hallucinations: int = 0
    answer_accuracy: dict[str, list[bool]] = field(default_factory=dict)
    """For each question, by kind: whether its answer is correct."""
    retrieval_recall: dict[int, list[bool]] = field(default_factory=dict)
    """For each query, by n: whether one of the first n results is correct."""
    worst: list[dict[str, Any]] = field(default_factory=list)
    """Queries with inaccurate, missing or superfluous spans."""

    def add_localization(self, truth: Sequence[Span], spans: Sequence[Span], errors_s: Sequence[float] = ()) -> list[float]:
        """Score the predicted spans of one query, with the uncertainty of each span. Return the IoU of each true span."""
        for n in RETRIEVAL_DEPTHS[:2]:
            for threshold in metrics.THRESHOLDS:
                is_recalled = metrics.is_recalled(spans, truth, n=n, threshold=threshold)
                self.grounding_recall.setdefault(f"{n}, IoU {threshold}", []).append(is_recalled)
        ious = metrics.overlap_ious(spans, truth)
        self.ious += ious
        self.overlap_recall.append(any(span.overlap_s(true_span) > 0 for span in spans for true_span in truth))
        matches = metrics.match_spans(spans, truth)
        self.false_positives += [index not in matches for index in range(len(spans))]
        for index, true_span in zip(matches, truth, strict=True):
            if index is None:
                continue
            edge_errors_s = (abs(spans[index].start_s - true_span.start_s), abs(spans[index].end_s - true_span.end_s))
            self.edge_errors_s += edge_errors_s
            if errors_s:
                self.edge_coverage += [error_s <= errors_s[index] for error_s in edge_errors_s]
        return ious

    def add_captions(self, truth: Sequence[Event], captions: Sequence[Event]) -> None:
        """Score the captions of one video."""
        self.event_recall += metrics.recalled_events(captions, truth)
        self.caption_precision += metrics.correct_captions(captions, truth)
        self.soda_scores.append(metrics.soda(captions, truth))
        self.duplicates += metrics.duplicate_count(captions, truth)
        self.hallucinations += metrics.hallucination_count(captions, truth)

    def summary(self) -> dict[str, Any]:
        """Return shares from 0 to 1, and seconds where a name says so; None where there was nothing to measure."""
        recall = {f"R@{name}": _share(values) for name, values in sorted(self.grounding_recall.items())}
        captions = len(self.caption_precision)
        return {
            "videos": self.videos,
            "minutes": round(self.seconds / 60, 2),
            "grounding": {
                "truths": len(self.ious),
                "mIoU": _mean(self.ious),
                **recall,
                "R@any": _share(self.overlap_recall),
                "false_positive_rate": _share(self.false_positives),
                "edge_median_s": _round(metrics.percentile(self.edge_errors_s, 0.5)),
                "edge_p90_s": _round(metrics.percentile(self.edge_errors_s, 0.9)),
                "edge_coverage": _share(self.edge_coverage),
                "absent_accuracy": _share(self.absent_rejections),
                "absent_queries": len(self.absent_rejections),
            },
            "captions": {
                "recall": _share(self.event_recall),
                "events": len(self.event_recall),
                "precision": _share(self.caption_precision),
                "soda": _mean(self.soda_scores),
                "duplicate_rate": round(self.duplicates / captions, 4) if captions else None,
                "hallucination_rate": round(self.hallucinations / captions, 4) if captions else None,
            },
            "questions": {kind: _share(values) for kind, values in sorted(self.answer_accuracy.items())},
            "search": {f"R@{n}": _share(values) for n, values in sorted(self.retrieval_recall.items())},
            "seconds_per_minute": {
                name: round(60 * spent_s / self.seconds, 2) if self.seconds else None for name, spent_s in self.elapsed_s.items()
            },
        }


class Evaluation:
    """An evaluation of one application on labelled videos."""

    def __init__(self, app: "Longview") -> None:
        self._app = app
        self.scores = Scores()

    def evaluate_video(
        self, labels: LabelledVideo, entry: VideoEntry, *, spent_s: float = 0.0, progress: Progress = NO_PROGRESS
    ) -> None:
        """Score one video of the library. `spent_s`: the time that its indexing took, in seconds.

        Raises:
            Cancelled: the operation was cancelled.
        """
        scores = self.scores
        scores.videos += 1
        scores.seconds += labels.duration_s or entry.duration_s
        scores.elapsed_s["index"] += spent_s
        scores.add_captions(labels.events, [Event(item.span, item.text) for item in self._app.segments(entry, "captions")])
        steps = progress.steps(len(labels.queries) + len(labels.absent) + len(labels.questions))
        start = time.monotonic()
        for query in labels.queries:
            step = next(steps).child(0.0, 1.0, f"{entry.title}: queries")
            self._evaluate_localization(labels, entry, query, step)
        scores.elapsed_s["locate"] += time.monotonic() - start
        for query in labels.absent:
            step = next(steps).child(0.0, 1.0, f"{entry.title}: absent queries")
            result = self._app.locate(entry, query, progress=step).result()
            spans = [item.span for item in result.occurrences]
            scores.absent_rejections.append(result.is_found is False)
            if spans:
                scores.worst.append({"video": entry.title, "query": query, "absent": True, "predicted": _span_pairs(spans)})
        for question in labels.questions:
            step = next(steps).child(0.0, 1.0, f"{entry.title}: questions")
            self._evaluate_question(entry, question, step)

    def _evaluate_localization(self, labels: LabelledVideo, entry: VideoEntry, query: str, progress: Progress) -> None:
        occurrences = self._app.locate(entry, query, progress=progress).result().occurrences
        truth, spans = labels.truth(query), [item.span for item in occurrences]
        ious = self.scores.add_localization(truth, spans, [item.uncertainty_s for item in occurrences])
        if min(ious) < MIN_CORRECT_IOU or len(spans) > len(truth):
            self.scores.worst.append(
                {"video": entry.title, "query": query, "truth": _span_pairs(truth), "predicted": _span_pairs(spans)}
            )

    def _evaluate_question(self, entry: VideoEntry, question: Question, progress: Progress) -> None:
        answer = self._app.ask([entry], question.text, progress=progress).result()
        kind = "when" if question.spans else "at a moment"
        if question.spans:
            spans = [item.span for item in answer.citations]
            ious = metrics.overlap_ious(spans, question.spans)
            is_correct = min(ious) >= MIN_CORRECT_IOU and len(spans) == len(question.spans)
        else:
            is_correct = sorted(_sentences(answer.text)) == sorted(question.sentences)
        self.scores.answer_accuracy.setdefault(kind, []).append(is_correct)

    def evaluate_search(self, labels: Iterable[tuple[LabelledVideo, VideoEntry]], progress: Progress = NO_PROGRESS) -> None:
        """Search the whole library for every labelled moment; a correct result is in the right video and overlaps the moment."""
        for video_labels, entry in labels:
            for query in video_labels.queries:
                moments = self._app.search(query, limit=max(RETRIEVAL_DEPTHS), verify=False, progress=progress).result().moments
                truth = video_labels.truth(query)
                for n in RETRIEVAL_DEPTHS:
                    spans = [moment.span for moment in moments[:n] if moment.video_id == entry.video_id]
                    is_recalled = metrics.is_recalled(spans, truth, n=n, threshold=MIN_CORRECT_IOU)
                    self.scores.retrieval_recall.setdefault(n, []).append(is_recalled)


def _sentences(text: str) -> list[str]:
    return [f"{sentence.strip()}." for sentence in text.replace("\n", " ").split(".") if sentence.strip()]


def _span_pairs(spans: Iterable[Span]) -> list[list[float]]:
    return [[round(span.start_s, 2), round(span.end_s, 2)] for span in spans]


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _share(values: list[bool]) -> float | None:
    return round(sum(values) / len(values), 4) if values else None


def _mean(values: list[float]) -> float | None:
    return round(statistics.fmean(values), 4) if values else None
