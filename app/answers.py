"""Answers about one or more videos, or about the whole library, piece by piece."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from longview.app.errors import VideoGone
from longview.app.media import MediaStore
from longview.app.progress import OnProgress, StagedProgress
from longview.app.retriever import Retriever
from longview.app.runtime import Runtime
from longview.indexing.library import AnsweredQuestion, Caption, Library, Provenance, VideoEntry
from longview.model.engine.base import ChatTurn
from longview.model.errors import Cancelled, InvalidQuestion, ModelError
from longview.model.tasks.coverage import Coverage
from longview.model.tasks.question import check_length, when_query
from longview.video.errors import VideoError
from longview.video.time_text import format_time
from longview.video.timeline import Span

if TYPE_CHECKING:
    from longview.model.tasks.answerer import VideoAnswer, VideoAnswerStream

MAX_LIBRARY_MOMENTS = 5
"""Maximum number of moments of the library that answer one question."""
MIN_LIBRARY_SCORE_SHARE = 0.6
"""Minimum score of such a moment, as a share of the best one's; a much worse one is about something else."""
LIBRARY_MARGIN_S = 10.0
"""Time before and after such a moment that is searched too, in seconds: what led to it, and what followed."""


@dataclass(frozen=True)
class Citation:
    """A span of a video that an answer is based on, and what its source says there."""

    video_id: str
    span: Span
    source: str
    """`caption`: a caption of the library; `video`: what the checkpoint saw when it was asked."""
    text: str


@dataclass(frozen=True)
class Answer:
    """An answer about one or more videos."""

    text: str
    citations: tuple[Citation, ...]
    provenance: tuple[Provenance, ...]
    """The provenance of the answer about each video."""
    first_token_s: float
    total_s: float
    coverage: Coverage
    """What was searched in all videos together; its patch period is the coarsest."""


@dataclass(frozen=True)
class VideoPart:
    """One video's part of an answer."""

    entry: VideoEntry
    stream: "VideoAnswerStream | str"
    """The answer, or the reason why there is none."""
    restrict_to: Span | None = None
    """The only part of the video that is searched; None: all of it."""


class AnswerStream:
    """Generates an answer: iterate it for pieces of text; `answer` is complete after the iteration.

    An answer about a video is kept in the library as a part of its conversation. An answer about the whole library is not.
    """

    def __init__(
        self,
        question: str,
        library: Library,
        retriever: Retriever,
        runtime: Runtime,
        *,
        is_about_library: bool = False,
        cancel_event: threading.Event | None = None,
        on_progress: OnProgress | None = None,
    ) -> None:
        """`is_about_library`: name the video of each part, even of a single one, and keep nothing.

        `cancel_event`: set by whoever no longer needs the answer. `on_progress`: receives the progress of the search, before and
        between the pieces of text.
        """
        self._question, self._library, self._retriever, self._runtime = question, library, retriever, runtime
        self._is_about_library = is_about_library
        self.parts: list[VideoPart] = []
        """Filled before the iteration."""
        self.empty_message = ""
        """The answer if there is no part."""
        self._cancel_event = cancel_event or threading.Event()
        self._stages, self._fraction = StagedProgress(on_progress), 0.0
        self._text = ""
        self._citations: list[Citation] = []

    def cancel(self) -> None:
        """Cancel from any thread: the iteration ends with `Cancelled` at the next chunk of frames or the next token.

        A served model is cancelled at the next piece of text that it sends.
        """
        self._cancel_event.set()

    def report(self, fraction: float = 0.0) -> None:
        """Report the fraction of the current part that is done.

        Raises:
            Cancelled: `cancel` was called.
        """
        if self._cancel_event.is_set():
            raise Cancelled("Stopped.")
        self._fraction = max(self._fraction, fraction)
        self._stages(self._fraction)

    def __iter__(self) -> Iterator[str]:
        if not self.parts:
            yield from self._append(self.empty_message)
        for number, part in enumerate(self.parts):
            # The label comes with the first words, so that whoever waits for them knows that they are still to come.
            has_label = len(self.parts) > 1 or self._is_about_library
            label = f"{chr(10) if number else ''}{self._label(part)}: " if has_label else ""
            if isinstance(part.stream, str):
                yield from self._append(label + part.stream)
                continue
            self._stages.begin(f"Reading {part.entry.title}", until=(number + 1) / len(self.parts))
            self._fraction = 0.0
            self.report()
            try:
                for piece in part.stream:
                    yield from self._append(label + piece)
                    label = ""
                if label:
                    yield from self._append(label)
            except Cancelled:
                raise
            except (ModelError, VideoError, VideoGone) as error:
                if len(self.parts) == 1:
                    raise
                # One video that cannot be read does not keep the others from answering.
                self.parts[number] = replace(part, stream=str(error))
                yield from self._append(label + str(error))
                continue
            self._finish(part.entry, part.stream.answer)

    def _label(self, part: VideoPart) -> str:
        """Return a video's title, its id where others have the same title, and the part that is searched."""
        entry = part.entry
        namesakes = {other.entry.video_id for other in self.parts if other.entry.title == entry.title}
        label = entry.title if len(namesakes) == 1 else f"{entry.title} ({entry.video_id})"
        if part.restrict_to is None:
            return label
        return f"{label}, {format_time(part.restrict_to.start_s)} to {format_time(part.restrict_to.end_s)}"

    def _append(self, piece: str) -> Iterator[str]:
        self._text += piece
        yield piece

    def _finish(self, entry: VideoEntry, answer: "VideoAnswer") -> None:
        captions = self._library.captions(entry.video_id) if answer.citations else ()
        citations = [_cite(entry, captions, span, answer.text) for span in answer.citations]
        self._citations += citations
        if self._is_about_library:
            return
        # An answer that the user cancelled, or whose conversation was cleared meanwhile, is not kept.
        self.report()
        spans = tuple(citation.span for citation in citations)
        turn = AnsweredQuestion(self._question, answer.text, spans, self._runtime.provenance(answer.plan))
        self._library.add_answer(entry.video_id, turn)

    @property
    def answer(self) -> Answer:
        """The complete answer; only after the iteration."""
        answers = [part.stream.answer for part in self.parts if not isinstance(part.stream, str)]
        coverages = [answer.coverage for answer in answers]
        return Answer(
            text=self._text.strip(),
            citations=tuple(self._citations),
            provenance=tuple(self._runtime.provenance(answer.plan) for answer in answers),
            first_token_s=answers[0].first_token_s if answers else 0.0,
            total_s=sum(answer.total_s for answer in answers),
            coverage=Coverage(
                seconds=sum(coverage.seconds for coverage in coverages),
                frames=sum(coverage.frames for coverage in coverages),
                patch_period_s=max((coverage.patch_period_s for coverage in coverages), default=0.0),
                uncovered=tuple(span for coverage in coverages for span in coverage.uncovered),
            ),
        )


def _cite(entry: VideoEntry, captions: Sequence[Caption], span: Span, answer: str) -> Citation:
    """Cite the caption that an answer repeats, else what the checkpoint saw.

    A citation that is a single timestamp is widened to its caption.
    """
    overlapping = (caption for caption in captions if caption.event.span.overlap_s(span) > 0)
    caption = next((caption for caption in overlapping if caption.event.text in answer), None)
    if caption is None:
        return Citation(entry.video_id, span, "video", answer)
    if span.duration_s <= float(entry.provenance.plan.get("patch_period_s", 0.0)):
        span = caption.event.span
    return Citation(entry.video_id, span, caption.source, caption.event.text)


class Answers:
    """Answers questions about the videos of one library."""

    def __init__(self, library: Library, media: MediaStore, retriever: Retriever, runtime: Runtime) -> None:
        self._library, self._media, self._retriever, self._runtime = library, media, retriever, runtime

    def ask(
        self,
        entries: Sequence[VideoEntry],
        question: str,
        *,
        history: Sequence[ChatTurn] = (),
        verify: bool = False,
        cancel_event: threading.Event | None = None,
        on_progress: OnProgress | None = None,
    ) -> AnswerStream:
        """Answer a question about each of the videos in turn; without videos, about the whole library.

        If one of several videos cannot be asked, its part says why. Of the library, the moments whose captions fit the question
        best are opened, and answer. `history`, `verify`: see `longview.model.tasks.answerer.VideoAnswerStream`; several videos
        have no common history. `cancel_event`, `on_progress`: see `AnswerStream`.

        Raises:
            InvalidQuestion: the question is empty, too long, or names a time that the only video does not have.
        """
        check_length(question, "question")
        if not question.strip():
            raise InvalidQuestion("The question is empty: ask something about the video.")
        distinct = list({entry.video_id: entry for entry in entries}.values())
        stream = AnswerStream(
            question,
            self._library,
            self._retriever,
            self._runtime,
            is_about_library=not distinct,
            cancel_event=cancel_event,
            on_progress=on_progress,
        )
        history = history if len(distinct) == 1 else ()
        for entry, restrict_to in [(entry, None) for entry in distinct] or self._likely_parts(question):
            part: VideoAnswerStream | str
            try:
                part = self._answer_video(entry, question, stream, restrict_to=restrict_to, history=history, verify=verify)
            except (ModelError, VideoError, VideoGone) as error:
                if len(distinct) == 1:
                    raise
                part = str(error)
            stream.parts.append(VideoPart(entry, part, restrict_to))
        if not stream.parts:
            videos = self._library.videos()
            captions = sum(entry.caption_count for entry in videos)
            stream.empty_message = f"Nothing in the library fits: {captions} captions of {len(videos)} videos were searched."
        return stream

    def _likely_parts(self, question: str) -> list[tuple[VideoEntry, Span | None]]:
        """Return the parts of the library in which the answer is most likely, best first, without overlaps."""
        parts: list[tuple[VideoEntry, Span]] = []
        moments = self._retriever.search(when_query(question) or question, limit=MAX_LIBRARY_MOMENTS)
        for moment in moments:
            if moment.score < MIN_LIBRARY_SCORE_SHARE * moments[0].score:
                break
            near = Span(max(0.0, moment.span.start_s - LIBRARY_MARGIN_S), moment.span.end_s + LIBRARY_MARGIN_S)
            if not any(entry.video_id == moment.video_id and span.overlap_s(near) > 0 for entry, span in parts):
                entry = self._library.video(moment.video_id)
                parts.append((entry, near.clamped(Span(0.0, entry.duration_s))))
        return list(parts)

    def _answer_video(
        self,
        entry: VideoEntry,
        question: str,
        stream: AnswerStream,
        *,
        restrict_to: Span | None,
        history: Sequence[ChatTurn],
        verify: bool,
    ) -> "VideoAnswerStream":
        from longview.model.tasks.answerer import VideoAnswerStream

        video, pool = self._media.probe(entry), self._runtime.pool
        likely_span = None
        if restrict_to is None and len(pool.planner.plan(video, "qa").windows) > 1:
            best = self._retriever.search(question, limit=1, video_id=entry.video_id)
            likely_span = best[0].span if best else None
        return VideoAnswerStream(
            pool,
            self._runtime.prober,
            video,
            question,
            likely_span=likely_span,
            restrict_to=restrict_to,
            candidate_spans=lambda query: self._retriever.candidate_spans(entry, query, restrict_to),
            history=history,
            verify=verify,
            on_part=stream.report,
        )
