"""Answers about one or more videos, or about the whole library, piece by piece."""

import logging
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from longview.app.errors import VideoGone
from longview.app.files.media import MediaStore
from longview.app.qa.chapters import ChapterFinder
from longview.app.qa.citations import Citation, cite_all
from longview.app.qa.quotes.answers import NO_TOPIC, PROVENANCE, ExtractiveAnswers
from longview.app.qa.quotes.questions import ExtractiveQuestion, parse_question
from longview.app.qa.quotes.text import ExtractiveAnswer
from longview.app.qa.retriever import Retriever
from longview.app.qa.transcript_coverage import TranscriptCoverage, add_coverages, has_transcript, has_transcript_tracks
from longview.app.runtime.context_retry import stream_with_smaller_context
from longview.app.runtime.provenance import provenance_of
from longview.app.runtime.requirements import require_answers, require_known_footage
from longview.app.runtime.runtime import Runtime
from longview.app.runtime.transcript_context import transcript_reader
from longview.app.text.counts import count_text
from longview.core.progress import NO_PROGRESS, Progress
from longview.core.sources import source_label
from longview.core.time_format import format_spans
from longview.core.timeline import Span
from longview.indexing.errors import LibraryFull, LibraryReadOnly
from longview.indexing.records.track import Provenance
from longview.indexing.records.video import AnsweredQuestion, VideoEntry
from longview.indexing.sqlite.library import Library
from longview.indexing.text.terms import has_all_terms
from longview.model.engine.base import ChatTurn
from longview.model.errors import ModelError, OutOfDistribution
from longview.model.tasks.coverage import Coverage
from longview.model.tasks.events import TextDelta
from longview.model.tasks.question import Question, when_query
from longview.video.errors import VideoError

if TYPE_CHECKING:
    from longview.model.tasks.answerer import VideoAnswer

log = logging.getLogger(__name__)

MAX_LIBRARY_MOMENTS = 5
"""Maximum number of moments of the library that answer one question."""
MIN_LIBRARY_SCORE_SHARE = 0.6
"""Minimum score of such a moment, as a share of the best score. A moment with a much lower score is about something else."""
MAX_TOPICLESS_VIDEOS = 50
"""Maximum number of videos of the library that answer a question without a topic, such as "What is it about?"."""
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
    """Coverage of the frames of all videos together; its patch period is the coarsest of them."""
    quoted: bool = False
    """Whether the answer consists of quotes, because no checkpoint here could answer it."""
    found: bool | None = None
    """For quotes: whether they answer the question; None: they are only the closest passages, or a checkpoint answered."""
    confidence: float | None = None
    """For quotes: the confidence that an answer is among them, from 0 to 1; None where it is not estimated."""
    transcript_coverage: TranscriptCoverage | None = None
    """For quotes: what was listened to and read."""
    thoughts: str = ""
    """What the checkpoint thought before its answers. It is not stored in the library."""


@dataclass(frozen=True)
class _PartAnswer:
    """The answer about one video, by a checkpoint or from quotes."""

    text: str
    citations: tuple[Citation, ...]
    provenance: Provenance
    first_token_s: float
    total_s: float
    coverage: Coverage
    quotes: ExtractiveAnswer | None = None
    thoughts: str = ""


class _QuotedText(TextDelta):
    """The text of an answer from quotes, which is one piece."""


@dataclass(frozen=True)
class VideoPart:
    """One video that an answer is about."""

    entry: VideoEntry
    restrict_to: Span | None = None
    """The only part of the video that is searched; None: all of it."""
    is_given: bool = True
    """Whether the question is about this video; otherwise the search of the library proposed it."""


class Answers:
    """Answers questions about the videos of one library."""

    def __init__(
        self, library: Library, media: MediaStore, retriever: Retriever, runtime: Runtime, chapters: ChapterFinder
    ) -> None:
        self._library, self._media, self._retriever, self._runtime = library, media, retriever, runtime
        self._quotes = ExtractiveAnswers(library, runtime, chapters)

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
        request = parse_question(question)
        distinct = list({entry.video_id: entry for entry in entries}.values())
        search_share = 0.0 if distinct else LIBRARY_SEARCH_SHARE
        parts, left_out = [VideoPart(entry) for entry in distinct], 0
        if not parts:
            parts, left_out = self._likely_parts(request, progress.child(0.0, search_share))
        has_labels = len(parts) > 1 or not distinct
        texts: list[str] = []
        answers: list[_PartAnswer] = []
        if not parts:
            texts.append(self._no_match(request))
            yield TextDelta(texts[0])
        for number, (part, step) in enumerate(zip(parts, progress.child(search_share, 1.0).steps(len(parts)), strict=True)):
            # The label comes with the first words, so that no label stands without an answer while the video is being read.
            label = f"{chr(10) if number else ''}{_label(part, parts)}: " if has_labels else ""
            try:
                events = self._answer_part(part, request, history if len(distinct) == 1 else (), step)
                answer = yield from _with_labels(events, label, texts)
                if not distinct and answer.quotes and answer.quotes.found is False:
                    # Other parts of the library may have the answer.
                    continue
            except (ModelError, VideoError, VideoGone) as error:
                if len(parts) == 1:
                    raise
                # The other videos are still asked if one video cannot be read.
                texts.append(label + str(error))
                yield TextDelta(texts[-1])
                continue
            answers.append(answer)
            if distinct:
                spans = tuple(citation.span for citation in answer.citations)
                text = "\n".join(filter(None, (answer.text, answer.quotes.hint if answer.quotes else "")))
                try:
                    # An answer that the user cancelled, or whose conversation was cleared meanwhile, is not stored.
                    self._library.conversations.add(
                        part.entry.video_id,
                        AnsweredQuestion(question, text, spans, answer.provenance),
                        raise_if_cancelled=progress.raise_if_cancelled,
                    )
                except (LibraryFull, LibraryReadOnly) as error:
                    # The answer is worth more than its place in the conversation.
                    log.warning("The answer is not stored. %s", error)
        if parts and not texts:
            texts.append(self._no_match(request))
            yield TextDelta(texts[0])
        if left_out:
            texts.append(f"\n{count_text(left_out, 'more video')} left out; name the videos to ask about.")
            yield TextDelta(texts[-1])
        # The hints are the same for all videos.
        for hint in dict.fromkeys(answer.quotes.hint for answer in answers if answer.quotes and answer.quotes.hint):
            texts.append(f"\n{hint}")
            yield TextDelta(texts[-1])
        return _combine(answers, "".join(texts).strip())

    def _no_match(self, request: ExtractiveQuestion) -> str:
        match request.kind:
            case "nothing":
                return NO_TOPIC
            case "time":
                return "Every video has that time; name the video that is asked about."
        videos = self._library.videos()
        sources = dict.fromkeys(track.source for entry in videos for track in entry.tracks if track.segment_count)
        searched_text = f"the {' and '.join(map(source_label, sources))} of" if sources else "nothing in"
        return f"Nothing in the library matches the question. Searched {searched_text} {count_text(len(videos), 'video')}."

    def _likely_parts(self, request: ExtractiveQuestion, progress: Progress) -> tuple[list[VideoPart], int]:
        """Return the parts of the library in which the answer is most likely, best first, without overlaps.

        All mentions of a topic are looked for in all videos with words. A question without a topic is about each video; the
        number is that of the videos beyond the first ones, which are left out.
        """
        if request.kind in ("nothing", "time"):
            return [], 0
        if request.asks_for_words or request.is_topicless:
            can_be_captions = request.kind in ("seen", "summary")
            videos = [
                entry
                for entry in self._library.videos()
                if has_transcript(entry) or (can_be_captions and any(track.segment_count for track in entry.tracks))
            ]
            asked_videos = videos[:MAX_TOPICLESS_VIDEOS] if request.is_topicless else videos
            return [VideoPart(entry, is_given=False) for entry in asked_videos], len(videos) - len(asked_videos)
        parts: list[tuple[VideoEntry, Span]] = []
        query = when_query(request.question.text) or request.question.text
        moments = self._retriever.rank(query, limit=2 * MAX_LIBRARY_MOMENTS, progress=progress)
        # A moment with all words of the question counts alone: a short caption of another video may only look more similar.
        complete = [moment for moment in moments if has_all_terms(" ".join(item.segment.text for item in moment.evidence), query)]
        for moment in (complete or moments)[:MAX_LIBRARY_MOMENTS]:
            if moment.score < MIN_LIBRARY_SCORE_SHARE * (complete or moments)[0].score:
                break
            near = Span(max(0.0, moment.span.start_s - LIBRARY_MARGIN_S), moment.span.end_s + LIBRARY_MARGIN_S)
            if not any(entry.video_id == moment.video_id and span.overlap_s(near) > 0 for entry, span in parts):
                entry = self._library.video(moment.video_id)
                parts.append((entry, near.clamp(Span(0.0, entry.duration_s))))
        return [VideoPart(entry, span, is_given=False) for entry, span in parts], 0

    def _answer_part(
        self, part: VideoPart, request: ExtractiveQuestion, history: Sequence[ChatTurn], progress: Progress
    ) -> Generator[TextDelta, None, _PartAnswer]:
        """Answer with the checkpoint where it knows the footage and takes the question, else with quotes."""
        entry = part.entry
        if self._needs_quotes(entry, request):
            return (yield from self._quote(part, request, progress))
        try:
            reading = progress.child(0.0, 1.0, f"Reading {entry.title}")
            with self._runtime.watching(entry.path, entry.content_hash) as file:
                answer = yield from stream_with_smaller_context(
                    self._runtime, lambda: self._answer_video(part, request.question, history, reading)
                )
                file.check(progress)
        except (OutOfDistribution, VideoGone, VideoError) as error:
            # Quotes need no file, and frames of a damaged one may not be decodable where its words are known.
            if not (has_transcript(entry) if isinstance(error, VideoGone) else has_transcript_tracks(entry)):
                raise
            return (yield from self._quote(part, request, progress))
        captions = self._library.tracks.segments(entry.video_id, "captions") if answer.citations else ()
        citations = tuple(cite_all(entry, captions, answer))
        provenance = provenance_of(self._runtime, answer.plan)
        return _PartAnswer(
            answer.text,
            citations,
            provenance,
            answer.first_token_s,
            answer.total_s,
            answer.coverage,
            thoughts=answer.thoughts,
        )

    def _needs_quotes(self, entry: VideoEntry, request: ExtractiveQuestion) -> bool:
        """Whether quotes answer better than the checkpoint, as far as that is known without opening the video."""
        question = request.question.about(entry.duration_s)
        if request.kind == "length":
            return True
        captions = entry.track("captions")
        if not has_transcript_tracks(entry) and not (captions and captions.segment_count and request.kind in ("seen", "summary")):
            return False
        if not entry.has_frames:
            return True
        if request.asks_for_words:
            # All mentions are in the words, and a checkpoint would name only some of them.
            return True
        templates = self._runtime.verifier.templates
        has_time = question.when or request.question.times
        is_answered = has_transcript(entry) or request.is_topicless
        if templates and is_answered and not has_time and templates.match(question.in_seconds()) is None:
            return True
        try:
            require_known_footage(self._runtime, entry)
        except OutOfDistribution:
            return True
        return False

    def _quote(self, part: VideoPart, request: ExtractiveQuestion, progress: Progress) -> Generator[TextDelta, None, _PartAnswer]:
        """Answer with quotes; the file need not exist."""
        start = time.perf_counter()
        quotes = self._quotes.answer(part.entry, request, restrict_to=part.restrict_to, progress=progress)
        total_s = time.perf_counter() - start
        if part.is_given or quotes.found is not False:
            yield _QuotedText(quotes.text)
        progress.update(1.0)
        return _PartAnswer(quotes.text, quotes.citations, PROVENANCE, total_s, total_s, Coverage(0.0, 0, 0.0), quotes)

    def _answer_video(
        self, part: VideoPart, question: Question, history: Sequence[ChatTurn], progress: Progress
    ) -> Generator[TextDelta, None, "VideoAnswer"]:
        from longview.model.tasks.answerer import answer_question
        from longview.model.tasks.context import TaskContext

        entry, restrict_to = part.entry, part.restrict_to
        require_answers(self._runtime)
        video = self._media.probe(entry, progress)
        require_known_footage(self._runtime, entry)
        pool = self._runtime.pool
        likely_span = None
        if restrict_to is None and len(pool.planner.plan(video, "qa").windows) > 1:
            step = progress.child(0.0, LIBRARY_SEARCH_SHARE)
            best = self._retriever.rank(question.text, limit=1, video_id=entry.video_id, progress=step)
            likely_span = best[0].span if best else None
        return answer_question(
            TaskContext(
                pool,
                self._runtime.verifier,
                video,
                transcript=transcript_reader(self._library, self._runtime.settings, entry.video_id),
                grounding_pool=self._runtime.grounding_pool,
                progress=progress,
            ),
            question,
            self._runtime.checks.answers,
            likely_span=likely_span,
            restrict_to=restrict_to,
            candidate_spans=lambda query: self._retriever.candidate_spans(entry, query, restrict_to),
            history=history,
        )


def _combine(answers: Sequence[_PartAnswer], text: str) -> Answer:
    """Return the answers about all videos as one."""
    coverages = [answer.coverage for answer in answers]
    quotes = [answer.quotes for answer in answers if answer.quotes]
    confidences = [item.confidence for item in quotes if item.confidence is not None]
    founds = {item.found for item in quotes}
    return Answer(
        text=text,
        citations=tuple(citation for answer in answers for citation in answer.citations),
        provenance=tuple(answer.provenance for answer in answers),
        first_token_s=answers[0].first_token_s if answers else 0.0,
        total_s=sum(answer.total_s for answer in answers),
        coverage=Coverage(
            seconds=sum(coverage.seconds for coverage in coverages),
            frames=sum(coverage.frames for coverage in coverages),
            patch_period_s=max((coverage.patch_period_s for coverage in coverages), default=0.0),
            uncovered=tuple(span for coverage in coverages for span in coverage.uncovered),
            prompt_tokens=sum(coverage.prompt_tokens for coverage in coverages),
        ),
        quoted=bool(quotes) and len(quotes) == len(answers),
        found=True if True in founds else False if founds == {False} else None,
        confidence=max(confidences, default=None),
        transcript_coverage=add_coverages(item.coverage for item in quotes) if quotes else None,
        thoughts="\n\n".join(answer.thoughts for answer in answers if answer.thoughts),
    )


def _with_labels(
    events: Generator[TextDelta, None, _PartAnswer], label: str, texts: list[str]
) -> Generator[TextDelta, None, _PartAnswer]:
    """Yield the pieces of one video's answer, the first one with its label; append all of them to `texts`."""
    prefix, begin = label, len(texts)
    while True:
        try:
            event = next(events)
            piece = _join(prefix, event.text) if isinstance(event, _QuotedText) else prefix + event.text
        except StopIteration as end:
            answer: _PartAnswer = end.value
            if len(texts) > begin:
                # The text of the answer may be shorter than its pieces: see `Generation.text`.
                texts[begin:] = [_join(label, answer.text) if answer.quotes else label + answer.text]
            return answer
        prefix = ""
        texts.append(piece)
        yield TextDelta(piece)


def _join(label: str, text: str) -> str:
    """Return a text with a label. A text of several lines begins on a line of its own, so that each of its lines has its time."""
    return f"{label.rstrip(' ')}\n{text}" if label and "\n" in text else label + text


def _label(part: VideoPart, parts: Sequence[VideoPart]) -> str:
    """Return a video's title, its id where others have the same title, and the part that is searched."""
    entry = part.entry
    namesakes = {other.entry.video_id for other in parts if other.entry.title == entry.title}
    label = entry.title if len(namesakes) == 1 else f"{entry.title} ({entry.video_id})"
    if part.restrict_to is None:
        return label
    # A colon after a time would be a part of it.
    return f"{label} ({format_spans(part.restrict_to)})"
