"""The recommended checkpoints of three made-up machines, and the arithmetic behind their times; the numbers of the catalogue."""

from dataclasses import astuple, replace

import pytest
import torch

from benchmarks.estimates.estimate_shapes import shape_costs
from benchmarks.shapes import shape_model
from longview.model.catalog import read_catalog
from longview.model.engine import placement
from longview.model.engine.costs.machine import Machine
from longview.model.engine.costs.machine_speed import measure_machine
from longview.model.recommendation import recommend

GIB = 2**30
LAPTOP = Machine("cpu", "a laptop", (16 * GIB,), 16 * GIB, cores=2, flops_per_s=400e9, bytes_per_s=12e9)
ONE_GPU = Machine("cuda", "a card", (24 * GIB,), 64 * GIB, 16, 165e12, 1e12, multiplies_fp8=True, has_fp8_kernels=True)
EIGHT_GPUS = Machine("cuda", "a card", (80 * GIB,) * 8, 1024 * GIB, 64, 800e12, 3e12, multiplies_fp8=True, has_fp8_kernels=True)


def test_machine_without_a_gpu_gets_the_smallest_checkpoint_and_its_time() -> None:
    recommendation = recommend(LAPTOP)
    assert recommendation.names == ("Qwen/Qwen3.5-0.8B",) and recommendation.download_bytes == pytest.approx(1.7e9, rel=0.02)
    # There are 21 windows of three minutes, which overlap. Of a moving shot a patch of 84 tokens is kept every four seconds, with
    # a timestamp of eleven tokens; 4 tokens a second are said and shown. A token costs 1.03 GFLOP (0.5 B weights), and a visual
    # one 0.85 more.
    patches = 21 * 180 / 4
    frames_flops = patches * 95 * 1.03e9 + patches * 84 * 0.85e9
    words_flops = 4 * 3600 * 1.03e9
    flops_per_s, bytes_per_s = 400e9 / 1.7, 12e9 / 1.4
    # A reply of 300 tokens for each window, and 8 for chapters and summary: each token reads 1.5 GB.
    replies_s = (21 + 8) * 300 * 1.5e9 / bytes_per_s
    captions_s = (frames_flops + words_flops) / flops_per_s + replies_s
    assert recommendation.captions_s == pytest.approx(captions_s, rel=0.1)
    # To locate, there are no words, and replies of 34 tokens.
    locate_s = frames_flops / flops_per_s + 21 * 34 * 1.5e9 / bytes_per_s
    assert recommendation.locate_s == pytest.approx(locate_s, rel=0.1)


def test_time_on_a_gpu_follows_from_the_context_that_the_engine_would_choose() -> None:
    recommendation = recommend(ONE_GPU)
    assert recommendation.names == ("Qwen/Qwen3.5-9B-FP8", "MCG-NJU/TimeLens2-4B", "large-v3-turbo")
    # 12 and 9 GB of weights leave no room for a context of each beside a chunk in 24 GiB, and both fit into the host.
    assert recommendation.swaps_weights
    # Of 24 GiB, 3 are for speech. Nine tenths of the rest, less 11.9 GB of weights and 3.5 GB of a chunk, have room for 115K
    # tokens of 32 KiB in 0.8 of it. 21 windows of three minutes have 176 patches of 576 tokens, and 10 tokens of a timestamp.
    patches, tokens_per_patch = 21 * 176, 576
    tokens = patches * (tokens_per_patch + 10) + 4 * 3600
    dense_flops = tokens * 13.9e9 + patches * tokens_per_patch * (3.6e9 + tokens_per_patch * 2e6)
    attention_flops = 65_536 * tokens**2 / 21
    # Each token of a reply reads 9 GB of weights, and the KV cache of its window.
    token_bytes = 9e9 + 32_768 * tokens / 21
    replies_s = (21 + 8) * 300 * token_bytes / (1e12 / 2.5)
    captions_s = (dense_flops + attention_flops) / (165e12 / 2.5) + replies_s
    assert recommendation.captions_s == pytest.approx(captions_s, rel=0.05)


CARDS = (
    (12,), (16,), (24,), (32,), (48,), (80,), (141,), (24, 24), (24, 16), (48, 24), (24, 48), (24,) * 4, (80, 80), (80,) * 8,
)  # fmt: skip


@pytest.mark.parametrize("has_kernels", [False, True])
@pytest.mark.parametrize("cards", CARDS, ids=str)
def test_what_is_recommended_can_be_placed(monkeypatch: pytest.MonkeyPatch, cards: tuple[int, ...], has_kernels: bool) -> None:
    device_bytes = tuple(size * GIB for size in cards)
    machine = replace(ONE_GPU, device_bytes=device_bytes, host_bytes=1024 * GIB, has_fp8_kernels=has_kernels)
    recommendation = recommend(machine)
    gpus = [torch.device("cuda", index) for index in range(len(cards))]
    # The driver and the desktop take a little of each card.
    memory = {gpu: (int(0.98 * size), size) for gpu, size in zip(gpus, device_bytes, strict=True)}
    monkeypatch.setattr(placement, "memory_bytes", memory.__getitem__)
    for checkpoint in filter(None, (recommendation.model, recommendation.grounding)):
        model = shape_model(checkpoint.shape.removesuffix("-FP8"), "meta", torch.bfloat16)
        layers = model.config.get_text_config().num_hidden_layers
        is_halved = checkpoint.is_fp8 and has_kernels
        sizes = {name: weights.nbytes // (2 if is_halved else 1) for name, weights in model.named_parameters()}
        assert placement.place_weights(checkpoint.name, sizes, layers, gpus)["device_map"]


def test_fp8_without_kernels_is_not_chosen_where_bfloat16_takes_as_much() -> None:
    model = recommend(replace(ONE_GPU, has_fp8_kernels=False)).model
    assert model is not None and not model.is_fp8


def test_a_gpu_without_fp8_and_with_little_host_memory_gets_what_it_can_hold() -> None:
    recommendation = recommend(replace(ONE_GPU, multiplies_fp8=False, host_bytes=8 * GIB))
    assert recommendation.model is not None and not recommendation.model.is_fp8
    assert recommendation.grounding is None and not recommendation.swaps_weights


def test_slow_machine_gets_the_smallest_checkpoint_and_a_tiny_one_none() -> None:
    recommendation = recommend(replace(LAPTOP, flops_per_s=100e9, bytes_per_s=5e9))
    assert recommendation.names == ("Qwen/Qwen3.5-0.8B",)
    assert recommendation.captions_s is not None and recommendation.captions_s > 3600
    assert recommend(replace(LAPTOP, device_bytes=(2 * GIB,))).model is None


def test_weights_that_are_loaded_in_float32_count_twice() -> None:
    in_bfloat16, in_float32 = recommend(LAPTOP), recommend(replace(LAPTOP, uses_float32=True))
    assert in_float32.names == in_bfloat16.names
    assert in_bfloat16.captions_s is not None and in_float32.captions_s is not None
    # Prefills take as long, and each token of 8,700 reads 1.5 GB more.
    assert in_float32.captions_s - in_bfloat16.captions_s == pytest.approx(8700 * 1.5e9 / (12e9 / 1.4), rel=0.05)


def test_this_machine_can_be_measured() -> None:
    machine = measure_machine("cpu", threads=1)
    assert machine.device_type == "cpu" and machine.flops_per_s > 1e9 and machine.bytes_per_s > 1e8
    assert sum(machine.device_bytes) == machine.host_bytes > GIB


def test_catalogue_has_the_numbers_of_the_shapes_and_the_profile_of_each_checkpoint() -> None:
    catalog = read_catalog()
    for name, shape in catalog.shapes.items():
        assert astuple(shape) == pytest.approx(astuple(shape_costs(name))), name
    assert {checkpoint.shape for checkpoint in catalog.checkpoints} == catalog.shapes.keys()
    profiles = {checkpoint.name: checkpoint.profile.name for checkpoint in catalog.checkpoints}
    assert {name: profile for name, profile in profiles.items() if profile != "qwen3.5"} == {
        "MCG-NJU/TimeLens2-4B": "timelens2",
        "MCG-NJU/TimeLens2-8B": "timelens2",
        "TencentARC/TimeLens-8B": "timelens",
    }
