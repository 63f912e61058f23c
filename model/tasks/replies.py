"""Reply text -> events and spans, on the video's clock.

Checkpoints reply in several forms: a list of objects (`start`/`end` or `start_time`/`end_time`), a dict from ranges to
sentences, fenced or not, cut off in the middle or not, in seconds or in clock times. Each is read; what cannot be
read is counted, never invented.
"""

import json
import math
import re
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from longview.model.engine.base import VideoSession
from longview.video.time_text import find_times, parse_time
from longview.video.timeline import Event, Span

_START_KEYS = ("start", "start_time", "start_s", "begin", "from")
_END_KEYS = ("end", "end_time", "end_s", "stop", "to")
_TEXT_KEYS = ("description", "caption", "event", "text", "sentence", "label")
_RANGE = re.compile(r"^\s*([\d:.,]+)\s*(?:s|sec|seconds)?\s*(?:-|–|—|to)\s*([\d:.,]+)\s*(?:s|sec|seconds)?\s*$")


@dataclass(frozen=True)
class ParsedReply:
    """What could be read from a reply."""

    events: tuple[Event, ...]
    """In order of time, on the video's clock, inside the session's window."""
    rejected: int
    """Entries that made no sense: no times, times that are no numbers, or entirely outside the window."""
    is_json: bool
    """Whether the reply was JSON in the asked form at all, whole or cut off."""
    is_in_order: bool = True
    """Whether the reply itself told them in order of time."""


def parse_events(text: str, session: VideoSession) -> ParsedReply:
    """Read a reply about a session's window; localisation replies give events without text."""
    entries = parse_entries(text)
    if entries is None:
        return ParsedReply((), 0, is_json=False)
    events, rejected = [], 0
    for entry in entries:
        event = _event(entry, session)
        if event is None:
            rejected += 1
        else:
            events.append(event)
    starts_s = [event.span.start_s for event in events]
    in_time = tuple(sorted(events, key=lambda event: event.span))
    return ParsedReply(in_time, rejected, is_json=True, is_in_order=starts_s == sorted(starts_s))


def parse_entries(text: str) -> list[Any] | None:
    """The entries of a reply that should be a JSON list; None if there is no JSON in it, whole or cut off."""
    body = re.sub(r"^.*</think>", "", text, flags=re.DOTALL)
    fenced = re.search(r"```(?:json)?\s*(.*?)(?:```|$)", body, re.DOTALL)
    body = fenced[1] if fenced else body
    begin = re.search(r"[\[{]", body)
    if begin is None:
        return None
    body = body[begin.start() :]
    try:
        data, _ = json.JSONDecoder().raw_decode(body)
    except (ValueError, RecursionError):
        return _whole_objects(body)
    if isinstance(data, list):
        return data
    if isinstance(data, dict):
        if any(key in data for key in _START_KEYS):
            # Without a list around them there may be more objects, one a line.
            return _whole_objects(body) or [data]
        lists = [value for value in data.values() if isinstance(value, list)]
        if len(data) == 1 and lists:
            return lists[0]
        return [{"range": key, "description": value} for key, value in data.items()]
    return None


def _whole_objects(body: str) -> list[Any] | None:
    """The complete innermost objects of JSON that was cut off or is broken."""
    found = []
    for match in re.finditer(r"\{[^{}]*\}", body):
        try:
            found.append(json.loads(match[0]))
        except ValueError:
            continue
    return found or None


def _event(entry: Any, session: VideoSession) -> Event | None:
    if not isinstance(entry, dict):
        return None
    start, end = _first_value(entry, _START_KEYS), _first_value(entry, _END_KEYS)
    if isinstance(entry.get("range"), str) and (match := _RANGE.match(entry["range"])):
        start, end = match[1], match[2]
    start_s, end_s = _seconds(start), _seconds(end)
    if start_s is None or end_s is None:
        return None
    span = to_video_clock(min(start_s, end_s), max(start_s, end_s), session)
    if span is None:
        return None
    text = _first_value(entry, _TEXT_KEYS)
    return Event(span, " ".join(text.split()) if isinstance(text, str) else "")


def _first_value(entry: dict[str, Any], keys: tuple[str, ...]) -> Any:
    return next((entry[key] for key in keys if key in entry), None)


def _seconds(value: Any) -> float | None:
    if isinstance(value, str):
        try:
            value = parse_time(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        seconds = float(value)
    except OverflowError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def to_video_clock(start_s: float, end_s: float, session: VideoSession) -> Span | None:
    """The stretch of video that a model means by two marker times.

    A marker stands for its whole temporal patch, so the span reaches from the first patch's first frame to the last
    patch's last frame: an event seen first in one frame began after the frame before it and ended before the frame
    after its last, which makes these two times the unbiased ones. None if the span lies outside the window.
    """
    markers = session.patches
    grain_s = markers[1].timestamp_s - markers[0].timestamp_s if len(markers) > 1 else session.window.duration_s
    if start_s > markers[-1].timestamp_s + grain_s:
        return None
    first = min(markers, key=lambda patch: abs(patch.timestamp_s - start_s))
    last = min(markers, key=lambda patch: abs(patch.timestamp_s - end_s))
    end_s = max(first.last_frame_s, last.last_frame_s)
    if end_s <= first.first_frame_s:
        # A lone frame is on screen until the window ends.
        end_s = session.window.end_s
    return Span(first.first_frame_s, end_s).clamped(session.window)


class TimedCaption(BaseModel):
    """One event of a dense-caption reply."""

    start: float
    end: float
    description: str


class TimeRange(BaseModel):
    """One moment of a localisation reply."""

    start: float
    end: float


def cited_spans(text: str, session: VideoSession) -> list[Span]:
    """The spans, on the video's clock, that a session's reply names."""
    times = find_times(text, duration_s=float("inf"))
    return [span for time in times if (span := to_video_clock(time.span.start_s, time.span.end_s, session))]
