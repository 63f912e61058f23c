"""Find all occurrences of a query in a video: coarsely in every window, then refined in a clip around each candidate."""

from collections.abc import Sequence
from dataclasses import dataclass

from longview.model.engine.base import VideoSession
from longview.model.engine.ood import out_of_distribution_error
from longview.model.engine.planner import OnFraction
from longview.model.engine.sessions import SessionPool
from longview.model.errors import InvalidQuestion
from longview.model.tasks.coverage import Coverage, CoverageTracker
from longview.model.tasks.grounding import MARGIN_S, MAX_CLIP_S, MIN_SAME_EVENT_IOU, ground, open_clip, open_windows, with_margin
from longview.model.tasks.prober import Prober
from longview.model.tasks.question import check_length
from longview.video.probe import VideoInfo
from longview.video.sampler import SamplingPlan
from longview.video.timeline import Span


@dataclass(frozen=True)
class Occurrence:
    """One span in which the query is seen."""

    span: Span
    uncertainty_s: float
    """Patch period of the clip that gave the boundaries: they are accurate to about that, in seconds."""


@dataclass(frozen=True)
class Localization:
    """All occurrences of a query."""

    occurrences: tuple[Occurrence, ...]
    coverage: Coverage
    plan: SamplingPlan
    """The plan of the coarse pass over the whole span."""


def locate(
    pool: SessionPool,
    prober: Prober,
    video: VideoInfo,
    query: str,
    *,
    span: Span | None = None,
    candidates: Sequence[Span] = (),
    on_part: OnFraction | None = None,
) -> Localization:
    """Find all occurrences of `query` in the video, or in `span` of it, in order of time. There may be none.

    `candidates` are spans in which another source, such as a caption, has the query. An occurrence is kept only if a clip around
    it confirms it.

    Raises:
        InvalidQuestion: the query is empty or too long. OutOfDistribution: all of the footage is out-of-distribution.
    """
    check_length(query, "query")
    if not query.strip():
        raise InvalidQuestion("The query is empty: say what to look for.")
    plan = pool.planner.plan(video, "caption", span=span, on_part=on_part)
    coverage = CoverageTracker(plan, key_frames_only=pool.decoder.key_frames_only)
    search = _Search(pool, prober, video, query, on_part)
    coarse: list[list[Span]] = []
    for index, session in open_windows(pool, video, plan, coverage, on_part=lambda *_: search.tick()):
        search.report(index / (len(plan.windows) + 1))
        coarse.append(search.ground(session, coverage))
    if coverage.out_of_distribution and not coarse:
        raise out_of_distribution_error(pool.engine.checkpoint)
    spans = _merge_across_windows(coarse)
    spans += [candidate for candidate in candidates if all(candidate.iou(known) < MIN_SAME_EVENT_IOU for known in spans)]
    occurrences: list[Occurrence] = []
    for number, candidate in enumerate(sorted(spans)):
        search.report((len(plan.windows) + number / len(spans)) / (len(plan.windows) + 1))
        occurrence = search.refine(candidate, plan.patch_period_s)
        # Two candidates may be one occurrence.
        if occurrence is not None and all(occurrence.span.iou(known.span) < MIN_SAME_EVENT_IOU for known in occurrences):
            occurrences.append(occurrence)
    search.report(1.0)
    return Localization(tuple(sorted(occurrences, key=lambda item: item.span)), coverage.coverage(), plan)


def _merge_across_windows(windows: Sequence[Sequence[Span]]) -> list[Span]:
    """Merge touching spans of neighbouring windows into one. Spans of one window stay apart."""
    merged_spans: list[Span] = []
    for spans in windows:
        earlier = list(merged_spans)
        for span in spans:
            match = next((old for old in earlier if old.overlap_s(span) >= 0), None)
            if match is None:
                merged_spans.append(span)
                continue
            earlier.remove(match)
            both = Span(min(match.start_s, span.start_s), max(match.end_s, span.end_s))
            merged_spans[merged_spans.index(match)] = both
    return merged_spans


@dataclass(frozen=True)
class _ClipResult:
    """What grounding the query in one clip gave."""

    spans: list[Span]
    sessions: list[VideoSession]
    coverage: CoverageTracker


class _Search:
    """One query about one video."""

    def __init__(self, pool: SessionPool, prober: Prober, video: VideoInfo, query: str, on_part: OnFraction | None) -> None:
        self._pool, self._prober, self._video, self._query, self._on_part = pool, prober, video, query, on_part
        self._fraction = 0.0

    def report(self, fraction: float) -> None:
        """Report that this fraction of the work is done."""
        self._fraction = fraction
        self.tick()

    def tick(self, _: float = 0.0) -> None:
        """Report that the work continues."""
        if self._on_part:
            self._on_part(self._fraction)

    def ground(self, session: VideoSession, coverage: CoverageTracker) -> list[Span]:
        """Return all spans that the reply of one session names."""
        spans, is_readable = ground(session, self._query, tick=self.tick)
        coverage.add(session, is_readable=is_readable)
        return spans

    def refine(self, coarse: Span, coarse_period_s: float) -> Occurrence | None:
        """Return the occurrence with refined boundaries; None if its clip does not confirm it."""
        if coarse.duration_s + 2 * MARGIN_S <= MAX_CLIP_S:
            clips = [self._ground_clip(with_margin(coarse))]
            refined_span = max(clips[0].spans, key=coarse.iou, default=None)
        else:
            # Of a long occurrence only the two boundaries are opened.
            half_s = MAX_CLIP_S / 2
            clips = [self._ground_clip(Span(edge_s - half_s, edge_s + half_s)) for edge_s in (coarse.start_s, coarse.end_s)]
            refined_span = _join_edges(coarse, clips[0].spans, clips[1].spans)
        if refined_span is None or refined_span.iou(coarse) < MIN_SAME_EVENT_IOU:
            # An undecodable clip, or an unreadable reply, does not contradict the coarse pass.
            return Occurrence(coarse, coarse_period_s) if any(clip.coverage.has_gaps for clip in clips) else None
        sessions = [session for clip in clips for session in clip.sessions]
        if not any(self._prober.confirm(session, refined_span, self._query, tick=self.tick) for session in sessions):
            return None
        return Occurrence(refined_span, max(clip.coverage.coverage().patch_period_s for clip in clips))

    def _ground_clip(self, around: Span) -> _ClipResult:
        sessions, coverage = open_clip(self._pool, self._video, around, on_part=self.tick)
        return _ClipResult([span for session in sessions for span in self.ground(session, coverage)], sessions, coverage)


def _join_edges(coarse: Span, starts: list[Span], ends: list[Span]) -> Span | None:
    """Return one span from the clips at its two boundaries; None if one of them is missing."""
    first = min(starts, key=lambda span: abs(span.start_s - coarse.start_s), default=None)
    last = min(ends, key=lambda span: abs(span.end_s - coarse.end_s), default=None)
    return Span(first.start_s, last.end_s) if first and last and last.end_s > first.start_s else None
