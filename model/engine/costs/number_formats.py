"""Which number format is the faster one on this CPU, by products of matrices. The times are kept in the cache of the machine.

Processors differ by more than a factor of ten: with AMX bfloat16 was seven times as fast as float32, without it half as fast. The
name of a processor does not tell that, so it is measured.
"""

import functools
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path

import torch
from torch.nn import functional

from longview.model.engine.costs.machine_cache import load_measurement, measured_at, processor_name, save_measurement
from longview.model.engine.devices import synchronize

ROWS, WIDTH = 512, 4096
"""Rows of a prefill, and width of the square matrix."""
MIN_WEIGHT_BYTES = 256 << 20
"""Minimum size of the matrices that are multiplied with one row in turn, in bytes: beyond the caches of CPUs and GPUs."""
MIN_PRODUCTS, MAX_PRODUCTS, MIN_TIMED_S = 4, 50, 0.25
"""Minimum and maximum number of times that a product is timed, and the time after which it is enough, in seconds."""
ACCELERATOR_ROUNDS = 20
"""Number of times that all weights are multiplied between two looks at the clock on an accelerator."""
CPU = torch.device("cpu")
LOAD_NAME = "load_per_core"
"""Name of the load among the kept times."""
BUSY_LOAD = 0.75
"""Load per core above which other programs kept the machine busy while it was measured."""
STEPS_PER_CHUNK = 24
"""Decoding steps per 512 tokens of prefill, for a window of captions: 128 tokens of reply for 2,760 tokens of prompt."""
ENGINE_SPEED_VERSION = 2
"""Version of the engine's speed, which grows when a change makes earlier measurements wrong."""
INT8_SPEED = 2.5
"""Speed of products in 8 bits, as a multiple of that in float32: 2.3 to 2.7 (x86-64 with AVX-512 VNNI, without AMX, oneDNN)."""


@dataclass(frozen=True)
class FormatTimes:
    """Times of products on this machine, in seconds: with the rows of a prefill, and with one row."""

    float32_rows_s: float
    float32_row_s: float
    bfloat16_rows_s: float
    bfloat16_row_s: float

    @property
    def is_bfloat16_faster(self) -> bool:
        """Whether bfloat16 is faster than float32 for a window of captions."""
        float32_s = self.float32_rows_s + STEPS_PER_CHUNK * self.float32_row_s
        return self.bfloat16_rows_s + STEPS_PER_CHUNK * self.bfloat16_row_s < float32_s

    @property
    def faster_speed(self) -> tuple[float, float]:
        """Speed of the faster format, as `product_speed` has it."""
        if self.is_bfloat16_faster:
            return _speed(torch.bfloat16, self.bfloat16_rows_s, self.bfloat16_row_s)
        return _speed(torch.float32, self.float32_rows_s, self.float32_row_s)

    @property
    def is_bfloat16_faster_than_int8(self) -> bool:
        """Whether a prefill is faster in bfloat16 than in 8 bits, whose inputs must be rounded first."""
        return self.bfloat16_rows_s * INT8_SPEED < self.float32_rows_s


def format_times(cache: Path | None = None) -> FormatTimes:
    """Return the times of this machine. `cache`: its folder that keeps them; without it each process measures.

    They are measured again if the processor, the number of threads or PyTorch is another one, and if other programs kept the
    machine busy then and do not now: of two measurements, the shorter times are those of the machine.
    """
    key, load = products_key(), load_per_core()
    stored_times = load_measurement(cache, key) or {}
    kept_load = stored_times.pop(LOAD_NAME, 0.0)
    measured_times = None
    if set(stored_times) == {field.name for field in fields(FormatTimes)} and min(stored_times.values()) > 0:
        measured_times = FormatTimes(**stored_times)
        if kept_load <= BUSY_LOAD or load > kept_load / 2:
            return measured_times
    times = _measure(key)
    if measured_times is not None:
        times = FormatTimes(**{name: min(seconds, stored_times[name]) for name, seconds in asdict(times).items()})
    save_measurement(cache, key, asdict(times) | {LOAD_NAME: load})
    return times


def load_per_core() -> float:
    """Return how many programs wanted each core in the last minute; 0 where the system does not tell."""
    try:
        return os.getloadavg()[0] / (os.cpu_count() or 1)
    except (AttributeError, OSError):
        return 0.0


def times_measured_at(cache: Path | None) -> datetime | None:
    """Return when the times of this machine were measured, in UTC; None if that is unknown."""
    return measured_at(cache, products_key())


def products_key() -> str:
    """Return what the times depend on, as the key of their measurement."""
    return " | ".join(["products", f"cpu {processor_name()}", *software()])


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
    return _speed(dtype, *product_times_s(dtype, device))


def _speed(dtype: torch.dtype, rows_s: float, row_s: float) -> tuple[float, float]:
    return 2 * ROWS * WIDTH**2 / rows_s, WIDTH**2 * dtype.itemsize / row_s


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


def software() -> list[str]:
    """Return what a speed depends on beside the device."""
    return [f"{torch.get_num_threads()} threads", f"torch {torch.__version__}", f"engine {ENGINE_SPEED_VERSION}"]
