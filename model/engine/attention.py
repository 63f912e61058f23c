"""Attention for long contexts and for the frames of one video. Two functions are registered with transformers.

Text: a chunk of queries attends to a long past and to itself. Attention to the past needs no causal mask, and attention to
the chunk needs no past, so both parts run on the fastest kernels. Their log-sum-exps merge the two outputs (Milakov and
Gimelshein 2018; FlashAttention, Dao et al. 2022, section 3.1). Grouped queries become rows of one head, so that the keys
and values of the past are read once and not repeated. A few queries against a long past leave most of a GPU idle, so the
past is split and the outputs are merged in the same way (Flash-Decoding, Dao et al. 2023).

Vision: every temporal patch attends only to itself, and all have the same size, so they form one batch.
"""

import functools
import logging
import math
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional
from transformers import AttentionInterface

log = logging.getLogger(__name__)

TEXT_ATTENTION, VISION_ATTENTION = "longview_text", "longview_vision"
MAX_FEW_QUERIES = 64
"""Maximum number of query rows that count as few. Kernels for chunks are not the fastest for so few rows."""
ROWS_PER_BLOCK = 128
"""Approximate number of query rows that one multiprocessor of a GPU handles at once."""
MIN_SPLIT_KEYS = 1024
"""Minimum number of keys per split of the past. Shorter splits cost more than they save."""
SPLIT_KEYS_STEP = 256
"""Granularity of the split size, in keys. The shape of a split then does not change with every token."""
Kernel = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, bool, float], tuple[torch.Tensor, torch.Tensor]]
"""(queries, keys, values, causal, scale) -> (output, log-sum-exp). Queries (B, H, N, D); keys and values (B, H, L, D) with
the same number of heads; output (B, H, N, D); log-sum-exp float32 (B, H, N)."""


def _reference(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute attention by its definition, in float32, to check the kernels and for devices without one."""
    scores = (q.float() @ k.float().transpose(-1, -2)) * scale
    if causal:
        scores = scores.masked_fill(torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).triu(1), -math.inf)
    lse = scores.logsumexp(-1)
    return ((scores - lse.unsqueeze(-1)).exp() @ v.float()).to(q.dtype), lse


def _cpu(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool, scale: float) -> tuple[torch.Tensor, torch.Tensor]:
    out, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, 0.0, causal, attn_mask=None, scale=scale)
    return out, lse


def _cudnn(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool, scale: float) -> tuple[torch.Tensor, torch.Tensor]:
    out, lse = torch.ops.aten._scaled_dot_product_cudnn_attention(q, k, v, None, True, 0.0, causal, False, scale=scale)[:2]
    return out, lse.reshape(q.shape[:3])


def _flash(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool, scale: float) -> tuple[torch.Tensor, torch.Tensor]:
    out, lse = torch.ops.aten._scaled_dot_product_flash_attention(q, k, v, 0.0, causal, False, scale=scale)[:2]
    return out, lse


def _efficient(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    out, lse = torch.ops.aten._scaled_dot_product_efficient_attention(q, k, v, None, True, 0.0, causal, scale=scale)[:2]
    # The kernel pads the rows of the log-sum-exp to a multiple of 32.
    return out, lse[..., : q.shape[2]]


KERNELS: dict[str, dict[str, Kernel]] = {
    "cpu": {"cpu": _cpu},
    "cuda": {"cudnn": _cudnn, "flash": _flash, "efficient": _efficient},
}
"""Candidate kernels by device type. `kernel_for` selects the fastest correct one."""
SHAPE_SPECIALIZED = frozenset({"cudnn"})
"""Kernels that are prepared for every new shape. The preparation takes longer than attention for a few queries, and decoding
has a new shape for every token."""
TIMED_CALLS = 5
"""Number of calls queued in a row, so that the device is timed and not the kernel launch."""


@functools.cache
def kernel_for(device: torch.device, dtype: torch.dtype, heads: int, size: int, causal: bool, few: bool) -> Kernel:
    """Select the fastest kernel on this device that agrees with the definition, for one kind of work.

    `few`: few queries against many keys, instead of a whole chunk of queries. The choice is measured once, on random
    numbers, in some milliseconds. Kernels that fail or are wrong at these shapes are excluded (cuDNN has been wrong elsewhere).
    """
    candidates = {
        name: kernel for name, kernel in KERNELS.get(device.type, {}).items() if not (few and name in SHAPE_SPECIALIZED)
    }
    # On a GPU, smaller inputs would only time the kernel launch.
    many = 4096 if device.type == "cuda" else 512
    queries, keys = (16, 8192) if few else (many, many) if causal else (many, 4 * many)
    generator = torch.Generator(device=device).manual_seed(0)
    q, k, v = (
        torch.randn((1, heads, length, size), generator=generator, device=device, dtype=torch.float32).to(dtype)
        for length in (queries, keys, keys)
    )
    scale = size**-0.5
    expected_out, expected_lse = _reference(q, k, v, causal, scale)
    max_lse_error, max_out_error = (1e-4, 1e-4) if dtype == torch.float32 else (2e-3, 2e-2)
    best: Kernel = _reference
    best_s = math.inf
    for name, kernel in candidates.items():
        try:
            out, lse = kernel(q, k, v, causal, scale)
            # The error of outputs is relative: averages over thousands of values are small.
            out_error = (out.float() - expected_out.float()).norm() / expected_out.float().norm()
            lse_error = (lse.float() - expected_lse).abs().max()
            if not (out_error <= max_out_error and lse_error <= max_lse_error):
                log.warning("attention kernel %s is wrong on %s and is not used", name, device)
                continue
            seconds = min(_time_kernel(kernel, q, k, v, causal, scale) for _ in range(3))
        except torch.OutOfMemoryError:
            # Running out of memory does not make the kernel unusable. The next request measures again.
            raise
        except RuntimeError as error:
            log.info("attention kernel %s cannot be used on %s: %s", name, device, error)
            continue
        if seconds < best_s:
            best, best_s = kernel, seconds
    log.info("attention on %s, causal=%s, few=%s: %s", device, causal, few, best)
    return best


def _time_kernel(kernel: Kernel, *arguments: Any) -> float:
    device = arguments[0].device
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    for _ in range(TIMED_CALLS if device.type == "cuda" else 1):
        kernel(*arguments)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *, scale: float) -> torch.Tensor:
    """Compute causal attention of the last n tokens of a sequence to the whole sequence.

    `query` is (1, heads, n, size); `key` and `value` of all tokens are (1, KV heads, L, size). Returns (1, heads, n, size).
    """
    _, heads, count, size = query.shape
    kv_heads, length = key.shape[1], key.shape[2]
    groups = heads // kv_heads
    past = length if count == 1 else length - count
    parts = []
    if past:
        rows = query.reshape(1, kv_heads, groups * count, size)
        out, lse = _attend_past(rows, key[:, :, :past], value[:, :, :past], scale)
        parts.append((out.reshape(1, heads, count, size), lse.reshape(1, heads, count)))
    if count > 1:
        k, v = (states[:, :, past:].repeat_interleave(groups, dim=1) for states in (key, value))
        kernel = kernel_for(query.device, query.dtype, heads, size, causal=True, few=False)
        parts.append(kernel(query.contiguous(), k, v, True, scale))
    return parts[0][0] if len(parts) == 1 else _merge_partial(*(torch.stack(pair) for pair in zip(*parts, strict=True)))


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
        out = _merge_partial(torch.stack([past, out]), torch.stack([past_lse.float(), lse]))
    return out.reshape(1, heads, 1, size)


def _attend_past(rows: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute attention of all rows (1, H, N, D) to all keys (1, H, L, D), and its log-sum-exp (1, H, N)."""
    _, heads, count, size = rows.shape
    length = key.shape[2]
    few = count <= MAX_FEW_QUERIES
    kernel = kernel_for(rows.device, rows.dtype, heads, size, causal=False, few=few)
    splits = _split_count(rows.device, heads * math.ceil(count / ROWS_PER_BLOCK), length)
    if splits == 1:
        return kernel(rows, key, value, False, scale)
    split_keys = length // splits // SPLIT_KEYS_STEP * SPLIT_KEYS_STEP
    # A view, not a copy: the splits become a batch.
    k, v = (states[0, :, : splits * split_keys].unflatten(1, (splits, split_keys)).transpose(0, 1) for states in (key, value))
    out, lse = kernel(rows.expand(splits, -1, -1, -1), k, v, False, scale)
    if length > splits * split_keys:
        tail, tail_lse = kernel(rows, key[:, :, splits * split_keys :], value[:, :, splits * split_keys :], False, scale)
        out, lse = torch.cat([out, tail]), torch.cat([lse, tail_lse])
    total_lse = torch.logsumexp(lse, dim=0, keepdim=True)
    return _merge_partial(out.unsqueeze(1), lse.unsqueeze(1)), total_lse


def _split_count(device: torch.device, blocks: int, length: int) -> int:
    """Count the splits of the past that give every processor of the device work. `blocks`: units of work without a split."""
    processors = (
        torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else torch.get_num_threads()
    )
    return max(1, min(math.ceil(processors / blocks), length // MIN_SPLIT_KEYS))


def _merge_partial(out: torch.Tensor, lse: torch.Tensor) -> torch.Tensor:
    """Merge outputs (parts, 1, H, N, D) over disjoint keys, weighted by their log-sum-exps (parts, 1, H, N)."""
    shares = torch.softmax(lse.float(), dim=0).unsqueeze(-1)
    return (out.float() * shares).sum(0).to(out.dtype)


def _text_attention(
    module: torch.nn.Module,  # noqa: ARG001 (transformers' signature)
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
