"""Requests to a server: one is sent until the server takes it, or rejects it for good."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
from tenacity import RetryCallState, retry, retry_if_exception_type, stop_after_attempt

from longview.model.engine.remote.http import (
    MAX_DOCUMENT_BYTES,
    PROBE_TIMEOUT_S,
    BadResponse,
    connection_error,
    describe,
    limit_lines,
    limit_size,
    refuse_redirect,
    silence_error,
)
from longview.model.engine.remote.server import Server
from longview.model.errors import ServerFailed, ServerUnreachable

MAX_ATTEMPTS = 3
"""Maximum number of attempts for a request that the server rejects temporarily. A reply that has begun is not retried."""
MAX_RETRY_S = 60.0
"""Maximum time that a busy server may ask to wait for, in seconds."""
TRANSIENT_STATUSES = frozenset({408, 409, 429, 500, 502, 503, 504})


class Rejected(Exception):
    """The server rejects a request; the message is what it says."""

    def __init__(self, message: str, status: int = 0) -> None:
        """`status`: of the response; 0 for a rejection within a stream."""
        super().__init__(message)
        self.status = status


class _Busy(Exception):
    """The server rejects a request temporarily."""

    def __init__(self, message: str, wait_s: float | None) -> None:
        """`wait_s`: how long it asks to wait, in seconds; None: it does not say."""
        super().__init__(message)
        self.wait_s = wait_s


@asynccontextmanager
async def open_response(
    client: httpx.AsyncClient, server: Server, url: str, body: Mapping[str, Any], wait: Callable[[float], Awaitable[None]]
) -> AsyncIterator[httpx.Response]:
    """Send a request, and return the response when the server has accepted it. `wait`: waits for some seconds.

    Raises:
        Rejected: the server rejects the request, or is busy for too long.
        ServerUnreachable: the server does not answer. ServerFailed: it redirects elsewhere.
    """
    request = client.build_request("POST", url, json=body)

    @retry(
        retry=retry_if_exception_type(_Busy),
        stop=stop_after_attempt(MAX_ATTEMPTS),
        wait=_wait_s,
        sleep=wait,
        reraise=True,
    )
    async def send() -> httpx.Response:
        try:
            response = await client.send(request, stream=True)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise _Busy(f"The server at {server.url} cannot be reached: {connection_error(server, error)}", None) from error
        if response.status_code in TRANSIENT_STATUSES:
            raise _Busy(await _read_message(server, response), _retry_after_s(response))
        return response

    try:
        response = await send()
    except _Busy as error:
        if isinstance(error.__cause__, httpx.HTTPError):
            raise ServerUnreachable(str(error)) from error
        raise Rejected(str(error)) from error
    except httpx.TimeoutException as error:
        # It is not retried: the server would prefill the whole video again.
        raise silence_error(server) from error
    except httpx.HTTPError as error:
        raise ServerUnreachable(f"The server at {server.url} cannot be reached: {connection_error(server, error)}") from error
    try:
        refuse_redirect(server, response)
        if not response.is_success:
            raise Rejected(await _read_message(server, response), response.status_code)
        try:
            limit_lines(response)
        except BadResponse as error:
            raise ServerFailed(f"The server at {server.url} cannot be used: {error}.") from error
        yield response
    finally:
        # A closed stream makes the server stop, so that it is free for the next request.
        await response.aclose()


async def _read_message(server: Server, response: httpx.Response) -> str:
    """Read the response to a rejected request, and return what it says."""
    try:
        limit_size(response, MAX_DOCUMENT_BYTES, time.monotonic() + PROBE_TIMEOUT_S)
        content = await response.aread()
    except (httpx.HTTPError, BadResponse):
        content = b""
    finally:
        await response.aclose()
    return describe(server, content) or f"status {response.status_code}"


def _wait_s(state: RetryCallState) -> float:
    """Return the time until the next attempt: what the server asks for, else 0.5 s and more."""
    error = state.outcome.exception() if state.outcome else None
    asked_s = error.wait_s if isinstance(error, _Busy) else None
    return min(asked_s, MAX_RETRY_S) if asked_s is not None else 0.5 * 2.0 ** (state.attempt_number - 1)


def _retry_after_s(response: httpx.Response) -> float | None:
    """Return how long a busy server asks to wait, in seconds; None if it does not say so in seconds."""
    try:
        seconds = float(response.headers["retry-after"])
    except (KeyError, ValueError):
        return None
    return seconds if 0 <= seconds < float("inf") else None
