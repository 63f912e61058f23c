"""Options of an index run, and of the plan for one."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from longview.app.errors import BadRequest
from longview.app.settings import Settings, job_settings, load_settings
from longview.model.engine.checkpoints.precision_names import Precision
from longview.video.language_tags import language_code

CODE_LETTERS = 2
"""Length of the codes of ISO 639-1, in letters."""


@with_config(ConfigDict(strict=True))
@dataclass(frozen=True)
class RunSettings:
    """The settings that each run may have of its own, whatever process it runs in. None: those of the process.

    The fields are settings of `longview.app.settings.Settings`, with the same values.
    """

    precision: Precision | None = None
    speech_model: str | None = None
    speech_language: str | None = None
    audio_track: str | None = None
    screen_text_language: str | None = None

    @property
    def chosen(self) -> dict[str, Any]:
        """The settings that are not those of the process, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def over(self, settings: Settings) -> Settings:
        """Return the settings of a process with those of the run."""
        chosen = {name: value for name, value in self.chosen.items() if getattr(settings, name) != value}
        return settings.model_copy(update=chosen) if chosen else settings

    def stored(self, settings: Settings) -> dict[str, Any]:
        """Return what a job of this run stores as its settings. `settings`: those of the process that adds it.

        A choice that differs from the process is stored even if it is the default, so that no process takes its own instead.
        """
        own = {name: value for name, value in self.chosen.items() if getattr(settings, name) != value}
        return job_settings(self.over(settings)) | own


RUN_SETTINGS = tuple(field.name for field in fields(RunSettings))
"""Names of the settings in which a job may differ from the process that runs it."""
_RUN_SETTINGS = TypeAdapter(RunSettings)


def settings_of_job(settings: Settings, stored: Mapping[str, Any]) -> Settings:
    """Return the settings with which a process runs a job. `settings`: its own. `stored`: those of the job.

    A job without settings has those of the process; in one with settings, what is not stored is the default of a command.

    Raises:
        BadRequest: a stored value is not one that the setting can have.
    """
    if not stored:
        return settings
    default = load_settings()
    values = {name: stored.get(name, getattr(default, name)) for name in RUN_SETTINGS}
    try:
        _RUN_SETTINGS.validate_json(json.dumps({name: stored[name] for name in RUN_SETTINGS if name in stored}))
    except ValidationError as error:
        names = ", ".join(dict.fromkeys(str(problem["loc"][0]) for problem in error.errors()))
        raise BadRequest(f"The job has settings that cannot be used: {names}.") from error
    changed = {name: value for name, value in values.items() if getattr(settings, name) != value}
    return settings.model_copy(update=changed) if changed else settings


@dataclass(frozen=True)
class IndexOptions:
    """What is indexed of a file, and how."""

    start_s: float | None = None
    end_s: float | None = None
    sources: tuple[str, ...] | None = None
    """The only sources that are run; None: all that apply to the video."""
    context_tokens: int | None = None
    title: str | None = None
    keep_sessions: bool = True
    """Whether the sessions stay in memory for later questions, as far as the pool has room."""
    accepts_long: bool = False
    """Whether captions are made even if they take long; see `longview.app.ingest.sources.captions.MAX_UNASKED_S`."""
    settings: RunSettings = RunSettings()
    """The settings of this run, as far as they are not those of the process."""


@dataclass(frozen=True)
class PlanOptions:
    """What is planned of a file: an index run and the session for questions, as a whole or of a part."""

    start_s: float | None = None
    end_s: float | None = None
    fps: float | None = None
    """Frames per second for questions; None: the rate that the checkpoint prefers, as far as they fit."""
    max_frames: int | None = None
    """Maximum number of frames for questions."""
    context_tokens: int | None = None
    sources: tuple[str, ...] | None = None
    """The only sources that are planned; None: all that apply to the video."""
    accepts_long: bool = False
    """As in `IndexOptions`."""


def require_language(tag: str, use: str) -> None:
    """Check that a text may be a language tag, such as `en`, `pt-BR` or `zh-Hant`. `use`: what is in the language.

    Raises:
        BadRequest: it is none.
    """
    beginning = tag.replace("_", "-").partition("-")[0]
    # Speech models have codes of their own, such as `jw`.
    if language_code(tag) is None and not (len(beginning) == CODE_LETTERS and beginning.isascii() and beginning.isalpha()):
        raise BadRequest(f"{tag!r} is not the code of a language; use one such as en, ko or pt-BR for {use}.")
