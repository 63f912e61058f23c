"""The documents of uploads in parts."""

from base64 import b64encode
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

from pydantic import BaseModel

from longview.app.schemas.jobs import JobOut

if TYPE_CHECKING:
    from longview.app.serving.upload_completion import CompleteUpload
    from longview.app.serving.upload_files import UploadFiles


class UploadOut(BaseModel):
    """An upload in parts, and what has arrived of it."""

    upload_id: str
    name: str
    size_bytes: int
    modified_ms: int
    """Time of change of the file on the machine of the client, in milliseconds since the epoch."""
    part_bytes: int
    """Size of each part but the last one, in bytes."""
    received: list[tuple[int, int]]
    """The parts that have arrived, as the first and the last number of each run of them."""
    received_bytes: int
    expires_at: str
    """Time at which it is deleted if no part arrives until then, in ISO 8601."""
    status: str
    """`unfinished` or `done`."""
    is_active: bool
    """Whether a client is sending it now, or the server is checking it."""
    job_id: int | None
    """The job that indexes the file; null while the upload is unfinished."""
    sha256: str | None
    """SHA-256 of the whole file, hexadecimal; null until the server has hashed it."""

    @classmethod
    def of(cls, upload: "UploadFiles", kept_s: float, *, is_active: bool) -> Self:
        """Return the document of an upload. `kept_s`: time from its last part to its deletion, in seconds."""
        state = upload.state
        is_done = state.job_id is not None
        received = [(0, upload.part_count - 1)] if is_done else upload.received()
        sizes = (min((last + 1) * state.part_bytes, state.size_bytes) - first * state.part_bytes for first, last in received)
        return cls(
            upload_id=upload.upload_id,
            name=state.name,
            size_bytes=state.size_bytes,
            modified_ms=state.modified_ms,
            part_bytes=state.part_bytes,
            received=received,
            received_bytes=sum(sizes),
            expires_at=datetime.fromtimestamp(upload.changed_s + kept_s, UTC).isoformat(timespec="seconds"),
            status="done" if is_done else "unfinished",
            is_active=is_active and not is_done,
            job_id=state.job_id,
            sha256=state.sha256 or None,
        )


class UploadsDocument(BaseModel):
    """The unfinished uploads; the one whose last part is the newest comes first."""

    uploads: list[UploadOut]


class UploadDigestsDocument(BaseModel):
    """The digests of what has arrived of an upload, with which a client finds out whether its file is still the same."""

    digests: list[str]
    """The SHA-256 of each part in base64; empty for one that has not arrived."""

    @classmethod
    def of(cls, digests: Sequence[bytes]) -> Self:
        """Return the document of the digests of all parts, which have zeros for one that has not arrived."""
        return cls(digests=[b64encode(digest).decode() if any(digest) else "" for digest in digests])


class CompleteUploadDocument(BaseModel):
    """The end of an upload: the job of the file, and its hash."""

    job: JobOut
    sha256: str
    already_there: bool
    """Whether the library had the content already, or a job for it."""

    @classmethod
    def of(cls, complete: "CompleteUpload") -> Self:
        """Return the document of a complete upload."""
        return cls(job=JobOut.of(complete.job), sha256=complete.sha256, already_there=complete.is_repeated)
