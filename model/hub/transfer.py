"""The transfer of one file of a repository at one commit, from where an earlier transfer stopped; and its hash."""

import hashlib
import io
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import httpx2
from huggingface_hub import constants, hf_hub_url
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status, http_stream_backoff

from longview.model.errors import DamagedDownload
from longview.model.hub.connection import use_bounded_client
from longview.model.hub.failures import reply_errors

HASH_BLOCK_BYTES = 1 << 22
SHA256_DIGITS = 64
NO_RANGE = 200
"""Status of a reply with the whole file, whatever part was asked for."""
BUSY_STATUSES = (408, 429)
"""Statuses of a hub that is busy, after which the client waits and asks again."""
MAX_ATTEMPTS, RETRY_S = 6, 1.0
"""Maximum number of attempts in a row that bring nothing, and the time between two, in seconds."""

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

    The client of the hub follows redirects without taking the token to another host. A broken connection is opened again,
    until `MAX_ATTEMPTS` in a row bring nothing. `on_bytes`: a negative number means that bytes are transferred again.

    Raises:
        DamagedDownload: the server sends more than the file has. HubUnreachable: its headers are not those of a hub.
        OSError, httpx2.HTTPError: see `longview.model.hub.failures.hub_errors`.
    """
    use_bounded_client()
    url = hf_hub_url(repo_id, file.path, revision=commit, endpoint=constants.ENDPOINT)
    counted_from = target.tell()
    attempts = 0
    while (start := target.tell()) < file.size:
        try:
            with reply_errors(ValueError), _reply(url, start) as reply:
                if start and reply.status_code == NO_RANGE:
                    # A server without ranges sends the file from its beginning.
                    target.seek(0)
                    target.truncate()
                    on_bytes(counted_from - start)
                    counted_from = 0
                for piece in reply.iter_bytes(constants.DOWNLOAD_CHUNK_SIZE):
                    if target.tell() + len(piece) > file.size:
                        raise DamagedDownload(
                            f"More of {file.path} arrives than the hub states; check HF_ENDPOINT and the network."
                        )
                    on_bytes(len(piece))
                    target.write(piece)
                    attempts = 0
        except (httpx2.ConnectError, httpx2.TimeoutException, httpx2.RemoteProtocolError):
            attempts += 1
            if attempts == MAX_ATTEMPTS:
                raise
            time.sleep(RETRY_S)
        else:
            if target.tell() < file.size:
                raise OSError(f"The reply has {target.tell()} of the {file.size} bytes of {file.path}.")


@contextmanager
def _reply(url: str, start: int) -> Iterator[httpx2.Response]:
    """Ask for a file from its byte `start` on.

    Raises:
        HfHubHTTPError: the hub refuses it. OSError, httpx2.HTTPError: the request fails.
    """
    # Of a compressed file, no part could be asked for.
    headers = build_hf_headers() | {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    with http_stream_backoff(
        "GET",
        url,
        headers=headers,
        timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT,
        retry_on_exceptions=(),
        retry_on_status_codes=BUSY_STATUSES,
    ) as reply:
        hf_raise_for_status(reply)
        yield reply


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
