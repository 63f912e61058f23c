"""Batches adapt to the length of their videos and do not depend on the number of workers."""

import random
from dataclasses import fields

import numpy as np
import torch

from longview.model.training.batches import (
    LABEL_CLASSES,
    Batch,
    batch_at,
    fitting_grids,
    load_batches,
    patch_labels,
    sample_shape,
)
from longview.model.training.configs import FULL, TOY
from longview.model.training.curriculum import FULL_STAGES
from longview.model.training.tokens import ExampleEncoder
from longview.video import synthetic
from tests.support.toy_training import SCENE


def test_longer_videos_have_smaller_frames_and_are_fewer() -> None:
    shapes = [sample_shape(random.Random(seed), FULL, FULL_STAGES[-1]) for seed in range(500)]
    short, long = ([shape for shape in shapes if (shape.patches > 250) == is_long] for is_long in (False, True))
    assert min(shape.patches for shape in short) < 5 and max(shape.patches for shape in long) > 450
    assert max(shape.examples for shape in long) < max(shape.examples for shape in short) / 10
    assert all(shape.grid[0] * shape.grid[1] * shape.patches <= FULL.max_visual_tokens for shape in shapes)
    assert (4, 7) in fitting_grids(FULL, 24) and (4, 7) not in fitting_grids(FULL, 512)
    lengths = np.array([shape.patches for shape in shapes])
    # The distribution is log-uniform, so half of the lengths are below the geometric mean of the limits.
    assert 0.35 < (lengths < 40).mean() < 0.65


def test_workers_give_the_same_batches_in_the_same_order(encoder: ExampleEncoder) -> None:
    def make_batch(step: int) -> Batch:
        return batch_at(encoder, TOY, "text", run=0, step=step, progress=0.3)

    alone, parallel = (load_batches(5, make_batch, workers=workers, pin_memory=False) for workers in (0, 2))
    for _ in range(4):
        one, other = next(alone), next(parallel)
        assert one.seed == other.seed and torch.equal(one.ids, other.ids) and torch.equal(one.query_targets, other.query_targets)


def test_every_tensor_of_a_batch_moves_to_the_device(encoder: ExampleEncoder) -> None:
    batch = batch_at(encoder, TOY, "text", run=0, step=0, progress=0.5)
    moved = batch.to(torch.device("meta"))
    assert all(getattr(moved, f.name).is_meta for f in fields(Batch) if torch.is_tensor(getattr(batch, f.name)))


def test_patch_labels_describe_the_events_of_each_patch() -> None:
    labels = patch_labels(SCENE)
    red, circle, up = list(synthetic.COLORS).index("red"), synthetic.SHAPES.index("circle"), synthetic.ACTIONS.index("moves up")
    assert labels[:3, :3].tolist() == [[red, circle, up]] * 3
    assert labels[3, :3].tolist() == [8, 7, 7]
    assert labels[:, 3].tolist() == [1, 0, 0, 0, 1, 0, 0, 0] and labels[:, 4].tolist() == [0, 0, 0, 1, 0, 0, 0, 0]
    assert labels[:, 5].tolist() == [1, 1, 1, 1, 2, 2, 2, 2]
    assert labels[1, 6:].tolist() == [0, 1, 0, 2, 5]
    assert (labels < np.array(LABEL_CLASSES)).all()
