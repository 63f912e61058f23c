"""The local engine: checkpoints of the architectures of Qwen3-VL and Qwen3.5, in this process.

The prefix up to the end of the video is prefilled once, while the video is decoded, into a KV cache of fixed size
(`longview.model.engine.execution.prefill`). The context and the question are prefilled after it
(`longview.model.engine.execution.session_cache`).
"""

import functools
import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any
from weakref import WeakSet

import psutil
import torch
from pydantic import BaseModel

from longview.core.progress import NO_PROGRESS, Progress
from longview.core.timeline import Span
from longview.model.engine.base import REPLY_RESERVE_TOKENS, ChatTurn, WindowRequest
from longview.model.engine.chat_template import ChatTemplate, clean_context
from longview.model.engine.checkpoints.checkpoints import Checkpoint
from longview.model.engine.checkpoints.layer_types import read_layer_types
from longview.model.engine.checkpoints.precision_names import MIN_LARGE_BYTES, Precision
from longview.model.engine.costs.calibration import machine_key, measure_speed, measurement_s
from longview.model.engine.costs.estimates import Estimates
from longview.model.engine.costs.model_shape import MEMORY_SHARE, Speed
from longview.model.engine.costs.model_sizes import sizes_of
from longview.model.engine.costs.speed_meter import RunningReplies, SpeedMeter
from longview.model.engine.devices import choose_device_type, inference, memory_bytes
from longview.model.engine.execution.frame_batches import FrameBatcher
from longview.model.engine.execution.kv_cache import PreallocatedCache
from longview.model.engine.execution.ood import load_ood_detector
from longview.model.engine.execution.patch_selection import select_patches
from longview.model.engine.execution.prefill import Prefill
from longview.model.engine.generation.decoding import GenerationConfig, NextLogits, decode_reply
from longview.model.engine.generation.grammar import Grammars
from longview.model.engine.generation.local_generation import LocalGeneration
from longview.model.engine.generation.sampling import Sampler, sampling_config_of
from longview.model.engine.generation.thoughts import DEFAULT_THINKING_BUDGET, ThinkingBudget, thought_end_of, thought_tags_of
from longview.model.engine.loading import load_model
from longview.model.engine.local_session import LocalSession
from longview.model.engine.movable_weights import MovableWeights
from longview.model.engine.weight_swapping import DeviceScheduler
from longview.model.errors import InvalidQuestion
from longview.video.decoding.decoder import TimedFrames
from longview.video.errors import UnreadableVideo
from longview.video.sampling_plan import SamplingPlan

log = logging.getLogger(__name__)

MEMORY_SHARE_HOST = 0.25
"""Maximum share of the host's free memory for the KV caches of all sessions, without a GPU."""
MIN_REPLY_TOKENS = 64
"""Minimum number of tokens that a question must leave for its reply."""
GRAPH_POOL_BYTES = 256 << 20
"""Memory of the CUDA graphs of some sessions: each keeps the activations of one token, and its logits in float32."""
TIMESTAMP_SLACK_TOKENS = 64
"""Tokens for timestamps that have one digit more than planned, because a frame is later than the requested time."""


class LocalEngine:
    """See `longview.model.engine.base.Engine`."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        device: str | None = None,
        cpu_threads: int | None = None,
        precision: Precision = "auto",
        cache: Path | None = None,
        thinking_budget: ThinkingBudget = DEFAULT_THINKING_BUDGET,
        scheduler: DeviceScheduler | None = None,
    ) -> None:
        """Load weights and processor.

        `device`: `cuda`, `xpu`, `mps` or `cpu`; by default the accelerator, where there is one. `cpu_threads`: by default one for
        small checkpoints, else one per core. `precision`: see `longview.model.engine.loading.load_model`. `cache`: a folder of
        this machine that keeps what is measured (number format, speed); without it each process measures. `scheduler`: that of
        the engines whose weights are swapped on the device; None: the weights stay there.

        Raises:
            InvalidCheckpoint: the folder cannot be loaded by transformers. DeviceNotFound: there is no such device.
            OutOfMemory: the weights do not fit.
        """
        self.checkpoint = checkpoint
        self._scheduler = scheduler
        self._open_sessions: WeakSet[LocalSession] = WeakSet()
        self.before_leaving: Callable[[], None] = lambda: None
        """Called before the weights leave the device, for the pool that decides which sessions the host keeps."""
        self.device = choose_device_type(device)
        is_small = checkpoint.weight_bytes < MIN_LARGE_BYTES
        torch.set_num_threads(cpu_threads or (1 if is_small else psutil.cpu_count(logical=False) or 1))
        # The threads of PyTorch take this setting from the thread that first needs them; see `longview.model.engine.devices`.
        torch.set_flush_denormal(True)
        self.processor: Any
        self.model: Any
        try:
            self.processor, self.model = load_model(checkpoint, self.device, precision, cache)
        finally:
            torch.set_flush_denormal(False)
        self._weights = MovableWeights(self.model)
        text = self.model.config.get_text_config()
        self.layer_types = read_layer_types(text, checkpoint.name)
        """The kind of each layer; see `longview.model.engine.checkpoints.layer_types.read_layer_types`."""
        layer_devices = Counter(next(layer.parameters()).device for layer in self.model.model.language_model.layers)
        self.uses_cuda_graph = self.device == "cuda" and len(layer_devices) == 1
        """Whether single tokens are decoded by a CUDA graph; without a GPU its fixed shapes only make it slower."""
        self.saves_tokens = self.device == "cpu" and not is_small
        """See `longview.model.engine.base.Engine`. Frames that show little new are left out, too."""
        self.estimates = Estimates(sizes_of(self.model), self.device)
        self._cache = cache
        self._machine_key = machine_key(checkpoint.identity, self.model)
        self._chunk_lock = threading.Lock()
        """Memory is reserved for the activations of one chunk, also if several windows are opened at once."""
        self.replies = RunningReplies()
        self._speed_meter = SpeedMeter(checkpoint.name, self._measure_speed, self.replies, self._chunk_lock, self.hold_device)
        self._ood_detector = load_ood_detector(checkpoint, self.model.device)
        self._grammars = Grammars(self.processor.tokenizer, int(text.vocab_size))
        tokenizer = self.processor.tokenizer
        ends = self.model.generation_config.eos_token_id
        self.end_tokens = frozenset(ends if isinstance(ends, list) else [ends]) | {tokenizer.eos_token_id}
        self.chat_template = ChatTemplate(self.processor, checkpoint.name)
        self._thought_end = thought_end_of(tokenizer)
        self.thought_tags = thought_tags_of(tokenizer)
        """The tags of the thoughts by their tokens, as far as the tokenizer has such tokens."""
        self._sampling_config = sampling_config_of(self.model.generation_config, checkpoint.name)
        self.max_thinking_tokens = thinking_budget.max_tokens
        is_reserved = thinking_budget.is_reserved
        may_think = self.chat_template.always_thinks or (is_reserved and self.chat_template.has_thinking_switch)
        if is_reserved and not may_think:
            log.warning("%s has no switch for thinking; it replies without thoughts.", checkpoint.name)
        # Captions and questions share sessions, so that all of them have the same reserve.
        self.reserved_tokens = REPLY_RESERVE_TOKENS + (thinking_budget.max_tokens if may_think else 0)
        self._cache_room_bytes = _cache_room_bytes(layer_devices, self.estimates)
        self.context_tokens = self.kv_cache_bytes = 0
        self.keep_free(GRAPH_POOL_BYTES if self.uses_cuda_graph else 0)

    def hold_device(self, progress: Progress = NO_PROGRESS) -> AbstractContextManager[None]:
        """Hold the device while this engine uses it; see `longview.model.engine.weight_swapping`."""
        return nullcontext() if self._scheduler is None else self._scheduler.hold(self, progress)

    def keep_free(self, size_bytes: int) -> None:
        """Leave memory of the device to what is loaded later, such as the speech model on CUDA, instead of to sessions."""
        self._cache_room_bytes = room = max(0, self._cache_room_bytes - size_bytes)
        self.context_tokens = min(self.checkpoint.max_context_tokens, self.estimates.shape.context_tokens(room))
        # On a GPU all KV caches together get that share. Without one, other programs need the same memory.
        self.kv_cache_bytes = self.kv_cache_bytes_beside(0)

    def leave_device(self) -> None:
        """See `longview.model.engine.weight_swapping.Movable`. No session is in use, because no thread holds the device."""
        self.before_leaving()
        # Those that the pool has evicted may still be in the hands of a caller.
        for session in list(self._open_sessions):
            session.offload()
        self._weights.leave()

    def enter_device(self) -> None:
        """See `longview.model.engine.weight_swapping.Movable`."""
        self._weights.enter()

    def timestamp_tokens(self, time_s: float) -> int:
        """See `longview.model.engine.base.Engine`."""
        ids = self.processor.tokenizer.encode(f"<{time_s:.1f} seconds>", add_special_tokens=False)
        return len(ids) + 2

    def count_tokens(self, text: str) -> int:
        """See `longview.model.engine.base.Engine`."""
        return self._token_ids(text).shape[1]

    def open_session(
        self, frames: Iterable[TimedFrames], request: WindowRequest, *, progress: Progress = NO_PROGRESS
    ) -> LocalSession:
        """See `longview.model.engine.base.Engine`."""
        with self.hold_device(progress):
            session = self._open_session(frames, request, progress)
            # While the device is held: the next owner of the device finds all sessions.
            self._open_sessions.add(session)
        return session

    def _open_session(self, frames: Iterable[TimedFrames], request: WindowRequest, progress: Progress) -> LocalSession:
        cache = PreallocatedCache(self.layer_types, request.capacity_tokens + TIMESTAMP_SLACK_TOKENS)
        prefill = Prefill(
            self.model, self.processor, cache, clock_offset_s=request.clock_offset_s, ood_detector=self._ood_detector
        )
        batcher = FrameBatcher()
        with inference(f"{request.capacity_tokens} tokens"):
            prefill.append_text(self.chat_template.before_video)
            for pixels, times_s in batcher.chunks(select_patches(frames) if self.saves_tokens else frames, self.device):
                progress.raise_if_cancelled()
                with progress.holding(self._chunk_lock):
                    prefill.append_frames(pixels, times_s)
            if not batcher.frames:
                raise UnreadableVideo("No frame of this part of the video can be decoded.")
            prefill.append_text(self.chat_template.after_video)
            return LocalSession(self, prefill, request, frames=batcher.frames, undecodable=batcher.undecodable)

    def context_ids(self, context: str) -> torch.Tensor:
        """Return token ids, int64 (1, n), of a context that follows the video; n is 0 without one."""
        return self._token_ids(clean_context(context)).to(self.model.device)

    def question_ids(self, question: str, history: Sequence[ChatTurn] = (), *, thinking: bool = False) -> torch.Tensor:
        """Return token ids, int64 (1, n), of all that follows video and context: earlier turns, the question, the template."""
        return self._token_ids(self.chat_template.after_context(question, history, thinking=thinking)).to(self.model.device)

    def _token_ids(self, text: str) -> torch.Tensor:
        ids: torch.Tensor = self.processor.tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
        return ids.long()

    @property
    def context_advice(self) -> str:
        """See `longview.model.engine.base.Engine`. The device has no memory for more."""
        return ""

    def prefix_tokens(self, plan: SamplingPlan) -> int:
        """See `longview.model.engine.base.Engine`."""
        return plan.kept_tokens

    def request_cost(self, plan: SamplingPlan, **_: int) -> None:
        """See `longview.model.engine.base.Engine`."""

    def generate_text(
        self,
        prompt: str,
        *,
        max_new_tokens: int,
        schema: type[BaseModel] | None = None,
        progress: Progress = NO_PROGRESS,
    ) -> LocalGeneration:
        """See `longview.model.engine.base.Engine`."""
        thinking_tokens = self.max_thinking_tokens if self.chat_template.always_thinks else 0
        needed_tokens = self.question_ids(prompt).shape[1] + max_new_tokens + thinking_tokens + TIMESTAMP_SLACK_TOKENS
        cache = PreallocatedCache(self.layer_types, min(needed_tokens, self.context_tokens))
        with self.hold_device(progress), inference(f"{needed_tokens} tokens"):
            prefill = Prefill(self.model, self.processor, cache, clock_offset_s=0.0)
            prefill.append_text(self.chat_template.before_text)
            no_window = WindowRequest(Span(0.0, 0.0), cache.capacity)
            session = LocalSession(self, prefill, no_window, frames=0, undecodable=())
            self._open_sessions.add(session)
        return session.generate(prompt, max_new_tokens=max_new_tokens, schema=schema, progress=progress)

    def generate_tokens(
        self,
        ids: torch.Tensor,
        config: GenerationConfig,
        next_logits: NextLogits,
        *,
        capacity_tokens: int,
        begins_thinking: bool = False,
    ) -> Iterator[int]:
        """Yield the token ids of the reply to a question (1, n), at most `capacity_tokens` together with the question.

        `begins_thinking`: whether the question ends by opening the thoughts.

        Raises:
            InvalidQuestion: the question leaves less than `MIN_REPLY_TOKENS` for its reply.
        """
        thought_end = self._thought_end if begins_thinking else None
        remaining = capacity_tokens - ids.shape[1] - (len(thought_end.forced_tokens) if thought_end else 0)
        if remaining < MIN_REPLY_TOKENS:
            raise InvalidQuestion(
                f"The question has {ids.shape[1]:,} tokens, which do not fit into the context; make it shorter."
            )
        max_new_tokens = min(config.max_new_tokens, remaining)
        max_thinking_tokens = min(config.max_thinking_tokens, remaining - max_new_tokens)
        return decode_reply(
            next_logits,
            ids,
            replace(config, max_new_tokens=max_new_tokens, max_thinking_tokens=max_thinking_tokens),
            end_tokens=self.end_tokens,
            grammar=self._grammars.matcher(config.schema) if config.schema else None,
            thought_end=thought_end,
            sampler=Sampler(self._sampling_config, ids) if self._sampling_config and config.is_sampled else None,
        )

    def session_bytes(self, tokens: int) -> int:
        """See `longview.model.engine.base.Engine`."""
        return self.estimates.session_bytes(tokens)

    def kv_cache_bytes_beside(self, weight_bytes: int) -> int:
        """Return the memory for KV caches if weights of this size will be loaded beside those of this engine."""
        share = MEMORY_SHARE_HOST if self.device == "cpu" else MEMORY_SHARE
        return int(share * max(0, self._cache_room_bytes - weight_bytes))

    def session_tokens(self, size_bytes: int) -> int:
        """Return the length of the longest session that has this size."""
        return self.estimates.shape.session_tokens(size_bytes)

    def estimated_bytes(self, plan: SamplingPlan) -> int:
        """See `longview.model.engine.base.Engine`."""
        return self.estimates.bytes_for(plan)

    def estimated_seconds(
        self, plan: SamplingPlan, *, reply_tokens: int, transcript_tokens: int = 0, progress: Progress = NO_PROGRESS
    ) -> float | None:
        """See `longview.model.engine.base.Engine`."""
        speed = self.speed(progress)
        if speed is None:
            return None
        return self.estimates.seconds_for(plan, speed, reply_tokens=reply_tokens, transcript_tokens=transcript_tokens)

    def speed(self, progress: Progress = NO_PROGRESS) -> Speed | None:
        """Return the speed of this checkpoint on this machine; the first call ever measures it, which takes seconds or minutes.

        A measurement waits until no reply is generated. None: the device has no memory for it now.

        Raises:
            Cancelled: the operation was cancelled before the next step of the measurement.
        """
        expected_s = functools.partial(measurement_s, self.model, self.estimates, max_tokens=self.context_tokens)
        return self._speed_meter.speed(self._cache, self._machine_key, expected_s if self.saves_tokens else None, progress)

    def _measure_speed(self, progress: Progress) -> Speed:
        return measure_speed(
            self.model,
            self.processor,
            self.layer_types,
            self.estimates,
            uses_cuda_graph=self.uses_cuda_graph,
            max_tokens=self.context_tokens,
            progress=progress,
        )


def _cache_room_bytes(layer_devices: Counter[torch.device], estimates: Estimates) -> int:
    """Return the memory for the caches of all sessions. If several devices share the layers, the fullest one limits it."""
    layers = layer_devices.total()
    return int(
        min(max(0, memory_bytes(device)[0] - estimates.chunk_bytes) * layers / count for device, count in layer_devices.items())
    )
