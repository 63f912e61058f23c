"""The documents of the commands that write files, check and measure."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Literal, Self

from pydantic import BaseModel

from longview.app.schemas.base import SpanOut

if TYPE_CHECKING:
    from longview.app.diagnostics.findings import Finding
    from longview.app.files.originals import RelinkReport
    from longview.app.maintenance.backup import BackupReport
    from longview.app.maintenance.restore import RestoreReport
    from longview.app.serving.cuts import RequestedCut


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


class RequestedCutDocument(BaseModel):
    """The document of a part of a video that a server writes to a file, to be downloaded."""

    video_id: str
    cut_id: str
    state: Literal["running", "ready", "failed"]
    """`running`: it is being written, or waits for others."""
    fraction: float
    """The completed fraction, 0 to 1."""
    reason: str | None
    """Why it failed, as a sentence; null otherwise."""
    start_s: float
    """Start of what the file has, once it is ready; a copy begins at a key frame. Until then, that of the request."""
    end_s: float
    exact: bool
    """Whether it is encoded again, and not copied."""
    name: str | None
    """Name of the download; null until it is ready."""
    bytes: int | None
    """Size of the file; null until it is ready."""

    @classmethod
    def of(cls, cut: "RequestedCut") -> Self:
        """Describe a cut."""
        status, result = cut.preparation.status, cut.result
        span = result.span if result else cut.span
        return cls(
            video_id=cut.video_id,
            cut_id=cut.cut_id,
            state="failed" if status == "failed" else "ready" if status == "done" else "running",
            fraction=1.0 if status == "done" else round(cut.preparation.fraction, 3),
            reason=cut.preparation.reason if status == "failed" else None,
            start_s=round(span.start_s, 3),
            end_s=round(span.end_s, 3),
            exact=cut.is_exact,
            name=cut.name if status == "done" else None,
            bytes=cut.size_bytes if status == "done" else None,
        )


class CutsDocument(BaseModel):
    """The parts of a video that a server has written to files, or is writing, in the order of their time."""

    video_id: str
    cuts: list[RequestedCutDocument]


class ContactSheetDocument(BaseModel):
    """The document of `contact-sheet`."""

    path: str
    times_s: list[float]
    undecodable_s: list[float]


class DoctorDocument(BaseModel, extra="allow"):
    """The document of `doctor`: facts by name, and problems as sentences."""

    problems: list[str]
    remarks: list[str] = []
    """Notes that are not problems of the installation, such as damaged video files."""


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
    def of(cls, finding: "Finding") -> Self:
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
    def of(cls, report: "RelinkReport") -> Self:
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


class BackupDocument(BaseModel):
    """The document of `backup`: what was written and read back."""

    path: str
    size_bytes: int
    schema_version: int
    created_at: str
    video_count: int
    segment_count: int
    file_count: int
    """Number of video files in the back-up."""
    missing: list[str]
    """Ids of videos whose files should be in the back-up, and are not there or were changed."""

    @classmethod
    def of(cls, report: "BackupReport") -> Self:
        """Describe a report."""
        manifest = report.manifest
        return cls(
            path=str(report.path),
            size_bytes=report.size_bytes,
            schema_version=manifest.schema_version,
            created_at=manifest.created_at,
            video_count=manifest.video_count,
            segment_count=manifest.segment_count,
            file_count=len(manifest.members) - 1,
            missing=[entry.video_id for entry in report.missing],
        )


class RestoreDocument(BaseModel):
    """The document of `restore`: what was restored, and what is kept of the library before."""

    library: str
    created_at: str
    """When the back-up was made."""
    video_count: int
    segment_count: int
    restored_files: int
    """Number of video files that were written."""
    kept: str | None
    """The file that has the database from before; None if there was none."""
    missing: list[str]
    """Ids of videos whose files are neither in the back-up nor where they were."""

    @classmethod
    def of(cls, report: "RestoreReport") -> Self:
        """Describe a report."""
        manifest = report.manifest
        return cls(
            library=str(report.library),
            created_at=manifest.created_at,
            video_count=manifest.video_count,
            segment_count=manifest.segment_count,
            restored_files=report.restored_files,
            kept=str(report.kept) if report.kept else None,
            missing=[entry.video_id for entry in report.missing],
        )


class EvalDocument(BaseModel, extra="allow"):
    """The document of `eval`: the report of one suite, and the files that have it."""

    suite: str
    checkpoint: str
    device: str
    paths: list[str]
    notice: str | None
