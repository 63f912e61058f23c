"""Published checkpoints among which a machine is recommended one: their memory, operations and published scores, without weights.

What they are asked is in their profiles (`longview.model.engine.checkpoints.profiles`).
"""

import functools
import tomllib
from dataclasses import dataclass
from pathlib import Path

from pydantic import ConfigDict, TypeAdapter, with_config

from longview.model.engine.checkpoints.profiles import Profile, find_profile_by_name
from longview.model.engine.costs.model_shape import ModelShape

FP8_SUFFIX = "-FP8"
"""Suffix of the names of checkpoints and shapes whose linear layers are in FP8."""
CATALOG = Path(__file__).with_name("catalog.toml")


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True)
class PublishedCheckpoint:
    """A checkpoint on the Hugging Face Hub."""

    name: str
    shape: str
    """Name of its shape in `Catalog.shapes`."""
    license: str
    source: str
    """Origin of the scores."""
    video_score: float | None = None
    """LVBench, in percent."""
    grounding_score: float | None = None
    """Mean of the mIoUs of the three parts of TimeLens-Bench, in percent."""

    @property
    def is_fp8(self) -> bool:
        """Whether its linear layers are in FP8."""
        return self.name.endswith(FP8_SUFFIX)

    @property
    def profile(self) -> Profile:
        """What it is asked, and how it replies."""
        return find_profile_by_name(self.name)


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True)
class PublishedSpeechModel:
    """A Whisper model in CTranslate2's form."""

    name: str
    """The name that faster-whisper has for it."""
    weight_bytes: int
    relative_cost: float
    """Time of recognition, as a multiple of that of the bundled model."""


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True)
class Catalog:
    """The published checkpoints."""

    checkpoints: tuple[PublishedCheckpoint, ...]
    speech_models: tuple[PublishedSpeechModel, ...]
    """From the smallest to the largest."""
    shapes: dict[str, ModelShape]


@functools.cache
def read_catalog() -> Catalog:
    """Return the checkpoints of `catalog.toml`."""
    return TypeAdapter(Catalog).validate_python(tomllib.loads(CATALOG.read_text(encoding="utf-8")))
