"""Which events of a merged timeline are doubtful, and another look at each of those.

A window tells badly what goes on over its border, and of two things that overlap it easily gives one the end of the other. A
look that has the event in its middle, and little else beside it, does better.
"""

import functools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from model.engine import VideoSession
from model.errors import ModelError, Stopped
from model.looking import LOOK_MAX_S, MARGIN_S, SAME_EVENT_IOU, look, where
from model.moments import stretches
from model.prompts import ask_about_moments
from model.sessions import SessionPool
from video.probe import VideoInfo
from video.sampler import SamplingPlan, overlaps
from video.timeline import Event, Span

log = logging.getLogger(__name__)

LONGEST_S = LOOK_MAX_S - 2 * MARGIN_S - 1.0
"""Longer events stay as they are: they do not fit into one look, and a second of error is a small part of them."""
LOOKS_MAX = 4
"""An event that goes on beyond a look is followed with so many looks; each shows twice as much around it as the one before."""
EDGE_S = 1.0
"""What comes that near to the edge of a look may go on beyond it."""
AGREEMENT_IOU = 0.7
"""A look confirms a time that overlaps what it sees that well."""
MOMENTS_IOU = 0.1
"""Moments that show an event are believed where they overlap what was told that well: it may be told many times too long."""


def settled(
    pool: SessionPool, video: VideoInfo, timeline: Sequence[Event], plan: SamplingPlan, *, on_part: Callable[[float], None]
) -> list[Event]:
    """The timeline of a plan's windows, with the times that looks of their own give its doubtful events.

    Those are the events on a border, and, of a checkpoint with a form about moments, those that share an edge with one beside
    them: moments settle that, another look alone may not. What it sees at no moment is left out. An event stays as it is where
    no look can be had, or where it is too long for one.
    """
    borders = overlaps(plan)
    has_moments = ask_about_moments(pool.engine.checkpoint.question_forms)
    events: list[Event] = []
    for number, event in enumerate(timeline):
        tick = functools.partial(on_part, number / len(timeline))
        tick()
        disputed = has_moments and shares_an_edge(event, timeline, within=plan.span, grain_s=plan.grain_s)
        if event.span.duration_s > LONGEST_S or not (disputed or on_a_border(event, borders)):
            events.append(event)
            continue
        doubt = Doubt(pool, video, event, plan, disputed=disputed, tick=tick)
        try:
            span = doubt.span()
        except Stopped:
            raise
        except ModelError as error:
            # What was told is better than nothing.
            log.warning("no second look at %s: %s", event.text, error)
            span = event.span
        events += [Event(span, event.text)] if span else []
    on_part(1.0)
    return events


def on_a_border(event: Event, borders: Sequence[Span]) -> bool:
    """Whether an event lies where two windows meet; `borders` are what they share."""
    return any(event.span.overlap_s(border) > 0 for border in borders)


def shares_an_edge(event: Event, timeline: Sequence[Event], *, within: Span, grain_s: float) -> bool:
    """Whether an event begins or ends with one that lies beside it, so that one may have got the other's time.

    What begins or ends together with what was looked at, `within`, says nothing.
    """

    def same(edge_s: float, other_s: float) -> bool:
        is_inside = within.start_s + grain_s < edge_s < within.end_s - grain_s
        return is_inside and abs(edge_s - other_s) <= grain_s

    beside = (other.span for other in timeline if other is not event and other.span.overlap_s(event.span) > 0)
    return any(same(event.span.start_s, span.start_s) or same(event.span.end_s, span.end_s) for span in beside)


@dataclass
class Doubt:
    """One doubtful event of a plan's timeline, and the looks at it."""

    pool: SessionPool
    video: VideoInfo
    event: Event
    plan: SamplingPlan
    disputed: bool
    """It shares an edge: a look that sees the same again proves nothing."""
    tick: Callable[[], None]

    def span(self) -> Span | None:
        """When the event happens; None if it is seen nowhere."""
        best = self.event.span
        for number in range(LOOKS_MAX):
            margin_s = MARGIN_S * 2**number
            around = Span(best.start_s - margin_s, best.end_s + margin_s).clamped(self.plan.span)
            if around.duration_s >= LOOK_MAX_S:
                break
            found, is_denied = self._seen(around, best)
            if is_denied and not number:
                return None
            if found is None or found == best:
                break
            best = found
            if not self._goes_on(best, around):
                break
        return best

    def _seen(self, around: Span, told: Span) -> tuple[Span | None, bool]:
        """What a look sees of the event, and whether it is sure that it sees nothing of it."""
        # As finely as it was told: what is wrong here is wrong by seconds.
        sessions, seen = look(self.pool, self.video, around, purpose=self.plan.purpose, keep=False, on_part=lambda _: self.tick())
        try:
            spans = [span for session in sessions for span in where(session, self.event.text, tick=self.tick)[0]]
            forms = self.pool.engine.checkpoint.question_forms
            agrees = any(span.iou(told) >= AGREEMENT_IOU for span in spans)
            if not ask_about_moments(forms) or (agrees and not self.disputed):
                return _best(spans, told, SAME_EVENT_IOU), False
            shown = [span for session in sessions for span in self._by_moments(session, [told, *spans], forms)]
            return _best(shown, told, MOMENTS_IOU), bool(sessions) and not shown and not seen.is_blind
        finally:
            for session in sessions:
                self.pool.let_go(session)

    def _by_moments(self, session: VideoSession, told: Sequence[Span], forms: tuple[str, ...]) -> list[Span]:
        """Where a session sees it, moment by moment; with the edges of a time that was told, where one agrees."""
        found = stretches(session, self.event.text, told[0], forms, tick=self.tick)
        nearest = [max(told, key=span.iou) for span in found]
        return [one if one.iou(span) >= AGREEMENT_IOU else span for one, span in zip(nearest, found, strict=True)]

    def _goes_on(self, span: Span, shown: Span) -> bool:
        """Whether it reaches to an edge of what was shown, and there is more behind it."""
        whole = self.plan.span
        before = shown.start_s > whole.start_s and span.start_s <= shown.start_s + EDGE_S
        return before or (shown.end_s < whole.end_s and span.end_s >= shown.end_s - EDGE_S)


def _best(spans: Sequence[Span], told: Span, least_iou: float) -> Span | None:
    best = max(spans, key=told.iou, default=None)
    return best if best is not None and best.iou(told) >= least_iou else None
