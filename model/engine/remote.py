"""A model that another program serves: any OpenAI-compatible server, for those who outgrow one machine.

The frames are ours, with their true times; only they and the questions go over the wire. vLLM takes them as one video of
JPEG pictures with their times beside them, which is exactly what `Qwen3VLProcessor` gets here (`media_io_kwargs`, vLLM 0.18 and
newer, vllm-project/vllm#40133); its prefix cache knows them again by their hash, so that the next question is fast. Other
servers get each time as text before its picture, as the model itself would see it.
"""

import base64
import io
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
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
from longview.model.engine.generation import THINK_END, is_repetitive
from longview.model.engine.prefill import MS_PER_SECOND, FrameBatcher
from longview.model.errors import InvalidCheckpoint, ServerFailed, ServerUnreachable
from longview.video.decoder import TimedFrames
from longview.video.errors import UnreadableVideo
from longview.video.sampler import FRAMES_PER_PATCH, SamplingPlan
from longview.video.timeline import Span

log = logging.getLogger(__name__)

ServerKind = Literal["vllm", "images"]
JPEG_QUALITY = 90
CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 300.0
"""Reading a video of two hours takes a large model minutes before its first word."""
MAX_ATTEMPTS = 3
"""Of a request that the server could not take just now; never once its reply has begun."""
DEFAULT_CONTEXT_TOKENS = 32_768
"""Of servers that do not say how much they take."""
TRANSIENT_ERRORS = (openai.APIConnectionError, openai.RateLimitError, openai.InternalServerError)
MIN_IMAGE_TOKENS = 64
"""The image processors of Qwen3-VL enlarge smaller pictures (`shortest_edge` 65,536 pixels)."""
SESSION_BYTES = 4 << 30
"""For the pictures of all sessions, as JPEG."""


@dataclass(frozen=True)
class Server:
    """Where a model is served."""

    url: str
    """`http://host:8000/v1`."""
    model: str
    """Its name there."""
    key: str = "none"

    @property
    def checkpoint(self) -> Checkpoint:
        """What is known of the model without asking the server."""
        return Checkpoint(
            name=f"{self.model} at {self.url}",
            folder=Path(),
            fingerprint="served",
            trained_range=QWEN3_VL,
            notice=None,
            question_templates=(),
            no_event_replies=(),
            kv_bytes_per_token=0,
            weight_bytes=0,
            max_context_tokens=DEFAULT_CONTEXT_TOKENS,
        )


class RemoteEngine:
    """See `longview.model.engine.base.Engine`. Holds no weights."""

    device = "server"
    kv_bytes_per_token = 0
    """The server's to keep."""
    reserved_tokens = REPLY_RESERVE_TOKENS
    kv_cache_bytes = SESSION_BYTES

    def __init__(self, server: Server) -> None:
        """Ask the server what it serves.

        Raises:
            ServerUnreachable: there is none, or it does not speak OpenAI's language. BadCheckpoint: it serves other models.
        """
        self.server = server
        self.client = openai.OpenAI(
            base_url=server.url,
            api_key=server.key,
            max_retries=0,
            timeout=openai.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
        )
        try:
            served = {item.id: item for item in self.client.models.list().data}
        except openai.OpenAIError as error:
            raise ServerUnreachable(f"There is no model server at {server.url}: {_describe_error(error)}") from error
        if served and server.model not in served:
            raise InvalidCheckpoint(
                f"The server at {server.url} has no model {server.model}; it has {', '.join(sorted(served))}."
            )
        facts = served[server.model].model_dump() if served else {}
        self.kind: ServerKind = "vllm" if facts.get("owned_by") == "vllm" else "images"
        self.context_tokens = int(facts.get("max_model_len") or DEFAULT_CONTEXT_TOKENS)
        self.checkpoint = server.checkpoint
        if self.kind == "images":
            trained = replace(self.checkpoint.trained_range, min_tokens_per_patch=MIN_IMAGE_TOKENS)
            self.checkpoint = replace(self.checkpoint, trained_range=trained)

    def timestamp_tokens(self, time_s: float) -> int:
        """By Qwen's tokenizer: one token a character of the number, three around it, and vision start and end."""
        return len(f"{time_s:.1f}") + 5

    def open_session(
        self,
        frames: Iterable[TimedFrames],
        window: Span,
        *,
        capacity_tokens: int,  # noqa: ARG002 (the server's to find)
        clock_offset_s: float = 0.0,
    ) -> "RemoteSession":
        """See `longview.model.engine.base.Engine`. Frames are held as JPEG until they are asked about."""
        collected = FrameBatcher()
        pictures: list[bytes] = []
        times_s: list[float] = []
        for pixels, chunk_s in collected.chunks(frames, "cpu"):
            pictures += [_jpeg(Image.fromarray(picture)) for picture in pixels]
            times_s += chunk_s.tolist()
        if not pictures:
            raise UnreadableVideo("There is no picture to look at.")
        return RemoteSession(
            self, pictures, times_s, window, clock_offset_s, frames=collected.frames, undecodable=collected.undecodable
        )

    def estimated_bytes(self, plan: SamplingPlan) -> int:
        """The pictures, as they wait here: JPEG at that quality takes about a bit and a half a pixel."""
        return max(len(window.times_s) for window in plan.windows) * plan.height * plan.width * 3 // 16

    def estimated_seconds(self, plan: SamplingPlan, *, reply_tokens: int) -> float:  # noqa: ARG002
        """Unknown: 0."""
        return 0.0

    def generate(self, prompt: str, *, max_new_tokens: int, item: type[BaseModel] | None = None) -> "RemoteGeneration":
        """See `longview.model.engine.base.Engine`."""
        return RemoteGeneration(self, self.request(_messages(prompt, (), []), max_new_tokens, item))

    def request(self, messages: list[dict[str, Any]], max_new_tokens: int, schema: type[BaseModel] | None) -> dict[str, Any]:
        """The arguments of `chat.completions.create` that every request has."""
        request: dict[str, Any] = {
            "model": self.server.model,
            "messages": messages,
            "max_tokens": max_new_tokens,
            "temperature": 0.0,
            "stream": True,
        }
        if schema is not None and self.kind == "vllm":
            named = {"name": "reply", "schema": TypeAdapter(list[schema]).json_schema()}  # type: ignore[valid-type]
            request["response_format"] = {"type": "json_schema", "json_schema": named}
        return request


class RemoteSession:
    """See `longview.model.engine.base.VideoSession`."""

    is_out_of_distribution = False
    """Served models are not ours, and are trained on everything."""

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
        # One picture of each patch goes to servers without video, so that it costs no more tokens than was planned.
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
        item: type[BaseModel] | None = None,
        presence_penalty: float = 0.0,
        history: Sequence[ChatTurn] = (),
    ) -> "RemoteGeneration":
        """See `longview.model.engine.base.VideoSession`."""
        return RemoteGeneration(self.engine, self.request(question, max_new_tokens, item, presence_penalty, history))

    def request(
        self,
        question: str,
        max_new_tokens: int,
        item: type[BaseModel] | None = None,
        presence_penalty: float = 0.0,
        history: Sequence[ChatTurn] = (),
    ) -> dict[str, Any]:
        """The arguments of `chat.completions.create`."""
        is_vllm = self.engine.kind == "vllm"
        messages = _messages(question, history, [*(self._video() if is_vllm else self._images())])
        request = self.engine.request(messages, max_new_tokens, item)
        if presence_penalty:
            request["presence_penalty"] = presence_penalty
        if is_vllm:
            # The frames have their planned size: a processor left to itself would shrink a long video to stamps.
            request["extra_body"] = {
                "media_io_kwargs": {"video": self._metadata()},
                "mm_processor_kwargs": {"do_resize": False, "do_sample_frames": False},
            }
        return request

    def _video(self) -> list[dict[str, Any]]:
        frames = ",".join(base64.b64encode(picture).decode() for picture in self._jpegs)
        return [{"type": "video_url", "video_url": {"url": f"data:video/jpeg;base64,{frames}"}}]

    def _metadata(self) -> dict[str, Any]:
        return {
            "fps": float(MS_PER_SECOND),
            "frames_indices": self._milliseconds,
            "total_num_frames": self._milliseconds[-1] + 1,
            "duration": (self._milliseconds[-1] + 1) / MS_PER_SECOND,
            "do_sample_frames": False,
            # Its default of 32 would cut the rest off without a word.
            "num_frames": -1,
        }

    def _images(self) -> Iterator[dict[str, Any]]:
        for patch, picture in zip(self.patches, self._jpegs[::FRAMES_PER_PATCH], strict=True):
            yield {"type": "text", "text": f"<{patch.timestamp_s:.1f} seconds>"}
            yield {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{base64.b64encode(picture).decode()}"}}

    def offload(self) -> None:
        """It is in the host's memory already."""


class RemoteGeneration:
    """See `longview.model.engine.base.Generation`."""

    def __init__(self, engine: RemoteEngine, request: dict[str, Any]) -> None:
        self.text = ""
        self.is_complete = False
        self.is_repetitive = False
        self.first_token_s = 0.0
        self.total_s = 0.0
        self._engine, self._request = engine, request

    def __iter__(self) -> Iterator[str]:
        start = time.perf_counter()
        broken = f"The server at {self._engine.server.url} broke off in the middle of its reply; ask again."
        reason: str | None = None
        # What a Thinking checkpoint thinks comes first, where the server does not keep it apart.
        thoughts, thinking = "", "thinking" in self._engine.server.model.lower()
        stream = self._start()
        try:
            for chunk in stream:
                if not chunk.choices:
                    continue
                reason = chunk.choices[0].finish_reason or reason
                piece = chunk.choices[0].delta.content
                if piece:
                    self.total_s = time.perf_counter() - start
                    self.first_token_s = self.first_token_s or self.total_s
                    if thinking:
                        thoughts += piece
                        if THINK_END not in thoughts:
                            continue
                        thinking, piece = False, thoughts.partition(THINK_END)[2].lstrip()
                    self.text += piece
                    yield piece
        except Exception as error:  # of the client, or of whichever library it reads the connection with
            log.info("%s broke off: %s", self._engine.server.url, _describe_error(error))
            raise ServerFailed(broken) from error
        finally:
            # Leaving early tells the server to stop, so that it is free for the next request.
            stream.close()
        if reason is None:
            raise ServerFailed(broken)
        if thinking:
            # It did not think, or to no end.
            self.text = thoughts if reason == "stop" else ""
            yield self.text
        self.is_complete = reason == "stop"
        self.is_repetitive = is_repetitive(self.text.split())

    def _start(self) -> "openai.Stream[ChatCompletionChunk]":
        """The stream, once the server has taken the request.

        Raises:
            ServerUnreachable: it is gone, or too busy. ServerFailed: it refuses the request.
        """
        url = self._engine.server.url

        @retry(
            # A server that was silent for so long is not asked again: it would read the whole video anew.
            retry=retry_if_exception_type(TRANSIENT_ERRORS) & retry_if_not_exception_type(openai.APITimeoutError),
            stop=stop_after_attempt(MAX_ATTEMPTS),
            wait=wait_exponential(multiplier=0.5, max=8),
            reraise=True,
            before_sleep=lambda state: log.info("server at %s: attempt %d failed", url, state.attempt_number),
        )
        def begin() -> "openai.Stream[ChatCompletionChunk]":
            stream: openai.Stream[ChatCompletionChunk] = self._engine.client.chat.completions.create(**self._request)
            return stream

        try:
            return begin()
        except openai.APITimeoutError as error:
            raise ServerUnreachable(f"The server at {url} gave no answer within {READ_TIMEOUT_S:.0f} seconds.") from error
        except openai.APIConnectionError as error:
            raise ServerUnreachable(f"The server at {url} cannot be reached any more: {_describe_error(error)}") from error
        except openai.OpenAIError as error:
            raise ServerFailed(f"The server at {url} refused the request: {_describe_error(error)}") from error


def _messages(question: str, history: Sequence[ChatTurn], images: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A conversation that begins with the pictures."""
    turns: list[dict[str, Any]] = []
    for turn in history:
        turns.append({"role": "user", "content": [{"type": "text", "text": turn.question}]})
        turns.append({"role": "assistant", "content": turn.answer})
    turns.append({"role": "user", "content": [{"type": "text", "text": question}]})
    turns[0]["content"] = [*images, *turns[0]["content"]]
    return turns


def _jpeg(picture: Image.Image) -> bytes:
    target = io.BytesIO()
    picture.save(target, "JPEG", quality=JPEG_QUALITY)
    return target.getvalue()


def _describe_error(error: Exception) -> str:
    """One line of what the server, or the way to it, said."""
    answered = error.response.text if isinstance(error, openai.APIStatusError) else ""
    lines = str(answered or error.__cause__ or error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
