"""Cost estimates of tasks before they run: sessions, generated replies, and time.

The counts are exact if they depend on the sampling plan only. Tokens and time follow `SamplingPlan.kept_share`. The number of
checks depends on how many events the checkpoint reports, so a cost with checks is an estimate.
"""

import functools
import operator
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TypeVar

from longview.core.progress import Progress
from longview.core.timeline import Span
from longview.model.engine.sessions import SessionPool
from longview.model.tasks.chapters import MAX_PART_CHARACTERS
from longview.model.tasks.context import TaskContext
from longview.model.tasks.grounding import MARGIN_S, clip_plan
from longview.model.tasks.options import AnswerOptions, CaptionOptions, LocateOptions
from longview.model.tasks.transcript_context import SegmentsWithin, no_segments, transcript_context
from longview.model.tasks.verifier import Verifier
from longview.video.probing.probe import VideoInfo
from longview.video.sampling_plan import SamplingPlan

EVENTS_PER_MINUTE = 5.0
"""Typical number of captions per minute of video."""
CAPTIONS_TOKENS, SUMMARY_TOKENS, ANSWER_TOKENS, GROUNDING_TOKENS, VERIFICATION_TOKENS = 300, 300, 100, 30, 4
"""Typical lengths of replies, in tokens: captions of a window, chapters or summary, answer, spans of an event, yes or no."""
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
    prompt_tokens: int
    """Number of tokens that are prefilled for these sessions: frames, timestamps and transcript, without the questions."""
    seconds: float | None
    """Estimated time to prefill and to generate, in seconds; None if the speed is unknown. Decoding usually takes place at the
    same time."""
    text_generations: int = 0
    """Estimated number of generated replies to prompts without a video."""
    is_exact: bool = True
    """Whether the numbers of sessions and of replies about them are exact."""
    sent_bytes: int | None = None
    """Estimated size of the frames that are sent to a server; None for a model that runs here."""
    usd: float | None = None
    """Estimated price of the model's host, in US dollars; None where no price is known."""

    def __add__(self, other: "Cost") -> "Cost":
        """Return the cost of both. The time is unknown if one of them is."""
        return Cost(
            self.sessions + other.sessions,
            self.generations + other.generations,
            self.prompt_tokens + other.prompt_tokens,
            None if self.seconds is None or other.seconds is None else self.seconds + other.seconds,
            self.text_generations + other.text_generations,
            is_exact=self.is_exact and other.is_exact,
            sent_bytes=_add_known(self.sent_bytes, other.sent_bytes),
            usd=_add_known(self.usd, other.usd),
        )


def captions_cost(task: TaskContext, plan: SamplingPlan, options: CaptionOptions, *, finished: Collection[int] = ()) -> Cost:
    """Estimate the cost of `longview.model.tasks.captioner.caption`, and of chapters and summary.

    `finished`: positions of windows that are captioned already, and cost nothing more.

    Raises:
        Cancelled: the operation was cancelled before the next step of the measurement of the speed.
    """
    pool, verifier, video, progress = task.pool, task.verifier, task.video, task.progress
    events = max(1, round(plan.span.duration_s / 60 * EVENTS_PER_MINUTE))
    parts = -(-events * CAPTION_CHARACTERS // MAX_PART_CHARACTERS)
    text_generations = 0 if verifier.templates else parts + 1
    remaining = plan.without_windows(finished)
    windows = len(remaining.windows) if remaining else 0
    sessions, generations = windows, windows
    tokens = windows * CAPTIONS_TOKENS + text_generations * SUMMARY_TOKENS
    clips = 0
    transcript_tokens = _transcript_tokens(pool, remaining, task.transcript) if remaining else 0
    prompt_tokens = pool.engine.prefix_tokens(remaining) + transcript_tokens if remaining else 0
    if options.verify:
        verified_events = round(events * windows / len(plan.windows))
        generations += verified_events
        tokens += verified_events * GROUNDING_TOKENS
    if options.refine:
        clips = (len(plan.windows) - 1) + (round(events * CONTESTED_SHARE) if verifier.timestamps else 0)
        sessions += clips
        generations += clips
    if remaining:
        reply_tokens = tokens // windows
        seconds = pool.engine.estimated_seconds(
            remaining, reply_tokens=reply_tokens, transcript_tokens=transcript_tokens, progress=progress
        )
    else:
        seconds = _reply_seconds(pool, plan, tokens, progress)
    if clips:
        prompt_tokens += clips * pool.engine.prefix_tokens(_clip_plan(pool, video))
        clip_seconds = _clip_seconds(pool, video, GROUNDING_TOKENS) or 0.0
        seconds = None if seconds is None else seconds + clips * clip_seconds
    cost = Cost(sessions, generations, prompt_tokens, seconds, text_generations, is_exact=not (options.verify or options.refine))
    return _with_requests(cost, pool, remaining or plan, tokens)


def locate_cost(
    pool: SessionPool,
    verifier: Verifier,
    video: VideoInfo,
    plan: SamplingPlan,
    options: LocateOptions,
    grounding: SessionPool | None = None,
) -> Cost:
    """Estimate the cost of `longview.model.tasks.localizer.locate` for a query that does not occur.

    `plan`: the windows of the checkpoint that verifies. `grounding`: sessions of the one that locates, if it is another.
    """
    windows = len(plan.windows)
    replies = verifier.max_verification_replies if options.verify else 0
    if grounding is None:
        seconds = pool.engine.estimated_seconds(plan, reply_tokens=GROUNDING_TOKENS + replies * VERIFICATION_TOKENS)
        cost = Cost(windows, windows * (1 + replies), pool.engine.prefix_tokens(plan), seconds, is_exact=replies <= 1)
        return _with_requests(cost, pool, plan, windows * (GROUNDING_TOKENS + replies * VERIFICATION_TOKENS))
    own_plan = grounding.planner.plan(video, "caption", span=plan.span)
    own_windows, tokens = len(own_plan.windows), grounding.engine.prefix_tokens(own_plan)
    seconds = grounding.engine.estimated_seconds(own_plan, reply_tokens=GROUNDING_TOKENS)
    cost = _with_requests(Cost(own_windows, own_windows, tokens, seconds), grounding, own_plan, own_windows * GROUNDING_TOKENS)
    if not options.verify:
        return cost
    if not grounding.engine.checkpoint.profile.capabilities.absence:
        # It names a span in each window, and each is denied in a clip.
        return cost + _times(_clip_cost(pool, video, 0, replies, has_clip=True), own_windows)
    seconds = pool.engine.estimated_seconds(plan, reply_tokens=replies * VERIFICATION_TOKENS)
    verification = Cost(windows, windows * replies, pool.engine.prefix_tokens(plan), seconds, is_exact=False)
    return cost + _with_requests(verification, pool, plan, windows * replies * VERIFICATION_TOKENS)


def occurrence_cost(
    pool: SessionPool, verifier: Verifier, video: VideoInfo, options: LocateOptions, grounding: SessionPool | None = None
) -> Cost:
    """Estimate the cost that each occurrence adds to that of `locate`. A long occurrence costs twice as much.

    `grounding`: see `locate_cost`.
    """
    replies = verifier.max_verification_replies if options.verify else 0
    if grounding is None:
        has_clip = options.refine or (options.verify and verifier.needs_clips)
        return _clip_cost(pool, video, int(options.refine), replies, has_clip=has_clip)
    refinement = _clip_cost(grounding, video, int(options.refine), 0, has_clip=options.refine)
    return refinement + _clip_cost(pool, video, 0, replies, has_clip=options.verify)


def _clip_cost(pool: SessionPool, video: VideoInfo, groundings: int, verifications: int, *, has_clip: bool) -> Cost:
    """Estimate the cost of replies about one clip. `has_clip`: whether it is opened for them."""
    plan, tokens = _clip_plan(pool, video), groundings * GROUNDING_TOKENS + verifications * VERIFICATION_TOKENS
    seconds = _clip_seconds(pool, video, tokens) if has_clip else 0.0
    prompt_tokens = pool.engine.prefix_tokens(plan) if has_clip else 0
    cost = Cost(int(has_clip), groundings + verifications, prompt_tokens, seconds, is_exact=False)
    return _with_requests(cost, pool, plan, tokens)


def answer_cost(
    pool: SessionPool,
    verifier: Verifier,
    video: VideoInfo,
    plan: SamplingPlan,
    options: AnswerOptions,
    *,
    transcript: SegmentsWithin = no_segments,
) -> Cost:
    """Estimate the cost of an answer that names one time, about the window that a question needs.

    A warm session costs less. With verification each further time costs as much as the first. `transcript`: see `captions_cost`.
    """
    transcript_tokens = _transcript_tokens(pool, plan, transcript)
    seconds = pool.engine.estimated_seconds(plan, reply_tokens=ANSWER_TOKENS, transcript_tokens=transcript_tokens)
    if seconds is not None:
        seconds /= len(plan.windows)
    prompt_tokens = (pool.engine.prefix_tokens(plan) + transcript_tokens) // len(plan.windows)
    if not options.verify:
        return _with_requests(Cost(1, 1, prompt_tokens, seconds), pool, plan, ANSWER_TOKENS)
    tokens = verifier.max_verification_replies * VERIFICATION_TOKENS
    if seconds is not None:
        seconds += _clip_seconds(pool, video, tokens) or 0.0
    prompt_tokens += pool.engine.prefix_tokens(_clip_plan(pool, video))
    cost = Cost(2, 1 + verifier.max_verification_replies, prompt_tokens, seconds, is_exact=False)
    return _with_requests(cost, pool, plan, ANSWER_TOKENS + tokens)


def _times(cost: Cost, count: int) -> Cost:
    return functools.reduce(operator.add, [cost] * count)


NumberT = TypeVar("NumberT", int, float)


def _add_known(first: NumberT | None, second: NumberT | None) -> NumberT | None:
    """Add what one or both of two checkpoints send or cost; one that runs here has none."""
    return second if first is None else first if second is None else first + second


def _with_requests(cost: Cost, pool: SessionPool, plan: SamplingPlan, reply_tokens: int) -> Cost:
    """Return a cost with what its requests to a server send and cost. `plan`: the windows of most of its sessions."""
    requests = pool.engine.request_cost(
        plan,
        prompt_tokens=cost.prompt_tokens,
        sessions=cost.sessions,
        replies=cost.generations,
        reply_tokens=reply_tokens,
    )
    return replace(cost, sent_bytes=requests.sent_bytes, usd=requests.usd) if requests else cost


def _transcript_tokens(pool: SessionPool, plan: SamplingPlan, transcript: SegmentsWithin) -> int:
    """Count the tokens of the transcript in all windows. Those that the library does not have yet cannot be counted."""
    contexts = (transcript_context(pool, plan, window, transcript).prompt for window in plan.windows)
    return sum(pool.engine.count_tokens(context) for context in contexts if context)


def _reply_seconds(pool: SessionPool, plan: SamplingPlan, reply_tokens: int, progress: Progress) -> float | None:
    """Estimate the time of replies alone, as if they were about the first window of a plan."""
    first = plan.without_windows(range(1, len(plan.windows)))
    assert first is not None
    with_replies = pool.engine.estimated_seconds(first, reply_tokens=reply_tokens, progress=progress)
    without = pool.engine.estimated_seconds(first, reply_tokens=0, progress=progress)
    return None if with_replies is None or without is None else with_replies - without


def _clip_seconds(pool: SessionPool, video: VideoInfo, reply_tokens: int) -> float | None:
    return pool.engine.estimated_seconds(_clip_plan(pool, video), reply_tokens=reply_tokens)


def _clip_plan(pool: SessionPool, video: VideoInfo) -> SamplingPlan:
    return clip_plan(pool, video, Span(0.0, CLIP_EVENT_S + 2 * MARGIN_S))
