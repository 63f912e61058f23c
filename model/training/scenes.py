"""Scenes of coloured shapes as timelines, each the same for the same seed, and which seeds are for what.

Training and scoring draw their seeds from two ranges that share no number, so a scene that is scored was never trained on.
"""

import math
import random
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from longview.video.sampler import FRAMES_PER_PATCH
from longview.video.synthetic import ACTIONS, COLORS, OVERLAPPING, SHAPES, TWICE, ShapesEvent

TRAINING_SEEDS = range(1 << 62)
HELD_OUT_SEEDS = range(1 << 62, 1 << 63)
MAX_ROWS_PER_STEP = 1 << 12
MAX_STEPS = 1 << 32
MAX_RUNS = 1 << 18
"""Run seeds (`--seed`) below that; 18 + 32 + 12 bits of run, step and row make up `TRAINING_SEEDS`."""
MAX_SCENES_PER_TABLE_CELL = 1 << 16

MIN_EVENT_PATCHES = 2.2
"""Shortest event in temporal patches: less can't be told from stillness or placed to a patch."""
SLOT_PATCHES = 3
"""Shortest stretch of a scene that is given to one event, in temporal patches: the shortest event and its edges."""
SECONDS_BETWEEN_FRAMES = (0.25, 0.5, 0.5, 1.0, 1.0, 2.0, 2.5, 5.0)
"""Usual steps between frames, as often as they stand here; `STEP_MIN_S` to `STEP_MAX_S` otherwise."""
USUAL_STEP = 0.7
MIN_STEP_S, MAX_STEP_S = 0.2, 5.0
MAX_REDRAWS = 100
"""Colours that are tried for an event among its likes; where all are taken, which is next to never, it keeps the last."""
MAX_START_S = 3000.0
"""A third of the scenes begin that late at most, as windows of a long video do; the others at 0."""


@dataclass(frozen=True)
class VisibleEvent:
    """An event and the first and last temporal patch in which it is to be seen."""

    event: ShapesEvent
    first: int
    last: int

    @property
    def look(self) -> str:
        """Colour and shape: `red circle`."""
        return f"{self.event.color} {self.event.shape}"


@dataclass(frozen=True)
class Scene:
    """What happens, and which frames of it are looked at."""

    events: tuple[ShapesEvent, ...]
    """In order of their starts, on the clock of the markers, so from `start_s` on."""
    patches: int
    """Temporal patches, of two frames each."""
    seconds_between_frames: float
    start_s: float
    """Time of the first frame."""

    @cached_property
    def frame_times_s(self) -> NDArray[np.float64]:
        """Times of the frames, float64 (2 * patches,)."""
        count = FRAMES_PER_PATCH * self.patches
        return np.arange(count, dtype=np.float64) * self.seconds_between_frames + np.float64(self.start_s)

    @cached_property
    def timestamps_s(self) -> tuple[float, ...]:
        """The time that stands before each patch: the mean of its two frames' times."""
        return tuple(float(time_s) for time_s in self.frame_times_s.reshape(-1, FRAMES_PER_PATCH).mean(axis=1))

    @cached_property
    def visible_events(self) -> tuple[VisibleEvent, ...]:
        """Every event that is in at least one frame, in order of the patches in which they are seen."""
        found = []
        for event in self.events:
            shows = (self.frame_times_s >= event.start_s) & (self.frame_times_s < event.end_s)
            patches = np.flatnonzero(shows.reshape(-1, FRAMES_PER_PATCH).any(axis=1))
            if len(patches):
                found.append(VisibleEvent(event, int(patches[0]), int(patches[-1])))
        return tuple(sorted(found, key=lambda seen: (seen.first, seen.last)))


def training_seed(run: int, step: int, row: int) -> int:
    """The seed of one scene of a training run, in `TRAINING_SEEDS`.

    Raises:
        ValueError: if the run, the step or the row is out of its range.
    """
    if not (0 <= run < MAX_RUNS and 0 <= step < MAX_STEPS and 0 <= row < MAX_ROWS_PER_STEP):
        raise ValueError(f"There is no training scene {run}/{step}/{row}: the seed must be from 0 to {MAX_RUNS - 1:,}.")
    return (run * MAX_STEPS + step) * MAX_ROWS_PER_STEP + row


def held_out_seed(patches: int, kind: int, index: int) -> int:
    """The seed of one scene of the table of scores, in `HELD_OUT_SEEDS`: the same scenes for every checkpoint."""
    assert 0 <= index < MAX_SCENES_PER_TABLE_CELL
    return HELD_OUT_SEEDS.start + (patches * 64 + kind) * MAX_SCENES_PER_TABLE_CELL + index


def sample_scene(rng: random.Random, patches: int, *, events_max: int) -> Scene:
    """A scene of `patches` (at least 3) temporal patches with 1 to `events_max` events, at most two at a time."""
    usual = rng.random() < USUAL_STEP
    step_s = rng.choice(SECONDS_BETWEEN_FRAMES) if usual else round(rng.uniform(MIN_STEP_S, MAX_STEP_S), 2)
    start_s = rng.choice((0.0, 0.0, round(rng.uniform(0, MAX_START_S), 1)))
    period_s = FRAMES_PER_PATCH * step_s
    events: list[ShapesEvent] = []
    for begin, width in _slots(rng, patches, rng.randint(1, max(1, min(events_max, patches // SLOT_PATCHES)))):
        length = rng.uniform(MIN_EVENT_PATCHES, width)
        first = begin + rng.uniform(0, width - length)
        events.append(_event(rng, start_s + first * period_s, start_s + (first + length) * period_s, events))
    if rng.random() < OVERLAPPING and patches >= 2 * SLOT_PATCHES:
        # One more anywhere: those before it do not overlap, so there are two at a time at most, as many as are drawn.
        length = rng.uniform(MIN_EVENT_PATCHES, max(MIN_EVENT_PATCHES, 0.35 * patches))
        first = rng.uniform(0, patches - length)
        events.append(_event(rng, start_s + first * period_s, start_s + (first + length) * period_s, events))
    return Scene(tuple(sorted(events, key=lambda event: event.start_s)), patches, step_s, start_s)


def _slots(rng: random.Random, patches: int, count: int) -> list[tuple[int, int]]:
    """`count` stretches of at least `SLOT_PATCHES` that fill the scene: (first patch, patches)."""
    spare = patches - count * SLOT_PATCHES
    cuts = sorted(rng.randint(0, spare) for _ in range(count - 1))
    widths = [SLOT_PATCHES + b - a for a, b in zip([0, *cuts], [*cuts, spare], strict=True)]
    return [(sum(widths[:index]), width) for index, width in enumerate(widths)]


def _event(rng: random.Random, start_s: float, end_s: float, before: list[ShapesEvent]) -> ShapesEvent:
    event = ShapesEvent(
        start_s,
        end_s,
        rng.choice(tuple(COLORS)),
        rng.choice(SHAPES),
        rng.choice(ACTIONS),
        x=rng.uniform(0.2, 0.8),
        y=rng.uniform(0.2, 0.8),
        radius=rng.uniform(0.14, 0.24),
    )
    if before and rng.random() < TWICE:
        earlier = rng.choice(before)
        event = replace(event, color=earlier.color, shape=earlier.shape, action=earlier.action)
    near = [other for other in before if other.end_s > start_s - (end_s - start_s) and other.start_s < end_s]
    near += before[-1:]
    for _ in range(MAX_REDRAWS):
        if all((other.color, other.shape) != (event.color, event.shape) for other in near):
            break
        # One that meets its like cannot be told from it.
        event = replace(event, color=rng.choice(tuple(COLORS)))
    return event


def log_uniform(rng: random.Random, lowest: int, highest: int) -> int:
    """A whole number from `lowest` to `highest`, each octave as likely as any other."""
    return round(math.exp(rng.uniform(math.log(lowest), math.log(highest))))
