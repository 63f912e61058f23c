"""The curriculum: the stages of a run, each with the trained weights and the longest videos, by the share of the spent budget.

The stages follow the Qwen3-VL report: S0 aligns vision and text by training only the merger, S1 trains everything on short
contexts, S2 on longer ones, S3 on the longest. S1 itself begins with a few patches, without which this small model did not learn.
"""

import math
from dataclasses import dataclass

MIN_PATCHES = 3
"""Minimum length of a video in temporal patches, at every stage. With long videos only, a step would have few examples."""
DECAY_START = 0.55
"""Share of the budget after which the learning rate decays by a cosine. As in the runs of the bundled checkpoint."""
MIN_RATE_FACTOR = 0.03
"""Final learning rate as a fraction of its maximum. As in the runs of the bundled checkpoint."""


@dataclass(frozen=True)
class Stage:
    """A stage of a run, from the end of the stage before it."""

    name: str
    until: float
    """End of the stage, as a share of the budget."""
    max_patches: int
    """Maximum length of a video in temporal patches."""
    merger_only: bool = False
    """Whether the vision tower and the language model are frozen."""


FULL_STAGES = (
    Stage("alignment", 0.02, 5, merger_only=True),
    Stage("full", 0.04, 5),
    Stage("full", 0.10, 10),
    Stage("full", 0.35, 24),
    Stage("longer", 0.55, 64),
    Stage("longer", 0.75, 160),
    Stage("longest", 1.0, 512),
)
"""Stages of the full size: the next recipe to run after that of the bundled checkpoint, for about 25 minutes on one H100."""
TOY_STAGES = (
    Stage("alignment", 0.02, 4, merger_only=True),
    Stage("full", 0.60, 6),
    Stage("longer", 0.85, 9),
    Stage("longest", 1.0, 12),
)
"""Stages of the toy size: the same structure, at lengths at which a CPU completes all of it in minutes."""


def stage_at(stages: tuple[Stage, ...], progress: float) -> Stage:
    """Return the stage at a share of the budget, 0 to 1."""
    return next((stage for stage in stages if progress < stage.until), stages[-1])


def rate_factor(progress: float, step: int, warmup_steps: int) -> float:
    """Return the learning rate as a fraction of its maximum: a linear warmup, a plateau, and a cosine decay to the minimum."""
    warmup = min(1.0, (step + 1) / warmup_steps)
    if progress < DECAY_START:
        return warmup
    decay = min(1.0, (progress - DECAY_START) / (1 - DECAY_START))
    return warmup * max(MIN_RATE_FACTOR, 0.5 * (1 + math.cos(math.pi * decay)))
