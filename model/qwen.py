"""The transformers engine: any checkpoint that `AutoModelForImageTextToText` and `AutoProcessor` load as Qwen3-VL's kin.

The video comes first in the prompt and the question last, so everything up to the end of the video is one prefix:
it is prefilled once, while it is being decoded, into a KV cache of fixed size (`model.prefill`), and each question is
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

from model import attention
from model.cache import FixedCache
from model.checkpoints import Checkpoint
from model.decoding import THINK_END, THINKING_TOKENS_MAX, Grammars, NextLogits, Rules, decoded, is_looping
from model.engine import REPLY_RESERVE_TOKENS, Patch, Turn
from model.errors import BadCheckpoint, BadQuestion, DeviceNotFound, OutOfMemory
from model.estimates import Estimates
from model.familiarity import familiarity_of
from model.prefill import Collected, Prefill, next_logits
from model.stepping import FixedStep
from video.decoder import TimedFrames
from video.errors import UnreadableVideo
from video.sampler import SamplingPlan
from video.timeline import Span

log = logging.getLogger(__name__)

QUESTION_SLOT = "QUESTION-GOES-HERE"
THINK_BEGIN = "<think>"
SMALL_WEIGHTS_BYTES = 200 << 20
"""Below this size the work of one step is too small to share: more threads than one only wait for each other."""
MEMORY_SHARE = 0.8
"""Of the free memory, how much one KV cache may take, and on a GPU all of them together."""
MEMORY_SHARE_HOST = 0.25
"""Of the host's, where there is no GPU, how much all kept sessions may take together."""
LEAST_REPLY_TOKENS = 64
"""A question that leaves less room than that for its reply is too long."""
MARKER_SLACK_TOKENS = 64
"""Room for markers that get a digit more than planned, because a picture comes later than the time it was wanted for."""


class QwenEngine:
    """See `model.engine.Engine`."""

    def __init__(self, checkpoint: Checkpoint, *, device: str | None = None, threads: int | None = None) -> None:
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
        small = checkpoint.weight_bytes < SMALL_WEIGHTS_BYTES
        torch.set_num_threads(threads or (1 if small else psutil.cpu_count(logical=False) or 1))
        try:
            self.processor: Any = AutoProcessor.from_pretrained(checkpoint.folder, trust_remote_code=False, local_files_only=True)
            self.model: Any = AutoModelForImageTextToText.from_pretrained(
                checkpoint.folder,
                config=_configuration(checkpoint),
                dtype=self._dtype(),
                attn_implementation={"text_config": attention.TEXT, "vision_config": attention.VISION},
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
            )
        except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
            raise BadCheckpoint(f"{checkpoint.name} cannot be loaded as a video language model: {error}") from error
        with _memory_errors("the weights"):
            self.model = self.model.to(self.device).eval()
        text = self.model.config.get_text_config()
        if set(getattr(text, "layer_types", None) or ["full_attention"]) != {"full_attention"}:
            raise BadCheckpoint(
                f"{checkpoint.name} has layers that cannot be cropped back to the video; use a Qwen3-VL checkpoint."
            )
        self.fixed_steps = self.device == "cuda"
        """Whether single tokens go through `model.stepping`; without a graph of it, its fixed shapes only cost."""
        self.estimates = Estimates(self.model)
        self._rule = familiarity_of(checkpoint, self.device)
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
        self.reserved_tokens = REPLY_RESERVE_TOKENS + (THINKING_TOKENS_MAX if thinks else 0)
        free = torch.cuda.mem_get_info()[0] if self.device == "cuda" else psutil.virtual_memory().available
        room = max(0, free - self.estimates.chunk_bytes)
        self.context_tokens = min(checkpoint.context_max, int(room * MEMORY_SHARE / self.kv_bytes_per_token))
        # A machine without a GPU has other things to do with its memory.
        self.session_bytes = int(room * (MEMORY_SHARE if self.device == "cuda" else MEMORY_SHARE_HOST))

    def _dtype(self) -> torch.dtype:
        if self.device != "cpu":
            return torch.bfloat16
        # float32 is exact and faster on most CPUs, where it fits.
        return torch.float32 if self.checkpoint.weight_bytes * 2 < psutil.virtual_memory().available * 0.6 else torch.bfloat16

    def _rendered(self, question: str, history: Sequence[Turn] = ()) -> str:
        """A conversation about one video in the words of the chat template, up to where the reply begins."""
        messages = []
        for turn in history:
            messages.append({"role": "user", "content": [{"type": "text", "text": _harmless(turn.question)}]})
            messages.append({"role": "assistant", "content": [{"type": "text", "text": _harmless(turn.answer)}]})
        messages.append({"role": "user", "content": [{"type": "text", "text": _harmless(question)}]})
        messages[0]["content"].insert(0, {"type": "video"})  # type: ignore[attr-defined]
        rendered: str = self.processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return rendered

    def _template(self) -> tuple[str, str, str, str]:
        """The chat template before and after the video, and before and after the question."""
        rendered = self._rendered(QUESTION_SLOT)
        video, end, rest = rendered.rpartition(self.processor.vision_end_token)
        before_video, placeholder, after_video = (video + end).partition(self.processor.video_token)
        before, slot, after = rest.partition(QUESTION_SLOT)
        if not (end and slot and placeholder):
            raise BadCheckpoint(f"The chat template of {self.checkpoint.name} does not put the question after the video.")
        return before_video, after_video, before, after

    def marker_tokens(self, time_s: float) -> int:
        """See `model.engine.Engine`."""
        ids = self.processor.tokenizer.encode(f"<{time_s:.1f} seconds>", add_special_tokens=False)
        return len(ids) + 2

    def open(
        self, frames: Iterable[TimedFrames], window: Span, *, room_tokens: int, clock_offset_s: float = 0.0
    ) -> "QwenSession":
        """See `model.engine.Engine`."""
        text = self.model.config.get_text_config()
        cache = FixedCache(int(text.num_hidden_layers), room_tokens + MARKER_SLACK_TOKENS)
        prefill = Prefill(self.model, self.processor, cache, clock_offset_s=clock_offset_s, rule=self._rule)
        collected = Collected()
        with _memory_errors(f"{room_tokens} tokens"), torch.inference_mode():
            prefill.text(self._before_video)
            for pixels, times_s in collected.chunks(frames, self.device):
                prefill.frames(pixels, times_s)
            if not collected.frames:
                raise UnreadableVideo("There is no picture to look at.")
            prefill.text(self._after_video)
            familiarity = prefill.familiarity
        return QwenSession(
            self,
            prefill.ids,
            cache,
            prefill.rope_delta,
            prefill.patches,
            window,
            clock_offset_s,
            frames=collected.frames,
            unreadable=collected.unreadable,
            familiarity=familiarity,
        )

    def question_ids(self, question: str, history: Sequence[Turn] = ()) -> torch.Tensor:
        """Token ids of shape (1, n) of earlier turns, the question and all of the template that follows the video."""
        if history:
            text = self._rendered(question, history).removeprefix(self.prefix_text)
        else:
            text = self._before_question + _harmless(question) + self._after_question
        ids: torch.Tensor = self.processor.tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
        return ids.to(self.device)

    def tell(self, prompt: str, *, max_new_tokens: int, item: type[BaseModel] | None = None) -> "QwenGeneration":
        """See `model.engine.Engine`."""
        text = self.model.config.get_text_config()
        thoughts = THINKING_TOKENS_MAX if self.think_end is not None else 0
        needed = self.question_ids(prompt).shape[1] + max_new_tokens + thoughts + MARKER_SLACK_TOKENS
        cache = FixedCache(int(text.num_hidden_layers), min(needed, self.context_tokens))
        prefill = Prefill(self.model, self.processor, cache, clock_offset_s=0.0)
        with _memory_errors(f"{needed} tokens"), torch.inference_mode():
            prefill.text(self._before_video.removesuffix(self.processor.vision_start_token))
        nothing = Span(0.0, 0.0)
        session = QwenSession(self, prefill.ids, cache, prefill.rope_delta, (), nothing, 0.0, frames=0, unreadable=())
        return session.ask(prompt, max_new_tokens=max_new_tokens, item=item)

    def reply(self, ids: torch.Tensor, rules: Rules, next_logits: NextLogits, *, room_tokens: int) -> Iterator[int]:
        """Tokens of the reply to the ids of a question, as many as there is room for.

        Raises:
            BadQuestion: it leaves no room for a reply.
        """
        room = room_tokens - ids.shape[1]
        if room < LEAST_REPLY_TOKENS:
            raise BadQuestion(f"The question takes {ids.shape[1]:,} tokens, more than there is room for: make it shorter.")
        tokens_max = min(rules.tokens_max, room)
        return decoded(
            next_logits,
            ids,
            replace(rules, tokens_max=tokens_max, thoughts_max=min(rules.thoughts_max, room - tokens_max)),
            end_tokens=self.end_tokens,
            grammar=self._grammars.matcher(rules.item) if rules.item else None,
            think_end=self.think_end,
        )

    def estimated_bytes(self, plan: SamplingPlan) -> int:
        """See `model.engine.Engine`."""
        return self.estimates.bytes_for(plan)

    def estimated_seconds(self, plan: SamplingPlan, *, reply_tokens: int) -> float:
        """See `model.engine.Engine`."""
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
        text.max_position_embeddings = checkpoint.context_max
    return config


class QwenSession:
    """See `model.engine.VideoSession`."""

    def __init__(
        self,
        engine: QwenEngine,
        prefix_ids: torch.Tensor,
        cache: FixedCache,
        rope_delta: int,
        patches: tuple[Patch, ...],
        window: Span,
        clock_offset_s: float,
        *,
        frames: int,
        unreadable: tuple[Span, ...],
        familiarity: float | None = None,
    ) -> None:
        self.engine = engine
        self.prefix_ids = prefix_ids
        self.patches = patches
        self.frames = frames
        self.unreadable = unreadable
        self.familiarity = familiarity
        """See `model.familiarity`; None: the checkpoint is familiar with everything."""
        self.unfamiliar = familiarity is not None and familiarity < 0
        self.window = window
        self.clock_offset_s = clock_offset_s
        self.prompt_tokens = int(prefix_ids.shape[1])
        self.size_bytes = cache.size_bytes
        self._cache, self._rope_delta = cache, rope_delta
        self._lock = threading.Lock()
        self._step: FixedStep | None = None

    def ask(
        self,
        question: str,
        *,
        max_new_tokens: int,
        item: type[BaseModel] | None = None,
        presence_penalty: float = 0.0,
        history: Sequence[Turn] = (),
    ) -> "QwenGeneration":
        """See `model.engine.VideoSession`."""
        return QwenGeneration(self, question, Rules(max_new_tokens, item, presence_penalty=presence_penalty), history)

    def first_logits(self, question: str) -> torch.Tensor:
        """Logits (vocabulary,) of the first token of a reply: what exactness is measured by."""
        with self._lock:
            self._come_back()
            try:
                return self._next_logits(self.engine.question_ids(question))
            finally:
                self._cache.crop_to(self.prompt_tokens)

    def park(self) -> None:
        """See `model.engine.VideoSession`."""
        if self._lock.acquire(blocking=False):
            try:
                # A recorded step knows where the cache lay.
                self._step = None
                self._cache.move_to("cpu", length=self.prompt_tokens)
            finally:
                self._lock.release()

    def _come_back(self) -> None:
        """To the device, also if it was parked while someone was about to ask."""
        with _memory_errors(f"{self.prompt_tokens} tokens"):
            self._cache.move_to(self.engine.device, length=self.prompt_tokens)

    def _next_logits(self, ids: torch.Tensor) -> torch.Tensor:
        """Append tokens of shape (1, n) to the cache; returns the logits (vocabulary,) of the next one."""
        with _memory_errors("the reply"), torch.inference_mode():
            if not (self.engine.fixed_steps and ids.shape[1] == 1):
                return next_logits(self.engine.model, ids, self._cache, self._rope_delta)
            if self._step is None:
                self._step = FixedStep(self.engine.model, self._cache, prefix=self.prompt_tokens, rope_delta=self._rope_delta)
            return self._step(ids)

    def tokens(self, question: str, rules: Rules, history: Sequence[Turn] = ()) -> Iterator[int]:
        """Greedy tokens of the reply. Whatever it adds to the cache is cropped away again, however it ends."""
        with self._lock:
            self._come_back()
            try:
                room_tokens = self._cache.capacity - self.prompt_tokens
                ids = self.engine.question_ids(question, history)
                yield from self.engine.reply(ids, rules, self._next_logits, room_tokens=room_tokens)
            finally:
                self._cache.crop_to(self.prompt_tokens)


class QwenGeneration:
    """See `model.engine.Generation`."""

    def __init__(self, session: QwenSession, question: str, rules: Rules, history: Sequence[Turn]) -> None:
        self.text = ""
        self.is_complete = False
        self.is_looping = False
        self.first_token_s = 0.0
        self.total_s = 0.0
        self._session, self._question, self._rules, self._history = session, question, rules, history

    def __iter__(self) -> Iterator[str]:
        engine = self._session.engine
        start = time.perf_counter()
        said: list[int] = []
        thoughts: list[int] = []
        thinking = engine.think_end is not None
        for token in self._session.tokens(self._question, self._rules, self._history):
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
        self.is_looping = is_looping(thoughts if thinking else said)


def _harmless(text: str) -> str:
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
