"""Tests of masks over the vocabulary of the published checkpoints."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
import xgrammar

from longview.model.engine.generation.grammar import GrammarState

VOCABULARY = 151_936


def test_mask_needs_no_compiler_and_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    bits = torch.randint(-(2**31), 2**31, ((VOCABULARY + 31) // 32,), generator=torch.Generator().manual_seed(3)).int()
    apply = xgrammar.apply_token_bitmask_inplace
    backends: list[str] = []

    def record(logits: torch.Tensor, bitmask: torch.Tensor, *, backend: Any = "auto") -> None:
        backends.append(backend)
        apply(logits, bitmask, backend=backend)

    monkeypatch.setattr(xgrammar, "apply_token_bitmask_inplace", record)
    matcher = SimpleNamespace(fill_next_token_bitmask=lambda mask: mask.copy_(bits) is not None)
    with torch.inference_mode():  # as the logits of an engine
        logits = torch.randn(VOCABULARY, generator=torch.Generator().manual_seed(4))
    before = logits.clone()
    masked = GrammarState(matcher, xgrammar, VOCABULARY).mask_logits(logits)

    allowed = (bits.unsqueeze(1) >> torch.arange(32, dtype=torch.int32)).flatten()[:VOCABULARY] & 1
    assert torch.equal(masked, before.where(allowed.bool(), -torch.inf))
    assert torch.equal(logits, before)
    # Triton and torch.compile call a C compiler, and "auto" chooses them by the device.
    assert set(backends) <= {"torch_native", "cpu", "cuda"} and backends
