"""Batches: the length and the number of the videos of one step, and their examples as tensors.

Sampling is length-adaptive: all videos of a step have one length, drawn log-uniformly up to the maximum of the stage. Longer
videos have smaller frames and are fewer, so that every step has about the same number of tokens.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from longview.model.training.configs import Size
from longview.model.training.curriculum import MIN_PATCHES, Stage, stage_at
from longview.model.training.questions import TimeFormat, Turn, sample_conversation
from longview.model.training.rendering import event_tables
from longview.model.training.scenes import Scene, log_uniform, sample_scene, training_seed
from longview.model.training.tokens import NO_LABEL, ExampleEncoder, PackedExample, Timestamps
from longview.video.synthetic import ACTIONS, COLORS, SHAPES

HMS_TIMESTAMP_SHARE = 0.1
"""Share of the examples whose timestamps are H:MM:SS.d. It is small, because the processor writes seconds."""
TIMESTAMP_TOKENS, TURN_TOKENS = 12, 120
"""Approximate number of tokens of a timestamp, and of a question with its answer."""
PADDING_MULTIPLE = 64
"""The length of a batch is a multiple of this number of tokens, as attention kernels expect."""
SINGLE_QUESTION_SHARE = 0.35
"""Share of the steps with one question per video, as in use."""
MAX_EVENTS = 10
"""Maximum number of events of a scene."""
FEW_EVENTS, FEW_EVENTS_SHARE = 4, 0.3
"""Maximum number of events of a sparse scene, and the share of the steps with sparse scenes."""
MAX_STARTS, MAX_EVENTS_SO_FAR = 2, 15
"""Maximum of the labels that count the starts and the ends in a patch, and of the label that counts all starts so far."""
DIGITS = 5
"""Number of digits of a timestamp in tenths of seconds: up to 9,999.9 s."""
LABEL_CLASSES = (
    len(COLORS) + 1,
    len(SHAPES) + 1,
    len(ACTIONS) + 1,
    MAX_STARTS + 1,
    MAX_STARTS + 1,
    MAX_EVENTS_SO_FAR + 1,
    *[10] * DIGITS,
)
"""Number of classes of each label of a patch. The last colour, shape and action mean "none"."""


@dataclass
class Batch:
    """The data of one step: B examples of n tokens, T patches each."""

    seed: int
    """Seed of backgrounds and noise."""
    grid: tuple[int, int]
    events: torch.Tensor
    """float32 (B, SLOTS, 8), see `rendering.event_table`."""
    frame_times_s: torch.Tensor
    """float32 (B, 2T), relative to the first frame."""
    ids: torch.Tensor
    """int64 (B, n), padded at the end."""
    labels: torch.Tensor
    """int64 (B, n)."""
    positions: torch.Tensor
    """int64 (3, B, n)."""
    answer_of: torch.Tensor
    """int64 (B, n), counted through the batch; -1 outside of answers."""
    patch_ends: torch.Tensor
    """int64 (B, T)."""
    patch_labels: torch.Tensor
    """int64 (B, T, 11), see `patch_labels`."""
    query_rows: torch.Tensor
    """int64 (M,): the examples of the questions that are about certain patches, twice per question."""
    query_positions: torch.Tensor
    """int64 (M,): the token before the answer, and a random token of the answer."""
    query_targets: torch.Tensor
    """float32 (M, T): 1 for the patches that the question is about."""

    def to(self, device: torch.device) -> "Batch":
        """Copy the batch to a device."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        moved = {name: value.to(device, non_blocking=True) for name, value in values.items() if torch.is_tensor(value)}
        return Batch(**values | moved)

    def pin_memory(self) -> "Batch":
        """Copy the batch to pinned memory, from which copies to a GPU are asynchronous (called by `DataLoader`)."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return Batch(**values | {name: value.pin_memory() for name, value in values.items() if torch.is_tensor(value)})


@dataclass(frozen=True)
class BatchShape:
    """The properties that all examples of a step share."""

    examples: int
    patches: int
    grid: tuple[int, int]
    max_events: int
    questions: int


def sample_shape(rng: random.Random, size: Size, stage: Stage) -> BatchShape:
    """Sample the length, the frame size and the number of the examples of a step."""
    patches = log_uniform(rng, MIN_PATCHES, stage.max_patches)
    grid = rng.choice(fitting_grids(size, patches))
    questions = 1 if rng.random() < SINGLE_QUESTION_SHARE else rng.randint(2, size.max_questions)
    example_tokens = patches * (grid[0] * grid[1] + TIMESTAMP_TOKENS) + TURN_TOKENS * questions
    max_events = FEW_EVENTS if rng.random() < FEW_EVENTS_SHARE else MAX_EVENTS
    examples = max(1, min(size.max_examples_per_step, size.tokens_per_step // example_tokens))
    return BatchShape(examples, patches, grid, max_events, questions)


def fitting_grids(size: Size, patches: int) -> list[tuple[int, int]]:
    """Return the frame sizes that a video of that length may have."""
    fitting = [grid for grid in size.grids if grid[0] * grid[1] * patches <= size.max_visual_tokens]
    return fitting or [min(size.grids, key=lambda grid: grid[0] * grid[1])]


def batch_at(encoder: ExampleEncoder, size: Size, timestamps: Timestamps, *, run: int, step: int, progress: float) -> Batch:
    """Return the batch of one step of one run. It depends on the arguments alone, not on earlier batches."""
    rng = random.Random(training_seed(run, step, 0))
    shape = sample_shape(rng, size, stage_at(size.stages, progress))
    scenes, conversations, examples = [], [], []
    for number in range(shape.examples):
        rng = random.Random(training_seed(run, step, number + 1))
        scene = sample_scene(rng, shape.patches, max_events=shape.max_events)
        turns = sample_conversation(rng, scene, shape.questions)
        time_format: TimeFormat = "hms" if rng.random() < HMS_TIMESTAMP_SHARE else "seconds"
        scenes.append(scene)
        conversations.append(turns)
        examples.append(encoder.conversation(scene, turns, shape.grid, timestamps, time_format))
    return collate(rng, scenes, conversations, examples, shape.grid, seed=training_seed(run, step, 0))


def collate(
    rng: random.Random,
    scenes: Sequence[Scene],
    conversations: Sequence[Sequence[Turn]],
    examples: Sequence[PackedExample],
    grid: tuple[int, int],
    *,
    seed: int,
) -> Batch:
    """Combine examples about scenes of one length into a batch."""
    count = len(examples)
    length = -(-max(len(example.ids) for example in examples) // PADDING_MULTIPLE) * PADDING_MULTIPLE
    ids, answer_of = np.zeros((count, length), np.int64), np.full((count, length), -1, np.int64)
    labels, positions = np.full((count, length), NO_LABEL, np.int64), np.zeros((3, count, length), np.int64)
    queries: list[tuple[int, int, list[float]]] = []
    answers = 0
    for index, example in enumerate(examples):
        n = len(example.ids)
        ids[index, :n], labels[index, :n] = example.ids, example.labels
        positions[:, index, :n] = np.array(example.positions).T
        numbers = np.array(example.answer_of)
        answer_of[index, :n] = np.where(numbers >= 0, numbers + answers, -1)
        answers += len(conversations[index])
        for turn, start in zip(conversations[index], example.answer_starts, strict=True):
            if turn.about is not None:
                targets = [float(any(a <= patch <= b for a, b in turn.about)) for patch in range(scenes[index].patches)]
                answer_tokens = example.answer_of[start + 1 :].count(example.answer_of[start + 1])
                queries += [(index, position, targets) for position in (start, start + rng.randint(1, answer_tokens))]
    return Batch(
        seed=seed,
        grid=grid,
        events=event_tables(scenes),
        frame_times_s=torch.tensor(np.stack([scene.frame_times_s - scene.start_s for scene in scenes]), dtype=torch.float32),
        ids=torch.from_numpy(ids),
        labels=torch.from_numpy(labels),
        positions=torch.from_numpy(positions),
        answer_of=torch.from_numpy(answer_of),
        patch_ends=torch.tensor([example.patch_ends for example in examples]),
        patch_labels=torch.from_numpy(np.stack([patch_labels(scene) for scene in scenes])),
        query_rows=torch.tensor([row for row, _, _ in queries], dtype=torch.long),
        query_positions=torch.tensor([position for _, position, _ in queries], dtype=torch.long),
        query_targets=torch.tensor([targets for _, _, targets in queries], dtype=torch.float32).view(-1, scenes[0].patches),
    )


def patch_labels(scene: Scene) -> NDArray[np.int64]:
    """Return the labels of each patch, int64 (T, 11).

    They are colour, shape and action of the latest event; the number of events that begin in the patch, that ended just before
    it, and that began so far; and the digits of the timestamp.
    """
    labels = np.zeros((scene.patches, len(LABEL_CLASSES)), np.int64)
    labels[:, :3] = len(COLORS), len(SHAPES), len(ACTIONS)
    for visible in scene.visible_events:
        event = visible.event
        appearance = tuple(COLORS).index(event.color), SHAPES.index(event.shape), ACTIONS.index(event.action)
        labels[visible.first_patch : visible.last_patch + 1, :3] = appearance
        labels[visible.first_patch, 3] += 1
        labels[visible.last_patch + 1 : visible.last_patch + 2, 4] += 1
    labels[:, 5] = labels[:, 3].cumsum().clip(max=MAX_EVENTS_SO_FAR)
    labels[:, 3:5] = labels[:, 3:5].clip(max=MAX_STARTS)
    tenths = np.array([round(time_s * 10) for time_s in scene.timestamps_s])
    for digit in range(DIGITS):
        labels[:, 6 + digit] = tenths // 10 ** (DIGITS - 1 - digit) % 10
    return labels


class _Steps(IterableDataset[Batch]):
    """The batches from a step on. Several workers make them in turn."""

    def __init__(self, first_step: int, make_batch: Callable[[int], Batch]) -> None:
        self._first_step, self._make_batch = first_step, make_batch

    def __iter__(self) -> Iterator[Batch]:
        worker: Any = get_worker_info()
        step, stride = (self._first_step + worker.id, worker.num_workers) if worker else (self._first_step, 1)
        while True:
            yield self._make_batch(step)
            step += stride


def load_batches(first_step: int, make_batch: Callable[[int], Batch], *, workers: int, pin_memory: bool) -> Iterator[Batch]:
    """Iterate the batches of the steps `first_step`, `first_step + 1`, … without end, in order.

    `workers`: number of processes that make them; 0: this process.
    """
    return iter(
        DataLoader(
            _Steps(first_step, make_batch),
            batch_size=None,
            num_workers=workers,
            prefetch_factor=4 if workers else None,
            pin_memory=pin_memory,
        )
    )
