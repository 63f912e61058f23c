"""Number formats of the weights on a CPU: float32, bfloat16, or linear layers in 8 bits.

In 8 bits, weights are rounded with one scale per output channel, and inputs with one scale per token, as they come (W8A8;
Dettmers et al. 2022, without the separation of outliers). All other operations are in the faster of the two other formats. A
decoding step reads half of the memory of bfloat16. What this costs in accuracy is measured on the demo checkpoint only
(docs/performance.md).
"""

import warnings
from typing import Any

import torch

MIN_INT8_FEATURES = 64
"""Minimum number of inputs and of outputs of a linear layer that is quantised. Smaller ones cost nothing."""
INT8_MAX = 127
MIN_SCALE = 1e-12
"""Minimum scale, for rows that are zero."""


class Int8Linear(torch.nn.Module):
    """A linear layer with weights in 8 bits, and inputs that are rounded to 8 bits when they come."""

    def __init__(self, linear: torch.nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight_bytes = linear.weight.numel() + 4 * linear.out_features
        """Size of the weights and their scales."""
        weight = linear.weight.detach().float()
        scales = (weight.abs().amax(1) / INT8_MAX).clamp_min(MIN_SCALE).double()
        with warnings.catch_warnings():
            # The deprecation of quantised tensors, which the operator still takes.
            warnings.simplefilter("ignore", UserWarning)
            quantized = torch.quantize_per_channel(weight, scales, torch.zeros(len(weight), dtype=torch.long), 0, torch.qint8)
        has_vnni = getattr(torch.cpu, "_is_vnni_supported", lambda: False)()
        engine = torch.backends.quantized.engine
        if has_vnni and "onednn" in torch.backends.quantized.supported_engines:
            torch.backends.quantized.engine = "onednn"
        try:
            self._packed = torch.ops.quantized.linear_prepack(quantized, None)
        finally:
            torch.backends.quantized.engine = engine
        # Without VNNI the products of two 8-bit numbers can overflow 16 bits; the inputs then have 7 bits.
        self._reduces_range = not has_vnni
        self.bias: torch.Tensor | None
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().float())

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Multiply inputs (…, in) with the weights; (…, out) in the dtype of the inputs."""
        # The operator has one scale for all rows. Rows that are scaled to the same maximum have one scale each.
        rows = inputs.reshape(-1, self.in_features).float()
        scales = torch.maximum(rows.amax(-1, keepdim=True), -rows.amin(-1, keepdim=True)).clamp_min_(MIN_SCALE)
        out: torch.Tensor = torch.ops.quantized.linear_dynamic(rows / scales, self._packed, self._reduces_range)
        out = out.mul_(scales)
        if self.bias is not None:
            out.add_(self.bias)
        return out.to(inputs.dtype).view(*inputs.shape[:-1], self.out_features)


class _Float32Embedding(torch.nn.Module):
    """An embedding whose table keeps its format, and whose rows are in float32."""

    def __init__(self, embedding: torch.nn.Embedding) -> None:
        super().__init__()
        self.embedding = embedding

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        rows: torch.Tensor = self.embedding(ids)
        return rows.float()


def quantize_linear_layers(model: Any, dtype: torch.dtype) -> None:
    """Replace the linear layers of a model by `Int8Linear`, one at a time, and convert all else to `dtype`.

    A model in bfloat16 keeps its table of embeddings, which is the largest part that is not a linear layer.
    """
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, torch.nn.Linear) and min(child.in_features, child.out_features) >= MIN_INT8_FEATURES:
                setattr(module, name, Int8Linear(child))
    if dtype == torch.float32:
        language = model.model.language_model
        embedding, language.embed_tokens = language.embed_tokens, torch.nn.Identity()
        model.float()
        language.embed_tokens = _Float32Embedding(embedding)
