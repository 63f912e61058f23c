"""Tests of the number formats on a CPU: 8 bits against float32, and the choice between the others."""

from pathlib import Path
from typing import Any

import pytest
import torch

from longview.model.engine import loading
from longview.model.engine.checkpoints.checkpoints import find_checkpoint
from longview.model.engine.checkpoints.weight_files import StoredTensor, sizes_in_memory
from longview.model.engine.costs.format_times import FormatTimes
from longview.model.engine.costs.model_sizes import sizes_of
from longview.model.engine.generation.decoding import GenerationConfig
from longview.model.engine.kernels import precision
from longview.model.engine.kernels.precision import Int8Linear
from longview.model.engine.loading import choose_dtype
from longview.model.engine.local import LocalEngine
from tests.model.engine.execution.test_prefill import QUESTION, open_session, random_frames
from tests.support.hf_reference import HFReference
from tests.support.random_checkpoints import save_random_checkpoint

# Seconds on one core with AMX, and as on a processor without it (FP32 at 290, BF16 at 168 GFLOP/s).
AMX_TIMES = FormatTimes(float32_rows_s=0.12, float32_row_s=0.005, bfloat16_rows_s=0.02, bfloat16_row_s=0.0035)
VNNI_TIMES = FormatTimes(float32_rows_s=0.059, float32_row_s=0.005, bfloat16_rows_s=0.2, bfloat16_row_s=0.0035)


@pytest.mark.parametrize(("dtype", "prefill"), [(torch.float32, "int8"), (torch.bfloat16, "bfloat16"), (torch.bfloat16, "never")])
@pytest.mark.parametrize("has_vnni", [True, False])
def test_one_large_token_does_not_cost_the_others_their_precision(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, prefill: Any, has_vnni: bool
) -> None:
    if not has_vnni:
        monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: False, raising=False)
    torch.manual_seed(0)
    linear = torch.nn.Linear(256, 384)
    inputs = torch.randn(2, 70, 256)
    inputs[0, 0] *= 1000
    inputs[1, 4] = 0
    expected = linear(inputs)
    out = Int8Linear(linear, prefill)(inputs.to(dtype))
    assert out.dtype == dtype and out.shape == expected.shape
    errors = (out.float() - expected).norm(dim=-1) / expected.norm(dim=-1)
    assert errors.max() < (0.03 if has_vnni else 0.05)
    assert torch.allclose(out[1, 4].float(), linear.bias, atol=1e-2)
    # A single token has kernels of its own.
    one = Int8Linear(linear, prefill)(inputs[:1, :1].to(dtype))
    assert (one.float() - expected[:1, :1]).norm() < 0.03 * expected[:1, :1].norm()


@pytest.mark.parametrize("layout", ["dense", "hybrid"])
@pytest.mark.parametrize("is_bfloat16_faster", [False, True])
def test_eight_bits_stay_close_to_float32(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str, is_bfloat16_faster: bool
) -> None:
    monkeypatch.setattr(loading, "format_times", lambda _: AMX_TIMES if is_bfloat16_faster else VNNI_TIMES)
    monkeypatch.setattr(precision, "MIN_INT8_FEATURES", 32)
    save_random_checkpoint(tmp_path, layout)
    engine = LocalEngine(find_checkpoint(str(tmp_path)), device="cpu", cpu_threads=1, precision="int8")
    assert sum(isinstance(module, Int8Linear) for module in engine.model.modules()) > 30
    assert engine.model.dtype == (torch.bfloat16 if is_bfloat16_faster else torch.float32)
    video = random_frames(12, 64, 96)
    session = open_session(engine, [video])
    expected = HFReference(tmp_path).logits(video, QUESTION)
    # Random weights have no margins between tokens, so only the direction of the logits is compared.
    similarity = torch.cosine_similarity(session.first_logits(QUESTION).float(), expected, dim=0)
    assert similarity > 0.95
    assert torch.equal(session.first_logits(QUESTION), session.first_logits(QUESTION))
    # The estimate counts the quantised weights.
    plain = LocalEngine(find_checkpoint(str(tmp_path)), device="cpu", cpu_threads=1)
    assert engine.estimates.weight_bytes < 0.6 * plain.estimates.weight_bytes
    assert sizes_of(engine.model).text_weights == pytest.approx(sizes_of(plain.model).text_weights, rel=0.02)


def test_demo_checkpoint_gives_nearly_the_same_captions_in_eight_bits(engine: LocalEngine) -> None:
    quantized = LocalEngine(find_checkpoint("demo"), device="cpu", cpu_threads=1, precision="int8")
    video = random_frames(12, 64, 96)
    logits = [open_session(one, [video]).first_logits(QUESTION).float() for one in (engine, quantized)]
    assert (logits[0] - logits[1]).abs().mean() < 0.1 * logits[0].std()
    assert list(open_session(quantized, [video]).tokens(QUESTION, GenerationConfig(4)))


def test_number_format_is_the_faster_one_that_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    small, large = 72 << 20, 4 << 30
    monkeypatch.setattr(loading, "memory_bytes", lambda _: (16 << 30, 32 << 30))
    monkeypatch.setattr(loading, "format_times", lambda _: VNNI_TIMES)
    assert choose_dtype(large, "cpu", "auto") == torch.float32
    assert choose_dtype(large, "cpu", "bfloat16") == torch.bfloat16
    assert choose_dtype(large, "cuda", "auto") == torch.bfloat16
    monkeypatch.setattr(loading, "format_times", lambda _: AMX_TIMES)
    assert choose_dtype(large, "cpu", "auto") == torch.bfloat16
    assert choose_dtype(large, "cpu", "float32") == torch.float32
    assert choose_dtype(small, "cpu", "auto") == torch.float32
    monkeypatch.setattr(loading, "format_times", lambda _: VNNI_TIMES)
    monkeypatch.setattr(loading, "memory_bytes", lambda _: (6 << 30, 32 << 30))
    assert choose_dtype(large, "cpu", "auto") == torch.bfloat16


def test_sizes_in_memory_follow_from_the_tensors_of_the_files() -> None:
    def tensor(dtype: str, *shape: int) -> StoredTensor:
        return StoredTensor(Path("model.safetensors"), dtype, shape)

    tensors = {
        "lm_head.weight": tensor("BF16", 100, 256),
        "layers.0.mlp.down_proj.weight": tensor("F8_E4M3", 256, 256),
        "layers.0.mlp.down_proj.weight_scale_inv": tensor("F32", 2, 2),
        "mtp.layers.0.weight": tensor("BF16", 4096, 4096),
    }
    in_fp8 = sizes_in_memory(tensors, 2, method="fp8")
    assert in_fp8 == dict(zip(tensors, [51_200, 65_536, 16], strict=False))
    # The head is in bfloat16 already, so that less than twice the files is taken.
    dequantized = sizes_in_memory(tensors, 2, method="fp8", is_dequantized=True)
    assert dequantized == {"lm_head.weight": 51_200, "layers.0.mlp.down_proj.weight": 131_072}
    assert sizes_in_memory({"a": tensor("BF16", 10), "b": tensor("F32", 10)}, 4) == {"a": 40, "b": 40}
