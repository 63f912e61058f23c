"""The sizes of a model that its costs follow from: of a loaded one, or of a checkpoint by its files, without PyTorch.

The files are `config.json` and the headers of the safetensors files, which name each tensor and its shape.
"""

import itertools
import json
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from longview.model.engine.checkpoints.checkpoints import OOD_DETECTOR_FILE
from longview.model.engine.checkpoints.layer_types import FULL_ATTENTION, LINEAR_ATTENTION

PACKED_BYTES = "weight_bytes"
"""Attribute of layers whose weights are packed (`longview.model.engine.kernels.precision.Int8Linear`): their size in bytes."""
MAX_HEADER_BYTES = 100 << 20
"""Maximum size of the header of a safetensors file, in bytes, as the format itself limits it."""
NEEDED_TEXT = ("hidden_size", "num_attention_heads", "num_hidden_layers", "vocab_size")
NEEDED_VISION = (
    "depth", "hidden_size", "intermediate_size", "num_heads", "patch_size", "spatial_merge_size", "temporal_patch_size",
)  # fmt: skip
"""Settings that estimates need. transformers has defaults for them, which `config.json` may leave out."""
NEEDED_WIDTHS = (("intermediate_size",), ("moe_intermediate_size", "num_experts_per_tok", "num_experts"))
"""Settings of the feed-forward layers, one of which is needed: dense, or with experts."""
NEEDED_LINEAR = (
    "linear_num_key_heads", "linear_num_value_heads", "linear_key_head_dim", "linear_value_head_dim", "linear_conv_kernel_dim",
)  # fmt: skip
"""The same for a language model with linear-attention layers."""


@dataclass(frozen=True)
class ModelSizes:
    """The sizes of a model in one number format."""

    text: Any
    """Configuration of the language model: settings by name, as attributes."""
    vision: Any
    """Configuration of the vision tower."""
    element_bytes: int
    """Size of a number of the weights, and of the KV cache, in bytes."""
    weight_bytes: int
    """Size of the weights in memory."""
    text_weights: float
    """Number of weights that a text token is multiplied with, without the head. Of the experts, only active ones count."""
    vision_weights: float
    """Number of weights that a vision patch is multiplied with."""


def sizes_of(model: Any) -> ModelSizes:
    """Return the sizes of a model that transformers made. The weights are not read, so it may be on the device `meta`."""
    text = model.config.get_text_config()
    tensors = itertools.chain(model.parameters(), model.buffers())
    packed_bytes = sum(getattr(module, PACKED_BYTES, 0) for module in model.modules())
    share = _active_share(text)
    return ModelSizes(
        text=text,
        vision=model.config.vision_config,
        element_bytes=int(model.dtype.itemsize),
        weight_bytes=packed_bytes + sum(tensor.numel() * tensor.element_size() for tensor in tensors),
        text_weights=sum(
            _count_weights(module) * (share if name.endswith(".experts") or ".experts." in name else 1)
            for name, module in model.model.language_model.named_modules()
            if "embed_tokens" not in name
        ),
        vision_weights=sum(_count_weights(module) for module in model.model.visual.modules()),
    )


def _count_weights(module: Any) -> int:
    """Count the weights of a module without those of its children."""
    if hasattr(module, PACKED_BYTES):
        return int(module.in_features * module.out_features)
    return sum(weight.numel() for weight in module.parameters(recurse=False))


def _active_share(text: Any) -> float:
    """Return the share of the experts that a token passes through; 1 without experts."""
    return (getattr(text, "num_experts_per_tok", None) or 1) / (getattr(text, "num_experts", None) or 1)


def read_sizes(folder: Path, element_bytes: int) -> ModelSizes | None:
    """Return the sizes of the checkpoint in a folder, in a number format; None if its files do not state all of them.

    Weights that are quantised in the files are not counted, because it depends on the machine how they are loaded.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if config.get("quantization_config"):
            return None
        text, vision = SimpleNamespace(**config["text_config"]), SimpleNamespace(**config["vision_config"])
        # transformers writes the number of experts by another name than it reads.
        text.num_experts = getattr(text, "num_experts", None) or getattr(text, "num_local_experts", None)
        if not _states_all(text, vision):
            return None
        text.layer_types = getattr(text, "layer_types", None) or _layer_types(text)
        paths = [path for path in folder.glob("*.safetensors") if path.name != OOD_DETECTOR_FILE]
        numbers = dict(itertools.chain.from_iterable(map(_numbers_of_tensors, paths)))
    except (OSError, ValueError, TypeError, KeyError, AttributeError, struct.error, RecursionError):
        return None
    is_tied = bool(config.get("tie_word_embeddings", getattr(text, "tie_word_embeddings", False)))
    return _count_tensors(numbers, text, vision, element_bytes, is_tied=is_tied)


def _states_all(text: Any, vision: Any) -> bool:
    needed_text = NEEDED_TEXT + (NEEDED_LINEAR if hasattr(text, NEEDED_LINEAR[0]) else ())
    widths = NEEDED_WIDTHS[1] if text.num_experts else NEEDED_WIDTHS[0]
    return all(isinstance(getattr(text, name, None), int) for name in needed_text + widths) and all(
        isinstance(getattr(vision, name, None), int) for name in NEEDED_VISION
    )


def _layer_types(text: Any) -> list[str]:
    """Return the kinds of the layers where a configuration states every how many layers one has full attention."""
    interval = int(getattr(text, "full_attention_interval", 1))
    return [LINEAR_ATTENTION if (index + 1) % interval else FULL_ATTENTION for index in range(text.num_hidden_layers)]


def _numbers_of_tensors(path: Path) -> Iterator[tuple[str, int]]:
    """Yield the names of the tensors of a safetensors file, and how many numbers each has."""
    with path.open("rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        if size > MAX_HEADER_BYTES:
            raise ValueError(f"the header of {path.name} is too long")
        header: dict[str, Any] = json.loads(file.read(size))
    for name, tensor in header.items():
        if name != "__metadata__":
            yield name, math.prod(tensor["shape"])


def _count_tensors(numbers: dict[str, int], text: Any, vision: Any, element_bytes: int, *, is_tied: bool) -> ModelSizes | None:
    share = _active_share(text)
    text_weights = vision_weights = total = 0.0
    for name, count in numbers.items():
        parts = name.split(".")
        # The head is the matrix of the embeddings, or one of its own. transformers loads no head that predicts several tokens.
        if "mtp" in parts or ("lm_head" in parts and is_tied):
            continue
        total += count
        if "visual" in parts:
            vision_weights += count
        elif "embed_tokens" not in parts and "lm_head" not in parts:
            text_weights += count * (share if "experts" in parts else 1)
    if not (text_weights and vision_weights):
        return None
    return ModelSizes(text, vision, element_bytes, int(total) * element_bytes, text_weights, vision_weights)
