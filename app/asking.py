"""Answers in the making, about one or more videos, and what they come to."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from indexing.library import AnsweredQuestion, Provenance, VideoEntry
from model.errors import UnfamiliarFootage
from video.timeline import Span

if TYPE_CHECKING:
    from app.service import Longview
    from model.answerer import Answer, Answering


@dataclass(frozen=True)
class Evidence:
    """A span of a video that an answer rests on."""

    video_id: str
    span: Span


@dataclass(frozen=True)
class AskedAnswer:
    """An answer about one or more videos."""

    text: str
    evidence: tuple[Evidence, ...]
    provenance: tuple[Provenance, ...]
    """Of the answer about each video."""
    first_token_s: float
    total_s: float
    looked_at_s: float
    """Seconds of video that were looked at."""
    frames: int
    grain_s: float
    """The coarsest patch period among the looks."""
    unseen: tuple[Span, ...] = ()
    """What was meant to be looked at, but could not be."""


class Asking:
    """Answers in the making: iterate for pieces of text; `answer` is there when they are finished, and in the library."""

    def __init__(self, question: str, parts: "list[tuple[VideoEntry, Answering | str]]", app: "Longview") -> None:
        """`parts`: each video with its answer to be, or with the reason why there is none."""
        self._question, self._parts, self._app = question, parts, app
        self._text = ""
        self._evidence: list[Evidence] = []

    def __iter__(self) -> Iterator[str]:
        for number, (entry, answering) in enumerate(self._parts):
            if len(self._parts) > 1:
                yield from self._said(f"{chr(10) if number else ''}{self._label(entry)}: ")
            if isinstance(answering, str):
                yield from self._said(answering)
                continue
            try:
                for piece in answering:
                    yield from self._said(piece)
            except UnfamiliarFootage as error:
                if len(self._parts) == 1:
                    raise
                # One video that the checkpoint knows nothing like does not keep the others from answering.
                self._parts[number] = (entry, str(error))
                yield from self._said(str(error))
                continue
            self._finish(entry, answering.answer)

    def _label(self, entry: VideoEntry) -> str:
        """A video's title, with its id where others have the same."""
        is_only = sum(other.title == entry.title for other, _ in self._parts) == 1
        return entry.title if is_only else f"{entry.title} ({entry.video_id})"

    def _said(self, piece: str) -> Iterator[str]:
        self._text += piece
        yield piece

    def _finish(self, entry: VideoEntry, answer: "Answer") -> None:
        spans = tuple(self._app.told_span(entry, span, answer.text) for span in answer.evidence)
        self._evidence += [Evidence(entry.video_id, span) for span in spans]
        self._app.library.add_answer(
            entry.video_id, AnsweredQuestion(self._question, answer.text, spans, self._app.provenance(answer.plan))
        )

    @property
    def answer(self) -> AskedAnswer:
        """The finished answer; only after the iteration."""
        answers = [part.answer for _, part in self._parts if not isinstance(part, str)]
        return AskedAnswer(
            text=self._text.strip(),
            evidence=tuple(self._evidence),
            provenance=tuple(self._app.provenance(answer.plan) for answer in answers),
            first_token_s=answers[0].first_token_s if answers else 0.0,
            total_s=sum(answer.total_s for answer in answers),
            looked_at_s=sum(answer.coverage.seconds for answer in answers),
            frames=sum(answer.coverage.frames for answer in answers),
            grain_s=max((answer.coverage.grain_s for answer in answers), default=0.0),
            unseen=tuple(span for answer in answers for span in answer.coverage.unseen),
        )
