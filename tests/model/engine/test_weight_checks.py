"""Checkpoints of all families, also in FP8, are loaded with the right weights, or refused with the name of the damaged tensor."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
import torch
from transformers.quantizers.quantizer_finegrained_fp8 import FineGrainedFP8HfQuantizer

from longview.model.engine import loading
from longview.model.engine.checkpoints.checkpoints import find_checkpoint
from longview.model.engine.loading import load_model
from longview.model.engine.local import LocalEngine
from longview.model.errors import InvalidCheckpoint
from tests.model.engine.execution.test_prefill import QUESTION, open_session, random_frames
from tests.support.published_weights import (
    BLOCK,
    FP8_CONFIG,
    Weights,
    change_config,
    published,
    read,
    separate,
    to_fp8,
    write,
)
from tests.support.random_checkpoints import LAYOUTS, save_random_checkpoint

MIXTURES = ("mixture of experts", "hybrid mixture of experts")


def logits(folder: Path) -> torch.Tensor:
    engine = LocalEngine(find_checkpoint(str(folder)), device="cpu", cpu_threads=1, precision="float32")
    return open_session(engine, [random_frames(4, 64, 96)]).first_logits(QUESTION).float()


@pytest.fixture(scope="module")
def plain_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A checkpoint of each layout in float32, by the name of the layout."""
    folders = {layout: tmp_path_factory.mktemp("plain") for layout in LAYOUTS}
    for layout, folder in folders.items():
        # By the shape one sees whether a layer of experts is transposed.
        save_random_checkpoint(folder, layout, **({"moe_intermediate_size": 96} if layout in MIXTURES else {}))
    return folders


@pytest.fixture
def copy(plain_folders: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    """Return a copy of the checkpoint of a layout, which a test may change."""
    return lambda layout: shutil.copytree(plain_folders[layout], tmp_path / "copy", dirs_exist_ok=True)


@pytest.mark.parametrize(
    ("layout", "arrange"),
    [
        ("dense", dict),
        ("tied", dict),
        ("hybrid", dict),
        ("mixture of experts", dict),
        ("mixture of experts", published),
        ("mixture of experts", separate),
        ("hybrid mixture of experts", dict),
    ],
)
def test_fp8_files_of_each_family_give_the_dequantized_weights(
    copy: Callable[[str], Path], layout: str, arrange: Callable[[Weights], Weights]
) -> None:
    folder = copy(layout)
    stored, plain = to_fp8(read(folder))
    write(folder, plain)
    expected = logits(folder)
    write(folder, arrange(stored))
    change_config(folder, quantization_config=FP8_CONFIG)
    # transformers de-quantises by way of bfloat16.
    assert (logits(folder) - expected).abs().max() < 0.05 * expected.std()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_all_weights_of_a_dequantized_checkpoint_have_one_number_format(
    copy: Callable[[str], Path], precision: Literal["float32", "bfloat16"]
) -> None:
    folder = copy("dense")
    stored, _ = to_fp8(read(folder))
    # Published files have in bfloat16 what is not in FP8.
    write(
        folder,
        {
            name: weight if weight.itemsize == 1 or name.endswith("_scale_inv") else weight.bfloat16()
            for name, weight in stored.items()
        },
    )
    change_config(folder, quantization_config=FP8_CONFIG)
    _, model = load_model(find_checkpoint(str(folder)), "cpu", precision)
    assert {parameter.dtype for parameter in model.parameters()} == {getattr(torch, precision)}


@pytest.mark.parametrize("arrange", [dict, published, separate])
def test_experts_of_qwen3_vl_stay_in_fp8_where_there_are_kernels(
    copy: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, arrange: Callable[[Weights], Weights]
) -> None:
    folder = copy("mixture of experts")
    stored, plain = to_fp8(read(folder))
    write(folder, arrange(stored))
    change_config(folder, quantization_config=FP8_CONFIG)
    monkeypatch.setattr(loading, "prepare_quantization", lambda *_: None)
    monkeypatch.setattr(loading, "can_multiply_fp8", lambda *_: True)
    monkeypatch.setattr(FineGrainedFP8HfQuantizer, "validate_environment", lambda *_, **__: None)
    _, model = load_model(find_checkpoint(str(folder)), "cpu", "bfloat16")
    experts = model.model.language_model.layers[0].mlp.experts
    for name in ("gate_up_proj", "down_proj"):
        weights, scales = getattr(experts, name), getattr(experts, f"{name}_scale_inv").float()
        each_scale = scales.repeat_interleave(BLOCK, 1).repeat_interleave(BLOCK, 2)
        expected = plain[f"model.language_model.layers.0.mlp.experts.{name}"]
        assert weights.dtype == torch.float8_e4m3fn
        assert (weights.float() * each_scale - expected).abs().max() < 0.001 * expected.std()


@pytest.mark.parametrize("arrange", [published, separate])
def test_experts_of_qwen3_vl_in_plain_formats_are_loaded_from_each_layout(
    copy: Callable[[str], Path], arrange: Callable[[Weights], Weights]
) -> None:
    folder = copy("mixture of experts")
    expected = logits(folder)
    write(folder, arrange(read(folder)))
    torch.testing.assert_close(logits(folder), expected)


def first(weights: Weights, part: str) -> str:
    """Return the name of the first tensor whose name has a part."""
    return next(name for name in sorted(weights) if part in name and "visual" not in name)


def drop(folder: Path, weights: Weights) -> str:
    name = first(weights, "input_layernorm")
    del weights[name]
    return name


def reshape(folder: Path, weights: Weights) -> str:
    name = first(weights, "input_layernorm")
    weights[name] = weights[name][:-1]
    return name


def retype(folder: Path, weights: Weights) -> str:
    name = first(weights, "input_layernorm")
    weights[name] = weights[name].to(torch.int32)
    return name


def spoil(folder: Path, weights: Weights) -> str:
    name = first(weights, "input_layernorm")
    weights[name][0] = torch.nan
    return name


def contradict(folder: Path, weights: Weights) -> str:
    config = json.loads((folder / "config.json").read_text())
    change_config(folder, text_config=config["text_config"] | {"vocab_size": config["text_config"]["vocab_size"] + 64})
    return "embed_tokens"


def drop_scale(folder: Path, weights: Weights) -> str:
    weights.update(to_fp8(weights)[0])
    change_config(folder, quantization_config=FP8_CONFIG)
    name = first(weights, "_scale_inv")
    del weights[name]
    return name.removesuffix("_scale_inv")


def drop_scaled_weight(folder: Path, weights: Weights) -> str:
    weights.update(to_fp8(weights)[0])
    change_config(folder, quantization_config=FP8_CONFIG)
    name = first(weights, "_scale_inv")
    del weights[name.removesuffix("_scale_inv")]
    return name


def zero_scale(folder: Path, weights: Weights) -> str:
    weights.update(to_fp8(weights)[0])
    change_config(folder, quantization_config=FP8_CONFIG)
    name = first(weights, "_scale_inv")
    weights[name] = torch.zeros_like(weights[name])
    return name


def reshape_scale(folder: Path, weights: Weights) -> str:
    weights.update(to_fp8(weights)[0])
    change_config(folder, quantization_config=FP8_CONFIG)
    name = first(weights, "_scale_inv")
    weights[name] = weights[name][..., :1, :1]
    return name.removesuffix("_scale_inv")


def retype_scaled_weight(folder: Path, weights: Weights) -> str:
    weights.update(to_fp8(weights)[0])
    change_config(folder, quantization_config=FP8_CONFIG)
    name = first(weights, "_scale_inv").removesuffix("_scale_inv")
    weights[name] = weights[name].view(torch.uint8)
    return name


def rename_scale(folder: Path, weights: Weights) -> str:
    weights.update(to_fp8(weights)[0])
    change_config(folder, quantization_config=FP8_CONFIG)
    name = first(weights, "_scale_inv")
    weights[name.removesuffix("_inv")] = weights.pop(name)
    return name.removesuffix("_scale_inv")


def hide_quantization(folder: Path, weights: Weights) -> str:
    weights.update(to_fp8(weights)[0])
    return first(weights, "_scale_inv").removesuffix("_scale_inv")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "damage",
    [
        drop,
        reshape,
        retype,
        spoil,
        contradict,
        drop_scale,
        drop_scaled_weight,
        zero_scale,
        hide_quantization,
        reshape_scale,
        retype_scaled_weight,
        rename_scale,
    ],
)
def test_a_damaged_checkpoint_is_refused_by_the_names_of_file_and_tensor(
    copy: Callable[[str], Path], layout: str, damage: Callable[[Path, Weights], str]
) -> None:
    folder = copy(layout)
    weights = read(folder)
    name = damage(folder, weights)
    write(folder, weights)
    with pytest.raises(InvalidCheckpoint) as caught:
        load_model(find_checkpoint(str(folder)), "cpu", "float32")
    text = str(caught.value)
    assert name in text and str(folder) in text and "\n" not in text


@pytest.mark.parametrize("layout", ["dense", *MIXTURES])
def test_files_of_another_architecture_under_a_known_name_are_refused(
    copy: Callable[[str], Path], plain_folders: dict[str, Path], layout: str
) -> None:
    folder = copy(layout)
    shutil.copyfile(plain_folders["hybrid"] / "model.safetensors", folder / "model.safetensors")
    with pytest.raises(InvalidCheckpoint, match=r"config\.json"):
        load_model(find_checkpoint(str(folder)), "cpu", "float32")
