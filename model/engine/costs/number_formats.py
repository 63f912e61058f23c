"""Which number format is the faster one on this CPU, by products of matrices. The times are kept in the cache of the machine.

Processors differ by more than a factor of ten: with AMX bfloat16 was seven times as fast as float32, without it half as fast. The
name of a processor does not tell that, so it is measured.
"""

import functools
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch.nn import functional

from longview.model.engine.costs.format_times import (
    ROWS,
    WIDTH,
    FormatTimes,
    keep_times,
    kept_times,
    load_per_core,
    products_key,
    speed,
)
from longview.model.engine.devices import synchronize

MIN_WEIGHT_BYTES = 256 << 20
"""Minimum size of the matrices that are multiplied with one row in turn, in bytes: beyond the caches of CPUs and GPUs."""
MIN_PRODUCTS, MAX_PRODUCTS, MIN_TIMED_S = 4, 50, 0.25
"""Minimum and maximum number of times that a product is timed, and the time after which it is enough, in seconds."""
ACCELERATOR_ROUNDS = 20
"""Number of times that all weights are multiplied between two looks at the clock on an accelerator."""
CPU = torch.device("cpu")


def format_times(cache: Path | None = None) -> FormatTimes:
    """Return the times of this machine. `cache`: its folder that keeps them; without it each process measures.

    They are measured again if the processor, the number of threads or PyTorch is another one, and if other programs kept the
    machine busy then and do not now: of two measurements, the shorter times are those of the machine.
    """
    threads, load = torch.get_num_threads(), load_per_core()
    if (times := kept_times(cache, threads, load)) is not None:
        return times
    return keep_times(cache, threads, _measure(products_key(threads)), load)


@functools.cache
def _measure(key: str) -> FormatTimes:  # noqa: ARG001
    """Measure once in a process for each key, which is all that the times depend on."""
    return FormatTimes(*product_times_s(torch.float32), *product_times_s(torch.bfloat16))


def product_times_s(dtype: torch.dtype, device: torch.device = CPU) -> tuple[float, float]:
    """Measure a product with `ROWS` rows and one with a single row on a device, in seconds."""
    count = -(-MIN_WEIGHT_BYTES // (WIDTH**2 * dtype.itemsize))
    weights = [torch.ones(WIDTH, WIDTH, dtype=dtype, device=device) for _ in range(count)]
    rows = torch.ones(ROWS, WIDTH, dtype=dtype, device=device)
    with torch.inference_mode():
        return _product_s(rows, weights[:1]), _product_s(rows[:1], weights)


def product_speed(dtype: torch.dtype, device: torch.device = CPU) -> tuple[float, float]:
    """Measure products on a device: operations per second with many rows, and bytes of weights per second with one row."""
    return speed(dtype.itemsize, *product_times_s(dtype, device))


def _product_s(rows: torch.Tensor, weights: Sequence[torch.Tensor]) -> float:
    """Return the shortest time of a product with one of the weights, in seconds.

    The first call prepares the kernel, and other programs disturb some calls.
    """
    # See `longview.model.engine.kernels.precision.use_matrix_vector_products`.
    is_vector = len(rows) == 1 and rows.dtype == torch.bfloat16
    # One product takes an accelerator about as long as to start it.
    rounds = 1 if rows.device.type == "cpu" else ACCELERATOR_ROUNDS
    products = rounds * len(weights)
    times_s: list[float] = []
    while len(times_s) < MIN_PRODUCTS or (sum(times_s) * products < MIN_TIMED_S and len(times_s) < MAX_PRODUCTS):
        synchronize(rows.device)
        start_s = time.perf_counter()
        for weight in rounds * [*weights]:
            torch.mv(weight, rows[0]) if is_vector else functional.linear(rows, weight)
        synchronize(rows.device)
        times_s.append((time.perf_counter() - start_s) / products)
    return min(times_s[1:])
