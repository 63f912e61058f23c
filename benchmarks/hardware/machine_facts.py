"""Facts about a machine and its installation, for a report of a problem on a GPU. Nothing names the machine or its user."""

import importlib.metadata
import platform
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import torch

from benchmarks.check_report import Row

ROOT = Path(__file__).parents[2]
PACKAGES = (
    "transformers", "accelerate", "triton", "flash-linear-attention", "causal-conv1d", "kernels", "xgrammar", "tokenizers", "av",
)  # fmt: skip


def fact_rows(device: str) -> Iterator[Row]:
    """Yield the facts as rows of two cells."""
    if device == "cuda":
        for index in range(torch.cuda.device_count()):
            card = torch.cuda.get_device_properties(index)
            free, total = torch.cuda.mem_get_info(index)
            memory = f"{total / 2**30:.1f} GiB, {free / 2**30:.1f} GiB free"
            yield Row((f"GPU {index}", f"{card.name}, {memory}, compute capability {card.major}.{card.minor}"))
        yield Row(("driver", _driver() or "not known"))
        yield Row(("CUDA of torch, cuDNN", f"{torch.version.cuda}, {torch.backends.cudnn.version()}"))
    else:
        yield Row(("device", f"CPU, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}"))
    memory = f"{psutil.virtual_memory().total / 2**30:.0f} GiB of memory"
    yield Row(("host", f"{platform.system()} {platform.machine()}, Python {platform.python_version()}, {memory}"))
    yield Row(("torch", torch.__version__))
    for package in PACKAGES:
        yield Row((package, _version(package)))
    yield Row(("commit of Longview", commit()))


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _driver() -> str:
    return _output(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]).partition("\n")[0]


def commit() -> str:
    """Return the commit of this checkout, and whether files differ from it."""
    revision = _output(["git", "rev-parse", "HEAD"])
    changes = _output(["git", "status", "--porcelain", "--untracked-files=no"])
    return (revision or "not known") + (", with changes" if changes else "")


def _output(command: list[str]) -> str:
    """Return the output of a program; empty if it is missing or fails."""
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
