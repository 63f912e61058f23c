"""Documents that others are made of: spans, errors, coverage, provenance."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, Field

from longview.core.time_format import format_time
from longview.core.timeline import Box, Span

if TYPE_CHECKING:
    from longview.app.qa.transcript_coverage import TranscriptCoverage
    from longview.indexing.records.track import Provenance
    from longview.model.tasks.coverage import Coverage


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


class BoxOut(BaseModel):
    """A rectangle in the frame, in shares of its width and height from the top left corner."""

    left: float
    top: float
    right: float
    bottom: float

    @classmethod
    def of(cls, box: Box | None) -> Self | None:
        """Return the document of a box; None for what is not read from frames."""
        return cls(left=box.left, top=box.top, right=box.right, bottom=box.bottom) if box else None


class WordsCoverageOut(BaseModel):
    """What was listened to and read for an answer from words."""

    listened_s: float
    subtitles: int
    frames_read: int
    examined_s: dict[str, float] = Field(description="Time in which other sources, such as music, looked, in seconds, by name.")
    gaps: list[str]

    @classmethod
    def of(cls, coverage: "TranscriptCoverage") -> Self:
        """Return the document of the coverage of words."""
        return cls(
            listened_s=round(coverage.listened_s, 3),
            subtitles=coverage.subtitles,
            frames_read=coverage.frames_read,
            examined_s={name: round(time_s, 3) for name, time_s in coverage.examined_s.items()},
            gaps=list(coverage.gaps),
        )


class ErrorOut(BaseModel):
    """An expected error: a stable code for programs, and a sentence for users."""

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
    prompt_tokens: int
    """Number of tokens of the prompts with these frames, as the engine or the server counted them."""

    @classmethod
    def of(cls, coverage: "Coverage") -> Self:
        """Return the document of a coverage."""
        return cls(
            seconds=round(coverage.seconds, 3),
            frames=coverage.frames,
            patch_period_s=round(coverage.patch_period_s, 4),
            uncovered=[SpanOut.of(span) for span in coverage.uncovered],
            prompt_tokens=coverage.prompt_tokens,
        )


class ProvenanceOut(BaseModel):
    """What made a result: checkpoint, version of the prompts, sampling plan."""

    checkpoint: str
    prompt_version: str
    plan: dict[str, Any]
    revision: str
    """Commit of the Hugging Face Hub; empty if it is unknown."""
    profile: str
    """Name of the checkpoint's profile; empty if it is unknown, and for models without one."""

    @classmethod
    def of(cls, provenance: "Provenance") -> Self:
        """Return the document of a provenance."""
        return cls(**asdict(provenance))

    @classmethod
    def of_all(cls, provenance: "Sequence[Provenance]") -> "Self | list[Self]":
        """Return the document of one provenance, or the documents of several."""
        documents = [cls.of(item) for item in provenance]
        return documents[0] if len(documents) == 1 else documents
