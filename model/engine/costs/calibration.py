"""The speed of a checkpoint on this machine, measured once and kept in the cache of the machine.

Two chunks of noise are prefilled and some tokens decoded: at the beginning of a context, and after a long past. The differences
give the speed of attention and the cost of reading the KV cache. A measurement with the loaded model includes what no table of
devices knows: number formats, kernels, threads, and other programs.
"""

import logging
import time
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from longview.core.progress import NO_PROGRESS, Progress
from longview.model.engine.costs.estimates import Estimates
from longview.model.engine.costs.machine_cache import load_measurement, processor_name, save_measurement
from longview.model.engine.costs.model_shape import ModelShape, Speed
from longview.model.engine.costs.number_formats import product_speed, software
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
PREFILL_OVERHEAD = {"cpu": 1.7}
"""Time of a prefill, as a multiple of the time of its products of matrices alone, by device type; for others
`ACCELERATOR_OVERHEAD`. (1.4 to 1.8 for Qwen3.5-0.8B and -2B in bfloat16 on one and two x86-64 cores with AMX.)"""
STEP_OVERHEAD = {"cpu": 1.4}
"""Time of a decoding step, as a multiple of the time that one product needs to read its weights, by device type; for others
`ACCELERATOR_OVERHEAD`. (1.3 to 1.5, as above.)"""
ACCELERATOR_OVERHEAD = 2.5
"""The same on accelerators: 2.4 to 2.9 for prefills of 33K to 262K tokens of Qwen3-VL-2B and -8B on an H100, by a simple
implementation (docs/performance.md). Decoding steps were not measured."""
WARMUP_STEPS, TIMED_STEPS = 2, 3
"""Decoding steps before the measured ones, and the measured ones. A GPU captures its graph first."""
GRAPH_STEPS = 10


def machine_key(checkpoint: str, model: Any) -> str:
    """Return what the speed of a checkpoint depends on, as the key of its measurement."""
    device = model.device
    name = f"{device.type} {processor_name()}"
    if device.type in ("cuda", "xpu"):
        name = getattr(torch, device.type).get_device_name(device)
    is_int8 = any(isinstance(module, Int8Linear) for module in model.modules())
    precision = f"int8 and {model.dtype}" if is_int8 else str(model.dtype)
    return " | ".join([checkpoint, name, precision, *software()])


def load_speed(cache: Path | None, key: str) -> Speed | None:
    """Return the speed that was measured before; None without one, or if the file cannot be used."""
    numbers = load_measurement(cache, key)
    if numbers is None or set(numbers) != {field.name for field in fields(Speed)}:
        return None
    speed = Speed(**numbers)
    is_valid = min(speed.flops_per_s, speed.attention_flops_per_s, speed.step_s) > 0 and speed.step_s_per_token >= 0
    return speed if is_valid else None


def save_speed(cache: Path | None, key: str, speed: Speed) -> None:
    """Keep a speed for later processes; see `longview.model.engine.costs.machine_cache.save_measurement`."""
    save_measurement(cache, key, asdict(speed))


def _measured_sizes(device_type: str, max_tokens: int) -> tuple[int, int]:
    """Return the temporal patches of a measured chunk, and the tokens of the long past. Four chunks have to fit."""
    patches = min(MEASURED_PATCHES.get(device_type, MAX_MEASURED_PATCHES), max(1, max_tokens // (4 * PATCH_TOKENS)))
    past_tokens = min(PAST_TOKENS.get(device_type, MAX_PAST_TOKENS), max_tokens - 4 * patches * PATCH_TOKENS)
    return patches, max(0, past_tokens)


def expected_speed(shape: ModelShape, device_type: str, flops_per_s: float, bytes_per_s: float) -> Speed:
    """Estimate the speed of a model that is not loaded, from that of products of matrices in its format.

    `flops_per_s`: operations per second of a product with many rows; `bytes_per_s`: weights that one with a single row reads.
    """
    flops_per_s /= PREFILL_OVERHEAD.get(device_type, ACCELERATOR_OVERHEAD)
    bytes_per_s /= STEP_OVERHEAD.get(device_type, ACCELERATOR_OVERHEAD)
    return Speed(flops_per_s, flops_per_s, shape.active_bytes / bytes_per_s, shape.kv_bytes_per_token / bytes_per_s)


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
