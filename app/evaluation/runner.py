"""The application on labelled videos: every figure through the same use cases that people and programs call."""

import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from longview.app.evaluation import metrics
from longview.app.evaluation.datasets import LabelledVideo, Question
from longview.indexing.library import VideoEntry
from longview.video.timeline import Event, Span

if TYPE_CHECKING:
    from longview.app.service import Longview

RETRIEVAL_DEPTHS = (1, 5, 10)
"""How many hits of a search are looked at."""
OnVideo = Callable[[str], None]
"""Told in words how far the evaluation has come."""


@dataclass
class Scores:
    """Everything that was seen, video by video; `scores` are what it comes to."""

    videos: int = 0
    seconds: float = 0.0
    """Of video."""
    elapsed_s: dict[str, float] = field(default_factory=lambda: {"index": 0.0, "locate": 0.0})
    ious: list[float] = field(default_factory=list)
    """Of every true span of a query."""
    recall: dict[str, list[bool]] = field(default_factory=dict)
    present_found: list[bool] = field(default_factory=list)
    false_positives: list[bool] = field(default_factory=list)
    """Of every found span, whether nothing true lies under it."""
    edges_s: list[float] = field(default_factory=list)
    edges_covered: list[bool] = field(default_factory=list)
    """Of every edge, whether it is within its error bar."""
    absent_rejections: list[bool] = field(default_factory=list)
    event_recall: list[bool] = field(default_factory=list)
    caption_precision: list[bool] = field(default_factory=list)
    """Of every caption, whether it tells a true event."""
    sodas: list[float] = field(default_factory=list)
    duplicates: int = 0
    hallucinated: int = 0
    answer_correct: dict[str, list[bool]] = field(default_factory=dict)
    retrieval_ranks: dict[int, list[bool]] = field(default_factory=dict)
    worst: list[dict[str, Any]] = field(default_factory=list)
    """Queries that were found badly or not at all, for whoever wants to know why."""

    def add_localization(self, truth: Sequence[Span], spans: Sequence[Span], errors_s: Sequence[float] = ()) -> list[float]:
        """Judge what was found for one query; `errors_s`: the error bar of each span. Returns the IoU of each true span."""
        for n in RETRIEVAL_DEPTHS[:2]:
            for threshold in metrics.THRESHOLDS:
                hit = metrics.is_recalled(spans, truth, n=n, threshold=threshold)
                self.recall.setdefault(f"{n}, IoU {threshold}", []).append(hit)
        overlaps = metrics.overlap_ious(spans, truth)
        self.ious += overlaps
        self.present_found.append(any(span.overlap_s(true) > 0 for span in spans for true in truth))
        partners = metrics.match_spans(spans, truth)
        self.false_positives += [at not in partners for at in range(len(spans))]
        for at, true in zip(partners, truth, strict=True):
            if at is None:
                continue
            errors = (abs(spans[at].start_s - true.start_s), abs(spans[at].end_s - true.end_s))
            self.edges_s += errors
            if errors_s:
                self.edges_covered += [error <= errors_s[at] for error in errors]
        return overlaps

    def add_captions(self, truth: Sequence[Event], captions: Sequence[Event]) -> None:
        """Judge the captions of one video."""
        self.event_recall += metrics.recalled_events(captions, truth)
        self.caption_precision += metrics.correct_captions(captions, truth)
        self.sodas.append(metrics.soda(captions, truth))
        self.duplicates += metrics.duplicate_count(captions, truth)
        self.hallucinated += metrics.hallucination_count(captions, truth)

    def summary(self) -> dict[str, Any]:
        """Shares from 0 to 1, seconds where a name says so; None where nothing was asked."""
        recall = {f"R@{name}": _share(values) for name, values in sorted(self.recall.items())}
        return {
            "videos": self.videos,
            "minutes": round(self.seconds / 60, 2),
            "grounding": {
                "truths": len(self.ious),
                "mIoU": _mean(self.ious),
                **recall,
                "R@any": _share(self.present_found),
                "false_positive_rate": _share(self.false_positives),
                "edge_median_s": _round(metrics.percentile(self.edges_s, 0.5)),
                "edge_p90_s": _round(metrics.percentile(self.edges_s, 0.9)),
                "edge_coverage": _share(self.edges_covered),
                "absent_accuracy": _share(self.absent_rejections),
                "absent_queries": len(self.absent_rejections),
            },
            "captions": {
                "recall": _share(self.event_recall),
                "events": len(self.event_recall),
                "precision": _share(self.caption_precision),
                "soda": _mean(self.sodas),
                "duplicate_rate": round(self.duplicates / len(self.caption_precision), 4) if self.caption_precision else None,
                "hallucination_rate": round(self.hallucinated / len(self.caption_precision), 4)
                if self.caption_precision
                else None,
            },
            "questions": {kind: _share(values) for kind, values in sorted(self.answer_correct.items())},
            "search": {f"R@{n}": _share(values) for n, values in sorted(self.retrieval_ranks.items())},
            "seconds_per_minute": {
                name: round(60 * spent / self.seconds, 2) if self.seconds else None for name, spent in self.elapsed_s.items()
            },
        }


class Evaluation:
    """One run over labelled videos with one application."""

    def __init__(self, app: "Longview", *, on_video: OnVideo = lambda _: None) -> None:
        self._app = app
        self._on_video = on_video
        self.scores = Scores()

    def evaluate_video(self, labels: LabelledVideo, entry: VideoEntry, *, spent_s: float = 0.0) -> None:
        """Judge one video of the library; `spent_s`: what indexing it took."""
        tally = self.scores
        tally.videos += 1
        tally.seconds += labels.duration_s or entry.duration_s
        tally.elapsed_s["index"] += spent_s
        tally.add_captions(labels.events, [caption.event for caption in self._app.captions(entry)])
        begun = time.monotonic()
        for number, query in enumerate(labels.queries, 1):
            self._on_video(f"{entry.title}: query {number} of {len(labels.queries)}")
            self._evaluate_localization(labels, entry, query)
        tally.elapsed_s["locate"] += time.monotonic() - begun
        for number, query in enumerate(labels.absent, 1):
            self._on_video(f"{entry.title}: absent query {number} of {len(labels.absent)}")
            found = self._app.locate(entry, query).occurrences
            tally.absent_rejections.append(not found)
            if found:
                tally.worst.append(
                    {"video": entry.title, "query": query, "absent": True, "found": _span_pairs(f.span for f in found)}
                )
        for question in labels.questions:
            self._on_video(f"{entry.title}: {question.text}")
            self._evaluate_question(entry, question)
        self._on_video(f"{entry.title}: done")

    def _evaluate_localization(self, labels: LabelledVideo, entry: VideoEntry, query: str) -> None:
        found = self._app.locate(entry, query).occurrences
        truth, spans = labels.truth(query), [item.span for item in found]
        overlaps = self.scores.add_localization(truth, spans, [item.uncertainty_s for item in found])
        if min(overlaps) < 0.5 or len(spans) > len(truth):
            self.scores.worst.append(
                {"video": entry.title, "query": query, "truth": _span_pairs(truth), "found": _span_pairs(spans)}
            )

    def _evaluate_question(self, entry: VideoEntry, question: Question) -> None:
        asking = self._app.ask([entry], question.text)
        for _ in asking:
            pass
        answer = asking.answer
        kind = "when" if question.spans else "at a moment"
        if question.spans:
            found = [item.span for item in answer.citations]
            right = min(metrics.overlap_ious(found, question.spans)) >= 0.5 and len(found) == len(question.spans)
        else:
            right = sorted(_sentences(answer.text)) == sorted(question.sentences)
        self.scores.answer_correct.setdefault(kind, []).append(right)

    def evaluate_search(self, labels: Iterable[tuple[LabelledVideo, VideoEntry]]) -> None:
        """Search the whole library for every labelled moment: is it among the first hits, in the right video?"""
        for of_video, entry in labels:
            for query in of_video.queries:
                hits = self._app.search(query, limit=max(RETRIEVAL_DEPTHS))
                truth = of_video.truth(query)
                for n in RETRIEVAL_DEPTHS:
                    right = [hit for hit in hits[:n] if hit.video_id == entry.video_id]
                    seen = any(hit.span.iou(true) >= 0.5 for hit in right for true in truth)
                    self.scores.retrieval_ranks.setdefault(n, []).append(seen)


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
