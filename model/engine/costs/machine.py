"""The machine as a recommendation sees it: its devices, their memory, and the speed of products of matrices on them."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psutil

from longview.model.engine.costs.format_times import FormatTimes, kept_times, load_per_core, times_measured_at
from longview.model.engine.costs.machine_cache import processor_name

CACHE_RESERVE_BYTES = 4 << 30
"""Memory that is kept free on a device beside its weights, for activations and the caches of sessions, in bytes. If the weights
leave less, they are divided over several devices."""


@dataclass(frozen=True)
class Machine:
    """A machine on which a checkpoint is to run."""

    device_type: str
    """`cuda`, `xpu`, `mps` or `cpu`."""
    device_name: str
    device_bytes: tuple[int, ...]
    """Memory of each device; without an accelerator, that of the host."""
    host_bytes: int
    cores: int
    flops_per_s: float
    """Operations per second of large products of matrices on one device, in the number format of the weights."""
    bytes_per_s: float
    """Bytes of weights per second that a product with a single row reads on one device."""
    multiplies_fp8: bool = False
    """Whether its devices multiply FP8 weights."""
    has_fp8_kernels: bool = False
    """Whether the package with the kernels for it is installed, in a version that transformers accepts."""
    measured_at: datetime | None = None
    """When its speed was measured, in UTC; None if that is unknown, or if it is measured at each call, as on a GPU."""
    uses_float32: bool = False
    """Whether a checkpoint in bfloat16 is loaded in float32, because that is the faster format."""

    @property
    def runs_fp8(self) -> bool:
        """Whether weights in FP8 stay in FP8. Elsewhere they are de-quantised when they are loaded."""
        return self.multiplies_fp8 and self.has_fp8_kernels


def kept_cpu_machine(threads: int | None, cache: Path | None) -> Machine | None:
    """Return this machine without an accelerator, with the speed that the cache keeps; None if it has to be measured.

    `threads`: as for `longview.model.engine.local.LocalEngine`.
    """
    times = kept_times(cache, threads or physical_cores(), load_per_core())
    return None if times is None else cpu_machine(times, threads, cache)


def cpu_machine(times: FormatTimes, threads: int | None, cache: Path | None) -> Machine:
    """Return this machine without an accelerator. `times`: those of products of matrices."""
    host_bytes = psutil.virtual_memory().total
    return Machine(
        "cpu",
        processor_name(),
        (host_bytes,),
        host_bytes,
        physical_cores(),
        *times.faster_speed,
        uses_float32=not times.is_bfloat16_faster,
        measured_at=times_measured_at(cache, threads or physical_cores()),
    )


def physical_cores() -> int:
    """Return the number of cores of this machine; two threads of one core count once."""
    return psutil.cpu_count(logical=False) or 1
