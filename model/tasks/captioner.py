"""Dense captions over any length: window by window, each judged and if need be looked at again, then merged into one timeline."""

import functools
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass

from longview.model.demo.probing import find_missed_events
from longview.model.demo.templates import has_timestamp_template
from longview.model.engine.base import REPLY_RESERVE_TOKENS, VideoSession
from longview.model.engine.checkpoints import Checkpoint
from longview.model.engine.generation import RETRY_PRESENCE_PENALTY
from longview.model.engine.ood import out_of_distribution_error
from longview.model.engine.sessions import OnFraction, SessionPool, Tick
from longview.model.tasks.coverage import Coverage, CoverageTracker
from longview.model.tasks.grounding import MIN_SAME_EVENT_IOU, ground, open_windows
from longview.model.tasks.merging import WindowCaptions, merge_windows
from longview.model.tasks.prompts import DENSE_CAPTIONS
from longview.model.tasks.quality import QualityReport, check_captions
from longview.model.tasks.refiner import refine_timeline
from longview.model.tasks.replies import TimedCaption, parse_events
from longview.model.tasks.text_match import has_paraphrase
from longview.model.tasks.verifier import confirm_span
from longview.video.probe import VideoInfo
from longview.video.sampler import SamplingPlan, Window
from longview.video.time_text import format_time
from longview.video.timeline import Event, Span, merge_spans

log = logging.getLogger(__name__)

MAX_CAPTION_TOKENS = REPLY_RESERVE_TOKENS - 256
"""Longest reply: the reserve less template and question."""
WINDOWS_PROGRESS_SHARE = 0.9
"""Of all work, how much is shown for the windows, the rest being for second looks; only for the progress bar."""
DECODING_PROGRESS_SHARE = 0.4
"""Of a window's time, how much is shown for decoding; only for the progress bar."""
AGREEMENT_IOU = 0.5
"""An event keeps its time if asking for it alone gives one that overlaps it that well."""
RETRY_FPS_FACTOR = 1.5
"""A window whose captions are no good is read again with so many times the frames: other frames, another look."""


@dataclass(frozen=True)
class Captions:
    """The timeline of a video and how far it can be trusted."""

    events: tuple[Event, ...]
    """In order of time, on the video's clock."""
    coverage: Coverage
    """What was looked at; in its `unseen` parts there may be more."""
    out_of_distribution: tuple[Span, ...] = ()
    """Windows that the checkpoint does not know the like of; nothing is told of them, and they count as unseen."""


@dataclass(frozen=True)
class _Reply:
    """What one look at a window told."""

    events: tuple[Event, ...]
    quality: QualityReport
    is_repetitive: bool


def caption(
    pool: SessionPool, video: VideoInfo, plan: SamplingPlan, *, keep_sessions: bool = True, on_part: OnFraction | None = None
) -> Captions:
    """Caption every window of a plan. `keep_read`: the windows' sessions stay in the pool, for questions to come.

    Each event is asked about once more, and left out if it is not seen. A window whose captions fail the quality gate
    (`longview.model.tasks.quality`) is looked at again with other frames; one that fails again keeps the better of the two, and is told
    as unseen. A window that is unfamiliar to the checkpoint is not asked about at all.

    Raises:
        UnreadableVideo: the video cannot be decoded.
    """
    told: list[WindowCaptions] = []
    seen = CoverageTracker(plan, key_frames_only=pool.decoder.key_frames_only)
    furthest = 0.0

    def come_to(part: float) -> None:
        nonlocal furthest
        # A second look at a window does not take back what was done.
        furthest = max(furthest, part)
        if on_part:
            on_part(furthest)

    def come_to_window(index: int, of_window: float) -> None:
        come_to(WINDOWS_PROGRESS_SHARE * (index + of_window) / len(plan.windows))

    windows = open_windows(
        pool,
        video,
        plan,
        seen,
        pin=keep_sessions,
        on_part=lambda index, read: come_to_window(index, read * DECODING_PROGRESS_SHARE),
    )
    for index, session in windows:
        window, part = plan.windows[index], functools.partial(come_to_window, index)
        reply = _caption_window(session, pool.engine.checkpoint, part)
        if not reply.quality.passed:
            reply = _best_of(reply, _retry_window(pool, video, window, part, reply), window.span, plan.patch_period_s)
        if reply.quality.errors:
            part_of_it = f"{format_time(window.span.start_s)} to {format_time(window.span.end_s)}"
            log.info("the captions of %s are not to be believed: what was told %s", part_of_it, ", ".join(reply.quality.errors))
        seen.add(session, is_readable=not reply.quality.errors)
        told.append(WindowCaptions(window.span, reply.events))
        pool.release(session)
        part(1.0)
    begun = merge_windows(told, patch_period_s=plan.patch_period_s)
    timeline = refine_timeline(
        pool, video, begun, plan, on_part=lambda part: come_to(WINDOWS_PROGRESS_SHARE + (1 - WINDOWS_PROGRESS_SHARE) * part)
    )
    # Two that were told apart may turn out to be one.
    timeline = merge_windows([WindowCaptions(plan.span, timeline)], patch_period_s=plan.patch_period_s)
    if seen.out_of_distribution:
        parts = ", ".join(
            f"{format_time(span.start_s)} to {format_time(span.end_s)}" for span in merge_spans(seen.out_of_distribution)
        )
        log.warning("%s: no captions for %s. %s", video.path.name, parts, out_of_distribution_error(pool.engine.checkpoint))
    return Captions(tuple(timeline), seen.coverage(), tuple(seen.out_of_distribution))


def _caption_window(
    session: VideoSession, checkpoint: Checkpoint, part: Callable[[float], None], *, penalty: float = 0.0
) -> _Reply:
    def tick() -> None:
        part(1.0)

    generation = session.generate(DENSE_CAPTIONS, max_new_tokens=MAX_CAPTION_TOKENS, item=TimedCaption, presence_penalty=penalty)
    for _ in generation:
        part(DECODING_PROGRESS_SHARE + (1 - DECODING_PROGRESS_SHARE) * _reply_progress(generation.text, session))
    reading = parse_events(generation.text, session)
    checked = (_verify_event(session, event, checkpoint.question_templates, tick=tick) for event in reading.events if event.text)
    events = [event for event in checked if event is not None]
    if has_timestamp_template(checkpoint.question_templates):
        events += find_missed_events(session, events, checkpoint, tick=tick)
    return _Reply(tuple(events), check_captions(generation, reading, session), generation.is_repetitive)


def _verify_event(session: VideoSession, event: Event, forms: tuple[str, ...], *, tick: Tick) -> Event | None:
    """The event at the time where the session sees it when it is asked for it alone; None if it does not.

    The session is there, so asking once more is cheap. In a list of events one is easily made up where little happens, and of
    two at the same time one often gets the other's end.
    """
    spans, _ = ground(session, event.text, tick=tick)
    alone = max(spans, key=event.span.iou, default=event.span)
    agreement = event.span.iou(alone) if spans else 0.0
    if agreement >= AGREEMENT_IOU:
        return event
    if agreement >= MIN_SAME_EVENT_IOU:
        return Event(alone, event.text)
    return event if confirm_span(session, event.span, event.text, forms, tick=tick, agrees=has_paraphrase) else None


def _retry_window(pool: SessionPool, video: VideoInfo, window: Window, part: Callable[[float], None], first: _Reply) -> _Reply:
    """The same window with more frames. It may take two windows then, whose faults are told together."""
    finest = 1 / pool.engine.checkpoint.trained_range.min_frame_period_s
    plan = pool.plan(video, "caption", span=window.span, fps=min(finest, RETRY_FPS_FACTOR / window.frame_period_s))
    penalty = RETRY_PRESENCE_PENALTY if first.is_repetitive else 0.0
    seen = CoverageTracker(plan)
    told: list[WindowCaptions] = []
    replies = []
    for index, session in open_windows(pool, video, plan, seen, pin=False, on_part=lambda *_: part(DECODING_PROGRESS_SHARE)):
        reply = _caption_window(session, pool.engine.checkpoint, lambda _: part(DECODING_PROGRESS_SHARE), penalty=penalty)
        replies.append(reply)
        told.append(WindowCaptions(plan.windows[index].span, reply.events))
        pool.release(session)
    faults = tuple(dict.fromkeys(fault for reply in replies for fault in reply.quality.errors))
    if seen.coverage().uncovered:
        faults += ("could not be looked at again",)
    doubts = tuple(dict.fromkeys(doubt for reply in replies for doubt in reply.quality.warnings))
    return _Reply(
        tuple(merge_windows(told, patch_period_s=plan.patch_period_s)),
        QualityReport(faults, doubts),
        any(reply.is_repetitive for reply in replies),
    )


def _best_of(first: _Reply, second: _Reply, window: Span, patch_period_s: float) -> _Reply:
    """The one with fewer faults; without any, what both tell together: where both stop early, nothing more happens."""
    if first.quality.errors or second.quality.errors:
        return min(first, second, key=lambda reply: len(reply.quality.errors))
    # What lies at the same time is the same, in whatever words: what happens beside it was told by the first look, too.
    more = [event for event in second.events if all(event.span.iou(known.span) < MIN_SAME_EVENT_IOU for known in first.events)]
    both = merge_windows([WindowCaptions(window, first.events), WindowCaptions(window, more)], patch_period_s=patch_period_s)
    return _Reply(tuple(both), second.quality, is_repetitive=False)


def _reply_progress(text: str, session: VideoSession) -> float:
    """How far through the window a reply has come, by the last time it has told."""
    times = re.findall(r"\d+\.\d", text[-120:])
    if not times or session.window.duration_s == 0:
        return 0.0
    return min(1.0, max(0.0, (float(times[-1]) + session.clock_offset_s - session.window.start_s) / session.window.duration_s))
