"""Attention kernels that return log-sum-exps: queries, keys and values -> output and log-sum-exp, on the fastest correct kernel.

`longview.model.engine.kernels.attention` merges outputs by their log-sum-exps, which torch's public attention does not return.
Kernels have been wrong or unusable at some shapes and layouts (pytorch/pytorch#175764). A kernel is therefore compared with the
definition, at the shapes and layouts in which it is used, before it is timed and selected.
"""

import enum
import functools
import logging
import math
import operator
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

log = logging.getLogger(__name__)

MAX_FEW_ROWS = 64
"""Maximum number of query rows that count as few. Kernels for chunks are not the fastest for so few rows."""
MIN_MANY_ROWS = 1000
"""Minimum number of query rows that count as many. A kernel that is prepared for every shape then repays the preparation."""
SPLIT_KEYS_STEP = 256
"""Granularity of the split size, in keys. The shape of a split then does not change with every token."""
REFERENCE_SCORES_BYTES = 2**25
"""Maximum size of the scores that `reference` computes at once, in bytes. Its peak is about three times as large."""
Kernel = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, bool, float], tuple[torch.Tensor, torch.Tensor]]
"""(queries, keys, values, causal, scale) -> (output, log-sum-exp). Queries (B, H, N, D); keys and values (B, H, L, D) with
the same number of heads; output (B, H, N, D); log-sum-exp float32 (B, H, N)."""
Inputs = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Queries, keys and values of a call."""


def reference(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool, scale: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute attention by its definition, in float32, to check the kernels and where no kernel is correct.

    The scores of all heads and rows would take gigabytes, so they are computed for one head and a block of rows at a time.
    """
    batch, heads, rows, _ = q.shape
    length = k.shape[2]
    out = torch.empty((*q.shape[:3], v.shape[-1]), dtype=q.dtype, device=q.device)
    lse = torch.empty((batch, heads, rows), dtype=torch.float32, device=q.device)
    step = max(1, REFERENCE_SCORES_BYTES // (4 * batch * length))
    indices = torch.arange(max(rows, length), device=q.device)
    for head in range(heads):
        keys, values = k[:, head].float().transpose(-1, -2), v[:, head].float()
        for start in range(0, rows, step):
            block = slice(start, min(start + step, rows))
            scores = (q[:, head, block].float() @ keys).mul_(scale)
            if causal:
                scores.masked_fill_(indices[:length] > indices[block].unsqueeze(1), -math.inf)
            lse[:, head, block] = scores.logsumexp(-1)
            out[:, head, block] = (scores.sub_(lse[:, head, block].unsqueeze(-1)).exp_() @ values).to(q.dtype)
    return out, lse


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
"""Kernels that are prepared for every new shape. The preparation takes longer than attention for few or some rows, and every
question and every decoding step has a new shape (ATen/native/cudnn/MHA.cpp keeps one plan for each shape and thread)."""
TIMED_CALLS = 5
"""Number of calls queued in a row, so that the device is timed and not the kernel launch."""


class QueryRows(enum.Enum):
    """A class of work by the number of query rows of a call: which kernel is the fastest depends on it."""

    FEW = "few"
    SOME = "some"
    MANY = "many"

    @classmethod
    def of(cls, count: int) -> "QueryRows":
        """Classify a number of rows."""
        return cls.FEW if count <= MAX_FEW_ROWS else cls.SOME if count < MIN_MANY_ROWS else cls.MANY


@dataclass(frozen=True)
class Call:
    """A call in whose shapes and layout a kernel is checked."""

    rows: int
    keys: int
    splits: int = 1
    """Number of splits of the keys; see `attend_in_splits`."""

    def inputs(self, device: torch.device, dtype: torch.dtype, heads: int, size: int, *, is_causal: bool) -> Inputs:
        """Create random queries (1, heads, rows, size), keys and values (1, heads, keys, size)."""
        generator = torch.Generator(device=device).manual_seed(0)
        # The keys of a past are the first positions of a larger cache.
        capacity = self.keys if is_causal else self.keys + SPLIT_KEYS_STEP
        q, k, v = (
            torch.randn((1, heads, length, size), generator=generator, device=device, dtype=dtype)
            for length in (self.rows, capacity, capacity)
        )
        return q, k[:, :, : self.keys], v[:, :, : self.keys]


def checked_calls(device_type: str, rows: QueryRows, *, is_causal: bool) -> tuple[Call, ...]:
    """List the calls in which a kernel has to be correct. The first one is also timed.

    Lengths in use are seldom multiples of a kernel's blocks, and a past may be read in splits (`attend_in_splits`).
    """
    # On a GPU, smaller inputs would only time the kernel launch.
    many = 4096 if device_type == "cuda" else 512
    timed_rows, odd_rows = {QueryRows.FEW: (16, 7), QueryRows.SOME: (256, 77), QueryRows.MANY: (many, many // 4 + 3)}[rows]
    if is_causal:
        return Call(timed_rows, timed_rows), Call(odd_rows, odd_rows)
    timed_keys = 4 * many if rows is QueryRows.MANY else 8192
    return Call(timed_rows, timed_keys), Call(odd_rows, 1003), Call(odd_rows, 2 * 1024 + 77, splits=2)


@functools.cache
def kernel_for(device: torch.device, dtype: torch.dtype, heads: int, size: int, causal: bool, rows: QueryRows) -> Kernel:
    """Select the fastest kernel on this device that agrees with the definition, for one kind of work.

    The choice is measured once, on random numbers, in some milliseconds. Kernels that fail or are wrong in a call of
    `checked_calls` are excluded. Without a correct kernel, the result is `reference`.
    """
    calls = checked_calls(device.type, rows, is_causal=causal)
    inputs = operator.methodcaller("inputs", device, dtype, heads, size, is_causal=causal)
    best: Kernel = reference
    best_s = math.inf
    for name, kernel in KERNELS.get(device.type, {}).items():
        if name in SHAPE_SPECIALIZED and rows is not QueryRows.MANY:
            continue
        try:
            if not all(_agrees(kernel, inputs(call), causal, call.splits) for call in calls):
                log.warning("attention kernel %s is wrong on %s and is not used", name, device)
                continue
            timed = inputs(calls[0])
            seconds = min(_time_kernel(kernel, timed, causal) for _ in range(3))
        except torch.OutOfMemoryError:
            # Running out of memory does not make the kernel unusable. The next request measures again.
            raise
        except RuntimeError as error:
            log.info("attention kernel %s cannot be used on %s: %s", name, device, error)
            continue
        if seconds < best_s:
            best, best_s = kernel, seconds
    log.info("attention on %s, causal=%s, %s rows: %s", device, causal, rows.value, best)
    return best


def _agrees(kernel: Kernel, inputs: Inputs, causal: bool, splits: int) -> bool:
    """Whether the errors of a kernel on these inputs are within the tolerance of their dtype."""
    max_lse_error, max_out_error = (1e-4, 1e-4) if inputs[0].dtype == torch.float32 else (2e-3, 2e-2)
    out_error, lse_error = largest_errors(kernel, inputs, causal, splits)
    return bool(out_error <= max_out_error) and bool(lse_error <= max_lse_error)


def largest_errors(kernel: Kernel, inputs: Inputs, causal: bool, splits: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Compare a kernel with the definition, head by head, because float32 copies of all heads would take a gigabyte.

    Returns the largest error of the output of a head, relative to the norm of that output, and the largest error of a
    log-sum-exp. NaN in any head gives NaN.
    """
    q, k, v = inputs
    scale = q.shape[-1] ** -0.5
    out, lse = kernel(q, k, v, True, scale) if causal else attend_in_splits(kernel, q, k, v, splits, scale)
    out_errors, lse_errors = [], []
    for head in range(q.shape[1]):
        of_head = slice(head, head + 1)
        expected_out, expected_lse = reference(q[:, of_head], k[:, of_head], v[:, of_head], causal, scale)
        # The error of outputs is relative: averages over thousands of values are small.
        out_errors.append((out[:, of_head].float() - expected_out.float()).norm() / expected_out.float().norm())
        lse_errors.append((lse[:, of_head].float() - expected_lse).abs().max())
    return torch.stack(out_errors).max(), torch.stack(lse_errors).max()


def _time_kernel(kernel: Kernel, inputs: Inputs, causal: bool) -> float:
    """Measure the time of some calls, in seconds."""
    q, k, v = inputs
    # Only this thread's stream is awaited: while another thread captures a CUDA graph, waiting for the whole device is an error.
    stream = torch.cuda.current_stream(q.device) if q.device.type == "cuda" else None
    if stream is not None:
        stream.synchronize()
    start = time.perf_counter()
    for _ in range(TIMED_CALLS if stream is not None else 1):
        kernel(q, k, v, causal, q.shape[-1] ** -0.5)
    if stream is not None:
        stream.synchronize()
    return time.perf_counter() - start


def attend_in_splits(
    kernel: Kernel, rows: torch.Tensor, key: torch.Tensor, value: torch.Tensor, splits: int, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute attention of all rows (1, H, N, D) to all keys (1, H, L, D), and its log-sum-exp (1, H, N).

    The keys are split into `splits` equal parts, which form one batch, and a rest of less than `SPLIT_KEYS_STEP * splits` keys.
    """
    if splits == 1:
        return kernel(rows, key, value, False, scale)
    length = key.shape[2]
    split_keys = length // splits // SPLIT_KEYS_STEP * SPLIT_KEYS_STEP
    # A view, not a copy: the splits become a batch.
    k, v = (states[0, :, : splits * split_keys].unflatten(1, (splits, split_keys)).transpose(0, 1) for states in (key, value))
    # Copies of the rows, because kernels refuse queries with a stride of 0 (pytorch/pytorch#175764). They take some megabytes.
    out, lse = kernel(rows.expand(splits, -1, -1, -1).contiguous(), k, v, False, scale)
    if length > splits * split_keys:
        tail, tail_lse = kernel(rows, key[:, :, splits * split_keys :], value[:, :, splits * split_keys :], False, scale)
        out, lse = torch.cat([out, tail]), torch.cat([lse, tail_lse])
    total_lse = torch.logsumexp(lse, dim=0, keepdim=True)
    return merge_partial(out.unsqueeze(1), lse.unsqueeze(1)), total_lse


def merge_partial(out: torch.Tensor, lse: torch.Tensor) -> torch.Tensor:
    """Merge outputs (parts, 1, H, N, D) over disjoint keys, weighted by their log-sum-exps (parts, 1, H, N)."""
    shares = torch.softmax(lse.float(), dim=0).unsqueeze(-1)
    return (out.float() * shares).sum(0).to(out.dtype)
