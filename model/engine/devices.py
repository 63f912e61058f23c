"""The devices that PyTorch can use, and their memory. A call that only CUDA has stays in a branch of its own."""

import functools
import logging
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import torch

from longview.model.errors import DeviceNotFound, OutOfMemory

log = logging.getLogger(__name__)

NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")
"""File of the driver of NVIDIA on Linux."""
BFLOAT16_CAPABILITY = (8, 0)
"""CUDA compute capability from which a GPU computes in bfloat16 (Ampere)."""
MAX_REASON_CHARACTERS = 200
"""Maximum length of the reason that PyTorch gives for its failure."""
ACCELERATORS = ("cuda", "xpu", "mps")
"""Types of devices beside the CPU: NVIDIA and AMD, Intel, Apple."""
DEVICE_TYPES = (*ACCELERATORS, "cpu")
SESSION_ADVICE = "choose a smaller --context-tokens or a smaller checkpoint"
"""What a user can do if a session does not fit."""
OUT_OF_MEMORY_TEXTS = ("out of memory", "can't allocate memory")
"""Parts of the messages of PyTorch where memory is short: of MPS, and of the allocator of the host."""


def choose_device_type(requested: str | None) -> str:
    """Return the requested type of device, or that of the accelerator of this machine, or `cpu`.

    Raises:
        DeviceNotFound: PyTorch has no such device here.
    """
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    available = accelerator.type if accelerator is not None and accelerator.type in ACCELERATORS else None
    if requested is None and available is None and (problem := cuda_problem()):
        warn_once(f"{problem}; models run on the CPU.")
    if requested in (None, "cpu"):
        return requested or available or "cpu"
    if requested not in DEVICE_TYPES:
        raise DeviceNotFound(f"There is no device {requested}; use {', '.join(DEVICE_TYPES)}.")
    if requested == "cuda" != available and (problem := cuda_problem()):
        raise DeviceNotFound(f"{problem}; mend that, or set the device to cpu (LONGVIEW_DEVICE=cpu).")
    if requested != available:
        raise DeviceNotFound(
            f"There is no {requested.upper() if requested != 'mps' else 'Apple'} device that this PyTorch can use; "
            f"set the device to {available or 'cpu'} (LONGVIEW_DEVICE={available or 'cpu'})."
        )
    return requested


def cuda_problem() -> str | None:
    """Return why a PyTorch with CUDA cannot use the driver of NVIDIA that is here, as a clause; None without a problem."""
    if torch.version.cuda is None or not NVIDIA_DRIVER.exists() or torch.cuda.is_available():
        return None
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        reason = " ".join(str(error).split())[:MAX_REASON_CHARACTERS]
    else:
        reason = "it finds no device"
    return f"A driver of NVIDIA is installed, but PyTorch {torch.__version__} cannot use it ({reason})"


@functools.cache
def warn_once(text: str) -> None:
    """Log a warning, once in a process."""
    log.warning("%s", text)


def check_bfloat16(device_type: str) -> None:
    """Check that the devices of a type compute in bfloat16, in which models run on them.

    Raises:
        DeviceNotFound: a card is too old.
    """
    if device_type != "cuda" or torch.version.cuda is None:
        return
    for device in devices_of(device_type):
        major, minor = torch.cuda.get_device_capability(device)
        if (major, minor) < BFLOAT16_CAPABILITY:
            name = torch.cuda.get_device_name(device)
            raise DeviceNotFound(
                f"The GPU {name} (compute capability {major}.{minor}) does not compute in bfloat16, as models on a GPU do; hide "
                "it (CUDA_VISIBLE_DEVICES), set LONGVIEW_DEVICE=cpu, or use a server (--server)."
            )


def devices_of(device_type: str) -> list[torch.device]:
    """Return all devices of a type."""
    if device_type in ("cpu", "mps"):
        return [torch.device(device_type)]
    return [torch.device(device_type, index) for index in range(torch.accelerator.device_count())]


def accelerator_name(device_type: str) -> str:
    """Return the name of the first device of a type; for Apple's, the type."""
    return str(getattr(torch, device_type).get_device_name(0)) if device_type in ("cuda", "xpu") else device_type


def memory_bytes(device: torch.device) -> tuple[int, int]:
    """Return the free and the total memory of a device. Memory that PyTorch keeps for reuse counts as free."""
    if device.type == "cpu":
        host = psutil.virtual_memory()
        return host.available, host.total
    if device.type == "mps":
        total = torch.mps.recommended_max_memory()
        return max(0, total - torch.mps.current_allocated_memory()), total
    free, total = torch.accelerator.get_memory_info(device)
    cached_bytes = torch.accelerator.memory_reserved(device) - torch.accelerator.memory_allocated(device)
    return free + cached_bytes, total


def synchronize(device: torch.device) -> None:
    """Wait until a device has finished all queued work."""
    if device.type == "mps":
        torch.mps.synchronize()
    elif device.type != "cpu":
        torch.accelerator.synchronize(device)


@contextmanager
def memory_errors(what: str, advice: str = SESSION_ADVICE) -> Iterator[None]:
    """Turn PyTorch's out-of-memory errors into `OutOfMemory`, and free what the failed call held.

    `what`: what the memory is for. `advice`: what the user can do.
    """
    try:
        yield
        return
    except RuntimeError as error:
        # Only CUDA and XPU have a class for it.
        if not isinstance(error, torch.OutOfMemoryError) and not any(text in str(error) for text in OUT_OF_MEMORY_TEXTS):
            raise
        details = str(error)
        # The traceback holds the stack frames that failed, and those hold their tensors.
        traceback.clear_frames(error.__traceback__)
    if torch.accelerator.is_available():
        torch.accelerator.empty_cache()
    log.info("out of memory: %s", details)
    raise OutOfMemory(f"The device does not have enough memory for {what}; {advice}.") from None


class _Depth(threading.local):
    """Number of `inference` blocks that this thread is in."""

    value = 0


_depth = _Depth()


@contextmanager
def inference(what: str) -> Iterator[None]:
    """Run a model without gradients, and turn out-of-memory errors into `OutOfMemory`. `what`: what the memory is for.

    Numbers below 1e-38 become zero: the decays of linear-attention layers underflow, and a CPU is up to five times slower on such
    numbers. This is a setting of the thread, so it ends with the outermost block.
    """
    _depth.value += 1
    torch.set_flush_denormal(True)
    try:
        with memory_errors(what), torch.inference_mode():
            yield
    finally:
        _depth.value -= 1
        if not _depth.value:
            torch.set_flush_denormal(False)
