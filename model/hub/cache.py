"""The Hugging Face cache: where a repository lies, which commit of it was pulled, whether it is complete, and its removal.

The record of a pull lies in the folder of its repository, and not in the user's configuration: it describes one of possibly
several caches (`HF_HOME`), moves with it, and is gone when any program removes the repository. What it states is checked before
it is used, because other programs can write there.
"""

import functools
import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from huggingface_hub import constants, scan_cache_dir, snapshot_download
from huggingface_hub.errors import CacheNotFound, HFValidationError, IncompleteSnapshotError, LocalEntryNotFoundError
from huggingface_hub.utils import DeleteCacheStrategy, validate_repo_id
from pydantic import TypeAdapter, ValidationError

from longview.core.atomic import atomic_write
from longview.model.errors import CacheNotWritable, CheckpointNotFound, InvalidCheckpoint
from longview.model.hub.listing import COMMIT, MAX_FILE_BYTES, REVISION, SHA256, Kind, is_safe_path
from longview.model.hub.transfer import HubFile
from longview.model.model_folders import WEIGHT_INDEX, indexed_files

log = logging.getLogger(__name__)

RECORD_FILE = "longview.json"
PENDING_FILE = "longview.pending.json"
"""Name of the record of a pull that is not finished."""
RECORD_VERSION = 1
PARTIAL_SUFFIX = ".incomplete"
"""Suffix of the names of files that are not complete, also of those of other clients of the hub."""
REPOSITORY_FOLDERS = ("snapshots", "blobs", "refs")
"""Folders, one of which is in every repository of the cache."""
TOKENIZER_FILES = frozenset({"tokenizer.json", "vocab.json", "tokenizer.model", "vocabulary.txt", "vocabulary.json"})
"""Names of files, one of which every checkpoint and every speech model has."""
SHARD = re.compile(r"\A.*-\d++-of-\d++\.safetensors")
"""Names of the files of weights in several files."""


@dataclass(frozen=True)
class PulledFile:
    """A file of a pull, whose hash was the one that the hub stated."""

    path: str
    size: int
    digest: str
    modified_ns: int
    """Time of its last change when its hash was checked, in nanoseconds. While it is the same, the hash is not computed again.
    0: it was not checked yet."""

    @property
    def file(self) -> HubFile:
        """The file as the hub listed it."""
        return HubFile(self.path, self.size, self.digest)


@dataclass(frozen=True)
class PullRecord:
    """What was pulled of a repository: a commit, to which it is pinned, and its files. Or what a pull has begun to transfer."""

    version: int
    repository: str
    kind: Kind
    revision: str
    """The branch, tag or commit that was asked for."""
    commit: str
    pulled_at: str
    """Time when the pull ended, or when it began if it is not finished, in ISO 8601, in UTC."""
    files: tuple[PulledFile, ...]


_RECORD: TypeAdapter[PullRecord] = TypeAdapter(PullRecord)


@dataclass(frozen=True)
class Snapshot:
    """A commit of a repository in the cache."""

    folder: Path
    is_complete: bool


def repository_folder(repo_id: str) -> Path:
    """Return the folder of a repository in the cache, whether or not it exists."""
    return Path(constants.HF_HUB_CACHE).expanduser() / "--".join(("models", *repo_id.split("/")))


def read_record(repo_id: str) -> PullRecord | None:
    """Return the record of a pull; None if there is none, or if it cannot be read."""
    return _read_record(repo_id, RECORD_FILE)


def _read_record(repo_id: str, name: str) -> PullRecord | None:
    path = repository_folder(repo_id) / name
    try:
        record = _RECORD.validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        log.warning("%s cannot be read, so the repository counts as not pulled: %s", path, type(error).__name__)
        return None
    is_plausible = COMMIT.fullmatch(record.commit) and all(_is_plausible(file) for file in record.files)
    return record if is_plausible and record.version == RECORD_VERSION and record.repository == repo_id else None


def _is_plausible(file: PulledFile) -> bool:
    """Whether both paths of a file stay in the folder of its repository: its own, and that of its content, named by its hash."""
    is_hash = COMMIT.fullmatch(file.digest) or SHA256.fullmatch(file.digest)
    return is_hash is not None and is_safe_path(file.path) and 0 <= file.size <= MAX_FILE_BYTES


def write_record(record: PullRecord) -> None:
    """Write the record of a finished pull, and what its revision means, as other programs read it from the cache.

    Raises:
        OSError: the cache cannot be written.
    """
    _write_record(record, RECORD_FILE)
    write_reference(record.repository, record.revision, record.commit)


def write_pending_record(record: PullRecord) -> None:
    """Write what a pull begins to transfer, so that the commit counts as incomplete until all of it is there.

    Raises:
        OSError: the cache cannot be written.
    """
    _write_record(record, PENDING_FILE)


def delete_pending_record(repo_id: str) -> None:
    """Delete the record that `write_pending_record` has written."""
    (repository_folder(repo_id) / PENDING_FILE).unlink(missing_ok=True)


def _write_record(record: PullRecord, name: str) -> None:
    with atomic_write(repository_folder(record.repository) / name) as temporary_path:
        temporary_path.write_bytes(_RECORD.dump_json(record, indent=1))


def write_reference(repo_id: str, revision: str, commit: str) -> None:
    """Write which commit a branch or a tag means. The folder of the commit must exist: without it the cache counts as damaged.

    Raises:
        OSError: the cache cannot be written.
    """
    if revision != commit and REVISION.fullmatch(revision):
        with atomic_write(repository_folder(repo_id) / "refs" / revision) as temporary_path:
            temporary_path.write_text(commit, encoding="ascii")


def has_reference(repo_id: str, revision: str) -> bool:
    """Whether the cache says which commit a branch or a tag means."""
    return (repository_folder(repo_id) / "refs" / revision).is_file()


def find_snapshot(repo_id: str, patterns: Sequence[str]) -> Snapshot | None:
    """Return the commit of a repository that is used: the one that was pulled, else the one that `main` means in the cache.

    None: there is none. `patterns`: the files that it must have, as far as the cache knows which files the commit has.
    """
    try:
        validate_repo_id(repo_id)
        record = read_record(repo_id)
        folder = snapshot_download(
            repo_id,
            revision=record.commit if record else None,
            cache_dir=constants.HF_HUB_CACHE,
            allow_patterns=[*patterns],
            local_files_only=True,
        )
    except IncompleteSnapshotError as error:
        return Snapshot(Path(error.snapshot_path), is_complete=False)
    except (LocalEntryNotFoundError, HFValidationError, OSError, UnicodeDecodeError) as error:
        log.info("%s is not cached: %s", repo_id, type(error).__name__)
        return None
    return Snapshot(Path(folder), _is_complete(repo_id, Path(folder), record))


def _is_complete(repo_id: str, snapshot: Path, record: PullRecord | None) -> bool:
    if any(broken_links(snapshot)):
        return False
    record = record or _read_record(repo_id, PENDING_FILE)
    if record is not None and record.commit == snapshot.name:
        return all(_size(snapshot / file.path) == file.size for file in record.files)
    blobs = snapshot.parents[1] / "blobs"
    # The name begins with that of the complete file. Where that exists, another process has transferred it.
    if all((blobs / path.name.partition(".")[0]).exists() for path in blobs.glob(f"*{PARTIAL_SUFFIX}")):
        return True
    if not _has_loaded_files(snapshot):
        return False
    _warn_of_partial_files(repo_id)
    return True


def _has_loaded_files(snapshot: Path) -> bool:
    """Whether a commit has configuration, tokenizer and all weights, as far as the files that are there tell."""
    names = {path.name for path in snapshot.iterdir() if path.is_file()}
    weights = {name for name in names if name.endswith(".safetensors")}
    try:
        missing = {*indexed_files(snapshot)} - weights
    except InvalidCheckpoint:
        return False
    has_all_shards = WEIGHT_INDEX in names or not any(map(SHARD.fullmatch, weights))
    has_weights = not missing and has_all_shards if weights else "model.bin" in names
    return has_weights and constants.CONFIG_NAME in names and not TOKENIZER_FILES.isdisjoint(names)


@functools.cache
def _warn_of_partial_files(repo_id: str) -> None:
    """Warn once of partial files, which may be of a model in another form, or of a newer commit."""
    log.warning(
        "A download of %s was not finished. All files that Longview needs seem to be there, so it is used; if it does not load, "
        "`longview models pull %s` completes it.",
        repo_id,
        repo_id,
    )


def broken_links(snapshot: Path) -> Iterator[Path]:
    """Yield the links of a commit whose files are gone."""
    return (path for path in snapshot.rglob("*") if path.is_symlink() and not path.exists())


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def cached_repositories() -> tuple[str, ...]:
    """Return the names of the models in the cache, complete or not, in their order."""
    try:
        repositories = scan_cache_dir(constants.HF_HUB_CACHE).repos
    except (CacheNotFound, ValueError):
        return ()
    return tuple(sorted(repository.repo_id for repository in repositories if repository.repo_type == "model"))


def remove_repository(repo_id: str) -> int:
    """Delete all commits of a repository from the cache, and nothing else; return the bytes that this has freed.

    Raises:
        CheckpointNotFound: it is not in the cache. CacheNotWritable: it cannot be deleted, or is a link to a folder elsewhere.
    """
    folder = repository_folder(repo_id)
    # The cache may be a link to another disk, but what a link in it leads to is not the cache's.
    folder = folder.parent.resolve() / folder.name
    if folder.is_symlink():
        raise CacheNotWritable(f"{folder} is a link to a folder outside of the cache, which is not deleted; delete it yourself.")
    try:
        cache = scan_cache_dir(constants.HF_HUB_CACHE)
    except (CacheNotFound, ValueError):
        cache = None
    if cache is None or not any((folder / name).is_dir() for name in REPOSITORY_FOLDERS):
        raise CheckpointNotFound(f"{repo_id} is not in the Hugging Face cache {constants.HF_HUB_CACHE}.")
    repository = next((repository for repository in cache.repos if repository.repo_path == folder), None)
    if repository is not None and repository.revisions:
        # Another repository may have the same commit, so the strategy must see this one only.
        alone = replace(cache, repos=frozenset({repository}))
        strategy = alone.delete_revisions(*(revision.commit_hash for revision in repository.revisions))
        partial_bytes = sum(file.size_on_disk for file in cache.incomplete_files if folder in file.file_path.parents)
        freed_bytes = strategy.expected_freed_size + partial_bytes
    else:
        # The scan leaves out what is damaged, such as a commit with a broken link.
        freed_bytes = sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
        none: frozenset[Path] = frozenset()
        strategy = DeleteCacheStrategy(
            expected_freed_size=freed_bytes, blobs=none, refs=none, repos=frozenset({folder}), snapshots=none
        )
    strategy.execute()
    if folder.exists():
        raise CacheNotWritable(f"{folder} cannot be deleted; check who owns it.")
    return freed_bytes
