"""Which events of a merged timeline are doubtful, and another look at each of those.

A window tells badly what goes on over its border, and of two things that overlap it easily gives one the end of the other. A
look that has the event in its middle, and little else beside it, does better.
"""

import functools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from longview.model.demo.probing import probe_spans
from longview.model.demo.templates import has_timestamp_template
from longview.model.engine.base import VideoSession
from longview.model.engine.sessions import SessionPool
from longview.model.errors import Cancelled, ModelError
from longview.model.tasks.grounding import MARGIN_S, MAX_CLIP_S, MIN_SAME_EVENT_IOU, ground, open_clip
from longview.video.probe import VideoInfo
from longview.video.sampler import SamplingPlan, window_overlaps
from longview.video.timeline import Event, Span

log = logging.getLogger(__name__)

MAX_EVENT_S = MAX_CLIP_S - 2 * MARGIN_S - 1.0
"""Longer events stay as they are: they do not fit into one look, and a second of error is a small part of them."""
MAX_ATTEMPTS = 4
"""An event that goes on beyond a look is followed with so many looks; each shows twice as much around it as the one before."""
CLIP_EDGE_S = 1.0
"""What comes that near to the edge of a look may go on beyond it."""
AGREEMENT_IOU = 0.7
"""A look confirms a time that overlaps what it sees that well."""
MIN_PROBE_IOU = 0.1
"""Moments that show an event are believed where they overlap what was told that well: it may be told many times too long."""


def refine_timeline(
    pool: SessionPool, video: VideoInfo, timeline: Sequence[Event], plan: SamplingPlan, *, on_part: Callable[[float], None]
) -> list[Event]:
    """The timeline of a plan's windows, with the times that looks of their own give its doubtful events.

    Those are the events on a border, and, of a checkpoint with a form about moments, those that share an edge with one beside
    them: moments settle that, another look alone may not. What it sees at no moment is left out. An event stays as it is where
    no look can be had, or where it is too long for one.
    """
    borders = window_overlaps(plan)
    has_moments = has_timestamp_template(pool.engine.checkpoint.question_templates)
    events: list[Event] = []
    for number, event in enumerate(timeline):
        tick = functools.partial(on_part, number / len(timeline))
        tick()
        disputed = has_moments and shares_boundary(event, timeline, within=plan.span, patch_period_s=plan.patch_period_s)
        if event.span.duration_s > MAX_EVENT_S or not (disputed or crosses_boundary(event, borders)):
            events.append(event)
            continue
        doubt = EventRefiner(pool, video, event, plan, is_contested=disputed, tick=tick)
        try:
            span = doubt.refine()
        except Cancelled:
            raise
        except ModelError as error:
            # What was told is better than nothing.
            log.warning("no second look at %s: %s", event.text, error)
            span = event.span
        events += [Event(span, event.text)] if span else []
    on_part(1.0)
    return events


def crosses_boundary(event: Event, boundaries: Sequence[Span]) -> bool:
    """Whether an event lies where two windows meet; `borders` are what they share."""
    return any(event.span.overlap_s(border) > 0 for border in boundaries)


def shares_boundary(event: Event, timeline: Sequence[Event], *, within: Span, patch_period_s: float) -> bool:
    """Whether an event begins or ends with one that lies beside it, so that one may have got the other's time.

    What begins or ends together with what was looked at, `within`, says nothing.
    """

    def same(edge_s: float, other_s: float) -> bool:
        is_inside = within.start_s + patch_period_s < edge_s < within.end_s - patch_period_s
        return is_inside and abs(edge_s - other_s) <= patch_period_s

    beside = (other.span for other in timeline if other is not event and other.span.overlap_s(event.span) > 0)
    return any(same(event.span.start_s, span.start_s) or same(event.span.end_s, span.end_s) for span in beside)


@dataclass
class EventRefiner:
    """One doubtful event of a plan's timeline, and the looks at it."""

    pool: SessionPool
    video: VideoInfo
    event: Event
    plan: SamplingPlan
    is_contested: bool
    """It shares an edge: a look that sees the same again proves nothing."""
    tick: Callable[[], None]

    def refine(self) -> Span | None:
        """When the event happens; None if it is seen nowhere."""
        best = self.event.span
        for number in range(MAX_ATTEMPTS):
            margin_s = MARGIN_S * 2**number
            around = Span(best.start_s - margin_s, best.end_s + margin_s).clamped(self.plan.span)
            if around.duration_s >= MAX_CLIP_S:
                break
            found, is_denied = self._ground_clip(around, best)
            if is_denied and not number:
                return None
            if found is None or found == best:
                break
            best = found
            if not self._extends_beyond(best, around):
                break
        return best

    def _ground_clip(self, around: Span, told: Span) -> tuple[Span | None, bool]:
        """What a look sees of the event, and whether it is sure that it sees nothing of it."""
        # As finely as it was told: what is wrong here is wrong by seconds.
        sessions, seen = open_clip(
            self.pool, self.video, around, purpose=self.plan.purpose, pin=False, on_part=lambda _: self.tick()
        )
        try:
            spans = [span for session in sessions for span in ground(session, self.event.text, tick=self.tick)[0]]
            forms = self.pool.engine.checkpoint.question_templates
            agrees = any(span.iou(told) >= AGREEMENT_IOU for span in spans)
            if not has_timestamp_template(forms) or (agrees and not self.is_contested):
                return _closest(spans, told, MIN_SAME_EVENT_IOU), False
            shown = [span for session in sessions for span in self._probe_frames(session, [told, *spans], forms)]
            return _closest(shown, told, MIN_PROBE_IOU), bool(sessions) and not shown and not seen.has_gaps
        finally:
            for session in sessions:
                self.pool.release(session)

    def _probe_frames(self, session: VideoSession, estimates: Sequence[Span], templates: tuple[str, ...]) -> list[Span]:
        """Where a session sees it, moment by moment; with the edges of a time that was told, where one agrees."""
        found = probe_spans(session, self.event.text, estimates[0], templates, tick=self.tick)
        nearest = [max(estimates, key=span.iou) for span in found]
        return [one if one.iou(span) >= AGREEMENT_IOU else span for one, span in zip(nearest, found, strict=True)]

    def _extends_beyond(self, span: Span, shown: Span) -> bool:
        """Whether it reaches to an edge of what was shown, and there is more behind it."""
        whole = self.plan.span
        before = shown.start_s > whole.start_s and span.start_s <= shown.start_s + CLIP_EDGE_S
        return before or (shown.end_s < whole.end_s and span.end_s >= shown.end_s - CLIP_EDGE_S)


def _closest(spans: Sequence[Span], told: Span, min_iou: float) -> Span | None:
    best = max(spans, key=told.iou, default=None)
    return best if best is not None and best.iou(told) >= min_iou else None
