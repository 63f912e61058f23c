"""Whether FP8 weights can be multiplied as they are, by the kernels of transformers. Elsewhere they are de-quantised."""

import importlib.util
import logging

import torch
from transformers.integrations.finegrained_fp8 import FP8Linear

log = logging.getLogger(__name__)

FP8_METHODS = frozenset({"fp8", "mxfp8"})
"""Quantisation methods whose kernels come from the package `kernels`; without it the weights are de-quantised."""
FP8_BLOCK = 128
"""Rows and columns that share a scale in published FP8 weights."""
FP8_TOLERANCE = 0.1
"""Maximum relative error of a product of ones. FP8 (e4m3) and bfloat16 hold it exactly."""


def may_have_fp8_kernels(device_type: str) -> bool:
    """Whether there can be FP8 kernels for a type of device. Nothing is loaded yet."""
    return device_type == "cuda" and importlib.util.find_spec("kernels") is not None


def can_multiply_fp8(device: torch.device) -> bool:
    """Whether the FP8 kernels run on a device and are right, by one product of ones.

    The package `kernels` may be of another version than transformers needs, may have no build for this PyTorch, and may be unable
    to fetch or compile a kernel. transformers would find that out at the first question. This loads what it would load then.
    """
    size, rows = 2 * FP8_BLOCK, 16
    try:
        with torch.inference_mode():
            layer = FP8Linear(size, size, block_size=(FP8_BLOCK, FP8_BLOCK)).to(device)
            layer.weight.copy_(torch.ones(size, size))
            layer.weight_scale_inv.fill_(1.0)
            product = layer(torch.ones(rows, size, dtype=torch.bfloat16, device=device))
            is_right = bool(((product - size).abs() < FP8_TOLERANCE * size).all())
    except Exception as error:  # the hub, Triton and a compiler raise many kinds; each means "no kernel"
        log.info("FP8 kernels cannot be used: %s", error)
        return False
    if not is_right:
        log.info("FP8 kernels give wrong products on %s", device)
    return is_right
