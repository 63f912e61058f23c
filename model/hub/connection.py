"""Requests to the hub, whose replies are bounded in bytes and in time: a hub, a mirror or a proxy may send without an end."""

import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx2
from huggingface_hub import close_session, constants, get_session, set_client_factory
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status
from huggingface_hub.utils._http import default_client_factory

from longview.model.errors import HubUnreachable
from longview.model.hub.failures import RESUME_ADVICE, hub_address

API = "/api/"
"""Beginning of the paths of what is not a file, below the address of the hub."""
MAX_LIST_BYTES = 32 << 20
"""Maximum size of the description of a repository, in bytes; one of 10,000 files has 3 MB."""
MAX_REPLY_BYTES = 1 << 20
"""Maximum size of a redirect or a refusal, in bytes."""
MAX_REPLY_S = 60.0
"""Maximum time for a reply that is not a file, in seconds."""
WINDOW_S, MIN_WINDOW_BYTES = 60.0, 60_000
"""Time in which a transfer must bring a number of bytes at least, in seconds and bytes: 1 kB per second."""
ADVICE = "check HF_ENDPOINT and the network, and try again"
DECODED_HEADERS = frozenset({"content-encoding", "content-length", "transfer-encoding"})
"""Headers that are not true of a content that was read."""


def ask(path: str, parameters: dict[str, Any]) -> bytes:
    """Return the content that the hub has at a path of its interface.

    Raises:
        HubUnreachable: the reply is too long, or takes too long. OSError, httpx2.HTTPError: the request fails or is refused.
    """
    url, timeout_s = f"{constants.ENDPOINT}{path}", constants.HF_HUB_DOWNLOAD_TIMEOUT
    with get_session().stream("GET", url, params=parameters, headers=build_hf_headers(), timeout=timeout_s) as reply:
        content = bytearray()
        # A compressed reply may be far longer than what is sent.
        for piece in reply.iter_bytes():
            content += piece
            if len(content) > MAX_LIST_BYTES:
                raise _too_long(MAX_LIST_BYTES)
        headers = {name: value for name, value in reply.headers.items() if name.lower() not in DECODED_HEADERS}
        hf_raise_for_status(httpx2.Response(reply.status_code, headers=headers, content=bytes(content), request=reply.request))
    return bytes(content)


def bounded_client() -> httpx2.Client:
    """Return the client of the hub with bounds on what it receives."""
    client = default_client_factory()
    send = client.send

    def send_in_time(request: httpx2.Request, **options: Any) -> httpx2.Response:
        """Send a request, follow its redirects, and end it if the headers of the reply do not arrive in time."""
        # A byte a second ends no wait for the next one, so the connection is closed beneath it.
        deadline = _Deadline()
        try:
            return send(request, **options)
        except httpx2.HTTPError as error:
            if deadline.is_over:
                raise HubUnreachable(f"{hub_address()} did not answer within {MAX_REPLY_S:.0f} s; {ADVICE}.") from error
            raise
        finally:
            deadline.cancel()

    client.send = send_in_time  # type: ignore[method-assign]
    client.event_hooks = client.event_hooks | {"response": [*client.event_hooks["response"], _bound]}
    return client


# All requests of the hub's client are made by it, also those of its own functions.
set_client_factory(bounded_client)


class _Deadline:
    """Closes the connections to the hub after some time."""

    def __init__(self) -> None:
        self.is_over = False
        self._timer = threading.Timer(MAX_REPLY_S, self._end)
        self._timer.daemon = True
        self._timer.start()

    def cancel(self) -> None:
        """Leave the connections open."""
        self._timer.cancel()

    def _end(self) -> None:
        self.is_over = True
        # The next request makes a new client.
        close_session()


def _bound(reply: httpx2.Response) -> None:
    is_list = reply.request.url.path.startswith(urlsplit(constants.ENDPOINT).path.rstrip("/") + API)
    is_file = reply.status_code in (200, 206) and not is_list
    max_bytes = None if is_file else MAX_LIST_BYTES if reply.is_success else MAX_REPLY_BYTES
    if isinstance(reply.stream, httpx2.SyncByteStream):
        reply.stream = _BoundedStream(reply.stream, max_bytes)


class _BoundedStream(httpx2.SyncByteStream):
    """The bytes of a reply, as they arrive."""

    def __init__(self, stream: httpx2.SyncByteStream, max_bytes: int | None) -> None:
        """`max_bytes`: maximum size; None: that of a file, whose rate is bounded instead."""
        self._stream, self._max_bytes = stream, max_bytes

    def __iter__(self) -> Iterator[bytes]:
        start_s, count = time.monotonic(), 0
        for piece in self._stream:
            count += len(piece)
            elapsed_s = time.monotonic() - start_s
            if self._max_bytes is not None:
                if count > self._max_bytes:
                    raise _too_long(self._max_bytes)
                if elapsed_s > MAX_REPLY_S:
                    raise HubUnreachable(f"{hub_address()} did not end its reply within {MAX_REPLY_S:.0f} s; {ADVICE}.")
            elif elapsed_s > WINDOW_S:
                if count < MIN_WINDOW_BYTES:
                    rate = f"{count} bytes in {elapsed_s:.0f} s"
                    raise HubUnreachable(f"{hub_address()} sends too slowly ({rate}); {ADVICE}: {RESUME_ADVICE}.")
                start_s, count = time.monotonic(), 0
            yield piece

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()


def _too_long(max_bytes: int) -> HubUnreachable:
    return HubUnreachable(
        f"{hub_address()} sends more than {max_bytes >> 20} MB where a model hub sends less; check HF_ENDPOINT."
    )
