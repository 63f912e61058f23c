"""Gated DeltaNet layers on a CPU: the same function as transformers' torch operations, with less memory traffic.

A CPU spends most of such a layer moving tensors of the whole prompt between its caches and memory. Here the convolution keeps the
layout of the projections, and the gated delta rule runs over blocks of 64 tokens that stay in the cache of a core. The new values
and what they correct are solved as one triangular system (Yang et al. 2024, "Gated Delta Networks", section 3.3, with the state
moved to the right-hand side). A decoding step updates the state in place.
"""

from types import MethodType
from typing import Any

import torch
from torch.nn import functional

from longview.model.engine.execution.kv_cache import PreallocatedCache

BLOCK_TOKENS = 64
"""Tokens per block. Tensors of a block of 16 heads take 512 KiB each."""
NORM_EPSILON = 1e-6
"""Added to the squared norm of queries and keys, as in transformers' `l2norm`."""
MIN_LOG_DECAY = -80.0
"""Least logarithmic decay between two tokens that is computed: e^-80 is 2e-35. The exponential of numbers whose result underflows
or overflows takes twenty times as long on a CPU."""
PROJECTIONS = ("in_proj_qkv", "in_proj_z", "in_proj_b", "in_proj_a", "conv1d", "out_proj")
"""Parts of a layer that `use_cpu_linear_attention` can replace: that of Qwen3.5, dense and mixture of experts."""


def use_cpu_linear_attention(model: Any) -> int:
    """Replace the forward function of all Gated DeltaNet layers of a model on the CPU. Return their number."""
    layers = [
        module
        for module in model.modules()
        if type(module).__name__.endswith("GatedDeltaNet") and all(hasattr(module, name) for name in PROJECTIONS)
    ]
    for layer in layers:
        layer.forward = MethodType(_forward, layer)
    return len(layers)


def _forward(
    self: Any,
    hidden_states: torch.Tensor,
    cache_params: PreallocatedCache,
    attention_mask: torch.Tensor | None = None,
    **_: Any,
) -> torch.Tensor:
    """Compute one layer for the next tokens (1, n, width) of one sequence without padding."""
    assert attention_mask is None
    count = hidden_states.shape[1]
    state = cache_params.layers[self.layer_idx]
    mixed = self.in_proj_qkv(hidden_states)[0]
    mixed = _convolve(mixed, state.recent_inputs(mixed, self.conv_kernel_size), self.conv1d.weight[:, 0])
    query, key, value = mixed.split((self.key_dim, self.key_dim, self.value_dim), dim=-1)
    query = _normalize(query.unflatten(-1, (-1, self.head_k_dim))) * self.head_k_dim**-0.5
    key = _normalize(key.unflatten(-1, (-1, self.head_k_dim)))
    value = value.unflatten(-1, (-1, self.head_v_dim)).float()
    beta = self.in_proj_b(hidden_states)[0].float().sigmoid()
    decay = -self.A_log.float().exp() * functional.softplus(self.in_proj_a(hidden_states)[0].float() + self.dt_bias)
    recurrent = state.recurrent(self.num_v_heads, self.head_k_dim, self.head_v_dim, hidden_states.device)
    rule = _step if count == 1 else _blocks
    out = rule(query, key, value, decay, beta, recurrent)
    normed_out = _normalize_gated(out, self.in_proj_z(hidden_states)[0], self.norm.weight, self.norm.variance_epsilon)
    projection: torch.Tensor = self.out_proj(normed_out.unsqueeze(0))
    return projection


def _normalize(states: torch.Tensor) -> torch.Tensor:
    """Divide vectors (n, heads, size) by their norms, in float32."""
    states = states.float()
    return states * torch.rsqrt(states.square().sum(-1, keepdim=True) + NORM_EPSILON)


def _normalize_gated(states: torch.Tensor, gates: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
    """Divide outputs (n, heads, size) by their root mean square, and multiply by weights and SiLU of gates (n, heads * size).

    Computes in float32, and returns (n, heads * size) in the dtype of the gates.
    """
    out = torch.empty_like(gates)
    for start in range(0, len(states), BLOCK_TOKENS):
        rows = slice(start, start + BLOCK_TOKENS)
        block = states[rows]
        scale = torch.rsqrt(block.square().mean(-1, keepdim=True) + epsilon)
        gate = functional.silu(gates[rows].float()).view_as(block)
        out[rows] = gate.mul_(block).mul_(scale).mul_(weight.float()).flatten(1)
    return out


def _convolve(inputs: torch.Tensor, recent: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Convolve inputs (n, channels) causally, one filter (channels, size) per channel, and apply SiLU; float32 (n, channels).

    `recent` (channels, size): the last inputs before these, oldest first. It is replaced by the last of these.
    """
    size = weight.shape[1]
    filters = weight.t().float().contiguous()
    before = recent[:, 1:].t().to(torch.float32, copy=True)
    recent.copy_(torch.cat([recent.t(), inputs[-size:]])[-size:].t())
    out = torch.empty(inputs.shape, dtype=torch.float32)
    for start in range(0, len(inputs), BLOCK_TOKENS):
        block = inputs[start : start + BLOCK_TOKENS].float()
        rows = torch.cat([before, block])
        filtered = out[start : start + BLOCK_TOKENS]
        torch.mul(rows[: len(block)], filters[0], out=filtered)
        for offset in range(1, size):
            filtered.addcmul_(rows[offset : offset + len(block)], filters[offset])
        functional.silu(filtered, inplace=True)
        before = rows[len(block) :]
    return out


def _blocks(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, decay: torch.Tensor, beta: torch.Tensor, state: torch.Tensor
) -> torch.Tensor:
    """Apply the gated delta rule to tokens in blocks, and update the state (heads, key size, value size) in place.

    Queries and keys (n, key heads, key size), values (n, heads, value size), logarithmic decays and betas (n, heads): float32.
    Returns (n, heads, value size).
    """
    out = torch.empty_like(value)
    groups = value.shape[1] // key.shape[1]
    for start in range(0, len(value), BLOCK_TOKENS):
        rows = slice(start, start + BLOCK_TOKENS)
        q, k = (states[rows].transpose(0, 1).repeat_interleave(groups, dim=0) for states in (query, key))
        gain = beta[rows].t().unsqueeze(-1)
        total_decay = decay[rows].cumsum(0).t()
        # From one token of the block to a later one. Above the diagonal it is not used.
        between = (total_decay.unsqueeze(-1) - total_decay.unsqueeze(-2)).clamp_(MIN_LOG_DECAY, 0.0).exp_().tril_()
        from_state = total_decay.exp().unsqueeze(-1)
        to_end = (total_decay[:, -1:] - total_decay).exp_().unsqueeze(-1)
        keys = k.transpose(-1, -2)
        k_gain = k * gain
        system = torch.bmm(k_gain, keys).mul_(between)
        expected = torch.baddbmm(value[rows].transpose(0, 1) * gain, k_gain.mul_(from_state), state, alpha=-1)
        corrections = torch.linalg.solve_triangular(system, expected, upper=False, unitriangular=True)
        within = torch.bmm(torch.bmm(q, keys).mul_(between), corrections)
        out[rows] = torch.baddbmm(within, q * from_state, state).transpose(0, 1)
        state.mul_(from_state[:, -1:]).baddbmm_((k * to_end).transpose(-1, -2), corrections)
    return out


def _step(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, decay: torch.Tensor, beta: torch.Tensor, state: torch.Tensor
) -> torch.Tensor:
    """Apply the gated delta rule to one token; see `_blocks`."""
    groups = value.shape[1] // key.shape[1]
    q, k = (states[0].repeat_interleave(groups, dim=0).unsqueeze(1) for states in (query, key))
    state.mul_(decay[0].exp().view(-1, 1, 1))
    corrections = (value[0].unsqueeze(1) - torch.bmm(k, state)).mul_(beta[0].view(-1, 1, 1))
    state.baddbmm_(k.transpose(1, 2), corrections)
    return torch.bmm(q, state).transpose(0, 1)
