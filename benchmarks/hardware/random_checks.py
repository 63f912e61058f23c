"""Checks of the engine with small random checkpoints of every published layout. Each function yields the rows of a step."""

import contextlib
import functools
import importlib
import inspect
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from benchmarks.check_report import NOT_RUN, Row
from benchmarks.hardware.engine_checks import (
    Finding,
    check_exact_float32,
    check_graph_steps,
    check_offload,
    check_rows,
    check_two_recordings,
    compare_rounding,
    logits_of_engine,
    logits_of_transformers,
    random_frames,
)
from benchmarks.hardware.memory_checks import LARGE_HEADS, check_memory_shortage
from longview.model.engine.checkpoints.checkpoints import find_checkpoint
from longview.model.engine.kernels.flash_linear_attention import use_linear_attention_kernels
from longview.model.engine.local import LocalEngine
from tests.support.random_checkpoints import save_random_checkpoint

LINEAR_FUNCTIONS = (
    "torch_chunk_gated_delta_rule", "torch_recurrent_gated_delta_rule", "causal_conv1d_fn", "causal_conv1d_update",
)  # fmt: skip
"""Functions of transformers' module of Qwen3.5 that run a fast kernel where its package is installed."""
LINEAR_HEADS = {"linear_key_head_dim": 128, "linear_value_head_dim": 128}
"""Head sizes of the published hybrids, for which the fast kernels were written."""


@contextlib.contextmanager
def random_engine(layout: str, device: str, folder: Path, **text_options: Any) -> Iterator[LocalEngine]:
    """Load a random checkpoint of a layout in bfloat16, as an accelerator does."""
    save_random_checkpoint(folder, layout, **text_options)
    # Convolutions round float32 to 10 bits of mantissa by default.
    allows_tf32, torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.allow_tf32, False
    try:
        yield LocalEngine(find_checkpoint(str(folder)), device=device, cpu_threads=1, precision="bfloat16")
    finally:
        torch.backends.cudnn.allow_tf32 = allows_tf32


def layout_rows(layout: str, device: str) -> Iterator[Row]:
    """Check exactness, CUDA graphs and offloading for one layout, in bfloat16 and then, with the same weights, in float32."""
    video = random_frames()
    with tempfile.TemporaryDirectory() as folder, random_engine(layout, device, Path(folder)) as engine:
        logits, plain = logits_of_engine(engine), logits_of_transformers(engine)
        yield from check_rows([(f"{layout}, bfloat16: CUDA graph", lambda: check_graph_steps(engine, video))])
        engine.model.float()

        def check_rounding() -> Finding:
            finding = compare_rounding(logits, plain, logits_of_transformers(engine))
            return Finding(finding.is_right, finding.figures.replace("the other", "transformers"))

        yield from check_rows(
            [
                (f"{layout}, bfloat16: rounding", check_rounding),
                (f"{layout}, float32: against transformers", lambda: check_exact_float32(engine)),
                (f"{layout}, float32: CUDA graph", lambda: check_graph_steps(engine, video)),
                (f"{layout}: two sessions record at once", lambda: check_two_recordings(engine, video)),
                (f"{layout}: offload to the host and back", lambda: check_offload(engine, video)),
            ]
        )


def memory_rows(device: str) -> Iterator[Row]:
    """Check what happens when the memory of the device is short."""
    with (
        tempfile.TemporaryDirectory() as folder,
        random_engine("dense", device, Path(folder) / "checkpoint", **LARGE_HEADS) as engine,
    ):
        yield from check_rows([("memory shortage", functools.partial(check_memory_shortage, engine, Path(folder)))])


def linear_kernel_rows(device: str) -> Iterator[Row]:
    """Compare the fast kernels of linear-attention layers with transformers' own torch operations, where they are installed."""
    name = "kernels of linear attention"
    if device != "cuda":
        yield Row((name, NOT_RUN, "they need a GPU"))
        return
    with tempfile.TemporaryDirectory() as folder, random_engine("hybrid", device, Path(folder), **LINEAR_HEADS) as engine:
        # Loading has tried them; the reason is asked for here.
        problem = use_linear_attention_kernels("random weights", engine.model)
        if problem is not None:
            yield Row((name, NOT_RUN, problem))
            return

        def check() -> Finding:
            fast = logits_of_engine(engine)
            with torch_linear_attention("qwen3_5"):
                plain = logits_of_engine(engine)
                engine.model.float()
                finding = compare_rounding(fast, plain, logits_of_engine(engine))
            return Finding(finding.is_right, finding.figures.replace("the other", "torch operations"))

        yield from check_rows([(name, check)])


@contextlib.contextmanager
def torch_linear_attention(architecture: str) -> Iterator[None]:
    """Run linear-attention layers by transformers' torch operations, also where fast kernels are installed.

    Raises:
        RuntimeError: this version of transformers selects the kernels in another way.
    """
    module = importlib.import_module(f"transformers.models.{architecture}.modeling_{architecture}")
    with contextlib.ExitStack() as stack:
        for name in LINEAR_FUNCTIONS:
            function = getattr(module, name)
            if (fallback := inspect.unwrap(function)) is function:
                raise RuntimeError(f"transformers' {name} has no fall-back that can be compared")
            stack.enter_context(mock.patch.object(module, name, fallback))
        yield
