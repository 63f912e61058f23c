"""Looking at windows, and again at short spans, whatever of them can be looked at."""

import math
from collections.abc import Callable, Iterator

from longview.model.demo.templates import timestamp_question
from longview.model.engine.base import VideoSession
from longview.model.engine.sessions import OnFraction, SessionPool, Tick
from longview.model.tasks.coverage import CoverageTracker
from longview.model.tasks.prompts import localize_prompt
from longview.model.tasks.replies import TimeRange, parse_events
from longview.video.errors import UnreadableVideo
from longview.video.probe import VideoInfo
from longview.video.sampler import Purpose, SamplingPlan
from longview.video.timeline import Span

MAX_REPLY_TOKENS = 512
MARGIN_S = 4.0
"""Seconds around a find that are looked at again: twice the coarse patch at the usual rate, and room to see what was before."""
MAX_CLIP_S = 60.0
"""Spans up to this length are looked at at the finest step; of longer ones only parts, or at the usual step."""
MIN_SAME_EVENT_IOU = 0.2
"""A second look must agree so well with the first to have seen the same."""


def open_windows(
    pool: SessionPool,
    video: VideoInfo,
    plan: SamplingPlan,
    coverage: CoverageTracker,
    *,
    pin: bool = True,
    on_part: Callable[[int, float], None] = lambda _window, _part: None,
) -> Iterator[tuple[int, VideoSession]]:
    """The windows of a plan that can be looked at, by index, each with its session; what can't be is noted in `seen`.

    One window without readable pictures, or of a kind that the checkpoint does not know, does not cost the others.
    `on_part` is told a window's index and how much of it is decoded. `keep`: see `SessionPool.session`.

    Raises:
        UnreadableVideo: after the last window, if none has a picture.
    """
    failures = []
    for index, window in enumerate(plan.windows):

        def part(done: float, of: int = index) -> None:
            on_part(of, done)

        try:
            session = pool.session(video, plan, window, pin=pin, on_part=part)
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
    purpose: Purpose = "look",
    pin: bool = True,
    on_part: OnFraction | None = None,
) -> tuple[list[VideoSession], CoverageTracker]:
    """The sessions that show a span, as far as the video reaches, and what of it was seen; none where nothing can be.

    `keep`: see `SessionPool.session`.
    """
    inside = Span(max(0.0, math.floor(around.start_s * 10) / 10), min(video.duration_s, around.end_s))
    plan = pool.plan(video, purpose, span=inside)
    seen = CoverageTracker(plan, key_frames_only=pool.decoder.key_frames_only)
    sessions = []
    try:
        for _, session in open_windows(
            pool, video, plan, seen, pin=pin, on_part=lambda _, part: on_part(part) if on_part else None
        ):
            sessions.append(session)
    except UnreadableVideo:
        pass  # it is noted in `seen`
    return sessions, seen


def ground(session: VideoSession, query: str, *, tick: Tick) -> tuple[list[Span], bool]:
    """Where one session sees what a query says, on the video's clock; and whether its reply was whole and could be read."""
    generation = session.generate(localize_prompt(query), max_new_tokens=MAX_REPLY_TOKENS, item=TimeRange)
    for _ in generation:
        tick()
    reading = parse_events(generation.text, session)
    return [event.span for event in reading.events], generation.is_complete and reading.is_json


def describe_at(session: VideoSession, timestamp_s: float, templates: tuple[str, ...], *, tick: Tick) -> str:
    """What a session says happens at one of its markers, on the clock of the markers; one of the forms asks about a moment."""
    question = timestamp_question(timestamp_s, templates)
    assert question is not None
    generation = session.generate(question, max_new_tokens=MAX_REPLY_TOKENS)
    for _ in generation:
        tick()
    return generation.text


def with_margin(span: Span) -> Span:
    """A span with the margin that a look needs; of one that is too long its middle."""
    if span.duration_s + 2 * MARGIN_S <= MAX_CLIP_S:
        return Span(span.start_s - MARGIN_S, span.end_s + MARGIN_S)
    middle_s = (span.start_s + span.end_s) / 2
    return Span(middle_s - MAX_CLIP_S / 2, middle_s + MAX_CLIP_S / 2)
