"""Answers in the making, about one or more videos, and what they come to."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from longview.app.errors import VideoGone
from longview.app.progress import OnProgress, StagedProgress
from longview.indexing.library import AnsweredQuestion, Provenance, VideoEntry
from longview.model.engine.base import ChatTurn
from longview.model.errors import Cancelled, InvalidQuestion, ModelError
from longview.model.tasks.question import check_length, when_query
from longview.video.errors import VideoError
from longview.video.time_text import format_time
from longview.video.timeline import Span

if TYPE_CHECKING:
    from longview.app.service import Longview
    from longview.model.tasks.answerer import VideoAnswer, VideoAnswerStream

MAX_LIBRARY_MOMENTS = 5
"""Of the library, how many moments are looked at again for one question."""
MIN_LIBRARY_SCORE_SHARE = 0.6
"""Of the best moment's score; what fits much worse is about something else."""
LIBRARY_MARGIN_S = 10.0
"""Seconds around such a moment that are looked at: what led to it, and what came of it."""


@dataclass(frozen=True)
class Citation:
    """A span of a video that an answer rests on."""

    video_id: str
    span: Span


@dataclass(frozen=True)
class Answer:
    """An answer about one or more videos."""

    text: str
    citations: tuple[Citation, ...]
    provenance: tuple[Provenance, ...]
    """Of the answer about each video."""
    first_token_s: float
    total_s: float
    covered_s: float
    """Seconds of video that were looked at."""
    frames: int
    patch_period_s: float
    """The coarsest patch period among the looks."""
    uncovered: tuple[Span, ...] = ()
    """What was meant to be looked at, but could not be."""


@dataclass(frozen=True)
class VideoPart:
    """One video's share of an answer."""

    entry: VideoEntry
    answering: "VideoAnswerStream | str"
    """The answer to be, or the reason why there is none."""
    restrict_to: Span | None = None
    """The only part of the video that is looked at; None: all of it."""


class AnswerStream:
    """Answers in the making: iterate for pieces of text; `answer` is there when they are finished.

    What was answered about a video is kept in the library, with that video; what was answered about the whole library is not.
    """

    def __init__(
        self,
        question: str,
        app: "Longview",
        *,
        label_videos: bool = False,
        cancel_event: threading.Event | None = None,
        on_progress: OnProgress | None = None,
    ) -> None:
        """`always_name`: say which video an answer is about, even of one alone. `stopping`: set by whoever no longer wants it.

        `on_progress`: told how far the looking has come, before and between the pieces of text.
        """
        self._question, self._app, self._label_videos = question, app, label_videos
        self.parts: list[VideoPart] = []
        """To be filled before the iteration."""
        self.empty_message = ""
        """What is said if there is no part at all."""
        self._cancel_event = cancel_event or threading.Event()
        self._stages, self._fraction = StagedProgress(on_progress), 0.0
        self._text = ""
        self._citations: list[Citation] = []

    def cancel(self) -> None:
        """Give up, from any thread: the iteration ends with `Stopped` within a chunk of frames or a token.

        Where the model is served elsewhere, with the next word that comes from there.
        """
        self._cancel_event.set()

    def check_cancelled(self, fraction: float = 0.0) -> None:
        """Asked again and again while something is worked at, with the part of it that is done.

        Raises:
            Stopped: `stop` was called.
        """
        if self._cancel_event.is_set():
            raise Cancelled("Stopped.")
        self._fraction = max(self._fraction, fraction)
        self._stages(self._fraction)

    def __iter__(self) -> Iterator[str]:
        if not self.parts:
            yield from self._append(self.empty_message)
        for number, part in enumerate(self.parts):
            # With the first words, so that whoever waits for them knows that they are still to come.
            label = f"{chr(10) if number else ''}{self._label(part)}: " if len(self.parts) > 1 or self._label_videos else ""
            if isinstance(part.answering, str):
                yield from self._append(label + part.answering)
                continue
            self._stages.begin(f"looking at {part.entry.title}", until=(number + 1) / len(self.parts))
            self._fraction = 0.0
            self.check_cancelled()
            try:
                for piece in part.answering:
                    yield from self._append(label + piece)
                    label = ""
                if label:
                    yield from self._append(label)
            except Cancelled:
                raise
            except (ModelError, VideoError, VideoGone) as error:
                if len(self.parts) == 1:
                    raise
                # One video that cannot be read, or that the checkpoint knows nothing like, does not keep others from answering.
                self.parts[number] = replace(part, answering=str(error))
                yield from self._append(label + str(error))
                continue
            self._finish(part.entry, part.answering.answer)

    def _label(self, part: VideoPart) -> str:
        """A video's title, with its id where others have the same, and the part of it that is looked at."""
        entry = part.entry
        same = {other.entry.video_id for other in self.parts if other.entry.title == entry.title}
        label = entry.title if len(same) == 1 else f"{entry.title} ({entry.video_id})"
        return (
            label
            if part.restrict_to is None
            else f"{label}, {format_time(part.restrict_to.start_s)} to {format_time(part.restrict_to.end_s)}"
        )

    def _append(self, piece: str) -> Iterator[str]:
        self._text += piece
        yield piece

    def _finish(self, entry: VideoEntry, answer: "VideoAnswer") -> None:
        spans = tuple(self._app.widen_to_caption(entry, span, answer.text) for span in answer.citations)
        self._citations += [Citation(entry.video_id, span) for span in spans]
        if self._label_videos:
            # An answer about the library is no part of the conversation about one of its videos.
            return
        # Who stopped it, or cleared the conversation, does not find it there later.
        self.check_cancelled()
        self._app.library.add_chat_turn(
            entry.video_id, AnsweredQuestion(self._question, answer.text, spans, self._app.provenance(answer.plan))
        )

    @property
    def answer(self) -> Answer:
        """The finished answer; only after the iteration."""
        answers = [part.answering.answer for part in self.parts if not isinstance(part.answering, str)]
        return Answer(
            text=self._text.strip(),
            citations=tuple(self._citations),
            provenance=tuple(self._app.provenance(answer.plan) for answer in answers),
            first_token_s=answers[0].first_token_s if answers else 0.0,
            total_s=sum(answer.total_s for answer in answers),
            covered_s=sum(answer.coverage.seconds for answer in answers),
            frames=sum(answer.coverage.frames for answer in answers),
            patch_period_s=max((answer.coverage.patch_period_s for answer in answers), default=0.0),
            uncovered=tuple(span for answer in answers for span in answer.coverage.uncovered),
        )


def answer_question(
    app: "Longview",
    entries: Sequence[VideoEntry],
    question: str,
    *,
    history: Sequence[ChatTurn] = (),
    verify: bool = False,
    cancel_event: threading.Event | None = None,
    on_progress: OnProgress | None = None,
) -> AnswerStream:
    """A question about videos, answered for each in turn; without any, about the whole library.

    Of several videos, one that cannot be asked says why and does not keep the others from answering. Of the library, the
    moments whose captions fit the question best are looked at again, and answer. `history`, `verify`: see
    `longview.model.tasks.answerer.Answering`; of several videos each has its own answers, so there only the question counts. `stopping`,
    `on_progress`: see `Asking`.

    Raises:
        BadQuestion: the question is empty, too long, or names a time the only video does not have.
    """
    check_length(question, "question")
    if not question.strip():
        raise InvalidQuestion("The question is empty: ask something about the video.")
    distinct = list({entry.video_id: entry for entry in entries}.values())
    asking = AnswerStream(question, app, label_videos=not distinct, cancel_event=cancel_event, on_progress=on_progress)
    history = history if len(distinct) == 1 else ()
    for entry, within in [(entry, None) for entry in distinct] or _moments(app, question):
        answering: VideoAnswerStream | str
        try:
            answering = _answer_video(app, entry, question, asking, restrict_to=within, history=history, verify=verify)
        except (ModelError, VideoError, VideoGone) as error:
            if len(distinct) == 1:
                raise
            answering = str(error)
        asking.parts.append(VideoPart(entry, answering, within))
    if not asking.parts:
        videos = app.videos()
        captions = sum(entry.caption_count for entry in videos)
        asking.empty_message = f"Nothing in the library is like that: {captions} captions of {len(videos)} videos were searched."
    return asking


def _moments(app: "Longview", question: str) -> list[tuple[VideoEntry, Span | None]]:
    """Where in the library the answer is most likely, best first; what lies close together once."""
    found: list[tuple[VideoEntry, Span]] = []
    moments = app.search(when_query(question) or question, limit=MAX_LIBRARY_MOMENTS)
    for moment in moments:
        if moment.score < MIN_LIBRARY_SCORE_SHARE * moments[0].score:
            break
        near = Span(max(0.0, moment.span.start_s - LIBRARY_MARGIN_S), moment.span.end_s + LIBRARY_MARGIN_S)
        if not any(entry.video_id == moment.video_id and within.overlap_s(near) > 0 for entry, within in found):
            entry = app.library.video(moment.video_id)
            found.append((entry, near.clamped(Span(0.0, entry.duration_s))))
    return list(found)


def _answer_video(
    app: "Longview",
    entry: VideoEntry,
    question: str,
    stream: AnswerStream,
    *,
    restrict_to: Span | None,
    history: Sequence[ChatTurn],
    verify: bool,
) -> "VideoAnswerStream":
    from longview.model.tasks.answerer import VideoAnswerStream

    info = app.media.probe(entry)
    focus = None
    if restrict_to is None and len(app.pool.plan(info, "watch").windows) > 1:
        best = app.search(question, limit=1, video=entry.video_id)
        focus = best[0].span if best else None
    return VideoAnswerStream(
        app.pool,
        info,
        question,
        likely_span=focus,
        restrict_to=restrict_to,
        candidate_spans=lambda thing: app.candidate_spans(entry, thing, restrict_to),
        history=history,
        verify=verify,
        on_part=stream.check_cancelled,
    )
