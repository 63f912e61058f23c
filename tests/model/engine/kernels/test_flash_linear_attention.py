"""The kernels of linear-attention layers: used where they work, else replaced, and one sentence says which and what to do."""

import inspect
import logging
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers.integrations import hub_kernels
from transformers.models.qwen3_5 import modeling_qwen3_5 as architecture

from longview.model.engine.kernels import flash_linear_attention
from longview.model.engine.kernels.flash_linear_attention import RULES, use_linear_attention_kernels

KERNELS = ("chunk_gated_delta_rule", "fused_recurrent_gated_delta_rule")
WORKING = """
import inspect
from transformers.models.qwen3_5 import modeling_qwen3_5 as architecture
CALLS = []
def use(rule):
    operations = inspect.unwrap(getattr(architecture, rule))
    def kernel(q, k, v, g, beta, initial_state=None, output_final_state=False, use_qk_l2norm_in_kernel=False):
        CALLS.append(rule)
        return operations(q, k, v, g=g, beta=beta, initial_state=initial_state, output_final_state=output_final_state,
                          use_qk_l2norm_in_kernel=use_qk_l2norm_in_kernel)
    # transformers passes by name.
    def renamed(query, key, value, g, beta, initial_state=None, output_final_state=False, use_qk_l2norm_in_kernel=False):
        return kernel(query, key, value, g, beta, initial_state, output_final_state, use_qk_l2norm_in_kernel)
    return renamed
chunk_gated_delta_rule = use("torch_chunk_gated_delta_rule")
fused_recurrent_gated_delta_rule = use("torch_recurrent_gated_delta_rule")
"""
WRONG_STATE = (
    WORKING
    + """
right_rule = fused_recurrent_gated_delta_rule
def fused_recurrent_gated_delta_rule(query, key, value, g, beta, initial_state=None, output_final_state=False,
                                     use_qk_l2norm_in_kernel=False):
    out, state = right_rule(query, key, value, g, beta, initial_state, output_final_state, use_qk_l2norm_in_kernel)
    return out, state * 2
"""
)
NO_COMPILER = (
    WORKING
    + """
HAS_COMPILER = False
right_rule = chunk_gated_delta_rule
def chunk_gated_delta_rule(query, key, value, g, beta, initial_state=None, output_final_state=False,
                           use_qk_l2norm_in_kernel=False):
    if not HAS_COMPILER:
        raise RuntimeError("Failed to find C compiler. Please specify via CC environment variable.")
    return right_rule(query, key, value, g, beta, initial_state, output_final_state, use_qk_l2norm_in_kernel)
"""
)
NO_HEADERS = (
    WORKING
    + """
def chunk_gated_delta_rule(query, key, value, g, beta, initial_state=None, output_final_state=False,
                           use_qk_l2norm_in_kernel=False):
    import subprocess
    raise subprocess.CalledProcessError(1, ["gcc", "main.c"])
"""
)


def install(monkeypatch: pytest.MonkeyPatch, folder: Path, code: str | None) -> None:
    """Let transformers choose its functions again, beside a package `fla` with this code; None: beside none."""
    for name in [name for name in sys.modules if name == "fla" or name.startswith("fla.")]:
        monkeypatch.delitem(sys.modules, name)
    if code is None:
        monkeypatch.setitem(sys.modules, "fla", None)
    else:
        (folder / "fla/ops").mkdir(parents=True)
        (folder / "fla/__init__.py").write_text(code if code.startswith("raise") else "")
        (folder / "fla/ops/__init__.py").write_text("")
        (folder / "fla/ops/gated_delta_rule.py").write_text(code)
        monkeypatch.syspath_prepend(folder)
    for rule, kernel in zip(RULES, KERNELS, strict=True):
        chosen = hub_kernels.use_kernel_func_from_hub_with_fallback(kernel, "fla")(inspect.unwrap(getattr(architecture, rule)))
        monkeypatch.setattr(architecture, rule, chosen)


def kernel_calls() -> list[str]:
    calls: list[str] = sys.modules["fla.ops.gated_delta_rule"].CALLS
    return calls


def make_model(head_size: int = 16) -> torch.nn.Module:
    """Return a model with one linear-attention layer and random weights."""
    config = architecture.Qwen3_5TextConfig(
        hidden_size=64, linear_key_head_dim=head_size, linear_value_head_dim=head_size, linear_num_key_heads=2,
        linear_num_value_heads=4, num_hidden_layers=4,
    )  # fmt: skip
    torch.manual_seed(0)
    return torch.nn.Sequential(architecture.Qwen3_5GatedDeltaNet(config, 0)).eval()


def outputs_of(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        out: torch.Tensor = model(torch.randn(1, 70, 64, generator=torch.Generator().manual_seed(1)))
        return out


@pytest.mark.parametrize("code", [None, "raise OSError('libcuda.so.1: cannot open shared object file')", "", WORKING])
def test_it_is_known_whether_transformers_uses_the_kernels(
    code: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    install(monkeypatch, tmp_path, code)
    monkeypatch.setattr(flash_linear_attention, "has_cuda_extra", lambda: True)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    with caplog.at_level(logging.INFO):
        problem = use_linear_attention_kernels("a checkpoint", make_model())
    (record,) = caplog.records
    if code == WORKING:
        assert problem is None and kernel_calls() == list(RULES)
        assert record.getMessage() == "a checkpoint: linear-attention layers run on flash-linear-attention"
        return
    state = {None: "is not installed", "": "transformers does not use the installed version"}.get(
        code, "(libcuda.so.1: cannot open"
    )
    assert problem and state in problem and record.levelno == logging.WARNING and problem in record.getMessage()
    assert problem.endswith("; install it with: pip install 'longview-video[cuda]' (in a checkout: pip install -e '.[cuda]')")


def test_nothing_is_advised_that_cannot_be_installed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    install(monkeypatch, tmp_path, None)
    monkeypatch.setattr(flash_linear_attention, "has_cuda_extra", lambda: False)
    model = make_model()
    use_linear_attention_kernels("a checkpoint", model)
    assert "flash-linear-attention is not installed" in caplog.text and "pip" not in caplog.text
    # transformers says once what to install, also the package that needs nvcc.
    hub_kernels.logger.warning_once.cache_clear()
    outputs_of(model)
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("code", "reason", "has_compiler_advice"),
    [
        (NO_COMPILER, "Failed to find C compiler", True),
        (NO_HEADERS, "returned non-zero exit status 1", True),
        (WRONG_STATE, "gives wrong results on cpu", False),
    ],
)
def test_layers_run_on_torch_operations_where_the_kernels_fail(
    code: str,
    reason: str,
    has_compiler_advice: bool,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = make_model()
    install(monkeypatch, tmp_path, None)
    expected = outputs_of(model)
    monkeypatch.undo()
    install(monkeypatch, tmp_path, code)
    use_linear_attention_kernels("a checkpoint", model)
    (record,) = [record for record in caplog.records if record.name.startswith("longview")]
    assert reason in record.getMessage() and ("apt install gcc python3-dev" in record.getMessage()) is has_compiler_advice
    kernel_calls().clear()
    assert torch.equal(outputs_of(model), expected) and not kernel_calls()
    # Layers of other sizes keep them, until they were tried.
    if code == WRONG_STATE:
        outputs_of(make_model(32))
        assert kernel_calls() == [RULES[0]]


def test_kernels_that_work_later_are_used_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model = make_model()
    install(monkeypatch, tmp_path, NO_COMPILER)
    assert use_linear_attention_kernels("a checkpoint", model)
    assert use_linear_attention_kernels("a checkpoint", make_model(32))
    # A compiler was installed.
    monkeypatch.setattr(sys.modules["fla.ops.gated_delta_rule"], "HAS_COMPILER", True)
    assert use_linear_attention_kernels("a checkpoint", model) is None
    kernel_calls().clear()
    outputs_of(model)
    assert kernel_calls() == [RULES[0]]
    # The other one was not tried again.
    outputs_of(make_model(32))
    assert kernel_calls() == [RULES[0]]


def test_a_model_without_such_layers_has_no_sentence(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert use_linear_attention_kernels("a checkpoint", torch.nn.Sequential(torch.nn.Linear(2, 2))) is None
    assert not caplog.records
