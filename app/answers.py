"""Answers about one or more videos, or about the whole library, piece by piece."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from longview.app.citations import Citation, cite
from longview.app.errors import VideoGone
from longview.app.media import MediaStore
from longview.app.retriever import Retriever
from longview.app.runtime import Runtime
from longview.indexing.library import AnsweredQuestion, Library, Provenance, VideoEntry
from longview.model.engine.base import ChatTurn
from longview.model.errors import InvalidQuestion, ModelError
from longview.model.tasks.coverage import Coverage
from longview.model.tasks.events import TextDelta
from longview.model.tasks.question import check_length, when_query
from longview.video.errors import VideoError
from longview.video.progress import NO_PROGRESS, Progress
from longview.video.time_text import format_spans
from longview.video.timeline import Span

if TYPE_CHECKING:
    from longview.model.tasks.answerer import VideoAnswer

MAX_LIBRARY_MOMENTS = 5
"""Maximum number of moments of the library that answer one question."""
MIN_LIBRARY_SCORE_SHARE = 0.6
"""Minimum score of such a moment, as a share of the best score. A moment with a much lower score is about something else."""
LIBRARY_SEARCH_SHARE = 0.05
"""Share of the progress for a search of the library."""
LIBRARY_MARGIN_S = 10.0
"""Time before and after such a moment that is searched too, in seconds. It shows what led to the moment, and what followed."""


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
    """Coverage of all videos together; its patch period is the coarsest of them."""


@dataclass(frozen=True)
class VideoPart:
    """One video that an answer is about."""

    entry: VideoEntry
    restrict_to: Span | None = None
    """The only part of the video that is searched; None: all of it."""


class Answers:
    """Answers questions about the videos of one library."""

    def __init__(self, library: Library, media: MediaStore, retriever: Retriever, runtime: Runtime) -> None:
        self._library, self._media, self._retriever, self._runtime = library, media, retriever, runtime

    def answer(
        self,
        entries: Sequence[VideoEntry],
        question: str,
        *,
        history: Sequence[ChatTurn] = (),
        progress: Progress = NO_PROGRESS,
    ) -> Generator[TextDelta, None, Answer]:
        """Answer a question about each of the videos in turn; without videos, about the whole library.

        If one of several videos cannot be read, its part of the answer states the reason. For the whole library, the moments
        that match the question best are opened. An answer about given videos is stored in their conversations. An
        answer about the whole library is not stored. `history`: see `longview.model.tasks.answerer.answer_question`; a question
        about several videos has no history.

        Raises:
            InvalidQuestion: the question is empty, too long, or names a time that the only video does not have.
            VideoGone: the file of the only video is missing, or changed meanwhile. Cancelled: the operation was cancelled.
        """
        check_length(question, "question")
        if not question.strip():
            raise InvalidQuestion("The question is empty; ask something about the video.")
        distinct = list({entry.video_id: entry for entry in entries}.values())
        search_share = 0.0 if distinct else LIBRARY_SEARCH_SHARE
        parts = [VideoPart(entry) for entry in distinct] or self._likely_parts(question, progress.child(0.0, search_share))
        has_labels = len(parts) > 1 or not distinct
        texts: list[str] = []
        answers: list[VideoAnswer] = []
        citations: list[Citation] = []
        if not parts:
            texts.append(self._no_match())
            yield TextDelta(texts[0])
        for number, (part, step) in enumerate(zip(parts, progress.child(search_share, 1.0).steps(len(parts)), strict=True)):
            # The label comes with the first words, so that no label stands without an answer while the video is being read.
            label = f"{chr(10) if number else ''}{_label(part, parts)}: " if has_labels else ""
            step = step.child(0.0, 1.0, f"Reading {part.entry.title}")
            try:
                with self._runtime.watching(part.entry.path, part.entry.content_hash) as file:
                    events = self._answer_video(part, question, history if len(distinct) == 1 else (), step)
                    answer = yield from _labelled(events, label, texts)
                    file.check(step)
            except (ModelError, VideoError, VideoGone) as error:
                if len(parts) == 1:
                    raise
                # The other videos are still asked if one video cannot be read.
                texts.append(label + str(error))
                yield TextDelta(texts[-1])
                continue
            answers.append(answer)
            captions = self._library.tracks.segments(part.entry.video_id, "captions") if answer.citations else ()
            part_citations = [cite(part.entry, captions, span, answer.text) for span in answer.citations]
            citations += part_citations
            if distinct:
                # An answer that the user cancelled, or whose conversation was cleared meanwhile, is not stored.
                progress.raise_if_cancelled()
                spans = tuple(citation.span for citation in part_citations)
                turn = AnsweredQuestion(question, answer.text, spans, self._runtime.provenance(answer.plan))
                self._library.add_answer(part.entry.video_id, turn)
        coverages = [answer.coverage for answer in answers]
        return Answer(
            text="".join(texts).strip(),
            citations=tuple(citations),
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

    def _no_match(self) -> str:
        videos = self._library.videos()
        counts: dict[str, int] = {}
        for track in (track for entry in videos for track in entry.tracks):
            counts[track.source] = counts.get(track.source, 0) + track.segment_count
        searched = ", ".join(f"{count} segments of {source}" for source, count in counts.items() if count) or "nothing"
        videos_text = "1 video" if len(videos) == 1 else f"{len(videos)} videos"
        return f"Nothing in the library matches the question. Searched {searched} in {videos_text}."

    def _likely_parts(self, question: str, progress: Progress) -> list[VideoPart]:
        """Return the parts of the library in which the answer is most likely, best first, without overlaps."""
        parts: list[tuple[VideoEntry, Span]] = []
        moments = self._retriever.rank(when_query(question) or question, limit=MAX_LIBRARY_MOMENTS, progress=progress)
        for moment in moments:
            if moment.score < MIN_LIBRARY_SCORE_SHARE * moments[0].score:
                break
            near = Span(max(0.0, moment.span.start_s - LIBRARY_MARGIN_S), moment.span.end_s + LIBRARY_MARGIN_S)
            if not any(entry.video_id == moment.video_id and span.overlap_s(near) > 0 for entry, span in parts):
                entry = self._library.video(moment.video_id)
                parts.append((entry, near.clamped(Span(0.0, entry.duration_s))))
        return [VideoPart(entry, span) for entry, span in parts]

    def _answer_video(
        self, part: VideoPart, question: str, history: Sequence[ChatTurn], progress: Progress
    ) -> Generator[TextDelta, None, "VideoAnswer"]:
        from longview.model.tasks.answerer import answer_question

        entry, restrict_to = part.entry, part.restrict_to
        video = self._media.probe(entry, progress)
        self._runtime.require_known_footage(entry)
        pool = self._runtime.pool
        likely_span = None
        if restrict_to is None and len(pool.planner.plan(video, "qa").windows) > 1:
            step = progress.child(0.0, LIBRARY_SEARCH_SHARE)
            best = self._retriever.rank(question, limit=1, video_id=entry.video_id, progress=step)
            likely_span = best[0].span if best else None
        return answer_question(
            pool,
            self._runtime.prober,
            video,
            question,
            self._runtime.checks.answers,
            likely_span=likely_span,
            restrict_to=restrict_to,
            candidate_spans=lambda query: self._retriever.candidate_spans(entry, query, restrict_to),
            history=history,
            progress=progress,
        )


def _labelled(
    events: Generator[TextDelta, None, "VideoAnswer"], label: str, texts: list[str]
) -> Generator[TextDelta, None, "VideoAnswer"]:
    """Yield the pieces of one video's answer, the first one with its label; append all of them to `texts`."""
    while True:
        try:
            piece = label + next(events).text
        except StopIteration as end:
            answer: VideoAnswer = end.value
            return answer
        label = ""
        texts.append(piece)
        yield TextDelta(piece)


def _label(part: VideoPart, parts: Sequence[VideoPart]) -> str:
    """Return a video's title, its id where others have the same title, and the part that is searched."""
    entry = part.entry
    namesakes = {other.entry.video_id for other in parts if other.entry.title == entry.title}
    label = entry.title if len(namesakes) == 1 else f"{entry.title} ({entry.video_id})"
    if part.restrict_to is None:
        return label
    return f"{label}, {format_spans(part.restrict_to)}"
