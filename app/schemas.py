"""The documents that programs read: what `--json` prints. Times are in seconds on the video's clock, and also as text."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel

from longview.app.answers import Answer, Citation
from longview.app.indexer import IndexResult
from longview.app.sources import SourceReport
from longview.indexing.library import Provenance, VideoEntry
from longview.indexing.search import Evidence, Moment
from longview.indexing.tracks import Track
from longview.model.tasks.coverage import Coverage
from longview.video.probe import VideoInfo
from longview.video.time_text import format_time
from longview.video.timeline import Event, Segment, Span

if TYPE_CHECKING:
    # They import torch, which takes seconds.
    from longview.app.service import FramePlan
    from longview.model.tasks.costs import Cost
    from longview.model.tasks.localizer import Localization


def rounded(seconds: float | None) -> float | None:
    """Round an estimated time, in seconds, if it is known."""
    return None if seconds is None else round(seconds, 2)


class SpanOut(BaseModel):
    """A span of time."""

    start_s: float
    end_s: float
    start: str
    """The start as `H:MM:SS.d`."""
    end: str

    @classmethod
    def fields_of(cls, span: Span) -> dict[str, Any]:
        """Return the fields of a span, for documents that are spans with more fields."""
        return {
            "start_s": round(span.start_s, 3),
            "end_s": round(span.end_s, 3),
            "start": format_time(span.start_s),
            "end": format_time(span.end_s),
        }

    @classmethod
    def of(cls, span: Span) -> Self:
        """Return the document of a span."""
        return cls(**cls.fields_of(span))


class EventOut(SpanOut):
    """A caption with its time."""

    text: str

    @classmethod
    def of_events(cls, events: Iterable[Event]) -> list[Self]:
        """Return the documents of events."""
        return [cls(**cls.fields_of(event.span), text=event.text) for event in events]


class ErrorOut(BaseModel):
    """An expected error: a stable code for programs, and a sentence for people."""

    code: str
    message: str

    @classmethod
    def of(cls, error: Exception) -> Self:
        """Return the document of an error."""
        return cls(code=getattr(error, "code", "error"), message=str(error))


class ErrorDocument(BaseModel):
    """The one document of a call that failed."""

    error: ErrorOut


class CoverageOut(BaseModel):
    """What was searched, and what could not be searched."""

    seconds: float
    frames: int
    patch_period_s: float
    uncovered: list[SpanOut]

    @classmethod
    def of(cls, coverage: Coverage) -> Self:
        """Return the document of a coverage."""
        return cls(
            seconds=round(coverage.seconds, 3),
            frames=coverage.frames,
            patch_period_s=round(coverage.patch_period_s, 4),
            uncovered=[SpanOut.of(span) for span in coverage.uncovered],
        )


class ProvenanceOut(BaseModel):
    """What made a result: checkpoint, version of the prompts, sampling plan."""

    checkpoint: str
    prompt_version: str
    plan: dict[str, Any]

    @classmethod
    def of(cls, provenance: Provenance) -> Self:
        """Return the document of a provenance."""
        return cls(**asdict(provenance))

    @classmethod
    def of_all(cls, provenance: Sequence[Provenance]) -> "Self | list[Self]":
        """Return the document of one provenance, or the documents of several."""
        documents = [cls.of(item) for item in provenance]
        return documents[0] if len(documents) == 1 else documents


class SourceOut(BaseModel):
    """What came of one source."""

    source: str
    status: str
    """`indexed`, `up_to_date`, `skipped`, `declined` (nothing to find in this video) or `failed`."""
    reason: str
    """Why the source was not run, failed or found nothing, or what it left out."""
    segments: int
    language: str | None
    seconds_spent: float
    estimated_seconds: float | None
    error: ErrorOut | None

    @classmethod
    def of(cls, report: SourceReport) -> Self:
        """Return the document of a source's report."""
        return cls(
            source=report.source,
            status=report.status,
            reason=report.reason,
            segments=report.segments,
            language=report.language,
            seconds_spent=round(report.seconds_spent, 2),
            estimated_seconds=rounded(report.estimated_seconds),
            error=ErrorOut.of(report.error) if report.error else None,
        )


class IndexedVideoOut(BaseModel):
    """A file that was indexed."""

    video_id: str
    path: str
    status: str = "indexed"
    """`indexed`, or `partial` if a source failed."""
    duration_s: float
    events: int
    """Number of captions."""
    seconds_spent: float
    sources: list[SourceOut]
    incomplete: list[SpanOut]
    """Spans in which captions may be incomplete."""

    @classmethod
    def of(cls, result: IndexResult) -> Self:
        """Return the document of the result of `index`."""
        entry, captions = result.entry, result.entry.track("captions")
        return cls(
            video_id=entry.video_id,
            path=str(entry.path),
            status="partial" if result.failures else "indexed",
            duration_s=round(entry.duration_s, 3),
            events=entry.caption_count,
            seconds_spent=round(result.seconds_spent, 2),
            sources=[SourceOut.of(report) for report in result.reports],
            incomplete=[SpanOut.of(span) for span in (captions.uncovered if captions else ())],
        )


class FailedVideoOut(BaseModel):
    """A file that could not be indexed."""

    video_id: None = None
    path: str
    status: str = "failed"
    error: ErrorOut


class IndexDocument(BaseModel):
    """The document of `index`."""

    videos: list[IndexedVideoOut | FailedVideoOut]
    notice: str | None


class TrackOut(BaseModel):
    """What one source has found in a video."""

    source: str
    status: str
    """`complete`, `incomplete` (interrupted: `index` goes on), `declined` or `failed`."""
    segments: int
    languages: list[str]
    indexed: SpanOut
    """The part that was requested."""
    done_s: float
    """Time up to which it is complete, in seconds."""
    model: str
    """Checkpoint or speech model, and its fingerprint."""
    updated_at: str
    note: str

    @classmethod
    def of(cls, track: Track) -> Self:
        """Return the document of a track."""
        return cls(
            source=track.source,
            status=track.status,
            segments=track.segment_count,
            languages=list(track.languages),
            indexed=SpanOut.of(track.span),
            done_s=round(track.done_s, 3),
            model=track.provenance.checkpoint,
            updated_at=track.updated_at,
            note=track.note,
        )


class VideoOut(BaseModel):
    """A video of the library."""

    video_id: str
    title: str
    path: str
    duration_s: float
    events: int
    """Number of captions."""
    tracks: list[TrackOut]
    outdated: bool
    """Whether another checkpoint would now caption it."""

    @classmethod
    def of(cls, entry: VideoEntry, *, is_outdated: bool) -> Self:
        """Return the document of a library entry."""
        return cls(
            video_id=entry.video_id,
            title=entry.title,
            path=str(entry.path),
            duration_s=round(entry.duration_s, 3),
            events=entry.caption_count,
            tracks=[TrackOut.of(track) for track in entry.tracks],
            outdated=is_outdated,
        )


class ListDocument(BaseModel):
    """The document of `list`."""

    videos: list[VideoOut]


class RemoveDocument(BaseModel):
    """The document of `remove`."""

    video_id: str
    path: str
    removed: bool = True


class WindowOut(BaseModel):
    """One window of a plan."""

    start_s: float
    end_s: float
    frames: int
    tokens: int


class PlanOut(BaseModel):
    """A sampling plan in numbers, as provenance keeps it."""

    purpose: str
    frames: int
    temporal_patches: int
    height: int
    width: int
    tokens_per_patch: int
    visual_tokens: int
    timestamp_tokens: int
    total_tokens: int
    patch_period_s: float
    windows: list[WindowOut]


class CostOut(BaseModel):
    """The cost of a task before it runs."""

    sessions: int
    generations: int
    text_generations: int
    """Replies to prompts without a video."""
    seconds: float | None
    """None: the speed is unknown."""
    is_exact: bool
    """Whether the counts are exact; they are estimates where checks depend on what the checkpoint reports."""
    verify: bool
    refine: bool

    @classmethod
    def of(cls, cost: "Cost", *, verify: bool, refine: bool) -> Self:
        """Return the document of a cost, with the checks that it includes."""
        return cls(**asdict(cost) | {"seconds": rounded(cost.seconds)}, verify=verify, refine=refine)


class CostsOut(BaseModel):
    """The cost of each task: an answer, captions, a query that does not occur, and each occurrence of one."""

    ask: CostOut
    index: CostOut
    """The cost of captions; `sources` has that of the other sources."""
    locate: CostOut
    occurrence: CostOut

    @classmethod
    def of(cls, frames: "FramePlan") -> Self:
        """Return the document of the costs of a plan."""
        captions, localization = asdict(frames.checks.captions), asdict(frames.checks.localization)
        return cls(
            ask=CostOut.of(frames.ask, verify=frames.checks.answers.verify, refine=False),
            index=CostOut.of(frames.index, **captions),
            locate=CostOut.of(frames.locate, **localization),
            occurrence=CostOut.of(frames.occurrence, **localization),
        )


class PlannedSourceOut(BaseModel):
    """What `index` would do for one source."""

    source: str
    action: str
    """`run`, `keep` (it is up to date), `skip` or `decline`."""
    reason: str
    estimated_seconds: float | None


class FramePlanOut(PlanOut):
    """The plan for tasks that look at frames, and their costs."""

    estimated_seconds: float | None
    """Estimated time of an answer, in seconds."""
    estimated_bytes: int
    costs: CostsOut


class PlanDocument(BaseModel):
    """The document of `plan`."""

    sources: list[PlannedSourceOut]
    frames: FramePlanOut | None
    """None for a file without pictures."""
    video: dict[str, Any]
    key_frames_only: bool
    checkpoint: str
    notice: str | None


class CaptionDocument(BaseModel):
    """The document of `caption`."""

    video_id: str
    duration_s: float
    events: list[EventOut]
    outdated: bool
    incomplete: list[SpanOut]
    provenance: ProvenanceOut | None
    """None: the video was not captioned."""
    notice: str | None


class ChapterOut(SpanOut):
    """One chapter of a video."""

    title: str


class ChaptersDocument(BaseModel):
    """The document of `chapters`."""

    video_id: str
    duration_s: float
    summary: str
    chapters: list[ChapterOut]
    provenance: ProvenanceOut | None
    notice: str | None


class OccurrenceOut(SpanOut):
    """One occurrence of a query."""

    uncertainty_s: float
    verified: bool | None
    """None: it was not verified, or no reply decided it."""


class LocateDocument(BaseModel):
    """The document of `locate`."""

    query: str
    video_id: str
    spans: list[OccurrenceOut]
    found: bool | None
    """None: the query was not found, but some replies were unreadable or contradict its absence; see `unresolved`."""
    unresolved: list[SpanOut]
    coverage: CoverageOut
    provenance: ProvenanceOut | list[ProvenanceOut]
    notice: str | None

    @classmethod
    def of(cls, query: str, video_id: str, result: "Localization", provenance: Provenance, notice: str | None) -> Self:
        """Return the document of a localisation."""
        spans = [
            OccurrenceOut(**SpanOut.fields_of(item.span), uncertainty_s=round(item.uncertainty_s, 3), verified=item.is_verified)
            for item in result.occurrences
        ]
        return cls(
            query=query,
            video_id=video_id,
            spans=spans,
            found=result.is_found,
            unresolved=[SpanOut.of(span) for span in result.unresolved],
            coverage=CoverageOut.of(result.coverage),
            provenance=ProvenanceOut.of(provenance),
            notice=notice,
        )


class WordOut(SpanOut):
    """A spoken word."""

    text: str
    confidence: float | None


class SegmentOut(SpanOut):
    """A segment of a track."""

    text: str
    source: str
    language: str | None
    confidence: float | None
    words: list[WordOut]

    @classmethod
    def of_segment(cls, segment: Segment) -> Self:
        """Return the document of a segment."""
        words = [WordOut(**SpanOut.fields_of(word.span), text=word.text, confidence=word.confidence) for word in segment.words]
        return cls(
            **cls.fields_of(segment.span),
            text=segment.text,
            source=segment.source,
            language=segment.language,
            confidence=segment.confidence,
            words=words,
        )


class TranscriptDocument(BaseModel):
    """The document of `transcript`."""

    video_id: str
    duration_s: float
    segments: list[SegmentOut]
    tracks: list[TrackOut]
    """The tracks of speech and subtitles, which say how far they have come."""


class SubtitlesDocument(BaseModel):
    """The document of `subtitles`: what was added."""

    video_id: str
    path: str
    segments: int
    language: str | None
    unmatched_share: float | None
    """Share of a transcript's words that do not fit the speech; None for a file with times."""
    problems: list[str]


class CitationOut(SpanOut):
    """A span that an answer cites, and the text of its source."""

    video_id: str
    source: str
    text: str

    @classmethod
    def of_citation(cls, citation: Citation) -> Self:
        """Return the document of a citation."""
        return cls(**cls.fields_of(citation.span), video_id=citation.video_id, source=citation.source, text=citation.text)


class AskDocument(BaseModel):
    """The document of `ask`."""

    question: str
    answer: str
    citations: list[CitationOut]
    first_token_s: float
    total_s: float
    coverage: CoverageOut
    verified: bool
    """Whether the times that the answer names were verified."""
    provenance: ProvenanceOut | list[ProvenanceOut]
    notice: str | None

    @classmethod
    def of(cls, question: str, answer: Answer, *, verified: bool, notice: str | None) -> Self:
        """Return the document of an answer."""
        return cls(
            question=question,
            answer=answer.text,
            citations=[CitationOut.of_citation(item) for item in answer.citations],
            first_token_s=round(answer.first_token_s, 3),
            total_s=round(answer.total_s, 3),
            coverage=CoverageOut.of(answer.coverage),
            verified=verified,
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
    """A segment that speaks for a search result."""

    source: str
    text: str
    language: str | None
    confidence: float | None
    highlights: list[tuple[int, int]]
    """Ranges of characters of the text that match the query."""

    @classmethod
    def of_evidence(cls, item: Evidence) -> Self:
        """Return the document of the evidence for a moment."""
        segment = item.segment
        return cls(
            **cls.fields_of(item.span),
            source=segment.source,
            text=segment.text,
            language=segment.language,
            confidence=segment.confidence,
            highlights=list(item.highlights),
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

    @classmethod
    def of_moment(cls, moment: Moment) -> Self:
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
        )


class SearchDocument(BaseModel):
    """The document of `search`."""

    query: str
    moments: list[MomentOut]
    """Moments that fit the query, best first, and then those that verification rejected (`verified` is false)."""
    rejected: int
    """Number of moments that verification rejected."""
    notice: str | None


class ExportDocument(BaseModel):
    """The document of `export`: the content, or the file that has it."""

    video_id: str
    format: str
    sources: list[str]
    content: str | None = None
    path: str | None = None


class CutDocument(SpanOut):
    """The document of `cut`: the span that was written."""

    path: str
    reencoded: bool
    requested: SpanOut


class ContactSheetDocument(BaseModel):
    """The document of `contact-sheet`."""

    path: str
    times_s: list[float]
    undecodable_s: list[float]


class DoctorDocument(BaseModel, extra="allow"):
    """The document of `doctor`: facts by name, and problems as sentences."""

    problems: list[str]


class EvalDocument(BaseModel, extra="allow"):
    """The document of `eval`: the report of one suite, and the files that have it."""

    suite: str
    checkpoint: str
    device: str
    paths: list[str]
    notice: str | None


def video_fields(video: VideoInfo) -> dict[str, Any]:
    """Return the fields of a video file, without its path, content hash and stream index."""
    fields = asdict(video)
    for internal in ("path", "content_hash", "stream_index"):
        del fields[internal]
    return fields
