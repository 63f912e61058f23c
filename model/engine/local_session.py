"""A session of the engine in this process."""

import functools
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

import torch
from pydantic import BaseModel

from longview.core.progress import NO_PROGRESS, Progress
from longview.core.timeline import Span
from longview.model.engine.base import NO_PRECEDING_TEXT, ChatTurn, PrecedingText, WindowRequest
from longview.model.engine.chat_template import ChatTemplate
from longview.model.engine.checkpoints.checkpoints import Checkpoint
from longview.model.engine.costs.speed_meter import RunningReplies
from longview.model.engine.execution.prefill import Prefill
from longview.model.engine.execution.session_cache import SessionCache
from longview.model.engine.generation.decoding import GenerationConfig, NextLogits
from longview.model.engine.generation.local_generation import LocalGeneration


class SessionEngine(Protocol):
    """What a session needs of the engine that opened it; see `longview.model.engine.local.LocalEngine`."""

    checkpoint: Checkpoint
    model: Any
    processor: Any
    chat_template: ChatTemplate
    end_tokens: frozenset[int]
    thought_tags: dict[int, str]
    max_thinking_tokens: int
    uses_cuda_graph: bool
    replies: RunningReplies

    def hold_device(self, progress: Progress) -> AbstractContextManager[None]:
        """Hold the device while a session uses it."""

    def context_ids(self, context: str) -> torch.Tensor:
        """Return token ids, int64 (1, n), of a context that follows the video."""

    def question_ids(self, question: str, history: Sequence[ChatTurn] = (), *, thinking: bool = False) -> torch.Tensor:
        """Return token ids, int64 (1, n), of all that follows video and context."""

    def generate_tokens(
        self,
        ids: torch.Tensor,
        config: GenerationConfig,
        next_logits: NextLogits,
        *,
        capacity_tokens: int,
        begins_thinking: bool = False,
    ) -> Iterator[int]:
        """Yield the token ids of the reply to a question (1, n)."""


class LocalSession:
    """See `longview.model.engine.base.VideoSession`."""

    def __init__(
        self, engine: SessionEngine, prefill: Prefill, request: WindowRequest, *, frames: int, undecodable: tuple[Span, ...]
    ) -> None:
        """`prefill`: the prompt up to the end of the video. `frames`, `undecodable`: those of `VideoSession`."""
        self.engine = engine
        self.checkpoint = engine.checkpoint
        self.prefix_ids = prefill.ids
        """Token ids of the prompt up to the end of the video, int64 (1, n), on the CPU."""
        self.prompt_tokens = int(self.prefix_ids.shape[1])
        self.patches = prefill.patches
        self.frames = frames
        self.undecodable = undecodable
        self.ood_score = prefill.ood_score
        """Score of `longview.model.engine.execution.ood`, below 0 for out-of-distribution footage; None without a detector."""
        self.is_out_of_distribution = self.ood_score is not None and self.ood_score < 0
        self.window = request.span
        self.video_duration_s = request.span.end_s if request.video_duration_s is None else request.video_duration_s
        self.clock_offset_s = request.clock_offset_s
        self.cache = SessionCache(engine.model, prefill.cache, rope_delta=prefill.rope_delta)
        self._lock = threading.Lock()

    @property
    def size_bytes(self) -> int:
        """See `longview.model.engine.base.VideoSession`. The states of a hybrid are copied once more for its transcript."""
        return self.cache.cache.size_bytes

    @property
    def is_busy(self) -> bool:
        """See `longview.model.engine.base.VideoSession`."""
        return self._lock.locked()

    def generate(
        self,
        question: str,
        *,
        max_new_tokens: int,
        schema: type[BaseModel] | None = None,
        presence_penalty: float = 0.0,
        preceding: PrecedingText = NO_PRECEDING_TEXT,
        thinking: bool = False,
        progress: Progress = NO_PROGRESS,
    ) -> LocalGeneration:
        """See `longview.model.engine.base.VideoSession`."""
        begins_thinking = self.engine.chat_template.begins_thinking(preceding.history, thinking=thinking)
        config = GenerationConfig(
            max_new_tokens,
            schema,
            self.engine.max_thinking_tokens,
            presence_penalty,
            thinking,
            is_sampled=begins_thinking or presence_penalty > 0,
        )
        tokens = functools.partial(self.tokens, question, config, preceding, progress)
        return LocalGeneration(
            tokens,
            self.engine.processor.tokenizer,
            end_tokens=self.engine.end_tokens,
            thought_tags=self.engine.thought_tags,
            begins_with_thoughts=begins_thinking,
        )

    def first_logits(self, question: str, context: str = "") -> torch.Tensor:
        """Return the logits (vocabulary,) of the first token of a reply, to compare with a reference."""
        with self._prepare(context, NO_PROGRESS) as cache:
            return cache.next_logits(self.engine.question_ids(question), uses_cuda_graph=self.engine.uses_cuda_graph)

    def offload(self) -> None:
        """See `longview.model.engine.base.VideoSession`."""
        if self._lock.acquire(blocking=False):
            try:
                self.cache.offload()
            finally:
                self._lock.release()

    @contextmanager
    def _prepare(self, context: str, progress: Progress) -> Iterator[SessionCache]:
        """Hold the session and put a context after its video. In the end, crop the cache back to both."""
        engine = self.engine
        # Hold the device first: the cache of a session that waits for it can leave the device.
        with engine.hold_device(progress), progress.holding(self._lock), engine.replies.running_reply(progress):
            self.cache.restore()
            try:
                self.cache.use_context(engine.context_ids(context), progress)
                yield self.cache
            finally:
                self.cache.crop()

    def tokens(
        self,
        question: str,
        config: GenerationConfig,
        preceding: PrecedingText = NO_PRECEDING_TEXT,
        progress: Progress = NO_PROGRESS,
    ) -> Iterator[int]:
        """Yield the token ids of a reply. When the iteration ends in any way, video and context stay in the cache."""
        engine, history = self.engine, preceding.history
        with self._prepare(preceding.context, progress) as cache:
            next_logits = functools.partial(cache.next_logits, uses_cuda_graph=engine.uses_cuda_graph)
            reply = engine.generate_tokens(
                engine.question_ids(question, history, thinking=config.thinking),
                config,
                next_logits,
                capacity_tokens=cache.free_tokens,
                begins_thinking=engine.chat_template.begins_thinking(history, thinking=config.thinking),
            )
            for token in reply:
                yield token
                progress.raise_if_cancelled()
