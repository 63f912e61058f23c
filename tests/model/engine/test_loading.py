"""Tests of loading: quantised files, experts, several devices, and what is said before any weight is read."""

import importlib.util
import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import dispatch_model
from safetensors.torch import load_file, save_file
from transformers.integrations import finegrained_fp8

from longview.model.engine import devices, loading, local, placement
from longview.model.engine.checkpoints.checkpoints import find_checkpoint
from longview.model.engine.checkpoints.weight_files import read_tensors
from longview.model.engine.costs.estimates import Estimates
from longview.model.engine.costs.model_sizes import sizes_of
from longview.model.engine.devices import choose_device_type, inference, memory_errors
from longview.model.engine.generation.decoding import GenerationConfig
from longview.model.engine.kernels import experts, fp8
from longview.model.engine.kernels.fp8 import can_multiply_fp8
from longview.model.engine.local import LocalEngine
from longview.model.errors import DeviceNotFound, InvalidCheckpoint, OutOfMemory
from tests.model.engine.execution.test_prefill import QUESTION, open_session, random_frames
from tests.support.hf_reference import HFReference
from tests.support.random_checkpoints import random_model, save_random_checkpoint

GIB = 1 << 30
FP8_BLOCK = 32


def quantize_to_fp8(folder: Path) -> dict[str, torch.Tensor]:
    """Rewrite the feed-forward weights of a checkpoint as published FP8 files have them; return all weights de-quantised."""
    weights = load_file(folder / "model.safetensors")
    stored, expected = dict(weights), dict(weights)
    for name, weight in weights.items():
        if ".mlp." not in name or "visual" in name:
            continue
        blocks = weight.unflatten(0, (-1, FP8_BLOCK)).unflatten(2, (-1, FP8_BLOCK))
        scale = blocks.abs().amax((1, 3), keepdim=True) / torch.finfo(torch.float8_e4m3fn).max
        quantized = (blocks / scale).to(torch.float8_e4m3fn)
        stored[name] = quantized.view(weight.shape)
        stored[f"{name}_scale_inv"] = scale[:, 0, :, 0].clone()
        expected[name] = (quantized.float() * scale).view(weight.shape)
    save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})
    write_quantization(
        folder,
        {
            "quant_method": "fp8",
            "activation_scheme": "dynamic",
            "weight_block_size": [FP8_BLOCK, FP8_BLOCK],
            "modules_to_not_convert": ["model.visual", "lm_head", "self_attn"],
        },
    )
    return expected


def write_quantization(folder: Path, quantization: dict[str, Any]) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": quantization}))


def test_fp8_files_are_dequantized_where_no_kernel_exists(tmp_path: Path) -> None:
    save_random_checkpoint(tmp_path, "dense")
    expected = quantize_to_fp8(tmp_path)
    engine = LocalEngine(find_checkpoint(str(tmp_path)), device="cpu", cpu_threads=1)
    video = random_frames(12, 64, 96)
    logits = open_session(engine, [video]).first_logits(QUESTION)
    reference = random_model("dense")
    reference.load_state_dict(expected, strict=False)
    plain = HFReference.from_loaded(engine.processor, reference.eval())
    # De-quantised weights are in bfloat16 at some point: 8 bits of mantissa hold what FP8 holds, but not its scale.
    assert (logits.float() - plain.logits(video, QUESTION)).abs().max() < 0.05 * logits.float().std()


def without_kernel(*_: object, **__: object) -> None:
    raise FileNotFoundError("no build for this version of torch")


def multiply(inputs: torch.Tensor, weight: torch.Tensor, scales: torch.Tensor, block_size: Any, *_: object, **__: object) -> Any:
    """Multiply as the kernel of linear layers does, for blocks of 128 and scales in float32."""
    if list(block_size) != [128, 128] or scales.dtype != torch.float32:
        raise NotImplementedError("no kernel for these blocks or scales")
    each_scale = scales.float().repeat_interleave(128, 0).repeat_interleave(128, 1)
    return (inputs.float() @ (weight.float() * each_scale).T).to(inputs.dtype)


def multiply_groups(
    inputs: torch.Tensor, weight: torch.Tensor, scales: torch.Tensor, *, offsets: torch.Tensor, block_size: Any, **_: object
) -> Any:
    """Multiply the tokens of each expert as the kernel of experts does."""
    groups = torch.tensor_split(inputs, offsets[:-1].tolist())
    return torch.cat([multiply(*group, block_size) for group in zip(groups, weight, scales, strict=True)])


def multiply_by_the_first_expert(
    inputs: torch.Tensor, weight: torch.Tensor, scales: torch.Tensor, *, block_size: Any, **_: object
) -> Any:
    return multiply(inputs, weight[0], scales[0], block_size)


def multiply_to_nan(inputs: torch.Tensor, *_: object, **__: object) -> torch.Tensor:
    return inputs * torch.nan


@pytest.mark.parametrize(
    ("layout", "options", "kernel", "experts_kernel", "is_usable"),
    [
        ("dense", {}, multiply, without_kernel, True),
        ("dense", {}, without_kernel, multiply_groups, False),
        ("dense", {}, multiply_to_nan, multiply_groups, False),
        ("dense", {"weight_block_size": [64, 64]}, multiply, multiply_groups, False),
        ("dense", {"scale_fmt": "ue8m0"}, multiply, multiply_groups, False),
        ("mixture of experts", {}, multiply, multiply_groups, True),
        ("mixture of experts", {}, multiply, without_kernel, False),
        ("mixture of experts", {}, multiply, multiply_by_the_first_expert, False),
        ("hybrid mixture of experts", {}, multiply, multiply_groups, True),
        ("hybrid mixture of experts", {"activation_scheme": "static"}, multiply, multiply_groups, False),
    ],
    ids=[
        "right", "not loadable", "wrong", "other blocks", "other scales", "right experts", "experts not loadable",
        "wrong experts", "hybrid with right experts", "experts with static scales",
    ],
)  # fmt: skip
def test_fp8_kernels_are_tried_before_the_first_question(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    layout: str,
    options: dict[str, Any],
    kernel: Any,
    experts_kernel: Any,
    is_usable: bool,
) -> None:
    save_random_checkpoint(tmp_path, layout)
    quantization = {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [128, 128]}
    write_quantization(tmp_path, quantization | options)
    # A GPU that has FP8, with the package `kernels`, as far as transformers can see.
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(fp8, "is_kernels_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: (8, 9))
    monkeypatch.setattr(finegrained_fp8, "_FINEGRAINED_FP8", SimpleNamespace(matmul=kernel, grouped_matmul=experts_kernel))
    checkpoint = find_checkpoint(str(tmp_path))
    config = loading.load_config(checkpoint)
    loading.prepare_quantization(checkpoint, config, "cuda")
    loading.place_checkpoint(checkpoint, read_tensors(checkpoint), config, torch.bfloat16, [torch.device("cpu")])
    assert bool(loading.quantization_of(config).get("dequantize")) is not is_usable
    assert ("is de-quantised to bfloat16 and takes twice its size" in caplog.text) is not is_usable


def test_fp8_kernels_are_tried_where_the_weights_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_random_checkpoint(tmp_path, "dense")
    quantization = {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [128, 128]}
    write_quantization(tmp_path, quantization)
    checkpoint = find_checkpoint(str(tmp_path))
    config = loading.load_config(checkpoint)
    tried_devices: list[list[torch.device]] = []

    def try_devices(*arguments: Any) -> bool:
        tried_devices.append(arguments[-1])
        return True

    monkeypatch.setattr(loading, "can_multiply_fp8", try_devices)
    gpus = [torch.device("cuda", index) for index in range(2)]
    tensors = read_tensors(checkpoint)
    size_bytes = sum(loading.loaded_sizes(tensors, config, torch.bfloat16).values())
    for free_bytes in (8 * GIB, 4 * GIB + size_bytes * 3 // 4):
        memory = {gpus[0]: (4 * GIB + size_bytes * 2 // 3, 24 * GIB), gpus[1]: (free_bytes, 24 * GIB)}
        monkeypatch.setattr(placement, "memory_bytes", memory.__getitem__)
        loading.place_checkpoint(checkpoint, tensors, config, torch.bfloat16, gpus)
    assert tried_devices == [gpus[1:], gpus]
    monkeypatch.undo()
    # DeepGEMM gives wrong results on several devices, where transformers does without it.
    monkeypatch.setattr(finegrained_fp8, "_FINEGRAINED_FP8", SimpleNamespace(matmul=multiply))
    monkeypatch.setattr(finegrained_fp8, "is_deepgemm_loadable", lambda: True)
    monkeypatch.setattr(finegrained_fp8, "is_sm100", lambda: False)
    monkeypatch.setattr(finegrained_fp8, "deepgemm_fp8_fp4_linear", multiply_to_nan)
    cpu = torch.device("cpu")
    assert not can_multiply_fp8(config.get_text_config(), quantization, [cpu])
    assert can_multiply_fp8(config.get_text_config(), quantization, [cpu, cpu])


@pytest.mark.parametrize(("method", "package"), [("awq", "gptqmodel"), ("gptq", "optimum|gptqmodel|GPU")])
def test_missing_package_of_a_quantised_checkpoint_is_named_before_loading(tmp_path: Path, method: str, package: str) -> None:
    save_random_checkpoint(tmp_path, "dense")
    write_quantization(tmp_path, {"quant_method": method, "bits": 4, "group_size": 128, "zero_point": True, "desc_act": False})
    # The weights cannot even be read.
    (tmp_path / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(InvalidCheckpoint, match=rf"is quantised \({method}\) and cannot be loaded here: .*({package})"):
        LocalEngine(find_checkpoint(str(tmp_path)), device="cpu")


@pytest.mark.parametrize("layout", ["mixture of experts", "hybrid mixture of experts"])
def test_experts_are_gathered_for_one_token_and_grouped_for_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    save_random_checkpoint(tmp_path, layout)
    engine = LocalEngine(find_checkpoint(str(tmp_path)), device="cpu", cpu_threads=1)
    calls: Counter[tuple[str, bool]] = Counter()

    def count(name: str) -> Any:
        forward = getattr(experts, name)

        def count_and_call(self: Any, hidden_states: torch.Tensor, *arguments: Any) -> Any:
            calls[name, len(hidden_states) == 1] += 1
            return forward(self, hidden_states, *arguments)

        return count_and_call

    for name in ("batched_mm_experts_forward", "grouped_mm_experts_forward"):
        monkeypatch.setattr(experts, name, count(name))
    video = random_frames(8, 64, 96)
    tokens = list(open_session(engine, [video]).tokens(QUESTION, GenerationConfig(6)))
    assert set(calls) == {("batched_mm_experts_forward", True), ("grouped_mm_experts_forward", False)}
    plain = HFReference(tmp_path)
    inputs = plain.inputs(video, QUESTION)
    expected = plain.model.generate(**inputs, do_sample=False, max_new_tokens=6)[0, inputs["input_ids"].shape[1] :]
    assert tokens == expected[: len(tokens)].tolist()


def test_fullest_device_limits_the_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = [torch.device("cuda", index) for index in range(2)]
    estimates = Estimates(sizes_of(random_model("dense")), "cpu")
    free = {gpus[0]: 10 * GIB + estimates.chunk_bytes, gpus[1]: 9 * GIB + estimates.chunk_bytes}
    monkeypatch.setattr(local, "memory_bytes", lambda device: (free[device], 24 * GIB))
    # Three quarters of the layers, and so of the keys and values, are on the first device.
    assert local._cache_room_bytes(Counter({gpus[0]: 30, gpus[1]: 10}), estimates) == 10 * GIB * 4 // 3
    assert local._cache_room_bytes(Counter({gpus[0]: 10, gpus[1]: 30}), estimates) == 9 * GIB * 4 // 3


def test_a_card_that_is_too_old_is_named_before_anything_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_random_checkpoint(tmp_path, "dense")
    (tmp_path / "model.safetensors").write_bytes(b"not weights")
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(devices, "devices_of", lambda _: [torch.device("cuda", 0)])
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Tesla T4")
    with pytest.raises(DeviceNotFound, match=r"The GPU Tesla T4 \(compute capability 7\.5\) does not compute in bfloat16"):
        loading.load_model(find_checkpoint(str(tmp_path)), "cuda")


def test_a_driver_that_pytorch_cannot_use_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise RuntimeError("The NVIDIA driver on your system is too old\n(found version 11040).")

    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: None)
    monkeypatch.setattr(torch.cuda, "init", fail)
    assert devices.choose_device_type(None) == "cpu" and not caplog.text
    (tmp_path / "version").touch()
    monkeypatch.setattr(devices, "NVIDIA_DRIVER", tmp_path / "version")
    devices.warn_once.cache_clear()
    for _ in range(2):
        assert devices.choose_device_type(None) == "cpu"
    assert caplog.text.count("is too old (found version 11040).); models run on the CPU") == 1
    with pytest.raises(DeviceNotFound, match="A driver of NVIDIA is installed, but PyTorch .* is too old .*LONGVIEW_DEVICE=cpu"):
        devices.choose_device_type("cuda")


def test_memory_that_is_kept_free_is_taken_from_the_sessions(engine: LocalEngine) -> None:
    before_tokens, before_bytes = engine.context_tokens, engine.kv_cache_bytes
    room = engine._cache_room_bytes
    try:
        engine.keep_free(room // 2)
        assert engine.kv_cache_bytes == pytest.approx(before_bytes / 2, rel=0.01) and engine.context_tokens <= before_tokens
        engine.keep_free(room)
        assert engine.kv_cache_bytes == engine.context_tokens == 0
    finally:
        engine._cache_room_bytes = room
        engine.keep_free(0)


@pytest.mark.parametrize("layout", ["dense", "hybrid"])
def test_layers_with_the_hooks_of_several_devices_give_the_same_logits(tmp_path: Path, layout: str) -> None:
    save_random_checkpoint(tmp_path, layout)
    engine = LocalEngine(find_checkpoint(str(tmp_path)), device="cpu", cpu_threads=1)
    video = random_frames(12, 64, 96)
    expected = open_session(engine, [video]).first_logits(QUESTION)
    language = engine.model.model.language_model
    parts = ["model.visual", "lm_head", *(f"model.language_model.{name}" for name, _ in language.named_children())]
    parts.remove("model.language_model.layers")
    parts += [f"model.language_model.layers.{index}" for index in range(len(language.layers))]
    # The engine calls parts of the model; each part moves its arguments to its own device, and the cache stays where it is.
    dispatch_model(engine.model, dict.fromkeys(parts, "cpu"), main_device="cpu", skip_keys=["past_key_values"], force_hooks=True)
    assert hasattr(language.layers[0], "_hf_hook")
    assert torch.equal(open_session(engine, [video]).first_logits(QUESTION), expected)


def test_unavailable_device_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DeviceNotFound, match="no device tpu; use cuda, xpu, mps, cpu"):
        choose_device_type("tpu")
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: torch.device("xpu"))
    assert (choose_device_type(None), choose_device_type("xpu"), choose_device_type("cpu")) == ("xpu", "xpu", "cpu")
    with pytest.raises(DeviceNotFound, match=r"no CUDA device .*set the device to xpu \(LONGVIEW_DEVICE=xpu\)"):
        choose_device_type("cuda")
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: None)
    assert choose_device_type(None) == "cpu"


@pytest.mark.parametrize(
    "message", ["MPS backend out of memory (MPS allocated: 9 GB)", "DefaultCPUAllocator: can't allocate memory: 8 TB"]
)
def test_memory_errors_without_a_class_of_their_own_are_recognised(message: str) -> None:
    with pytest.raises(OutOfMemory, match="enough memory for the reply"), memory_errors("the reply"):
        raise RuntimeError(message)
    with pytest.raises(RuntimeError, match="shape"), memory_errors("the reply"):
        raise RuntimeError("shape mismatch")


def test_experts_in_8_bits_are_refused_only_where_the_precision_has_an_effect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_random_checkpoint(tmp_path, "mixture of experts")
    checkpoint = find_checkpoint(str(tmp_path))
    with pytest.raises(InvalidCheckpoint, match="has experts, which cannot be in 8 bits here; use --precision bfloat16"):
        loading.load_model(checkpoint, "cpu", "int8")
    monkeypatch.setattr(loading, "devices_of", lambda _: [torch.device("cuda", 0)])
    # The weights are not read.
    monkeypatch.setattr(placement, "memory_bytes", lambda _: (0, 0))
    with pytest.raises(OutOfMemory, match="the memory of the GPU is 0 GB"):
        loading.load_model(checkpoint, "cuda", "int8")


def test_weights_that_do_not_fit_have_advice_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_random_checkpoint(tmp_path, "dense")

    def run_out_of_memory(*_: object, **__: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: 8 TB")

    monkeypatch.setattr(loading.AutoModelForImageTextToText, "from_pretrained", run_out_of_memory)
    with pytest.raises(OutOfMemory, match=r"for the weights; .* quantised checkpoint, --precision bfloat16") as caught:
        LocalEngine(find_checkpoint(str(tmp_path)), device="cpu")
    assert "--context-tokens" not in str(caught.value)


def test_small_numbers_are_kept_outside_of_inference() -> None:
    tiny = float(np.float32(1e-40))
    with inference("a test"):
        with inference("a test"):
            pass
        assert float(torch.tensor([tiny]) * 1) == 0
    assert float(torch.tensor([tiny]) * 1) == tiny


def test_memory_that_pytorch_keeps_counts_as_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "get_memory_info", lambda _: (3 * GIB, 24 * GIB))
    monkeypatch.setattr(torch.accelerator, "memory_reserved", lambda _: 20 * GIB)
    monkeypatch.setattr(torch.accelerator, "memory_allocated", lambda _: 15 * GIB)
    assert devices.memory_bytes(torch.device("cuda", 0)) == (8 * GIB, 24 * GIB)
