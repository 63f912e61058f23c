"""Shapes of the published checkpoints, to measure with random weights, and to estimate without any.

Sources: the `config.json` of Qwen3-VL-2B and -8B and of Qwen3.5-0.8B and -9B; for the others the tables of the Qwen3 and Qwen3.5
reports and cards. Qwen3.6-35B-A3B has the shape of Qwen3.5-35B-A3B. The vision towers of Qwen3.5-2B and -4B are not published
there; they are assumed to be that of Qwen3-VL-2B.
"""

from typing import Any

import torch
from transformers import (
    AutoProcessor,
    Qwen3_5Config,
    Qwen3_5ForConditionalGeneration,
    Qwen3_5MoeConfig,
    Qwen3_5MoeForConditionalGeneration,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLMoeConfig,
    Qwen3VLMoeForConditionalGeneration,
)

from longview.model.engine.checkpoints.checkpoints import DEMO

SMALL_VISION = {"depth": 24, "hidden_size": 1024, "intermediate_size": 4096, "deepstack_visual_indexes": [5, 11, 17]}
LARGE_VISION = {"depth": 27, "hidden_size": 1152, "intermediate_size": 4304, "deepstack_visual_indexes": [8, 16, 24]}
Shape = tuple[str, dict[str, Any], dict[str, Any], bool]
"""Architecture, settings of the language model and of the vision tower, and whether input and output embeddings are tied."""


def _text(layers: int, width: int, feed_forward: int, heads: int, kv_heads: int, **others: Any) -> dict[str, Any]:
    return {
        "num_hidden_layers": layers,
        "hidden_size": width,
        "intermediate_size": feed_forward,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        **others,
    }


def _linear(key_heads: int, value_heads: int) -> dict[str, Any]:
    return {"linear_num_key_heads": key_heads, "linear_num_value_heads": value_heads}


def _experts(count: int, width: int, active: int = 8) -> dict[str, Any]:
    return {"num_experts": count, "num_experts_per_tok": active, "moe_intermediate_size": width}


MODEL_SHAPES: dict[str, Shape] = {
    "Qwen3-VL-2B": ("qwen3_vl", _text(28, 2048, 6144, 16, 8), SMALL_VISION, True),
    "Qwen3-VL-4B": ("qwen3_vl", _text(36, 2560, 9728, 32, 8), SMALL_VISION, True),
    "Qwen3-VL-8B": ("qwen3_vl", _text(36, 4096, 12288, 32, 8), LARGE_VISION, False),
    "Qwen3-VL-32B": ("qwen3_vl", _text(64, 5120, 25600, 64, 8), LARGE_VISION, False),
    "Qwen3-VL-30B-A3B": ("qwen3_vl_moe", _text(48, 2048, 6144, 32, 4, **_experts(128, 768)), LARGE_VISION, False),
    "Qwen3-VL-235B-A22B": ("qwen3_vl_moe", _text(94, 4096, 12288, 64, 4, **_experts(128, 1536)), LARGE_VISION, False),
    "Qwen3.5-0.8B": (
        "qwen3_5",
        _text(24, 1024, 3584, 8, 2, **_linear(16, 16)),
        {"depth": 12, "hidden_size": 768, "intermediate_size": 3072, "num_heads": 12},
        True,
    ),
    "Qwen3.5-2B": ("qwen3_5", _text(24, 2048, 6144, 8, 2, **_linear(16, 16)), SMALL_VISION, True),
    "Qwen3.5-4B": ("qwen3_5", _text(32, 2560, 9216, 16, 4, **_linear(16, 32)), SMALL_VISION, True),
    "Qwen3.5-9B": ("qwen3_5", _text(32, 4096, 12288, 16, 4, **_linear(16, 32)), LARGE_VISION, False),
    "Qwen3.5-27B": ("qwen3_5", _text(64, 5120, 17408, 24, 4, **_linear(16, 48)), LARGE_VISION, False),
    "Qwen3.5-35B-A3B": (
        "qwen3_5_moe",
        _text(40, 2048, 512, 16, 2, **_linear(16, 32), **_experts(256, 512), shared_expert_intermediate_size=512),
        LARGE_VISION,
        False,
    ),
    "Qwen3.5-397B-A17B": (
        "qwen3_5_moe",
        _text(60, 4096, 1024, 32, 2, **_linear(16, 64), **_experts(512, 1024, 10), shared_expert_intermediate_size=1024),
        LARGE_VISION,
        False,
    ),
    "tiny": (
        "qwen3_vl",
        _text(6, 256, 768, 4, 2, head_dim=64, mrope_section=[8, 12, 12]),
        {"depth": 4, "hidden_size": 128, "intermediate_size": 512, "num_heads": 4, "deepstack_visual_indexes": [0, 1, 2]},
        True,
    ),
}  # fmt: skip
CLASSES: dict[str, tuple[Any, Any]] = {
    "qwen3_vl": (Qwen3VLConfig, Qwen3VLForConditionalGeneration),
    "qwen3_vl_moe": (Qwen3VLMoeConfig, Qwen3VLMoeForConditionalGeneration),
    "qwen3_5": (Qwen3_5Config, Qwen3_5ForConditionalGeneration),
    "qwen3_5_moe": (Qwen3_5MoeConfig, Qwen3_5MoeForConditionalGeneration),
}


def shape_config(name: str) -> Any:
    """Return the configuration of a shape, with the special tokens of the bundled tokenizer."""
    architecture, text, vision, is_tied = MODEL_SHAPES[name]
    is_hybrid = architecture.startswith("qwen3_5")
    rope = {"rope_type": "default", "rope_theta": 1e7 if is_hybrid else 5e6, "mrope_interleaved": True}
    if is_hybrid:
        rope |= {"mrope_section": [11, 11, 10], "partial_rotary_factor": 0.25}
        common = {
            "head_dim": 256,
            "vocab_size": 248_320,
            "linear_key_head_dim": 128,
            "linear_value_head_dim": 128,
            "linear_conv_kernel_dim": 4,
        }
    else:
        rope |= {"mrope_section": text.get("mrope_section", [24, 20, 20])}
        common = {"head_dim": 128, "vocab_size": 151_936}
    settings = common | {"max_position_embeddings": 262_144, "rope_parameters": rope} | text
    vision = {"num_heads": 16, "num_position_embeddings": 2304, "out_hidden_size": text["hidden_size"]} | vision
    if is_hybrid:
        vision = {key: value for key, value in vision.items() if key != "deepstack_visual_indexes"}
    config = CLASSES[architecture][0](text_config=settings, vision_config=vision, tie_word_embeddings=is_tied)
    tokens = AutoProcessor.from_pretrained(DEMO)
    for token in ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id"):
        setattr(config, token, getattr(tokens, token, getattr(config, token)))
    config.get_text_config().tie_word_embeddings = is_tied
    return config


def shape_model(name: str, device: str, dtype: torch.dtype) -> Any:
    """Make a model of a shape with random weights on a device; without weights on `meta`."""
    config = shape_config(name)
    torch.manual_seed(0)
    default = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            return CLASSES[MODEL_SHAPES[name][0]][1](config).eval()
    finally:
        torch.set_default_dtype(default)
