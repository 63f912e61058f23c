"""Small checkpoints with random weights and the layouts of the published ones, and the tokenizer of the bundled one."""

from pathlib import Path
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

LAYOUTS = ("dense", "tied", "mixture of experts", "hybrid", "hybrid mixture of experts")
"""Names of the layouts. A hybrid has one layer with full attention after three with linear attention, as Qwen3.5."""
VISION = {
    "depth": 4, "hidden_size": 48, "num_heads": 3, "intermediate_size": 96, "out_hidden_size": 64, "patch_size": 16,
    "spatial_merge_size": 2, "temporal_patch_size": 2, "num_position_embeddings": 64,
}  # fmt: skip
ROPE = {"rope_type": "default", "rope_theta": 5e6, "mrope_interleaved": True}
TEXT = {
    "hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 562,
    "max_position_embeddings": 8192,
}  # fmt: skip
ATTENTION = {"num_hidden_layers": 5, "head_dim": 24, "rope_parameters": ROPE | {"mrope_section": [4, 4, 4]}}
HYBRID = {
    "num_hidden_layers": 8, "head_dim": 32, "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 16,
    "linear_value_head_dim": 16, "linear_conv_kernel_dim": 4,
    "rope_parameters": ROPE | {"mrope_section": [2, 1, 1], "partial_rotary_factor": 0.25},
}  # fmt: skip
EXPERTS = {"num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 32}


def random_model(layout: str, vision_options: dict[str, Any] | None = None, **text_options: Any) -> Any:
    """Make a model of a layout on the current device. The options replace settings of the vision tower and the language model."""
    vision = VISION | (vision_options or {})
    deepstack = {"deepstack_visual_indexes": [0, 1, 2]} | vision
    match layout:
        case "dense" | "tied":
            config: Any = Qwen3VLConfig(
                vision_config=deepstack, text_config=TEXT | ATTENTION | text_options, tie_word_embeddings=layout == "tied"
            )
            model_class: Any = Qwen3VLForConditionalGeneration
        case "mixture of experts":
            text = TEXT | ATTENTION | EXPERTS | {"decoder_sparse_step": 1} | text_options
            config, model_class = Qwen3VLMoeConfig(vision_config=deepstack, text_config=text), Qwen3VLMoeForConditionalGeneration
        case "hybrid":
            config = Qwen3_5Config(vision_config=vision, text_config=TEXT | HYBRID | text_options)
            model_class = Qwen3_5ForConditionalGeneration
        case "hybrid mixture of experts":
            text = TEXT | HYBRID | EXPERTS | {"shared_expert_intermediate_size": 32} | text_options
            config, model_class = Qwen3_5MoeConfig(vision_config=vision, text_config=text), Qwen3_5MoeForConditionalGeneration
        case _:
            raise ValueError(layout)
    bundled = AutoProcessor.from_pretrained(DEMO)
    for name in ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id"):
        setattr(config, name, getattr(bundled, name, getattr(config, name)))
    torch.manual_seed(5)
    model = model_class(config)
    # With the default initialisation, the logits hardly depend on the prompt. Larger weights make every part of it count.
    for name, weight in model.named_parameters():
        if name.endswith("A_log"):
            # The state forgets a token after 15 to 1,000 others; by default most of it is gone after one.
            weight.data.uniform_(0.001, 0.05).log_()
        elif weight.ndim > 1:
            weight.data.normal_(std=0.15 if "embed" not in name else 0.5)
    model.generation_config.eos_token_id = bundled.tokenizer.eos_token_id
    return model


def save_random_checkpoint(folder: Path, layout: str, **options: Any) -> None:
    """Write a checkpoint of a layout; see `random_model`."""
    random_model(layout, **options).save_pretrained(folder)
    AutoProcessor.from_pretrained(DEMO).save_pretrained(folder)
