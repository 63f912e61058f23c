"""The curriculum: what is trained, and on how long videos, by the share of the budget that is spent.

After the Qwen3-VL report: S0 aligns vision and text by the merger alone, S1 trains everything on short contexts, S2 on
longer, S3 on the longest. The lengths within S1 are what made this small model learn at all: a few patches first.
"""

import math
from dataclasses import dataclass

MIN_LENGTHS = 3
"""Shortest video in temporal patches, at every stage: long ones alone would be few rows a step."""
HOLD_UNTIL = 0.55
"""Share of the budget at which the learning rate begins to fall, by a cosine."""
RATE_FLOOR_SHARE = 0.03
"""Where it ends, in parts of its height. Both as in the runs that made the bundled checkpoint."""


@dataclass(frozen=True)
class Stage:
    """From where the stage before ended until `until`, as a share of the budget."""

    name: str
    until: float
    max_patches: int
    """Longest video in temporal patches."""
    merger_only: bool = False
    """Whether the vision tower and the language model keep still."""


FULL_STAGES = (
    Stage("alignment", 0.02, 5, merger_only=True),
    Stage("full", 0.04, 5),
    Stage("full", 0.10, 10),
    Stage("full", 0.35, 24),
    Stage("longer", 0.55, 64),
    Stage("longer", 0.75, 160),
    Stage("longest", 1.0, 512),
)
"""The recipe that the bundled checkpoint's makers would run next, for about 25 minutes on one H100."""
TOY_STAGES = (
    Stage("alignment", 0.02, 4, merger_only=True),
    Stage("full", 0.60, 6),
    Stage("longer", 0.85, 9),
    Stage("longest", 1.0, 12),
)
"""The same shape at a size at which a CPU goes through all of it in minutes."""


def stage_at(stages: tuple[Stage, ...], progress: float) -> Stage:
    """The stage at a share of the budget, 0 to 1."""
    return next((stage for stage in stages if progress < stage.until), stages[-1])


def rate_share(progress: float, step: int, warm_up_steps: int) -> float:
    """The learning rate in parts of its height: a linear rise, a plateau, and a cosine down to the floor."""
    rise = min(1.0, (step + 1) / warm_up_steps)
    if progress < HOLD_UNTIL:
        return rise
    fallen = min(1.0, (progress - HOLD_UNTIL) / (1 - HOLD_UNTIL))
    return rise * max(RATE_FLOOR_SHARE, 0.5 * (1 + math.cos(math.pi * fallen)))
