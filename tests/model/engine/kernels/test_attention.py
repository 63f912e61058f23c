"""Tests of `longview.model.engine.kernels.attention` against the definition, and of the preallocated KV cache."""

import pytest
import torch
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from longview.model.engine.checkpoints.layer_types import FULL_ATTENTION
from longview.model.engine.execution.kv_cache import PreallocatedCache
from longview.model.engine.kernels import attention
from longview.model.engine.kernels.attention import attend
from longview.model.errors import ContextOverflow
from tests.support.tensor_memory import TensorMemory


def states(heads: int, kv_heads: int, count: int, length: int, size: int = 16) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(heads * 1000 + length)
    # Large values make the softmax uneven, so that a wrong weight between two parts is visible.
    query = torch.randn(1, heads, count, size, generator=generator) * 3
    key, value = (torch.randn(1, kv_heads, length, size, generator=generator) * 2 for _ in range(2))
    return query, key, value


def definition(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float) -> torch.Tensor:
    groups = query.shape[1] // key.shape[1]
    count, length = query.shape[2], key.shape[2]
    mask = torch.ones(count, length, dtype=torch.bool).tril(length - count)
    k, v = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    return functional.scaled_dot_product_attention(query, k, v, attn_mask=mask, scale=scale)


@pytest.mark.parametrize(("heads", "kv_heads"), [(4, 4), (8, 2), (3, 1)])
@pytest.mark.parametrize(("count", "length"), [(1, 1), (1, 2), (7, 7), (1, 5000), (5, 4001), (300, 1300), (70, 71)])
def test_attend_equals_causal_attention(heads: int, kv_heads: int, count: int, length: int) -> None:
    query, key, value = states(heads, kv_heads, count, length)
    out = attend(query, key, value, scale=0.3)
    assert torch.allclose(out, definition(query, key, value, 0.3), atol=1e-5)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("length", [4096, 4099, 9001])
def test_a_split_past_gives_the_same_output(count: int, length: int) -> None:
    query, key, value = states(4, 2, count, length)
    threads = torch.get_num_threads()
    torch.set_num_threads(8)
    try:
        assert attention._split_count(query.device, 2, length) == min(4, length // attention.MIN_SPLIT_KEYS)
        out = attend(query, key, value, scale=0.25)
    finally:
        torch.set_num_threads(threads)
    assert torch.allclose(out, definition(query, key, value, 0.25), atol=1e-5)


@pytest.mark.parametrize(("count", "length"), [(1, 3000), (301, 301), (301, 2999)])
def test_a_device_without_kernels_attends_in_bounded_memory(monkeypatch: pytest.MonkeyPatch, count: int, length: int) -> None:
    query, key, value = states(8, 2, count, length)
    monkeypatch.delitem(attention.KERNELS, "cpu")
    monkeypatch.setattr(attention, "MASKED_SCORES_BYTES", 2**20)
    # This backend computes the scores of a call at once, as some devices do.
    with sdpa_kernel(SDPBackend.MATH), TensorMemory() as memory:
        out = attend(query, key, value, scale=0.3)
    # Two ways to compute it in float32 differ by 2e-5 with scores as large as these.
    assert torch.allclose(out, definition(query, key, value, 0.3), atol=5e-5)
    # Scores of all rows and keys together would take up to 29 MB.
    assert memory.peak_bytes < 5 * 2**20


def test_cache_is_filled_in_place_and_cropped() -> None:
    cache = PreallocatedCache([FULL_ATTENTION] * 2, 10)
    first, second = torch.randn(2, 1, 2, 6, 4), torch.randn(2, 1, 2, 3, 4)
    for layer in range(2):
        cache.update(first[0], first[1], layer)
    keys = cache.layers[0].keys
    assert cache.get_seq_length() == 6
    for layer in range(2):
        filled_keys, filled_values = cache.update(second[0], second[1], layer)
        assert torch.equal(filled_keys, torch.cat([first[0], second[0]], dim=2))
        assert torch.equal(filled_values, torch.cat([first[1], second[1]], dim=2))
    assert cache.layers[0].keys is keys
    with pytest.raises(ContextOverflow, match="10 tokens"):
        cache.update(first[0], first[1], 1)
    assert cache.get_seq_length() == 9
    cache.layers[1].crop(-2)
    cache.crop_to(6)
    assert [layer.get_seq_length() for layer in cache.layers] == [6, 6]
    assert cache.size_bytes == 2 * 2 * 2 * 10 * 4 * 4
