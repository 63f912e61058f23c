"""All that Longview uses of transformers. Only this module imports it, so that one thread imports it and others wait.

transformers imports its parts when they are first asked for, in circles. Of two threads that do so at once, one gets a part that
is not complete, and fails. While a module is being imported, Python lets other threads wait for it.
"""

from transformers import (
    AttentionInterface,
    AutoConfig,
    AutoModelForImageTextToText,
    AutoProcessor,
    LogitsProcessorList,
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)
from transformers.cache_utils import Cache, CacheLayerMixin, LinearAttentionLayer
from transformers.conversion_mapping import get_checkpoint_conversion_mapping, register_checkpoint_conversion_mapping
from transformers.core_model_loading import Transpose, WeightConverter
from transformers.integrations.finegrained_fp8 import Fp8Dequantize, FP8Experts, FP8Linear, replace_with_fp8_linear
from transformers.integrations.moe import ExpertsInterface, batched_mm_experts_forward, grouped_mm_experts_forward
from transformers.quantizers import AutoHfQuantizer
from transformers.quantizers.auto import AutoQuantizationConfig
from transformers.utils import logging as transformers_logging
from transformers.utils.import_utils import KERNELS_MAX_VERSION, KERNELS_MIN_VERSION, is_kernels_available
from transformers.video_utils import VideoMetadata
from transformers.vision_utils import get_vision_interpolation_indices_and_weights, get_vision_position_ids

__all__ = [
    "KERNELS_MAX_VERSION", "KERNELS_MIN_VERSION", "AttentionInterface", "AutoConfig", "AutoHfQuantizer",
    "AutoModelForImageTextToText", "AutoProcessor", "AutoQuantizationConfig", "Cache", "CacheLayerMixin", "ExpertsInterface",
    "FP8Experts", "FP8Linear", "Fp8Dequantize", "LinearAttentionLayer", "LogitsProcessorList", "MinPLogitsWarper",
    "TemperatureLogitsWarper", "TopKLogitsWarper", "TopPLogitsWarper", "Transpose", "VideoMetadata", "WeightConverter",
    "batched_mm_experts_forward", "get_checkpoint_conversion_mapping", "get_vision_interpolation_indices_and_weights",
    "get_vision_position_ids", "grouped_mm_experts_forward", "is_kernels_available", "register_checkpoint_conversion_mapping",
    "replace_with_fp8_linear", "transformers_logging",
]  # fmt: skip
