"""The activations of a chunk on a GPU take at most what the engine reserves for them, at the shapes of published checkpoints."""

from typing import Any

import pytest
import torch

from benchmarks.shapes import shape_model
from longview.model.engine.checkpoints.layer_types import read_layer_types
from longview.model.engine.costs.estimates import Estimates
from longview.model.engine.costs.model_sizes import sizes_of
from longview.model.engine.execution.frame_batches import CHUNK_TOKENS
from longview.model.engine.execution.kv_cache import PreallocatedCache
from longview.model.engine.execution.visual_inputs import use_indexed_deepstack
from longview.model.engine.kernels import attention
from longview.model.engine.kernels.patch_embedding import use_linear_patch_embedding
from longview.model.engine.loading import ATTENTION
from tests.support.tensor_memory import TensorMemory

FRAME_PX = (512, 896)
TOKENS_PER_PATCH = FRAME_PX[0] // 32 * (FRAME_PX[1] // 32)
TIMESTAMP_TOKENS = 10
PAST_TOKENS = 4


def attend_without_scores(query: torch.Tensor, *_: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what a kernel returns: it keeps no scores."""
    return torch.empty_like(query), torch.empty(query.shape[:3], dtype=torch.float32, device=query.device)


@pytest.mark.parametrize(
    "shape",
    [
        "Qwen3-VL-2B", "Qwen3-VL-4B", "Qwen3-VL-8B", "Qwen3-VL-32B", "Qwen3-VL-30B-A3B", "Qwen3-VL-235B-A22B", "Qwen3.5-0.8B",
        "Qwen3.5-9B", "Qwen3.5-35B-A3B",
    ],
)  # fmt: skip
@torch.inference_mode()
def test_a_chunk_takes_at_most_what_is_reserved(monkeypatch: pytest.MonkeyPatch, shape: str) -> None:
    monkeypatch.setitem(attention.KERNELS, "meta", {})
    monkeypatch.setattr(attention, "kernel_for", lambda *_, **__: attend_without_scores)
    monkeypatch.setattr(attention.functional, "scaled_dot_product_attention", lambda query, *_, **__: torch.empty_like(query))
    monkeypatch.setattr(attention, "_split_count", lambda *_: 1)
    model = shape_model(shape, "meta", torch.bfloat16)
    model.set_attn_implementation(dict(ATTENTION))
    text = model.config.get_text_config()
    if getattr(text, "num_experts", None):
        model.set_experts_implementation("grouped_mm")
    use_linear_patch_embedding(model)
    use_indexed_deepstack(model)
    patches = CHUNK_TOKENS["cuda"] // TOKENS_PER_PATCH
    visual_tokens, tokens = patches * TOKENS_PER_PATCH, patches * (TOKENS_PER_PATCH + TIMESTAMP_TOKENS)
    cache = PreallocatedCache(read_layer_types(text, shape), PAST_TOKENS + tokens)

    def run_language_model(embeds: torch.Tensor, **visual: Any) -> None:
        positions = torch.zeros(3, 1, embeds.shape[1], dtype=torch.long, device="meta")
        model.model.language_model(inputs_embeds=embeds, position_ids=positions, past_key_values=cache, use_cache=True, **visual)

    def empty(*size: int, dtype: torch.dtype = torch.bfloat16) -> torch.Tensor:
        return torch.empty(*size, dtype=dtype, device="meta")

    # The first tokens allocate the cache, which is no part of a chunk.
    run_language_model(empty(1, PAST_TOKENS, text.hidden_size))
    height, width = FRAME_PX
    with TensorMemory() as memory:
        # As `Prefill.patchify` and `Prefill.encode`.
        frames = empty(2 * patches, height, width, 3, dtype=torch.uint8).permute(0, 3, 1, 2).float()
        frames = (frames - empty(3, 1, 1)) / empty(3, 1, 1)
        blocks = frames.view(patches, 2, 3, height // 32, 2, 16, width // 32, 2, 16).permute(0, 3, 6, 4, 7, 2, 1, 5, 8)
        pixels = blocks.reshape(patches * (height // 16) * (width // 16), -1)
        del frames, blocks
        rows = len(pixels)
        visual = model.model.visual(
            pixels.to(torch.bfloat16),
            grid_thw=torch.tensor([[patches, height // 16, width // 16]]),
            cu_seqlens=torch.tensor([0, rows], dtype=torch.int32),
            patches_per_frame=(height // 16) * (width // 16),
            interp_indices=empty(rows, 4, dtype=torch.long),
            interp_weights=empty(rows, 4, dtype=torch.float32),
            position_ids=empty(rows, 2, dtype=torch.long),
        )
        del pixels
        embeds, indices = empty(1, tokens, text.hidden_size), torch.arange(visual_tokens, device="meta")
        embeds[0].index_copy_(0, indices, visual.pooler_output.to(embeds))
        deepstack = getattr(visual, "deepstack_features", None)
        arguments = {"visual_pos_masks": indices, "deepstack_visual_embeds": deepstack} if deepstack else {}
        run_language_model(embeds, **arguments)
    reserved_bytes = Estimates(sizes_of(model), "cuda").chunk_bytes
    assert 0.4 * reserved_bytes < memory.peak_bytes <= reserved_bytes
