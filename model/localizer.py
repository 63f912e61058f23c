"""When does something happen? Found coarsely over the whole video, then looked at again around each find."""

from collections.abc import Sequence
from dataclasses import dataclass

from model.coverage import Coverage, Seen
from model.engine import VideoSession
from model.errors import BadQuestion
from model.familiarity import declined
from model.looking import LOOK_MAX_S, MARGIN_S, SAME_EVENT_IOU, look, shown, where, widened
from model.prompts import check_length
from model.sessions import OnPart, SessionPool
from model.verifier import confirmed
from video.probe import VideoInfo
from video.sampler import SamplingPlan
from video.timeline import Span


@dataclass(frozen=True)
class Found:
    """One occurrence."""

    span: Span
    error_s: float
    """The patch period of the look that gave the edges: they are true to about this many seconds."""


@dataclass(frozen=True)
class Localization:
    """All occurrences of a query."""

    found: tuple[Found, ...]
    coverage: Coverage
    plan: SamplingPlan
    """The first, coarse look over everything."""


def locate(
    pool: SessionPool,
    video: VideoInfo,
    query: str,
    *,
    span: Span | None = None,
    hints: Sequence[Span] = (),
    on_part: OnPart | None = None,
) -> Localization:
    """All occurrences of `query` in the video, or in `span` of it, in order of time; none is an honest answer.

    `hints` are spans where something else, such as a caption, says it happens. Finds and hints alike are kept only if a
    second, closer look sees them.

    Raises:
        BadQuestion: the query is empty or too long. UnfamiliarFootage: the checkpoint knows nothing like any of it.
    """
    check_length(query, "query")
    if not query.strip():
        raise BadQuestion("The query is empty: say what to look for.")
    plan = pool.plan(video, "caption", span=span, on_part=on_part)
    seen = Seen(plan, key_frames_only=pool.decoder.key_frames_only)
    search = _Search(pool, video, query, on_part)
    coarse: list[list[Span]] = []
    for index, session in shown(pool, video, plan, seen, on_part=lambda *_: search.tick()):
        search.come_to(index / (len(plan.windows) + 1))
        coarse.append(search.asked(session, seen))
    if seen.unfamiliar and not coarse:
        raise declined(pool.engine.checkpoint)
    candidates = _across_windows(coarse)
    candidates += [hint for hint in hints if all(hint.iou(known) < SAME_EVENT_IOU for known in candidates)]
    found: list[Found] = []
    for number, candidate in enumerate(sorted(candidates)):
        search.come_to((len(plan.windows) + number / len(candidates)) / (len(plan.windows) + 1))
        better = search.looked_again(candidate, plan.grain_s)
        # Two candidates may turn out to be one occurrence.
        if better is not None and all(better.span.iou(known.span) < SAME_EVENT_IOU for known in found):
            found.append(better)
    search.come_to(1.0)
    return Localization(tuple(sorted(found, key=lambda item: item.span)), seen.coverage(), plan)


def _across_windows(coarse: Sequence[Sequence[Span]]) -> list[Span]:
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
class _Look:
    """A short span, looked at closely."""

    found: list[Span]
    sessions: list[VideoSession]
    seen: Seen


class _Search:
    """One query to one video."""

    def __init__(self, pool: SessionPool, video: VideoInfo, query: str, on_part: OnPart | None) -> None:
        self._pool, self._video, self._query, self._on_part = pool, video, query, on_part
        self._part = 0.0

    def come_to(self, part: float) -> None:
        """That part of the work is done."""
        self._part = part
        self.tick()

    def tick(self, _: float = 0.0) -> None:
        """The work goes on."""
        if self._on_part:
            self._on_part(self._part)

    def asked(self, session: VideoSession, seen: Seen) -> list[Span]:
        """All spans that one window's reply names."""
        spans, is_understood = where(session, self._query, tick=self.tick)
        seen.add(session, understood=is_understood)
        return spans

    def looked_again(self, coarse: Span, coarse_grain_s: float) -> Found | None:
        """The find with finer edges, or None if a second look does not see it."""
        if coarse.duration_s + 2 * MARGIN_S <= LOOK_MAX_S:
            looks = [self._look(widened(coarse))]
            better = max(looks[0].found, key=coarse.iou, default=None)
        else:
            # Of a long one the two edges only.
            half = LOOK_MAX_S / 2
            looks = [self._look(Span(edge_s - half, edge_s + half)) for edge_s in (coarse.start_s, coarse.end_s)]
            better = _joined(coarse, looks[0].found, looks[1].found)
        if better is None or better.iou(coarse) < SAME_EVENT_IOU:
            # A look that could not see, or whose reply could not be read, says nothing against the first one.
            return Found(coarse, coarse_grain_s) if any(look.seen.is_blind for look in looks) else None
        forms = self._pool.engine.checkpoint.question_forms
        sessions = [session for look in looks for session in look.sessions]
        if not any(confirmed(session, better, self._query, forms, tick=self.tick) for session in sessions):
            return None
        return Found(better, max(look.seen.coverage().grain_s for look in looks))

    def _look(self, around: Span) -> _Look:
        sessions, seen = look(self._pool, self._video, around, on_part=self.tick)
        return _Look([span for session in sessions for span in self.asked(session, seen)], sessions, seen)


def _joined(coarse: Span, starts: list[Span], ends: list[Span]) -> Span | None:
    """One span from looks at its two edges."""
    first = min(starts, key=lambda span: abs(span.start_s - coarse.start_s), default=None)
    last = min(ends, key=lambda span: abs(span.end_s - coarse.end_s), default=None)
    return Span(first.start_s, last.end_s) if first and last and last.end_s > first.start_s else None
