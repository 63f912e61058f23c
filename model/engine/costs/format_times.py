"""The times of products of matrices in two number formats on this CPU, as the cache of the machine keeps them.

`number_formats` measures them with PyTorch. To read them takes none.
"""

import os
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path

from longview.model.engine.costs.machine_cache import load_measurement, measured_at, processor_name, save_measurement
from longview.model.engine.costs.speed_cache import software

ROWS, WIDTH = 512, 4096
"""Rows of a prefill, and width of the square matrix."""
BFLOAT16_BYTES, FLOAT32_BYTES = 2, 4
"""Size of a number in each format, in bytes."""
LOAD_NAME = "load_per_core"
"""Name of the load among the kept times."""
BUSY_LOAD = 0.75
"""Load per core above which other programs kept the machine busy while it was measured."""
STEPS_PER_CHUNK = 24
"""Decoding steps per 512 tokens of prefill, for a window of captions: 128 tokens of reply for 2,760 tokens of prompt."""
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
        """Speed of the faster format, as `speed` has it."""
        if self.is_bfloat16_faster:
            return speed(BFLOAT16_BYTES, self.bfloat16_rows_s, self.bfloat16_row_s)
        return speed(FLOAT32_BYTES, self.float32_rows_s, self.float32_row_s)

    @property
    def is_bfloat16_faster_than_int8(self) -> bool:
        """Whether a prefill is faster in bfloat16 than in 8 bits, whose inputs must be rounded first."""
        return self.bfloat16_rows_s * INT8_SPEED < self.float32_rows_s


def speed(element_bytes: int, rows_s: float, row_s: float) -> tuple[float, float]:
    """Return the speed of products: operations per second with many rows, and bytes of weights per second with one row.

    `element_bytes`: size of a number. `rows_s`, `row_s`: time of a product with `ROWS` rows and with one, in seconds.
    """
    return 2 * ROWS * WIDTH**2 / rows_s, WIDTH**2 * element_bytes / row_s


def kept_times(cache: Path | None, threads: int, load: float) -> FormatTimes | None:
    """Return the times that the cache keeps; None if there are none, or if they are to be measured again.

    `threads`: those of PyTorch. `load`: see `load_per_core`.
    """
    times, kept_load = _read_times(cache, threads)
    return times if kept_load <= BUSY_LOAD or load > kept_load / 2 else None


def keep_times(cache: Path | None, threads: int, times: FormatTimes, load: float) -> FormatTimes:
    """Keep new times for later processes, and return them; of earlier ones, the shorter times are kept."""
    earlier_times, _ = _read_times(cache, threads)
    if earlier_times is not None:
        earlier_s = asdict(earlier_times)
        times = FormatTimes(**{name: min(seconds, earlier_s[name]) for name, seconds in asdict(times).items()})
    save_measurement(cache, products_key(threads), asdict(times) | {LOAD_NAME: load})
    return times


def _read_times(cache: Path | None, threads: int) -> tuple[FormatTimes | None, float]:
    """Return the times that the cache keeps, and the load at their measurement."""
    stored_times = load_measurement(cache, products_key(threads)) or {}
    kept_load = stored_times.pop(LOAD_NAME, 0.0)
    if set(stored_times) == {field.name for field in fields(FormatTimes)} and min(stored_times.values()) > 0:
        return FormatTimes(**stored_times), kept_load
    return None, 0.0


def load_per_core() -> float:
    """Return how many programs wanted each core in the last minute; 0 where the system does not tell."""
    try:
        return os.getloadavg()[0] / (os.cpu_count() or 1)
    except (AttributeError, OSError):
        return 0.0


def times_measured_at(cache: Path | None, threads: int) -> datetime | None:
    """Return when the times of this machine were measured, in UTC; None if that is unknown."""
    return measured_at(cache, products_key(threads))


def products_key(threads: int) -> str:
    """Return what the times depend on, as the key of their measurement. `threads`: those of PyTorch."""
    return " | ".join(["products", f"cpu {processor_name()}", *software(threads)])
