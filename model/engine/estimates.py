"""Cost estimates: a sampling plan -> memory and time on this device, computed from shapes before any frame is decoded."""

import functools
import time
from typing import Any

import torch

from longview.model.engine.prefill import CHUNK_TOKENS
from longview.video.sampler import SamplingPlan

MIN_STEP_S = 0.003
"""Minimum time of a decoding step, in seconds: kernel launches and Python dominate for small checkpoints."""


class Estimates:
    """An estimator of time and memory for one loaded model."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._text, self._vision = model.config.get_text_config(), model.config.vision_config
        self._rate: float | None = None

    @property
    def kv_bytes_per_token(self) -> int:
        """KV cache size per token over all layers, in the dtype of the model."""
        heads = int(getattr(self._text, "num_key_value_heads", None) or self._text.num_attention_heads)
        return 2 * int(self._text.num_hidden_layers) * heads * self._head_size * self._element_bytes

    @property
    def _element_bytes(self) -> int:
        return int(torch.finfo(self._model.dtype).bits) // 8

    @property
    def _head_size(self) -> int:
        return int(getattr(self._text, "head_dim", None) or self._text.hidden_size // self._text.num_attention_heads)

    @property
    def _merged_patches(self) -> int:
        """Number of vision patches that are merged into one token."""
        return int(self._vision.spatial_merge_size) ** 2

    @property
    def chunk_bytes(self) -> int:
        """Peak size of the activations of one chunk. It does not depend on the length of the video."""
        tokens = CHUNK_TOKENS[self._model.device.type]
        patch_values = 3 * self._vision.temporal_patch_size * self._vision.patch_size**2
        pixels = tokens * self._merged_patches * patch_values * (1 + 4 + 4 + self._element_bytes)
        width = self._vision.intermediate_size + 6 * self._vision.hidden_size
        vision = tokens * self._merged_patches * width * self._element_bytes
        text = tokens * (3 * self._text.intermediate_size + 8 * self._text.hidden_size) * self._element_bytes
        return int(pixels + max(vision, text))

    def bytes_for(self, plan: SamplingPlan) -> int:
        """Estimate memory; see `longview.model.engine.base.Engine.estimated_bytes`."""
        weights = sum(p.numel() * p.element_size() for p in self._model.parameters())
        return weights + self.kv_bytes_per_token * max(plan.window_tokens) + self.chunk_bytes

    def seconds_for(self, plan: SamplingPlan, *, reply_tokens: int, words_tokens: int = 0) -> float:
        """Estimate time; see `longview.model.engine.base.Engine.estimated_seconds`.

        The estimate is the operation count divided by the measured speed, and is within about a factor of two.
        """
        flops = 0.0
        for window, timestamp_tokens in zip(plan.windows, plan.window_timestamp_tokens, strict=True):
            visual = window.temporal_patches * plan.tokens_per_patch
            text = timestamp_tokens + words_tokens // len(plan.windows)
            flops += self.flops(visual + text, visual, plan.tokens_per_patch)
        # A decoding step reads all weights for one token, so memory bandwidth and launches dominate.
        step_s = max(8 * self._weights[0] / self._flops_per_s(), MIN_STEP_S)
        return flops / self._flops_per_s() + len(plan.windows) * reply_tokens * step_s

    def flops(self, tokens: int, visual: int, tokens_per_patch: int) -> float:
        """Count the floating-point operations that prefill a prompt of `tokens` tokens, `visual` of them visual."""
        text_weights, vision_weights = self._weights
        flops = 2.0 * text_weights * tokens + 2.0 * vision_weights * visual * self._merged_patches
        flops += 2 * self._text.num_hidden_layers * self._text.num_attention_heads * self._head_size * tokens**2
        per_frame = tokens_per_patch * self._merged_patches
        return flops + 4 * self._vision.depth * self._vision.hidden_size * visual * self._merged_patches * per_frame

    @functools.cached_property
    def _weights(self) -> tuple[float, float]:
        """Numbers of weights that a text token and a vision patch are multiplied with. Only active experts count."""
        share = getattr(self._text, "num_experts_per_tok", 1) / (getattr(self._text, "num_experts", None) or 1)
        vision = sum(p.numel() for p in self._model.model.visual.parameters())
        language = self._model.model.language_model.named_parameters()
        text = sum(p.numel() * (share if ".experts." in name else 1) for name, p in language if "embed_tokens" not in name)
        return text, vision

    def _flops_per_s(self) -> float:
        """Measure the usable speed: half of that of a square matrix product, because other work takes the rest of the time."""
        if self._rate is None:
            side = 4096 if self._model.device.type == "cuda" else 1024
            a = torch.ones(side, side, device=self._model.device, dtype=self._model.dtype)
            (a @ a).sum().item()
            start = time.perf_counter()
            (a @ a).sum().item()
            self._rate = side**3 / (time.perf_counter() - start)
        return self._rate
