"""Parse replies into events and spans on the video's clock.

Checkpoints reply in several forms: a list of objects (`start`/`end` or `start_time`/`end_time`), or a dict from ranges to
sentences; fenced or not, cut off or not, in seconds or in clock times. The parser accepts all of them. It counts entries that it
cannot parse, and never invents one.
"""

import itertools
import json
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from longview.core.time_text import TimeReference, parse_time
from longview.core.timeline import Event, Span
from longview.model.engine.base import VideoSession

_START_KEYS = ("start", "start_time", "start_s", "begin", "from")
_END_KEYS = ("end", "end_time", "end_s", "stop", "to")
_RANGE_KEYS = ("range", "time", "timestamp", "time_range", "interval")
_TEXT_KEYS = ("description", "caption", "event", "text", "sentence", "label")
_RANGE = re.compile(r"^\s*+([\d:.,]++)\s*+(?:s|sec|seconds)?\s*+(?:-|–|—|to)\s*+([\d:.,]++)\s*+(?:s|sec|seconds)?\s*+$")
_BEGIN = re.compile(r"[\[{]")
_PAIR = re.compile(r'"([^"\\]*+)"\s*+:\s*+("(?:[^"\\]++|\\.)*+")', re.DOTALL)
"""A key and its text in a dict, each in quotation marks."""
_THOUGHTS = re.compile(r"^.*</think>", re.DOTALL)
_FENCED = re.compile(r"```(?:json)?\s*+(.*?)(?:```|$)", re.DOTALL)
MAX_FAILED_SHARE = 10
"""Maximum number of characters that are read in vain for complete JSON, as a multiple of the reply's length. In a reply that is
cut off, these are the lists and objects around the cut."""


class TimedCaption(BaseModel):
    """One event of a dense-caption reply."""

    start: float
    end: float
    description: str


class TimeRange(BaseModel):
    """One span of a localisation reply."""

    start: float
    end: float


@dataclass(frozen=True)
class ParsedReply:
    """The entries of a reply that could be parsed."""

    events: tuple[Event, ...]
    """Events in order of time, on the video's clock, inside the session's window."""
    rejected_count: int
    """Number of entries without times, with times that are not numbers, or entirely outside the window."""
    has_form: bool
    """Whether the reply was in the expected form, whole or cut off."""
    is_in_order: bool = True
    """Whether the reply had its events in order of time."""


def parse_events(text: str, session: VideoSession) -> ParsedReply:
    """Parse a reply about a session's window; localisation replies give events without text."""
    entries = parse_entries(text)
    return ParsedReply((), 0, has_form=False) if entries is None else to_events(entries, session)


def to_events(entries: Sequence[Any], session: VideoSession) -> ParsedReply:
    """Turn the entries of a reply, objects with two times and perhaps a text, into events on the video's clock."""
    events, rejected_count = [], 0
    for entry in entries:
        event = _event(entry, session)
        if event is None:
            rejected_count += 1
        else:
            events.append(event)
    starts_s = [event.span.start_s for event in events]
    in_time = tuple(sorted(events, key=lambda event: event.span))
    return ParsedReply(in_time, rejected_count, has_form=True, is_in_order=starts_s == sorted(starts_s))


def parse_entries(text: str) -> list[Any] | None:
    """Return the entries of a reply that should be a JSON list; None if it has no JSON, whole or cut off."""
    body = _THOUGHTS.sub("", text)
    fenced_block = _FENCED.search(body)
    body = fenced_block[1] if fenced_block else body
    values = list(_whole_values(body))
    for value in values:
        if isinstance(value, list) and _has_object(value):
            return value
    # Objects one per line, or those before the place where a list is cut off.
    if entries := [entry for value in values if isinstance(value, dict) for entry in _entries_of(value)]:
        return _with_ranges(entries)
    if pairs := list(_whole_pairs(body)):
        return pairs
    items = next((value for value in values if isinstance(value, list)), [])
    return _with_ranges(items) if values else None


def _with_ranges(items: list[Any]) -> list[Any]:
    """Return a list of pairs of a start and an end as objects; any other list as it is."""
    is_pairs = all(isinstance(item, list) and len(item) == 2 for item in items)
    return [{"range": item} for item in items] if is_pairs else items


def _whole_values(body: str) -> Iterator[list[Any] | dict[str, Any]]:
    """Yield the outermost lists and objects of a text that are complete JSON."""
    decoder = json.JSONDecoder(strict=False)
    position, failed_characters = 0, 0
    while failed_characters <= MAX_FAILED_SHARE * len(body) and (begin := _BEGIN.search(body, position)):
        try:
            value, position = decoder.raw_decode(body, begin.start())
        except ValueError as error:
            # A string without an end is read to the end of the text, but its start is the position of the error.
            if isinstance(error, json.JSONDecodeError) and not error.msg.startswith("Unterminated"):
                failed_characters += error.pos - begin.start()
            else:
                failed_characters += len(body) - begin.start()
            position = begin.end()
            continue
        except RecursionError:
            return
        yield value


def _whole_pairs(body: str) -> Iterator[dict[str, Any]]:
    """Yield the complete entries of a dict from ranges to sentences that is cut off or malformed."""
    for match in _PAIR.finditer(body):
        if _RANGE.match(match[1]):
            with suppress(ValueError):
                yield {"range": match[1], "description": json.loads(match[2], strict=False)}


def _has_object(items: list[Any]) -> bool:
    return any(isinstance(item, dict) for item in items)


def _entries_of(data: dict[str, Any]) -> list[Any]:
    """Return the entries of an object: itself, those in its list, or its pairs of a range and a sentence."""
    if any(key in data for key in (*_START_KEYS, *_RANGE_KEYS)):
        return [data]
    if isinstance(spans := data.get("timestamps"), list) and isinstance(texts := data.get("sentences"), list):
        # The form of ActivityNet's annotations.
        return [{"range": span, "sentence": text} for span, text in zip(spans, texts, strict=False)]
    lists = [value for value in data.values() if isinstance(value, list)]
    if lists:
        return next(filter(_has_object, lists), lists[0])
    return [{"range": key, "description": value} for key, value in data.items()]


def _event(entry: Any, session: VideoSession) -> Event | None:
    if not isinstance(entry, dict):
        return None
    start, end = _first_value(entry, _START_KEYS), _first_value(entry, _END_KEYS)
    range_ = _first_value(entry, _RANGE_KEYS)
    if isinstance(range_, str) and (match := _RANGE.match(range_)):
        start, end = match[1], match[2]
    elif isinstance(range_, list) and len(range_) == 2:
        start, end = range_
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
            # A timestamp of the prompt, `<2.0 seconds>`, may be repeated as it is.
            value = parse_time(value.strip().strip("<>"))
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
    """Return the span of two timestamps of a reply; None if it is outside the window.

    A timestamp stands for its whole temporal patch, so the span reaches from the first frame of the first patch to the last
    frame of the last patch. These times are unbiased: an event that is first visible in a frame began after the frame before
    it, and ended before the frame after its last.
    """
    patches = session.patches
    timestamps_s = [patch.timestamp_s for patch in patches]
    # Patches of an unchanged picture may be left out between two others.
    gaps_s = (after - before for before, after in itertools.pairwise(timestamps_s))
    period_s = min(gaps_s, default=session.window.duration_s)
    if start_s > patches[-1].timestamp_s + period_s or end_s < patches[0].timestamp_s - period_s:
        return None
    first = min(patches, key=lambda patch: abs(patch.timestamp_s - start_s))
    last = min(patches, key=lambda patch: abs(patch.timestamp_s - end_s))
    end_s = max(first.last_frame_s, last.last_frame_s)
    if end_s <= first.first_frame_s:
        # A single frame stays on screen until the next one, the last frame until the window ends.
        later_s = (patch.first_frame_s for patch in patches if patch.first_frame_s > first.first_frame_s)
        end_s = min(later_s, default=session.window.end_s)
    return Span(first.first_frame_s, end_s).clamp(session.window)


def cited_spans(times: Sequence[TimeReference], session: VideoSession) -> list[Span]:
    """Return the spans of times that a session's reply names, on the video's clock."""
    return [span for time in times if (span := to_video_clock(time.span.start_s, time.span.end_s, session))]
