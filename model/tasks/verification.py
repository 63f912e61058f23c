"""Verify claims about a span, with a different question from the one that produced the claim."""

from collections.abc import Sequence

from longview.core.progress import NO_PROGRESS, Progress
from longview.core.timeline import Span
from longview.model.engine.base import VideoSession
from longview.model.engine.sessions import SessionPool
from longview.model.tasks.coverage import CoverageTracker
from longview.model.tasks.grounding import clip_plan, open_clip, open_windows, with_margin
from longview.model.tasks.text_match import sentences
from longview.model.tasks.verifier import Verifier
from longview.video.probing.probe import VideoInfo
from longview.video.sampling_plan import Purpose, SamplingPlan

PURPOSE: Purpose = "caption"
"""Purpose of the clip's plan. Presence can be verified without finer frames, and many search results are verified."""
PATCH_PERIOD_TOLERANCE = 1.05
"""Maximum patch period of a warm session, as a multiple of that of the clip that would be opened instead."""


def verify_claim(
    pool: SessionPool, verifier: Verifier, video: VideoInfo, span: Span, claim: str, *, progress: Progress = NO_PROGRESS
) -> bool | None:
    """Whether the video confirms a claim about a span; None if its frames or the replies cannot be read.

    The question goes to a warm session that shows the span, or else to a short clip around it. A claim of several sentences is
    confirmed if each of them is.

    Raises:
        Cancelled: the operation was cancelled.
    """
    warm_session = find_warm_session(pool, verifier, video, span)
    if warm_session is not None:
        sessions, has_gaps = [warm_session], False
    else:
        sessions, coverage = open_clip(pool, video, with_margin(span), purpose=PURPOSE, progress=progress)
        has_gaps = coverage.has_gaps
    if not sessions:
        return None
    is_confirmed: bool | None = True
    for one in sentences(claim) if verifier.templates else [claim]:
        is_confirmed = verify_in(sessions, verifier, span, one, progress=progress)
        if is_confirmed is not True:
            break
    # A warm session may be long, so only what it cannot show of the span counts.
    is_unreadable = has_gaps or any(gap.overlap_s(span) > 0 for session in sessions for gap in session.undecodable)
    return None if is_confirmed is False and is_unreadable else is_confirmed


def verify_in(
    sessions: Sequence[VideoSession], verifier: Verifier, span: Span, claim: str, *, progress: Progress = NO_PROGRESS
) -> bool | None:
    """Whether one of the sessions, which show parts of the span, confirms a claim; None if no reply decides it."""
    replies: list[bool | None] = []
    for session in sessions:
        replies.append(verifier.verify(session, span, claim, progress=progress))
        if replies[-1]:
            return True
    return False if replies and None not in replies else None


def deny_in_windows(
    pool: SessionPool, verifier: Verifier, video: VideoInfo, span: Span, claim: str, progress: Progress = NO_PROGRESS
) -> bool:
    """Whether each window of a span denies a claim. All frames of the span must be readable for it."""
    plan = pool.planner.plan(video, "caption", span=span, progress=progress)
    coverage = CoverageTracker(plan, key_frames_only=pool.decoder.key_frames_only)
    for window, session, step in open_windows(pool, video, plan, coverage, progress=progress):
        if verifier.verify(session, window.span, claim, progress=step) is not False:
            return False
        coverage.add(session)
    return not coverage.has_gaps


def find_warm_session(pool: SessionPool, verifier: Verifier, video: VideoInfo, span: Span) -> VideoSession | None:
    """Return an open session that shows a span as finely as a clip would; None if a clip has to be opened."""
    if verifier.needs_clips:
        return None
    return pool.find_open(video, span, max_patch_period_s=PATCH_PERIOD_TOLERANCE * _plan(pool, video, span).patch_period_s)


def estimated_seconds(
    pool: SessionPool, verifier: Verifier, video: VideoInfo, span: Span, *, reply_tokens: int, progress: Progress = NO_PROGRESS
) -> float | None:
    """Estimate the time to verify a claim about a span, in seconds; 0 if a session is warm, None if the speed is unknown.

    Raises:
        Cancelled: the operation was cancelled before the next step of the measurement of the speed.
    """
    if find_warm_session(pool, verifier, video, span) is not None:
        return 0.0
    return pool.engine.estimated_seconds(_plan(pool, video, span), reply_tokens=reply_tokens, progress=progress)


def _plan(pool: SessionPool, video: VideoInfo, span: Span) -> SamplingPlan:
    return clip_plan(pool, video, with_margin(span), purpose=PURPOSE)
