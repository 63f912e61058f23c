"""JSON documents of plans and their costs."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel

from longview.app.schemas.base import rounded

if TYPE_CHECKING:
    # They import torch, which takes seconds.
    from longview.app.ingest.planning import FramePlan
    from longview.model.tasks.costs import Cost


class WindowOut(BaseModel):
    """One window of a plan."""

    start_s: float
    end_s: float
    frames: int
    tokens: int


class PlanOut(BaseModel):
    """A sampling plan in numbers, as provenance keeps it."""

    purpose: str
    frames: int
    temporal_patches: int
    height: int
    width: int
    tokens_per_patch: int
    visual_tokens: int
    timestamp_tokens: int
    words_tokens: int = 0
    """Tokens that are reserved for what is said and shown; 0 for a checkpoint that does not take it."""
    total_tokens: int
    patch_period_s: float
    windows: list[WindowOut]


class CostOut(BaseModel):
    """The cost of a task before it runs."""

    sessions: int
    prompt_tokens: int
    generations: int
    text_generations: int
    """Replies to prompts without a video."""
    seconds: float | None
    """None: the speed is unknown."""
    is_exact: bool
    """Whether the counts are exact; they are estimates where checks depend on what the checkpoint reports."""
    sent_bytes: int | None
    """Estimated size of the frames that are sent to a server; None for a model that runs here."""
    usd: float | None
    """Estimated price of the model's host, in US dollars; None where no price is known."""
    verify: bool
    refine: bool

    @classmethod
    def of(cls, cost: "Cost", *, verify: bool, refine: bool) -> Self:
        """Return the document of a cost, with the checks that it includes."""
        return cls(**asdict(cost) | {"seconds": rounded(cost.seconds)}, verify=verify, refine=refine)


class CostsOut(BaseModel):
    """The cost of each task: an answer, captions, a query that does not occur, and each occurrence of one."""

    ask: CostOut
    index: CostOut
    """The cost of captions; `sources` has that of the other sources."""
    locate: CostOut
    occurrence: CostOut

    @classmethod
    def of(cls, frames: "FramePlan") -> Self:
        """Return the document of the costs of a plan."""
        captions, localization = asdict(frames.checks.captions), asdict(frames.checks.localization)
        return cls(
            ask=CostOut.of(frames.ask, verify=frames.checks.answers.verify, refine=False),
            index=CostOut.of(frames.index, **captions),
            locate=CostOut.of(frames.locate, **localization),
            occurrence=CostOut.of(frames.occurrence, **localization),
        )


class PlannedSourceOut(BaseModel):
    """What `index` would do for one source."""

    source: str
    action: str
    """`run`, `keep` (it is up to date), `skip` or `decline`."""
    reason: str
    estimated_seconds: float | None
    """Expected time, by what this machine did before; for captions the mean of captioning and of declining."""
    at_most_seconds: float | None
    """For captions, the time if the checkpoint knows the footage; otherwise null."""
    declined_after_seconds: float | None
    """For captions, the time after which a checkpoint declines footage that it does not know; otherwise null."""


class FramePlanOut(PlanOut):
    """The plan for tasks that look at frames, and their costs."""

    estimated_seconds: float | None
    """Estimated time of an answer, in seconds."""
    estimated_bytes: int
    costs: CostsOut


class PlanDocument(BaseModel):
    """The document of `plan`."""

    sources: list[PlannedSourceOut]
    frames: FramePlanOut | None
    """None for a file without pictures."""
    video: dict[str, Any]
    key_frames_only: bool
    estimated_seconds: float | None
    """Expected time of `index` in a new process, in seconds; null if that of a source is unknown."""
    checkpoint: str
    grounding_checkpoint: str | None
    """The checkpoint that locates; null: `checkpoint` does."""
    notice: str | None
