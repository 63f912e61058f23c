"""Random weights: the bundled checkpoint's configuration at a size, as transformers' own Qwen3-VL."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

from longview.model.engine import attention
from longview.model.engine.checkpoints import DEMO
from longview.model.training.configs import Size
from longview.model.training.curriculum import Stage


def configuration(size: Size) -> Any:
    """The `Qwen3VLConfig` of a size: what `model/demo/config.json` says, but for the size."""
    config = Qwen3VLConfig.from_pretrained(DEMO, local_files_only=True)
    for part, changes in ((config.text_config, size.text), (config.vision_config, size.vision)):
        for name, value in changes.items():
            setattr(part, name, value)
        part.dtype = torch.float32
    config.dtype = torch.float32
    return config


def random_model(size: Size, *, seed: int) -> Any:
    """A `Qwen3VLForConditionalGeneration` of random float32 weights on the CPU, the same for the same seed."""
    torch.manual_seed(seed)
    model: Any = Qwen3VLForConditionalGeneration._from_config(
        configuration(size),
        dtype=torch.float32,
        attn_implementation={"text_config": "sdpa", "vision_config": attention.VISION_ATTENTION},
    )
    embed = model.model.visual.patch_embed
    # A convolution whose kernel covers its whole input is a product of matrices, and in bfloat16 much faster as one.
    embed.forward = lambda pixels: functional.linear(
        pixels.to(embed.proj.weight.dtype), embed.proj.weight.flatten(1), embed.proj.bias
    )
    return model.train()


def trained_parameters(model: Any, stage: Stage) -> dict[str, nn.Parameter]:
    """Those parameters of the model, by name, that a stage trains."""
    return {
        name: parameter for name, parameter in model.named_parameters() if not stage.merger_only or _joins_vision_and_text(name)
    }


def _joins_vision_and_text(name: str) -> bool:
    return name.startswith(("model.visual.merger.", "model.visual.deepstack_merger_list."))


def freeze_but(model: Any, stage: Stage) -> None:
    """Let only what the stage trains have gradients."""
    trained = trained_parameters(model, stage)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in trained)


def read(
    model: Any, ids: torch.Tensor, positions: torch.Tensor, pixels: torch.Tensor, grid: tuple[int, int], **cache: Any
) -> torch.Tensor:
    """Hidden states (B, n, d) behind the last layer for token ids (B, n) with videos of one size in them.

    `positions` (3, B, n); `pixels` (B * T * patches, values) as `rendering.pixels` makes them; `grid` in visual tokens.
    """
    visual, language = model.model.visual, model.model.language_model
    merge = visual.spatial_merge_size
    rows, columns = (side * merge for side in grid)
    whole = torch.tensor([0, len(pixels)], dtype=torch.int32)
    layout = torch.tensor([[len(pixels) // (rows * columns), rows, columns]], device=pixels.device)
    seen = visual(pixels, grid_thw=layout, cu_seqlens=whole, patches_per_frame=rows * columns)
    mask = ids == model.config.video_token_id
    embeds = language.embed_tokens(ids)
    embeds = embeds.masked_scatter(mask.unsqueeze(-1), seen.pooler_output.to(embeds.dtype))
    out = language(
        inputs_embeds=embeds,
        position_ids=positions,
        visual_pos_masks=mask,
        deepstack_visual_embeds=seen.deepstack_features,
        **cache,
    )
    hidden: torch.Tensor = out.last_hidden_state
    return hidden
