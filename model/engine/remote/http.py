"""Bounded HTTP: the size of what a server sends is limited before anything reads it, and redirects are not followed."""

import functools
import json
import math
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import httpx

from longview.model.engine.remote.server import Server
from longview.model.errors import ServerFailed, ServerUnreachable

CONNECT_TIMEOUT_S = 10.0
PROBE_TIMEOUT_S = 30.0
"""Maximum time of one of the short requests of the first contact, in seconds."""
MAX_LINE_BYTES = 1 << 20
"""Maximum size of one line of a streamed reply. A line has one token or a few, and in the end the usage."""
MAX_DOCUMENT_BYTES = 32 << 20
"""Maximum size of a document that is not streamed. The list of models of a hosted service has about a megabyte."""
KEY_STATUSES = frozenset({401, 403})
"""Statuses with which a server refuses a key, or asks for one."""
MAX_MESSAGE_CHARACTERS = 400
"""Maximum length of what is quoted from a server."""
MESSAGE_KEYS = ("message", "detail", "error", "msg", "title")
"""Keys under which servers put the text of an error."""


class BadResponse(httpx.StreamError):
    """The server sends what no server that works ever sends."""


TOO_LONG = "the server sends a line or a document that does not end"


class _BoundedStream(httpx.AsyncByteStream, httpx.SyncByteStream):
    """A response whose lines, or whose whole size and time, are limited."""

    def __init__(self, stream: Any, max_bytes: int | None, deadline_s: float = math.inf) -> None:
        """`max_bytes`: of the whole response; None: only its lines are limited. `deadline_s`: on the monotonic clock."""
        self._stream, self._max_bytes, self._deadline_s = stream, max_bytes, deadline_s
        self._size = 0
        """Size of the response so far, or of its last line."""

    def _count(self, chunk: bytes) -> bytes:
        if time.monotonic() > self._deadline_s:
            raise httpx.ReadTimeout("the whole response takes too long")
        if self._max_bytes is not None:
            self._size += len(chunk)
            if self._size > self._max_bytes:
                raise BadResponse(TOO_LONG)
            return chunk
        for line in chunk.splitlines(keepends=True):
            self._size += len(line)
            if self._size > MAX_LINE_BYTES:
                raise BadResponse(TOO_LONG)
            if line.endswith((b"\n", b"\r")):
                self._size = 0
        return chunk

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._stream:
            yield self._count(chunk)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            yield self._count(chunk)

    def close(self) -> None:
        self._stream.close()

    async def aclose(self) -> None:
        await self._stream.aclose()


def limit_size(response: httpx.Response, max_bytes: int, deadline_s: float = math.inf) -> None:
    """Limit the size and the time of a response that is not read yet. `deadline_s`: on the monotonic clock.

    Raises:
        BadResponse: it is compressed, so that its size is not known.
    """
    _refuse_compression(response)
    response.stream = _BoundedStream(response.stream, max_bytes, deadline_s)


def limit_lines(response: httpx.Response) -> None:
    """Limit the lines of a response that is not read yet.

    Raises:
        BadResponse: it is compressed, so that their size is not known.
    """
    _refuse_compression(response)
    response.stream = _BoundedStream(response.stream, None)


def _refuse_compression(response: httpx.Response) -> None:
    if response.headers.get("content-encoding", "identity") != "identity":
        raise BadResponse("the server sends compressed text, which was not asked for")


@dataclass(frozen=True)
class Document:
    """A whole response to a short request."""

    status: int
    content: bytes

    @property
    def is_success(self) -> bool:
        """Whether the server did what was asked."""
        return 200 <= self.status < 300

    @functools.cached_property
    def data(self) -> Any:
        """The JSON of the response; None if it is none."""
        return read_json(self.content)


def read_json(content: bytes | str) -> Any:
    """Return the JSON of a server, without halves of surrogate pairs, which cannot be stored; None for what is not JSON."""
    try:
        return _clean(json.loads(content))
    except (ValueError, RecursionError):
        return None


def _clean(data: Any) -> Any:
    if isinstance(data, str):
        return data.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(data, list):
        return [_clean(item) for item in data]
    if isinstance(data, dict):
        return {_clean(key): _clean(value) for key, value in data.items()}
    return data


def describe(server: Server, content: bytes) -> str:
    """Return what a response says, in one line and without the key: the text of its error, or its beginning."""
    text = content.decode("utf-8", "replace")
    data = read_json(content)
    while isinstance(data, dict | list) and data:
        values = data if isinstance(data, list) else [data[key] for key in MESSAGE_KEYS if data.get(key)]
        if not values:
            break
        data = values[0]
    if isinstance(data, str):
        text = data
    elif text.lstrip()[:1] == "<":
        text = "a web page, not the API of a model server"
    return _quote(server, text)


def _quote(server: Server, text: str) -> str:
    """Return the beginning of a text of a server in one line. The key goes first, because a cut might leave a part of it."""
    return " ".join(server.redact(text).split())[:MAX_MESSAGE_CHARACTERS]


def fetch(
    client: httpx.Client, server: Server, method: str, url: str, json: Any = None, *, timeout_s: float = PROBE_TIMEOUT_S
) -> Document:
    """Send a short request, and return the whole response, whatever its status.

    Raises:
        ServerUnreachable: the server does not answer. ServerFailed: the response is too large, or it redirects elsewhere.
    """
    deadline_s = time.monotonic() + timeout_s
    try:
        with client.stream(method, url, json=json, timeout=httpx.Timeout(timeout_s, connect=CONNECT_TIMEOUT_S)) as response:
            refuse_redirect(server, response)
            limit_size(response, MAX_DOCUMENT_BYTES, deadline_s)
            return Document(response.status_code, response.read())
    except BadResponse as error:
        raise ServerFailed(f"The server at {server.url} cannot be used: {error}.") from error
    except httpx.TimeoutException as error:
        raise ServerUnreachable(f"The server at {server.url} did not answer within {timeout_s:.0f} seconds.") from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ServerUnreachable(
            f"There is no model server at {server.url} ({connection_error(server, error)}); check the address, and start "
            "the server."
        ) from error


def refuse_redirect(server: Server, response: httpx.Response) -> None:
    """Check that a response does not send the request elsewhere: neither key nor frames may go to another server.

    Raises:
        ServerFailed: it does.
    """
    if response.is_redirect:
        target = _quote(server, str(response.headers.get("location", "another address")))
        raise ServerFailed(
            f"The server at {server.url} redirects to {target}. Longview does not follow it; if you trust that "
            "address, give it to --server."
        )


def connection_error(server: Server, error: Exception) -> str:
    """Return the first line of what went wrong with a connection, without the key."""
    lines = str(error.__cause__ or error).strip().splitlines()
    return _quote(server, lines[0]) if lines else type(error).__name__


def key_error(server: Server, message: str) -> ServerFailed:
    """Return the error for a server that refuses the key, or asks for one. `message`: what it says."""
    key_problem = "refuses the API key" if "Authorization" in server.headers else "needs an API key"
    return ServerFailed(
        f"The server at {server.url} {key_problem} ({message}); set the key with LONGVIEW_SERVER_KEY or LONGVIEW_SERVER_KEY_FILE."
    )


def silence_error(server: Server) -> ServerUnreachable:
    """Return the error about a server that sends no token for too long."""
    return ServerUnreachable(
        f"The server at {server.url} sent nothing for {server.max_silence_s:.0f} seconds; ask again later, or set a longer "
        "time with LONGVIEW_SERVER_SILENCE_S."
    )
