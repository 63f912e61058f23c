"""Cost estimates of tasks before they run: sessions, generated replies, and time.

The counts are exact if they depend on the sampling plan only. The number of checks depends on how many events the checkpoint
reports, so a cost with checks is an estimate.
"""

from dataclasses import dataclass

from longview.model.engine.sessions import SessionPool
from longview.model.tasks.chapters import MAX_PART_CHARACTERS
from longview.model.tasks.grounding import MARGIN_S, clip_plan
from longview.model.tasks.options import CaptionOptions, LocateOptions
from longview.model.tasks.prober import Prober
from longview.video.probe import VideoInfo
from longview.video.sampler import SamplingPlan
from longview.video.timeline import Span

EVENTS_PER_MINUTE = 5.0
"""Typical number of captions per minute of video."""
CAPTIONS_TOKENS, ANSWER_TOKENS, GROUNDING_TOKENS, VERIFICATION_TOKENS = 300, 100, 30, 4
"""Typical lengths of the replies, in tokens: the captions of one window, an answer, the spans of one event, a yes or a no."""
CAPTION_CHARACTERS = 80
"""Typical length of one caption in a prompt about chapters, in characters."""
CONTESTED_SHARE = 0.25
"""Typical share of the events whose boundaries are refined, for a checkpoint that answers questions about timestamps."""
CLIP_EVENT_S = 5.0
"""Typical length of an event for which a clip is opened, in seconds."""


@dataclass(frozen=True)
class Cost:
    """The cost of a task."""

    sessions: int
    """Number of opened sessions."""
    generations: int
    """Number of generated replies about these sessions."""
    seconds: float
    """Estimated time to prefill and to generate, in seconds. Decoding usually takes place at the same time."""
    text_generations: int = 0
    """Number of generated replies to prompts without a video."""
    is_exact: bool = True
    """Whether the counts are exact."""


def captions_cost(pool: SessionPool, prober: Prober, video: VideoInfo, plan: SamplingPlan, options: CaptionOptions) -> Cost:
    """Estimate the cost of `longview.model.tasks.captioner.caption`, and of chapters and summary."""
    windows = len(plan.windows)
    events = max(1, round(plan.span.duration_s / 60 * EVENTS_PER_MINUTE))
    sessions, generations, tokens = windows, windows, windows * CAPTIONS_TOKENS
    seconds = 0.0
    if options.verify:
        generations += events
        tokens += events * GROUNDING_TOKENS
    if options.refine:
        clips = (windows - 1) + (round(events * CONTESTED_SHARE) if prober.timestamps else 0)
        sessions += clips
        generations += clips
        seconds += clips * _clip_seconds(pool, video, GROUNDING_TOKENS)
    seconds += pool.engine.estimated_seconds(plan, reply_tokens=tokens // windows)
    parts = -(-events * CAPTION_CHARACTERS // MAX_PART_CHARACTERS)
    text_generations = 0 if prober.templates else parts + 1
    return Cost(sessions, generations, seconds, text_generations, is_exact=not (options.verify or options.refine))


def locate_cost(pool: SessionPool, plan: SamplingPlan, options: LocateOptions) -> Cost:
    """Estimate the cost of `longview.model.tasks.localizer.locate` for a query that does not occur."""
    windows = len(plan.windows)
    tokens = GROUNDING_TOKENS + (VERIFICATION_TOKENS if options.verify else 0)
    seconds = pool.engine.estimated_seconds(plan, reply_tokens=tokens)
    return Cost(windows, windows * (2 if options.verify else 1), seconds)


def occurrence_cost(pool: SessionPool, video: VideoInfo, options: LocateOptions) -> Cost:
    """Estimate the cost that each occurrence adds to that of `locate`."""
    tokens = (GROUNDING_TOKENS if options.refine else 0) + (VERIFICATION_TOKENS if options.verify else 0)
    seconds = _clip_seconds(pool, video, tokens) if options.refine else 0.0
    return Cost(int(options.refine), int(options.refine) + int(options.verify), seconds)


def answer_cost(pool: SessionPool, plan: SamplingPlan) -> Cost:
    """Estimate the cost of an answer about the window that a question needs; a warm session costs less."""
    seconds = pool.engine.estimated_seconds(plan, reply_tokens=ANSWER_TOKENS)
    return Cost(1, 1, seconds / len(plan.windows))


def _clip_seconds(pool: SessionPool, video: VideoInfo, reply_tokens: int) -> float:
    plan = clip_plan(pool, video, Span(0.0, CLIP_EVENT_S + 2 * MARGIN_S))
    return pool.engine.estimated_seconds(plan, reply_tokens=reply_tokens)
