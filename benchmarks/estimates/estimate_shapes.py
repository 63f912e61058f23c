"""Memory of the published checkpoints on a GPU, from their shapes: no weights, nothing to download.

    python -m benchmarks.estimates.estimate_shapes [--catalog]

`--catalog` prints the tables `shapes` of `model/catalog.toml`. Without it, this prints the table of docs/performance.md: for each
shape (`benchmarks.shapes`) and for sessions of 16K, 64K and 256K tokens the KV cache and the peak memory as
`longview.model.engine.costs.estimates` plans them, and the longest context that the engine would choose on cards of three
sizes. There is no column for time, because it depends on the card; `make check-gpu` measures it.
"""

import functools
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

import torch

from benchmarks.check_report import line
from benchmarks.shapes import MODEL_SHAPES, shape_config, shape_model
from longview.model.catalog import read_catalog
from longview.model.engine.costs.estimates import SNAPSHOTS, Estimates
from longview.model.engine.costs.model_shape import ModelShape
from longview.model.engine.costs.model_sizes import sizes_of

SESSION_TOKENS = (16_384, 65_536, 262_144)
CARDS_GB = (24, 48, 80)
USABLE_CARD_SHARE = 0.97
"""Share of a card's nominal memory, in GiB, that PyTorch can allocate. The driver and the context of CUDA take the rest (an H100
with 80 GB has about 78 GiB)."""
MIN_CONTEXT_TOKENS = 4096
"""Minimum context that is worth loading a checkpoint for: 2,048 tokens are reserved for the question and the reply."""


@dataclass(frozen=True)
class MemoryEstimate:
    """The memory of one shape in bfloat16 on one CUDA device, in bytes."""

    name: str
    weight_bytes: int
    state_bytes: int
    """States of the linear-attention layers of one session, without the copies that a session keeps of them."""
    kv_bytes: tuple[int, ...]
    """KV cache, for each of `SESSION_TOKENS`."""
    peak_bytes: tuple[int, ...]
    """Weights, cache, states with their copies, and activations, for each of `SESSION_TOKENS`."""
    context_tokens: tuple[int, ...]
    """Longest context of one session, for each of `CARDS_GB`; 0 where the weights leave no room."""


@functools.cache
def estimate_memory(name: str) -> MemoryEstimate:
    """Estimate the memory of a shape. The model is made on the device `meta`, so this takes no memory itself."""
    estimates = Estimates(sizes_of(shape_model(name, "meta", torch.bfloat16)), "cuda")
    fixed_bytes = estimates.weight_bytes + estimates.chunk_bytes
    max_tokens = int(shape_config(name).get_text_config().max_position_embeddings)

    def context_tokens(card_gb: int) -> int:
        # As `LocalEngine` chooses its context from the free memory.
        room_bytes = max(0.0, card_gb * USABLE_CARD_SHARE * 2**30 - fixed_bytes)
        tokens = estimates.shape.context_tokens(room_bytes)
        return min(tokens, max_tokens) if tokens >= MIN_CONTEXT_TOKENS else 0

    return MemoryEstimate(
        name,
        weight_bytes=estimates.weight_bytes,
        state_bytes=estimates.state_bytes // (1 + SNAPSHOTS),
        kv_bytes=tuple(estimates.kv_bytes_per_token * tokens for tokens in SESSION_TOKENS),
        peak_bytes=tuple(fixed_bytes + estimates.session_bytes(tokens) for tokens in SESSION_TOKENS),
        context_tokens=tuple(map(context_tokens, CARDS_GB)),
    )


def shape_costs(name: str) -> ModelShape:
    """Return the cost of a shape in bfloat16 on a CUDA device; of a name that ends in `-FP8`, with linear layers in 8 bits.

    The published FP8 checkpoints keep embeddings, head, vision tower, norms and convolutions in bfloat16. Their scales, one for
    each block of 128 x 128 weights, are left out here.
    """
    model = shape_model(name.removesuffix("-FP8"), "meta", torch.bfloat16)
    estimates = Estimates(sizes_of(model), "cuda")
    if not name.endswith("-FP8"):
        return estimates.shape
    text = model.config.get_text_config()
    active_share = getattr(text, "num_experts_per_tok", 1) / (getattr(text, "num_experts", None) or 1)
    quantized = [
        (parameter.numel(), active_share if ".experts." in key else 1.0)
        for key, parameter in model.model.language_model.layers.named_parameters()
        if parameter.ndim > 1 and "conv" not in key
    ]
    shape = estimates.shape
    saved, active_saved = sum(count for count, _ in quantized), sum(count * share for count, share in quantized)
    return replace(shape, weight_bytes=shape.weight_bytes - saved, active_bytes=shape.active_bytes - int(active_saved))


def catalog_tables(names: tuple[str, ...]) -> Iterator[str]:
    """Yield the lines of the shapes of the catalogue, as TOML."""
    for name in names:
        yield f'[shapes."{name}"]'
        yield from (f"{key} = {round(value)}" for key, value in asdict(shape_costs(name)).items())
        yield ""


def table() -> list[str]:
    """Return the lines of the table, one row per published shape."""
    tokens = [f"{count // 1024}K" for count in SESSION_TOKENS]
    heads = [
        "shape", "weights GiB", "states MiB", f"KV GiB {tokens[0]}", *tokens[1:], f"peak GiB {tokens[0]}", *tokens[1:],
        f"context on {CARDS_GB[0]} GB", *(f"{size} GB" for size in CARDS_GB[1:]),
    ]  # fmt: skip
    rows = [line(heads), "|---" * len(heads) + "|"]
    for name in MODEL_SHAPES:
        if name == "tiny":
            continue
        estimate = estimate_memory(name)
        states = f"{estimate.state_bytes / 2**20:.1f}" if estimate.state_bytes else "–"
        gibibytes = [f"{size / 2**30:.1f}" for size in (*estimate.kv_bytes, *estimate.peak_bytes)]
        contexts = [f"{count // 1024}K" if count else "–" for count in estimate.context_tokens]
        rows.append(line([name, f"{estimate.weight_bytes / 2**30:.1f}", states, *gibibytes, *contexts]))
    return rows


if __name__ == "__main__":
    print("\n".join(catalog_tables(tuple(read_catalog().shapes)) if "--catalog" in sys.argv else table()))
