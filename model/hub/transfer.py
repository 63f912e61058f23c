"""The transfer of one file of a repository at one commit, from where an earlier transfer stopped; and its hash."""

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

from huggingface_hub import constants, hf_hub_url
from huggingface_hub.file_download import http_get
from huggingface_hub.utils import build_hf_headers

from longview.model.errors import DamagedDownload
from longview.model.hub.connection import use_bounded_client
from longview.model.hub.failures import reply_errors

HASH_BLOCK_BYTES = 1 << 22
SHA256_DIGITS = 64

OnBytes = Callable[[int], object]
"""Is called with the number of bytes after each piece of a file that was transferred or read."""


@dataclass(frozen=True)
class HubFile:
    """A file of a repository at one commit, as the hub lists it."""

    path: str
    """Its path in the repository, with `/` between folders."""
    size: int
    """Its size, in bytes."""
    digest: str
    """The SHA-256 of a file in LFS; the git blob hash (SHA-1) of any other, which has 40 digits."""


def transfer(repo_id: str, commit: str, file: HubFile, target: BinaryIO, on_bytes: OnBytes) -> None:
    """Append what is missing of a file to `target`, which holds its beginning; positioned at its end.

    The client of the hub makes the requests, follows redirects without taking the token to another host, and tries again
    where the connection breaks off.

    Raises:
        DamagedDownload: the server sends more than the file has. HubUnreachable: its headers are not those of a hub.
        OSError, httpx2.HTTPError: see `longview.model.hub.failures.hub_errors`.
    """
    use_bounded_client()
    meter: Any = lambda **options: _Meter(file, options.get("initial", 0), on_bytes)  # noqa: E731 (it stands for a class)
    with reply_errors(ValueError):
        http_get(
            hf_hub_url(repo_id, file.path, revision=commit, endpoint=constants.ENDPOINT),
            target,
            resume_size=target.tell(),
            # Of a compressed file, no part could be asked for.
            headers=build_hf_headers() | {"Accept-Encoding": "identity"},
            expected_size=file.size,
            displayed_filename=file.path,
            tqdm_class=meter,
        )


def fetch_small_file(repo_id: str, commit: str, file: HubFile) -> bytes:
    """Return the content of a file without storing it.

    Raises:
        DamagedDownload: its hash is not the one that the hub states. OSError, httpx2.HTTPError: as in `transfer`.
    """
    content = io.BytesIO()
    transfer(repo_id, commit, file, content, lambda _: None)
    content.seek(0)
    if digest_of(content, file) != file.digest:
        raise DamagedDownload(damaged_text(repo_id, file))
    return content.getvalue()


def matches(path: Path, file: HubFile, on_bytes: OnBytes) -> bool:
    """Whether the content of a file is that which the hub states. `on_bytes` can raise to end it early."""
    with path.open("rb") as content:
        return digest_of(content, file, on_bytes) == file.digest


def digest_of(content: BinaryIO, file: HubFile, on_bytes: OnBytes = lambda _: None) -> str:
    """Return the hash of a content in the form that the hub states for this file."""
    if len(file.digest) == SHA256_DIGITS:
        digest = hashlib.sha256()
    else:
        # The hash of git is an identity here: nothing depends on its resistance to attacks beyond what git itself offers.
        digest = hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False)
    while block := content.read(HASH_BLOCK_BYTES):
        digest.update(block)
        on_bytes(len(block))
    return digest.hexdigest()


def damaged_text(repo_id: str, file: HubFile) -> str:
    """Return the sentence about a file whose content is not the one that the hub states."""
    return (
        f"{file.path} of {repo_id} arrived with other content than the hub states, and was deleted; pull it again, and if that "
        "fails, check HF_ENDPOINT and the network."
    )


class _Meter:
    """What the client of the hub takes for its progress bar: counts bytes, and refuses more than the file has."""

    def __init__(self, file: HubFile, initial: int, on_bytes: OnBytes) -> None:
        self._file, self._received_bytes, self._on_bytes = file, initial, on_bytes

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing."""

    def update(self, count: int | float | None = 1) -> None:
        """Count bytes before they are written. A negative number: a server without ranges sends the file from its beginning."""
        self._received_bytes += int(count or 0)
        if self._received_bytes > self._file.size:
            path = self._file.path
            raise DamagedDownload(f"More of {path} arrives than the hub states; check HF_ENDPOINT and the network.")
        self._on_bytes(int(count or 0))
