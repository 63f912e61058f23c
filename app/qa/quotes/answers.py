"""Answers from quotes: what is said and shown in a video, for questions that no checkpoint can answer.

Every sentence of such an answer is a quote with its source and time, or says what was listened to and read.
"""

from collections.abc import Sequence
from dataclasses import replace

from longview.app.qa.chapters import ChapterFinder
from longview.app.qa.citations import Citation
from longview.app.qa.quotes.moments import MomentQuotes
from longview.app.qa.quotes.overviews import OverviewQuotes
from longview.app.qa.quotes.questions import ExtractiveQuestion
from longview.app.qa.quotes.text import NOT_LOOKED_AT, SIGHT_HINT, ExtractiveAnswer, absence_text, cite, quote_line, times_text
from longview.app.qa.transcript_coverage import transcript_coverage, unfinished_clauses
from longview.app.runtime.runtime import Runtime
from longview.core.progress import NO_PROGRESS, Progress
from longview.core.sources import source_label, traits_of, transcript_sources
from longview.core.time_format import format_time
from longview.core.timeline import Span
from longview.indexing.records.track import Provenance
from longview.indexing.records.video import QUOTES, VideoEntry
from longview.indexing.search.mentions import count_occurrences, find_mentions
from longview.indexing.search.quotes import Quote, find_quotes
from longview.indexing.sqlite.library import Library

PROVENANCE = Provenance(QUOTES, "1", {})
"""Provenance of answers that consist of quotes."""
MIN_ANSWER_CONFIDENCE = 0.5
"""Minimum confidence of quotes that are given as an answer. Of 24 questions that three transcripts answer, 18 reach it, and of 12
about absent topics 2 (docs/quality.md)."""
MIN_QUOTE_CONFIDENCE = 0.4
"""Minimum confidence of quotes that are given as closest passages; below it, the answer is that it is not said or written. All of
these 24 questions reach it, and 6 of the 12."""
NO_TOPIC = "The question names nothing that could be looked for; add a word that is said or shown, a name, or a time."
MAX_QUOTES = 3
"""Maximum number of quotes that answer a question."""
MAX_MENTIONS = 100
"""Maximum number of mentions that are listed."""
MAX_ORDERED_MENTIONS = 3
"""Maximum number of mentions of which it is quoted what comes before or after."""
MAX_LISTED_S = 60.0
"""Maximum length of a span of which all is quoted if a question about it finds no better quotes, in seconds."""
CONTENT_MARGIN_S = 15.0
"""Time before and after a single time in which an answer is looked for, in seconds."""


class ExtractiveAnswers:
    """Answers questions about single videos of one library with quotes."""

    def __init__(self, library: Library, runtime: Runtime, chapters: ChapterFinder) -> None:
        self._library, self._runtime, self._chapters = library, runtime, chapters

    def answer(
        self,
        entry: VideoEntry,
        question: ExtractiveQuestion,
        *,
        restrict_to: Span | None = None,
        progress: Progress = NO_PROGRESS,
    ) -> ExtractiveAnswer:
        """Answer a question about a video. `restrict_to`: the only part that is quoted, unless the question names another.

        Raises:
            InvalidQuestion: the question names a time that the video does not have. Cancelled: the operation was cancelled.
        """
        named_span = question.question.about(entry.duration_s).span
        answer = self._answer(entry, question, named_span, named_span or restrict_to, progress)
        clauses = unfinished_clauses(entry)
        if (
            answer.found is False
            or question.kind in ("time", "length", "nothing")
            or any(clause in answer.text for clause in clauses)
        ):
            return answer
        # Most likely the video is still being indexed.
        return replace(answer, text="\n".join([answer.text, *(f"Not all of this video is known: {item}." for item in clauses)]))

    def _answer(
        self,
        entry: VideoEntry,
        question: ExtractiveQuestion,
        named_span: Span | None,
        within: Span | None,
        progress: Progress,
    ) -> ExtractiveAnswer:
        """`named_span`: what the question names; a single time has length 0. `within`: the only part that is quoted."""
        overview = OverviewQuotes(self._library, entry, _wider(within))
        match question.kind:
            case "time":
                return self._moments(entry).answer(named_span or Span(0.0, entry.duration_s), question.aspect)
            case "mentions":
                return self._answer_mentions(entry, question.topic, within, progress)
            case "before" | "after":
                return self._answer_order(entry, question, named_span, within, progress)
            case "summary":
                return self._answer_summary(entry, within)
            case "list":
                return overview.list_entities(question.lists)
            case "languages":
                return overview.languages()
            case "speakers":
                return overview.speakers()
            case "written":
                return overview.written()
            case "seen":
                return overview.seen()
            case "length":
                return overview.length()
            case "nothing":
                return ExtractiveAnswer(NO_TOPIC, (), None, None, transcript_coverage(entry, within))
        return self._answer_content(entry, question, named_span, _wider(within), progress)

    def _moments(self, entry: VideoEntry) -> MomentQuotes:
        return MomentQuotes(self._library, entry)

    def _answer_mentions(self, entry: VideoEntry, topic: str, within: Span | None, progress: Progress) -> ExtractiveAnswer:
        """Answer when a topic is mentioned: all mentions, or that there are none, and what was listened to and read.

        Mentions have the words of the topic. What only means the same, perhaps in another language, is a closest passage.
        """
        mentions = find_mentions(
            self._library, topic, video_id=entry.video_id, sources=transcript_sources(), within=_wider(within)
        )
        coverage = transcript_coverage(entry, within)
        if not mentions:
            absence = absence_text(f"“{topic}” is not said or written", within, coverage)
            similar = find_quotes(
                self._library, self._runtime.vectors, topic, video_id=entry.video_id, within=_wider(within), progress=progress
            )
            if similar.confidence < MIN_ANSWER_CONFIDENCE:
                return ExtractiveAnswer(absence, (), None if coverage.is_empty else False, similar.confidence, coverage)
            text = "\n".join([absence, "Closest passages, in other words:", *map(quote_line, similar.quotes)])
            return ExtractiveAnswer(text, cite(entry, similar.quotes), None, similar.confidence, coverage)
        text = "\n".join([f"“{topic}” is mentioned {_count_text(mentions, topic)}:", *map(quote_line, mentions[:MAX_MENTIONS])])
        if len(mentions) > MAX_MENTIONS:
            text += f"\n… and in {len(mentions) - MAX_MENTIONS:,} more places."
        return ExtractiveAnswer(text, cite(entry, mentions[:MAX_MENTIONS]), True, 1.0, coverage)

    def _answer_order(
        self,
        entry: VideoEntry,
        question: ExtractiveQuestion,
        named_span: Span | None,
        within: Span | None,
        progress: Progress,
    ) -> ExtractiveAnswer:
        """Quote the first mentions of a topic, and what is said and shown before or after each of them."""
        mentions = find_mentions(
            self._library, question.topic, video_id=entry.video_id, sources=transcript_sources(), within=_wider(within)
        )
        if not mentions:
            return self._answer_content(entry, question, named_span, _wider(within), progress)
        is_after = question.kind == "after"
        lines: list[str] = []
        quotes: list[Quote] = []
        for mention in mentions[:MAX_ORDERED_MENTIONS]:
            if any(mention.text in quote.text for quote in quotes):
                # It stands there as what comes before or after an earlier mention.
                continue
            neighbours = [item for item in self._moments(entry).neighbours(mention, is_after=is_after) if item not in quotes]
            if quotes and not neighbours:
                # All of them are there with an earlier mention.
                continue
            lines_shown = list(map(quote_line, neighbours)) or [f"Nothing else is said or written {question.kind} it."]
            lines += [quote_line(mention), f"{question.kind.capitalize()} it:", *lines_shown]
            quotes += [mention, *neighbours]
        if len(mentions) > MAX_ORDERED_MENTIONS:
            lines.append(f"“{question.topic}” is mentioned in {len(mentions) - MAX_ORDERED_MENTIONS:,} more places.")
        return ExtractiveAnswer("\n".join(lines), cite(entry, quotes), True, None, transcript_coverage(entry, within))

    def _answer_summary(self, entry: VideoEntry, within: Span | None) -> ExtractiveAnswer:
        """Tell what a video is about: its chapters, with a quote each."""
        coverage = transcript_coverage(entry, within)
        if entry.chapters:
            chapters = [item for item in entry.chapters if within is None or item.span.overlap_s(within) > 0]
            lines = [f"{times_text(item.span)}  {item.text}" for item in chapters]
            citations = tuple(Citation(entry.video_id, item.span, "captions", item.text) for item in chapters)
            return ExtractiveAnswer("\n".join(["The chapters of its captions:", *lines]), citations, True, None, coverage)
        topics = [item for item in self._chapters.topics(entry) if within is None or item.span.overlap_s(within) > 0]
        if not topics and (captions := entry.track("captions")) and captions.segment_count:
            return OverviewQuotes(self._library, entry, within).seen()
        if not topics:
            text = absence_text("Nothing is said or written", within, coverage)
            return ExtractiveAnswer(text, (), None if coverage.is_empty else False, None, coverage)
        head = "Its parts, divided where the topic shifts, with a quote from each:"
        lines = [
            f"{times_text(topic.span)}  {source_label(topic.source)} at {format_time(topic.title_span.start_s)}: “{topic.title}”"
            for topic in topics
        ]
        citations = tuple(Citation(entry.video_id, topic.title_span, topic.source, topic.title) for topic in topics)
        return ExtractiveAnswer("\n".join([head, *lines]), citations, True, None, coverage)

    def _answer_content(
        self,
        entry: VideoEntry,
        question: ExtractiveQuestion,
        named_span: Span | None,
        within: Span | None,
        progress: Progress,
    ) -> ExtractiveAnswer:
        """Quote what answers a question best, and say how sure that is."""
        matches = find_quotes(
            self._library,
            self._runtime.vectors,
            question.topic or question.question.text,
            video_id=entry.video_id,
            within=within,
            limit=MAX_QUOTES,
            progress=progress,
        )
        coverage, confidence = transcript_coverage(entry, within), matches.confidence
        lines = [*map(quote_line, matches.quotes)]
        is_short = named_span is not None and named_span.duration_s <= MAX_LISTED_S
        if named_span is not None and is_short and question.kind == "content" and confidence < MIN_ANSWER_CONFIDENCE:
            # Who asks about a moment wants what is said then, in whichever words the question is.
            return self._moments(entry).answer(named_span, question.aspect)
        if question.kind == "looks":
            head = "Words do not tell what the pictures show."
            if not lines or confidence < MIN_QUOTE_CONFIDENCE:
                return ExtractiveAnswer(head, (), None, confidence, coverage, SIGHT_HINT)
            answer = "\n".join([f"{head} The closest words:", *lines])
            return ExtractiveAnswer(answer, cite(entry, matches.quotes), None, confidence, coverage, SIGHT_HINT)
        if not lines or confidence < MIN_QUOTE_CONFIDENCE:
            absence = absence_text("Not said or written", within, coverage)
            # What somebody asks about may be seen without being said.
            hint = NOT_LOOKED_AT if entry.has_frames and not entry.chapters else ""
            return ExtractiveAnswer(absence, (), None if coverage.is_empty else False, confidence, coverage, hint)
        citations = cite(entry, matches.quotes)
        if confidence < MIN_ANSWER_CONFIDENCE:
            answer = "\n".join(["Closest passages; it may not be answered here:", *lines, f"Searched: {coverage}."])
            return ExtractiveAnswer(answer, citations, None, confidence, coverage)
        answer = "\n".join(["Quoted from the video, best match first:", *lines])
        return ExtractiveAnswer(answer, citations, True, confidence, coverage)


def _count_text(mentions: Sequence[Quote], topic: str) -> str:
    """Return how often a topic is mentioned, in words; of each kind if it is said and written."""
    said, written = (
        sum(count_occurrences(quote.text, topic) for quote in mentions if traits_of(quote.source).is_spoken == is_spoken)
        for is_spoken in (True, False)
    )
    detail = f" (said {_often_text(said)}, written {_often_text(written)})" if said and written else ""
    return _often_text(said + written) + detail


def _often_text(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"


def _wider(span: Span | None) -> Span | None:
    """Return a span; a single time is widened."""
    if span is None or span.duration_s > 0:
        return span
    return Span(max(0.0, span.start_s - CONTENT_MARGIN_S), span.end_s + CONTENT_MARGIN_S)
