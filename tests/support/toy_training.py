"""Helpers of the training tests: a configuration of toy size, and a scene whose answers are known."""

import random

import torch

from longview.model.engine.kernels import attention
from longview.model.training.scenes import Scene, sample_scene
from longview.model.training.trainer import Trainer, TrainingConfig
from longview.video.synthetic import ShapesEvent

CPU = torch.device("cpu")
ATTENTION = {"text_config": "sdpa", "vision_config": attention.VISION_ATTENTION}
CONFIG = TrainingConfig("toy", seed=3, steps=8)
SCENE = Scene(
    (
        ShapesEvent(100.0, 106.0, "red", "circle", "moves up"),
        ShapesEvent(108.0, 115.9, "orange", "star", "grows"),
    ),
    patches=8,
    frame_period_s=1.0,
    start_s=100.0,
)
"""Timestamps are 100.5, 102.5, …, 114.5; the circle is visible in the patches 0 to 2, the star in 4 to 7."""


def sample_scenes(count: int = 200) -> list[Scene]:
    return [sample_scene(random.Random(seed), 3 + seed % 30, max_events=10) for seed in range(count)]


def copy_weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}
