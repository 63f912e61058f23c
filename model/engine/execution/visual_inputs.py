"""Inputs of the vision tower and of the language model that depend on the size of the frames, computed on the host.

transformers computes them on the device, and then reads sizes and masks back. The host would wait for all that a GPU has queued.
"""

from types import MethodType
from typing import Any

import torch

from longview.model.engine.transformers_names import get_vision_interpolation_indices_and_weights, get_vision_position_ids


def send_to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Copy a tensor from the host to a device. The host does not wait for a GPU."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def vision_positions(visual: Any, grid: torch.Tensor, device: torch.device) -> dict[str, torch.Tensor]:
    """Return the arguments of a vision tower that it would compute from a grid (1, 3) on the host: positions of its patches.

    The names and the calls are those of transformers (`Qwen3VLVisionModel.forward`, `Qwen3_5VisionModel.forward`).
    """
    indices, weights = get_vision_interpolation_indices_and_weights(
        grid,
        num_grid_per_side=visual.num_grid_per_side,
        mode=visual.interpolation_mode,
        align_corners=visual.interpolation_align_corners,
        spatial_merge_size=visual.config.spatial_merge_size,
    )
    positions = get_vision_position_ids(grid, visual.spatial_merge_size)
    inputs = {"interp_indices": indices, "interp_weights": weights, "position_ids": positions}
    return {name: send_to_device(tensor, device) for name, tensor in inputs.items()}


def use_indexed_deepstack(model: Any) -> None:
    """Let a model add DeepStack features at the indices of the visual tokens, int64 (n,), in place of a mask.

    How many tokens a mask selects is known on the device only. Language models without DeepStack stay as they are.
    """
    language = model.model.language_model
    if not hasattr(language, "_deepstack_process"):
        return
    add_by_mask = language._deepstack_process

    def add(_: Any, hidden_states: torch.Tensor, visual_pos_masks: torch.Tensor, visual_embeds: torch.Tensor) -> torch.Tensor:
        if visual_pos_masks.dtype == torch.bool:
            # transformers itself calls it, for example to compare its results.
            added: torch.Tensor = add_by_mask(hidden_states, visual_pos_masks, visual_embeds)
            return added
        indices, features = visual_pos_masks.to(hidden_states.device), visual_embeds.to(hidden_states)
        sums = hidden_states[0, indices] + features
        return hidden_states.index_copy(1, indices, sums.unsqueeze(0))

    language._deepstack_process = MethodType(add, language)
