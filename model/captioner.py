"""Dense captions over any length: window by window, then merged into one timeline."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from model.coverage import Coverage, Seen
from model.decoding import PENALTY_AFTER_LOOP, TimedText
from model.engine import REPLY_RESERVE_TOKENS, VideoSession
from model.prompts import DENSE_CAPTIONS
from model.replies import read_events
from model.sessions import OnPart, SessionPool
from video.probe import VideoInfo
from video.sampler import SamplingPlan
from video.timeline import Event, Span

CAPTION_TOKENS = REPLY_RESERVE_TOKENS - 256
"""Longest reply: the reserve less template and question."""

DECODING_SHARE = 0.4
"""Of a window's time, how much is shown for decoding; only for the progress bar."""


@dataclass(frozen=True)
class Captions:
    """The timeline of a video and how far it can be trusted."""

    events: tuple[Event, ...]
    """In order of time, on the video's clock."""
    coverage: Coverage
    """What was looked at; in its `unseen` parts there may be more."""


def caption(pool: SessionPool, video: VideoInfo, plan: SamplingPlan, *, on_part: OnPart | None = None) -> Captions:
    """Caption every window of a plan.

    Raises:
        UnreadableVideo: the video cannot be decoded.
    """
    found: list[list[Event]] = []
    seen = Seen(plan, key_frames_only=pool.decoder.key_frames_only)
    for index, window in enumerate(plan.windows):

        def part(of_window: float, done: int = index) -> None:
            if on_part:
                on_part((done + of_window) / len(plan.windows))

        session = pool.session(video, plan, window, on_part=lambda read: part(read * DECODING_SHARE))
        generation = session.ask(DENSE_CAPTIONS, max_new_tokens=CAPTION_TOKENS, item=TimedText)
        for _ in generation:
            part(DECODING_SHARE + (1 - DECODING_SHARE) * _told_part(generation.text, session))
        if generation.is_looping:
            penalty = PENALTY_AFTER_LOOP
            again = session.ask(DENSE_CAPTIONS, max_new_tokens=CAPTION_TOKENS, item=TimedText, presence_penalty=penalty)
            for _ in again:
                pass
            generation = again if again.is_complete else generation
        part(1.0)
        reading = read_events(generation.text, session)
        seen.add(session, understood=generation.is_complete and reading.is_json)
        found.append([event for event in reading.events if event.text])
    return Captions(tuple(joined(found, grain_s=plan.grain_s)), seen.coverage())


def _told_part(text: str, session: VideoSession) -> float:
    """How far through the window a reply has come, by the last time it has told."""
    times = re.findall(r"\d+\.\d", text[-120:])
    if not times or session.window.duration_s == 0:
        return 0.0
    return min(1.0, max(0.0, (float(times[-1]) + session.clock_offset_s - session.window.start_s) / session.window.duration_s))


def joined(windows: Iterable[list[Event]], *, grain_s: float) -> list[Event]:
    """One timeline from overlapping windows: what is told twice in the same words becomes one event.

    Told twice means: the same text, and spans that overlap or, from two windows, lie no further apart than two patches.
    """
    timeline: list[Event] = []
    for events in windows:
        before = list(timeline)
        for event in events:
            twin = next((old for old in before if _told_twice(old, event, gap_s=2 * grain_s)), None)
            twin = twin or next((old for old in timeline if _told_twice(old, event, gap_s=0.0)), None)
            if twin is None:
                timeline.append(event)
                continue
            both = Span(min(twin.span.start_s, event.span.start_s), max(twin.span.end_s, event.span.end_s))
            timeline[timeline.index(twin)] = Event(both, event.text)
            if twin in before:
                before.remove(twin)
    return sorted(timeline, key=lambda event: event.span)


def _told_twice(first: Event, second: Event, *, gap_s: float) -> bool:
    between_s = -first.span.overlap_s(second.span)
    return first.text == second.text and (between_s <= gap_s if gap_s else between_s < 0)
