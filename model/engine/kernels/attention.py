"""Attention for long contexts and for the frames of one video. Two functions are registered with transformers.

Text: a chunk of queries attends to a long past and to itself. Attention to the past needs no causal mask, and attention to
the chunk needs no past, so both parts run on the fastest kernels. Their log-sum-exps merge the two outputs (Milakov and
Gimelshein 2018; FlashAttention, Dao et al. 2022, section 3.1). Grouped queries become rows of one head, so that the keys
and values of the past are read once and not repeated. A few queries against a long past leave most of a GPU idle, so the
past is split and the outputs are merged in the same way (Flash-Decoding, Dao et al. 2023).

Vision: every temporal patch attends only to itself, and all have the same size, so they form one batch.
"""

import math
from typing import Any

import torch
from torch.nn import functional

from longview.model.engine.kernels.attention_kernels import KERNELS, QueryRows, attend_in_splits, kernel_for, merge_partial
from longview.model.engine.transformers_names import AttentionInterface

TEXT_ATTENTION, VISION_ATTENTION = "longview_text", "longview_vision"
ROWS_PER_BLOCK = 128
"""Approximate number of query rows that one multiprocessor of a GPU handles at once."""
MIN_SPLIT_KEYS = 1024
"""Minimum number of keys per split of the past. Shorter splits cost more than they save."""
MASKED_SCORES_BYTES = 2**28
"""Maximum size of the float32 scores of one masked call, in bytes. Some devices compute the scores of a call at once."""


def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *, scale: float) -> torch.Tensor:
    """Compute causal attention of the last n tokens of a sequence to the whole sequence.

    `query` is (1, heads, n, size); `key` and `value` of all tokens are (1, KV heads, L, size). Returns (1, heads, n, size).
    """
    _, heads, count, size = query.shape
    kv_heads, length = key.shape[1], key.shape[2]
    if query.device.type not in KERNELS:
        return _attend_masked(query, key, value, scale)
    groups = heads // kv_heads
    past = length if count == 1 else length - count
    parts = []
    if past:
        rows = query.reshape(1, kv_heads, groups * count, size)
        out, lse = _attend_past(rows, key[:, :, :past], value[:, :, :past], scale)
        parts.append((out.reshape(1, heads, count, size), lse.reshape(1, heads, count)))
    if count > 1:
        k, v = (states[:, :, past:].repeat_interleave(groups, dim=1) for states in (key, value))
        kernel = kernel_for(query.device, query.dtype, heads, size, causal=True, rows=QueryRows.of(count))
        parts.append(kernel(query.contiguous(), k, v, True, scale))
    return parts[0][0] if len(parts) == 1 else merge_partial(*(torch.stack(pair) for pair in zip(*parts, strict=True)))


def attend_fixed(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *, prefix: int, write_slot: torch.Tensor, scale: float
) -> torch.Tensor:
    """Compute attention of one token to a whole cache, with shapes that are the same for every token.

    `query` is (1, heads, 1, size); `key` and `value` are (1, KV heads, capacity, size). The first `prefix` positions never
    change. The token itself is at `write_slot`, int64 (1,). Later positions are read and then masked, so they must be finite.
    """
    _, heads, _, size = query.shape
    rows = query.reshape(1, key.shape[1], -1, size)
    scores = (rows.float() @ key[:, :, prefix:].float().transpose(-1, -2)) * scale
    is_later = torch.arange(prefix, key.shape[2], device=key.device) > write_slot
    scores = scores.masked_fill(is_later, -math.inf)
    lse = scores.logsumexp(-1)
    out = ((scores - lse.unsqueeze(-1)).exp() @ value[:, :, prefix:].float()).to(query.dtype)
    if prefix:
        past, past_lse = _attend_past(rows, key[:, :, :prefix], value[:, :, :prefix], scale)
        out = merge_partial(torch.stack([past, out]), torch.stack([past_lse.float(), lse]))
    return out.reshape(1, heads, 1, size)


def _attend_past(rows: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute attention of all rows (1, H, N, D) to all keys (1, H, L, D), and its log-sum-exp (1, H, N)."""
    _, heads, count, size = rows.shape
    kernel = kernel_for(rows.device, rows.dtype, heads, size, causal=False, rows=QueryRows.of(count))
    splits = _split_count(rows.device, heads * math.ceil(count / ROWS_PER_BLOCK), key.shape[2])
    return attend_in_splits(kernel, rows.contiguous(), key, value, splits, scale)


def _attend_masked(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float) -> torch.Tensor:
    """Compute what `attend` computes with torch's public attention, for devices without a kernel that returns log-sum-exps.

    Its own causal mask is aligned with the first key, not with the last one. Blocks of rows bound the size of explicit masks.
    """
    _, heads, count, size = query.shape
    kv_heads, length = key.shape[1], key.shape[2]
    groups = heads // kv_heads
    step = max(1, MASKED_SCORES_BYTES // (4 * heads * length))
    indices = torch.arange(length, device=query.device)
    parts = []
    for start in range(0, count, step):
        block_rows = min(step, count - start)
        first = length - count + start
        end = first + block_rows
        # The rows of a group lie one after the other, as in `attend`, and so do the rows of its mask.
        rows = query[:, :, start : start + block_rows].reshape(1, kv_heads, groups * block_rows, size)
        mask = (indices[:end] <= indices[first:end].unsqueeze(1)).repeat(groups, 1) if block_rows > 1 else None
        part = functional.scaled_dot_product_attention(rows, key[:, :, :end], value[:, :, :end], attn_mask=mask, scale=scale)
        parts.append(part.reshape(1, heads, block_rows, size))
    return torch.cat(parts, dim=2)


def _split_count(device: torch.device, blocks: int, length: int) -> int:
    """Count the splits of the past that give every processor of the device work. `blocks`: units of work without a split."""
    processors = (
        torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else torch.get_num_threads()
    )
    return max(1, min(math.ceil(processors / blocks), length // MIN_SPLIT_KEYS))


def _text_attention(  # noqa: PLR0913 (transformers' signature)
    module: torch.nn.Module,  # noqa: ARG001
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    *,
    prefix: int | None = None,
    write_slot: torch.Tensor | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attend within one sequence without padding. `prefix` and `write_slot`: see `attend_fixed`."""
    assert attention_mask is None
    if prefix is not None and write_slot is not None:
        return attend_fixed(query, key, value, prefix=prefix, write_slot=write_slot, scale=scaling).transpose(1, 2), None
    return attend(query, key, value, scale=scaling).transpose(1, 2), None


def _vision_attention(
    module: torch.nn.Module,  # noqa: ARG001
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    *,
    patches_per_frame: int,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attend within each run of `patches_per_frame` patches.

    States are (1, heads, T * patches, size). Returns (1, T * patches, heads, size).
    """
    assert attention_mask is None
    q, k, v = (states[0].unflatten(1, (-1, patches_per_frame)).transpose(0, 1) for states in (query, key, value))
    out = functional.scaled_dot_product_attention(q, k, v, scale=scaling)
    return out.transpose(1, 2).flatten(0, 1).unsqueeze(0), None


AttentionInterface.register(TEXT_ATTENTION, _text_attention)
AttentionInterface.register(VISION_ATTENTION, _vision_attention)
