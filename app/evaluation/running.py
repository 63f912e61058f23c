"""The application on labelled videos: every figure through the same use cases that people and programs call."""

import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from app.evaluation import metrics
from app.evaluation.suites import Labelled, Question
from indexing.library import VideoEntry
from video.timeline import Event, Span

if TYPE_CHECKING:
    from app.service import Longview

RETRIEVED = (1, 5, 10)
"""How many hits of a search are looked at."""
OnVideo = Callable[[str], None]
"""Told in words how far the evaluation has come."""


@dataclass
class Tally:
    """Everything that was seen, video by video; `scores` are what it comes to."""

    videos: int = 0
    seconds: float = 0.0
    """Of video."""
    spent_s: dict[str, float] = field(default_factory=lambda: {"index": 0.0, "locate": 0.0})
    overlaps: list[float] = field(default_factory=list)
    """Of every true span of a query."""
    recalled: dict[str, list[bool]] = field(default_factory=dict)
    found_some: list[bool] = field(default_factory=list)
    spurious: list[bool] = field(default_factory=list)
    """Of every found span, whether nothing true lies under it."""
    edges_s: list[float] = field(default_factory=list)
    covered: list[bool] = field(default_factory=list)
    """Of every edge, whether it is within its error bar."""
    refused: list[bool] = field(default_factory=list)
    told: list[bool] = field(default_factory=list)
    right: list[bool] = field(default_factory=list)
    """Of every caption, whether it tells a true event."""
    sodas: list[float] = field(default_factory=list)
    duplicates: int = 0
    invented: int = 0
    answered: dict[str, list[bool]] = field(default_factory=dict)
    retrieved: dict[int, list[bool]] = field(default_factory=dict)
    worst: list[dict[str, Any]] = field(default_factory=list)
    """Queries that were found badly or not at all, for whoever wants to know why."""

    def located(self, truth: Sequence[Span], spans: Sequence[Span], errors_s: Sequence[float] = ()) -> list[float]:
        """Judge what was found for one query; `errors_s`: the error bar of each span. Returns the IoU of each true span."""
        for n in RETRIEVED[:2]:
            for threshold in metrics.THRESHOLDS:
                hit = metrics.recalled(spans, truth, n=n, threshold=threshold)
                self.recalled.setdefault(f"{n}, IoU {threshold}", []).append(hit)
        overlaps = metrics.overlaps(spans, truth)
        self.overlaps += overlaps
        self.found_some.append(any(span.overlap_s(true) > 0 for span in spans for true in truth))
        partners = metrics.matched(spans, truth)
        self.spurious += [at not in partners for at in range(len(spans))]
        for at, true in zip(partners, truth, strict=True):
            if at is None:
                continue
            errors = (abs(spans[at].start_s - true.start_s), abs(spans[at].end_s - true.end_s))
            self.edges_s += errors
            if errors_s:
                self.covered += [error <= errors_s[at] for error in errors]
        return overlaps

    def captioned(self, truth: Sequence[Event], captions: Sequence[Event]) -> None:
        """Judge the captions of one video."""
        self.told += metrics.told(captions, truth)
        self.right += metrics.right(captions, truth)
        self.sodas.append(metrics.soda(captions, truth))
        self.duplicates += metrics.duplicates(captions, truth)
        self.invented += metrics.invented(captions, truth)

    def scores(self) -> dict[str, Any]:
        """Shares from 0 to 1, seconds where a name says so; None where nothing was asked."""
        recall = {f"R@{name}": _share(values) for name, values in sorted(self.recalled.items())}
        return {
            "videos": self.videos,
            "minutes": round(self.seconds / 60, 2),
            "grounding": {
                "truths": len(self.overlaps),
                "mIoU": _mean(self.overlaps),
                **recall,
                "recall_of_present": _share(self.found_some),
                "spurious": _share(self.spurious),
                "edge_median_s": _rounded(metrics.percentile(self.edges_s, 0.5)),
                "edge_p90_s": _rounded(metrics.percentile(self.edges_s, 0.9)),
                "error_bar_covers": _share(self.covered),
                "absent_refused": _share(self.refused),
                "absent_queries": len(self.refused),
            },
            "captions": {
                "told": _share(self.told),
                "events": len(self.told),
                "right": _share(self.right),
                "soda": _mean(self.sodas),
                "duplicates": round(self.duplicates / len(self.right), 4) if self.right else None,
                "invented": round(self.invented / len(self.right), 4) if self.right else None,
            },
            "questions": {kind: _share(values) for kind, values in sorted(self.answered.items())},
            "search": {f"R@{n}": _share(values) for n, values in sorted(self.retrieved.items())},
            "seconds_per_minute": {
                name: round(60 * spent / self.seconds, 2) if self.seconds else None for name, spent in self.spent_s.items()
            },
        }


class Evaluation:
    """One run over labelled videos with one application."""

    def __init__(self, app: "Longview", *, on_video: OnVideo = lambda _: None) -> None:
        self._app = app
        self._on_video = on_video
        self.tally = Tally()

    def video(self, labels: Labelled, entry: VideoEntry, *, spent_s: float = 0.0) -> None:
        """Judge one video of the library; `spent_s`: what indexing it took."""
        tally = self.tally
        tally.videos += 1
        tally.seconds += labels.duration_s or entry.duration_s
        tally.spent_s["index"] += spent_s
        tally.captioned(labels.events, [caption.event for caption in self._app.captions(entry)])
        begun = time.monotonic()
        for number, query in enumerate(labels.queries, 1):
            self._on_video(f"{entry.title}: query {number} of {len(labels.queries)}")
            self._located(labels, entry, query)
        tally.spent_s["locate"] += time.monotonic() - begun
        for number, query in enumerate(labels.absent, 1):
            self._on_video(f"{entry.title}: absent query {number} of {len(labels.absent)}")
            found = self._app.locate(entry, query).found
            tally.refused.append(not found)
            if found:
                tally.worst.append({"video": entry.title, "query": query, "absent": True, "found": _plain(f.span for f in found)})
        for question in labels.questions:
            self._on_video(f"{entry.title}: {question.text}")
            self._asked(entry, question)
        self._on_video(f"{entry.title}: done")

    def _located(self, labels: Labelled, entry: VideoEntry, query: str) -> None:
        found = self._app.locate(entry, query).found
        truth, spans = labels.truth(query), [item.span for item in found]
        overlaps = self.tally.located(truth, spans, [item.error_s for item in found])
        if min(overlaps) < 0.5 or len(spans) > len(truth):
            self.tally.worst.append({"video": entry.title, "query": query, "truth": _plain(truth), "found": _plain(spans)})

    def _asked(self, entry: VideoEntry, question: Question) -> None:
        asking = self._app.ask([entry], question.text)
        for _ in asking:
            pass
        answer = asking.answer
        kind = "when" if question.spans else "at a moment"
        if question.spans:
            found = [item.span for item in answer.evidence]
            right = min(metrics.overlaps(found, question.spans)) >= 0.5 and len(found) == len(question.spans)
        else:
            right = sorted(_sentences(answer.text)) == sorted(question.sentences)
        self.tally.answered.setdefault(kind, []).append(right)

    def searched(self, labels: Iterable[tuple[Labelled, VideoEntry]]) -> None:
        """Search the whole library for every labelled moment: is it among the first hits, in the right video?"""
        for of_video, entry in labels:
            for query in of_video.queries:
                hits = self._app.search(query, limit=max(RETRIEVED))
                truth = of_video.truth(query)
                for n in RETRIEVED:
                    right = [hit for hit in hits[:n] if hit.video_id == entry.video_id]
                    seen = any(hit.span.iou(true) >= 0.5 for hit in right for true in truth)
                    self.tally.retrieved.setdefault(n, []).append(seen)


def _sentences(text: str) -> list[str]:
    return [f"{sentence.strip()}." for sentence in text.replace("\n", " ").split(".") if sentence.strip()]


def _plain(spans: Iterable[Span]) -> list[list[float]]:
    return [[round(span.start_s, 2), round(span.end_s, 2)] for span in spans]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _share(values: list[bool]) -> float | None:
    return round(sum(values) / len(values), 4) if values else None


def _mean(values: list[float]) -> float | None:
    return round(statistics.fmean(values), 4) if values else None
