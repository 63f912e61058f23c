"""The transformers engine: any checkpoint that `AutoModelForImageTextToText` and `AutoProcessor` load as Qwen3-VL's kin.

The video comes first in the prompt and the question last, so everything up to the end of the video is one prefix:
it is prefilled once, while it is being decoded, into a KV cache of fixed size (`longview.model.engine.prefill`), and each question is
prefilled after it and cropped away again.
"""

import logging
import re
import threading
import time
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import psutil
import torch
from pydantic import BaseModel
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor
from transformers.utils import logging as transformers_logging

from longview.model.engine import attention
from longview.model.engine.base import REPLY_RESERVE_TOKENS, ChatTurn, TemporalPatch
from longview.model.engine.checkpoints import Checkpoint
from longview.model.engine.cuda_graph import CudaGraphDecoder
from longview.model.engine.estimates import Estimates
from longview.model.engine.generation import (
    MAX_THINKING_TOKENS,
    THINK_END,
    GenerationConfig,
    NextLogits,
    greedy_decode,
    is_repetitive,
)
from longview.model.engine.grammar import Grammars
from longview.model.engine.kv_cache import PreallocatedKVCache
from longview.model.engine.ood import load_ood_detector
from longview.model.engine.prefill import FrameBatcher, Prefill, next_logits
from longview.model.errors import DeviceNotFound, InvalidCheckpoint, InvalidQuestion, OutOfMemory
from longview.video.decoder import TimedFrames
from longview.video.errors import UnreadableVideo
from longview.video.sampler import SamplingPlan
from longview.video.timeline import Span

log = logging.getLogger(__name__)

QUESTION_PLACEHOLDER = "QUESTION-GOES-HERE"
THINK_BEGIN = "<think>"
MAX_SINGLE_THREAD_WEIGHTS_BYTES = 200 << 20
"""Below this size the work of one step is too small to share: more threads than one only wait for each other."""
MEMORY_SHARE = 0.8
"""Of the free memory, how much one KV cache may take, and on a GPU all of them together."""
MEMORY_SHARE_HOST = 0.25
"""Of the host's, where there is no GPU, how much all kept sessions may take together."""
MIN_REPLY_TOKENS = 64
"""A question that leaves less room than that for its reply is too long."""
TIMESTAMP_SLACK_TOKENS = 64
"""Room for markers that get a digit more than planned, because a picture comes later than the time it was wanted for."""


class LocalEngine:
    """See `longview.model.engine.base.Engine`."""

    def __init__(self, checkpoint: Checkpoint, *, device: str | None = None, cpu_threads: int | None = None) -> None:
        """Load weights and processor.

        `device`: `cuda` or `cpu`; the default is CUDA where there is one. `threads`: of the CPU; by default one for
        small checkpoints, else one a core.

        Raises:
            BadCheckpoint: the folder cannot be loaded by transformers. DeviceNotFound: there is no CUDA device.
            OutOfMemory: the weights do not fit.
        """
        # Progress is the application's to show, and only where it was asked for.
        transformers_logging.disable_progress_bar()
        self.checkpoint = checkpoint
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise DeviceNotFound("There is no CUDA device that this PyTorch can use; choose the device cpu.")
        small = checkpoint.weight_bytes < MAX_SINGLE_THREAD_WEIGHTS_BYTES
        torch.set_num_threads(cpu_threads or (1 if small else psutil.cpu_count(logical=False) or 1))
        try:
            self.processor: Any = AutoProcessor.from_pretrained(checkpoint.folder, trust_remote_code=False, local_files_only=True)
            self.model: Any = AutoModelForImageTextToText.from_pretrained(
                checkpoint.folder,
                config=_configuration(checkpoint),
                dtype=self._dtype(),
                attn_implementation={"text_config": attention.TEXT_ATTENTION, "vision_config": attention.VISION_ATTENTION},
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
            )
        except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
            raise InvalidCheckpoint(f"{checkpoint.name} cannot be loaded as a video language model: {error}") from error
        with _memory_errors("the weights"):
            self.model = self.model.to(self.device).eval()
        text = self.model.config.get_text_config()
        if set(getattr(text, "layer_types", None) or ["full_attention"]) != {"full_attention"}:
            raise InvalidCheckpoint(
                f"{checkpoint.name} has layers that cannot be cropped back to the video; use a Qwen3-VL checkpoint."
            )
        self.uses_cuda_graph = self.device == "cuda"
        """Whether single tokens go through `longview.model.engine.cuda_graph`; without a graph of it, its fixed shapes only cost."""
        self.estimates = Estimates(self.model)
        self._ood_detector = load_ood_detector(checkpoint, self.device)
        self.kv_bytes_per_token = self.estimates.kv_bytes_per_token
        self._grammars = Grammars(self.processor.tokenizer, int(text.vocab_size))
        tokenizer = self.processor.tokenizer
        ends = self.model.generation_config.eos_token_id
        self.end_tokens = frozenset(ends if isinstance(ends, list) else [ends]) | {tokenizer.eos_token_id}
        before_video, self._after_video, self._before_question, self._after_question = self._template()
        self.prefix_text = before_video + self.processor.video_token + self._after_video
        self._before_video = before_video
        thinks = self._after_question.rstrip().endswith(THINK_BEGIN)
        self.think_end: int | None = tokenizer.convert_tokens_to_ids(THINK_END) if thinks else None
        self.reserved_tokens = REPLY_RESERVE_TOKENS + (MAX_THINKING_TOKENS if thinks else 0)
        free = torch.cuda.mem_get_info()[0] if self.device == "cuda" else psutil.virtual_memory().available
        room = max(0, free - self.estimates.chunk_bytes)
        self.context_tokens = min(checkpoint.max_context_tokens, int(room * MEMORY_SHARE / self.kv_bytes_per_token))
        # A machine without a GPU has other things to do with its memory.
        self.kv_cache_bytes = int(room * (MEMORY_SHARE if self.device == "cuda" else MEMORY_SHARE_HOST))

    def _dtype(self) -> torch.dtype:
        if self.device != "cpu":
            return torch.bfloat16
        # float32 is exact and faster on most CPUs, where it fits.
        return torch.float32 if self.checkpoint.weight_bytes * 2 < psutil.virtual_memory().available * 0.6 else torch.bfloat16

    def _render(self, question: str, history: Sequence[ChatTurn] = ()) -> str:
        """A conversation about one video in the words of the chat template, up to where the reply begins."""
        messages = []
        for turn in history:
            messages.append({"role": "user", "content": [{"type": "text", "text": _strip_special_tokens(turn.question)}]})
            messages.append({"role": "assistant", "content": [{"type": "text", "text": _strip_special_tokens(turn.answer)}]})
        messages.append({"role": "user", "content": [{"type": "text", "text": _strip_special_tokens(question)}]})
        messages[0]["content"].insert(0, {"type": "video"})  # type: ignore[attr-defined]
        rendered: str = self.processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return rendered

    def _template(self) -> tuple[str, str, str, str]:
        """The chat template before and after the video, and before and after the question."""
        rendered = self._render(QUESTION_PLACEHOLDER)
        video, end, rest = rendered.rpartition(self.processor.vision_end_token)
        before_video, placeholder, after_video = (video + end).partition(self.processor.video_token)
        before, slot, after = rest.partition(QUESTION_PLACEHOLDER)
        if not (end and slot and placeholder):
            raise InvalidCheckpoint(f"The chat template of {self.checkpoint.name} does not put the question after the video.")
        return before_video, after_video, before, after

    def timestamp_tokens(self, time_s: float) -> int:
        """See `longview.model.engine.base.Engine`."""
        ids = self.processor.tokenizer.encode(f"<{time_s:.1f} seconds>", add_special_tokens=False)
        return len(ids) + 2

    def open_session(
        self, frames: Iterable[TimedFrames], window: Span, *, capacity_tokens: int, clock_offset_s: float = 0.0
    ) -> "LocalSession":
        """See `longview.model.engine.base.Engine`."""
        text = self.model.config.get_text_config()
        cache = PreallocatedKVCache(int(text.num_hidden_layers), capacity_tokens + TIMESTAMP_SLACK_TOKENS)
        prefill = Prefill(self.model, self.processor, cache, clock_offset_s=clock_offset_s, ood_detector=self._ood_detector)
        collected = FrameBatcher()
        with _memory_errors(f"{capacity_tokens} tokens"), torch.inference_mode():
            prefill.text(self._before_video)
            for pixels, times_s in collected.chunks(frames, self.device):
                prefill.frames(pixels, times_s)
            if not collected.frames:
                raise UnreadableVideo("There is no picture to look at.")
            prefill.text(self._after_video)
            familiarity = prefill.ood_score
        return LocalSession(
            self,
            prefill.ids,
            cache,
            prefill.rope_delta,
            prefill.patches,
            window,
            clock_offset_s,
            frames=collected.frames,
            undecodable=collected.undecodable,
            ood_score=familiarity,
        )

    def question_ids(self, question: str, history: Sequence[ChatTurn] = ()) -> torch.Tensor:
        """Token ids of shape (1, n) of earlier turns, the question and all of the template that follows the video."""
        if history:
            text = self._render(question, history).removeprefix(self.prefix_text)
        else:
            text = self._before_question + _strip_special_tokens(question) + self._after_question
        ids: torch.Tensor = self.processor.tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
        return ids.to(self.device)

    def generate(self, prompt: str, *, max_new_tokens: int, item: type[BaseModel] | None = None) -> "LocalGeneration":
        """See `longview.model.engine.base.Engine`."""
        text = self.model.config.get_text_config()
        thoughts = MAX_THINKING_TOKENS if self.think_end is not None else 0
        needed = self.question_ids(prompt).shape[1] + max_new_tokens + thoughts + TIMESTAMP_SLACK_TOKENS
        cache = PreallocatedKVCache(int(text.num_hidden_layers), min(needed, self.context_tokens))
        prefill = Prefill(self.model, self.processor, cache, clock_offset_s=0.0)
        with _memory_errors(f"{needed} tokens"), torch.inference_mode():
            prefill.text(self._before_video.removesuffix(self.processor.vision_start_token))
        nothing = Span(0.0, 0.0)
        session = LocalSession(self, prefill.ids, cache, prefill.rope_delta, (), nothing, 0.0, frames=0, undecodable=())
        return session.generate(prompt, max_new_tokens=max_new_tokens, item=item)

    def generate_tokens(
        self, ids: torch.Tensor, config: GenerationConfig, next_logits: NextLogits, *, capacity_tokens: int
    ) -> Iterator[int]:
        """Tokens of the reply to the ids of a question, as many as there is room for.

        Raises:
            BadQuestion: it leaves no room for a reply.
        """
        room = capacity_tokens - ids.shape[1]
        if room < MIN_REPLY_TOKENS:
            raise InvalidQuestion(f"The question takes {ids.shape[1]:,} tokens, more than there is room for: make it shorter.")
        tokens_max = min(config.max_new_tokens, room)
        return greedy_decode(
            next_logits,
            ids,
            replace(config, max_new_tokens=tokens_max, max_thinking_tokens=min(config.max_thinking_tokens, room - tokens_max)),
            end_tokens=self.end_tokens,
            grammar=self._grammars.matcher(config.schema) if config.schema else None,
            think_end=self.think_end,
        )

    def estimated_bytes(self, plan: SamplingPlan) -> int:
        """See `longview.model.engine.base.Engine`."""
        return self.estimates.bytes_for(plan)

    def estimated_seconds(self, plan: SamplingPlan, *, reply_tokens: int) -> float:
        """See `longview.model.engine.base.Engine`."""
        return self.estimates.seconds_for(plan, reply_tokens=reply_tokens)


def _configuration(checkpoint: Checkpoint) -> Any:
    config = AutoConfig.from_pretrained(checkpoint.folder, trust_remote_code=False, local_files_only=True)
    if checkpoint.yarn_factor > 1:
        text = config.get_text_config()
        text.rope_parameters = text.rope_parameters | {
            "rope_type": "yarn",
            "factor": checkpoint.yarn_factor,
            "original_max_position_embeddings": text.max_position_embeddings,
        }
        text.max_position_embeddings = checkpoint.max_context_tokens
    return config


class LocalSession:
    """See `longview.model.engine.base.VideoSession`."""

    def __init__(
        self,
        engine: LocalEngine,
        prefix_ids: torch.Tensor,
        cache: PreallocatedKVCache,
        rope_delta: int,
        patches: tuple[TemporalPatch, ...],
        window: Span,
        clock_offset_s: float,
        *,
        frames: int,
        undecodable: tuple[Span, ...],
        ood_score: float | None = None,
    ) -> None:
        self.engine = engine
        self.prefix_ids = prefix_ids
        self.patches = patches
        self.frames = frames
        self.undecodable = undecodable
        self.ood_score = ood_score
        """See `longview.model.engine.ood`; None: the checkpoint is familiar with everything."""
        self.is_out_of_distribution = ood_score is not None and ood_score < 0
        self.window = window
        self.clock_offset_s = clock_offset_s
        self.prompt_tokens = int(prefix_ids.shape[1])
        self.size_bytes = cache.size_bytes
        self._cache, self._rope_delta = cache, rope_delta
        self._lock = threading.Lock()
        self._decoder: CudaGraphDecoder | None = None

    def generate(
        self,
        question: str,
        *,
        max_new_tokens: int,
        item: type[BaseModel] | None = None,
        presence_penalty: float = 0.0,
        history: Sequence[ChatTurn] = (),
    ) -> "LocalGeneration":
        """See `longview.model.engine.base.VideoSession`."""
        return LocalGeneration(self, question, GenerationConfig(max_new_tokens, item, presence_penalty=presence_penalty), history)

    def first_logits(self, question: str) -> torch.Tensor:
        """Logits (vocabulary,) of the first token of a reply: what exactness is measured by."""
        with self._lock:
            self._restore()
            try:
                return self._next_logits(self.engine.question_ids(question))
            finally:
                self._cache.crop_to(self.prompt_tokens)

    def offload(self) -> None:
        """See `longview.model.engine.base.VideoSession`."""
        if self._lock.acquire(blocking=False):
            try:
                # A recorded step knows where the cache lay.
                self._decoder = None
                self._cache.move_to("cpu", length=self.prompt_tokens)
            finally:
                self._lock.release()

    def _restore(self) -> None:
        """To the device, also if it was parked while someone was about to ask."""
        with _memory_errors(f"{self.prompt_tokens} tokens"):
            self._cache.move_to(self.engine.device, length=self.prompt_tokens)

    def _next_logits(self, ids: torch.Tensor) -> torch.Tensor:
        """Append tokens of shape (1, n) to the cache; returns the logits (vocabulary,) of the next one."""
        with _memory_errors("the reply"), torch.inference_mode():
            if not (self.engine.uses_cuda_graph and ids.shape[1] == 1):
                return next_logits(self.engine.model, ids, self._cache, self._rope_delta)
            if self._decoder is None:
                self._decoder = CudaGraphDecoder(
                    self.engine.model, self._cache, prefix=self.prompt_tokens, rope_delta=self._rope_delta
                )
            return self._decoder(ids)

    def tokens(self, question: str, config: GenerationConfig, history: Sequence[ChatTurn] = ()) -> Iterator[int]:
        """Greedy tokens of the reply. Whatever it adds to the cache is cropped away again, however it ends."""
        with self._lock:
            self._restore()
            try:
                room_tokens = self._cache.capacity - self.prompt_tokens
                ids = self.engine.question_ids(question, history)
                yield from self.engine.generate_tokens(ids, config, self._next_logits, capacity_tokens=room_tokens)
            finally:
                self._cache.crop_to(self.prompt_tokens)


class LocalGeneration:
    """See `longview.model.engine.base.Generation`."""

    def __init__(self, session: LocalSession, question: str, config: GenerationConfig, history: Sequence[ChatTurn]) -> None:
        self.text = ""
        self.is_complete = False
        self.is_repetitive = False
        self.first_token_s = 0.0
        self.total_s = 0.0
        self._session, self._question, self._config, self._history = session, question, config, history

    def __iter__(self) -> Iterator[str]:
        engine = self._session.engine
        start = time.perf_counter()
        said: list[int] = []
        thoughts: list[int] = []
        thinking = engine.think_end is not None
        for token in self._session.tokens(self._question, self._config, self._history):
            self.total_s = time.perf_counter() - start
            self.first_token_s = self.first_token_s or self.total_s
            if token in engine.end_tokens:
                self.is_complete = not thinking
                return
            if thinking:
                thinking = token != engine.think_end
                thoughts.append(token)
                continue
            said.append(token)
            text = engine.processor.tokenizer.decode(said, skip_special_tokens=True)
            # Bytes of a character still in the making decode to U+FFFD: wait for the rest.
            if not text.endswith("�") and len(text) > len(self.text):
                piece, self.text = text[len(self.text) :], text
                yield piece
        self.is_repetitive = is_repetitive(thoughts if thinking else said)


def _strip_special_tokens(text: str) -> str:
    """A text that cannot end its own turn or open a picture."""
    return re.sub(r"<\|.*?\|>", " ", text)


@contextmanager
def _memory_errors(what: str) -> Iterator[None]:
    try:
        yield
        return
    except torch.OutOfMemoryError as error:
        said = str(error)
        # The frames that failed hold their tensors, and the error holds the frames.
        traceback.clear_frames(error.__traceback__)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    log.info("out of memory: %s", said)
    raise OutOfMemory(
        f"The device has not enough memory for {what}; choose a smaller --context or a smaller checkpoint."
    ) from None
