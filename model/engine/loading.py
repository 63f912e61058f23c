"""Loading of a checkpoint: files -> processor and model, on one device or divided over several.

What is missing is said before any weight is read: kinds of layers, packages of a quantised checkpoint, memory.
"""

import logging
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from longview.model.engine.checkpoints.checkpoints import Checkpoint
from longview.model.engine.checkpoints.layer_types import read_layer_types
from longview.model.engine.checkpoints.precision_names import FLOAT32_SHARE, MIN_LARGE_BYTES, Precision
from longview.model.engine.checkpoints.weight_files import FP8_METHODS, check_formats, check_weights, read_tensors
from longview.model.engine.costs.number_formats import format_times
from longview.model.engine.devices import devices_of, memory_bytes, memory_errors
from longview.model.engine.execution.visual_inputs import use_indexed_deepstack
from longview.model.engine.kernels import attention, experts
from longview.model.engine.kernels.expert_files import expert_conversion
from longview.model.engine.kernels.flash_linear_attention import use_linear_attention_kernels
from longview.model.engine.kernels.fp8 import can_multiply_fp8, may_have_fp8_kernels
from longview.model.engine.kernels.linear_attention import use_cpu_linear_attention
from longview.model.engine.kernels.patch_embedding import use_linear_patch_embedding
from longview.model.engine.kernels.precision import quantize_linear_layers, use_matrix_vector_products
from longview.model.engine.transformers_names import (
    AutoConfig,
    AutoHfQuantizer,
    AutoModelForImageTextToText,
    AutoProcessor,
    transformers_logging,
)
from longview.model.engine.weight_checks import check_finite, check_report, check_scales
from longview.model.errors import InvalidCheckpoint, OutOfMemory

log = logging.getLogger(__name__)

CACHE_RESERVE_BYTES = 4 << 30
"""Memory that is kept free on a device beside its weights, for activations and the caches of sessions, in bytes. If the weights
leave less, they are divided over several devices."""
WEIGHTS_ADVICE = "choose a smaller or a quantised checkpoint, --precision bfloat16 on a CPU, or a server (--server)"
"""What a user can do if the weights do not fit. A shorter context would not help."""
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
    prepare_quantization(checkpoint, config, device_type)
    if device_type == "cpu" and precision == "int8" and is_mixture_of_experts(config):
        raise InvalidCheckpoint(f"{checkpoint.name} has experts, which cannot be in 8 bits here; use --precision bfloat16.")
    dtype = choose_dtype(checkpoint, config, device_type, precision, cache)
    placement = place_checkpoint(checkpoint, config, dtype, devices_of(device_type))
    log.info("loading %s (%.1f GB, %s) on %s", checkpoint.name, loaded_bytes(checkpoint, config, dtype) / 1e9, dtype, placement)
    quantization = quantization_of(config)
    # Experts in FP8 have functions of their own.
    has_plain_experts = is_mixture_of_experts(config) and (not quantization or bool(quantization.get("dequantize")))
    check_weights(checkpoint)
    tensors, method = read_tensors(checkpoint), quantization.get("quant_method")
    check_formats(checkpoint, tensors, method)
    conversion = expert_conversion(
        config, tensors, is_fp8=method in FP8_METHODS, is_dequantized=bool(quantization.get("dequantize"))
    )
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


def is_mixture_of_experts(config: Any) -> bool:
    """Whether some layers of a language model have experts."""
    return bool(getattr(config.get_text_config(), "num_experts", None))


def choose_dtype(
    checkpoint: Checkpoint, config: Any, device_type: str, precision: Precision, cache: Path | None = None
) -> torch.dtype:
    """Return the number format in which the weights are loaded.

    `config`: states whether they are de-quantised. `cache`: see `format_times`.
    """
    if device_type != "cpu" or precision in ("bfloat16", "int8"):
        return torch.bfloat16
    if precision == "float32" or checkpoint.weight_bytes < MIN_LARGE_BYTES:
        return torch.float32
    free_bytes, _ = memory_bytes(torch.device("cpu"))
    if loaded_bytes(checkpoint, config, torch.float32) > free_bytes * FLOAT32_SHARE or format_times(cache).is_bfloat16_faster:
        return torch.bfloat16
    return torch.float32


def loaded_bytes(checkpoint: Checkpoint, config: Any, dtype: torch.dtype) -> int:
    """Estimate the size of the weights in memory from that of their files, in bytes."""
    quantization = quantization_of(config)
    if not quantization:
        # Published checkpoints are in bfloat16, the demo checkpoint in float32.
        weight_dtype = getattr(config, "dtype", None) or torch.bfloat16
        return checkpoint.weight_bytes * dtype.itemsize // weight_dtype.itemsize
    return checkpoint.weight_bytes * (dtype.itemsize if quantization.get("dequantize") else 1)


def place_checkpoint(checkpoint: Checkpoint, config: Any, dtype: torch.dtype, devices: list[torch.device]) -> dict[str, Any]:
    """Place the weights of a checkpoint; see `place_weights`. De-quantise FP8 weights whose kernels do not run where they are.

    Raises:
        OutOfMemory: all devices together are too small. Nothing was read yet.
    """
    placement = place_weights(checkpoint.name, loaded_bytes(checkpoint, config, dtype), devices)
    quantization = quantization_of(config)
    if quantization.get("quant_method") not in FP8_METHODS or quantization.get("dequantize"):
        return placement
    # The kernels are loaded for one device: no other device of this process may use them later.
    device_map = placement.get("device_map")
    used_devices = [device_map[""]] if isinstance(device_map, dict) else devices
    if can_multiply_fp8(config.get_text_config(), quantization, used_devices):
        return placement
    _dequantize(checkpoint, config)
    return place_weights(checkpoint.name, loaded_bytes(checkpoint, config, dtype), devices)


def place_weights(name: str, size_bytes: int, devices: list[torch.device]) -> dict[str, Any]:
    """Return the arguments of `from_pretrained` that place weights on one device or on several; {} for the CPU and Apple's.

    Raises:
        OutOfMemory: all devices together are too small. Nothing was read yet.
    """
    memory = {device: memory_bytes(device) for device in devices}
    total = sum(total for _, total in memory.values())
    if size_bytes > total:
        raise OutOfMemory(
            f"The weights of {name} take {size_bytes / 1e9:.0f} GB, and the memory of {_describe(devices)} is "
            f"{total / 1e9:.0f} GB; {WEIGHTS_ADVICE}."
        )
    if devices[0].type in ("cpu", "mps"):
        return {}
    roomiest = max(devices, key=lambda device: memory[device][0])
    if len(devices) == 1 or size_bytes + CACHE_RESERVE_BYTES <= memory[roomiest][0]:
        return {"device_map": {"": roomiest}}
    room = {device.index: max(0, free - CACHE_RESERVE_BYTES) for device, (free, _) in memory.items()}
    if size_bytes > sum(room.values()):
        # accelerate would put the rest on the disk.
        raise OutOfMemory(
            f"The weights of {name} take {size_bytes / 1e9:.0f} GB, and {sum(room.values()) / 1e9:.0f} GB are free for weights "
            f"on {_describe(devices)}; end other programs there, or {WEIGHTS_ADVICE}."
        )
    # accelerate divides the layers evenly, so that every device has a similar rest for the caches.
    return {"device_map": "balanced", "max_memory": room}


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


def _describe(devices: list[torch.device]) -> str:
    if devices[0].type == "cpu":
        return "this machine"
    return "the GPU" if len(devices) == 1 else f"the {len(devices)} GPUs"
