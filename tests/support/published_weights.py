"""Weights of random checkpoints in the layouts and number formats of published files."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

BLOCK = 32
"""Rows and columns of a block of weights that has one scale."""
FP8_CONFIG = {
    "quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [BLOCK, BLOCK],
    "modules_to_not_convert": [
        "model.visual", "lm_head",
        *(f"model.language_model.layers.{layer}.{name}" for layer in range(8)
          for name in ("self_attn", "linear_attn", "mlp.gate", "mlp.shared_expert_gate")),
    ],
}  # fmt: skip

Weights = dict[str, torch.Tensor]


def read(folder: Path) -> Weights:
    return load_file(folder / "model.safetensors")


def write(folder: Path, weights: Weights) -> None:
    save_file({name: weight.contiguous() for name, weight in weights.items()}, folder / "model.safetensors", {"format": "pt"})


def change_config(folder: Path, **fields: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | fields))


def to_fp8(weights: Weights) -> tuple[Weights, Weights]:
    """Return weights as published files in FP8 have them, and the same de-quantised."""
    stored, plain = dict(weights), dict(weights)
    for name, weight in weights.items():
        if ".mlp." not in name or "visual" in name or "mlp.gate." in name or "shared_expert_gate" in name:
            continue
        blocks = weight.float().unflatten(-1, (-1, BLOCK)).unflatten(-3, (-1, BLOCK))
        scale = blocks.abs().amax((-3, -1), keepdim=True) / torch.finfo(torch.float8_e4m3fn).max
        quantized = (blocks / scale).to(torch.float8_e4m3fn)
        stored[name] = quantized.view(weight.shape)
        stored[f"{name}_scale_inv"] = scale[..., 0, :, 0].clone()
        plain[name] = (quantized.float() * scale).view(weight.shape)
    return stored, plain


def published(weights: Weights) -> Weights:
    """Return weights with the experts transposed as in the published files of Qwen3-VL, whose weights transformers transposes."""
    return {name: weight.transpose(1, 2) if ".mlp.experts." in name else weight for name, weight in weights.items()}


def separate(weights: Weights) -> Weights:
    """Return weights with one tensor for each expert and projection."""
    separate_weights: Weights = {}
    for name, weight in weights.items():
        stem, is_expert, projection = name.partition(".mlp.experts.")
        if not is_expert:
            separate_weights[name] = weight
            continue
        names = ("gate_proj", "up_proj") if "gate_up" in projection else ("down_proj",)
        suffix = "_scale_inv" if projection.endswith("_scale_inv") else ""
        for number, expert in enumerate(weight):
            for part, tensor in zip(names, expert.chunk(len(names)), strict=True):
                separate_weights[f"{stem}.mlp.experts.{number}.{part}.weight{suffix}"] = tensor
    return separate_weights
