"""The way to a model on this machine for all other packages: what needs PyTorch is imported here, when it is needed.

Only this module is imported at the start of a process, which takes no PyTorch. Each function raises `LocalEngineUnavailable` if a
package is missing or cannot be imported; see `longview.model.engine.torch_packages`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from longview.model.engine.costs.machine import Machine, kept_cpu_machine
from longview.model.engine.torch_packages import (
    may_have_accelerator,
    missing_packages_text,
    require_torch,
    require_transformers,
    torch_version,
)

__all__ = [
    "DeviceFacts", "choose_device_type", "device_count", "device_facts", "device_memory_bytes", "find_machine", "load_engine",
    "missing_packages_text",
]  # fmt: skip

BFLOAT16_BYTES = 2
"""Bytes of a number in the format that accelerators use."""

if TYPE_CHECKING:
    from longview.model.engine.checkpoints.checkpoints import Checkpoint
    from longview.model.engine.local import LocalEngine


def load_engine(checkpoint: "Checkpoint", *, has_canary: bool = True, **options: Any) -> "LocalEngine":
    """Load a checkpoint; see `longview.model.engine.local.LocalEngine` for the options and further errors.

    `has_canary`: whether it is checked what the weights make of a plain text; see `longview.model.engine.canary.check_canary`.

    Raises:
        LocalEngineUnavailable: a package is missing or cannot be imported. InvalidCheckpoint: the weights are not understood.
    """
    require_transformers()
    from longview.model.engine.canary import check_canary
    from longview.model.engine.local import LocalEngine

    engine = LocalEngine(checkpoint, **options)
    if has_canary:
        check_canary(engine, options.get("cache"))
    return engine


def choose_device_type(requested: str | None) -> str:
    """Return the type of device that a model would have; see `longview.model.engine.devices.choose_device_type`.

    PyTorch is not imported where there can be no accelerator.

    Raises:
        DeviceNotFound: PyTorch has no such device here. LocalEngineUnavailable: as for `load_engine`.
    """
    if requested == "cpu" or (requested is None and not may_have_accelerator()):
        return "cpu"
    require_torch()
    from longview.model.engine import devices

    return devices.choose_device_type(requested)


def keeps_fp8(device_type: str) -> bool:
    """Whether weights in FP8 may stay in FP8 on a type of device that `choose_device_type` returned."""
    if device_type != "cuda":
        return False
    require_transformers()
    from longview.model.engine.costs.machine_speed import multiplies_fp8
    from longview.model.engine.kernels.fp8 import may_have_fp8_kernels

    return multiplies_fp8(device_type) and may_have_fp8_kernels(device_type)


def expected_weight_bytes(checkpoint: "Checkpoint", device_type: str) -> int:
    """Return the size of the weights of a checkpoint on an accelerator of a type, in bytes; FP8 may be de-quantised there.

    Raises:
        InvalidCheckpoint: a file is damaged. LocalEngineUnavailable: as for `load_engine`.
    """
    from longview.model.engine.checkpoints.weight_files import FP8_METHODS, read_tensors, sizes_in_memory

    method = checkpoint.quantization
    is_dequantized = method in FP8_METHODS and not keeps_fp8(device_type)
    tensors = read_tensors(checkpoint)
    return sum(sizes_in_memory(tensors, BFLOAT16_BYTES, method=method, is_dequantized=is_dequantized).values())


def kernels_requirement() -> str:
    """Return what pip is asked for to install the FP8 kernels, in the versions that transformers accepts.

    Raises:
        LocalEngineUnavailable: as for `load_engine`.
    """
    require_transformers()
    from longview.model.engine.transformers_names import KERNELS_MAX_VERSION, KERNELS_MIN_VERSION

    return f"kernels>={KERNELS_MIN_VERSION},<{KERNELS_MAX_VERSION}"


@dataclass(frozen=True)
class DeviceFacts:
    """The device that a model on this machine would have."""

    torch_version: str
    device_name: str
    """The name of the GPU, or `cpu`."""
    memory_bytes: tuple[int, int] | None
    """Free and total memory of the GPU; None without one."""


def device_facts() -> DeviceFacts:
    """Return the facts about PyTorch and its device, which show that it can be imported.

    Raises:
        LocalEngineUnavailable: as for `load_engine`.
    """
    require_torch()
    from longview.model.engine.devices import accelerator_name

    device_type = choose_device_type(None)
    if device_type == "cpu":
        return DeviceFacts(torch_version(), "cpu", None)
    return DeviceFacts(torch_version(), accelerator_name(device_type), device_memory_bytes(device_type))


def device_count(device_type: str) -> int:
    """Return the number of devices of a type that `choose_device_type` returned."""
    if device_type == "cpu":
        return 1
    from longview.model.engine.devices import devices_of

    return len(devices_of(device_type))


def device_memory_bytes(device_type: str) -> tuple[int, int]:
    """Return the free and the total memory of all devices of a type that `choose_device_type` returned, in bytes."""
    if device_type == "cpu":
        host = psutil.virtual_memory()
        return host.available, host.total
    from longview.model.engine.devices import devices_of, memory_bytes

    free_bytes, total_bytes = zip(*map(memory_bytes, devices_of(device_type)), strict=True)
    return sum(free_bytes), sum(total_bytes)


def find_machine(device: str | None = None, *, threads: int | None = None, cache: Path | None = None) -> Machine:
    """Return this machine with its speed, which is measured unless `cache` has that of this CPU. A GPU is measured each time.

    `device`, `threads`: as for `longview.model.engine.local.LocalEngine`.

    Raises:
        DeviceNotFound, LocalEngineUnavailable: as for `choose_device_type`.
    """
    device_type = choose_device_type(device)
    machine = kept_cpu_machine(threads, cache) if device_type == "cpu" else None
    if machine is not None:
        return machine
    require_torch()
    from longview.model.engine.costs.machine_speed import measure_machine

    return measure_machine(device_type, threads=threads, cache=cache)
