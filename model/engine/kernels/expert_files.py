"""Loading of the experts of Qwen3-VL from layouts of files that transformers does not convert.

The published files have the experts of a layer in one tensor, transposed: [experts, inputs, outputs]. transformers 5.23
transposes weights in bfloat16 (`conversion_mapping.py`, "qwen3_vl_moe"), but those in FP8 have scales beside them, which it
neither transposes nor applies: without an error, the raw numbers of FP8 become the weights. Files of a fine-tune may have one
tensor for each expert, as those of other families, of which it would find none.
"""

import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from longview.model.engine.checkpoints.weight_files import SCALE_SUFFIX
from longview.model.engine.transformers_names import (
    Fp8Dequantize,
    Transpose,
    WeightConverter,
    get_checkpoint_conversion_mapping,
    register_checkpoint_conversion_mapping,
)

MODEL_TYPE = "qwen3_vl_moe"
SEPARATE_EXPERTS_TYPE = "qwen2_moe"
"""Architecture whose conversion merges tensors of single experts."""
FUSED_NAMES = ("mlp.experts.gate_up_proj", "mlp.experts.down_proj")

_lock = threading.Lock()
"""Held while a checkpoint of this kind is loaded, because transformers has one table of conversions for the process."""


class DequantizeFused(Fp8Dequantize):
    """Conversion of the experts of a layer and their scales: FP8 [experts, inputs, outputs] -> the shape and format of the model.

    transformers' own operation pairs names that end in `.weight` only.
    """

    def convert(
        self, input_dict: dict[str, Any], full_layer_name: str | None = None, model: Any = None, **_: Any
    ) -> dict[str, torch.Tensor]:
        """See `ConversionOps.convert`."""
        tensors = {name: value[0] if isinstance(value, list) else value for name, value in input_dict.items()}
        (scales,) = (tensor for name, tensor in tensors.items() if SCALE_SUFFIX in name)
        (weights,) = (tensor for name, tensor in tensors.items() if SCALE_SUFFIX not in name)
        weights = self._dequantize_one(weights, scales, output_dtype=self._get_target_dtype(model, full_layer_name))
        assert full_layer_name is not None
        if weights.shape != model.get_parameter(full_layer_name).shape:
            weights = weights.transpose(1, 2).contiguous()
        return {full_layer_name: weights}


@contextmanager
def expert_conversion(config: Any, names: Collection[str], *, is_fp8: bool, is_dequantized: bool) -> Iterator[None]:
    """Let transformers convert the experts of a checkpoint of Qwen3-VL while it is loaded. Other architectures need nothing.

    `names`: of the tensors in the files. `is_fp8`: whether the weights of the files are in FP8; `is_dequantized`: whether they
    are de-quantised while they are loaded.
    """
    conversion = None if config.model_type != MODEL_TYPE else _conversion(names, is_fp8=is_fp8, is_dequantized=is_dequantized)
    if conversion is None:
        yield
        return
    with _lock:
        original = get_checkpoint_conversion_mapping(MODEL_TYPE)
        register_checkpoint_conversion_mapping(MODEL_TYPE, conversion, overwrite=True)
        try:
            yield
        finally:
            register_checkpoint_conversion_mapping(MODEL_TYPE, original, overwrite=True)


def _conversion(names: Collection[str], *, is_fp8: bool, is_dequantized: bool) -> list[Any] | None:
    """Return the conversion of a layout of files; None for that which transformers converts itself."""
    if not any(name.endswith(FUSED_NAMES) for name in names):
        return list(get_checkpoint_conversion_mapping(SEPARATE_EXPERTS_TYPE))
    if not is_fp8:
        return None
    conversion = []
    for name in FUSED_NAMES:
        weights, scales = f"{name}(?!_scale)", f"{name}{SCALE_SUFFIX}"
        if is_dequantized:
            conversion.append(WeightConverter([scales, weights], name, [DequantizeFused(None)]))
        else:
            # The first pattern that fits a name is used.
            conversion.append(WeightConverter(scales, scales, [Transpose(1, 2, check_dims=True)]))
            conversion.append(WeightConverter(weights, name, [Transpose(1, 2, check_dims=True)]))
    return conversion
