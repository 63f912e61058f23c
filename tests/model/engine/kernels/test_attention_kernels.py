"""Tests of the selection of attention kernels: which ones are used, for which calls, and what the check costs."""

import math
from collections.abc import Iterator

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from longview.model.engine.kernels import attention_kernels
from longview.model.engine.kernels.attention import attend
from longview.model.engine.kernels.attention_kernels import KERNELS, Kernel, QueryRows, checked_calls, kernel_for, largest_errors
from tests.model.engine.kernels.test_attention import definition, states
from tests.support.tensor_memory import TensorMemory

cpu_kernel = KERNELS["cpu"]["cpu"]


@pytest.fixture
def candidates(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Kernel]]:
    """The candidate kernels of the CPU, which a test fills, on a processor whose eight threads make splits useful."""
    empty: dict[str, Kernel] = {}
    monkeypatch.setitem(KERNELS, "cpu", empty)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    kernel_for.cache_clear()
    yield empty
    kernel_for.cache_clear()


def assert_attends(*counts_and_lengths: tuple[int, int]) -> None:
    for count, length in counts_and_lengths:
        query, key, value = states(4, 2, count, length)
        assert torch.allclose(attend(query, key, value, scale=0.3), definition(query, key, value, 0.3), atol=1e-5)


def not_a_number(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.full_like(q, math.nan), torch.zeros(q.shape[:3])


def wrong_in_one_head(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    out, lse = cpu_kernel(q, k, v, causal, scale)
    out[:, -1] *= 1.5
    return out, lse


def failing(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool, scale: float) -> tuple[torch.Tensor, torch.Tensor]:
    raise RuntimeError("no kernel for this head size")


def even_only(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool, scale: float) -> tuple[torch.Tensor, torch.Tensor]:
    if q.shape[2] % 2 or k.shape[2] % 2:
        raise RuntimeError("no plan for an odd length")
    return cpu_kernel(q, k, v, causal, scale)


def test_kernels_that_are_wrong_or_fail_at_any_length_are_not_used(
    candidates: dict[str, Kernel], caplog: pytest.LogCaptureFixture
) -> None:
    candidates |= {"nan": not_a_number, "one head": wrong_in_one_head, "failing": failing, "even": even_only}
    assert_attends((6, 50), (1, 4096), (3, 4099), (77, 77))
    assert "nan is wrong" in caplog.text and "one head is wrong" in caplog.text


def test_splits_pass_queries_that_every_kernel_accepts(candidates: dict[str, Kernel]) -> None:
    batches: list[int] = []

    def strict(
        q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool, scale: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not q.is_contiguous():
            raise RuntimeError("queries must be contiguous")
        batches.append(len(q))
        return cpu_kernel(q, k, v, causal, scale)

    candidates["strict"] = strict
    assert_attends((1, 4096), (3, 4099), (30, 4099))
    batches.clear()
    assert_attends((3, 4102))
    # Four splits, the rest of the past, and the tokens themselves.
    assert batches == [4, 1, 1]


def test_kernels_that_are_prepared_for_every_shape_get_only_many_rows(candidates: dict[str, Kernel]) -> None:
    rows: list[int] = []

    def specialized(
        q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool, scale: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        rows.append(q.shape[2])
        return cpu_kernel(q, k, v, causal, scale)

    candidates["cudnn"] = specialized
    assert_attends((1, 1500), (20, 1500), (400, 1500))
    assert rows == []
    assert_attends((1001, 1500))
    rows.clear()
    assert_attends((1001, 1500))
    # Grouped queries are rows of one head where they attend to the past.
    assert rows == [2 * 1001, 1001]


@pytest.mark.parametrize(
    ("heads", "is_causal", "chunk_bytes"),
    [(16, True, 1_225e6), (32, True, 1_289e6), (64, True, 1_694e6), (8, False, 1_225e6)],
    ids=["16 heads", "32 heads", "64 heads", "8 KV heads"],
)
def test_check_takes_little_memory_at_the_published_shapes(heads: int, is_causal: bool, chunk_bytes: float) -> None:
    # `chunk_bytes`: the activations of a chunk of 8,192 visual tokens, for the published checkpoint with so many heads that needs
    # the fewest (2B, 30B-A3B, 235B-A22B, 2B). All have at most 8 KV heads.
    for call in checked_calls("cuda", QueryRows.MANY, is_causal=is_causal):
        with FakeTensorMode(), TensorMemory() as memory:
            inputs = call.inputs(torch.device("cpu"), torch.bfloat16, heads, 128, is_causal=is_causal)
            largest_errors(attention_kernels._cpu, inputs, is_causal, call.splits)
        assert sum(states.nbytes for states in inputs) < memory.peak_bytes < chunk_bytes / 4
