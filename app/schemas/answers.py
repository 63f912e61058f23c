"""The documents of the commands that find and answer."""

from typing import TYPE_CHECKING, Self

from pydantic import BaseModel

from longview.app.schemas.base import BoxOut, CoverageOut, ErrorOut, ProvenanceOut, SpanOut, WordsCoverageOut

if TYPE_CHECKING:
    from longview.app.qa.answers import Answer
    from longview.app.qa.citations import Citation
    from longview.app.qa.locator import Location
    from longview.indexing.records.track import Provenance
    from longview.indexing.search.search import Evidence, Moment


class OccurrenceOut(SpanOut):
    """One occurrence of a query."""

    source: str
    """`video`: the frames show it; else the source whose words mention it."""
    text: str | None
    """The words that mention it; None for what the frames show."""
    uncertainty_s: float | None
    """Uncertainty of start and end, in seconds; None for words, which have the times of their sentence or line."""
    verified: bool | None
    """None: it was not verified, or no reply decided it."""


class LocateDocument(BaseModel):
    """The document of `locate`."""

    query: str
    video_id: str
    spans: list[OccurrenceOut]
    """Occurrences in the frames, and then those in words, each in order of time."""
    found: bool | None
    """None: the query was not found, but some replies were unreadable or contradict its absence (see `unresolved`), or no
    checkpoint knows the footage."""
    unresolved: list[SpanOut]
    coverage: CoverageOut | None
    """What was searched of the frames; None if no checkpoint knows the footage."""
    words: WordsCoverageOut | None
    """What was listened to and read; None for a video without tracks of words."""
    provenance: ProvenanceOut | list[ProvenanceOut]
    notice: str | None

    @classmethod
    def of(cls, video_id: str, result: "Location", provenance: "Provenance", notice: str | None) -> Self:
        """Return the document of a localisation."""
        spans = [
            OccurrenceOut(
                **SpanOut.fields_of(item.span),
                source="video",
                text=None,
                uncertainty_s=round(item.uncertainty_s, 3),
                verified=item.is_verified,
            )
            for item in result.occurrences
        ]
        spans += [
            OccurrenceOut(
                **SpanOut.fields_of(quote.span), source=quote.source, text=quote.text, uncertainty_s=None, verified=None
            )
            for quote in result.mentions
        ]
        frames = result.frames
        return cls(
            query=result.query,
            video_id=video_id,
            spans=spans,
            found=result.is_found,
            unresolved=[SpanOut.of(span) for span in (frames.unresolved if frames else ())],
            coverage=CoverageOut.of(frames.coverage) if frames else None,
            words=WordsCoverageOut.of(result.transcript_coverage) if result.transcript_coverage else None,
            provenance=ProvenanceOut.of(provenance),
            notice=notice,
        )


class CitationOut(SpanOut):
    """A span that an answer cites, and the text of its source."""

    video_id: str
    source: str
    text: str

    @classmethod
    def of_citation(cls, citation: "Citation") -> Self:
        """Return the document of a citation."""
        return cls(**cls.fields_of(citation.span), video_id=citation.video_id, source=citation.source, text=citation.text)


class AskDocument(BaseModel):
    """The document of `ask`."""

    question: str
    answer: str
    thoughts: str
    """What the checkpoint thought before its answer; empty if it did not think."""
    citations: list[CitationOut]
    first_token_s: float
    total_s: float
    coverage: CoverageOut
    verified: bool
    """Whether the times that the answer names were verified."""
    quoted: bool
    """Whether the answer consists of quotes, because no checkpoint here could answer it."""
    found: bool | None
    """For quotes: whether they answer the question. Null: they are only the closest passages, or a checkpoint answered."""
    confidence: float | None
    """For quotes: the confidence that an answer is among them, from 0 to 1."""
    words: WordsCoverageOut | None
    """For quotes: what was listened to and read."""
    provenance: ProvenanceOut | list[ProvenanceOut]
    notice: str | None

    @classmethod
    def of(cls, question: str, answer: "Answer", *, verified: bool, notice: str | None) -> Self:
        """Return the document of an answer."""
        return cls(
            question=question,
            answer=answer.text,
            thoughts=answer.thoughts,
            citations=[CitationOut.of_citation(item) for item in answer.citations],
            first_token_s=round(answer.first_token_s, 3),
            total_s=round(answer.total_s, 3),
            coverage=CoverageOut.of(answer.coverage),
            verified=verified,
            quoted=answer.quoted,
            found=answer.found,
            confidence=answer.confidence,
            words=WordsCoverageOut.of(answer.transcript_coverage) if answer.transcript_coverage else None,
            provenance=ProvenanceOut.of_all(answer.provenance),
            notice=notice,
        )


class FailedAnswerOut(BaseModel):
    """A question of an interactive conversation that could not be answered."""

    question: str
    error: ErrorOut


class ConversationDocument(BaseModel):
    """The document of `ask --interactive`."""

    answers: list[AskDocument | FailedAnswerOut]


class EvidenceOut(SpanOut):
    """A segment that supports a search result."""

    source: str
    text: str
    language: str | None
    confidence: float | None
    highlights: list[tuple[int, int]]
    """Ranges of characters of the text that match the query."""
    box: BoxOut | None

    @classmethod
    def of_evidence(cls, item: "Evidence") -> Self:
        """Return the document of the evidence for a moment."""
        segment = item.segment
        return cls(
            **cls.fields_of(item.span),
            source=segment.source,
            text=segment.text,
            language=segment.language,
            confidence=segment.confidence,
            highlights=list(item.highlights),
            box=BoxOut.of(segment.box),
        )


class MomentOut(SpanOut):
    """One search result. Its times, text and source are those of the best evidence."""

    video_id: str
    title: str
    text: str
    score: float
    source: str
    evidence: list[EvidenceOut]
    """Segments of different sources at this time, best first."""
    verified: bool | None
    """Whether the video confirms the caption; None for what is said or written, which is not verified."""
    has_words: bool
    """Whether it has a word of the query; otherwise it is only similar in meaning."""

    @classmethod
    def of_moment(cls, moment: "Moment") -> Self:
        """Return the document of a moment."""
        return cls(
            **cls.fields_of(moment.span),
            video_id=moment.video_id,
            title=moment.title,
            text=moment.text,
            score=moment.score,
            source=moment.source,
            evidence=[EvidenceOut.of_evidence(item) for item in moment.evidence],
            verified=moment.verified,
            has_words=moment.has_words,
        )


class SearchDocument(BaseModel):
    """The document of `search`."""

    query: str
    moments: list[MomentOut]
    """Moments that fit the query, best first, and then those that verification rejected (`verified` is false)."""
    rejected: int
    """Number of moments that verification rejected."""
    notice: str | None
