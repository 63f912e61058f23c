"""Batches: how long the videos of one step are, how many fit, and all their numbers as tensors.

Length-adaptive sampling: one step holds videos of one length, drawn log-uniformly up to the stage's longest; the longer they
are, the smaller their pictures and the fewer they are, so that every step costs about as many tokens.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from longview.model.training.auxiliary import frame_labels
from longview.model.training.configs import Size
from longview.model.training.curriculum import MIN_LENGTHS, Stage, stage_at
from longview.model.training.questions import TimeFormat, Turn, conversation
from longview.model.training.rendering import event_tables
from longview.model.training.scenes import Scene, log_uniform, sample_scene, training_seed
from longview.model.training.tokens import NO_LABEL, PackedExample, RowWriter, Timestamps

HMS_TIMESTAMPS = 0.1
"""Of the rows, how many have markers as H:MM:SS.d. Few: the processor writes seconds."""
TIMESTAMP_TOKENS, TURN_TOKENS = 12, 120
"""What a patch's marker and a question with its answer take, about."""
PADDED_TO = 64
"""Rows are as long as a multiple of that: attention kernels are made for it."""
SINGLE_QUESTION = 0.35
"""Of the steps, how many ask one question a video, as it is when people ask."""
MAX_EVENTS, FEW_EVENTS, FEW = 10, 4, 0.3
"""At most so many events in a scene; of the longer scenes, a part has few and much emptiness."""


@dataclass
class Batch:
    """What one step trains on: B rows of n tokens, T patches each."""

    seed: int
    """Of backgrounds and noise."""
    grid: tuple[int, int]
    events: torch.Tensor
    """float32 (B, SLOTS, 8), see `rendering.event_table`."""
    frame_times_s: torch.Tensor
    """float32 (B, 2T), from the first frame on."""
    ids: torch.Tensor
    """int64 (B, n), padded at the end."""
    labels: torch.Tensor
    """int64 (B, n)."""
    positions: torch.Tensor
    """int64 (3, B, n)."""
    answer_of: torch.Tensor
    """int64 (B, n), counted through the batch; -1 outside answers."""
    patch_ends: torch.Tensor
    """int64 (B, T)."""
    frame_labels: torch.Tensor
    """int64 (B, T, 11), see `auxiliary.frame_labels`."""
    query_rows: torch.Tensor
    """int64 (M,): the rows of questions that speak of certain patches, each twice."""
    query_positions: torch.Tensor
    """int64 (M,): before the answer, and somewhere in it."""
    query_targets: torch.Tensor
    """float32 (M, T): 1 for the patches that are spoken of."""

    def to(self, device: torch.device) -> "Batch":
        """The same on a device."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        moved = {name: value.to(device, non_blocking=True) for name, value in values.items() if torch.is_tensor(value)}
        return Batch(**values | moved)

    def pin_memory(self) -> "Batch":
        """The same in memory from which copies to a GPU need not be waited for (called by `DataLoader`)."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return Batch(**values | {name: value.pin_memory() for name, value in values.items() if torch.is_tensor(value)})


@dataclass(frozen=True)
class Shape:
    """What the rows of one step have in common."""

    rows: int
    patches: int
    grid: tuple[int, int]
    events_max: int
    questions: int


def sample_shape(rng: random.Random, size: Size, stage: Stage) -> Shape:
    """Length, picture size and number of the rows of a step."""
    patches = log_uniform(rng, MIN_LENGTHS, stage.max_patches)
    grid = rng.choice(fitting_grids(size, patches))
    questions = 1 if rng.random() < SINGLE_QUESTION else rng.randint(2, size.max_questions)
    row_tokens = patches * (grid[0] * grid[1] + TIMESTAMP_TOKENS) + TURN_TOKENS * questions
    events = FEW_EVENTS if rng.random() < FEW else MAX_EVENTS
    rows = max(1, min(size.max_rows_per_step, size.tokens_per_step // row_tokens))
    return Shape(rows, patches, grid, events, questions)


def fitting_grids(size: Size, patches: int) -> list[tuple[int, int]]:
    """The picture sizes that a video of that length may have."""
    fitting = [grid for grid in size.grids if grid[0] * grid[1] * patches <= size.max_visual_tokens]
    return fitting or [min(size.grids, key=lambda grid: grid[0] * grid[1])]


def batch_at(writer: RowWriter, size: Size, timestamps: Timestamps, *, run: int, step: int, progress: float) -> Batch:
    """The batch of one step of one run: the same for the same numbers, whatever came before."""
    rng = random.Random(training_seed(run, step, 0))
    shape = sample_shape(rng, size, stage_at(size.stages, progress))
    scenes, turns, rows = [], [], []
    for number in range(shape.rows):
        rng = random.Random(training_seed(run, step, number + 1))
        scene = sample_scene(rng, shape.patches, events_max=shape.events_max)
        asked = conversation(rng, scene, shape.questions)
        markers: TimeFormat = "hms" if rng.random() < HMS_TIMESTAMPS else "seconds"
        scenes.append(scene)
        turns.append(asked)
        rows.append(writer.conversation(scene, asked, shape.grid, timestamps, markers))
    return collate(rng, scenes, turns, rows, shape.grid, seed=training_seed(run, step, 0))


def collate(
    rng: random.Random,
    scenes: Sequence[Scene],
    turns: Sequence[Sequence[Turn]],
    rows: Sequence[PackedExample],
    grid: tuple[int, int],
    *,
    seed: int,
) -> Batch:
    """Rows about scenes of one length as one batch."""
    length = -(-max(len(row.ids) for row in rows) // PADDED_TO) * PADDED_TO
    ids, answer_of = np.zeros((len(rows), length), np.int64), np.full((len(rows), length), -1, np.int64)
    labels, positions = np.full((len(rows), length), NO_LABEL, np.int64), np.zeros((3, len(rows), length), np.int64)
    asked: list[tuple[int, int, list[float]]] = []
    answers = 0
    for index, row in enumerate(rows):
        n = len(row.ids)
        ids[index, :n], labels[index, :n] = row.ids, row.labels
        positions[:, index, :n] = np.array(row.positions).T
        numbers = np.array(row.answer_of)
        answer_of[index, :n] = np.where(numbers >= 0, numbers + answers, -1)
        answers += len(turns[index])
        for turn, start in zip(turns[index], row.answer_starts, strict=True):
            if turn.about is not None:
                about = [float(any(a <= patch <= b for a, b in turn.about)) for patch in range(scenes[index].patches)]
                within = row.answer_of[start + 1 :].count(row.answer_of[start + 1])
                asked += [(index, place, about) for place in (start, start + rng.randint(1, within))]
    return Batch(
        seed=seed,
        grid=grid,
        events=event_tables(scenes),
        frame_times_s=torch.tensor(np.stack([s.frame_times_s - s.start_s for s in scenes]), dtype=torch.float32),
        ids=torch.from_numpy(ids),
        labels=torch.from_numpy(labels),
        positions=torch.from_numpy(positions),
        answer_of=torch.from_numpy(answer_of),
        patch_ends=torch.tensor([row.patch_ends for row in rows]),
        frame_labels=torch.from_numpy(np.stack([frame_labels(scene) for scene in scenes])),
        query_rows=torch.tensor([row for row, _, _ in asked], dtype=torch.long),
        query_positions=torch.tensor([place for _, place, _ in asked], dtype=torch.long),
        query_targets=torch.tensor([about for _, _, about in asked], dtype=torch.float32).view(-1, scenes[0].patches),
    )


class _Steps(IterableDataset[Batch]):
    """The batches from a step on; each of several workers makes its share of them, in turn."""

    def __init__(self, first: int, made: Callable[[int], Batch]) -> None:
        self._first, self._made = first, made

    def __iter__(self) -> Iterator[Batch]:
        worker: Any = get_worker_info()
        step, stride = (self._first + worker.id, worker.num_workers) if worker else (self._first, 1)
        while True:
            yield self._made(step)
            step += stride


def batches(first: int, made: Callable[[int], Batch], *, workers: int, pinned: bool) -> Iterator[Batch]:
    """Batches of the steps `first`, `first + 1`, … without end, in that order, made by so many processes (0: by this one)."""
    return iter(
        DataLoader(
            _Steps(first, made),
            batch_size=None,
            num_workers=workers,
            prefetch_factor=4 if workers else None,
            pin_memory=pinned,
        )
    )
