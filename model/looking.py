"""A short span, looked at again at the finest step that the checkpoint was trained on."""

import math

from model.engine import VideoSession
from model.sessions import OnPart, SessionPool
from video.probe import VideoInfo
from video.sampler import SamplingPlan
from video.timeline import Span

MARGIN_S = 4.0
"""Seconds around a find that are looked at again: twice the coarse patch at the usual rate, and room to see what was before."""
LOOK_MAX_S = 60.0
"""Spans up to this length are looked at at the finest step; of longer ones only parts, or at the usual step."""


def look(
    pool: SessionPool, video: VideoInfo, around: Span, *, on_part: OnPart | None = None
) -> tuple[SamplingPlan, list[VideoSession]]:
    """The sessions that show a span, as far as the video reaches, and their plan.

    Raises:
        UnreadableVideo: no frame of it can be decoded.
    """
    inside = Span(max(0.0, math.floor(around.start_s * 10) / 10), min(video.duration_s, around.end_s))
    plan = pool.plan(video, "look", span=inside)
    return plan, [pool.session(video, plan, window, on_part=on_part) for window in plan.windows]


def widened(span: Span) -> Span:
    """A span with the margin that a look needs; of one that is too long its middle."""
    if span.duration_s + 2 * MARGIN_S <= LOOK_MAX_S:
        return Span(span.start_s - MARGIN_S, span.end_s + MARGIN_S)
    middle_s = (span.start_s + span.end_s) / 2
    return Span(middle_s - LOOK_MAX_S / 2, middle_s + LOOK_MAX_S / 2)
