"""Dense captions over any length: window by window, then merged into one timeline."""

from collections.abc import Iterable
from dataclasses import dataclass

from model.prompts import DENSE_CAPTIONS
from model.replies import read_events
from model.sessions import RESERVED_TOKENS, OnWindow, SessionPool
from video.probe import VideoInfo
from video.sampler import SamplingPlan
from video.timeline import Event, Span

CAPTION_TOKENS = RESERVED_TOKENS - 256
"""Longest reply: the reserve less template and question."""


@dataclass(frozen=True)
class Captions:
    """The timeline of a video and how far it can be trusted."""

    events: tuple[Event, ...]
    """In order of time, on the video's clock."""
    incomplete: tuple[Span, ...]
    """Windows whose reply could not be read, or ended before it was finished: there may be more in them."""


def caption(pool: SessionPool, video: VideoInfo, plan: SamplingPlan, *, on_window: OnWindow | None = None) -> Captions:
    """Caption every window of a plan.

    Raises:
        UnreadableVideo: the video cannot be decoded.
    """
    found: list[list[Event]] = []
    incomplete = []
    for index, window in enumerate(plan.windows):
        if on_window:
            on_window(index, len(plan.windows))
        session = pool.session(video, plan, window)
        generation = session.ask(DENSE_CAPTIONS, max_new_tokens=CAPTION_TOKENS)
        for _ in generation:
            pass
        reading = read_events(generation.text, session)
        if not generation.is_complete or not reading.is_json:
            incomplete.append(window.span)
        found.append([event for event in reading.events if event.text])
    if on_window:
        on_window(len(plan.windows), len(plan.windows))
    return Captions(tuple(joined(found, grain_s=plan.grain_s)), tuple(incomplete))


def joined(windows: Iterable[list[Event]], *, grain_s: float) -> list[Event]:
    """One timeline from overlapping windows: an event that two windows tell in the same words becomes one.

    Told twice means: the same text, and spans that overlap or lie no further apart than two patches.
    """
    timeline: list[Event] = []
    for events in windows:
        before = list(timeline)
        for event in events:
            twin = next((old for old in before if old.text == event.text and old.span.overlap_s(event.span) >= -2 * grain_s), None)
            if twin is None:
                timeline.append(event)
            else:
                both = Span(min(twin.span.start_s, event.span.start_s), max(twin.span.end_s, event.span.end_s))
                timeline[timeline.index(twin)] = Event(both, event.text)
                before.remove(twin)
    return sorted(timeline, key=lambda event: event.span)
