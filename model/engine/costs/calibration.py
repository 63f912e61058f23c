"""The speed of a checkpoint on this machine, measured once and kept in the cache of the machine.

Two chunks of noise are prefilled and some tokens decoded: at the beginning of a context, and after a long past. The differences
give the speed of attention and the cost of reading the KV cache. A measurement with the loaded model includes what no table of
devices knows: number formats, kernels, threads, and other programs.
"""

import logging
import time
from typing import Any

import numpy as np
import torch

from longview.core.progress import NO_PROGRESS, Progress
from longview.model.engine.costs.estimates import Estimates
from longview.model.engine.costs.expected_speed import expected_speed
from longview.model.engine.costs.machine_cache import processor_name
from longview.model.engine.costs.model_shape import Speed
from longview.model.engine.costs.number_formats import product_speed
from longview.model.engine.costs.speed_cache import speed_key
from longview.model.engine.devices import synchronize
from longview.model.engine.execution.kv_cache import PreallocatedCache
from longview.model.engine.execution.prefill import Prefill
from longview.model.engine.execution.session_cache import SessionCache
from longview.model.engine.kernels.precision import Int8Linear
from longview.video.sampling_plan import FRAMES_PER_PATCH

log = logging.getLogger(__name__)

FRAME_HEIGHT, FRAME_WIDTH = 224, 384
"""Size of the measured frames, in pixels: 84 tokens per temporal patch."""
TOKENS_PER_PATCH = FRAME_HEIGHT * FRAME_WIDTH // 1024
PATCH_TOKENS = TOKENS_PER_PATCH + 10
"""Tokens of a temporal patch with its timestamp."""
MEASURED_PATCHES = {"cpu": 6, "mps": 24}
"""Temporal patches of the measured chunk, by device type; for others `MAX_MEASURED_PATCHES`."""
MAX_MEASURED_PATCHES = 96
PAST_TOKENS = {"cpu": 4096, "mps": 8192}
"""Length of the long past, in tokens, by device type; for others `MAX_PAST_TOKENS`."""
MAX_PAST_TOKENS = 65_536
WARMUP_STEPS, TIMED_STEPS = 2, 3
"""Decoding steps before the measured ones, and the measured ones. A GPU captures its graph first."""
GRAPH_STEPS = 10


def machine_key(checkpoint: str, model: Any) -> str:
    """Return what the speed of a loaded checkpoint depends on, as the key of its measurement."""
    device = model.device
    name = f"{device.type} {processor_name()}"
    if device.type in ("cuda", "xpu"):
        name = getattr(torch, device.type).get_device_name(device)
    is_int8 = any(isinstance(module, Int8Linear) for module in model.modules())
    return speed_key(checkpoint, name, f"int8 and {model.dtype}" if is_int8 else str(model.dtype), torch.get_num_threads())


def _measured_sizes(device_type: str, max_tokens: int) -> tuple[int, int]:
    """Return the temporal patches of a measured chunk, and the tokens of the long past. Four chunks have to fit."""
    patches = min(MEASURED_PATCHES.get(device_type, MAX_MEASURED_PATCHES), max(1, max_tokens // (4 * PATCH_TOKENS)))
    past_tokens = min(PAST_TOKENS.get(device_type, MAX_PAST_TOKENS), max_tokens - 4 * patches * PATCH_TOKENS)
    return patches, max(0, past_tokens)


def measurement_s(model: Any, estimates: Estimates, *, max_tokens: int) -> float:
    """Estimate roughly how long `measure_speed` takes on a CPU, in seconds, from two products of matrices of its format."""
    patches, past_tokens = _measured_sizes("cpu", max_tokens)
    tokens, visual = patches * PATCH_TOKENS, patches * TOKENS_PER_PATCH
    dense, _ = estimates.flops(tokens, visual, TOKENS_PER_PATCH)
    attention = estimates.attention_flops(past_tokens + tokens) - estimates.attention_flops(past_tokens)
    speed = expected_speed(estimates.shape, "cpu", *product_speed(model.dtype))
    steps_s = 2 * (WARMUP_STEPS + TIMED_STEPS) * speed.step_s
    return (3 * dense + attention) / speed.flops_per_s + steps_s


def measure_speed(
    model: Any,
    processor: Any,
    layer_types: tuple[str, ...],
    estimates: Estimates,
    *,
    uses_cuda_graph: bool,
    max_tokens: int,
    progress: Progress = NO_PROGRESS,
) -> Speed:
    """Measure the speed of a loaded model, in inference mode. `max_tokens`: longest context that fits the device.

    Raises:
        Cancelled: the operation was cancelled before the next chunk or token.
    """
    device = model.device
    patches, past_tokens = _measured_sizes(device.type, max_tokens)
    cache = PreallocatedCache(layer_types, past_tokens + 4 * patches * PATCH_TOKENS)
    prefill = Prefill(model, processor, cache, clock_offset_s=0.0)
    pixels = np.random.default_rng(0).integers(0, 256, (FRAMES_PER_PATCH * patches, FRAME_HEIGHT, FRAME_WIDTH, 3), dtype=np.uint8)

    def chunk_s() -> float:
        progress.raise_if_cancelled()
        times_s = np.arange(len(pixels), dtype=np.float64)
        synchronize(device)
        start_s = time.perf_counter()
        prefill.append_frames(pixels, times_s)
        synchronize(device)
        return time.perf_counter() - start_s

    def step_s() -> float:
        session = SessionCache(model, cache, rope_delta=prefill.rope_delta)
        ids = torch.zeros((1, 1), dtype=torch.long, device=device)
        for _ in range(GRAPH_STEPS if uses_cuda_graph else WARMUP_STEPS):
            progress.raise_if_cancelled()
            session.next_logits(ids, uses_cuda_graph=uses_cuda_graph)
        synchronize(device)
        start_s = time.perf_counter()
        for _ in range(TIMED_STEPS):
            progress.raise_if_cancelled()
            session.next_logits(ids, uses_cuda_graph=uses_cuda_graph)
        synchronize(device)
        seconds = (time.perf_counter() - start_s) / TIMED_STEPS
        session.crop()
        return seconds

    start_s = time.perf_counter()
    # The first chunk selects the kernels, and makes the memory ready.
    chunk_s()
    begin = cache.get_seq_length()
    short_s, short_step_s = chunk_s(), step_s()
    cache.skip_to(max(begin, past_tokens))
    past = cache.get_seq_length()
    long_s, long_step_s = chunk_s(), step_s()
    visual = patches * TOKENS_PER_PATCH
    tokens = begin
    dense, _ = estimates.flops(tokens, visual, TOKENS_PER_PATCH)
    attention = estimates.attention_flops(past + tokens) - estimates.attention_flops(past)
    # Where the past costs nothing measurable, attention is as fast as all else.
    attention_s = max(long_s - short_s, attention / (dense / short_s), 1e-6)
    speed = Speed(
        flops_per_s=dense / short_s,
        attention_flops_per_s=attention / attention_s,
        step_s=short_step_s,
        step_s_per_token=max(0.0, long_step_s - short_step_s) / max(1, past - begin),
    )
    log.info("measured in %.1f s: %s", time.perf_counter() - start_s, speed)
    return speed
