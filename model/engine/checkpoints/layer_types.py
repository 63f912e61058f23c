"""The kinds of layers of a language model, by its configuration."""

from typing import Any

from longview.model.errors import InvalidCheckpoint

FULL_ATTENTION, LINEAR_ATTENTION = "full_attention", "linear_attention"
"""Kinds of layers, as transformers names them in `layer_types`."""

GATED_DELTANET_SETTING = "linear_num_value_heads"
"""Setting that only configurations with Gated DeltaNet layers have. Other linear layers keep states that are not copied here."""


def read_layer_types(text_config: Any, checkpoint_name: str) -> tuple[str, ...]:
    """Return the kind of each layer of a language model.

    Raises:
        InvalidCheckpoint: the cache of one of the layers cannot be cropped to the end of the video.
    """
    layer_types = tuple(getattr(text_config, "layer_types", None) or [FULL_ATTENTION] * int(text_config.num_hidden_layers))
    supported_types = {FULL_ATTENTION} | ({LINEAR_ATTENTION} if hasattr(text_config, GATED_DELTANET_SETTING) else set())
    unknown = sorted({*layer_types} - supported_types)
    if unknown or FULL_ATTENTION not in layer_types:
        kinds = " and ".join(unknown) or "linear attention alone"
        raise InvalidCheckpoint(
            f"{checkpoint_name} has layers with {kinds.replace('_', ' ')}, whose cache Longview cannot crop to the end of the "
            "video; use a checkpoint with full attention, or full and linear attention, such as Qwen3-VL or Qwen3.5."
        )
    return layer_types
