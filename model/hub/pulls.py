"""Pull repositories: ask the hub what they consist of, transfer what is missing, check its hashes, and record what was pulled."""

import errno
import logging
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout
from huggingface_hub import constants, hf_hub_download
from huggingface_hub.errors import HfHubHTTPError

from longview.core.atomic import (
    FULL_DISK_ERRORS,
    PARTIAL_PREFIX,
    atomic_write,
    create_folder,
    replace_file,
    sync_file,
    sync_folder,
)
from longview.core.progress import CANCEL_POLL_S, NO_PROGRESS, Progress
from longview.model.errors import CacheFull, CacheNotWritable, DamagedDownload
from longview.model.hub.cache import (
    PARTIAL_SUFFIX,
    RECORD_VERSION,
    PulledFile,
    PullRecord,
    broken_links,
    delete_pending_record,
    has_reference,
    read_record,
    repository_folder,
    write_pending_record,
    write_record,
    write_reference,
)
from longview.model.hub.connection import use_bounded_client
from longview.model.hub.failures import hub_errors, reply_errors
from longview.model.hub.listing import Listing, check_name, find_commit, list_repository
from longview.model.hub.transfer import HubFile, OnBytes, damaged_text, matches, transfer

log = logging.getLogger(__name__)

LOCK_FILE = "longview.lock"
WEIGHT_SUFFIXES = (".safetensors", ".bin")
MAX_HTTP_BYTES = constants.MAX_HTTP_DOWNLOAD_SIZE
"""Maximum size of a file that the hub sends by HTTP, in bytes."""
HASH_SHARE = 0.1
"""Share of a byte that is hashed in the progress; one that is transferred counts as one."""
OWN_PARTIAL = re.compile(rf"(?<![0-9a-f])[0-9a-f]++{re.escape(PARTIAL_SUFFIX)}")
"""Names of the partial files of this module. Current versions of the hub's client write a random part into theirs."""
RANGE_NOT_SATISFIABLE = 416


@dataclass(frozen=True)
class PlannedPull:
    """What a pull will transfer."""

    listing: Listing
    missing_bytes: int
    """Bytes that are not in the cache yet. What an interrupted transfer left is in the cache."""
    newer_commit: str | None = None
    """The commit of `main` on the hub, where the repository is pinned to another one."""

    @property
    def size_bytes(self) -> int:
        """Size of all files, in bytes."""
        return sum(file.size for file in self.listing.files)


@dataclass(frozen=True)
class PullResult:
    """What a pull has transferred."""

    plan: PlannedPull
    folder: Path
    """The folder of the commit in the cache."""
    transferred_bytes: int
    replaced_files: tuple[str, ...]
    """Files of the cache whose content had changed, and which were transferred again."""


def plan_pull(repo_id: str, revision: str | None = None, *, update: bool = False) -> PlannedPull:
    """Ask the hub what a pull would transfer.

    What was pulled before stays at its commit, unless another revision is named, or with `update`.

    Raises:
        InvalidCheckpoint: it is not a model that Longview loads, or the list of its files is not plausible.
        RepositoryNotFound, AccessRefused, HubUnreachable: see `longview.model.hub.failures`.
    """
    check_name(repo_id, revision)
    record = read_record(repo_id)
    if record is None or revision is not None or update:
        listing = list_repository(repo_id, revision or constants.DEFAULT_REVISION)
        return PlannedPull(listing, _missing_bytes(listing))
    newest = find_commit(repo_id)
    listing = Listing(repo_id, record.revision, record.commit, record.kind, tuple(item.file for item in record.files))
    return PlannedPull(listing, _missing_bytes(listing), newest if newest != record.commit else None)


def check_space(plans: Sequence[PlannedPull]) -> None:
    """Check that the disk of the cache has the space for all that will be transferred, and that it can be written.

    Raises:
        CacheFull, CacheNotWritable: it has not; it cannot.
    """
    needed_bytes = sum(plan.missing_bytes for plan in plans)
    folder = Path(constants.HF_HUB_CACHE).expanduser()
    while not folder.exists():
        folder = folder.parent
    if needed_bytes and not os.access(folder, os.W_OK):
        raise CacheNotWritable(f"The Hugging Face cache {folder} cannot be written; set HF_HOME to a folder of yours.")
    free_bytes = shutil.disk_usage(folder).free
    if needed_bytes > free_bytes:
        raise CacheFull(
            f"{needed_bytes / 1e9:.1f} GB are missing, but the disk of the Hugging Face cache {constants.HF_HUB_CACHE} has only "
            f"{free_bytes / 1e9:.1f} GB free; free space, or set HF_HOME to a folder on another disk."
        )


def pull(plan: PlannedPull, progress: Progress = NO_PROGRESS, on_bytes: OnBytes = lambda _: None) -> PullResult:
    """Transfer what is missing of a repository, check all hashes, and record the commit. A partial file is continued.

    `on_bytes`: is called with the number of bytes after each piece that was transferred.

    Raises:
        DamagedDownload: a file has other content than the hub states; it is deleted.
        RepositoryNotFound, AccessRefused, HubUnreachable, CacheFull, CacheNotWritable: see `longview.model.hub.failures`.
        Cancelled: the operation was cancelled.
    """
    listing = plan.listing
    with hub_errors(listing.repo_id, listing.commit), _lock(listing.repo_id, progress):
        return _Puller(plan, progress, on_bytes).run()


class _Puller:
    """One pull, while the lock of its repository is held."""

    def __init__(self, plan: PlannedPull, progress: Progress, on_bytes: OnBytes) -> None:
        self._plan, self._listing, self._on_bytes = plan, plan.listing, on_bytes
        stage = "Downloading" if plan.missing_bytes else "Checking"
        self._progress = progress.child(0.0, 1.0, f"{stage} {plan.listing.repo_id}")
        folder = repository_folder(plan.listing.repo_id)
        self._blobs, self._snapshot = folder / "blobs", folder / "snapshots" / plan.listing.commit
        self._work, self._transferred_bytes = 0.0, 0
        self._replaced_files: list[str] = []
        self._intact_files: dict[str, os.stat_result] = {}
        """The state of each file of the snapshot when its hash was the right one."""

    def run(self) -> PullResult:
        listing = self._listing
        self._blobs.mkdir(parents=True, exist_ok=True)
        self._snapshot.mkdir(parents=True, exist_ok=True)
        # What a pull has left that was killed. A file in `refs` would count as the name of a commit.
        for path in self._blobs.parent.rglob(f"{PARTIAL_PREFIX}*"):
            path.unlink(missing_ok=True)
        if not has_reference(listing.repo_id, listing.revision):
            # Without it, what an interrupted pull leaves would count as not begun.
            write_reference(listing.repo_id, listing.revision, listing.commit)
        for path in [*broken_links(self._snapshot)]:
            path.unlink(missing_ok=True)
        record = read_record(listing.repo_id)
        write_pending_record(self._make_record(tuple(PulledFile(file.path, file.size, file.digest, 0) for file in listing.files)))
        last_files = {item.path: item for item in record.files} if record else {}
        # Weights come last: as long as they are missing, nothing takes the folder for a checkpoint.
        files = sorted(listing.files, key=lambda file: (file.path.endswith(WEIGHT_SUFFIXES), file.size))
        for file in files:
            self._ensure(file, last_files.get(file.path))
        self._record(record)
        for path in self._blobs.glob(f"*{PARTIAL_SUFFIX}"):
            if OWN_PARTIAL.fullmatch(path.name):
                path.unlink(missing_ok=True)
        return PullResult(self._plan, self._snapshot, self._transferred_bytes, tuple(self._replaced_files))

    def _record(self, last_record: PullRecord | None) -> None:
        """Write the record, after a last look at each file: another program may have changed it meanwhile."""
        files = []
        for file in self._listing.files:
            path = self._snapshot / file.path
            status = path.stat()
            if _identity(status) != _identity(self._intact_files[file.path]):
                self._refuse_damaged(file, path)
            files.append(PulledFile(file.path, file.size, file.digest, status.st_mtime_ns))
        record = self._make_record(tuple(files))
        if last_record is None or replace(last_record, pulled_at=record.pulled_at) != record:
            write_record(record)
        delete_pending_record(record.repository)

    def _make_record(self, files: tuple[PulledFile, ...]) -> PullRecord:
        listing, now = self._listing, datetime.now(UTC).isoformat(timespec="seconds")
        return PullRecord(RECORD_VERSION, listing.repo_id, listing.kind, listing.revision, listing.commit, now, files)

    def _ensure(self, file: HubFile, last_file: PulledFile | None) -> None:
        """Make a file complete in the snapshot, with the content that the hub states."""
        pointer, blob = self._snapshot / file.path, self._blobs / file.digest
        source = next((path for path in (pointer, blob) if path.exists()), None)
        if source is not None:
            status = source.stat()
            is_unchanged = last_file == PulledFile(file.path, file.size, file.digest, status.st_mtime_ns)
            if status.st_size == file.size and (is_unchanged or matches(source, file, self._count_hashed)):
                if source is blob:
                    self._link(file, is_new=False)
                self._intact_files[file.path] = status
                return
            self._discard(pointer, blob)
            self._replaced_files.append(file.path)
            log.warning("%s of %s has changed in the cache, so it is transferred again.", file.path, self._listing.repo_id)
        self._transfer(file)

    def _discard(self, pointer: Path, blob: Path) -> None:
        target = pointer.resolve()
        pointer.unlink(missing_ok=True)
        blob.unlink(missing_ok=True)
        if target.parent == self._blobs.resolve():
            target.unlink(missing_ok=True)

    def _transfer(self, file: HubFile) -> None:
        listing = self._listing
        if file.size > MAX_HTTP_BYTES:
            # Only the client's own function speaks the other protocol. It does not resume.
            use_bounded_client()
            with reply_errors(ValueError):
                hf_hub_download(
                    listing.repo_id,
                    file.path,
                    revision=listing.commit,
                    cache_dir=constants.HF_HUB_CACHE,
                    endpoint=constants.ENDPOINT,
                )
            self._count_transferred(file.size)
            self._refuse_damaged(file, self._snapshot / file.path)
            # The record of the pull must not reach the disk before the files that it states; the client does not care for that.
            sync_file(self._snapshot / file.path)
            sync_folder(self._blobs)
            sync_folder((self._snapshot / file.path).parent)
            return
        partial = self._blobs / f"{file.digest}{PARTIAL_SUFFIX}"
        if _size(partial) > file.size:
            partial.unlink(missing_ok=True)
        try:
            with partial.open("ab") as target:
                transfer(listing.repo_id, listing.commit, file, target, self._count_transferred)
        except DamagedDownload:
            partial.unlink(missing_ok=True)
            raise
        except OSError as error:
            if error.errno in FULL_DISK_ERRORS:
                # A full disk must not stay full.
                partial.unlink(missing_ok=True)
            if isinstance(error, HfHubHTTPError) and error.response.status_code == RANGE_NOT_SATISFIABLE:
                # The server has less of the file than is here.
                partial.unlink(missing_ok=True)
                raise DamagedDownload(damaged_text(listing.repo_id, file)) from error
            raise
        self._refuse_damaged(file, partial)
        replace_file(partial, self._blobs / file.digest)
        self._link(file, is_new=True)

    def _refuse_damaged(self, file: HubFile, path: Path) -> None:
        """Check the hash of a file, and delete the file if it is another one."""
        with self._progress.stage(f"Verifying {self._listing.repo_id}"):
            status = path.stat()
            is_intact = status.st_size == file.size and matches(path, file, self._count_hashed)
        if not is_intact:
            self._discard(path, self._blobs / file.digest)
            raise DamagedDownload(damaged_text(self._listing.repo_id, file))
        self._intact_files[file.path] = status

    def _link(self, file: HubFile, *, is_new: bool) -> None:
        """Put a file of the blobs into the snapshot, as the client of the hub does: by a link where the disk can have links.

        Where it cannot, a new file is moved, and another one is copied, because more may depend on it.

        The client would take the blob that the ETag names, and a mirror may have one ETag for two files. Blobs are therefore
        named after their hash, which is the ETag of the hub itself.
        """
        pointer = self._snapshot / file.path
        blob = self._blobs / file.digest
        create_folder(pointer.parent)
        pointer.unlink(missing_ok=True)
        if _make_link(pointer, blob):
            return
        if is_new:
            replace_file(blob, pointer)
            return
        with atomic_write(pointer) as partial:
            shutil.copyfile(blob, partial)

    def _count_transferred(self, count: int) -> None:
        self._transferred_bytes += count
        self._on_bytes(count)
        self._advance(count)

    def _count_hashed(self, count: int) -> None:
        self._advance(count * HASH_SHARE)

    def _advance(self, work: float) -> None:
        self._work += work
        self._progress.update(self._work / max(1.0, self._plan.missing_bytes + self._plan.size_bytes * HASH_SHARE))


def _make_link(pointer: Path, blob: Path) -> bool:
    """Make a link to a file of the blobs, relative as in the layout that the hub documents; return whether it can be made."""
    if constants.HF_HUB_DISABLE_SYMLINKS:
        return False
    try:
        pointer.symlink_to(os.path.relpath(blob, pointer.parent))
    except OSError as error:
        if error.errno in (*FULL_DISK_ERRORS, errno.EEXIST):
            raise
        # The disk has no links, or this user of Windows may not make them.
        return False
    sync_folder(pointer.parent)
    return True


def _missing_bytes(listing: Listing) -> int:
    folder = repository_folder(listing.repo_id)
    snapshot, blobs = folder / "snapshots" / listing.commit, folder / "blobs"
    missing_bytes = 0
    for file in listing.files:
        sizes = [_size(path) for path in (snapshot / file.path, blobs / file.digest)]
        partial_bytes = _size(blobs / f"{file.digest}{PARTIAL_SUFFIX}")
        if file.size not in sizes:
            missing_bytes += file.size - (partial_bytes if partial_bytes <= file.size else 0)
    return missing_bytes


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _identity(status: os.stat_result) -> tuple[int, ...]:
    """Return what stays the same as long as a file is not written."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


@contextmanager
def _lock(repo_id: str, progress: Progress) -> Iterator[None]:
    """Hold the lock of a repository: two pulls would append to the same partial file."""
    folder = repository_folder(repo_id)
    path = folder.parent / ".locks" / folder.name / LOCK_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    with progress.stage(f"Waiting for another pull of {repo_id}"):
        while True:
            try:
                lock.acquire(timeout=CANCEL_POLL_S)
                break
            except Timeout:
                progress.raise_if_cancelled()
    try:
        yield
    finally:
        lock.release()
