"""An engine that plans and estimates for a checkpoint on the CPU that is not loaded, without PyTorch.

What it needs is in the files of the checkpoint and in the cache of the machine. Where something is missing there, the checkpoint
is loaded, and the estimates are those of `longview.model.engine.local.LocalEngine`.
"""

import logging
from pathlib import Path
from typing import Any

import psutil

from longview.core.progress import NO_PROGRESS, Progress
from longview.model.engine.base import REPLY_RESERVE_TOKENS, Generation, VideoSession
from longview.model.engine.chat_template import ChatTemplate
from longview.model.engine.checkpoints.checkpoints import Checkpoint
from longview.model.engine.checkpoints.precision_names import FLOAT32_SHARE, MIN_LARGE_BYTES, Precision
from longview.model.engine.checkpoints.text_processor import TextProcessor
from longview.model.engine.costs.estimates import Estimates
from longview.model.engine.costs.format_times import BFLOAT16_BYTES, FLOAT32_BYTES, kept_times, load_per_core
from longview.model.engine.costs.machine import physical_cores
from longview.model.engine.costs.machine_cache import processor_name
from longview.model.engine.costs.model_shape import Speed
from longview.model.engine.costs.model_sizes import ModelSizes, read_sizes
from longview.model.engine.costs.speed_cache import load_speed, speed_key
from longview.model.errors import InvalidCheckpoint
from longview.video.sampling_plan import SamplingPlan

log = logging.getLogger(__name__)

DTYPE_NAMES = {BFLOAT16_BYTES: "torch.bfloat16", FLOAT32_BYTES: "torch.float32"}
"""Names of the number formats by the size of a number, as keys of measured speeds have them."""
TIMESTAMP_FRAME_TOKENS = 2
"""The vision start and end tokens of a temporal patch."""


class PlanningEngine:
    """See `longview.model.engine.base.Engine`. It opens no sessions and replies to nothing."""

    device = "cpu"
    context_advice = ""
    kv_cache_bytes = 0

    def __init__(self, checkpoint: Checkpoint, processor: TextProcessor, sizes: ModelSizes, speed: Speed) -> None:
        self.checkpoint, self._processor, self._speed = checkpoint, processor, speed
        self._estimates = Estimates(sizes, self.device)
        self.saves_tokens = checkpoint.weight_bytes >= MIN_LARGE_BYTES
        self.reserved_tokens = REPLY_RESERVE_TOKENS
        room_bytes = psutil.virtual_memory().available - sizes.weight_bytes - self._estimates.chunk_bytes
        self.context_tokens = min(checkpoint.max_context_tokens, self._estimates.shape.context_tokens(max(0, room_bytes)))

    def timestamp_tokens(self, time_s: float) -> int:
        """See `longview.model.engine.base.Engine`."""
        return self.count_tokens(f"<{time_s:.1f} seconds>") + TIMESTAMP_FRAME_TOKENS

    def count_tokens(self, text: str) -> int:
        """See `longview.model.engine.base.Engine`."""
        return self._processor.count_tokens(text)

    def prefix_tokens(self, plan: SamplingPlan) -> int:
        """See `longview.model.engine.base.Engine`."""
        return plan.kept_tokens

    def request_cost(self, plan: SamplingPlan, **_: int) -> None:
        """See `longview.model.engine.base.Engine`."""

    def session_bytes(self, tokens: int) -> int:
        """See `longview.model.engine.base.Engine`."""
        return self._estimates.session_bytes(tokens)

    def estimated_bytes(self, plan: SamplingPlan) -> int:
        """See `longview.model.engine.base.Engine`."""
        return self._estimates.bytes_for(plan)

    def estimated_seconds(
        self,
        plan: SamplingPlan,
        *,
        reply_tokens: int,
        transcript_tokens: int = 0,
        progress: Progress = NO_PROGRESS,  # noqa: ARG002
    ) -> float:
        """See `longview.model.engine.base.Engine`."""
        return self._estimates.seconds_for(plan, self._speed, reply_tokens=reply_tokens, transcript_tokens=transcript_tokens)

    def open_session(self, *_: Any, **__: Any) -> VideoSession:
        """Refuse: nothing is loaded."""
        raise TypeError("This engine only plans.")

    def generate_text(self, *_: Any, **__: Any) -> Generation:
        """Refuse: nothing is loaded."""
        raise TypeError("This engine only plans.")


def open_planning_engine(
    checkpoint: Checkpoint, *, cpu_threads: int | None, precision: Precision, cache: Path | None, thinking: bool
) -> PlanningEngine | None:
    """Return an engine for plans, with the options of `LocalEngine`; None if its sizes, its speed or its tokens are not known.

    None also where a session would have room for thoughts, and for weights that are quantised or in 8 bits.

    Raises:
        InvalidCheckpoint: its layers are not supported.
    """
    is_large = checkpoint.weight_bytes >= MIN_LARGE_BYTES
    threads = cpu_threads or (physical_cores() if is_large else 1)
    try:
        sizes = _expected_sizes(checkpoint, precision, threads, cache, is_large=is_large)
    except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError, MemoryError):
        # Files of others may state anything. Whoever loads the checkpoint says what is wrong with it.
        log.info("the sizes of %s cannot be read", checkpoint.name, exc_info=True)
        return None
    if sizes is None:
        return None
    key = speed_key(checkpoint.identity, f"cpu {processor_name()}", DTYPE_NAMES[sizes.element_bytes], threads)
    speed = load_speed(cache, key)
    if speed is None:
        return None
    try:
        processor = TextProcessor(checkpoint.folder)
        template = ChatTemplate(processor, checkpoint.name)
    except (InvalidCheckpoint, ArithmeticError, LookupError, TypeError, ValueError, AttributeError):
        return None
    if template.always_thinks or (thinking and template.has_thinking_switch):
        return None
    return PlanningEngine(checkpoint, processor, sizes, speed)


def _expected_sizes(
    checkpoint: Checkpoint, precision: Precision, threads: int, cache: Path | None, *, is_large: bool
) -> ModelSizes | None:
    """Return the sizes in the number format in which the weights would be loaded; see `longview.model.engine.loading`."""
    if precision == "int8":
        return None
    if precision == "bfloat16":
        return read_sizes(checkpoint.folder, BFLOAT16_BYTES)
    sizes = read_sizes(checkpoint.folder, FLOAT32_BYTES)
    if sizes is None or precision == "float32" or not is_large:
        return sizes
    times = kept_times(cache, threads, load_per_core())
    if times is None:
        return None
    is_too_large = sizes.weight_bytes > psutil.virtual_memory().available * FLOAT32_SHARE
    return read_sizes(checkpoint.folder, BFLOAT16_BYTES) if is_too_large or times.is_bfloat16_faster else sizes
