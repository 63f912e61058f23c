"""The files of a repository at one commit, as the hub lists them. All that the hub says is checked before it is used."""

import fnmatch
import json
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal
from urllib.parse import quote

from huggingface_hub import ModelInfo, constants, is_offline_mode
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from longview.model.errors import HubUnreachable, InvalidCheckpoint, RepositoryNotFound
from longview.model.hub.connection import ask
from longview.model.hub.failures import OFFLINE, hub_errors, reply_errors
from longview.model.hub.transfer import HubFile, fetch_small_file

Kind = Literal["checkpoint", "speech"]
"""Kinds of models: a video language model in safetensors, and a speech model in CTranslate2's form."""

CHECKPOINT_FILES = ("*.json", "*.jinja", "*.txt", "*.safetensors")
"""Patterns of the files of a checkpoint. Weights must be safetensors, because other formats can run code while they load."""
WEIGHT_FOLDERS = ("", "detector")
"""Folders whose safetensors files are loaded: that of the checkpoint, and that of an out-of-distribution detector."""
SPEECH_FILES = ("config.json", "preprocessor_config.json", "model.bin", "tokenizer.json", "vocabulary.*")
"""Patterns of the files of a speech model, those that faster-whisper downloads."""
SPEECH_KEYS = frozenset({"alignment_heads", "lang_ids", "suppress_ids"})
"""Keys, one of which is in the configuration of every Whisper model in CTranslate2's form."""
MAX_FILES = 10_000
"""Maximum number of files of a repository."""
MAX_CONFIG_BYTES = 1 << 20
"""Maximum size of a config.json, in bytes."""
MAX_FILE_BYTES = 1 << 42
"""Maximum size of a file, in bytes."""
MAX_PATH_CHARACTERS = 255
UNSAFE_CHARACTERS = frozenset('\\:*?"<>|')
"""Characters that mean something in a path on one of the systems."""
COMMIT = re.compile(r"[0-9a-f]{40}")
SHA256 = re.compile(r"[0-9a-f]{64}")
REVISION = re.compile(r"\w[\w.+-]*+(/\w[\w.+-]*+)*+", re.ASCII)


@dataclass(frozen=True)
class Listing:
    """The files of a repository that Longview loads, at one commit."""

    repo_id: str
    revision: str
    """The branch, tag or commit that was asked for."""
    commit: str
    kind: Kind
    files: tuple[HubFile, ...]


def check_name(repo_id: str, revision: str | None = None) -> None:
    """Check the form of the name of a repository and of a revision.

    Raises:
        RepositoryNotFound: no repository or revision can have this name.
    """
    try:
        validate_repo_id(repo_id)
        is_name = repo_id.count("/") == 1
    except HFValidationError:
        is_name = False
    if not is_name:
        raise RepositoryNotFound(f"No repository is called {repo_id!r}; its name has the form Qwen/Qwen3-VL-8B-Instruct.")
    if revision is not None and not (
        REVISION.fullmatch(revision) and ".." not in revision and len(revision) <= MAX_PATH_CHARACTERS
    ):
        raise RepositoryNotFound(f"No revision of {repo_id} is called {revision!r}; name a branch, a tag or a commit.")


def find_commit(repo_id: str, revision: str = constants.DEFAULT_REVISION) -> str:
    """Ask the hub for the commit of a revision.

    Raises:
        RepositoryNotFound, AccessRefused, HubUnreachable: see `longview.model.hub.failures`.
    """
    return str(_ask(repo_id, revision, has_files=False).sha)


def list_repository(repo_id: str, revision: str = constants.DEFAULT_REVISION) -> Listing:
    """Ask the hub for the commit of a revision, and for the files at this commit that Longview loads.

    Raises:
        InvalidCheckpoint: it is neither a checkpoint nor a speech model that Longview loads, or the list is not plausible.
        RepositoryNotFound, AccessRefused, HubUnreachable: see `longview.model.hub.failures`.
    """
    info = _ask(repo_id, revision, has_files=True)
    siblings = info.siblings or []
    if len(siblings) > MAX_FILES:
        raise _refusal(repo_id, f"it has {len(siblings):,} files, which no model needs")
    names = [str(sibling.rfilename) for sibling in siblings]
    has_weights = any(name.endswith(".safetensors") and "/" not in name for name in names)
    if not has_weights and "model.bin" not in names:
        raise _refusal(repo_id, "it contains no safetensors weights; other formats are not loaded, because they can run code")
    patterns = CHECKPOINT_FILES if has_weights else SPEECH_FILES
    files = tuple(_check_file(repo_id, sibling) for sibling in siblings if _matches(str(sibling.rfilename), patterns))
    paths = {file.path for file in files}
    if len(paths) < len(files):
        raise _refusal(repo_id, "the hub lists a file of it twice")
    if clash := next((path for path in sorted(paths) if not paths.isdisjoint(map(str, PurePosixPath(path).parents))), None):
        raise _refusal(repo_id, f"the hub lists {clash} below another file")
    kind: Kind = "checkpoint" if has_weights else "speech"
    listing = Listing(repo_id, revision, str(info.sha), kind, tuple(file for file in files if _is_loaded(file.path)))
    _check_config(listing)
    return listing


def _refusal(repo_id: str, reason: str) -> InvalidCheckpoint:
    return InvalidCheckpoint(f"{repo_id} was not downloaded: {reason}.")


def _ask(repo_id: str, revision: str, *, has_files: bool) -> Any:
    check_name(repo_id, revision)
    if is_offline_mode():
        raise HubUnreachable(OFFLINE)
    with hub_errors(repo_id, revision), reply_errors(ValueError, LookupError, TypeError, AttributeError, RecursionError):
        content = ask(f"/api/models/{repo_id}/revision/{quote(revision, safe='')}", {"blobs": True} if has_files else {})
        info = ModelInfo(**json.loads(content))
        if not COMMIT.fullmatch(info.sha or ""):
            raise ValueError("no commit")
        return info


def _matches(path: str, patterns: Sequence[str]) -> bool:
    # As in `snapshot_download`, the star of a pattern also stands for folders.
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns)


def _is_loaded(path: str) -> bool:
    return not path.endswith(".safetensors") or path.rpartition("/")[0] in WEIGHT_FOLDERS


def _check_file(repo_id: str, sibling: Any) -> HubFile:
    path, size = str(sibling.rfilename), sibling.lfs.size if sibling.lfs else sibling.size
    if not is_safe_path(path):
        raise _refusal(repo_id, f"{path[:MAX_PATH_CHARACTERS]!r} cannot be the name of one of its files")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= MAX_FILE_BYTES:
        raise _refusal(repo_id, f"the hub does not state a plausible size of {path}")
    digest, form = (sibling.lfs.sha256, SHA256) if sibling.lfs else (sibling.blob_id, COMMIT)
    if not isinstance(digest, str) or not form.fullmatch(digest):
        raise _refusal(repo_id, f"the hub does not state the hash of {path}")
    return HubFile(path, size, digest)


def is_safe_path(path: str) -> bool:
    """Whether a path stays in its folder on every system, and has no character that a terminal could interpret."""
    return (
        len(path) <= MAX_PATH_CHARACTERS
        and path.isprintable()
        and not UNSAFE_CHARACTERS & {*path}
        and all(part.strip() == part and part.strip(".") for part in path.split("/"))
    )


def _check_config(listing: Listing) -> None:
    """Fetch the configuration, which has a few kilobytes, and check that the model is one that Longview loads.

    Raises:
        InvalidCheckpoint: it is not.
    """
    repo_id = listing.repo_id
    file = next((file for file in listing.files if file.path == constants.CONFIG_NAME), None)
    config: Any = None
    if file is not None and file.size <= MAX_CONFIG_BYTES:
        with hub_errors(repo_id, listing.commit):
            content = fetch_small_file(repo_id, listing.commit, file)
        with suppress(ValueError, RecursionError):
            config = json.loads(content)
    if not isinstance(config, dict):
        raise _refusal(repo_id, "it is not a checkpoint, because it has no readable config.json")
    if listing.kind == "speech" and not SPEECH_KEYS & config.keys():
        raise _refusal(repo_id, "it contains no safetensors weights, and is not a speech model in CTranslate2's form")
    if listing.kind == "checkpoint" and "vision_config" not in config:
        is_whisper = config.get("model_type") == "whisper"
        hint = "; speech models are loaded in CTranslate2's form, such as Systran/faster-whisper-small" if is_whisper else ""
        raise _refusal(repo_id, f"it is not a video language model, because its config.json has no vision_config{hint}")
