"""Models with random weights: the configuration of the bundled checkpoint at a size, as the Qwen3-VL of transformers."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

from longview.model.engine.checkpoints.checkpoints import DEMO
from longview.model.engine.kernels import attention
from longview.model.training.configs import Size
from longview.model.training.curriculum import Stage


def configuration(size: Size) -> Any:
    """Return the `Qwen3VLConfig` of a size: `model/demo/config.json` with the differences of the size."""
    config = Qwen3VLConfig.from_pretrained(DEMO, local_files_only=True)
    for part, changes in ((config.text_config, size.text), (config.vision_config, size.vision)):
        for name, value in changes.items():
            setattr(part, name, value)
        part.dtype = torch.float32
    config.dtype = torch.float32
    return config


def random_model(size: Size, *, seed: int) -> Any:
    """Return a `Qwen3VLForConditionalGeneration` with random float32 weights on the CPU. The same seed gives the same weights."""
    torch.manual_seed(seed)
    model: Any = Qwen3VLForConditionalGeneration._from_config(
        configuration(size),
        dtype=torch.float32,
        attn_implementation={"text_config": "sdpa", "vision_config": attention.VISION_ATTENTION},
    )
    embed = model.model.visual.patch_embed
    # The kernel of this convolution covers its whole input. As a matrix product it is much faster in bfloat16.
    embed.forward = lambda pixels: functional.linear(
        pixels.to(embed.proj.weight.dtype), embed.proj.weight.flatten(1), embed.proj.bias
    )
    return model.train()


def trained_parameters(model: Any, stage: Stage) -> dict[str, nn.Parameter]:
    """Return the parameters of the model that a stage trains, by name."""
    return {name: parameter for name, parameter in model.named_parameters() if not stage.merger_only or _is_in_merger(name)}


def _is_in_merger(name: str) -> bool:
    return name.startswith(("model.visual.merger.", "model.visual.deepstack_merger_list."))


def freeze_except(model: Any, stage: Stage) -> None:
    """Disable the gradients of all parameters that a stage does not train."""
    trained = trained_parameters(model, stage)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in trained)


def hidden_states(
    model: Any, ids: torch.Tensor, positions: torch.Tensor, pixels: torch.Tensor, grid: tuple[int, int], **cache: Any
) -> torch.Tensor:
    """Return the hidden states (B, n, d) of the last layer for token ids (B, n) that contain videos of one size.

    `positions` (3, B, n); `pixels` (B * T * patches, values): output of `rendering.render_pixels`; `grid`: in visual tokens.
    """
    visual, language = model.model.visual, model.model.language_model
    merge = visual.spatial_merge_size
    rows, columns = (side * merge for side in grid)
    cu_seqlens = torch.tensor([0, len(pixels)], dtype=torch.int32)
    grid_thw = torch.tensor([[len(pixels) // (rows * columns), rows, columns]], device=pixels.device)
    vision = visual(pixels, grid_thw=grid_thw, cu_seqlens=cu_seqlens, patches_per_frame=rows * columns)
    mask = ids == model.config.video_token_id
    embeds = language.embed_tokens(ids)
    embeds = embeds.masked_scatter(mask.unsqueeze(-1), vision.pooler_output.to(embeds.dtype))
    output = language(
        inputs_embeds=embeds,
        position_ids=positions,
        visual_pos_masks=mask,
        deepstack_visual_embeds=vision.deepstack_features,
        **cache,
    )
    hidden: torch.Tensor = output.last_hidden_state
    return hidden
