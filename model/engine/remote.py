"""The remote engine: frames and questions -> replies of a model on any OpenAI-compatible server.

Frames are decoded locally; the requests contain JPEG images of them with their true times. vLLM takes the frames as one video
with its times beside it, which is what `Qwen3VLProcessor` gets here (`media_io_kwargs`, vLLM 0.18 and newer,
vllm-project/vllm#40133). Its prefix cache identifies the video by its hash, so that later questions are fast. Other servers
get every timestamp as text before its image, as in the prompt of the model.
"""

import asyncio
import base64
import io
import logging
import time
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import openai
from openai.types.chat import ChatCompletionChunk
from PIL import Image
from pydantic import BaseModel, TypeAdapter
from tenacity import retry, retry_if_exception_type, retry_if_not_exception_type, stop_after_attempt, wait_exponential

from longview.model.engine.base import REPLY_RESERVE_TOKENS, ChatTurn, TemporalPatch
from longview.model.engine.checkpoints import QWEN3_VL, Checkpoint
from longview.model.engine.generation import THINK_END, THINK_START, is_repetitive
from longview.model.engine.prefill import MS_PER_SECOND, FrameBatcher
from longview.model.errors import InvalidCheckpoint, ServerFailed, ServerUnreachable
from longview.video.decoder import TimedFrames
from longview.video.errors import UnreadableVideo
from longview.video.progress import CANCEL_POLL_S, NO_PROGRESS, Progress
from longview.video.sampler import FRAMES_PER_PATCH, SamplingPlan
from longview.video.timeline import Span

log = logging.getLogger(__name__)

ServerKind = Literal["vllm", "images"]
JPEG_QUALITY = 90
CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 300.0
"""Timeout for a silent server, in seconds. A large model prefills a video of two hours for minutes before its first token."""
MAX_ATTEMPTS = 3
"""Maximum number of attempts for a request that the server rejects temporarily. A reply that has begun is not retried."""
DEFAULT_CONTEXT_TOKENS = 32_768
"""Context length of servers that do not report theirs."""
TRANSIENT_ERRORS = (openai.APIConnectionError, openai.RateLimitError, openai.InternalServerError)
MIN_IMAGE_TOKENS = 64
"""Minimum number of tokens per image. The image processors of Qwen3-VL enlarge smaller images (`shortest_edge` 65,536 pixels)."""
MAX_SESSION_BYTES = 4 << 30
"""Maximum size of the JPEG images of all sessions."""


@dataclass(frozen=True)
class Server:
    """The address of a model on a server."""

    url: str
    """`http://host:8000/v1`."""
    model: str
    """Name of the model on the server."""
    key: str = "none"

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint as far as it is known without a request to the server."""
        return Checkpoint(
            name=f"{self.model} at {self.url}",
            folder=Path(),
            fingerprint="served",
            trained_range=QWEN3_VL,
            kv_bytes_per_token=0,
            weight_bytes=0,
            max_context_tokens=DEFAULT_CONTEXT_TOKENS,
        )


class RemoteEngine:
    """See `longview.model.engine.base.Engine`. It holds no weights."""

    device = "server"
    kv_bytes_per_token = 0
    """The KV cache is on the server."""
    reserved_tokens = REPLY_RESERVE_TOKENS
    kv_cache_bytes = MAX_SESSION_BYTES

    def __init__(self, server: Server) -> None:
        """Connect, and request the list of models.

        Raises:
            ServerUnreachable: there is no server, or its API is not OpenAI's. InvalidCheckpoint: it does not serve the model.
        """
        self.server = server
        try:
            with openai.OpenAI(**self.client_options()) as client:
                models = {item.id: item for item in client.models.list().data}
        except openai.OpenAIError as error:
            raise ServerUnreachable(
                f"There is no model server at {server.url} ({_describe_error(error)}); check the address, and start the server."
            ) from error
        if models and server.model not in models:
            raise InvalidCheckpoint(
                f"The server at {server.url} has no model {server.model}; it has {', '.join(sorted(models))}."
            )
        model_info = models[server.model].model_dump() if models else {}
        self.kind: ServerKind = "vllm" if model_info.get("owned_by") == "vllm" else "images"
        self.context_tokens = int(model_info.get("max_model_len") or DEFAULT_CONTEXT_TOKENS)
        self.checkpoint = server.checkpoint
        if self.kind == "images":
            trained_range = replace(self.checkpoint.trained_range, min_tokens_per_patch=MIN_IMAGE_TOKENS)
            self.checkpoint = replace(self.checkpoint, trained_range=trained_range)

    def client_options(self) -> dict[str, Any]:
        """Return the arguments of a client of this server."""
        timeout = openai.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
        return {"base_url": self.server.url, "api_key": self.server.key, "max_retries": 0, "timeout": timeout}

    def timestamp_tokens(self, time_s: float) -> int:
        """Count as Qwen's tokenizer does: one token per character of the number, three around it, and vision start and end."""
        return len(f"{time_s:.1f}") + 5

    def open_session(
        self,
        frames: Iterable[TimedFrames],
        window: Span,
        *,
        capacity_tokens: int,  # noqa: ARG002 (the server allocates)
        clock_offset_s: float = 0.0,
        progress: Progress = NO_PROGRESS,
    ) -> "RemoteSession":
        """See `longview.model.engine.base.Engine`. The session holds the frames as JPEG; each request contains them."""
        batcher = FrameBatcher()
        jpegs: list[bytes] = []
        times_s: list[float] = []
        for pixels, chunk_times_s in batcher.chunks(frames, "cpu"):
            progress.raise_if_cancelled()
            jpegs += [_encode_jpeg(Image.fromarray(frame)) for frame in pixels]
            times_s += chunk_times_s.tolist()
        if not jpegs:
            raise UnreadableVideo("No frame of this part of the video can be decoded.")
        return RemoteSession(self, jpegs, times_s, window, clock_offset_s, frames=batcher.frames, undecodable=batcher.undecodable)

    def estimated_bytes(self, plan: SamplingPlan) -> int:
        """Estimate the size of the images on the host. JPEG of this quality takes about 1.5 bits per pixel."""
        return max(len(window.times_s) for window in plan.windows) * plan.height * plan.width * 3 // 16

    def estimated_seconds(self, plan: SamplingPlan, *, reply_tokens: int) -> float | None:  # noqa: ARG002
        """Return None: the speed of the server is unknown."""
        return None

    def generate_text(
        self,
        prompt: str,
        *,
        max_new_tokens: int,
        schema: type[BaseModel] | None = None,
        progress: Progress = NO_PROGRESS,
    ) -> "RemoteGeneration":
        """See `longview.model.engine.base.Engine`."""
        return RemoteGeneration(self, self.request(_messages(prompt, (), []), max_new_tokens, schema), progress)

    def request(self, messages: list[dict[str, Any]], max_new_tokens: int, schema: type[BaseModel] | None) -> dict[str, Any]:
        """Build the arguments of `chat.completions.create` that every request has."""
        request: dict[str, Any] = {
            "model": self.server.model,
            "messages": messages,
            "max_tokens": max_new_tokens,
            "temperature": 0.0,
            "stream": True,
        }
        if schema is not None and self.kind == "vllm":
            json_schema = {"name": "reply", "schema": TypeAdapter(list[schema]).json_schema()}  # type: ignore[valid-type]
            request["response_format"] = {"type": "json_schema", "json_schema": json_schema}
        return request


class RemoteSession:
    """See `longview.model.engine.base.VideoSession`."""

    is_out_of_distribution = False
    """Served models have no out-of-distribution detector."""

    def __init__(
        self,
        engine: RemoteEngine,
        images: Sequence[bytes],
        times_s: Sequence[float],
        window: Span,
        clock_offset_s: float,
        *,
        frames: int,
        undecodable: tuple[Span, ...],
    ) -> None:
        self.engine = engine
        self.window = window
        self.clock_offset_s = clock_offset_s
        self.frames = frames
        self.undecodable = undecodable
        self.size_bytes = sum(map(len, images))
        self._milliseconds = [round(max(time_s - clock_offset_s, 0.0) * MS_PER_SECOND) for time_s in times_s]
        self._jpegs = images
        pairs = zip(times_s[::2], times_s[1::2], self._milliseconds[::2], self._milliseconds[1::2], strict=True)
        # Servers without video input get one image per patch, so that the prompt has no more tokens than planned.
        self.patches = tuple(
            TemporalPatch(float(f"{((a + b) / 2 if engine.kind == 'vllm' else a) / MS_PER_SECOND:.1f}"), first, last)
            for first, last, a, b in pairs
        )
        self.prompt_tokens = 0

    def generate(
        self,
        question: str,
        *,
        max_new_tokens: int,
        schema: type[BaseModel] | None = None,
        presence_penalty: float = 0.0,
        history: Sequence[ChatTurn] = (),
        progress: Progress = NO_PROGRESS,
    ) -> "RemoteGeneration":
        """See `longview.model.engine.base.VideoSession`."""
        request = self.request(question, max_new_tokens, schema, presence_penalty, history)
        return RemoteGeneration(self.engine, request, progress)

    def request(
        self,
        question: str,
        max_new_tokens: int,
        schema: type[BaseModel] | None = None,
        presence_penalty: float = 0.0,
        history: Sequence[ChatTurn] = (),
    ) -> dict[str, Any]:
        """Build the arguments of `chat.completions.create`."""
        is_vllm = self.engine.kind == "vllm"
        messages = _messages(question, history, [*(self._video() if is_vllm else self._images())])
        request = self.engine.request(messages, max_new_tokens, schema)
        if presence_penalty:
            request["presence_penalty"] = presence_penalty
        if is_vllm:
            # The frames already have the planned size. By default, the processor would shrink the frames of a long video.
            request["extra_body"] = {
                "media_io_kwargs": {"video": self._metadata()},
                "mm_processor_kwargs": {"do_resize": False, "do_sample_frames": False},
            }
        return request

    def _video(self) -> list[dict[str, Any]]:
        frames = ",".join(base64.b64encode(jpeg).decode() for jpeg in self._jpegs)
        return [{"type": "video_url", "video_url": {"url": f"data:video/jpeg;base64,{frames}"}}]

    def _metadata(self) -> dict[str, Any]:
        return {
            "fps": float(MS_PER_SECOND),
            "frames_indices": self._milliseconds,
            "total_num_frames": self._milliseconds[-1] + 1,
            "duration": (self._milliseconds[-1] + 1) / MS_PER_SECOND,
            "do_sample_frames": False,
            # The default of 32 would silently drop all later frames.
            "num_frames": -1,
        }

    def _images(self) -> Iterator[dict[str, Any]]:
        for patch, jpeg in zip(self.patches, self._jpegs[::FRAMES_PER_PATCH], strict=True):
            yield {"type": "text", "text": f"<{patch.timestamp_s:.1f} seconds>"}
            yield {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"}}

    def offload(self) -> None:
        """Do nothing: the frames are already in host memory."""


class RemoteGeneration:
    """See `longview.model.engine.base.Generation`."""

    def __init__(self, engine: RemoteEngine, request: dict[str, Any], progress: Progress = NO_PROGRESS) -> None:
        self.text = ""
        self.is_complete = False
        self.is_repetitive = False
        self.first_token_s = 0.0
        self.total_s = 0.0
        self._engine, self._request, self._progress = engine, request, progress
        self._finish_reason: str | None = None

    def __iter__(self) -> Iterator[str]:
        start = time.perf_counter()
        head = ""
        for piece in self._received():
            self.total_s = time.perf_counter() - start
            self.first_token_s = self.first_token_s or self.total_s
            if not self.text:
                head += piece
                piece = self._without_thinking(head)
            if piece:
                self.text += piece
                yield piece
        if not self.text and head and THINK_END not in head and self._finish_reason == "stop":
            # What seemed to be thinking was the reply.
            self.text = head.lstrip().removeprefix(THINK_START).lstrip()
            yield self.text
        self.is_complete = self._finish_reason == "stop"
        self.is_repetitive = is_repetitive(self.text.split())

    def _without_thinking(self, head: str) -> str:
        """Return what follows the thinking at the beginning of a reply; "" while it lasts, or may still begin.

        Thinking precedes the reply, unless the server separates them. The prompt of a Thinking checkpoint contains the tag that
        begins it; other models write the tag themselves.
        """
        if THINK_END in head:
            return head.rpartition(THINK_END)[2].lstrip()
        may_begin = THINK_START.startswith(head.lstrip()[: len(THINK_START)])
        return "" if may_begin or "thinking" in self._engine.server.model.lower() else head

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
        url = self._engine.server.url
        incomplete = f"The server at {url} closed the connection during its reply; ask again."
        async with openai.AsyncOpenAI(**self._engine.client_options()) as client:
            stream = await self._start(client)
            try:
                async for chunk in stream:
                    if chunk.choices:
                        self._finish_reason = chunk.choices[0].finish_reason or self._finish_reason
                        if piece := chunk.choices[0].delta.content:
                            yield piece
            except Exception as error:  # of the client, or of the HTTP library below it
                log.info("%s closed the connection: %s", url, _describe_error(error))
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
        url = self._engine.server.url

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
            raise ServerUnreachable(f"The server at {url} cannot be reached: {_describe_error(error)}") from error
        except openai.OpenAIError as error:
            raise ServerFailed(f"The server at {url} rejected the request: {_describe_error(error)}") from error


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


def _messages(question: str, history: Sequence[ChatTurn], images: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Build a conversation whose first message starts with the images."""
    turns: list[dict[str, Any]] = []
    for turn in history:
        turns.append({"role": "user", "content": [{"type": "text", "text": turn.question}]})
        turns.append({"role": "assistant", "content": turn.answer})
    turns.append({"role": "user", "content": [{"type": "text", "text": question}]})
    turns[0]["content"] = [*images, *turns[0]["content"]]
    return turns


def _encode_jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def _describe_error(error: Exception) -> str:
    """Return the first line of the response or the error, in at most 200 characters."""
    response = error.response.text if isinstance(error, openai.APIStatusError) else ""
    lines = str(response or error.__cause__ or error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
