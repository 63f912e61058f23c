"""Boundary refinement of a merged timeline.

Events with doubtful times are grounded again in a clip that has the event in its middle and little else. Window captions are
inaccurate for events that cross a window boundary, and often give one of two overlapping events the end of the other.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from longview.core.progress import NO_PROGRESS, Progress
from longview.core.timeline import Event, Span
from longview.model.engine.base import VideoSession
from longview.model.engine.sessions import SessionPool
from longview.model.errors import ModelError
from longview.model.tasks.grounding import MARGIN_S, MAX_CLIP_S, MIN_SAME_EVENT_IOU, ground, open_clip
from longview.model.tasks.verifier import TimestampVerifier, Verifier
from longview.video.probing.probe import VideoInfo
from longview.video.sampler import window_overlaps
from longview.video.sampling_plan import SamplingPlan

log = logging.getLogger(__name__)

MAX_EVENT_S = MAX_CLIP_S - 2 * MARGIN_S - 1.0
"""Maximum length of an event that is refined, in seconds. A longer event does not fit into a clip, and an error of one second is
a small part of its length."""
MAX_ATTEMPTS = 4
"""Maximum number of clips for an event that extends beyond its clip; each has twice the margin of the one before."""
CLIP_EDGE_S = 1.0
"""Distance from the edge of a clip within which an event may extend beyond it, in seconds."""
MIN_AGREEMENT_IOU = 0.7
"""Minimum tIoU with which a clip confirms a time."""
MIN_VERIFIED_IOU = 0.1
"""Minimum tIoU of verified timestamps and the captioned span, which may be many times too long."""


def refine_timeline(
    pool: SessionPool,
    verifier: Verifier,
    video: VideoInfo,
    timeline: Sequence[Event],
    plan: SamplingPlan,
    *,
    progress: Progress = NO_PROGRESS,
) -> list[Event]:
    """Return the timeline of a plan's windows with refined times for its contested events.

    Contested events are those that cross a window boundary. If the checkpoint answers questions about timestamps, they are also
    those that share a boundary with another event, which only timestamps can refine. An event that no timestamp confirms is
    dropped. An event keeps its
    time if its clip cannot be opened, or if it is too long for a clip.
    """
    boundaries = window_overlaps(plan)
    events: list[Event] = []
    for event, step in zip(timeline, progress.steps(len(timeline)), strict=True):
        is_contested = verifier.timestamps is not None and shares_boundary(
            event, timeline, within=plan.span, patch_period_s=plan.patch_period_s
        )
        if event.span.duration_s > MAX_EVENT_S or not (is_contested or crosses_window_boundary(event, boundaries)):
            events.append(event)
            continue
        refiner = EventRefiner(pool, verifier, video, event, plan, is_contested=is_contested, progress=step)
        try:
            span = refiner.refine()
        except ModelError as error:
            # The event keeps its captioned time.
            log.warning("The time of “%s” was not refined: %s", event.text, error)
            span = event.span
        events += [Event(span, event.text)] if span else []
    progress.update(1.0)
    return events


def crosses_window_boundary(event: Event, boundaries: Sequence[Span]) -> bool:
    """Whether an event overlaps one of the spans in which two windows meet."""
    return any(event.span.overlap_s(boundary) > 0 for boundary in boundaries)


def shares_boundary(event: Event, timeline: Sequence[Event], *, within: Span, patch_period_s: float) -> bool:
    """Whether an event begins or ends together with an overlapping one, so that one of them may have the other's time.

    Boundaries at the edges of the captioned span, `within`, do not count.
    """

    def is_same(boundary_s: float, other_s: float) -> bool:
        is_inside = within.start_s + patch_period_s < boundary_s < within.end_s - patch_period_s
        return is_inside and abs(boundary_s - other_s) <= patch_period_s

    overlapping = (other.span for other in timeline if other is not event and other.span.overlap_s(event.span) > 0)
    return any(is_same(event.span.start_s, span.start_s) or is_same(event.span.end_s, span.end_s) for span in overlapping)


@dataclass
class EventRefiner:
    """Refines one contested event of a plan's timeline."""

    pool: SessionPool
    verifier: Verifier
    video: VideoInfo
    event: Event
    plan: SamplingPlan
    is_contested: bool
    """Whether the event shares a boundary. A clip that reports the same time again is then no evidence."""
    progress: Progress

    def refine(self) -> Span | None:
        """Return the time of the event; None if nothing confirms it."""
        best = self.event.span
        for attempt in range(MAX_ATTEMPTS):
            margin_s = MARGIN_S * 2**attempt
            around = Span(best.start_s - margin_s, best.end_s + margin_s).clamp(self.plan.span)
            if around.duration_s >= MAX_CLIP_S:
                break
            span, is_denied = self._ground_clip(around, best)
            if is_denied and attempt == 0:
                return None
            if span is None or span == best:
                break
            best = span
            if not self._extends_beyond(best, around):
                break
        return best

    def _ground_clip(self, around: Span, estimate: Span) -> tuple[Span | None, bool]:
        """Return the span in which a clip shows the event, and whether the clip denies the event."""
        # The patch period of the captions suffices, because the errors that are refined here are errors of seconds.
        sessions, coverage = open_clip(
            self.pool, self.video, around, purpose=self.plan.purpose, pin=False, progress=self.progress
        )
        try:
            spans = [span for session in sessions for span in ground(session, self.event.text, progress=self.progress)[0]]
            agrees = any(span.iou(estimate) >= MIN_AGREEMENT_IOU for span in spans)
            verifier = self.verifier.timestamps
            if verifier is None or (agrees and not self.is_contested):
                return _closest(spans, estimate, MIN_SAME_EVENT_IOU), False
            confirmed_spans = [
                span for session in sessions for span in self._confirmed_spans(verifier, session, [estimate, *spans])
            ]
            return _closest(confirmed_spans, estimate, MIN_VERIFIED_IOU), bool(
                sessions
            ) and not confirmed_spans and not coverage.has_gaps
        finally:
            for session in sessions:
                self.pool.release(session)

    def _confirmed_spans(self, verifier: TimestampVerifier, session: VideoSession, estimates: Sequence[Span]) -> list[Span]:
        """Verify the event at the timestamps of a session; return its spans. An estimate that agrees gives its boundaries."""
        spans = verifier.find_spans(session, self.event.text, estimates[0], progress=self.progress)
        nearest = [max(estimates, key=span.iou) for span in spans]
        return [one if one.iou(span) >= MIN_AGREEMENT_IOU else span for one, span in zip(nearest, spans, strict=True)]

    def _extends_beyond(self, span: Span, clip: Span) -> bool:
        """Whether the event reaches to an edge of the clip, and the plan has more behind that edge."""
        whole = self.plan.span
        before = clip.start_s > whole.start_s and span.start_s <= clip.start_s + CLIP_EDGE_S
        return before or (clip.end_s < whole.end_s and span.end_s >= clip.end_s - CLIP_EDGE_S)


def _closest(spans: Sequence[Span], estimate: Span, min_iou: float) -> Span | None:
    best = max(spans, key=estimate.iou, default=None)
    return best if best is not None and best.iou(estimate) >= min_iou else None
