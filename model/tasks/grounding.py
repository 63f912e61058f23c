"""Temporal grounding: find the spans in which a session sees a query, in the windows of a plan and in short clips."""

import math
from collections.abc import Collection, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from longview.core.progress import NO_PROGRESS, Progress
from longview.core.timeline import Span
from longview.model.engine.base import VideoSession
from longview.model.tasks.coverage import CoverageTracker
from longview.model.tasks.replies import TimeRange
from longview.model.tasks.reply_forms import parse_spans
from longview.video.errors import UnreadableVideo
from longview.video.sampling_plan import Purpose, SamplingPlan, Window

if TYPE_CHECKING:
    from longview.model.engine.sessions import SessionPool
    from longview.video.probing.probe import VideoInfo

MAX_GROUNDING_TOKENS = 512
PLANNING_PROGRESS_SHARE = 0.05
"""Share of a task's progress for its sampling plan, which detects shots where windows meet."""
DECODING_PROGRESS_SHARE = 0.4
"""Share of a window's progress for decoding and prefill; the rest is for the questions."""
MARGIN_S = 4.0
"""Time before and after a span that a clip also shows, in seconds: twice the patch period of a window at the usual rate, plus
context."""
MAX_CLIP_S = 60.0
"""Maximum length of a clip with the finest patch period, in seconds."""
MIN_SAME_EVENT_IOU = 0.2
"""Minimum tIoU of two spans that two sessions report for the same event."""


def open_windows(
    pool: "SessionPool",
    video: "VideoInfo",
    plan: SamplingPlan,
    coverage: CoverageTracker,
    *,
    pin: bool = True,
    progress: Progress = NO_PROGRESS,
) -> Iterator[tuple[Window, VideoSession, Progress]]:
    """Open the windows of a plan; yield each window that can be questioned, its session, and its part of `progress`.

    Windows without decodable frames and out-of-distribution windows are noted in `coverage`. `pin`: see `SessionPool.session`.

    Raises:
        UnreadableVideo: after the last window, if no window has a decodable frame. Cancelled: the operation was cancelled.
    """
    for position, session, step in open_decodable_windows(pool, video, plan, coverage, pin=pin, progress=progress):
        window = plan.windows[position]
        if session.is_out_of_distribution:
            coverage.mark_out_of_distribution(window.span)
        else:
            yield window, session, step


def open_decodable_windows(
    pool: "SessionPool",
    video: "VideoInfo",
    plan: SamplingPlan,
    coverage: CoverageTracker,
    *,
    finished: Collection[int] = (),
    pin: bool = True,
    progress: Progress = NO_PROGRESS,
) -> Iterator[tuple[int, VideoSession, Progress]]:
    """Open the windows of a plan; yield the position of each window in the plan, its session, and its part of `progress`.

    Windows without decodable frames are noted in `coverage`. `finished`: positions of windows that are not opened.
    `pin`: see `SessionPool.session`.

    Raises:
        UnreadableVideo: after the last window, if no window has a decodable frame. Cancelled: the operation was cancelled.
    """
    failures = []
    for (position, window), step in zip(enumerate(plan.windows), progress.steps(len(plan.windows)), strict=True):
        if position in finished:
            step.skip(1.0)
            continue
        try:
            session = pool.session(video, plan, window, pin=pin, progress=step.child(0.0, DECODING_PROGRESS_SHARE))
        except UnreadableVideo as error:
            failures.append(error)
            coverage.mark_uncovered(window.span)
            continue
        yield position, session, step.child(DECODING_PROGRESS_SHARE, 1.0)
    if failures and len(failures) == len(plan.windows):
        raise failures[-1]


def open_clip(
    pool: "SessionPool",
    video: "VideoInfo",
    around: Span,
    *,
    purpose: Purpose = "refine",
    pin: bool = True,
    progress: Progress = NO_PROGRESS,
) -> tuple[list[VideoSession], CoverageTracker]:
    """Open the sessions that show a span, clamped to the video. The list is empty if nothing of it can be decoded.

    `pin`: see `SessionPool.session`.

    Raises:
        Cancelled: the operation was cancelled.
    """
    plan = clip_plan(pool, video, around, purpose=purpose)
    coverage = CoverageTracker(plan, key_frames_only=pool.decoder.key_frames_only)
    sessions: list[VideoSession] = []
    with suppress(UnreadableVideo):  # `coverage` has it
        sessions += [session for _, session, _ in open_windows(pool, video, plan, coverage, pin=pin, progress=progress)]
    return sessions, coverage


def clip_plan(pool: "SessionPool", video: "VideoInfo", around: Span, *, purpose: Purpose = "refine") -> SamplingPlan:
    """Return the plan of the clip that shows a span, clamped to the video."""
    inside = Span(max(0.0, math.floor(around.start_s * 10) / 10), min(video.duration_s, around.end_s))
    return pool.planner.plan(video, purpose, span=inside)


def ground(session: VideoSession, query: str, *, progress: Progress = NO_PROGRESS) -> tuple[list[Span], bool]:
    """Return the spans in which a session sees the query, on the video's clock, and whether its reply was readable."""
    profile = session.checkpoint.profile
    generation = session.generate(
        profile.prompts.locate(session, query),
        max_new_tokens=MAX_GROUNDING_TOKENS,
        schema=TimeRange if profile.replies.spans == "json" else None,
        progress=progress,
    )
    for _ in generation:
        pass
    reply = parse_spans(generation.text, session, profile.replies.spans)
    return [event.span for event in reply.events], generation.is_complete and reply.has_form


def with_margin(span: Span) -> Span:
    """Widen a span by the margin that a clip needs; of a span that is too long for a clip, return the middle."""
    if span.duration_s + 2 * MARGIN_S <= MAX_CLIP_S:
        return Span(span.start_s - MARGIN_S, span.end_s + MARGIN_S)
    middle_s = (span.start_s + span.end_s) / 2
    return Span(middle_s - MAX_CLIP_S / 2, middle_s + MAX_CLIP_S / 2)
