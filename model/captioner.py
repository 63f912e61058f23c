"""Dense captions over any length: window by window, each judged and if need be looked at again, then merged into one timeline."""

import functools
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass

from model.checkpoints import Checkpoint
from model.coverage import Coverage, Seen
from model.decoding import PENALTY_AFTER_LOOP, TimedText
from model.doubts import settled
from model.engine import REPLY_RESERVE_TOKENS, VideoSession
from model.familiarity import declined
from model.looking import SAME_EVENT_IOU, shown, where
from model.merging import Told, joined
from model.moments import untold
from model.prompts import DENSE_CAPTIONS, ask_about_moments
from model.quality import Verdict, judged
from model.replies import read_events
from model.sessions import OnPart, SessionPool, Tick
from model.verifier import confirmed, resembles
from video.probe import VideoInfo
from video.sampler import SamplingPlan, Window
from video.timeline import Event, Span, format_time, merged

log = logging.getLogger(__name__)

CAPTION_TOKENS = REPLY_RESERVE_TOKENS - 256
"""Longest reply: the reserve less template and question."""
WINDOWS_SHARE = 0.9
"""Of all work, how much is shown for the windows, the rest being for second looks; only for the progress bar."""
DECODING_SHARE = 0.4
"""Of a window's time, how much is shown for decoding; only for the progress bar."""
AGREED_IOU = 0.5
"""An event keeps its time if asking for it alone gives one that overlaps it that well."""
RATE_AGAIN = 1.5
"""A window whose captions are no good is read again with so many times the frames: other frames, another look."""


@dataclass(frozen=True)
class Captions:
    """The timeline of a video and how far it can be trusted."""

    events: tuple[Event, ...]
    """In order of time, on the video's clock."""
    coverage: Coverage
    """What was looked at; in its `unseen` parts there may be more."""
    unfamiliar: tuple[Span, ...] = ()
    """Windows that the checkpoint does not know the like of; nothing is told of them, and they count as unseen."""


@dataclass(frozen=True)
class _Reply:
    """What one look at a window told."""

    events: tuple[Event, ...]
    verdict: Verdict
    looped: bool


def caption(
    pool: SessionPool, video: VideoInfo, plan: SamplingPlan, *, keep_read: bool = True, on_part: OnPart | None = None
) -> Captions:
    """Caption every window of a plan. `keep_read`: the windows' sessions stay in the pool, for questions to come.

    Each event is asked about once more, and left out if it is not seen. A window whose captions fail the quality gate
    (`model.quality`) is looked at again with other frames; one that fails again keeps the better of the two, and is told
    as unseen. A window that is unfamiliar to the checkpoint is not asked about at all.

    Raises:
        UnreadableVideo: the video cannot be decoded.
    """
    told: list[Told] = []
    seen = Seen(plan, key_frames_only=pool.decoder.key_frames_only)
    furthest = 0.0

    def come_to(part: float) -> None:
        nonlocal furthest
        # A second look at a window does not take back what was done.
        furthest = max(furthest, part)
        if on_part:
            on_part(furthest)

    def come_to_window(index: int, of_window: float) -> None:
        come_to(WINDOWS_SHARE * (index + of_window) / len(plan.windows))

    windows = shown(
        pool, video, plan, seen, keep=keep_read, on_part=lambda index, read: come_to_window(index, read * DECODING_SHARE)
    )
    for index, session in windows:
        window, part = plan.windows[index], functools.partial(come_to_window, index)
        reply = _captioned(session, pool.engine.checkpoint, part)
        if not reply.verdict.passed:
            reply = _better(reply, _again(pool, video, window, part, reply), window.span, plan.grain_s)
        if reply.verdict.faults:
            part_of_it = f"{format_time(window.span.start_s)} to {format_time(window.span.end_s)}"
            log.info("the captions of %s are not to be believed: what was told %s", part_of_it, ", ".join(reply.verdict.faults))
        seen.add(session, understood=not reply.verdict.faults)
        told.append(Told(window.span, reply.events))
        pool.let_go(session)
        part(1.0)
    begun = joined(told, grain_s=plan.grain_s)
    timeline = settled(pool, video, begun, plan, on_part=lambda part: come_to(WINDOWS_SHARE + (1 - WINDOWS_SHARE) * part))
    # Two that were told apart may turn out to be one.
    timeline = joined([Told(plan.span, timeline)], grain_s=plan.grain_s)
    if seen.unfamiliar:
        parts = ", ".join(f"{format_time(span.start_s)} to {format_time(span.end_s)}" for span in merged(seen.unfamiliar))
        log.warning("%s: no captions for %s. %s", video.path.name, parts, declined(pool.engine.checkpoint))
    return Captions(tuple(timeline), seen.coverage(), tuple(seen.unfamiliar))


def _captioned(session: VideoSession, checkpoint: Checkpoint, part: Callable[[float], None], *, penalty: float = 0.0) -> _Reply:
    def tick() -> None:
        part(1.0)

    generation = session.ask(DENSE_CAPTIONS, max_new_tokens=CAPTION_TOKENS, item=TimedText, presence_penalty=penalty)
    for _ in generation:
        part(DECODING_SHARE + (1 - DECODING_SHARE) * _told_part(generation.text, session))
    reading = read_events(generation.text, session)
    checked = (_checked(session, event, checkpoint.question_forms, tick=tick) for event in reading.events if event.text)
    events = [event for event in checked if event is not None]
    if ask_about_moments(checkpoint.question_forms):
        events += untold(session, events, checkpoint, tick=tick)
    return _Reply(tuple(events), judged(generation, reading, session), generation.is_looping)


def _checked(session: VideoSession, event: Event, forms: tuple[str, ...], *, tick: Tick) -> Event | None:
    """The event at the time where the session sees it when it is asked for it alone; None if it does not.

    The session is there, so asking once more is cheap. In a list of events one is easily made up where little happens, and of
    two at the same time one often gets the other's end.
    """
    spans, _ = where(session, event.text, tick=tick)
    alone = max(spans, key=event.span.iou, default=event.span)
    agreement = event.span.iou(alone) if spans else 0.0
    if agreement >= AGREED_IOU:
        return event
    if agreement >= SAME_EVENT_IOU:
        return Event(alone, event.text)
    return event if confirmed(session, event.span, event.text, forms, tick=tick, agrees=resembles) else None


def _again(pool: SessionPool, video: VideoInfo, window: Window, part: Callable[[float], None], first: _Reply) -> _Reply:
    """The same window with more frames. It may take two windows then, whose faults are told together."""
    finest = 1 / pool.engine.checkpoint.trained.seconds_between_frames_min
    plan = pool.plan(video, "caption", span=window.span, fps=min(finest, RATE_AGAIN / window.step_s))
    penalty = PENALTY_AFTER_LOOP if first.looped else 0.0
    seen = Seen(plan)
    told: list[Told] = []
    replies = []
    for index, session in shown(pool, video, plan, seen, keep=False, on_part=lambda *_: part(DECODING_SHARE)):
        reply = _captioned(session, pool.engine.checkpoint, lambda _: part(DECODING_SHARE), penalty=penalty)
        replies.append(reply)
        told.append(Told(plan.windows[index].span, reply.events))
        pool.let_go(session)
    faults = tuple(dict.fromkeys(fault for reply in replies for fault in reply.verdict.faults))
    if seen.coverage().unseen:
        faults += ("could not be looked at again",)
    doubts = tuple(dict.fromkeys(doubt for reply in replies for doubt in reply.verdict.doubts))
    return _Reply(tuple(joined(told, grain_s=plan.grain_s)), Verdict(faults, doubts), any(reply.looped for reply in replies))


def _better(first: _Reply, second: _Reply, window: Span, grain_s: float) -> _Reply:
    """The one with fewer faults; without any, what both tell together: where both stop early, nothing more happens."""
    if first.verdict.faults or second.verdict.faults:
        return min(first, second, key=lambda reply: len(reply.verdict.faults))
    # What lies at the same time is the same, in whatever words: what happens beside it was told by the first look, too.
    more = [event for event in second.events if all(event.span.iou(known.span) < SAME_EVENT_IOU for known in first.events)]
    both = joined([Told(window, first.events), Told(window, more)], grain_s=grain_s)
    return _Reply(tuple(both), second.verdict, looped=False)


def _told_part(text: str, session: VideoSession) -> float:
    """How far through the window a reply has come, by the last time it has told."""
    times = re.findall(r"\d+\.\d", text[-120:])
    if not times or session.window.duration_s == 0:
        return 0.0
    return min(1.0, max(0.0, (float(times[-1]) + session.clock_offset_s - session.window.start_s) / session.window.duration_s))
