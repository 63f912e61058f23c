"""Bytes that one decoding step reads and writes, by arithmetic: the step runs on tensors without data, at published shapes.

    python -m benchmarks.hardware.step_bytes [SHAPE ...]

The session is that of a question about an hour of video: 180,000 tokens, behind which 38,000 positions are reserved for the words
of the video. "All positions" is a step that reads the reserved ones, too, as every step did before; "positions in use" is the
step of now. The limit is what any step must read: the weights that a token passes through, and the keys and values of all tokens.
Each operation is counted with the bytes of its inputs and outputs, as if nothing stayed in a cache of the processor; of a table
from which rows are taken, only these rows count. Two depths are counted, and the layers between them are extrapolated.
"""

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks.check_report import line
from benchmarks.shapes import CLASSES, MODEL_SHAPES, shape_config
from longview.model.engine.checkpoints.layer_types import read_layer_types
from longview.model.engine.costs.estimates import Estimates
from longview.model.engine.costs.model_sizes import sizes_of
from longview.model.engine.execution.cuda_graph import CudaGraphDecoder
from longview.model.engine.execution.kv_cache import PreallocatedCache
from longview.model.engine.kernels import attention
from longview.model.engine.loading import ATTENTION

SHAPES = (
    "Qwen3-VL-2B", "Qwen3-VL-8B", "Qwen3-VL-30B-A3B", "Qwen3-VL-235B-A22B", "Qwen3.5-0.8B", "Qwen3.5-9B", "Qwen3.5-35B-A3B",
)  # fmt: skip
VIDEO_TOKENS, RESERVED_TOKENS, TEXT_TOKENS = 180_000, 38_000, 200
"""Number of tokens of the video, of positions that are reserved behind it, and of the question and the reply so far."""
COLUMNS = ("shape", "all positions GB", "positions in use GB", "limit GB", "before / limit", "now / limit")
ROW_OPERATIONS = {"embedding", "index", "index_select", "gather"}
"""Operations that read some rows of their first input."""
WRITE_OPERATIONS = {"index_copy_", "index_put_"}
"""Operations that write some rows of their first input."""
VIEWS = {
    "view", "_unsafe_view", "transpose", "permute", "expand", "unsqueeze", "squeeze", "slice", "select", "as_strided", "t",
    "detach", "alias", "split", "split_with_sizes", "unbind", "empty", "empty_like", "new_empty", "empty_strided",
    "_reshape_alias", "lift_fresh", "unfold", "unsafe_split",
}  # fmt: skip
"""Operations that move no data."""


@dataclass(frozen=True)
class StepBytes:
    """The traffic of one decoding step, in bytes."""

    all_positions: float
    used_positions: float
    limit: float

    def cells(self, shape: str) -> tuple[str, ...]:
        """Return the cells of a row of the table."""
        figures = [f"{size / 1e9:.2f}" for size in (self.all_positions, self.used_positions, self.limit)]
        ratios = [f"{size / self.limit:.2f}" for size in (self.all_positions, self.used_positions)]
        return (shape, *figures, *ratios)


class _Traffic(TorchDispatchMode):
    """A counter of the bytes that operations read and write."""

    def __init__(self) -> None:
        super().__init__()
        self.size = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func._schema.name.split("::")[1]
        if name in ROW_OPERATIONS:
            self.count(result, result)
        elif name in WRITE_OPERATIONS:
            self.count(args[1:], args[-1])
        elif name not in VIEWS:
            self.count(args, kwargs, result)
        return result

    def count(self, *values: Any) -> None:
        """Count tensors; what is expanded over a dimension is read once."""
        for tensor in tree_leaves(values):
            if isinstance(tensor, torch.Tensor):
                sizes = [size for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride]
                self.size += math.prod(sizes) * tensor.element_size()


def step_bytes(shape: str) -> StepBytes:
    """Count the traffic of a decoding step at a published shape, in bfloat16.

    Raises:
        KeyError: there is no shape of this name.
    """
    layer_count = shape_config(shape).get_text_config().num_hidden_layers
    # A period of a hybrid has three linear layers and one with full attention.
    depths = (4, 8) if MODEL_SHAPES[shape][0].startswith("qwen3_5") else (1, 2)

    def total(*, reads_all: bool) -> float:
        short, long = (_traffic(shape, depth, reads_all=reads_all) for depth in depths)
        return short + (long - short) / (depths[1] - depths[0]) * (layer_count - depths[0])

    model = _model(shape, layer_count)
    estimates = Estimates(sizes_of(model), "cuda")
    kv_bytes = (VIDEO_TOKENS + TEXT_TOKENS) * estimates.kv_bytes_per_token
    return StepBytes(total(reads_all=True), total(reads_all=False), estimates.shape.active_bytes + kv_bytes)


def _model(shape: str, layer_count: int) -> Any:
    config = shape_config(shape)
    text = config.get_text_config()
    text.num_hidden_layers = layer_count
    if getattr(text, "layer_types", None):
        text.layer_types = text.layer_types[:layer_count]
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device("meta"):
            model = CLASSES[MODEL_SHAPES[shape][0]][1](config).eval()
    finally:
        torch.set_default_dtype(default)
    model.set_attn_implementation(dict(ATTENTION))
    if getattr(text, "num_experts", None):
        model.set_experts_implementation("batched_mm")
    return model


@torch.inference_mode()
def _traffic(shape: str, layer_count: int, *, reads_all: bool) -> int:
    model, traffic = _model(shape, layer_count), _Traffic()

    def attend_past(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *_: Any) -> tuple[torch.Tensor, torch.Tensor]:
        # A kernel is one operation, which the counter does not see.
        traffic.count(query, key, value, query)
        return torch.empty_like(query), torch.empty(query.shape[:3], dtype=torch.float32, device=query.device)

    text = model.config.get_text_config()
    cache = PreallocatedCache(read_layer_types(text, shape), VIDEO_TOKENS + RESERVED_TOKENS)
    with (
        mock.patch.dict(attention.KERNELS, {"meta": {}}),
        mock.patch.object(attention, "kernel_for", return_value=attend_past),
        mock.patch.object(attention, "_split_count", return_value=1),
    ):
        positions = torch.zeros(3, 1, 1, dtype=torch.long, device="meta")
        embeds = torch.empty(1, 1, text.hidden_size, device="meta", dtype=torch.bfloat16)
        model.model.language_model(inputs_embeds=embeds, position_ids=positions, past_key_values=cache, use_cache=True)
        for _ in range(VIDEO_TOKENS + TEXT_TOKENS - 1):
            cache.advance()
        decoder = CudaGraphDecoder(model, cache, prefix=VIDEO_TOKENS, rope_delta=0)
        ids = torch.zeros(1, 1, dtype=torch.long, device="meta")
        # The first step moves the end of what is read behind the tokens.
        decoder(ids)
        traffic.size = 0
        if reads_all:
            decoder._read_end = cache.capacity
        with traffic:
            decoder(ids)
    return traffic.size


def rows(shapes: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Yield the rows of the table."""
    for shape in shapes:
        yield step_bytes(shape).cells(shape)


def main() -> None:
    """Print the table for the shapes of the command line, or for seven published ones."""
    shapes = sys.argv[1:] or SHAPES
    if unknown := [shape for shape in shapes if shape not in MODEL_SHAPES]:
        sys.exit(f"There is no shape {unknown[0]}; use some of {', '.join(MODEL_SHAPES)}.")
    print(line(COLUMNS))
    print(line(["---"] * len(COLUMNS)))
    for row in rows(shapes):
        print(line(row), flush=True)


if __name__ == "__main__":
    main()
