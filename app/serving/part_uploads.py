"""Uploads in parts: files of many gigabytes that arrive piece by piece, and resume after a lost connection or another start.

As in tus and in the draft "Resumable Uploads for HTTP" of the IETF, the server gives an id, states what it has, and deletes what
was given up. Unlike there, parts have numbers, so that several are on their way at once.
"""

import hashlib
import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from longview.app.errors import (
    BadRequest,
    NoSpace,
    TooManyUploads,
    UnknownUpload,
    UnsupportedFile,
    UploadConflict,
    UploadDamaged,
    UploadIncomplete,
)
from longview.app.files.file_names import require_sent_name
from longview.app.jobs.monitor import MIN_FREE_BYTES, free_bytes
from longview.app.serving.upload_files import MISSING, UPLOAD_ID, UploadFiles, UploadLocks, UploadState, unfinished_folder
from longview.app.serving.whole_digests import WholeDigests
from longview.app.settings import Settings
from longview.app.text.counts import size_text
from longview.core.atomic import FULL_DISK_ERRORS, PARTIAL_PREFIX
from longview.core.progress import Cancelled, Progress
from longview.indexing.library_files import delete_inside
from longview.video.errors import TooLarge
from longview.video.probing.guard import MEDIA_SUFFIXES

log = logging.getLogger(__name__)

PART_BYTES = 8 << 20
"""Size of a part in bytes: what is sent again after a lost connection, and what the server holds in memory."""
MAX_UNFINISHED = 100
"""Maximum number of unfinished uploads of a library."""
UNFINISHED_KEPT_S = 24 * 3600.0
"""Time since its last part for which an unfinished upload is kept, and a complete one is remembered, in seconds."""
EXPECTED_S = 600.0
"""Time since its last part for which the rest of an upload has its space reserved, in seconds."""
ACTIVE_S = 5.0
"""Time since its last part for which somebody is taken to send an upload, in seconds: between two parts there is a pause."""
MAX_INTEGER = (1 << 53) - 1
"""Maximum of what a browser states: it has no larger integers."""


@dataclass
class _Activity:
    """What this server knows of an upload beside its files."""

    remaining_bytes: int
    """Number of bytes that have not arrived."""
    changed_s: float
    """Time of its last part on the monotonic clock, in seconds."""
    digests: WholeDigests | None
    """Digests of the first parts; None if parts have arrived at an earlier server, so that the file is read in the end."""


class PartUploads:
    """The uploads in parts of one library. Safe for several threads, and for several servers of the library."""

    def __init__(self, settings: Settings) -> None:
        self._library = settings.library
        self._max_upload_bytes, self._max_file_bytes = settings.max_upload_bytes, settings.max_file_bytes
        self._locks = UploadLocks()
        self._begin_lock = threading.Lock()
        self._activities: dict[str, _Activity] = {}
        self._checks: dict[str, Progress] = {}
        self._requests: Counter[str] = Counter()
        self._is_closed = False

    # -- beginning -----------------------------------------------------------------------------------------------------

    def begin(self, name: str, size_bytes: int, modified_ms: int, fingerprint: str = "") -> tuple[UploadFiles, bool]:
        """Return the unfinished upload of a file, and whether it is new. The same file is found again by all of these values.

        Raises:
            BadRequest: no file has such a name, size or time. UnsupportedFile: it is not a video or sound file. TooLarge: it is
                larger than allowed. TooManyUploads: too many are unfinished. NoSpace: the disk has no space for all of it.
        """
        _require_name(name)
        if not (0 < size_bytes <= MAX_INTEGER and 0 <= modified_ms <= MAX_INTEGER):
            raise BadRequest(f"{name} is empty, or its size or time of change is not possible; choose another file.")
        self._require_size(name, size_bytes)
        state = UploadState(
            name=name, size_bytes=size_bytes, modified_ms=modified_ms, fingerprint=fingerprint, part_bytes=PART_BYTES
        )
        with self._begin_lock:
            unfinished = self.unfinished()
            self._forget_all_but({upload.upload_id for upload in unfinished})
            same = next((upload for upload in unfinished if _is_same_file(upload.state, state)), None)
            if same is None and len(unfinished) >= MAX_UNFINISHED:
                raise TooManyUploads(
                    f"{MAX_UNFINISHED} uploads are unfinished, and no more are begun: finish some of them, or give them up."
                )
            remaining_bytes = size_bytes if same is None else _remaining_bytes(same)
            self._require_space(name, remaining_bytes, same.upload_id if same else "")
            upload = same or self._create(state)
            activity = self._activities.get(upload.upload_id)
            digests = WholeDigests() if same is None else activity.digests if activity else None
            self._activities[upload.upload_id] = _Activity(remaining_bytes, time.monotonic(), digests)
        return upload, same is None

    def _create(self, state: UploadState) -> UploadFiles:
        try:
            return UploadFiles.create(self._library, state)
        except OSError as error:
            raise self._write_error(state.name, state.size_bytes, error) from error

    # -- reading -------------------------------------------------------------------------------------------------------

    def upload(self, upload_id: str) -> UploadFiles:
        """Return an upload.

        Raises:
            UnknownUpload: there is none with this id.
        """
        return UploadFiles.open(self._library, upload_id)

    def unfinished(self) -> list[UploadFiles]:
        """Return the unfinished uploads; the one whose last part is the newest comes first."""
        uploads = []
        for upload_id in _upload_ids(self._library):
            with suppress(UnknownUpload):
                upload = UploadFiles.open(self._library, upload_id)
                if upload.state.job_id is None:
                    uploads.append(upload)
        return sorted(uploads, key=lambda upload: upload.changed_s, reverse=True)

    def is_active(self, upload: UploadFiles) -> bool:
        """Whether somebody is sending or completing an upload, so that nobody else should give it up."""
        return self._requests[upload.upload_id] > 0 or time.time() - upload.changed_s < ACTIVE_S

    @contextmanager
    def in_use(self, upload_id: str) -> Iterator[None]:
        """Note that a request sends a part of an upload, or completes it. It is called in one thread only."""
        self._requests[upload_id] += 1
        try:
            yield
        finally:
            self._requests[upload_id] -= 1
            if not self._requests[upload_id]:
                del self._requests[upload_id]

    # -- parts ---------------------------------------------------------------------------------------------------------

    def store(self, upload_id: str, number: int, data: bytes | bytearray, digest: bytes) -> None:
        """Store a part, which counts once it is on the disk. `digest`: the SHA-256 that was sent with it.

        Raises:
            UnknownUpload: there is no such upload, or no such part. UploadDamaged: the part has another length or digest.
            UploadConflict: the part has arrived with other bytes, or the upload is complete. NoSpace: the disk is full.
            BadRequest: the part cannot be written.
        """
        upload = self.upload(upload_id)
        name, size = upload.state.name, upload.part_size(number)
        if not size:
            raise UnknownUpload(f"{name} has no part {number}; its parts have the numbers from 0 to {upload.part_count - 1}.")
        if len(data) != size:
            raise UploadDamaged(f"Part {number + 1} of {name} has {len(data):,} bytes instead of {size:,}; send it again.")
        if hashlib.sha256(data).digest() != digest:
            raise UploadDamaged(f"Part {number + 1} of {name} was damaged on its way: its SHA-256 differs; send it again.")
        with self._locked(upload_id) as upload:
            if upload.state.job_id is not None:
                raise UploadConflict(f"The upload of {name} is complete.")
            known_digest = upload.digest_of(number)
            if known_digest == MISSING:
                self._write(upload, number, data, digest)
            elif known_digest != digest:
                raise UploadConflict(f"{name} has changed since its upload was begun; give the upload up and begin again.")

    def _write(self, upload: UploadFiles, number: int, data: bytes | bytearray, digest: bytes) -> None:
        name = upload.state.name
        if free_bytes(self._library) - len(data) < MIN_FREE_BYTES:
            raise self._no_space(name, len(data))
        try:
            upload.write_part(number, data, digest)
        except OSError as error:
            raise self._write_error(name, len(data), error) from error
        activity = self._activities.get(upload.upload_id)
        if activity is None:
            # An earlier server has begun it.
            self._activities[upload.upload_id] = _Activity(_remaining_bytes(upload), time.monotonic(), None)
            return
        activity.remaining_bytes, activity.changed_s = max(0, activity.remaining_bytes - len(data)), time.monotonic()
        try:
            if activity.digests is not None:
                activity.digests.add(upload, number, data)
        except (UploadDamaged, OSError):
            # This part is stored. The damage of another one is stated in the end.
            activity.digests = None

    # -- the end -------------------------------------------------------------------------------------------------------

    @contextmanager
    def checked(self, upload_id: str, sha256: str = "") -> Iterator[UploadFiles]:
        """Hold the lock of an upload all of which has arrived, and yield it with the hashes of the whole file.

        `sha256`: that of the file of the client, hexadecimal, if it knows it. A complete upload is yielded as it is.

        Raises:
            UnknownUpload: there is no such upload, or it was given up meanwhile. UploadIncomplete: parts are missing.
            UploadDamaged: a part or the whole was damaged; of a damaged whole nothing stays. NoSpace, BadRequest: the disk is
                full, or cannot be read or written.
        """
        with self._locked(upload_id) as upload:
            progress = self._checks[upload_id] = Progress()
            if self._is_closed:
                progress.cancel()
            try:
                if not upload.state.sha256:
                    self._hash(upload, progress)
                if sha256 and upload.state.sha256 != sha256:
                    if upload.state.job_id is None:
                        self.delete(upload)
                    raise UploadDamaged(
                        f"{upload.state.name} was damaged on its way: the SHA-256 of what has arrived is not that of the file; "
                        "send the file again."
                    )
                yield upload
            except Cancelled as error:
                raise UnknownUpload(f"The upload of {upload.state.name} was given up.") from error
            finally:
                self._checks.pop(upload_id, None)

    def _hash(self, upload: UploadFiles, progress: Progress) -> None:
        """Hash all of an upload, and note the hashes."""
        name = upload.state.name
        missing = sum(digest == MISSING for digest in upload.digests())
        if missing:
            raise UploadIncomplete(f"{missing} of {upload.part_count} parts of {name} have not arrived; send them first.")
        activity = self._activities.get(upload.upload_id)
        digests = (activity.digests if activity else None) or WholeDigests()
        try:
            digests.read_on(upload, progress)
            if upload.data.stat().st_size != upload.state.size_bytes:
                self.delete(upload)
                raise UploadDamaged(f"The stored bytes of {name} are not as many as were sent; send the file again.")
            upload.change(upload.state.model_copy(update={"sha256": digests.sha256, "content_hash": digests.content_hash}))
        except UploadDamaged:
            # The digests have begun with what is no longer there.
            if activity is not None:
                activity.digests = None
            raise
        except OSError as error:
            raise self._write_error(name, 0, error) from error

    def give_up(self, upload_id: str) -> None:
        """Delete an upload, also while it is being checked.

        Raises:
            UnknownUpload: there is none with this id. UploadConflict: it is complete, so that a job has the file.
        """
        if check := self._checks.get(upload_id):
            check.cancel()
        with self._locked(upload_id) as upload:
            if upload.state.job_id is not None:
                raise UploadConflict(f"The upload of {upload.state.name} is complete; cancel its job instead.")
            self.delete(upload)

    def finish(self, upload: UploadFiles, job_id: int, *, is_repeated: bool) -> None:
        """Note the job of a checked upload, and delete what is left of its bytes."""
        try:
            upload.finish(job_id, is_repeated=is_repeated)
        except OSError:
            # The job has the file. Who asks again is told that there is no such upload.
            self.delete(upload)
        self._activities.pop(upload.upload_id, None)

    def delete(self, upload: UploadFiles) -> None:
        """Delete an upload whose lock is held."""
        self._activities.pop(upload.upload_id, None)
        # What cannot be deleted now is deleted later.
        with suppress(OSError):
            upload.delete()

    def close(self) -> None:
        """End the checks that run. What has arrived stays."""
        self._is_closed = True
        for progress in list(self._checks.values()):
            progress.cancel()

    # -- parts of the above --------------------------------------------------------------------------------------------

    @contextmanager
    def _locked(self, upload_id: str) -> Iterator[UploadFiles]:
        with self._locks.locked(self._library, upload_id) as upload:
            assert upload is not None
            yield upload

    def _forget_all_but(self, upload_ids: set[str]) -> None:
        for upload_id in self._activities.keys() - upload_ids:
            self._activities.pop(upload_id, None)
        self._locks.keep(upload_ids)

    def _require_size(self, name: str, size_bytes: int) -> None:
        for setting, limit in (("max_upload_bytes", self._max_upload_bytes), ("max_file_bytes", self._max_file_bytes)):
            if size_bytes > limit:
                hint = "; enter the path of the file on this machine instead" if setting == "max_upload_bytes" else ""
                raise TooLarge(f"{name} has {size_text(size_bytes)}, and the setting {setting} allows {size_text(limit)}{hint}.")

    def _require_space(self, name: str, size_bytes: int, upload_id: str) -> None:
        """Check that the disk has space for the rest of an upload, beside the rests of those that are being sent."""
        now_s = time.monotonic()
        others_bytes = sum(
            activity.remaining_bytes
            for other_id, activity in list(self._activities.items())
            if other_id != upload_id and now_s - activity.changed_s < EXPECTED_S
        )
        if free_bytes(self._library) - size_bytes - others_bytes < MIN_FREE_BYTES:
            raise self._no_space(name, size_bytes, others_bytes)

    def _no_space(self, name: str, needed_bytes: int, others_bytes: int = 0) -> NoSpace:
        others = f", {size_text(others_bytes)} of which other uploads need" if others_bytes else ""
        return NoSpace(
            f"The disk is full: {name} needs {size_text(needed_bytes)}, and the disk of the library has "
            f"{size_text(free_bytes(self._library))} free{others}; delete other files, or enter the path of the file on this "
            "machine, which copies nothing."
        )

    def _write_error(self, name: str, needed_bytes: int, error: OSError) -> NoSpace | BadRequest:
        if error.errno in FULL_DISK_ERRORS:
            return self._no_space(name, needed_bytes)
        return BadRequest(f"{name} cannot be stored in {unfinished_folder(self._library)}: {error.strerror}.")


def delete_expired_uploads(library: Path) -> None:
    """Delete the uploads in parts whose last part has arrived more than a day ago, and what kills have left of uploads."""
    before_s = time.time() - UNFINISHED_KEPT_S
    locks = UploadLocks()
    for upload_id in _upload_ids(library):
        try:
            with locks.locked(library, upload_id, waits=False) as upload:
                if upload is not None and upload.changed_s < before_s:
                    log.info("The upload of %s was given up; it is deleted.", upload.state.name)
                    upload.delete()
        except UnknownUpload:
            # Its deletion was interrupted.
            _delete_left(library, unfinished_folder(library) / upload_id)
        except OSError as error:
            log.info("The upload %s cannot be deleted: %s", upload_id, error.strerror)
    for path in _items(unfinished_folder(library)):
        with suppress(OSError):
            if path.name.startswith(PARTIAL_PREFIX) and path.lstat().st_mtime < before_s:
                _delete_left(library, path)


def _delete_left(library: Path, path: Path) -> None:
    with suppress(OSError):
        delete_inside(library, path)


def _upload_ids(library: Path) -> list[str]:
    return [path.name for path in _items(unfinished_folder(library)) if UPLOAD_ID.fullmatch(path.name)]


def _items(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _require_name(name: str) -> None:
    """Check the name of a file that is uploaded.

    Raises:
        BadRequest: no file can have it. UnsupportedFile: it is not that of a video or sound file.
    """
    require_sent_name(name)
    if not name.lower().endswith(MEDIA_SUFFIXES) or not Path(name).suffix:
        suffixes = " ".join(MEDIA_SUFFIXES)
        raise UnsupportedFile(f"The name of a video or sound file ends with one of {suffixes}; choose such a file.")


def _is_same_file(one: UploadState, other: UploadState) -> bool:
    return all(getattr(one, key) == getattr(other, key) for key in ("name", "size_bytes", "modified_ms", "fingerprint"))


def _remaining_bytes(upload: UploadFiles) -> int:
    return sum(upload.part_size(number) for number, digest in enumerate(upload.digests()) if digest == MISSING)
