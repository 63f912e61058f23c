"""Parse replies in the form of a checkpoint's profile. A reply in another form is an error, and never "nothing was found"."""

import re
from collections.abc import Callable, Iterator
from typing import Any

from longview.model.engine.base import VideoSession
from longview.model.engine.checkpoints.profiles import CaptionForm, SpanForm
from longview.model.tasks.replies import ParsedReply, parse_entries, parse_events, to_events

_NUMBER = r"(\d++(?::\d++){0,2}(?:\.\d++)?)"
_UNIT = r"\s*+(?:s|sec|secs|second|seconds)?"
_RANGE = rf"<?{_NUMBER}{_UNIT}>?\s*+(?:-|–|—|to|and|until)\s*+<?{_NUMBER}{_UNIT}"
_SENTENCE = re.compile(rf"\b(?:happens?|occurs?|takes place|event)\b[^\d<]{{0,40}}{_RANGE}", re.IGNORECASE)
_FROM_TO = re.compile(rf"\b(?:from|between)\b\s*+{_RANGE}", re.IGNORECASE)
_BARE_RANGE = re.compile(rf"^\W*+{_RANGE}\W*+$", re.IGNORECASE)
"""The times alone. Checkpoints that were trained on a sentence sometimes leave out its words."""
_EVENT_LINE = re.compile(
    rf"^[\s*\-•]*+(?:\d++[.)]\s*+)?[<\[(]\s*+{_NUMBER}{_UNIT}\s*+(?:-|–|—|to)\s*+{_NUMBER}{_UNIT}\s*+[>\])]\W*+(\w.*)$"
)
_THOUGHTS = re.compile(r"^.*</think>|^\s*+<think>", re.DOTALL)
"""Thoughts before a reply, or a tag alone, with which the replies of some checkpoints begin."""


def parse_captions(text: str, session: VideoSession, form: CaptionForm) -> ParsedReply:
    """Parse the captions of a session's window."""
    return parse_events(text, session) if form == "json" else _parse(text, session, _event_lines)


def parse_spans(text: str, session: VideoSession, form: SpanForm) -> ParsedReply:
    """Parse the spans that a session sees a query in."""
    if form == "json":
        return parse_events(text, session)
    return _parse(text, session, _SPAN_ENTRIES[form])


def _parse(text: str, session: VideoSession, entries_of: Callable[[str], list[Any] | None]) -> ParsedReply:
    entries = entries_of(_THOUGHTS.sub("", text, count=1))
    return ParsedReply((), 0, has_form=False) if entries is None else to_events(entries, session)


def _pairs(text: str) -> list[Any] | None:
    """Return the pairs of a reply such as `[[0, 3.5], [10, 12]]`; a single pair may stand without the outer list."""
    entries = parse_entries(text)
    if entries is not None and len(entries) == 2 and not any(isinstance(entry, dict | list) for entry in entries):
        return [{"range": entries}]
    return entries


def _sentences(text: str) -> list[Any] | None:
    return _ranges(text, _SENTENCE, _FROM_TO)


def _from_to(text: str) -> list[Any] | None:
    return _ranges(text, _FROM_TO, _SENTENCE)


def _ranges(text: str, *patterns: re.Pattern[str]) -> list[Any] | None:
    """Return the ranges of the first pattern that occurs; None if the reply names none."""
    for pattern in (*patterns, _BARE_RANGE):
        if ranges := [{"start": match[1], "end": match[2]} for match in pattern.finditer(text)]:
            return list(ranges)
    return None


def _event_lines(text: str) -> list[Any] | None:
    """Return the events of lines such as `<0.0 - 2.5> A dog runs.`; None without one. Other lines describe the scene."""
    return list(_matching_lines(text)) or None


def _matching_lines(text: str) -> Iterator[dict[str, str]]:
    for line in text.splitlines():
        if match := _EVENT_LINE.match(line):
            yield {"start": match[1], "end": match[2], "description": match[3]}


_SPAN_ENTRIES: dict[str, Callable[[str], list[Any] | None]] = {
    "pairs": _pairs,
    "sentence": _sentences,
    "from to": _from_to,
}
