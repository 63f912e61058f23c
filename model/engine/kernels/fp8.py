"""Whether FP8 weights can be multiplied as they are, by the kernels of transformers. Elsewhere they are de-quantised.

A trial makes the layers that transformers would make for a checkpoint, with few rows and columns, on the devices of its weights.
The package `kernels` may be of another version than transformers needs, may have no build for this PyTorch, and may be unable to
fetch or compile a kernel. Without the trial, transformers would find that out at the first question.
"""

import copy
import logging
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from longview.model.engine.transformers_names import (
    AutoQuantizationConfig,
    FP8Experts,
    FP8Linear,
    is_kernels_available,
    replace_with_fp8_linear,
)

log = logging.getLogger(__name__)

MIN_TRIAL_SIZE = 256
"""Minimum number of rows and columns of the weights in a trial: two blocks of published FP8 weights."""
TRIAL_TOKENS = 16
"""Number of tokens in a trial."""
TRIAL_EXPERTS = 2
"""Number of experts in a trial. Each token goes to one of them."""
EXPERTS_FUNCTION = "grouped_mm"
"""The function that transformers chooses for experts in FP8 (`PreTrainedModel.get_correct_experts_implementation`)."""
FP8_TOLERANCE = 0.1
"""Maximum relative error of a product in a trial. FP8 (e4m3) and bfloat16 hold its numbers almost exactly."""


def may_have_fp8_kernels(device_type: str) -> bool:
    """Whether there can be FP8 kernels for a type of device: `kernels` is installed in a version that transformers accepts."""
    return device_type == "cuda" and bool(is_kernels_available())


def can_multiply_fp8(config: Any, quantization: dict[str, Any], devices: Sequence[torch.device]) -> bool:
    """Whether the FP8 kernels run on all devices and are right, by one product of a linear layer and one of experts.

    `config`: of the language model; without experts there, none are tried. `quantization`: states the size of the blocks, the
    format of their scales, and how activations are scaled. `devices`: those of the weights. If there are several, transformers
    does without the kernels of DeepGEMM, which give wrong results on a second device of a process
    (`_disable_deepgemm_on_multi_device`). The trial does the same. Other sizes of layers, and experts in FP4, are not tried.
    """
    for device in devices:
        try:
            with torch.inference_mode():
                is_right = _are_products_right(_trial_model(config, quantization, device, is_divided=len(devices) > 1))
        except Exception as error:  # the hub, Triton and a compiler raise many kinds; each means "no kernel"
            log.info("FP8 kernels cannot be used on %s: %s", device, error)
            return False
        if not is_right:
            log.info("FP8 kernels give wrong products on %s", device)
            return False
    return True


def _trial_model(config: Any, quantization: dict[str, Any], device: torch.device, *, is_divided: bool) -> nn.Module:
    """Make a linear layer, and experts if the configuration has them, as transformers does. All weights and scales are 1.

    The weights behind the activation of the last expert are 2, to tell the experts apart.
    """
    fp8_config = AutoQuantizationConfig.from_dict(quantization)
    # Whole blocks in both directions.
    block = math.lcm(*(fp8_config.weight_block_size or (1,)))
    size = block * -(-MIN_TRIAL_SIZE // block)
    small_config = copy.deepcopy(config)
    model = nn.Module()
    model.config = small_config
    with torch.device("meta"):
        model.linear = nn.Linear(size, size, bias=False)
    if getattr(config, "num_experts", None):
        small_config.hidden_size = small_config.moe_intermediate_size = size
        small_config.num_experts = small_config.num_local_experts = TRIAL_EXPERTS
        small_config._experts_implementation = EXPERTS_FUNCTION
        model.mlp = nn.Module()
        # transformers replaces whatever has this name.
        model.mlp.experts = nn.Module()
        model.mlp.experts.config = small_config
    replace_with_fp8_linear(model, quantization_config=fp8_config)
    model.to_empty(device=device)
    for parameter in model.parameters():
        parameter.copy_(torch.ones(parameter.shape, device=device))
    for layer in model.modules():
        if isinstance(layer, FP8Linear | FP8Experts):
            layer._deepgemm_disabled = is_divided
        if isinstance(layer, FP8Experts):
            layer.down_proj[-1].copy_(torch.full(layer.down_proj.shape[1:], 2.0, device=device))
    return model


def _are_products_right(model: nn.Module) -> bool:
    """Whether the layers of a trial compute what they should, for tokens whose features add up to 1."""
    linear: Any = model.linear
    size, device = linear.in_features, linear.weight.device
    tokens = torch.full((TRIAL_TOKENS, size), 1 / size, dtype=torch.bfloat16, device=device)
    if not _are_close(linear(tokens), torch.ones(TRIAL_TOKENS, 1, device=device)):
        return False
    experts: Any = next((layer for layer in model.modules() if isinstance(layer, FP8Experts)), None)
    if experts is None:
        return True
    choice = torch.arange(TRIAL_TOKENS, device=device)[:, None] % TRIAL_EXPERTS
    outputs = experts(tokens, choice, torch.ones(TRIAL_TOKENS, 1, dtype=torch.bfloat16, device=device))
    activation = float(experts.act_fn(torch.ones(())))
    return _are_close(outputs, size * activation * torch.where(choice == TRIAL_EXPERTS - 1, 2.0, 1.0))


def _are_close(outputs: torch.Tensor, expected: torch.Tensor) -> bool:
    """Whether outputs (tokens, features) are those that are expected, float32 (tokens, 1). No output may be NaN."""
    return bool(((outputs.float() - expected).abs() < FP8_TOLERANCE * expected).all())
