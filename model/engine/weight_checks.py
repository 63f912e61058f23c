"""Checks of the weights of a checkpoint when they are loaded: transformers fills in what is missing with random numbers."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from safetensors import safe_open

from longview.model.engine.checkpoints.checkpoints import Checkpoint
from longview.model.engine.checkpoints.weight_files import SCALE_FORMATS, SCALE_SUFFIX, StoredTensor
from longview.model.errors import InvalidCheckpoint

MAX_NAMES = 3
"""Maximum number of tensors that a message names."""
UNAPPLIED_SUFFIXES = (SCALE_SUFFIX, "weight_scale", ".scale", ".qscale_weight")
"""Ends of the names of scales that a weight would need."""
CHECKED_NUMBERS = 1 << 26
"""Maximum number of weights that are checked at once. Those in FP8 are copied for it."""


def check_scales(checkpoint: Checkpoint, tensors: Mapping[str, StoredTensor]) -> None:
    """Check that all scales of weights in FP8 are positive numbers. They are a sixteen-thousandth of the weights.

    Raises:
        InvalidCheckpoint: the message names the file and the tensor.
    """
    names_by_file: dict[Any, list[str]] = {}
    for name, tensor in tensors.items():
        # Powers of two can be neither zero nor negative.
        if name.endswith((SCALE_SUFFIX, ".scale", ".qscale_weight")) and tensor.dtype not in SCALE_FORMATS:
            names_by_file.setdefault(tensor.file, []).append(name)
    for file, names in names_by_file.items():
        with safe_open(file, framework="pt") as opened_file:
            for name in names:
                scales = opened_file.get_tensor(name).float()
                if not bool(((scales > 0) & torch.isfinite(scales)).all()):
                    raise InvalidCheckpoint(
                        f"{checkpoint.name} is damaged: in {file}, the scales {name} are not all positive numbers; it was not "
                        "loaded."
                    )


def check_report(checkpoint: Checkpoint, report: Mapping[str, Any], tensors: Mapping[str, StoredTensor]) -> None:
    """Check transformers' report of the loaded keys.

    `report`: the names of `missing_keys`, `unexpected_keys` and `mismatched_keys`, as `output_loading_info` returns them.
    `tensors`: those of the files.

    Raises:
        InvalidCheckpoint: weights are missing or of another shape, or scales were not applied. The message names them.
    """
    files = f"{len({tensor.file for tensor in tensors.values()})} weight files of {checkpoint.folder}"
    if missing := sorted(report["missing_keys"]):
        raise InvalidCheckpoint(
            f"{checkpoint.name} is incomplete or of another architecture than its config.json states: the {files} lack "
            f"{_names(missing)}; it was not loaded."
        )
    if mismatched := sorted(report["mismatched_keys"]):
        texts = [f"{name} ({_shape(stored)} instead of {_shape(expected)})" for name, stored, expected in mismatched]
        raise InvalidCheckpoint(
            f"{checkpoint.name} does not agree with its config.json: in {_files(tensors, [item[0] for item in mismatched])}, "
            f"{_names(texts)}; it was not loaded."
        )
    if scales := sorted(name for name in report["unexpected_keys"] if name.endswith(UNAPPLIED_SUFFIXES)):
        raise InvalidCheckpoint(
            f"{checkpoint.name} has weights in FP8 in a layout that is not known here: the scales {_names(scales)} in "
            f"{_files(tensors, scales)} belong to no weight; it was not loaded."
        )


def check_finite(checkpoint: Checkpoint, model: torch.nn.Module) -> None:
    """Check that all weights are finite numbers. It takes as long as they are read once.

    Raises:
        InvalidCheckpoint: the message names the tensor.
    """
    for name, weights in model.named_parameters():
        if weights.is_meta or not weights.numel() or not weights.is_floating_point():
            continue
        if not all(map(_is_finite, weights.detach().flatten().split(CHECKED_NUMBERS))):
            raise InvalidCheckpoint(
                f"{checkpoint.name} is damaged: the tensor {name} in {checkpoint.folder} has numbers that are infinite or none; "
                "it was not loaded."
            )


def _is_finite(weights: torch.Tensor) -> bool:
    # FP8 has no operations but conversions; of its formats, e4m3 has NaN as well.
    lowest, highest = torch.aminmax(weights.to(torch.bfloat16) if weights.element_size() == 1 else weights)
    return bool(torch.isfinite(lowest) & torch.isfinite(highest))


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_NAMES:,} more" if len(names) > MAX_NAMES else ""
    return f"{', '.join(names[:MAX_NAMES])}{more}"


def _shape(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _files(tensors: Mapping[str, StoredTensor], names: Sequence[str]) -> str:
    """Return the files of tensors; all files for names that the model has and no file."""
    files = {tensors[name].file for name in names if name in tensors} or {tensor.file for tensor in tensors.values()}
    return ", ".join(sorted(map(str, files)))
