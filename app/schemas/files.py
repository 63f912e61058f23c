"""The documents of the verbs that write files, check and measure."""

from dataclasses import asdict
from typing import Self

from pydantic import BaseModel

from longview.app.library_check import Finding
from longview.app.originals import RelinkReport
from longview.app.schemas.base import SpanOut


class ExportDocument(BaseModel):
    """The document of `export`: the content, or the file that has it."""

    video_id: str
    format: str
    sources: list[str]
    version: int | None = None
    """Number of the track; None if the current tracks of `sources` were exported."""
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


class FindingOut(BaseModel):
    """Something that `check` found to be broken."""

    area: str
    """`database`, `vectors`, `caches`, `weights` or `originals`."""
    problem: str
    advice: str
    is_repairable: bool
    repaired: str | None
    """What was done about it; None if it is still broken."""

    @classmethod
    def of(cls, finding: Finding) -> Self:
        """Describe a finding."""
        return cls(**asdict(finding))


class CheckDocument(BaseModel):
    """The document of `check`: what is broken, and what was repaired."""

    is_intact: bool
    """Whether nothing is broken, or all of it was repaired."""
    findings: list[FindingOut]


class RelinkedOut(BaseModel):
    """A video whose file is at another path than before."""

    video_id: str
    title: str
    old_path: str
    path: str | None
    """The new path; None if the file is still missing."""


class RelinkDocument(BaseModel):
    """The document of `relink`: which missing files were found."""

    found: list[RelinkedOut]
    missing: list[RelinkedOut]
    unreadable_count: int
    """Number of files and folders that could not be read."""

    @classmethod
    def of(cls, report: RelinkReport) -> Self:
        """Describe a report."""
        return cls(
            found=[
                RelinkedOut(
                    video_id=item.entry.video_id, title=item.entry.title, old_path=str(item.entry.path), path=str(item.path)
                )
                for item in report.found
            ],
            missing=[
                RelinkedOut(video_id=entry.video_id, title=entry.title, old_path=str(entry.path), path=None)
                for entry in report.missing
            ],
            unreadable_count=len(report.unreadable),
        )


class EvalDocument(BaseModel, extra="allow"):
    """The document of `eval`: the report of one suite, and the files that have it."""

    suite: str
    checkpoint: str
    device: str
    paths: list[str]
    notice: str | None
