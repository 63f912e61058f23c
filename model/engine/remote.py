"""The remote engine: frames and questions -> replies of a model on any OpenAI-compatible server.

Frames are decoded locally; the requests contain JPEG images of them with their true times. vLLM takes the frames as one video
with its times beside it, which is what `Qwen3VLProcessor` gets here (`media_io_kwargs`, vLLM 0.18 and newer,
vllm-project/vllm#40133). Its prefix cache identifies the video by its hash, so that later questions are fast. Other servers
get every timestamp as text before its image, as in the prompt of the model.
"""

import base64
import io
import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal

import openai
from PIL import Image
from pydantic import BaseModel, TypeAdapter

from longview.model.engine.base import REPLY_RESERVE_TOKENS, ChatTurn, TemporalPatch
from longview.model.engine.chat_template import THINKING_SWITCH, clean_context
from longview.model.engine.generation import MAX_THINKING_TOKENS
from longview.model.engine.prefill import MS_PER_SECOND, FrameBatcher, patch_timestamp_s
from longview.model.engine.remote_generation import DEFAULT_CONTEXT_TOKENS, RemoteGeneration, Server, describe_error
from longview.model.errors import InvalidCheckpoint, ServerUnreachable
from longview.video.decoder import TimedFrames
from longview.video.errors import UnreadableVideo
from longview.video.progress import NO_PROGRESS, Progress
from longview.video.sampler import FRAMES_PER_PATCH, SamplingPlan
from longview.video.timeline import Span

log = logging.getLogger(__name__)

ServerKind = Literal["vllm", "images"]
JPEG_QUALITY = 90
MIN_IMAGE_TOKENS = 64
"""Minimum number of tokens per image. The image processors of Qwen3-VL enlarge smaller images (`shortest_edge` 65,536 pixels)."""
MAX_SESSION_BYTES = 4 << 30
"""Maximum size of the JPEG images of all sessions."""
LETTERS_PER_TOKEN = 2
"""Minimum number of letters in one token of a word in Latin script; in transcripts it is about four."""
BYTES_PER_TOKEN = 2
"""Minimum number of bytes of UTF-8 in one token of other characters; in transcripts it is two to seven."""
_LATIN_WORD = re.compile("[A-Za-z]+")


class RemoteEngine:
    """See `longview.model.engine.base.Engine`. It holds no weights."""

    device = "server"
    is_frugal = False
    kv_cache_bytes = MAX_SESSION_BYTES

    def __init__(self, server: Server, *, thinking: bool = False, max_thinking_tokens: int = MAX_THINKING_TOKENS) -> None:
        """Connect, and request the list of models. `thinking`, `max_thinking_tokens`: as for `LocalEngine`.

        Raises:
            ServerUnreachable: there is no server, or its API is not OpenAI's. InvalidCheckpoint: it does not serve the model.
        """
        self.server = server
        self.max_thinking_tokens = max_thinking_tokens
        self.reserved_tokens = REPLY_RESERVE_TOKENS + (max_thinking_tokens if thinking else 0)
        try:
            with openai.OpenAI(**server.client_options) as client:
                models = {item.id: item for item in client.models.list().data}
        except openai.OpenAIError as error:
            raise ServerUnreachable(
                f"There is no model server at {server.url} ({describe_error(error)}); check the address, and start the server."
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

    def timestamp_tokens(self, time_s: float) -> int:
        """Count as Qwen's tokenizer does: one token per character of the number, three around it, and vision start and end."""
        return len(f"{time_s:.1f}") + 5

    def count_tokens(self, text: str) -> int:
        """Estimate the tokens of a text from above, because the tokenizer is on the server.

        Qwen's tokenizer gives a digit or a mark at most one token. For text of words the other counts are upper limits: the
        estimate for transcripts in English and Korean is 1.7 to 1.8 times the real number. Random letters can have a quarter
        more tokens than estimated.
        """
        letters = sum(-(-len(word) // LETTERS_PER_TOKEN) for word in _LATIN_WORD.findall(text))
        others = _LATIN_WORD.sub(" ", text).split()
        return letters + sum(1 if mark.isascii() else -(-len(mark.encode()) // BYTES_PER_TOKEN) for mark in "".join(others))

    def open_session(
        self,
        frames: Iterable[TimedFrames],
        window: Span,
        *,
        capacity_tokens: int,  # noqa: ARG002 (the server allocates)
        clock_offset_s: float = 0.0,
        video_duration_s: float | None = None,
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
        return RemoteSession(
            self,
            jpegs,
            times_s,
            window,
            clock_offset_s,
            video_duration_s=video_duration_s,
            frames=batcher.frames,
            undecodable=batcher.undecodable,
        )

    def session_bytes(self, tokens: int) -> int:  # noqa: ARG002
        """See `longview.model.engine.base.Engine`. The KV cache is on the server."""
        return 0

    def estimated_bytes(self, plan: SamplingPlan) -> int:
        """Estimate the size of the images on the host. JPEG of this quality takes about 1.5 bits per pixel."""
        return max(len(window.times_s) for window in plan.windows) * plan.height * plan.width * 3 // 16

    def estimated_seconds(
        self,
        plan: SamplingPlan,  # noqa: ARG002
        *,
        reply_tokens: int,  # noqa: ARG002
        words_tokens: int = 0,  # noqa: ARG002
        progress: Progress = NO_PROGRESS,  # noqa: ARG002
    ) -> float | None:
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
        return RemoteGeneration(self.server, self.request(_messages(prompt, (), []), max_new_tokens, schema), progress)

    def request(
        self,
        messages: list[dict[str, Any]],
        max_new_tokens: int,
        schema: type[BaseModel] | None,
        *,
        thinking: bool = False,
    ) -> dict[str, Any]:
        """Build the arguments of `chat.completions.create` that every request has."""
        request: dict[str, Any] = {
            "model": self.server.model,
            "messages": messages,
            # Servers count the thoughts as a part of the reply.
            "max_tokens": max_new_tokens + (self.max_thinking_tokens if thinking else 0),
            "stream": True,
        }
        if not thinking:
            # Thoughts are sampled as the server does by default: greedy thoughts repeat themselves.
            request["temperature"] = 0.0
        if self.kind == "vllm":
            # Other servers may refuse a request with a field that they do not know.
            request["extra_body"] = {"chat_template_kwargs": {THINKING_SWITCH: thinking}}
        if schema is not None and self.kind == "vllm":
            json_schema = {"name": "reply", "schema": TypeAdapter(list[schema]).json_schema()}  # type: ignore[valid-type]
            request["response_format"] = {"type": "json_schema", "json_schema": json_schema}
        return request


class RemoteSession:
    """See `longview.model.engine.base.VideoSession`."""

    is_out_of_distribution = False
    """Served models have no out-of-distribution detector."""
    is_busy = False
    """The frames are in host memory, and a server answers several questions at once."""

    def __init__(
        self,
        engine: RemoteEngine,
        images: Sequence[bytes],
        times_s: Sequence[float],
        window: Span,
        clock_offset_s: float,
        *,
        video_duration_s: float | None = None,
        frames: int,
        undecodable: tuple[Span, ...],
    ) -> None:
        self.engine = engine
        self.checkpoint = engine.checkpoint
        self.window = window
        self.video_duration_s = window.end_s if video_duration_s is None else video_duration_s
        self.clock_offset_s = clock_offset_s
        self.frames = frames
        self.undecodable = undecodable
        self.size_bytes = sum(map(len, images))
        self._milliseconds = [round(max(time_s - clock_offset_s, 0.0) * MS_PER_SECOND) for time_s in times_s]
        self._jpegs = images
        pairs = zip(times_s[::2], times_s[1::2], self._milliseconds[::2], self._milliseconds[1::2], strict=True)
        # Servers without video input get one image per patch, so that the prompt has no more tokens than planned.
        self.patches = tuple(
            TemporalPatch(patch_timestamp_s(a, b if engine.kind == "vllm" else a), first, last) for first, last, a, b in pairs
        )
        self.prompt_tokens = 0

    def generate(
        self,
        question: str,
        *,
        max_new_tokens: int,
        schema: type[BaseModel] | None = None,
        presence_penalty: float = 0.0,
        context: str = "",
        history: Sequence[ChatTurn] = (),
        thinking: bool = False,
        progress: Progress = NO_PROGRESS,
    ) -> "RemoteGeneration":
        """See `longview.model.engine.base.VideoSession`."""
        request = self.request(question, max_new_tokens, schema, presence_penalty, history, context, thinking=thinking)
        return RemoteGeneration(self.engine.server, request, progress)

    def request(
        self,
        question: str,
        max_new_tokens: int,
        schema: type[BaseModel] | None = None,
        presence_penalty: float = 0.0,
        history: Sequence[ChatTurn] = (),
        context: str = "",
        *,
        thinking: bool = False,
    ) -> dict[str, Any]:
        """Build the arguments of `chat.completions.create`. The context is a part of its own, so that the prefix cache has it."""
        is_vllm = self.engine.kind == "vllm"
        prefix = [*(self._video() if is_vllm else self._images())]
        if context_text := clean_context(context):
            prefix.append({"type": "text", "text": context_text})
        messages = _messages(question, history, prefix)
        request = self.engine.request(messages, max_new_tokens, schema, thinking=thinking)
        if presence_penalty:
            request["presence_penalty"] = presence_penalty
        if is_vllm:
            # The frames already have the planned size. By default, the processor would shrink the frames of a long video.
            request["extra_body"] |= {
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


def _messages(question: str, history: Sequence[ChatTurn], prefix: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Build a conversation whose first message starts with the images and the context."""
    turns: list[dict[str, Any]] = []
    for turn in history:
        turns.append({"role": "user", "content": [{"type": "text", "text": turn.question}]})
        turns.append({"role": "assistant", "content": turn.answer})
    turns.append({"role": "user", "content": [{"type": "text", "text": question}]})
    turns[0]["content"] = [*prefix, *turns[0]["content"]]
    return turns


def _encode_jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()
