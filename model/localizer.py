"""When does something happen? Found coarsely over the whole video, then looked at again around each find."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from model.coverage import Coverage, Seen
from model.decoding import TimeRange
from model.errors import BadQuestion
from model.prompts import localize
from model.replies import read_events
from model.sessions import OnPart, SessionPool
from video.probe import VideoInfo
from video.sampler import SamplingPlan
from video.timeline import Span, merged

QUESTION_MAX_CHARACTERS = 2000
"""Of a question or query. Finding the times in a text takes the square of its length: 2,000 characters a few milliseconds."""
REPLY_TOKENS = 512
MARGIN_S = 4.0
"""Seconds around a find that are looked at again: twice the coarse patch at the usual rate, and room to see what was before."""
SAME_EVENT_IOU = 0.2
"""How well a second look must agree with the first for the find to be kept."""
LOOK_MAX_S = 60.0
"""Finds that are longer than this are looked at again at their two edges only."""


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


def check_length(text: str, what: str) -> None:
    """Refuse a question or query that is too long to be one.

    Raises:
        BadQuestion: with `what` it is.
    """
    if len(text) > QUESTION_MAX_CHARACTERS:
        raise BadQuestion(
            f"The {what} is {len(text):,} characters long; at most {QUESTION_MAX_CHARACTERS:,} are read: make it shorter."
        )


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
        BadQuestion: the query is empty or too long.
    """
    check_length(query, "query")
    if not query.strip():
        raise BadQuestion("The query is empty: say what to look for.")
    plan = pool.plan(video, "caption", span=span)
    coarse: list[Span] = []
    seen = Seen(plan, key_frames_only=pool.decoder.key_frames_only)
    for index in range(len(plan.windows)):
        if on_part:
            on_part(index / (len(plan.windows) + 1))
        coarse += _asked(pool, video, plan, index, query, seen)
    # What two windows saw of one occurrence is one; neighbours that merely come close stay apart.
    candidates = list(merged(coarse)) if len(plan.windows) > 1 else coarse
    candidates += [hint for hint in hints if all(hint.iou(known) < SAME_EVENT_IOU for known in candidates)]
    found: list[Found] = []
    for number, candidate in enumerate(sorted(candidates)):
        if on_part:
            on_part((len(plan.windows) + number / len(candidates)) / (len(plan.windows) + 1))
        better = _looked_again(pool, video, candidate, plan.grain_s, query)
        # Two candidates may turn out to be one occurrence.
        if better is not None and all(better.span.iou(known.span) < SAME_EVENT_IOU for known in found):
            found.append(better)
    if on_part:
        on_part(1.0)
    return Localization(tuple(sorted(found, key=lambda item: item.span)), seen.coverage(), plan)


def _asked(pool: SessionPool, video: VideoInfo, plan: SamplingPlan, index: int, query: str, seen: Seen) -> list[Span]:
    session = pool.session(video, plan, plan.windows[index])
    generation = session.ask(localize(query), max_new_tokens=REPLY_TOKENS, item=TimeRange)
    for _ in generation:
        pass
    reading = read_events(generation.text, session)
    seen.add(session, understood=generation.is_complete and reading.is_json)
    return [event.span for event in reading.events]


def _looked_again(pool: SessionPool, video: VideoInfo, coarse: Span, coarse_grain_s: float, query: str) -> Found | None:
    """The find with finer edges, or None if a second look does not see it."""
    if coarse.duration_s + 2 * MARGIN_S <= LOOK_MAX_S:
        seen, look = _look(pool, video, Span(coarse.start_s - MARGIN_S, coarse.end_s + MARGIN_S), query)
        best = max(seen, key=coarse.iou, default=None)
        if best is not None and best.iou(coarse) >= SAME_EVENT_IOU:
            return Found(best, look.grain_s)
        # A look that could not see, or whose reply could not be read, says nothing against the first one.
        return Found(coarse, coarse_grain_s) if look.unseen else None
    half = LOOK_MAX_S / 2
    starts, look = _look(pool, video, Span(coarse.start_s - half, coarse.start_s + half), query)
    ends, other = _look(pool, video, Span(coarse.end_s - half, coarse.end_s + half), query)
    first = min(starts, key=lambda span: abs(span.start_s - coarse.start_s), default=None)
    last = min(ends, key=lambda span: abs(span.end_s - coarse.end_s), default=None)
    if first is None or last is None or last.end_s <= first.start_s:
        return Found(coarse, coarse_grain_s) if look.unseen or other.unseen else None
    return Found(Span(first.start_s, last.end_s), look.grain_s)


def _look(pool: SessionPool, video: VideoInfo, around: Span, query: str) -> tuple[list[Span], Coverage]:
    inside = Span(max(0.0, math.floor(around.start_s * 10) / 10), min(video.duration_s, around.end_s))
    plan = pool.plan(video, "look", span=inside)
    seen = Seen(plan, key_frames_only=pool.decoder.key_frames_only)
    found = [span for index in range(len(plan.windows)) for span in _asked(pool, video, plan, index, query, seen)]
    return found, seen.coverage()
