"""Rules for the values of rows: the form and the range of each column of each table, of all versions of the schema.

A database may come from a back-up of somebody else, or be damaged. What restores, checks or recovers one holds every value to
these rules; the code that reads rows relies on them.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from longview.indexing.records.track import VIDEO_ID
from longview.indexing.text.titles import SORTED_CHARACTERS

Value = None | int | float | str | bytes
Rule = Callable[[Value], bool]
"""Whether a column may have a value."""

MAX_TIME_S = 1e8
"""Maximum time in a row, in seconds: three years."""
MAX_NAME_CHARS = 4096
"""Maximum length of titles, names of models, identifiers and the like, in characters."""
MAX_PATH_CHARS = 32_767
"""Maximum length of a path, in characters: that of Windows; Linux and macOS allow fewer."""
MAX_TEXT_CHARS = 4_000_000
"""Maximum length of a text for display, and of a JSON document, in characters."""
MAX_JSON_DEPTH = 20
MAX_JSON_INTEGER = (1 << 63) - 1
"""Maximum integer in a JSON document: times of change of files are nanoseconds."""
MAX_COUNT = 1 << 53
"""Maximum of a counter: beyond it, floating-point numbers are not exact."""
MAX_FOREIGN_COUNT = 1 << 40
"""Maximum of a counter and of the number of a row in a database that somebody else may have written: all numbers that follow are
within the rules, too."""
MAX_LANGUAGE_CHARS = 100
"""Maximum length of a language, in characters; a user may state one in words."""
MAX_SPANS, MAX_CITATIONS = 100_000, 10_000
"""Maximum number of spans in a document, and of those that an answer cites: a page reads many answers at once."""
MIN_YEAR, MAX_YEAR = 1970, 2200
MAX_ROW_NUMBER = (1 << 62) - 1
"""Maximum number of a row. SQLite would take random numbers for new rows after the largest one that it can store."""

COUNTERS = frozenset({"revision", "generation"})
"""Tables of one row with one number."""
_NUMBERED_TABLES = frozenset({"tracks", "earlier_tracks", "earlier_segments", "changes"})
_COUNTER_COLUMNS = frozenset(
    {"seq", "attempts", "crashes", "partial_results", "answer_id", "caption_id", "job_id", "passage_id", "segment_id"}
)
_HASH = re.compile(r"[0-9a-f]{12,128}")
_HASH_OR_NONE = re.compile(r"|[0-9a-f]{12,128}")
_SOURCE = re.compile(r"[a-z][a-z_]{0,29}")
_SURROGATE = re.compile("[\ud800-\udfff]")
_FIELD_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_TRACK_STATUS = re.compile(r"complete|incomplete|declined|failed")
_JOB_STATUS = re.compile(r"waiting|running|paused|failed|done|cancelled")
_JOB_REQUEST = re.compile(r"|pause|cancel")
_ERROR_CODE = re.compile(r"[a-z_]{0,60}")
_CHANGE_KINDS = ("video", "position", "conversation")


def broken_columns(table: str, row: Mapping[str, Value], *, is_foreign: bool = False) -> list[str]:
    """Return the columns of a row whose values break their rules; [] for a row that Longview could have written.

    `is_foreign`: somebody else may have written the row; counters must leave room for those that follow.
    """
    columns = [
        name
        for name, value in row.items()
        if not rule_of(table, name)(value) or (is_foreign and _is_counter(table, name) and _is_beyond(value))
    ]
    if columns:
        return columns
    start_s, end_s = row.get("start_s"), row.get("end_s")
    if isinstance(start_s, float | int) and isinstance(end_s, float | int) and start_s > end_s:
        columns.append("end_s")
    if table == "videos" and not str(row["content_hash"]).startswith(str(row["video_id"])):
        columns.append("video_id")
    return columns


def rule_of(table: str, column: str) -> Rule:
    """Return the rule of a column; one that no version of the schema has may have no value."""
    return _TABLE_RULES.get((table, column)) or _RULES.get(column, _is_unknown)


def _is_unknown(value: Value) -> bool:  # noqa: ARG001
    return False


def _is_counter(table: str, column: str) -> bool:
    return column in _COUNTER_COLUMNS or (column == "number" and table in (*COUNTERS, *_NUMBERED_TABLES))


def _is_beyond(value: Value) -> bool:
    return isinstance(value, int) and value > MAX_FOREIGN_COUNT


# -- values ------------------------------------------------------------------------------------------------------------


def _text(max_chars: int, pattern: re.Pattern[str] | None = None) -> Rule:
    def is_text(value: Value) -> bool:
        return _is_text(value, max_chars) and (pattern is None or pattern.fullmatch(str(value)) is not None)

    return is_text


def _integer(minimum: int, maximum: int) -> Rule:
    return lambda value: type(value) is int and minimum <= value <= maximum


def _number(minimum: float, maximum: float) -> Rule:
    # SQLite stores a whole number of a column of type REAL as an integer, and returns it as a floating-point number.
    return lambda value: type(value) in (int, float) and minimum <= value <= maximum  # type: ignore[operator]


def _optional(rule: Rule) -> Rule:
    return lambda value: value is None or rule(value)


def _json(is_allowed: Callable[[Any], bool]) -> Rule:
    def is_document(value: Value) -> bool:
        if not isinstance(value, str) or len(value) > MAX_TEXT_CHARS:
            return False
        try:
            content = json.loads(value)
        except (ValueError, RecursionError):
            return False
        return _is_plain(content) and is_allowed(content)

    return is_document


def _is_text(value: object, max_chars: int = MAX_TEXT_CHARS) -> bool:
    """Whether a value is a text without lone surrogates, which stand for bytes that are not UTF-8."""
    return isinstance(value, str) and len(value) <= max_chars and (value.isascii() or _SURROGATE.search(value) is None)


def _is_plain(content: Any, depth: int = 0) -> bool:
    """Whether a JSON value has no number that is not finite or too large, no lone surrogate, and is not nested too deeply."""
    if depth > MAX_JSON_DEPTH:
        return False
    if isinstance(content, dict):
        return all(_is_text(key) and _is_plain(value, depth + 1) for key, value in content.items())
    if isinstance(content, list):
        return all(_is_plain(item, depth + 1) for item in content)
    if isinstance(content, int):
        return abs(content) <= MAX_JSON_INTEGER
    if isinstance(content, float):
        return math.isfinite(content)
    return content is None or _is_text(content)


def is_language(value: object) -> bool:
    """Whether a value can be stored as the language of a text: a code, or words of a user."""
    return _is_text(value, MAX_LANGUAGE_CHARS) and str(value).isprintable()


def _is_date(value: Value) -> bool:
    """Whether a value is a time with its time zone, as ISO 8601."""
    if not isinstance(value, str) or len(value) > 40:
        return False
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return False
    return moment.tzinfo is not None and MIN_YEAR <= moment.year <= MAX_YEAR


def _is_date_or_empty(value: Value) -> bool:
    return value == "" or _is_date(value)


def _is_path(value: Value) -> bool:
    return _is_text(value, MAX_PATH_CHARS) and value != "" and "\0" not in str(value)


def _is_name(value: Value) -> bool:
    return _is_text(value, MAX_NAME_CHARS) and "\0" not in str(value)


# -- documents ---------------------------------------------------------------------------------------------------------


def _is_object(content: Any) -> bool:
    return isinstance(content, dict)


def _are_spans(content: Any) -> bool:
    return isinstance(content, list) and len(content) <= MAX_SPANS and all(_is_span(item, 2) for item in content)


def _are_titled_spans(content: Any) -> bool:
    return isinstance(content, list) and len(content) <= MAX_SPANS and all(_is_titled_span(item) for item in content)


def _is_titled_span(item: Any) -> bool:
    return _is_span(item, 3) and isinstance(item[2], str)


def _are_words(content: Any) -> bool:
    return isinstance(content, list) and all(
        _is_span(item, 4) and isinstance(item[2], str) and (item[3] is None or _is_share(item[3])) for item in content
    )


def _is_span(item: Any, length: int) -> bool:
    if not isinstance(item, list) or len(item) != length or any(type(bound) not in (int, float) for bound in item[:2]):
        return False
    return bool(0 <= item[0] <= item[1] <= MAX_TIME_S)


def _is_share(value: Any) -> bool:
    # The sum of floating-point probabilities may exceed 1 by a rounding error.
    return type(value) in (int, float) and -0.01 <= value <= 1.01


def _is_box(content: Any) -> bool:
    if not isinstance(content, list) or len(content) != 4 or not all(_is_share(bound) for bound in content):
        return False
    left, top, right, bottom = content
    return bool(0 <= left <= right <= 1 and 0 <= top <= bottom <= 1)


def _are_counts(content: Any) -> bool:
    return isinstance(content, dict) and all(
        is_language(name) and type(count) is int and count >= 0 for name, count in content.items()
    )


_FACTS: dict[str, Callable[[Any], bool]] = {
    "width": lambda value: type(value) is int and 0 <= value <= 1 << 20,
    "height": lambda value: type(value) is int and 0 <= value <= 1 << 20,
    "fps": lambda value: type(value) in (int, float) and value >= 0,
    "codec": lambda value: value is None or _is_name(value),
    "container": _is_name,
    "has_audio": lambda value: isinstance(value, bool),
    "size_bytes": lambda value: type(value) is int and value >= 0,
    "browser_plays": lambda value: isinstance(value, bool),
}
"""The facts about a video file that are shown (`longview.app.ingest.indexer`)."""


def _are_facts(content: Any) -> bool:
    return isinstance(content, dict) and all(
        _FACTS[name](value) if name in _FACTS else not isinstance(value, dict | list) for name, value in content.items()
    )


_PLAN: dict[str, Callable[[Any], bool]] = {
    "windows": lambda value: isinstance(value, list),
    "patch_period_s": lambda value: type(value) in (int, float) and value > 0,
    "origins": lambda value: isinstance(value, list) and all(isinstance(item, list) and item for item in value),
    "frames": lambda value: type(value) is int and value >= 0,
}
"""What is read of the plan of a track for display (`longview.indexing.records.provenance_text`)."""


def _is_plan(content: Any) -> bool:
    return isinstance(content, dict) and all(_PLAN[name](value) for name, value in content.items() if name in _PLAN)


def _is_optional(kind: type) -> Callable[[Any], bool]:
    return lambda value: value is None or type(value) is kind


def _is_optional_time(value: Any) -> bool:
    return value is None or (type(value) in (int, float) and 0 <= value <= MAX_TIME_S)


_OPTIONS: dict[str, Callable[[Any], bool]] = {
    "start_s": _is_optional_time,
    "end_s": _is_optional_time,
    "sources": lambda value: value is None or (isinstance(value, list) and all(isinstance(item, str) for item in value)),
    "context_tokens": _is_optional(int),
    "title": _is_optional(str),
    "accepts_long": lambda value: isinstance(value, bool),
}
"""The options of a job (`longview.app.ingest.options.IndexOptions`)."""


def _are_options(content: Any) -> bool:
    return isinstance(content, dict) and all(name in _OPTIONS and _OPTIONS[name](value) for name, value in content.items())


def _are_settings(content: Any) -> bool:
    """Whether a JSON value is an object of fields with plain values or lists of texts. Settings are only compared."""
    return isinstance(content, dict) and all(
        _FIELD_NAME.fullmatch(name)
        and not isinstance(value, dict)
        and (not isinstance(value, list) or all(isinstance(item, str) for item in value))
        for name, value in content.items()
    )


# -- tables ------------------------------------------------------------------------------------------------------------

_row_number, _count = _integer(1, MAX_ROW_NUMBER), _integer(0, MAX_COUNT)
_time_s, _position = _number(0.0, MAX_TIME_S), _integer(0, MAX_COUNT)
_long_text = _text(MAX_TEXT_CHARS)
_object, _spans, _titled_spans = _json(_is_object), _json(_are_spans), _json(_are_titled_spans)
_citations = _json(lambda content: _are_spans(content) and len(content) <= MAX_CITATIONS)

_RULES: dict[str, Rule] = {
    "added_at": _is_date,
    "answer": _long_text,
    "answer_id": _row_number,
    "asked_at": _is_date,
    "attempts": _count,
    "box": _optional(_json(_is_box)),
    "caption_id": _row_number,
    "changed_at": _is_date,
    "chapters": _titled_spans,
    "checkpoint": _is_name,
    "citations": _citations,
    "cleared_at": _is_date_or_empty,
    "committed": _long_text,
    "confidence": _optional(_is_share),
    "content": _object,
    "content_hash": _text(MAX_NAME_CHARS, _HASH),
    "crashes": _count,
    "done_s": _time_s,
    "duration_s": _time_s,
    "position_s": _time_s,
    "end_s": _time_s,
    "error_code": _text(MAX_NAME_CHARS, _ERROR_CODE),
    "evidence": _citations,
    "facts": _json(_are_facts),
    "fraction": _number(0.0, 1.0),
    "frames_read": _count,
    "incomplete": _spans,
    "indexed_at": _is_date,
    "job_id": _row_number,
    "kind": lambda value: value in _CHANGE_KINDS,
    "language": _optional(is_language),
    "modified_ns": _integer(-(1 << 63), (1 << 63) - 1),
    "note": _long_text,
    "number": _row_number,
    "options": _json(_are_options),
    "origin": _is_name,
    "owner": _is_name,
    "partial_results": _count,
    "passage_id": _row_number,
    "path": _is_path,
    "plan": _json(_is_plan),
    "position": _position,
    "priority": _integer(-MAX_COUNT, MAX_COUNT),
    "profile": _is_name,
    "prompt_version": _is_name,
    "question": _long_text,
    "reason": _long_text,
    "removed_at": _is_date_or_empty,
    "replaced_at": _is_date,
    "request": _text(MAX_NAME_CHARS, _JOB_REQUEST),
    "revision": _is_name,
    "run": _object,
    "seconds_left": _optional(_number(0.0, math.inf)),
    "seconds_spent": _time_s,
    "segment_counts": _json(_are_counts),
    "segment_id": _row_number,
    "settings": _json(_are_settings),
    "size_bytes": _integer(0, MAX_ROW_NUMBER),
    "sort_title": _text(SORTED_CHARACTERS),
    "source": _text(MAX_NAME_CHARS, _SOURCE),
    "stage": _is_name,
    "start_s": _time_s,
    "state": _object,
    "status": _text(MAX_NAME_CHARS, _TRACK_STATUS),
    "summary": _long_text,
    "text": _long_text,
    "title": _is_name,
    "uncovered": _spans,
    "updated_at": _is_date,
    "video_id": _text(MAX_NAME_CHARS, VIDEO_ID),
    "watched_at": _is_date_or_empty,
    "words": _optional(_json(_are_words)),
}
"""The rules of columns, by their names: columns of the same name in several tables have the same meaning."""

_TABLE_RULES: dict[tuple[str, str], Rule] = {
    ("captions", "source"): _is_name,
    ("generation", "number"): _count,
    ("revision", "number"): _count,
    ("sqlite_sequence", "name"): _text(MAX_NAME_CHARS, _FIELD_NAME),
    ("sqlite_sequence", "seq"): _integer(0, MAX_ROW_NUMBER),
    ("jobs", "content_hash"): _text(MAX_NAME_CHARS, _HASH_OR_NONE),
    ("jobs", "position"): _number(-MAX_COUNT, MAX_COUNT),
    ("jobs", "status"): _text(MAX_NAME_CHARS, _JOB_STATUS),
}
"""The rules of columns that have another meaning in one table."""
