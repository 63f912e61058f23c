"""Temporal grounding in the windows of a plan and in short clips: where does a session see what a query says?"""

import math
from collections.abc import Callable, Iterator

from longview.model.engine.base import VideoSession
from longview.model.engine.planner import OnFraction, Tick
from longview.model.engine.sessions import SessionPool
from longview.model.tasks.coverage import CoverageTracker
from longview.model.tasks.prompts import localize_prompt
from longview.model.tasks.replies import TimeRange, parse_events
from longview.video.errors import UnreadableVideo
from longview.video.probe import VideoInfo
from longview.video.sampler import Purpose, SamplingPlan
from longview.video.timeline import Span

MAX_GROUNDING_TOKENS = 512
MARGIN_S = 4.0
"""Time before and after a span that a clip shows, in seconds: twice the patch period of a window at the usual rate, and what
was on screen before."""
MAX_CLIP_S = 60.0
"""Maximum length of a clip with the finest patch period, in seconds."""
MIN_SAME_EVENT_IOU = 0.2
"""Minimum tIoU of two spans that two sessions report for the same event."""


def open_windows(
    pool: SessionPool,
    video: VideoInfo,
    plan: SamplingPlan,
    coverage: CoverageTracker,
    *,
    pin: bool = True,
    on_part: Callable[[int, float], None] = lambda _window, _part: None,
) -> Iterator[tuple[int, VideoSession]]:
    """Open the windows of a plan; yield the index and the session of each one that the checkpoint can be asked about.

    Windows without decodable frames and out-of-distribution windows are noted in `coverage`. `on_part` receives the index of a
    window and the decoded fraction of it. `pin`: see `SessionPool.session`.

    Raises:
        UnreadableVideo: after the last window, if no window has a decodable frame.
    """
    failures = []
    for index, window in enumerate(plan.windows):

        def report(fraction: float, index: int = index) -> None:
            on_part(index, fraction)

        try:
            session = pool.session(video, plan, window, pin=pin, on_part=report)
        except UnreadableVideo as error:
            failures.append(error)
            coverage.mark_uncovered(window.span)
            continue
        if session.is_out_of_distribution:
            coverage.mark_uncovered(window.span, out_of_distribution=True)
            continue
        yield index, session
    if len(failures) == len(plan.windows):
        raise failures[-1]


def open_clip(
    pool: SessionPool,
    video: VideoInfo,
    around: Span,
    *,
    purpose: Purpose = "refine",
    pin: bool = True,
    on_part: OnFraction | None = None,
) -> tuple[list[VideoSession], CoverageTracker]:
    """Open the sessions that show a span, clamped to the video. The list is empty if nothing of it can be decoded.

    `pin`: see `SessionPool.session`.
    """
    inside = Span(max(0.0, math.floor(around.start_s * 10) / 10), min(video.duration_s, around.end_s))
    plan = pool.planner.plan(video, purpose, span=inside)
    coverage = CoverageTracker(plan, key_frames_only=pool.decoder.key_frames_only)
    sessions = []
    try:
        for _, session in open_windows(
            pool, video, plan, coverage, pin=pin, on_part=lambda _, fraction: on_part(fraction) if on_part else None
        ):
            sessions.append(session)
    except UnreadableVideo:
        pass  # `coverage` has it
    return sessions, coverage


def ground(session: VideoSession, query: str, *, tick: Tick) -> tuple[list[Span], bool]:
    """Return the spans in which a session sees the query, on the video's clock, and whether its reply was readable."""
    generation = session.generate(localize_prompt(query), max_new_tokens=MAX_GROUNDING_TOKENS, schema=TimeRange)
    for _ in generation:
        tick()
    reply = parse_events(generation.text, session)
    return [event.span for event in reply.events], generation.is_complete and reply.is_json


def with_margin(span: Span) -> Span:
    """Widen a span by the margin that a clip needs; of a span that is too long for a clip, return the middle."""
    if span.duration_s + 2 * MARGIN_S <= MAX_CLIP_S:
        return Span(span.start_s - MARGIN_S, span.end_s + MARGIN_S)
    middle_s = (span.start_s + span.end_s) / 2
    return Span(middle_s - MAX_CLIP_S / 2, middle_s + MAX_CLIP_S / 2)
