"""The recommendation in plain words, for three made-up machines."""

from dataclasses import replace
from pathlib import Path

import pytest

from longview.app.models.advice import describe_machine, describe_recommendation, recommend_here
from longview.app.settings import Settings
from longview.model.engine.costs import format_times, number_formats
from longview.model.engine.costs.machine import Machine
from longview.model.recommendation import recommend
from tests.model.test_recommendation import EIGHT_GPUS, LAPTOP, ONE_GPU


@pytest.mark.parametrize(
    ("machine", "expected"),
    [
        (
            LAPTOP,
            """
This machine: 2 cores, 16 GB of memory, no GPU.
Recommended: Qwen/Qwen3.5-0.8B (1.7 GB) for captions and questions.
The captions of one hour of video take about 40 min; to locate something in it takes about 14 min the first time. Speech and \
text on screen are searchable before that.
`longview models pull recommended` downloads 1.7 GB and makes it the default.""",
        ),
        (
            ONE_GPU,
            """
This machine: a card with 24 GB, 16 cores, 64 GB of memory.
Recommended: Qwen/Qwen3.5-9B-FP8 (11.9 GB) for captions and questions, MCG-NJU/TimeLens2-4B (8.9 GB) to locate and the speech \
model large-v3-turbo (1.6 GB).
The two checkpoints take turns on the GPU: one is in the memory of the host while the other works.
The captions of one hour of video take about 18 min; to locate something in it takes about 9 min the first time. Speech and \
text on screen are searchable before that.
`longview models pull recommended` downloads 22.4 GB and makes them the default.""",
        ),
        (
            EIGHT_GPUS,
            """
This machine: 8 x a card with 80 GB, 64 cores, 1024 GB of memory.
Recommended: Qwen/Qwen3.5-397B-A17B-FP8 (399 GB) for captions and questions, MCG-NJU/TimeLens2-8B (17.5 GB) to locate and the \
speech model large-v3-turbo (1.6 GB).
The captions of one hour of video take about 13 min; to locate something in it takes about 9 min the first time. Speech and \
text on screen are searchable before that.
`longview models pull recommended` downloads 418 GB and makes them the default.""",
        ),
    ],
)
def test_recommendation_is_described_in_sentences(machine: Machine, expected: str) -> None:
    lines = [describe_machine(machine), *describe_recommendation(recommend(machine), ())]
    assert "\n".join(lines) == expected.strip()


def test_what_is_here_already_is_not_counted() -> None:
    recommendation = recommend(ONE_GPU)
    assert "downloads 10.5 GB" in describe_recommendation(recommendation, {"Qwen/Qwen3.5-9B-FP8"})[-1]
    assert "finds all of it here" in describe_recommendation(recommendation, recommendation.names)[-1]


def test_captions_that_take_longer_than_the_video_are_described_so() -> None:
    slow = replace(LAPTOP, flops_per_s=100e9, bytes_per_s=5e9)
    assert "(longer than the video)" in " ".join(describe_recommendation(recommend(slow), ()))


def test_speed_of_the_machine_is_measured_once_and_its_date_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[object] = []

    def product_times_s(dtype: object, _: object = None) -> tuple[float, float]:
        measured.append(dtype)
        return 0.05, 0.002

    monkeypatch.setattr(number_formats, "product_times_s", product_times_s)
    settings = Settings(device="cpu", cpu_threads=1, cache=tmp_path)
    texts = []
    for _ in range(2):
        # Each call of the command line is a process of its own.
        number_formats._measure.cache_clear()
        texts.append(describe_machine(recommend_here(settings).machine))
    assert len(measured) == 2 and texts[0] == texts[1] and "Its speed was measured on 20" in texts[0]
    monkeypatch.setattr(format_times, "processor_name", lambda: "another processor")
    number_formats._measure.cache_clear()
    recommend_here(settings)
    assert len(measured) == 4
    number_formats._measure.cache_clear()


def test_speed_that_was_measured_on_a_busy_machine_is_measured_again_on_a_quiet_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads, times_s = iter([3.0, 2.0, 0.1, 0.1]), iter([0.5, 0.5, 0.05, 0.05])
    monkeypatch.setattr(number_formats, "load_per_core", lambda: next(loads))
    monkeypatch.setattr(number_formats, "product_times_s", lambda *_: (next(times_s), 0.002))
    rows_s = []
    for _ in range(4):
        number_formats._measure.cache_clear()
        rows_s.append(number_formats.format_times(tmp_path).float32_rows_s)
    assert rows_s == [0.5, 0.5, 0.05, 0.05]
    number_formats._measure.cache_clear()
