"""Answers from quotes: what is said and shown in a video, for questions that no checkpoint can answer.

Every sentence of such an answer is a quote with its source and time, or says what was listened to and read.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from longview.app.chapters import ChapterFinder
from longview.app.citations import Citation
from longview.app.quote_questions import QuoteQuestion, parse_question
from longview.app.reports import source_label
from longview.app.runtime import Runtime
from longview.app.words_coverage import WORD_SOURCES, WordsCoverage, words_coverage
from longview.indexing.library import Library, Provenance, VideoEntry
from longview.indexing.mentions import find_mentions
from longview.indexing.passages import is_screen
from longview.indexing.quotes import Quote, find_quotes, screen_quote
from longview.indexing.sentences import Sentence, sentences_of
from longview.model.tasks.question import Question
from longview.video.progress import NO_PROGRESS, Progress
from longview.video.time_text import format_time
from longview.video.timeline import Span

PROVENANCE = Provenance("quotes", "1", {})
"""Provenance of answers that consist of quotes."""
MIN_ANSWER_CONFIDENCE = 0.5
"""Minimum confidence of quotes that are given as an answer. Of 24 questions that three transcripts answer, 18 reach it, and of 12
about absent topics 2 (docs/quality.md)."""
MIN_QUOTE_CONFIDENCE = 0.4
"""Minimum confidence of quotes that are given as closest passages; below it, the answer is that it is not said or shown. All of
these 24 questions reach it, and 6 of the 12."""
MAX_QUOTES = 3
"""Maximum number of quotes that answer a question."""
MAX_MENTIONS = 100
"""Maximum number of mentions that are listed."""
MAX_LISTED = 40
"""Maximum number of quotes for a time."""
MAX_LISTED_S = 60.0
"""Maximum length of a span of which all is quoted if a question about it finds no better quotes, in seconds."""
POINT_MARGIN_S = 3.0
"""Time before and after a single time in which the nearest sentences are quoted where there is none, in seconds."""
CONTENT_MARGIN_S = 15.0
"""Time before and after a single time in which an answer is looked for, in seconds."""
CHECKPOINT_HINT = "A checkpoint that knows such footage (--model) would also use what is seen, and answer in its own words."
LOOKS_HINT = "This asks how something looks, which words do not tell. It needs a checkpoint that knows such footage (--model)."


@dataclass(frozen=True)
class QuoteAnswer:
    """An answer that consists of quotes."""

    text: str
    citations: tuple[Citation, ...]
    found: bool | None
    """Whether the quotes answer the question; None: they are only the closest passages."""
    confidence: float | None
    """How much speaks for that, from 0 to 1; None for questions of time, whose answer is certain."""
    coverage: WordsCoverage
    hint: str = CHECKPOINT_HINT
    """A sentence that says what a checkpoint would do better; empty if nothing."""


class QuoteAnswers:
    """Answers questions about single videos of one library with quotes."""

    def __init__(self, library: Library, runtime: Runtime, chapters: ChapterFinder) -> None:
        self._library, self._runtime, self._chapters = library, runtime, chapters

    def answer(
        self,
        entry: VideoEntry,
        text: str,
        *,
        restrict_to: Span | None = None,
        progress: Progress = NO_PROGRESS,
    ) -> QuoteAnswer:
        """Answer a question about a video. `restrict_to`: the only part that is quoted, unless the question names another.

        Raises:
            InvalidQuestion: the question names a time that the video does not have. Cancelled: the operation was cancelled.
        """
        question = parse_question(Question(text, duration_s=entry.duration_s), duration_s=entry.duration_s)
        within = question.span or restrict_to
        match question.kind:
            case "time":
                return self._answer_time(entry, question.span or Span(0.0, entry.duration_s))
            case "mentions":
                return self._answer_mentions(entry, question.topic, within, progress)
            case "summary":
                return self._answer_summary(entry, within)
        return self._answer_content(entry, question, text, _wider(within), progress)

    def _answer_mentions(self, entry: VideoEntry, topic: str, within: Span | None, progress: Progress) -> QuoteAnswer:
        """Answer when a topic is mentioned: all mentions, or that there are none, and what was listened to and read.

        Mentions have the words of the topic. What only means the same, perhaps in another language, is a closest passage.
        """
        mentions = find_mentions(self._library, topic, video_id=entry.video_id, sources=WORD_SOURCES, within=_wider(within))
        coverage = words_coverage(entry, within)
        if not mentions:
            absence = _absence(f"“{topic}” is not said or shown", within, coverage)
            similar = find_quotes(
                self._library, self._runtime.vectors, topic, video_id=entry.video_id, within=_wider(within), progress=progress
            )
            if similar.confidence < MIN_ANSWER_CONFIDENCE:
                return QuoteAnswer(absence, (), None if coverage.is_empty else False, similar.confidence, coverage, hint="")
            text = "\n".join([absence, "Closest passages, in other words:", *map(quote_line, similar.quotes)])
            return QuoteAnswer(text, _cite(entry, similar.quotes), None, similar.confidence, coverage, hint="")
        count = "once" if len(mentions) == 1 else f"{len(mentions)} times"
        text = "\n".join([f"“{topic}” is mentioned {count}:", *map(quote_line, mentions[:MAX_MENTIONS])])
        if len(mentions) > MAX_MENTIONS:
            text += f"\n… and {len(mentions) - MAX_MENTIONS} more times."
        return QuoteAnswer(text, _cite(entry, mentions[:MAX_MENTIONS]), True, 1.0, coverage, hint="")

    def _answer_time(self, entry: VideoEntry, span: Span) -> QuoteAnswer:
        """Quote all that is said and shown at a time."""
        is_point = span.duration_s == 0
        near = Span(max(0.0, span.start_s - POINT_MARGIN_S), span.end_s + POINT_MARGIN_S) if is_point else span
        stored = self._library.tracks.segments(entry.video_id, within=Span(max(0.0, near.start_s - 20.0), near.end_s + 20.0))
        said = {item.segment.language for item in stored if item.segment.source == "speech"}
        # Subtitles in the spoken language say the same once more.
        segments = [item.segment for item in stored if item.segment.source != "subtitles" or item.segment.language not in said]
        sentences = [sentence for sentence in sentences_of(segments) if sentence.span.overlap_s(near) > 0]
        exact = [
            sentence for sentence in sentences if sentence.span.start_s <= span.end_s and span.start_s <= sentence.span.end_s
        ]
        quotes = _group_screens(exact or sentences)
        coverage = words_coverage(entry, near)
        when = f"at {format_time(span.start_s)}" if is_point else f"from {format_time(span.start_s)} to {format_time(span.end_s)}"
        if not quotes:
            if coverage.is_empty:
                return QuoteAnswer(f"What is said and shown {when} is not known: {coverage}.", (), None, None, coverage)
            text = f"Nothing is said or shown in words {when}: {coverage}."
            return QuoteAnswer(text, (), False, None, coverage)
        head = f"Said and shown {when}, quoted:" if exact else f"Nothing is said or shown in words {when}. What is nearest:"
        text = "\n".join([head, *map(quote_line, quotes[:MAX_LISTED])])
        if len(quotes) > MAX_LISTED:
            text += f"\n… and {len(quotes) - MAX_LISTED} more; the transcript has all of them."
        return QuoteAnswer(text, _cite(entry, quotes[:MAX_LISTED]), True if exact else None, None, coverage)

    def _answer_summary(self, entry: VideoEntry, within: Span | None) -> QuoteAnswer:
        """Tell what a video is about: its chapters, with a quote each."""
        coverage = words_coverage(entry, within)
        if entry.chapters:
            chapters = [item for item in entry.chapters if within is None or item.span.overlap_s(within) > 0]
            lines = [f"{_times(item.span)}  {item.text}" for item in chapters]
            citations = tuple(Citation(entry.video_id, item.span, "captions", item.text) for item in chapters)
            return QuoteAnswer("\n".join(["The chapters of its captions:", *lines]), citations, True, None, coverage)
        topics = [item for item in self._chapters.topics(entry) if within is None or item.span.overlap_s(within) > 0]
        if not topics:
            text = _absence("Nothing is said or shown in words", within, coverage)
            return QuoteAnswer(text, (), None if coverage.is_empty else False, None, coverage)
        head = "Its parts, divided where the topic shifts, with a quote from each:"
        lines = [
            f"{_times(topic.span)}  {source_label(topic.source)} at {format_time(topic.title_span.start_s)}: “{topic.title}”"
            for topic in topics
        ]
        citations = tuple(Citation(entry.video_id, topic.title_span, topic.source, topic.title) for topic in topics)
        return QuoteAnswer("\n".join([head, *lines]), citations, True, None, coverage)

    def _answer_content(
        self,
        entry: VideoEntry,
        question: QuoteQuestion,
        text: str,
        within: Span | None,
        progress: Progress,
    ) -> QuoteAnswer:
        """Quote what answers a question best, and say how sure that is."""
        matches = find_quotes(
            self._library,
            self._runtime.vectors,
            question.topic or text,
            video_id=entry.video_id,
            within=within,
            limit=MAX_QUOTES,
            progress=progress,
        )
        coverage, confidence = words_coverage(entry, within), matches.confidence
        lines = [*map(quote_line, matches.quotes)]
        hint = LOOKS_HINT if question.kind == "looks" else CHECKPOINT_HINT
        is_short = question.span is not None and question.span.duration_s <= MAX_LISTED_S
        if question.span is not None and is_short and question.kind == "content" and confidence < MIN_ANSWER_CONFIDENCE:
            # Who asks about a moment wants what is said then, in whichever words the question is.
            return self._answer_time(entry, question.span)
        if not lines or confidence < MIN_QUOTE_CONFIDENCE:
            absence = _absence("Not said or shown", within, coverage)
            return QuoteAnswer(absence, (), None if coverage.is_empty else False, confidence, coverage, hint)
        citations = _cite(entry, matches.quotes)
        if question.kind == "looks":
            return QuoteAnswer("\n".join(["The closest words:", *lines]), citations, None, confidence, coverage, hint)
        if confidence < MIN_ANSWER_CONFIDENCE:
            answer = "\n".join(["Closest passages; it may not be answered here:", *lines, f"Searched: {coverage}."])
            return QuoteAnswer(answer, citations, None, confidence, coverage)
        answer = "\n".join(["Quoted from the video, best match first:", *lines])
        return QuoteAnswer(answer, citations, True, confidence, coverage)


def _group_screens(sentences: Sequence[Sentence]) -> list[Quote]:
    """Return sentences as quotes, with the lines that appear and disappear together as one."""
    groups: dict[tuple[object, ...], list[Sentence]] = {}
    for number, sentence in enumerate(sentences):
        key: tuple[object, ...] = (number,)
        if is_screen(sentence.source):
            key = (sentence.source, round(sentence.span.start_s), round(sentence.span.end_s))
        groups.setdefault(key, []).append(sentence)
    return [screen_quote(lines) for lines in groups.values()]


def quote_line(quote: Quote) -> str:
    """Return a quote with its time and source, as a line."""
    return f"{_times(quote.span)}  {source_label(quote.source)}: “{quote.text}”"


def _times(span: Span) -> str:
    return f"{format_time(span.start_s)} - {format_time(span.end_s)}"


def _absence(what: str, within: Span | None, coverage: WordsCoverage) -> str:
    if coverage.is_empty:
        return f"The words of this {'part of the ' if within else ''}video are not known: {coverage}."
    where = "in this part of the video" if within else "in this video"
    return f"{what} {where}: {coverage}."


def _wider(span: Span | None) -> Span | None:
    """Return a span; a single time is widened."""
    if span is None or span.duration_s > 0:
        return span
    return Span(max(0.0, span.start_s - CONTENT_MARGIN_S), span.end_s + CONTENT_MARGIN_S)


def _cite(entry: VideoEntry, quotes: Sequence[Quote]) -> tuple[Citation, ...]:
    return tuple(Citation(entry.video_id, quote.span, quote.source, quote.text) for quote in quotes)
