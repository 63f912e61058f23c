"""When does something happen? Found coarsely over the whole video, then looked at again around each find."""

from collections.abc import Sequence
from dataclasses import dataclass

from longview.model.engine.base import VideoSession
from longview.model.engine.ood import out_of_distribution_error
from longview.model.engine.sessions import OnFraction, SessionPool
from longview.model.errors import InvalidQuestion
from longview.model.tasks.coverage import Coverage, CoverageTracker
from longview.model.tasks.grounding import MARGIN_S, MAX_CLIP_S, MIN_SAME_EVENT_IOU, ground, open_clip, open_windows, with_margin
from longview.model.tasks.question import check_length
from longview.model.tasks.verifier import confirm_span
from longview.video.probe import VideoInfo
from longview.video.sampler import SamplingPlan
from longview.video.timeline import Span


@dataclass(frozen=True)
class Occurrence:
    """One occurrence."""

    span: Span
    uncertainty_s: float
    """The patch period of the look that gave the edges: they are true to about this many seconds."""


@dataclass(frozen=True)
class Localization:
    """All occurrences of a query."""

    occurrences: tuple[Occurrence, ...]
    coverage: Coverage
    plan: SamplingPlan
    """The first, coarse look over everything."""


def locate(
    pool: SessionPool,
    video: VideoInfo,
    query: str,
    *,
    span: Span | None = None,
    candidates: Sequence[Span] = (),
    on_part: OnFraction | None = None,
) -> Localization:
    """All occurrences of `query` in the video, or in `span` of it, in order of time; none is an honest answer.

    `hints` are spans where something else, such as a caption, says it happens. Finds and hints alike are kept only if a
    second, closer look sees them.

    Raises:
        BadQuestion: the query is empty or too long. UnfamiliarFootage: the checkpoint knows nothing like any of it.
    """
    check_length(query, "query")
    if not query.strip():
        raise InvalidQuestion("The query is empty: say what to look for.")
    plan = pool.plan(video, "caption", span=span, on_part=on_part)
    seen = CoverageTracker(plan, key_frames_only=pool.decoder.key_frames_only)
    search = _Search(pool, video, query, on_part)
    coarse: list[list[Span]] = []
    for index, session in open_windows(pool, video, plan, seen, on_part=lambda *_: search.tick()):
        search.report(index / (len(plan.windows) + 1))
        coarse.append(search.ground(session, seen))
    if seen.out_of_distribution and not coarse:
        raise out_of_distribution_error(pool.engine.checkpoint)
    candidates = _merge_across_windows(coarse)
    candidates += [hint for hint in candidates if all(hint.iou(known) < MIN_SAME_EVENT_IOU for known in candidates)]
    found: list[Occurrence] = []
    for number, candidate in enumerate(sorted(candidates)):
        search.report((len(plan.windows) + number / len(candidates)) / (len(plan.windows) + 1))
        better = search.refine(candidate, plan.patch_period_s)
        # Two candidates may turn out to be one occurrence.
        if better is not None and all(better.span.iou(known.span) < MIN_SAME_EVENT_IOU for known in found):
            found.append(better)
    search.report(1.0)
    return Localization(tuple(sorted(found, key=lambda item: item.span)), seen.coverage(), plan)


def _merge_across_windows(coarse: Sequence[Sequence[Span]]) -> list[Span]:
    """What neighbouring windows saw of one occurrence is one; what one window tells apart stays apart."""
    candidates: list[Span] = []
    for spans in coarse:
        before = list(candidates)
        for span in spans:
            twin = next((old for old in before if old.overlap_s(span) >= 0), None)
            if twin is None:
                candidates.append(span)
                continue
            before.remove(twin)
            both = Span(min(twin.start_s, span.start_s), max(twin.end_s, span.end_s))
            candidates[candidates.index(twin)] = both
    return candidates


@dataclass(frozen=True)
class _ClipResult:
    """A short span, looked at closely."""

    spans: list[Span]
    sessions: list[VideoSession]
    coverage: CoverageTracker


class _Search:
    """One query to one video."""

    def __init__(self, pool: SessionPool, video: VideoInfo, query: str, on_part: OnFraction | None) -> None:
        self._pool, self._video, self._query, self._on_part = pool, video, query, on_part
        self._part = 0.0

    def report(self, part: float) -> None:
        """That part of the work is done."""
        self._part = part
        self.tick()

    def tick(self, _: float = 0.0) -> None:
        """The work goes on."""
        if self._on_part:
            self._on_part(self._part)

    def ground(self, session: VideoSession, coverage: CoverageTracker) -> list[Span]:
        """All spans that one window's reply names."""
        spans, is_understood = ground(session, self._query, tick=self.tick)
        coverage.add(session, is_readable=is_understood)
        return spans

    def refine(self, coarse: Span, coarse_period_s: float) -> Occurrence | None:
        """The find with finer edges, or None if a second look does not see it."""
        if coarse.duration_s + 2 * MARGIN_S <= MAX_CLIP_S:
            looks = [self._ground_clip(with_margin(coarse))]
            better = max(looks[0].spans, key=coarse.iou, default=None)
        else:
            # Of a long one the two edges only.
            half = MAX_CLIP_S / 2
            looks = [self._ground_clip(Span(edge_s - half, edge_s + half)) for edge_s in (coarse.start_s, coarse.end_s)]
            better = _join_edges(coarse, looks[0].spans, looks[1].spans)
        if better is None or better.iou(coarse) < MIN_SAME_EVENT_IOU:
            # A look that could not see, or whose reply could not be read, says nothing against the first one.
            return Occurrence(coarse, coarse_period_s) if any(look.coverage.has_gaps for look in looks) else None
        forms = self._pool.engine.checkpoint.question_templates
        sessions = [session for look in looks for session in look.sessions]
        if not any(confirm_span(session, better, self._query, forms, tick=self.tick) for session in sessions):
            return None
        return Occurrence(better, max(look.coverage.coverage().patch_period_s for look in looks))

    def _ground_clip(self, around: Span) -> _ClipResult:
        sessions, seen = open_clip(self._pool, self._video, around, on_part=self.tick)
        return _ClipResult([span for session in sessions for span in self.ground(session, seen)], sessions, seen)


def _join_edges(coarse: Span, starts: list[Span], ends: list[Span]) -> Span | None:
    """One span from looks at its two edges."""
    first = min(starts, key=lambda span: abs(span.start_s - coarse.start_s), default=None)
    last = min(ends, key=lambda span: abs(span.end_s - coarse.end_s), default=None)
    return Span(first.start_s, last.end_s) if first and last and last.end_s > first.start_s else None
