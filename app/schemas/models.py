"""The documents of the commands about models: those on this machine, pulls, removals, and the default models."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

import psutil
from pydantic import BaseModel

from longview.app.schemas.base import rounded

if TYPE_CHECKING:
    from longview.app.models.defaults import Default
    from longview.app.models.installed import LocalModel
    from longview.model.hub.pulls import PullResult
    from longview.model.recommendation import Recommendation


class LocalModelOut(BaseModel):
    """A checkpoint on this machine."""

    name: str
    chosen: bool
    """Whether it is the one that `--model` means."""
    tasks: list[str]
    """What it was trained for."""
    revision: str | None
    """Its commit on the hub; null for a folder and for the demo checkpoint."""
    weight_bytes: int
    memory_bytes: dict[int, int]
    """Memory of weights and KV cache, by the length of the context in tokens."""
    fits: dict[int, bool]
    """Whether the device has this memory."""

    @classmethod
    def of(cls, model: "LocalModel") -> Self:
        """Return the document of a checkpoint."""
        return cls(
            name=model.checkpoint.name,
            chosen=model.is_chosen,
            tasks=list(model.tasks),
            revision=model.checkpoint.revision,
            weight_bytes=model.checkpoint.weight_bytes,
            memory_bytes=model.memory_bytes,
            fits={tokens: model.fits(tokens) for tokens in model.memory_bytes},
        )


class RecommendationOut(BaseModel):
    """What is recommended for this machine."""

    device: str
    """`cuda`, `xpu`, `mps` or `cpu`."""
    device_bytes: list[int]
    """Memory of each device; without an accelerator, that of the host."""
    model: str | None
    """The checkpoint for captions and questions; null if none fits."""
    grounding_model: str | None
    """The checkpoint that locates; null if `model` does."""
    takes_turns: bool
    """Whether the two do not fit at once, so that one is in the memory of the host while the other works."""
    speech_model: str | None
    """null: the bundled one."""
    captions_seconds_per_hour: float | None
    """Estimated time of the captions of one hour of video."""
    locate_seconds_per_hour: float | None
    """Estimated time to locate a query in one hour of video for the first time."""
    download_bytes: int
    speed_measured_at: str | None
    """When the speed of this machine was measured (ISO 8601, UTC); null: now, as on a GPU, or it is unknown."""
    problem: str | None = None
    """Why nothing can be recommended: a package that measures the speed is missing; null: its speed is known."""

    @classmethod
    def of(cls, recommendation: "Recommendation") -> Self:
        """Return the document of a recommendation."""
        machine = recommendation.machine
        return cls(
            device=machine.device_type,
            device_bytes=list(machine.device_bytes),
            model=recommendation.model.name if recommendation.model else None,
            grounding_model=recommendation.grounding.name if recommendation.grounding else None,
            takes_turns=recommendation.swaps_weights,
            speech_model=recommendation.speech.name if recommendation.speech else None,
            captions_seconds_per_hour=rounded(recommendation.captions_s),
            locate_seconds_per_hour=rounded(recommendation.locate_s),
            download_bytes=recommendation.download_bytes,
            speed_measured_at=machine.measured_at.isoformat(timespec="seconds") if machine.measured_at else None,
        )

    @classmethod
    def without_speed(cls, problem: str) -> Self:
        """Return the document for a machine whose speed cannot be measured. `problem`: why, as a sentence."""
        return cls(
            device="cpu",
            device_bytes=[psutil.virtual_memory().total],
            model=None,
            grounding_model=None,
            takes_turns=False,
            speech_model=None,
            captions_seconds_per_hour=None,
            locate_seconds_per_hour=None,
            download_bytes=0,
            speed_measured_at=None,
            problem=problem,
        )


class ModelsDocument(BaseModel):
    """The document of `models`."""

    models: list[LocalModelOut]
    incomplete: list[str]
    """Checkpoints in the cache whose download stopped."""
    recommendation: RecommendationOut


class PulledModelOut(BaseModel):
    """A model that was pulled."""

    name: str
    license: str | None
    """Its license, as the catalogue of published checkpoints states it; null if it is not there."""
    kind: str
    """`checkpoint`, or `speech` for a speech model."""
    revision: str
    """The branch, tag or commit that was asked for."""
    commit: str
    newer_commit: str | None
    """The newest commit on the hub, if the model is pinned to another one."""
    size_bytes: int
    transferred_bytes: int
    """0: it was up to date."""
    replaced_files: list[str]
    """Files of the cache that had changed, and were transferred again."""
    folder: str

    @classmethod
    def of(cls, result: "PullResult", license_name: str | None) -> Self:
        """Return the document of a pull."""
        listing = result.plan.listing
        return cls(
            name=listing.repo_id,
            license=license_name,
            kind=listing.kind,
            revision=listing.revision,
            commit=listing.commit,
            newer_commit=result.plan.newer_commit,
            size_bytes=result.plan.size_bytes,
            transferred_bytes=result.transferred_bytes,
            replaced_files=list(result.replaced_files),
            folder=str(result.folder),
        )


class PullDocument(BaseModel):
    """The document of `models pull`."""

    models: list[PulledModelOut]
    default_settings: list[str]
    """Settings of `longview.toml` that name one of them now; `pull recommended` writes them."""
    reset_settings: list[str]
    """Settings of `longview.toml` that `pull recommended` has removed, because no such model is recommended."""


class RemoveModelDocument(BaseModel):
    """The document of `models remove`."""

    name: str
    freed_bytes: int
    reset_settings: list[str]
    """Settings of `longview.toml` that named the model, and were removed."""


class DefaultOut(BaseModel):
    """A default model."""

    setting: str
    value: str | None
    source: str
    """`environment`, `file` or `default`."""

    @classmethod
    def of_all(cls, defaults: "Sequence[Default]") -> list[Self]:
        """Return the documents of the default models."""
        return [cls(setting=default.setting, value=default.value, source=default.source) for default in defaults]


class DefaultsDocument(BaseModel):
    """The document of `models default`."""

    defaults: list[DefaultOut]
    changed_settings: list[str]
    """Settings that this call has written or removed."""
    file: str
    """The settings file."""
