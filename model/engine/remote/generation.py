"""Replies that a model server streams. Each reply has its own connection, which a cancellation closes."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import httpx

from longview.core.progress import CANCEL_POLL_S, NO_PROGRESS, Progress
from longview.model.engine.generation.repetition import is_repetitive
from longview.model.engine.generation.thoughts import ThoughtSplitter
from longview.model.engine.remote.adapters.base import Adapter
from longview.model.engine.remote.conversation import Conversation
from longview.model.engine.remote.frame_costs import TOLERANCE
from longview.model.engine.remote.http import (
    CONNECT_TIMEOUT_S,
    KEY_STATUSES,
    BadResponse,
    connection_error,
    key_error,
    silence_error,
)
from longview.model.engine.remote.limits import PromptLimits
from longview.model.engine.remote.sending import Rejected, open_response
from longview.model.errors import ModelError, ServerFailed

log = logging.getLogger(__name__)

MAX_CHARACTERS_PER_TOKEN = 64
"""Maximum mean length of the tokens of a reply, in characters. A longer reply ignores the token limit of the request."""


@dataclass(frozen=True)
class PromptCheck:
    """What shows that a server reads a whole prompt with all its frames."""

    min_tokens: int = 0
    """The least tokens of the whole prompt. If the server reports fewer, it has cut the prompt."""
    is_proved: bool = False
    """Whether an earlier reply has shown that the server reads prompts with these frames. Otherwise nothing of this reply is
    yielded before the server has reported its tokens, because it might be about frames that no model has seen."""
    proof: "RemoteGeneration | None" = None
    """A reply that shows it, and is generated first."""


NO_PROMPT_CHECK = PromptCheck()


class RemoteGeneration:
    """See `longview.model.engine.base.Generation`."""

    def __init__(
        self,
        adapter: Adapter,
        limits: PromptLimits,
        conversation: Conversation,
        check: PromptCheck = NO_PROMPT_CHECK,
        *,
        report: Callable[[int], None] | None = None,
        progress: Progress = NO_PROGRESS,
    ) -> None:
        """`report`: is called with the number of tokens of the prompt that the server reports."""
        self.text = ""
        self.thoughts = ""
        self.is_complete = False
        self.is_repetitive = False
        self.first_token_s = 0.0
        self.total_s = 0.0
        self.prompt_tokens: int | None = None
        """Number of tokens of the prompt that the server reports; None before it does."""
        self._adapter, self._limits, self._conversation = adapter, limits, conversation
        self._planned, self._report = limits.present, report
        self._min_prompt_tokens, self._is_proved, self._proof = check.min_tokens, check.is_proved, check.proof
        self._server, self._progress = adapter.server, progress
        self._finish_reason: str | None = None
        self._separate_thoughts = ""
        """Thoughts that the server separates from the reply."""
        self._is_accepted = False
        self._last_event_s = 0.0
        """Time of the last piece, or of the acceptance of the request, on the monotonic clock. Comments do not count."""

    @property
    def has_read_prompt(self) -> bool:
        """See `longview.model.engine.base.Generation`."""
        return self._is_proved

    def __iter__(self) -> Iterator[str]:
        start = time.perf_counter()
        if self._proof is not None:
            for _ in self._proof:
                pass
            self._is_proved = True
        # Unless the server separates the thoughts, they precede the reply. The prompt of a Thinking checkpoint contains the tag
        # that begins them; other models write the tag themselves.
        splitter = ThoughtSplitter(begins_with_thoughts="thinking" in self._server.model.lower())
        held_text = ""
        for piece in self._receive():
            self.total_s = time.perf_counter() - start
            self.first_token_s = self.first_token_s or self.total_s
            held_text += splitter.add(piece)
            self.text = splitter.text
            if held_text and self._is_proved:
                yield held_text
                held_text = ""
        self.is_complete = self._finish_reason == "stop"
        held_text += splitter.finish(is_complete=self.is_complete)
        self.text, self.thoughts = splitter.text, (self._separate_thoughts + splitter.thoughts).strip()
        self.is_repetitive = is_repetitive(self.text.split())
        if held_text:
            yield held_text

    def _receive(self) -> Iterator[str]:
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
                    raise silence_error(self._server)
                await asyncio.wait({task}, timeout=CANCEL_POLL_S)
            return task.result()
        finally:
            # Also after Ctrl-C: a generator that still runs cannot be closed.
            task.cancel()
            await asyncio.wait({task})

    async def _stream(self) -> AsyncGenerator[str, None]:
        """Send the conversation, and once more if the adapter can change what the server rejects; yield the text of the reply."""
        conversation: Conversation | None = self._conversation
        while conversation is not None:
            body = self._adapter.body(conversation)
            try:
                async with aclosing(self._reply(conversation, body)) as reply:
                    async for piece in reply:
                        yield piece
                return
            except Rejected as error:
                conversation = self._adapter.amend(conversation, body, str(error))
                if conversation is None:
                    raise self._rejection_error(error) from error
                log.info("the request is sent once more in another form: %s", error)

    async def _reply(self, conversation: Conversation, body: Mapping[str, Any]) -> AsyncGenerator[str, None]:
        """Send a request, and yield the text of the reply.

        Raises:
            Rejected: before the first piece, the server rejects the request, with its status or within the stream.
        """
        url = self._server.url
        closed_message = f"The server at {url} closed the connection during its reply; ask again."
        max_tokens = conversation.max_tokens
        received_characters = 0
        timeout = httpx.Timeout(self._server.max_silence_s, connect=CONNECT_TIMEOUT_S)
        async with (
            httpx.AsyncClient(headers=self._server.headers, timeout=timeout) as client,
            open_response(client, self._server, self._adapter.url, body, self._wait) as response,
        ):
            self._is_accepted, self._last_event_s = True, time.monotonic()
            try:
                async for event in self._adapter.read_events(response):
                    if event.error is not None:
                        if not received_characters:
                            raise Rejected(event.error)
                        raise ServerFailed(f"The server at {url} ended the reply: {event.error}")
                    self._note_tokens(event.prompt_tokens)
                    self._finish_reason = event.finish_reason or self._finish_reason
                    self._separate_thoughts += event.thoughts
                    received_characters += len(event.text) + len(event.thoughts)
                    if received_characters > MAX_CHARACTERS_PER_TOKEN * max_tokens:
                        raise ServerFailed(f"The server at {url} sends more than the {max_tokens:,} tokens that were requested.")
                    if event.text or event.thoughts:
                        # Pieces without content keep a connection open, and are no progress.
                        self._last_event_s = time.monotonic()
                        self._adapter.accept(conversation, self._conversation)
                        # "": a thought; the caller waits no longer than for a token.
                        yield event.text
            except BadResponse as error:
                raise ServerFailed(f"The server at {url} cannot be used: {error}.") from error
            except httpx.ReadTimeout as error:
                raise silence_error(self._server) from error
            except httpx.HTTPError as error:
                log.info("%s closed the connection: %s", url, connection_error(self._server, error))
                raise ServerFailed(closed_message) from error
        if self._finish_reason is None:
            raise ServerFailed(closed_message)
        self._check_prompt()

    def _note_tokens(self, tokens: int | None) -> None:
        """Note how many tokens of the prompt the server has read. Some servers report 0 before they know it."""
        if not tokens:
            return
        self.prompt_tokens = max(self.prompt_tokens or 0, tokens)
        self._is_proved = self._is_proved or self.prompt_tokens >= self._required_tokens
        if self._report:
            self._report(self.prompt_tokens)

    @property
    def _required_tokens(self) -> float:
        return (1 - TOLERANCE) * self._min_prompt_tokens

    def _check_prompt(self) -> None:
        """Check in the end that the server has read the whole prompt.

        Raises:
            ServerFailed: it has not, or it does not report it.
        """
        url, tokens = self._server.url, self.prompt_tokens
        if tokens is None and self._min_prompt_tokens:
            raise ServerFailed(
                f"The server at {url} did not report how many tokens of the prompt it read, so that nothing proves its reply."
            )
        if tokens is not None and tokens < self._required_tokens:
            raise ServerFailed(
                f"The server at {url} read {tokens:,} tokens of a prompt of at least {self._min_prompt_tokens:,}: it cuts long "
                f"prompts, and the model has not seen all frames. Change {self._adapter.facts.context_setting}, or set "
                "LONGVIEW_CONTEXT_TOKENS to its real context length."
            )
        self._is_proved = True

    def _rejection_error(self, error: Rejected) -> ModelError:
        """Return the error for a request that the server rejects for good."""
        if error.status in KEY_STATUSES:
            return key_error(self._server, str(error))
        overflow = self._limits.overflow(str(error), self._planned)
        return overflow or ServerFailed(f"The server at {self._server.url} rejected the request: {error}")

    async def _wait(self, seconds: float) -> None:
        with self._progress.stage(f"Waiting for the server, {seconds:.0f} s"):
            await asyncio.sleep(seconds)
