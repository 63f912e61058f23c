"""Replies that a model server streams. Each reply has its own connection, which a cancellation closes."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager

import httpx
from tenacity import RetryCallState, retry, retry_if_exception_type, stop_after_attempt

from longview.model.engine.generation import is_repetitive
from longview.model.engine.remote.adapters.base import Adapter
from longview.model.engine.remote.conversation import Conversation
from longview.model.engine.remote.frame_costs import TOLERANCE
from longview.model.engine.remote.http import (
    CONNECT_TIMEOUT_S,
    MAX_DOCUMENT_BYTES,
    TooLong,
    connection_error,
    describe,
    limit_lines,
    limit_size,
    refuse_redirect,
)  # fmt: skip
from longview.model.engine.remote.limits import PromptLimits
from longview.model.engine.thoughts import ThoughtSplitter
from longview.model.errors import ModelError, ServerFailed, ServerUnreachable
from longview.video.progress import CANCEL_POLL_S, NO_PROGRESS, Progress

log = logging.getLogger(__name__)

MAX_ATTEMPTS = 3
"""Maximum number of attempts for a request that the server rejects temporarily. A reply that has begun is not retried."""
MAX_RETRY_S = 60.0
"""Maximum time that a busy server may ask to wait for, in seconds."""
TRANSIENT_STATUSES = frozenset({408, 409, 429, 500, 502, 503, 504})
MAX_CHARACTERS_PER_TOKEN = 64
"""Maximum mean length of the tokens of a reply, in characters. A longer reply ignores the token limit of the request."""


class _Rejected(Exception):
    """The server rejects a request; its message says why."""


class _Busy(Exception):
    """The server rejects a request temporarily."""

    def __init__(self, message: str, wait_s: float | None) -> None:
        """`wait_s`: how long it asks to wait, in seconds; None: it does not say."""
        super().__init__(message)
        self.wait_s = wait_s


class RemoteGeneration:
    """See `longview.model.engine.base.Generation`."""

    def __init__(
        self,
        adapter: Adapter,
        limits: PromptLimits,
        conversation: Conversation,
        *,
        min_prompt_tokens: int = 0,
        report: Callable[[int], None] | None = None,
        progress: Progress = NO_PROGRESS,
    ) -> None:
        """`min_prompt_tokens`: the least tokens of the whole prompt. If the server reports fewer, it has cut the prompt.

        `report`: is called with the number of tokens of the prompt that the server reports.
        """
        self.text = ""
        self.thoughts = ""
        self.is_complete = False
        self.is_repetitive = False
        self.first_token_s = 0.0
        self.total_s = 0.0
        self.prompt_tokens: int | None = None
        """Number of tokens of the prompt that the server reports; None before it does."""
        self._adapter, self._limits, self._conversation = adapter, limits, conversation
        self._report = report
        self._server, self._min_prompt_tokens, self._progress = adapter.server, min_prompt_tokens, progress
        self._finish_reason: str | None = None
        self._separate_thoughts = ""
        """Thoughts that the server separates from the reply."""
        self._is_accepted = False
        self._last_event_s = 0.0
        """Time of the last piece, or of the acceptance of the request, on the monotonic clock. Comments do not count."""

    @property
    def has_read_prompt(self) -> bool:
        """See `longview.model.engine.base.Generation`."""
        return self.prompt_tokens is not None

    def __iter__(self) -> Iterator[str]:
        start = time.perf_counter()
        # Unless the server separates the thoughts, they precede the reply. The prompt of a Thinking checkpoint contains the tag
        # that begins them; other models write the tag themselves.
        splitter = ThoughtSplitter(begins_with_thoughts="thinking" in self._server.model.lower())
        for piece in self._received():
            self.total_s = time.perf_counter() - start
            self.first_token_s = self.first_token_s or self.total_s
            new_text = splitter.add(piece)
            self.text = splitter.text
            if new_text:
                yield new_text
        self.is_complete = self._finish_reason == "stop"
        new_text = splitter.finish(is_complete=self.is_complete)
        self.text, self.thoughts = splitter.text, (self._separate_thoughts + splitter.thoughts).strip()
        self.is_repetitive = is_repetitive(self.text.split())
        if new_text:
            yield new_text

    def _received(self) -> Iterator[str]:
        """Yield the text of the reply as the server sends it.

        A silent server sends nothing for minutes while it prefills a video. The request therefore runs in an event loop, which
        can leave it at any time: the connection is closed then, and the server stops.
        """
        pieces = self._stream()
        with asyncio.Runner() as runner:
            try:
                while (piece := runner.run(self._next(pieces))) is not None:
                    yield piece
            finally:
                runner.run(pieces.aclose())

    async def _next(self, pieces: AsyncGenerator[str, None]) -> str | None:
        """Return the next piece; None after the last one.

        Raises:
            Cancelled: the operation was cancelled meanwhile; the connection is closed.
            ServerUnreachable: there was no token for too long, although the connection may have been kept open.
        """

        async def next_piece() -> str | None:
            return await anext(pieces, None)

        task = asyncio.ensure_future(next_piece())
        try:
            while not task.done():
                self._progress.raise_if_cancelled()
                if self._is_accepted and time.monotonic() - self._last_event_s > self._server.max_silence_s:
                    raise self._silent()
                await asyncio.wait({task}, timeout=CANCEL_POLL_S)
            return task.result()
        finally:
            # Also after Ctrl-C: a generator that still runs cannot be closed.
            task.cancel()
            await asyncio.wait({task})

    async def _stream(self) -> AsyncGenerator[str, None]:
        """Send the request, and once more if the adapter can change what the server rejects; yield the text of the reply."""
        while True:
            try:
                async with aclosing(self._reply()) as reply:
                    async for piece in reply:
                        yield piece
                return
            except _Rejected as error:
                message = str(error)
                if not self._adapter.amend(self._conversation, message):
                    raise self._rejection_error(message) from error
                log.info("the request is sent once more in another form: %s", message)

    async def _reply(self) -> AsyncGenerator[str, None]:
        """Send the request, and yield the text of the reply.

        Raises:
            _Rejected: before the first piece, the server rejects the request, with its status or within the stream.
        """
        url = self._server.url
        closed = f"The server at {url} closed the connection during its reply; ask again."
        max_tokens = self._conversation.max_tokens
        received = 0
        timeout = httpx.Timeout(self._server.max_silence_s, connect=CONNECT_TIMEOUT_S)
        async with (
            httpx.AsyncClient(headers=self._server.headers, timeout=timeout) as client,
            self._open(client) as response,
        ):
            try:
                async for event in self._adapter.read_events(response):
                    self._last_event_s = time.monotonic()
                    if event.error is not None:
                        if not received:
                            raise _Rejected(event.error)
                        raise ServerFailed(f"The server at {url} ended the reply: {self._server.redacted(event.error)}")
                    if event.prompt_tokens is not None:
                        self._check_prompt(event.prompt_tokens)
                    self._finish_reason = event.finish_reason or self._finish_reason
                    self._separate_thoughts += event.thoughts
                    received += len(event.text) + len(event.thoughts)
                    if received > MAX_CHARACTERS_PER_TOKEN * max_tokens:
                        raise ServerFailed(f"The server at {url} sends more than the {max_tokens:,} tokens that were requested.")
                    if event.text or event.thoughts:
                        # "": a thought; the caller waits no longer than for a token.
                        yield event.text
            except TooLong as error:
                raise ServerFailed(f"The server at {url} cannot be used: {error}.") from error
            except httpx.ReadTimeout as error:
                raise self._silent() from error
            except httpx.HTTPError as error:
                log.info("%s closed the connection: %s", url, connection_error(error))
                raise ServerFailed(closed) from error
        if self._finish_reason is None:
            raise ServerFailed(closed)
        if self.prompt_tokens is None and self._min_prompt_tokens:
            raise ServerFailed(
                f"The server at {url} did not report how many tokens of the prompt it read, so that nothing proves its reply."
            )
        self._adapter.accept(self._conversation)

    def _check_prompt(self, tokens: int) -> None:
        """Note how many tokens of the prompt the server has read.

        Raises:
            ServerFailed: it has not read all of it.
        """
        if tokens < (1 - TOLERANCE) * self._min_prompt_tokens:
            raise ServerFailed(
                f"The server at {self._server.url} read {tokens:,} tokens of a prompt of at least {self._min_prompt_tokens:,}: "
                f"it cuts long prompts, and the model has not seen all frames. Change {self._adapter.facts.context_setting}, "
                "or set LONGVIEW_CONTEXT_TOKENS to its real context length."
            )
        self.prompt_tokens = tokens
        if self._report:
            self._report(tokens)

    def _rejection_error(self, message: str) -> ModelError:
        """Return the error for a request that the server rejects for good."""
        text = f"The server at {self._server.url} rejected the request: {self._server.redacted(message)}"
        return self._limits.overflow(message) or ServerFailed(text)

    @asynccontextmanager
    async def _open(self, client: httpx.AsyncClient) -> AsyncIterator[httpx.Response]:
        """Send the request, and return the response when the server has accepted it.

        Raises:
            ServerUnreachable: the server does not answer. _Rejected: the server rejects the request.
            ServerFailed: it is busy for too long, or redirects elsewhere.
        """
        url = self._server.url
        request = client.build_request("POST", self._adapter.url, json=self._adapter.body(self._conversation))

        @retry(
            retry=retry_if_exception_type(_Busy),
            stop=stop_after_attempt(MAX_ATTEMPTS),
            wait=_wait_s,
            sleep=self._wait,
            reraise=True,
        )
        async def send() -> httpx.Response:
            try:
                response = await client.send(request, stream=True)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                raise _Busy(f"The server at {url} cannot be reached: {connection_error(error)}", None) from error
            if response.status_code in TRANSIENT_STATUSES:
                raise _Busy(await self._message(response), _retry_after_s(response))
            return response

        try:
            response = await send()
        except _Busy as error:
            if isinstance(error.__cause__, httpx.HTTPError):
                raise ServerUnreachable(str(error)) from error
            raise self._rejection_error(str(error)) from error
        except httpx.TimeoutException as error:
            # It is not retried: the server would prefill the whole video again.
            raise self._silent() from error
        except httpx.HTTPError as error:
            raise ServerUnreachable(f"The server at {url} cannot be reached: {connection_error(error)}") from error
        try:
            refuse_redirect(self._server, response)
            if not response.is_success:
                raise _Rejected(await self._message(response))
            limit_lines(response)
            self._is_accepted, self._last_event_s = True, time.monotonic()
            yield response
        finally:
            # A closed stream makes the server stop, so that it is free for the next request.
            await response.aclose()

    async def _message(self, response: httpx.Response) -> str:
        """Read the response to a rejected request, and return what it says."""
        limit_size(response, MAX_DOCUMENT_BYTES)
        try:
            content = await response.aread()
        except (httpx.HTTPError, TooLong):
            content = b""
        finally:
            await response.aclose()
        return describe(content) or f"status {response.status_code}"

    async def _wait(self, seconds: float) -> None:
        with self._progress.stage(f"Waiting for the server, {seconds:.0f} s"):
            await asyncio.sleep(seconds)

    def _silent(self) -> ServerUnreachable:
        return ServerUnreachable(
            f"The server at {self._server.url} sent nothing for {self._server.max_silence_s:.0f} seconds; ask again later, or "
            "set a longer time with LONGVIEW_SERVER_SILENCE_S."
        )


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
