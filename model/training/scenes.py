"""Scenes of coloured shapes as timelines, sampled from seeds, and the seed ranges for training and for scoring.

The same seed gives the same scene. Training and scoring draw their seeds from two disjoint ranges, so a scene that is scored was
never trained on.
"""

import math
import random
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from longview.video.sampling_plan import FRAMES_PER_PATCH
from longview.video.synthetic import ACTIONS, COLORS, OVERLAPPING, SHAPES, TWICE, ShapesEvent

TRAINING_SEEDS = range(1 << 62)
HELD_OUT_SEEDS = range(1 << 62, 1 << 63)
MAX_EXAMPLES_PER_STEP = 1 << 12
MAX_STEPS = 1 << 32
MAX_RUNS = 1 << 18
"""Number of run seeds (`--seed`). The 18 + 32 + 12 bits of run, step and example make up `TRAINING_SEEDS`."""
MAX_SCENES_PER_TABLE_CELL = 1 << 16

MIN_EVENT_PATCHES = 2.2
"""Minimum length of an event, in temporal patches. The motion and the times of a shorter one cannot be recognised."""
SLOT_PATCHES = 3
"""Minimum length of the slot for one event, in temporal patches: the shortest event and its boundaries."""
COMMON_FRAME_PERIODS_S = (0.25, 0.5, 0.5, 1.0, 1.0, 2.0, 2.5, 5.0)
"""Frame periods that `COMMON_PERIOD_SHARE` of the scenes choose from, in seconds; repetitions are weights."""
COMMON_PERIOD_SHARE = 0.7
MIN_FRAME_PERIOD_S, MAX_FRAME_PERIOD_S = 0.2, 5.0
MAX_REDRAWS = 100
"""Maximum number of colours that are drawn for an event beside similar ones. If all of them are in use, the last one is kept."""
MAX_START_S = 3000.0
"""Latest start of a scene, in seconds. A third of the scenes start later than 0, as windows of a long video do."""


@dataclass(frozen=True)
class VisibleEvent:
    """An event, and the first and last temporal patch in which it is visible."""

    event: ShapesEvent
    first_patch: int
    last_patch: int

    @property
    def appearance(self) -> str:
        """Colour and shape: `red circle`."""
        return f"{self.event.color} {self.event.shape}"


@dataclass(frozen=True)
class Scene:
    """A timeline of events, and the frames of it that are sampled."""

    events: tuple[ShapesEvent, ...]
    """Events in order of their starts, on the clock of the timestamps, from `start_s` on."""
    patches: int
    """Number of temporal patches, of two frames each."""
    frame_period_s: float
    start_s: float
    """Time of the first frame."""

    @cached_property
    def frame_times_s(self) -> NDArray[np.float64]:
        """Times of the frames, float64 (2 * patches,)."""
        count = FRAMES_PER_PATCH * self.patches
        return np.arange(count, dtype=np.float64) * self.frame_period_s + np.float64(self.start_s)

    @cached_property
    def timestamps_s(self) -> tuple[float, ...]:
        """Timestamp of each patch: the mean of the times of its two frames."""
        return tuple(float(time_s) for time_s in self.frame_times_s.reshape(-1, FRAMES_PER_PATCH).mean(axis=1))

    @cached_property
    def visible_events(self) -> tuple[VisibleEvent, ...]:
        """Events that are visible in at least one frame, in order of the patches in which they are visible."""
        events = []
        for event in self.events:
            is_visible = (self.frame_times_s >= event.start_s) & (self.frame_times_s < event.end_s)
            patches = np.flatnonzero(is_visible.reshape(-1, FRAMES_PER_PATCH).any(axis=1))
            if len(patches):
                events.append(VisibleEvent(event, int(patches[0]), int(patches[-1])))
        return tuple(sorted(events, key=lambda visible: (visible.first_patch, visible.last_patch)))


def training_seed(run: int, step: int, example: int) -> int:
    """Return the seed of one scene of a training run, in `TRAINING_SEEDS`.

    Raises:
        ValueError: the run, the step or the example is out of its range.
    """
    if not (0 <= run < MAX_RUNS and 0 <= step < MAX_STEPS and 0 <= example < MAX_EXAMPLES_PER_STEP):
        raise ValueError(f"There is no training scene {run}/{step}/{example}: the seed must be from 0 to {MAX_RUNS - 1:,}.")
    return (run * MAX_STEPS + step) * MAX_EXAMPLES_PER_STEP + example


def held_out_seed(patches: int, kind: int, index: int) -> int:
    """Return the seed of one scene of the score table, in `HELD_OUT_SEEDS`: the same scenes for every checkpoint."""
    assert 0 <= index < MAX_SCENES_PER_TABLE_CELL
    return HELD_OUT_SEEDS.start + (patches * 64 + kind) * MAX_SCENES_PER_TABLE_CELL + index


def sample_scene(rng: random.Random, patches: int, *, max_events: int) -> Scene:
    """Sample a scene of `patches` (at least 3) temporal patches with 1 to `max_events` events, at most two at a time."""
    is_common = rng.random() < COMMON_PERIOD_SHARE
    frame_period_s = (
        rng.choice(COMMON_FRAME_PERIODS_S) if is_common else round(rng.uniform(MIN_FRAME_PERIOD_S, MAX_FRAME_PERIOD_S), 2)
    )
    start_s = rng.choice((0.0, 0.0, round(rng.uniform(0, MAX_START_S), 1)))
    patch_period_s = FRAMES_PER_PATCH * frame_period_s
    events: list[ShapesEvent] = []
    for slot_start, width in _sample_slots(rng, patches, rng.randint(1, max(1, min(max_events, patches // SLOT_PATCHES)))):
        length = rng.uniform(MIN_EVENT_PATCHES, width)
        first = slot_start + rng.uniform(0, width - length)
        events.append(_sample_event(rng, start_s + first * patch_period_s, start_s + (first + length) * patch_period_s, events))
    if rng.random() < OVERLAPPING and patches >= 2 * SLOT_PATCHES:
        # The events so far do not overlap, so with one more there are at most two at a time, as many as are drawn.
        length = rng.uniform(MIN_EVENT_PATCHES, max(MIN_EVENT_PATCHES, 0.35 * patches))
        first = rng.uniform(0, patches - length)
        events.append(_sample_event(rng, start_s + first * patch_period_s, start_s + (first + length) * patch_period_s, events))
    return Scene(tuple(sorted(events, key=lambda event: event.start_s)), patches, frame_period_s, start_s)


def _sample_slots(rng: random.Random, patches: int, count: int) -> list[tuple[int, int]]:
    """Divide the scene into `count` slots of at least `SLOT_PATCHES`: (first patch, number of patches)."""
    spare = patches - count * SLOT_PATCHES
    cuts = sorted(rng.randint(0, spare) for _ in range(count - 1))
    widths = [SLOT_PATCHES + b - a for a, b in zip([0, *cuts], [*cuts, spare], strict=True)]
    return [(sum(widths[:index]), width) for index, width in enumerate(widths)]


def _sample_event(rng: random.Random, start_s: float, end_s: float, before: list[ShapesEvent]) -> ShapesEvent:
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
    nearby = [other for other in before if other.end_s > start_s - (end_s - start_s) and other.start_s < end_s]
    nearby += before[-1:]
    for _ in range(MAX_REDRAWS):
        if all((other.color, other.shape) != (event.color, event.shape) for other in nearby):
            break
        # Two adjacent events of the same appearance cannot be distinguished.
        event = replace(event, color=rng.choice(tuple(COLORS)))
    return event


def log_uniform(rng: random.Random, lowest: int, highest: int) -> int:
    """Sample a whole number from `lowest` to `highest`; every octave is equally likely."""
    return round(math.exp(rng.uniform(math.log(lowest), math.log(highest))))
