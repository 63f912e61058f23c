"""The measurement of the machine for a recommendation, by PyTorch on its devices."""

from pathlib import Path

import psutil
import torch

from longview.model.engine.costs.machine import Machine, cpu_machine, physical_cores
from longview.model.engine.costs.machine_cache import processor_name
from longview.model.engine.costs.number_formats import format_times, product_speed
from longview.model.engine.devices import choose_device_type, devices_of, memory_bytes
from longview.model.engine.kernels.fp8 import may_have_fp8_kernels

FP8_CAPABILITY = (8, 9)
"""CUDA compute capability from which a GPU multiplies FP8 (Ada, Hopper)."""


def multiplies_fp8(device_type: str) -> bool:
    """Whether the devices of a type multiply FP8 weights."""
    return device_type == "cuda" and torch.cuda.get_device_capability(devices_of(device_type)[0]) >= FP8_CAPABILITY


def measure_machine(device: str | None = None, *, threads: int | None = None, cache: Path | None = None) -> Machine:
    """Return this machine; measure its speed unless `cache` has that of this CPU. A GPU is measured each time.

    `device`, `threads`: as for `longview.model.engine.local.LocalEngine`.

    Raises:
        DeviceNotFound: there is no such device.
    """
    device_type = choose_device_type(device)
    if device_type == "cpu":
        torch.set_num_threads(threads or physical_cores())
        return cpu_machine(format_times(cache), threads, cache)
    devices = devices_of(device_type)
    name = getattr(torch, device_type).get_device_name(devices[0]) if device_type in ("cuda", "xpu") else processor_name()
    return Machine(
        device_type,
        name,
        tuple(memory_bytes(one)[1] for one in devices),
        psutil.virtual_memory().total,
        physical_cores(),
        *product_speed(torch.bfloat16, devices[0]),
        multiplies_fp8=multiplies_fp8(device_type),
        has_fp8_kernels=may_have_fp8_kernels(device_type),
    )
