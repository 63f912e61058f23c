"""An upload in parts on the disk: its description, its bytes, and the digest of each part that has arrived.

The file `digests` has 32 bytes for each part: its SHA-256, or zeros while it is missing. A digest is written after its part is on
the disk, so a part that counts is there, whatever ends the server, and the next server finds it.
"""

import hashlib
import re
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from longview.app.errors import BadRequest, UnknownUpload, UploadDamaged
from longview.app.serving.upload_cache import CACHE
from longview.core.atomic import PARTIAL_PREFIX, atomic_write, create_folder, sync_file, sync_folder
from longview.indexing.library_files import delete_inside, is_inside

try:
    import fcntl
except ImportError:
    # Windows: several servers of one library are not told apart there.
    fcntl = None  # type: ignore[assignment]

UNFINISHED = "unfinished"
"""Folder of the uploads in parts inside of the upload cache of a library."""
ID_BYTES = 24
"""Number of random bytes of an id, which nobody guesses."""
UPLOAD_ID = re.compile(r"[A-Za-z0-9_-]{32}")
"""Ids of uploads: `ID_BYTES` in base64."""
STATE, DIGESTS, LOCK, DATA = "upload.json", "digests", "lock", "data"
"""Names of the files of an upload; that of its bytes is followed by the suffix of the file."""
DIGEST_BYTES = 32
MISSING = bytes(DIGEST_BYTES)
"""Digest of a part that has not arrived."""
MAX_PART_BYTES = 16 << 20
"""Maximum size of a part that this version reads, in bytes."""


class UploadState(BaseModel):
    """What is known of an upload beside its bytes."""

    model_config = ConfigDict(frozen=True)

    name: str
    """Name of the file, whose suffix is one of a video or sound file."""
    size_bytes: int = Field(ge=1)
    modified_ms: int
    """Time of change of the file on the machine of the client, in milliseconds since the epoch."""
    fingerprint: str = ""
    """Digest with which the client tells files of the same name, size and time of change apart."""
    part_bytes: int = Field(ge=1, le=MAX_PART_BYTES)
    sha256: str = ""
    """SHA-256 of the whole file, hexadecimal; empty until all of it was hashed."""
    content_hash: str = ""
    """The hash by which the library knows the content; empty until all of it was hashed."""
    job_id: int | None = None
    """The job that was added for the file; None until the upload is complete."""
    is_repeated: bool = False
    """Whether the library had the content already when the upload was complete."""


class UploadFiles:
    """One upload on the disk. Changes need the lock (`locked`)."""

    def __init__(self, library: Path, upload_id: str, state: UploadState) -> None:
        self._library, self.upload_id, self.state = library, upload_id, state
        self.folder = unfinished_folder(library) / upload_id
        self.data = self.folder / (DATA + Path(state.name).suffix.lower())

    @classmethod
    def create(cls, library: Path, state: UploadState) -> Self:
        """Create an upload without parts.

        Raises:
            OSError: the disk is full, or cannot be written. BadRequest: the folder is a link to one outside of the library.
        """
        parent = unfinished_folder(library)
        if not is_inside(library, parent / STATE):
            raise BadRequest(
                f"Uploads cannot be stored in {parent}, because a link leads from there to another folder: replace the link "
                "with a folder, or enter the path of the file on this machine."
            )
        upload = cls(library, secrets.token_urlsafe(ID_BYTES), state)
        create_folder(parent)
        # The folder gets its name when all of it is there.
        partial = parent / f"{PARTIAL_PREFIX}{upload.upload_id}"
        try:
            partial.mkdir()
            (partial / LOCK).touch()
            (partial / upload.data.name).touch()
            # Zeros that are written, and not left out, have their place on the disk.
            (partial / DIGESTS).write_bytes(MISSING * upload.part_count)
            sync_file(partial / DIGESTS)
            _write_state(partial, state)
            partial.rename(upload.folder)
        except OSError:
            delete_inside(library, partial)
            raise
        sync_folder(parent)
        return upload

    @classmethod
    def open(cls, library: Path, upload_id: str) -> Self:
        """Open an upload.

        Raises:
            UnknownUpload: there is none with this id.
        """
        if UPLOAD_ID.fullmatch(upload_id) and is_inside(library, unfinished_folder(library) / upload_id / STATE):
            try:
                text = (unfinished_folder(library) / upload_id / STATE).read_bytes()
                return cls(library, upload_id, UploadState.model_validate_json(text))
            except (OSError, ValidationError):
                pass
        raise UnknownUpload("There is no such upload: it was given up, or it is older than a day; send the file again.")

    # -- parts ---------------------------------------------------------------------------------------------------------

    @property
    def part_count(self) -> int:
        """The number of parts of the whole file."""
        return -(-self.state.size_bytes // self.state.part_bytes)

    def part_size(self, number: int) -> int:
        """Return the size of a part in bytes; 0 if there is no such part."""
        return max(0, min(self.state.part_bytes, self.state.size_bytes - number * self.state.part_bytes)) if number >= 0 else 0

    def digests(self) -> list[bytes]:
        """Return the SHA-256 of each part, or `MISSING`.

        Raises:
            UnknownUpload: the upload was given up.
        """
        try:
            content = (self.folder / DIGESTS).read_bytes().ljust(self.part_count * DIGEST_BYTES, b"\0")
        except FileNotFoundError as error:
            raise UnknownUpload("The upload was given up or is complete; send the file again.") from error
        return [content[start : start + DIGEST_BYTES] for start in range(0, self.part_count * DIGEST_BYTES, DIGEST_BYTES)]

    def received(self) -> list[tuple[int, int]]:
        """Return the parts that have arrived, as the first and the last number of each run of them."""
        runs: list[tuple[int, int]] = []
        for number, digest in enumerate(self.digests()):
            if digest == MISSING:
                continue
            if runs and runs[-1][1] == number - 1:
                runs[-1] = (runs[-1][0], number)
            else:
                runs.append((number, number))
        return runs

    def digest_of(self, number: int) -> bytes:
        """Return the SHA-256 of a part, or `MISSING`.

        Raises:
            UnknownUpload: the upload was given up.
        """
        try:
            with (self.folder / DIGESTS).open("rb") as file:
                file.seek(number * DIGEST_BYTES)
                return file.read(DIGEST_BYTES).ljust(DIGEST_BYTES, b"\0")
        except FileNotFoundError as error:
            raise UnknownUpload("The upload was given up or is complete; send the file again.") from error

    def write_part(self, number: int, data: bytes | bytearray, digest: bytes) -> None:
        """Store a part, and then count it. Of one that cannot be stored, nothing stays.

        Raises:
            OSError: the disk is full, or cannot be written.
        """
        try:
            _write_at(self.data, number * self.state.part_bytes, data)
            _write_at(self.folder / DIGESTS, number * DIGEST_BYTES, digest)
        except OSError:
            self._cut(number)
            raise

    def _cut(self, number: int) -> None:
        """Cut the bytes off from a part on. Later parts no longer count, and are sent again."""
        if any(digest != MISSING for digest in self.digests()[number:]):
            _write_at(self.folder / DIGESTS, number * DIGEST_BYTES, MISSING * (self.part_count - number))
        with self.data.open("r+b") as file:
            if file.seek(0, 2) > number * self.state.part_bytes:
                file.truncate(number * self.state.part_bytes)

    def read_part(self, number: int) -> bytes:
        """Return the bytes of a part that has arrived.

        Raises:
            UploadDamaged: they are not those that have arrived; the part no longer counts. OSError: they cannot be read.
        """
        with self.data.open("rb") as file:
            file.seek(number * self.state.part_bytes)
            data = file.read(self.part_size(number))
        if hashlib.sha256(data).digest() != self.digest_of(number):
            _write_at(self.folder / DIGESTS, number * DIGEST_BYTES, MISSING)
            raise UploadDamaged(
                f"Part {number + 1} of {self.state.name} was damaged on the disk of the library after it arrived; send it again."
            )
        return data

    # -- the whole -----------------------------------------------------------------------------------------------------

    @property
    def changed_s(self) -> float:
        """The time at which the last part has arrived, or the upload was begun or completed, in seconds since the epoch."""
        times = [0.0]
        for name in (STATE, DIGESTS):
            try:
                times.append((self.folder / name).stat().st_mtime)
            except OSError:
                continue
        # A clock that was set back does not keep an upload for ever.
        return min(time.time(), max(times))

    def change(self, state: UploadState) -> None:
        """Store another state.

        Raises:
            OSError: the disk is full, or cannot be written.
        """
        _write_state(self.folder, state)
        self.state = state

    def finish(self, job_id: int, *, is_repeated: bool) -> None:
        """Note the job of a complete upload, and delete its bytes unless they were moved away, with what a kill has left.

        Raises:
            OSError: the disk is full, or cannot be written.
        """
        self.change(self.state.model_copy(update={"job_id": job_id, "is_repeated": is_repeated}))
        for path in self.folder.iterdir():
            if path.name not in (STATE, LOCK):
                delete_inside(self._library, path)

    def delete(self) -> None:
        """Delete the upload. What a kill leaves is not found any more, and is deleted with those that have expired.

        Raises:
            OSError: it cannot be deleted.
        """
        delete_inside(self._library, self.folder / STATE)
        delete_inside(self._library, self.folder)


def unfinished_folder(library: Path) -> Path:
    """Return the folder of the uploads in parts of a library; nothing is created."""
    return library / CACHE / UNFINISHED


class UploadLocks:
    """One lock for each upload, for the threads of this process and for other servers of the same library."""

    def __init__(self) -> None:
        self._locks: dict[str, threading.Lock] = {}

    @contextmanager
    def locked(self, library: Path, upload_id: str, *, waits: bool = True) -> Iterator[UploadFiles | None]:
        """Hold the lock of an upload, and yield the upload as it is then; None if another one holds it and `waits` is false.

        Raises:
            UnknownUpload: there is none with this id, or it was given up meanwhile.
        """
        UploadFiles.open(library, upload_id)
        lock = self._locks.setdefault(upload_id, threading.Lock())
        if not lock.acquire(blocking=waits):
            yield None
            return
        try:
            with _file_lock(unfinished_folder(library) / upload_id / LOCK, waits=waits) as has_lock:
                yield UploadFiles.open(library, upload_id) if has_lock else None
        finally:
            lock.release()

    def keep(self, upload_ids: set[str]) -> None:
        """Forget the locks of uploads that are gone."""
        for upload_id in self._locks.keys() - upload_ids:
            self._locks.pop(upload_id, None)


@contextmanager
def _file_lock(path: Path, *, waits: bool) -> Iterator[bool]:
    """Hold the lock of a file against other processes; yield whether it is held."""
    try:
        file = path.open("r+b")
    except FileNotFoundError as error:
        raise UnknownUpload("The upload was given up; send the file again.") from error
    with file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
                return
        yield True


def _write_state(folder: Path, state: UploadState) -> None:
    with atomic_write(folder / STATE) as partial:
        partial.write_text(state.model_dump_json(), encoding="utf-8")


def _write_at(path: Path, start: int, data: bytes | bytearray) -> None:
    """Write bytes into a file, and wait until they are stored on its disk."""
    view = memoryview(data)
    with path.open("r+b", buffering=0) as file:
        file.seek(start)
        while view:
            view = view[file.write(view) :]
        sync_file(path)
