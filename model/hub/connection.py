"""Requests to the hub, whose replies are bounded in bytes and in time: a hub, a mirror or a proxy may send without an end.

The functions of huggingface_hub make their requests with a client that the process shares; `use_bounded_client` replaces it.
"""

import functools
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx2
from huggingface_hub import constants, get_session, set_client_factory
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

from longview.model.errors import HubUnreachable
from longview.model.hub.failures import RESUME_ADVICE, hub_address

API = "/api/"
"""Beginning of the paths of what is not a file, after the address of the hub."""
MAX_LIST_BYTES = 32 << 20
"""Maximum size of the description of a repository, in bytes; one of 10,000 files has 3 MB."""
MAX_REPLY_BYTES = 1 << 20
"""Maximum size of a redirect or a refusal, in bytes."""
MAX_REPLY_S = 60.0
"""Maximum time until the headers of a reply, with all redirects, and again for a reply that is not a file, in seconds."""
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
    use_bounded_client()
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


@functools.cache
def use_bounded_client() -> None:
    """Let all functions of huggingface_hub make their requests in this process with bounds on what they receive."""
    usual = get_session()
    options: dict[str, Any] = {
        "event_hooks": usual.event_hooks | {"response": [*usual.event_hooks["response"], _bound]},
        "follow_redirects": usual.follow_redirects,
        "timeout": usual.timeout,
        # Each request opens its connection, so that its watch knows it.
        "limits": httpx2.Limits(max_keepalive_connections=0),
    }
    set_client_factory(lambda: _BoundedClient(**options))


class _BoundedClient(httpx2.Client):
    """A client whose requests have a watch."""

    def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        """Send a request, and follow redirects.

        Raises:
            HubUnreachable: the headers take too long. httpx2.HTTPError: the request fails.
        """
        watch = _Watch()
        is_list = request.url.path.startswith(unquote(urlsplit(constants.ENDPOINT).path).rstrip("/") + API)
        # The requests to which it is redirected keep the extensions.
        request.extensions = {**request.extensions, "trace": watch.note, "watch": watch, "is_list": is_list}
        watch.start(MAX_REPLY_S)
        try:
            reply = super().send(request, **options)
        except httpx2.TransportError:
            watch.check()
            raise
        finally:
            watch.stop()
        try:
            watch.check()
        except HubUnreachable:
            reply.close()
            raise
        return reply


class _Watch:
    """Ends the connection of a request after some time: what arrives byte by byte keeps a read of a line waiting for ever."""

    def __init__(self, connection: socket.socket | None = None) -> None:
        """`connection`: the connection if it is open already."""
        self.connection, self.is_over = connection, False
        self._timer: threading.Timer | None = None

    def start(self, time_s: float) -> None:
        """Give the request some time from now on, in seconds."""
        self.stop()
        self._timer = threading.Timer(time_s, self._end)
        self._timer.daemon = True
        self._timer.start()

    def stop(self) -> None:
        """Let the request take any time from now on."""
        if self._timer is not None:
            self._timer.cancel()

    def check(self) -> None:
        """Raise an error if the time for the headers is over.

        Raises:
            HubUnreachable: it is.
        """
        if self.is_over:
            raise HubUnreachable(f"{hub_address()} did not answer within {MAX_REPLY_S:.0f} s; {ADVICE}.")

    def note(self, event: str, details: dict[str, Any]) -> None:
        """Note the connection when the client has opened one; it calls this with each of its steps."""
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            self.connection = details["return_value"].get_extra_info("socket")
            self.check()

    def _end(self) -> None:
        self.is_over = True
        if self.connection is not None:
            # Unlike a close, this ends a read of another thread. The method of an encrypted socket would change its state.
            with suppress(OSError):
                socket.socket.shutdown(self.connection, socket.SHUT_RDWR)


def _bound(reply: httpx2.Response) -> None:
    extensions = reply.request.extensions
    is_file = reply.status_code in (200, 206) and not extensions["is_list"]
    max_bytes = None if is_file else MAX_LIST_BYTES if reply.is_success else MAX_REPLY_BYTES
    if isinstance(reply.stream, httpx2.SyncByteStream):
        reply.stream = _BoundedStream(reply.stream, max_bytes, extensions["watch"].connection)


class _BoundedStream(httpx2.SyncByteStream):
    """The bytes of a reply, as they arrive."""

    def __init__(self, stream: httpx2.SyncByteStream, max_bytes: int | None, connection: socket.socket | None) -> None:
        """`max_bytes`: maximum size; None: that of a file, whose rate is bounded instead."""
        # The watch of the request continues while the content of a redirect is read.
        self._stream, self._max_bytes, self._watch = stream, max_bytes, _Watch(connection)

    def __iter__(self) -> Iterator[bytes]:
        start_s, count = time.monotonic(), 0
        try:
            self._watch.start(MAX_REPLY_S if self._max_bytes is not None else 2 * WINDOW_S)
            for piece in self._stream:
                count += len(piece)
                elapsed_s = time.monotonic() - start_s
                if self._max_bytes is not None:
                    if count > self._max_bytes:
                        raise _too_long(self._max_bytes)
                    if elapsed_s > MAX_REPLY_S:
                        break
                elif elapsed_s > WINDOW_S:
                    if count < MIN_WINDOW_BYTES:
                        break
                    start_s, count = time.monotonic(), 0
                    self._watch.start(2 * WINDOW_S)
                yield piece
            else:
                if not self._watch.is_over:
                    return
        except httpx2.TransportError:
            if not self._watch.is_over:
                raise
        finally:
            self._watch.stop()
        if self._max_bytes is not None:
            raise HubUnreachable(f"{hub_address()} did not end its reply within {MAX_REPLY_S:.0f} s; {ADVICE}.")
        rate = f"{count} bytes in {time.monotonic() - start_s:.0f} s"
        raise HubUnreachable(f"{hub_address()} sends too slowly ({rate}); {ADVICE}: {RESUME_ADVICE}.")

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()


def _too_long(max_bytes: int) -> HubUnreachable:
    return HubUnreachable(
        f"{hub_address()} sends more than {max_bytes >> 20} MB where a model hub sends less; check HF_ENDPOINT."
    )
