"""The machine as a recommendation sees it: its devices, their memory, and the speed of products of matrices on them."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psutil
import torch

from longview.model.engine.costs.machine_cache import processor_name
from longview.model.engine.costs.number_formats import format_times, product_speed, times_measured_at
from longview.model.engine.devices import choose_device_type, devices_of, memory_bytes
from longview.model.engine.kernels.fp8 import may_have_fp8_kernels

FP8_CAPABILITY = (8, 9)
"""CUDA compute capability from which a GPU multiplies FP8 (Ada, Hopper)."""


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
    """Whether the package with the kernels for it is installed."""
    measured_at: datetime | None = None
    """When its speed was measured, in UTC; None if that is unknown, or if it is measured at each call, as on a GPU."""
    uses_float32: bool = False
    """Whether a checkpoint in bfloat16 is loaded in float32, because that is the faster format."""


def measure_machine(device: str | None = None, *, threads: int | None = None, cache: Path | None = None) -> Machine:
    """Return this machine; measure its speed unless `cache` has that of this CPU. A GPU is measured each time.

    `device`, `threads`: as for `longview.model.engine.local.LocalEngine`.

    Raises:
        DeviceNotFound: there is no such device.
    """
    device_type = choose_device_type(device)
    cores, host_bytes = psutil.cpu_count(logical=False) or 1, psutil.virtual_memory().total
    if device_type == "cpu":
        torch.set_num_threads(threads or cores)
        times = format_times(cache)
        speed, uses_float32 = times.faster_speed, not times.is_bfloat16_faster
        return Machine(
            "cpu",
            processor_name(),
            (host_bytes,),
            host_bytes,
            cores,
            *speed,
            uses_float32=uses_float32,
            measured_at=times_measured_at(cache),
        )
    devices = devices_of(device_type)
    name = getattr(torch, device_type).get_device_name(devices[0]) if device_type in ("cuda", "xpu") else processor_name()
    return Machine(
        device_type,
        name,
        tuple(memory_bytes(one)[1] for one in devices),
        host_bytes,
        cores,
        *product_speed(torch.bfloat16, devices[0]),
        multiplies_fp8=device_type == "cuda" and torch.cuda.get_device_capability(devices[0]) >= FP8_CAPABILITY,
        has_fp8_kernels=may_have_fp8_kernels(device_type),
    )
