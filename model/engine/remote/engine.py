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
from contextlib import closing
from dataclasses import replace
from typing import Any, Literal

from PIL import Image
from pydantic import BaseModel, TypeAdapter

from longview.model.engine.base import REPLY_RESERVE_TOKENS, ChatTurn, TemporalPatch
from longview.model.engine.chat_template import THINKING_SWITCH, clean_context
from longview.model.engine.checkpoints import SERVED
from longview.model.engine.generation import MAX_THINKING_TOKENS
from longview.model.engine.prefill import MS_PER_SECOND, FrameBatcher, patch_timestamp_s
from longview.model.engine.remote.contact import Contact
from longview.model.engine.remote.facts import SAFE_CONTEXT_TOKENS, read_facts
from longview.model.engine.remote.generation import RemoteGeneration
from longview.model.engine.remote.server import Server
from longview.model.errors import ServerFailed
from longview.video.decoder import TimedFrames
from longview.video.errors import UnreadableVideo
from longview.video.progress import NO_PROGRESS, Progress
from longview.video.sampler import FRAMES_PER_PATCH, SamplingPlan, TrainedRange
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
        """Contact the server, and find out what it takes. `thinking`, `max_thinking_tokens`: as for `LocalEngine`.

        Raises:
            ServerUnreachable: there is no server. InvalidCheckpoint: it does not serve the model.
            ServerFailed: it has no API of a model server, refuses the key, or would not work.
        """
        self.server = server
        self.max_thinking_tokens = max_thinking_tokens
        self.reserved_tokens = REPLY_RESERVE_TOKENS + (max_thinking_tokens if thinking else 0)
        with closing(Contact(server)) as contact:
            self.facts = read_facts(contact)
        if self.facts.problems:
            raise ServerFailed(" ".join(self.facts.problems))
        for warning in self.facts.warnings:
            log.warning("%s", warning)
        self.kind: ServerKind = "vllm" if self.facts.takes_video else "images"
        self.context_tokens = server.context_tokens or self.facts.context_tokens or SAFE_CONTEXT_TOKENS
        if not (server.context_tokens or self.facts.context_tokens):
            log.warning(
                "The server at %s does not say how long its context is; %s tokens are assumed. If it is longer, set it with "
                "LONGVIEW_CONTEXT_TOKENS.",
                server.url, f"{SAFE_CONTEXT_TOKENS:,}",
            )  # fmt: skip
        checkpoint = server.checkpoint
        self.checkpoint = replace(
            checkpoint,
            fingerprint=self.facts.fingerprint or SERVED,
            trained_range=self._fit_range(checkpoint.trained_range),
            max_context_tokens=self.context_tokens,
        )

    def _fit_range(self, trained_range: TrainedRange) -> TrainedRange:
        """Return the range that plans for this server stay in."""
        if self.kind == "images":
            max_patches = min(trained_range.max_patches, self.facts.max_images or trained_range.max_patches)
            return replace(trained_range, min_tokens_per_patch=MIN_IMAGE_TOKENS, max_patches=max_patches)
        max_tokens = self.server.max_video_tokens or self.facts.max_video_tokens or trained_range.max_visual_tokens
        return replace(trained_range, max_visual_tokens=min(trained_range.max_visual_tokens, max_tokens))

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
        """Build what the body of every chat completion has."""
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
        # Other servers may refuse a request with a field that they do not know.
        if self.facts.has_thinking_switch:
            request["chat_template_kwargs"] = {THINKING_SWITCH: thinking}
        if schema is not None and self.facts.has_json_schema:
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
        """Build the body of a chat completion. The context is a part of its own, so that the prefix cache has it."""
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
            request["media_io_kwargs"] = {"video": self._metadata()}
            request["mm_processor_kwargs"] = {"do_resize": False, "do_sample_frames": False}
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
