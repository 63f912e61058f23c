"""Loading of a checkpoint: files -> processor and model, on one device or divided over several.

What is missing is said before any weight is read: kinds of layers, packages of a quantised checkpoint, memory.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from longview.model.engine.checkpoints.checkpoints import Checkpoint
from longview.model.engine.checkpoints.layer_types import read_layer_types
from longview.model.engine.checkpoints.precision_names import FLOAT32_SHARE, MIN_LARGE_BYTES, Precision
from longview.model.engine.checkpoints.weight_files import (
    FP8_METHODS,
    StoredTensor,
    check_formats,
    check_weights,
    sizes_in_memory,
)
from longview.model.engine.costs.number_formats import format_times
from longview.model.engine.devices import check_bfloat16, devices_of, memory_bytes, memory_errors
from longview.model.engine.execution.visual_inputs import use_indexed_deepstack
from longview.model.engine.kernels import attention, experts
from longview.model.engine.kernels.expert_files import expert_conversion
from longview.model.engine.kernels.flash_linear_attention import use_linear_attention_kernels
from longview.model.engine.kernels.fp8 import can_multiply_fp8, may_have_fp8_kernels
from longview.model.engine.kernels.linear_attention import use_cpu_linear_attention
from longview.model.engine.kernels.patch_embedding import use_linear_patch_embedding
from longview.model.engine.kernels.precision import quantize_linear_layers, use_matrix_vector_products
from longview.model.engine.placement import WEIGHTS_ADVICE, place_weights
from longview.model.engine.transformers_names import (
    AutoConfig,
    AutoHfQuantizer,
    AutoModelForImageTextToText,
    AutoProcessor,
    transformers_logging,
)
from longview.model.engine.weight_checks import check_finite, check_report, check_scales
from longview.model.errors import InvalidCheckpoint

log = logging.getLogger(__name__)

ATTENTION = {"text_config": attention.TEXT_ATTENTION, "vision_config": attention.VISION_ATTENTION}


def load_config(checkpoint: Checkpoint) -> Any:
    """Load the configuration, with the YaRN factor of the checkpoint.

    Raises:
        InvalidCheckpoint: transformers does not know the architecture.
    """
    try:
        config = AutoConfig.from_pretrained(checkpoint.folder, trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise InvalidCheckpoint(f"{checkpoint.name} cannot be loaded: {error}") from error
    text = config.get_text_config()
    if checkpoint.yarn_factor > 1:
        text.rope_parameters = text.rope_parameters | {
            "rope_type": "yarn",
            "factor": checkpoint.yarn_factor,
            "original_max_position_embeddings": text.max_position_embeddings,
        }
        text.max_position_embeddings = checkpoint.max_context_tokens
    return config


def load_model(
    checkpoint: Checkpoint, device_type: str, precision: Precision = "auto", cache: Path | None = None
) -> tuple[Any, Any]:
    """Load the processor and the model of a checkpoint.

    `precision`: the number format on a CPU; accelerators always use bfloat16. `cache`: see `format_times`.

    Raises:
        InvalidCheckpoint: the folder cannot be loaded by transformers, a file of it is damaged, or a package is missing.
        OutOfMemory: the weights do not fit.
    """
    # The application shows progress itself.
    transformers_logging.disable_progress_bar()
    config = load_config(checkpoint)
    # It refuses layers of other kinds.
    read_layer_types(config.get_text_config(), checkpoint.name)
    check_bfloat16(device_type)
    prepare_quantization(checkpoint, config, device_type)
    if device_type == "cpu" and precision == "int8" and is_mixture_of_experts(config):
        raise InvalidCheckpoint(f"{checkpoint.name} has experts, which cannot be in 8 bits here; use --precision bfloat16.")
    tensors = check_weights(checkpoint)
    stated = quantization_of(config)
    check_formats(checkpoint, tensors, stated.get("quant_method"), stated.get("weight_block_size"))
    float32_bytes = sum(loaded_sizes(tensors, config, torch.float32).values())
    dtype = choose_dtype(float32_bytes, device_type, precision, cache)
    placement = place_checkpoint(checkpoint, tensors, config, dtype, devices_of(device_type))
    size_bytes = sum(loaded_sizes(tensors, config, dtype).values())
    log.info("loading %s (%.1f GB, %s) on %s", checkpoint.name, size_bytes / 1e9, dtype, placement)
    quantization = quantization_of(config)
    # Experts in FP8 have functions of their own.
    has_plain_experts = is_mixture_of_experts(config) and (not quantization or bool(quantization.get("dequantize")))
    is_fp8 = quantization.get("quant_method") in FP8_METHODS
    conversion = expert_conversion(config, tensors, is_fp8=is_fp8, is_dequantized=bool(quantization.get("dequantize")))
    try:
        check_scales(checkpoint, tensors)
        processor = AutoProcessor.from_pretrained(checkpoint.folder, trust_remote_code=False, local_files_only=True)
        with memory_errors("the weights", WEIGHTS_ADVICE), conversion:
            model, report = AutoModelForImageTextToText.from_pretrained(
                checkpoint.folder,
                config=config,
                dtype=dtype,
                attn_implementation=dict(ATTENTION),
                experts_implementation=experts.EXPERTS if has_plain_experts else None,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                # Otherwise transformers raises an error without the names of the tensors.
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                **placement,
            )
            check_report(checkpoint, report, tensors)
            check_finite(checkpoint, model)
            if is_fp8 and quantization.get("dequantize"):
                convert_parameters(model, dtype)
            if not placement:
                model = model.to(device_type)
            use_linear_patch_embedding(model)
            use_indexed_deepstack(model)
            if device_type == "cpu":
                use_cpu_linear_attention(model)
                if precision == "int8":
                    is_bfloat16 = format_times(cache).is_bfloat16_faster_than_int8
                    quantize_linear_layers(model, torch.bfloat16 if is_bfloat16 else torch.float32)
                use_matrix_vector_products(model)
            else:
                use_linear_attention_kernels(checkpoint.name, model)
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
        raise InvalidCheckpoint(f"{checkpoint.name} cannot be loaded as a video language model: {error}") from error
    return processor, model.eval()


def convert_parameters(model: torch.nn.Module, dtype: torch.dtype) -> None:
    """Convert the parameters of a de-quantised model to one number format.

    transformers de-quantises to the format that was asked for, and keeps the others in the format of their file.
    """
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)


def is_mixture_of_experts(config: Any) -> bool:
    """Whether some layers of a language model have experts."""
    return bool(getattr(config.get_text_config(), "num_experts", None))


def choose_dtype(float32_bytes: int, device_type: str, precision: Precision, cache: Path | None = None) -> torch.dtype:
    """Return the number format in which the weights are loaded.

    `float32_bytes`: size of the weights in float32. `cache`: see `format_times`.
    """
    if device_type != "cpu" or precision in ("bfloat16", "int8"):
        return torch.bfloat16
    if precision == "float32" or float32_bytes < 2 * MIN_LARGE_BYTES:
        return torch.float32
    free_bytes, _ = memory_bytes(torch.device("cpu"))
    is_too_large = float32_bytes > free_bytes * FLOAT32_SHARE
    return torch.bfloat16 if is_too_large or format_times(cache).is_bfloat16_faster else torch.float32


def loaded_sizes(tensors: Mapping[str, StoredTensor], config: Any, dtype: torch.dtype) -> dict[str, int]:
    """Return the sizes of the tensors of a checkpoint in memory, in bytes, by name."""
    quantization = quantization_of(config)
    return sizes_in_memory(
        tensors,
        dtype.itemsize,
        method=quantization.get("quant_method"),
        is_dequantized=bool(quantization.get("dequantize")),
    )


def place_checkpoint(
    checkpoint: Checkpoint,
    tensors: Mapping[str, StoredTensor],
    config: Any,
    dtype: torch.dtype,
    devices: list[torch.device],
) -> dict[str, Any]:
    """Place the weights of a checkpoint; see `place_weights`. De-quantise FP8 weights whose kernels do not run where they are.

    Raises:
        OutOfMemory: the devices are too small. Nothing was read yet.
    """
    text = config.get_text_config()

    def place() -> dict[str, Any]:
        sizes = loaded_sizes(tensors, config, dtype)
        return place_weights(checkpoint.name, sizes, text.num_hidden_layers, devices, is_tied=bool(config.tie_word_embeddings))

    placement = place()
    quantization = quantization_of(config)
    if quantization.get("quant_method") not in FP8_METHODS or quantization.get("dequantize"):
        return placement
    # The kernels are loaded for one device: no other device of this process may use them later.
    used_devices = list(dict.fromkeys(placement["device_map"].values())) if placement else devices
    if can_multiply_fp8(text, quantization, used_devices):
        return placement
    _dequantize(checkpoint, config)
    return place()


def quantization_of(config: Any) -> dict[str, Any]:
    """Return the quantisation of a checkpoint as in its configuration; {} for one that is not quantised."""
    quantization = getattr(config, "quantization_config", None) or {}
    return quantization if isinstance(quantization, dict) else quantization.to_dict()


def prepare_quantization(checkpoint: Checkpoint, config: Any, device_type: str) -> None:
    """Check that the packages of a quantised checkpoint are installed; de-quantise FP8 where there can be no kernels.

    Raises:
        InvalidCheckpoint: a package or the hardware is missing; the message of transformers names it.
    """
    quantization = quantization_of(config)
    if not quantization:
        return
    method = str(quantization.get("quant_method"))
    if method in FP8_METHODS and not may_have_fp8_kernels(device_type):
        _dequantize(checkpoint, config)
    try:
        quantizer = AutoHfQuantizer.from_config(dict(quantization_of(config)))
        quantizer.validate_environment(device_map=None)
    except (ImportError, RuntimeError, ValueError) as error:
        raise InvalidCheckpoint(f"{checkpoint.name} is quantised ({method}) and cannot be loaded here: {error}") from error
    if getattr(quantizer.quantization_config, "dequantize", False):
        # transformers de-quantises FP8 on older cards by itself.
        config.quantization_config = quantization | {"dequantize": True}


def _dequantize(checkpoint: Checkpoint, config: Any) -> None:
    """Let transformers de-quantise the weights of a checkpoint while it loads them."""
    log.warning("%s is de-quantised to bfloat16 and takes twice its size, because there are no FP8 kernels", checkpoint.name)
    config.quantization_config = quantization_of(config) | {"dequantize": True}
