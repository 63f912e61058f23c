"""Scenes follow from their seeds, and no scene is both trained on and scored."""

import random

import pytest

from longview.model.training.batches import batch_at
from longview.model.training.configs import SIZES, TOY
from longview.model.training.scenes import HELD_OUT_SEEDS, MAX_RUNS, TRAINING_SEEDS, held_out_seed, training_seed
from longview.model.training.scoring import held_out_questions
from longview.model.training.tokens import ExampleEncoder
from longview.video import synthetic
from tests.support.toy_training import sample_scenes


def test_same_seed_gives_the_same_scene() -> None:
    assert sample_scenes() == sample_scenes()


def test_scene_has_at_most_two_events_at_a_time() -> None:
    for scene in sample_scenes():
        assert scene.visible_events
        for time_s in scene.frame_times_s:
            assert sum(event.start_s <= time_s < event.end_s for event in scene.events) <= synthetic.MAX_CONCURRENT


def test_training_and_held_out_seeds_are_disjoint() -> None:
    assert TRAINING_SEEDS.stop <= HELD_OUT_SEEDS.start
    extremes = [(0, 0, 0), (MAX_RUNS - 1, (1 << 32) - 1, (1 << 12) - 1), (3, 17, 5)]
    assert all(training_seed(*numbers) in TRAINING_SEEDS for numbers in extremes)
    assert len({training_seed(*numbers) for numbers in [*extremes, (3, 18, 5), (4, 17, 5), (3, 17, 6)]}) == 6
    lengths = {patches for size in SIZES.values() for patches, _ in size.scored}
    seeds = [held_out_seed(patches, kind, index) for patches in lengths for kind in range(6) for index in (0, 127, 65535)]
    assert all(seed in HELD_OUT_SEEDS for seed in seeds)
    assert len(set(seeds)) == len(seeds)
    with pytest.raises(ValueError, match="seed must be"):
        training_seed(MAX_RUNS, 0, 0)


def test_training_and_scoring_draw_from_their_seeds(monkeypatch: pytest.MonkeyPatch, encoder: ExampleEncoder) -> None:
    seeds: list[int] = []

    class RecordingRandom(random.Random):
        def __init__(self, seed: int) -> None:
            seeds.append(seed)
            super().__init__(seed)

    monkeypatch.setattr("longview.model.training.batches.random.Random", RecordingRandom)
    batch_at(encoder, TOY, "text", run=5, step=9, progress=0.1)
    assert seeds and all(seed in TRAINING_SEEDS for seed in seeds)
    seeds.clear()
    held_out_questions(8, "when", 4)
    assert len(seeds) == 4 and all(seed in HELD_OUT_SEEDS for seed in seeds)
