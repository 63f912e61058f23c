"""What a question asks: its length, the thing whose time it asks for, and the times that it names."""

import re
from collections.abc import Sequence

from longview.model.engine.base import ChatTurn
from longview.model.errors import InvalidQuestion
from longview.video.time_text import find_times

MAX_QUESTION_CHARACTERS = 2000
"""Of a question or query. Finding the times in a text takes the square of its length: 2,000 characters a few milliseconds."""


_WHEN_QUESTION = re.compile(
    r"(?:when|at (?:what|which) (?:time|point|moment)s?|where in the video)\s+"
    r"(?:can (?:i|we|you) see|could (?:i|we) see|do (?:i|we) see|does|do|did|is|are|was|were|will)\s+(?P<what>.+?)"
    r"(?:\s+(?:appear|happen|occur|show up|visible|shown|seen|on screen|present)(?:s|ing)?)?(?:\s+in (?:the|this) video)?",
    re.IGNORECASE,
)


_ARTICLE = re.compile(r"^(?:the|any|there)\s+", re.IGNORECASE)


def check_length(text: str, what: str) -> None:
    """Refuse a question or query that is too long to be one.

    Raises:
        BadQuestion: with `what` it is.
    """
    if len(text) > MAX_QUESTION_CHARACTERS:
        raise InvalidQuestion(
            f"The {what} is {len(text):,} characters long; at most {MAX_QUESTION_CHARACTERS:,} are read: make it shorter."
        )


def when_query(question: str) -> str | None:
    """What a question asks the time of: `When does the red circle appear?` -> `red circle`; None for other questions."""
    match = _WHEN_QUESTION.fullmatch(" ".join(question.split()).rstrip("?!. "))
    return _ARTICLE.sub("", match["what"]) if match else None


MAX_HISTORY_BYTES = 2000
"""Of earlier turns and the question, in UTF-8: at most 700 tokens, in any script, of the reserve for question and reply.
The oldest turns are forgotten first."""


def without_times(text: str) -> str:
    for reference in reversed(find_times(text, duration_s=float("inf"))):
        words = "that time" if reference.is_point else "then"
        text = text[: reference.text_start] + words + text[reference.text_end :]
    return text


def recent_turns(history: Sequence[ChatTurn], question: str) -> list[ChatTurn]:
    """The latest turns that there is room for beside the question."""
    kept: list[ChatTurn] = []
    room = MAX_HISTORY_BYTES - len(question.encode())
    for turn in reversed(history):
        room -= len(turn.question.encode()) + len(turn.answer.encode())
        if room < 0:
            break
        kept.append(turn)
    return kept[::-1]


def shift_times(text: str, by_s: float) -> str:
    """The text with every time in it moved by `by_s` seconds."""
    for reference in reversed(find_times(text, duration_s=float("inf"))):
        span = reference.span.shifted(by_s)
        words = f"{span.start_s:.1f} seconds" if reference.is_point else f"from {span.start_s:.1f} to {span.end_s:.1f} seconds"
        text = text[: reference.text_start] + words + text[reference.text_end :]
    return text
