"""Requests to a model server, and the replies that it streams. Each reply has its own connection, which a cancellation closes."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
from openai.types.chat import ChatCompletionChunk
from tenacity import retry, retry_if_exception_type, retry_if_not_exception_type, stop_after_attempt, wait_exponential

from longview.model.engine.checkpoints import Checkpoint
from longview.model.engine.generation import is_repetitive
from longview.model.engine.profiles import find_profile
from longview.model.engine.thoughts import ThoughtSplitter
from longview.model.errors import ServerFailed, ServerUnreachable
from longview.video.progress import CANCEL_POLL_S, NO_PROGRESS, Progress

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 300.0
"""Timeout for a silent server, in seconds. A large model prefills a video of two hours for minutes before its first token."""
MAX_ATTEMPTS = 3
"""Maximum number of attempts for a request that the server rejects temporarily. A reply that has begun is not retried."""
DEFAULT_CONTEXT_TOKENS = 32_768
"""Context length of servers that do not report theirs."""
TRANSIENT_ERRORS = (openai.APIConnectionError, openai.RateLimitError, openai.InternalServerError)


@dataclass(frozen=True)
class Server:
    """The address of a model on a server."""

    url: str
    """`http://host:8000/v1`."""
    model: str
    """Name of the model on the server."""
    key: str = "none"

    @property
    def client_options(self) -> dict[str, Any]:
        """The arguments of a client of this server."""
        timeout = openai.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
        return {"base_url": self.url, "api_key": self.key, "max_retries": 0, "timeout": timeout}

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint as far as it is known without a request to the server."""
        profile = find_profile()
        return Checkpoint(
            name=f"{self.model} at {self.url}",
            folder=Path(),
            fingerprint="served",
            profile=profile,
            trained_range=profile.trained_range,
            kv_bytes_per_token=0,
            weight_bytes=0,
            max_context_tokens=DEFAULT_CONTEXT_TOKENS,
        )


class RemoteGeneration:
    """See `longview.model.engine.base.Generation`."""

    def __init__(self, server: Server, request: dict[str, Any], progress: Progress = NO_PROGRESS) -> None:
        self.text = ""
        self.thoughts = ""
        self.is_complete = False
        self.is_repetitive = False
        self.first_token_s = 0.0
        self.total_s = 0.0
        self._server, self._request, self._progress = server, request, progress
        self._finish_reason: str | None = None
        self._separate_thoughts = ""
        """Thoughts that the server separates from the reply."""

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
                while (piece := runner.run(_or_cancelled(pieces, self._progress))) is not None:
                    yield piece
            finally:
                runner.run(pieces.aclose())

    async def _stream(self) -> AsyncGenerator[str, None]:
        url = self._server.url
        incomplete = f"The server at {url} closed the connection during its reply; ask again."
        async with openai.AsyncOpenAI(**self._server.client_options) as client:
            stream = await self._start(client)
            try:
                async for chunk in stream:
                    if chunk.choices:
                        self._finish_reason = chunk.choices[0].finish_reason or self._finish_reason
                        delta = chunk.choices[0].delta
                        # vLLM and SGLang name them in two ways, and the client's types know neither.
                        separate = getattr(delta, "reasoning_content", None) or getattr(delta, "reasoning", None)
                        self._separate_thoughts += separate if isinstance(separate, str) else ""
                        if piece := delta.content:
                            yield piece
            except Exception as error:  # of the client, or of the HTTP library below it
                log.info("%s closed the connection: %s", url, describe_error(error))
                raise ServerFailed(incomplete) from error
            finally:
                # A closed stream makes the server stop, so that it is free for the next request.
                await stream.close()
        if self._finish_reason is None:
            raise ServerFailed(incomplete)

    async def _start(self, client: openai.AsyncOpenAI) -> "openai.AsyncStream[ChatCompletionChunk]":
        """Send the request, and return the stream when the server has accepted it.

        Raises:
            ServerUnreachable: the server does not answer. ServerFailed: the server rejects the request.
        """
        url = self._server.url

        @retry(
            # Do not retry after a timeout: the server would prefill the whole video again.
            retry=retry_if_exception_type(TRANSIENT_ERRORS) & retry_if_not_exception_type(openai.APITimeoutError),
            stop=stop_after_attempt(MAX_ATTEMPTS),
            wait=wait_exponential(multiplier=0.5, max=8),
            reraise=True,
            before_sleep=lambda state: log.info("server at %s: attempt %d failed", url, state.attempt_number),
        )
        async def create() -> "openai.AsyncStream[ChatCompletionChunk]":
            stream: openai.AsyncStream[ChatCompletionChunk] = await client.chat.completions.create(**self._request)
            return stream

        try:
            return await create()
        except openai.APITimeoutError as error:
            raise ServerUnreachable(
                f"The server at {url} did not answer within {READ_TIMEOUT_S:.0f} seconds; ask again later."
            ) from error
        except openai.APIConnectionError as error:
            raise ServerUnreachable(f"The server at {url} cannot be reached: {describe_error(error)}") from error
        except openai.OpenAIError as error:
            raise ServerFailed(f"The server at {url} rejected the request: {describe_error(error)}") from error


async def _or_cancelled(pieces: AsyncGenerator[str, None], progress: Progress) -> str | None:
    """Return the next piece; None after the last one.

    Raises:
        Cancelled: the operation was cancelled meanwhile; the connection is closed.
    """

    async def next_piece() -> str | None:
        return await anext(pieces, None)

    task = asyncio.ensure_future(next_piece())
    try:
        while not task.done():
            progress.raise_if_cancelled()
            await asyncio.wait({task}, timeout=CANCEL_POLL_S)
        return task.result()
    finally:
        # Also after Ctrl-C: a generator that still runs cannot be closed.
        task.cancel()
        await asyncio.wait({task})


def describe_error(error: Exception) -> str:
    """Return the first line of the response or the error, in at most 200 characters."""
    response = error.response.text if isinstance(error, openai.APIStatusError) else ""
    lines = str(response or error.__cause__ or error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
