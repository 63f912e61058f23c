"""What the tests of training share: a scene whose answers are known, and a run at toy size."""

import random

import torch

from longview.model.engine import attention
from longview.model.training.scenes import Scene, sample_scene
from longview.model.training.trainer import Trainer, TrainingConfig
from longview.video.synthetic import ShapesEvent

CPU = torch.device("cpu")
ATTENTION = {"text_config": "sdpa", "vision_config": attention.VISION_ATTENTION}
RECIPE = TrainingConfig("toy", seed=3, steps=8)
SCENE = Scene(
    (
        ShapesEvent(100.0, 106.0, "red", "circle", "moves up"),
        ShapesEvent(108.0, 115.9, "orange", "star", "grows"),
    ),
    patches=8,
    seconds_between_frames=1.0,
    start_s=100.0,
)
"""Markers at 100.5, 102.5, …, 114.5; the circle is in the patches 0 to 2, the star in 4 to 7."""


def scenes(count: int = 200) -> list[Scene]:
    return [sample_scene(random.Random(seed), 3 + seed % 30, events_max=10) for seed in range(count)]


def weights(run: Trainer) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in run.model.state_dict().items()}
