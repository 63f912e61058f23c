"""Parse a question: the query whose time it asks for, the times that it names, and the earlier turns that fit beside it."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from longview.core.time_format import format_time
from longview.core.time_text import TimeReference, find_times, known_times, replace_times
from longview.core.timeline import Span
from longview.model.errors import InvalidQuestion

if TYPE_CHECKING:
    from longview.model.engine.base import ChatTurn, VideoSession

MAX_QUESTION_CHARACTERS = 2000
"""Maximum length of a question or query. It is compared with all passages, and stands in the prompt with the frames."""
MAX_HISTORY_BYTES = 2000
"""Maximum size of earlier turns and the question, in bytes of UTF-8: at most 700 tokens, in any script, of the reserve for
question and reply. The oldest turns are dropped first."""
_WHEN_QUESTION = re.compile(
    r"(?:when|at (?:what|which) (?:time|point|moment)s?|where in the video)\s++"
    r"(?:can (?:i|we|you) see|could (?:i|we) see|do (?:i|we) see|does|do|did|is|are|was|were|will)\s++(?P<what>.+?)"
    r"(?:(?<!\s)\s++(?:appear|happen|occur|show up|visible|shown|seen|on screen|present)(?:s|ing)?)?"
    r"(?:(?<!\s)\s++in (?:the|this) video)?",
    re.IGNORECASE,
)
_ARTICLE = re.compile(r"^(?:the|any|there)\s++", re.IGNORECASE)


class Question:
    """A question, with the times that it names. It is parsed once, and then asked about any number of videos."""

    def __init__(self, text: str) -> None:
        """Find the times in a question.

        Raises:
            InvalidQuestion: the question is empty or too long.
        """
        check_length(text, "question")
        if not text.strip():
            raise InvalidQuestion("The question is empty; ask something about the video.")
        self.text = text.strip()
        self.times = find_times(self.text)
        """The times and ranges that the question names, in reading order."""

    @property
    def when(self) -> str | None:
        """The thing whose time the question asks for, if it names no time itself."""
        return None if self.times else when_query(self.text)

    @property
    def without_times(self) -> str:
        """The question without the times that it names."""
        return replace_times(self.text, self.times, lambda _: " ")

    def about(self, duration_s: float) -> "VideoQuestion":
        """Return the question about a video of that length, in seconds.

        Raises:
            InvalidQuestion: the question names a time that the video does not have.
        """
        return VideoQuestion(self, duration_s)


class VideoQuestion:
    """A question about one video, with the times that it names there."""

    def __init__(self, question: Question, duration_s: float) -> None:
        """See `Question.about`."""
        self.text, self.when = question.text, question.when
        self._times = tuple(reference.in_video(duration_s) for reference in question.times)
        for reference in self._times:
            if reference.start_s < 0:
                raise InvalidQuestion("The question names a negative time; times count from the start of the video.")
            if reference.start_s >= duration_s:
                raise InvalidQuestion(
                    f"The question names {format_time(reference.start_s)}, but the video is only {format_time(duration_s)} long."
                )
        self.range = next((reference.span for reference in self._times if not reference.is_point), None)
        """The first range that the question names."""
        self.timestamp_s = next((reference.start_s for reference in self._times if reference.is_point), None)
        """The first single time that the question names, in seconds."""

    @property
    def span(self) -> Span | None:
        """The first range that the question names, else its first single time, as a span of length 0; None without a time."""
        if self.range is None and self.timestamp_s is not None:
            return Span(self.timestamp_s, self.timestamp_s)
        return self.range

    def in_seconds(self, session: "VideoSession | None" = None) -> str:
        """Return the question with its times in seconds, as timestamps state them.

        With a session the times are on its clock, and a single time becomes the nearest timestamp.
        """
        offset_s = session.clock_offset_s if session else 0.0

        def words_of(reference: TimeReference) -> str:
            if reference.is_point:
                time_s = self.nearest_timestamp(session) if session else reference.start_s
                return reference.in_seconds.format(f"{time_s:.1f}")
            if offset_s:
                return f"from {reference.span.start_s - offset_s:.1f} to {reference.span.end_s - offset_s:.1f} seconds"
            return reference.in_seconds

        return replace_times(self.text, self._times, words_of)

    def nearest_timestamp(self, session: "VideoSession") -> float:
        """Return the timestamp of a session that is nearest to the time in the question, in seconds on the session's clock."""
        requested_s = (self.timestamp_s or 0.0) - session.clock_offset_s
        return min((patch.timestamp_s for patch in session.patches), key=lambda timestamp_s: abs(timestamp_s - requested_s))


def check_length(text: str, kind: str) -> None:
    """Refuse a text that is too long for a question or query; `kind` names it in the message.

    Raises:
        InvalidQuestion: the text has more than `MAX_QUESTION_CHARACTERS`.
    """
    if len(text) > MAX_QUESTION_CHARACTERS:
        raise InvalidQuestion(
            f"The {kind} is {len(text):,} characters long; at most {MAX_QUESTION_CHARACTERS:,} are allowed; make it shorter."
        )


def when_query(question: str) -> str | None:
    """Return what a question asks the time of (`When does the red circle appear?` -> `red circle`); None for other questions."""
    match = _WHEN_QUESTION.fullmatch(" ".join(question.split()).rstrip("?!. "))
    return _ARTICLE.sub("", match["what"]) if match else None


def without_times(text: str) -> str:
    """Replace every time in a text by a word: it is on the clock of one session and would be wrong in another."""
    return replace_times(text, known_times(text), lambda reference: "that time" if reference.is_point else "then")


def shift_times(text: str, by_s: float) -> str:
    """Move every time in a text by `by_s` seconds."""

    def words_of(reference: TimeReference) -> str:
        span: Span = reference.span.shift(by_s)
        return f"{span.start_s:.1f} seconds" if reference.is_point else f"from {span.start_s:.1f} to {span.end_s:.1f} seconds"

    return replace_times(text, known_times(text), words_of)


def recent_turns(history: "Sequence[ChatTurn]", question: str) -> "list[ChatTurn]":
    """Return the latest turns that fit beside the question, oldest first."""
    turns: list[ChatTurn] = []
    remaining = MAX_HISTORY_BYTES - len(question.encode())
    for turn in reversed(history):
        remaining -= len(turn.question.encode()) + len(turn.answer.encode())
        if remaining < 0:
            break
        turns.append(turn)
    return turns[::-1]
