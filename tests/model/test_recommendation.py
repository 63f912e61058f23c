"""The recommended checkpoints of three made-up machines, and the arithmetic behind their times; the numbers of the catalogue."""

from dataclasses import astuple, replace

import pytest

from benchmarks.estimate_shapes import shape_costs
from longview.model.catalog import read_catalog
from longview.model.engine.machine import Machine, measure_machine
from longview.model.recommendation import recommend

GIB = 2**30
LAPTOP = Machine("cpu", "a laptop", (16 * GIB,), 16 * GIB, cores=2, flops_per_s=400e9, bytes_per_s=12e9)
ONE_GPU = Machine("cuda", "a card", (24 * GIB,), 64 * GIB, 16, 165e12, 1e12, multiplies_fp8=True)
EIGHT_GPUS = Machine("cuda", "a card", (80 * GIB,) * 8, 1024 * GIB, 64, 800e12, 3e12, multiplies_fp8=True)


def test_machine_without_a_gpu_gets_the_smallest_checkpoint_and_its_time() -> None:
    recommendation = recommend(LAPTOP)
    assert recommendation.names == ("Qwen/Qwen3.5-0.8B",) and recommendation.download_bytes == pytest.approx(1.7e9, rel=0.02)
    # There are 21 windows of three minutes, which overlap. Of a moving shot a patch of 84 tokens is kept every four seconds, with
    # a timestamp of eleven tokens; 4 tokens a second are said and shown. 0.5 B weights multiply and add for each token, and 0.1 B
    # for each of the four patches of a visual token.
    patches = 21 * 180 / 4
    frames_flops = patches * 95 * 2 * 0.5e9 + patches * 84 * 4 * 2 * 0.1e9
    words_flops = 4 * 3600 * 2 * 0.5e9
    flops_per_s, bytes_per_s = 400e9 / 1.7, 12e9 / 1.5
    # A reply of 300 tokens for each window, and 8 for chapters and summary: each token reads 1.5 GB.
    replies_s = (21 + 8) * 300 * 1.5e9 / bytes_per_s
    captions_s = (frames_flops + words_flops) / flops_per_s + replies_s
    assert recommendation.captions_s == pytest.approx(captions_s, rel=0.1)
    # To locate, there are no words, and replies of 30 tokens.
    locate_s = frames_flops / flops_per_s + 21 * 30 * 1.5e9 / bytes_per_s
    assert recommendation.locate_s == pytest.approx(locate_s, rel=0.1)


def test_one_gpu_gets_a_general_checkpoint_in_fp8_and_one_that_locates() -> None:
    recommendation = recommend(ONE_GPU)
    assert recommendation.names == ("Qwen/Qwen3.5-9B-FP8", "MCG-NJU/TimeLens2-4B", "large-v3-turbo")
    # 12 and 9 GB of weights leave no room for 64K tokens of each beside a chunk in 24 GiB, and both fit into the host.
    assert recommendation.takes_turns
    assert recommendation.download_bytes == pytest.approx(11.9e9 + 8.9e9 + 1.6e9, rel=0.01)
    assert recommendation.captions_s is not None and 5 * 60 < recommendation.captions_s < 20 * 60


def test_eight_gpus_get_the_largest_checkpoint_beside_the_best_that_locates() -> None:
    recommendation = recommend(EIGHT_GPUS)
    assert recommendation.names == ("Qwen/Qwen3.5-397B-A17B-FP8", "MCG-NJU/TimeLens2-8B", "large-v3-turbo")
    assert not recommendation.takes_turns


def test_a_gpu_without_fp8_and_with_little_host_memory_gets_what_it_can_hold() -> None:
    recommendation = recommend(replace(ONE_GPU, multiplies_fp8=False, host_bytes=8 * GIB))
    assert recommendation.model is not None and not recommendation.model.is_fp8
    assert recommendation.grounding is None and not recommendation.takes_turns


def test_a_slow_machine_is_told_that_captions_take_longer_than_the_video() -> None:
    recommendation = recommend(replace(LAPTOP, flops_per_s=100e9, bytes_per_s=5e9))
    assert recommendation.names == ("Qwen/Qwen3.5-0.8B",)
    assert recommendation.captions_s is not None and recommendation.captions_s > 3600
    assert recommend(replace(LAPTOP, device_bytes=(2 * GIB,))).model is None


def test_this_machine_can_be_measured() -> None:
    machine = measure_machine("cpu", threads=1)
    assert machine.device_type == "cpu" and machine.flops_per_s > 1e9 and machine.bytes_per_s > 1e8
    assert sum(machine.device_bytes) == machine.host_bytes > GIB


def test_catalogue_has_the_numbers_of_the_shapes_and_the_profile_of_each_checkpoint() -> None:
    catalog = read_catalog()
    for name, shape in catalog.shapes.items():
        assert astuple(shape) == pytest.approx(astuple(shape_costs(name))), name
    assert {checkpoint.shape for checkpoint in catalog.checkpoints} == catalog.shapes.keys()
    locating = {checkpoint.name for checkpoint in catalog.checkpoints if not checkpoint.profile.capabilities.answers}
    assert locating == {
        "MCG-NJU/TimeLens2-4B", "MCG-NJU/TimeLens2-8B", "TencentARC/TimeLens-8B", "NemoStation/Marlin-2B",
    }  # fmt: skip
    assert {one.profile.source for one in catalog.checkpoints if "TimeLens2" in one.name} != {
        one.profile.source for one in catalog.checkpoints if "TimeLens-8B" in one.name
    }
