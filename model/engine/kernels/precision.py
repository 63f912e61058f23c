"""Number formats of the weights on a CPU: float32, bfloat16, or linear layers in 8 bits.

In 8 bits, weights are rounded with one scale per output channel, and inputs with one scale per token, as they come (W8A8;
Dettmers et al. 2022, without the separation of outliers). All other operations are in the faster of the two other formats. A
decoding step reads half of the memory of bfloat16. Where bfloat16 is the faster format, the prefill multiplies in it, with the
weights converted back, because it is bound by the multiplications, and rounding its inputs would take time and accuracy. What 8
bits cost in accuracy is measured on the demo checkpoint only (docs/performance.md).
"""

import warnings
from types import MethodType
from typing import Any, Literal

import torch
from torch.nn import functional

MIN_INT8_FEATURES = 64
"""Minimum number of inputs and of outputs of a linear layer that is quantised. Smaller ones cost nothing."""
INT8_MAX = 127
MAX_INT8_ROWS = 128
"""Maximum number of tokens that are multiplied in 8 bits where the prefill is in bfloat16. Above about 200, FBGEMM took longer
than converting the weights and multiplying in bfloat16 (layers of 1024x3584 and 2048x6144, one core with AMX)."""
MIN_SCALE = 1e-12
"""Minimum scale, for rows that are zero."""
ROUNDED_CHANNELS = 4096
"""Output channels that are rounded at once: those of a layer with a large vocabulary would take gigabytes in float32."""

CONVERTED_CHANNELS = 2048
"""Output channels whose weights are converted to bfloat16 at once."""


class Int8Linear(torch.nn.Module):
    """A linear layer with weights in 8 bits, and inputs that are rounded to 8 bits when they come."""

    def __init__(self, linear: torch.nn.Linear, prefill: Literal["int8", "bfloat16", "never"] = "int8") -> None:
        """`prefill`: the format in which many tokens at once are multiplied. `never`: the layer is used for single tokens."""
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        weight, scales = _round_channels(linear.weight.detach())
        has_vnni = getattr(torch.cpu, "_is_vnni_supported", lambda: False)()
        # oneDNN multiplies many tokens faster, and keeps the weights twice. For one token FBGEMM reads them faster (8.0 and
        # 6.6 GB/s of one core with AMX).
        engine = "fbgemm" if prefill != "int8" else "onednn" if has_vnni else None
        self._packed = _pack(weight, scales, engine)
        self.weight_bytes = weight.numel() * (2 if engine == "onednn" else 1)
        """Size of the packed weights, without the buffers."""
        # Without VNNI the products of two 8-bit numbers can overflow 16 bits; the inputs then have 7 bits.
        self._reduces_range = not has_vnni
        self.weight: torch.Tensor | None
        self.bias: torch.Tensor | None
        self.scales: torch.Tensor
        # With the packed ones they take as much memory as in bfloat16.
        self.register_buffer("weight", weight if prefill == "bfloat16" else None)
        self.register_buffer("scales", scales)
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().float())

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Multiply inputs (…, in) with the weights; (…, out) in the dtype of the inputs."""
        rows = inputs.reshape(-1, self.in_features)
        if self.weight is not None and len(rows) > MAX_INT8_ROWS:
            out = self._multiply_bfloat16(rows.bfloat16(), self.weight)
        else:
            out = self._multiply_int8(rows.float())
        if self.bias is not None:
            out.add_(self.bias)
        return out.to(inputs.dtype).view(*inputs.shape[:-1], self.out_features)

    def _multiply_bfloat16(self, rows: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Multiply rows, bfloat16 (n, in), with the weights in bfloat16; (n, out) of the same dtype."""
        out = rows.new_empty(len(rows), self.out_features)
        # Blocks of converted weights, and of the results until they are scaled, stay in the cache of a core.
        for start in range(0, self.out_features, CONVERTED_CHANNELS):
            channels = slice(start, start + CONVERTED_CHANNELS)
            block = functional.linear(rows, weight[channels].bfloat16())
            torch.mul(block, self.scales[channels], out=out[:, channels])
        return out

    def _multiply_int8(self, rows: torch.Tensor) -> torch.Tensor:
        """Multiply rows, float32 (n, in), rounded to 8 bits, with the weights; (n, out) of the same dtype."""
        out: torch.Tensor
        if len(rows) == 1:
            out = torch.ops.quantized.linear_dynamic(rows, self._packed, self._reduces_range)
            return out
        # The operator has one scale for all rows. Rows that are scaled to the same maximum have one scale each.
        scales = torch.maximum(rows.amax(-1, keepdim=True), -rows.amin(-1, keepdim=True)).clamp_min_(MIN_SCALE)
        out = torch.ops.quantized.linear_dynamic(rows / scales, self._packed, self._reduces_range)
        return out.mul_(scales)


def _round_channels(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Round weights (out, in) to int8 (out, in) with one scale per output channel, float32 (out,)."""
    rounded = torch.empty(weight.shape, dtype=torch.int8)
    scales = torch.empty(len(weight))
    for start in range(0, len(weight), ROUNDED_CHANNELS):
        channels = slice(start, start + ROUNDED_CHANNELS)
        values = weight[channels].float()
        scales[channels] = (values.abs().amax(1) / INT8_MAX).clamp_min_(MIN_SCALE)
        rounded[channels] = (values / scales[channels, None]).round_()
    return rounded, scales


def _pack(weight: torch.Tensor, scales: torch.Tensor, engine: str | None) -> Any:
    """Return weights, int8 (out, in), in the layout of an operator; None: that of the default engine."""
    with warnings.catch_warnings():
        # The deprecation of quantised tensors, which the operator still takes.
        warnings.simplefilter("ignore", UserWarning)
        zeros = torch.zeros(len(weight), dtype=torch.long)
        quantized = torch._make_per_channel_quantized_tensor(weight, scales.double(), zeros, 0)
    default = torch.backends.quantized.engine
    if engine in torch.backends.quantized.supported_engines:
        torch.backends.quantized.engine = engine
    try:
        return torch.ops.quantized.linear_prepack(quantized, None)
    finally:
        torch.backends.quantized.engine = default


def use_matrix_vector_products(model: Any) -> None:
    """Multiply single tokens with bfloat16 weights by matrix-vector products, which read the memory faster on a CPU.

    On one core with AMX, a linear layer read 7.2 GB/s, and the same product as a matrix and a vector 9.5 GB/s.
    """
    for module in model.modules():
        if type(module) is torch.nn.Linear and module.weight.dtype == torch.bfloat16:
            module.forward = MethodType(_linear, module)  # type: ignore[method-assign]


def _linear(self: torch.nn.Linear, inputs: torch.Tensor) -> torch.Tensor:
    if inputs.numel() != self.in_features:
        return functional.linear(inputs, self.weight, self.bias)
    vector = inputs.reshape(-1)
    out = torch.mv(self.weight, vector) if self.bias is None else torch.addmv(self.bias, self.weight, vector)
    return out.view(*inputs.shape[:-1], self.out_features)


class _Float32Embedding(torch.nn.Module):
    """An embedding whose table keeps its format, and whose rows are in float32."""

    def __init__(self, embedding: torch.nn.Embedding) -> None:
        super().__init__()
        self.embedding = embedding

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        rows: torch.Tensor = self.embedding(ids)
        return rows.float()


def quantize_linear_layers(model: Any, dtype: torch.dtype) -> None:
    """Replace linear layers of a model by `Int8Linear`, one at a time, and convert all else to `dtype`.

    A model in float32 keeps its table of embeddings in its format, because it is the largest part that is not a linear layer. A
    model in bfloat16 keeps its vision tower: it has no decoding steps.
    """
    is_bfloat16 = dtype == torch.bfloat16
    # The list must not hold the layers, so that each is freed when it is replaced.
    places = [
        (module, name)
        for module in (model.model.language_model if is_bfloat16 else model).modules()
        for name, child in module.named_children()
        if isinstance(child, torch.nn.Linear) and min(child.in_features, child.out_features) >= MIN_INT8_FEATURES
    ]
    for module, name in places:
        setattr(module, name, Int8Linear(getattr(module, name), "bfloat16" if is_bfloat16 else "int8"))
    if is_bfloat16:
        # Logits are computed for one token at a time.
        model.lm_head = Int8Linear(model.lm_head, "never")
    else:
        language = model.model.language_model
        embedding, language.embed_tokens = language.embed_tokens, torch.nn.Identity()
        model.float()
        language.embed_tokens = _Float32Embedding(embedding)
    # The parameters that remain are parts of the mapped file. Copies let go of its pages, which hold the replaced weights, too.
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()
