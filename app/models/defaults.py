"""The default models: the checkpoints and the speech model that are used without an option, and where each is set."""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tomlkit
from tomlkit.exceptions import TOMLKitError

from longview.app import settings as settings_module
from longview.app.errors import BadRequest
from longview.app.settings import ENV_PREFIX, Settings
from longview.core.atomic import atomic_write
from longview.model.engine.checkpoints.checkpoints import Checkpoint, find_cached_checkpoint, find_checkpoint
from longview.model.errors import ModelError
from longview.model.model_folders import find_folder
from longview.model.speech.weights import BUNDLED_NAME, MODEL_FILE, find_speech_model, speech_repository

if TYPE_CHECKING:
    from longview.model.engine.checkpoints.checkpoints import Checkpoint

DefaultSetting = Literal["model", "grounding_model", "speech_model"]
DEFAULT_SETTINGS: tuple[DefaultSetting, ...] = ("model", "grounding_model", "speech_model")
"""The settings that name a model."""


@dataclass(frozen=True)
class Default:
    """A default model, and where it is set."""

    setting: DefaultSetting
    value: str | None
    """The name of the model; None: there is no such model, as for `grounding_model`."""
    source: Literal["environment", "file", "default"]
    """A variable of the environment, `longview.toml`, or neither."""

    @property
    def variable(self) -> str:
        """The variable of the environment that overrides it."""
        return f"{ENV_PREFIX}{self.setting.upper()}"


def read_defaults(settings: Settings) -> tuple[Default, ...]:
    """Return the default models of settings that have no options of a command."""
    in_file = settings_module.read_config_file()
    return tuple(
        Default(
            name,
            getattr(settings, name),
            "environment" if os.environ.get(f"{ENV_PREFIX}{name.upper()}") else "file" if name in in_file else "default",
        )
        for name in DEFAULT_SETTINGS
    )


def set_default(name: str) -> DefaultSetting:
    """Make a model the default, in `longview.toml`; return the setting that names it.

    A checkpoint that was not trained to answer becomes the one that locates. `auto` resets the default of `model`.

    Raises:
        ModelError: there is no such model on this machine. BadRequest: the file cannot be written.
    """
    setting, value = _find(name)
    _edit_file({setting: None if value == "auto" else value})
    return setting


def set_defaults_only(names: Sequence[str]) -> tuple[dict[DefaultSetting, str], dict[DefaultSetting, str]]:
    """Make models the defaults, and remove from `longview.toml` the settings that suit none of them.

    Return the settings with these models, and those that were removed with the models that they named.

    Raises:
        ModelError, BadRequest: as `set_default`.
    """
    in_file = settings_module.read_config_file()
    defaults = dict(map(_find, names))
    removed_values = {name: str(in_file[name]) for name in DEFAULT_SETTINGS if name in in_file and name not in defaults}
    _edit_file({name: defaults.get(name) for name in (*removed_values, *defaults)})
    return defaults, removed_values


def reset_defaults(name: str | None = None) -> tuple[DefaultSetting, ...]:
    """Remove a model, or all models, from `longview.toml`; return the settings that named it.

    Raises:
        BadRequest: the file cannot be written.
    """
    in_file = settings_module.read_config_file()
    names = tuple(
        setting for setting in DEFAULT_SETTINGS if setting in in_file and (name is None or _is_same(str(in_file[setting]), name))
    )
    if names:
        _edit_file(dict.fromkeys(names))
    return names


def _find(name: str) -> tuple[DefaultSetting, str]:
    """Return the setting and the value that mean a model."""
    if name in ("auto", "demo"):
        return "model", name
    if folder := find_folder(name):
        folder = folder.resolve()
        if (folder / MODEL_FILE).is_file() and not any(folder.glob("*.safetensors")):
            find_speech_model(str(folder))
            return "speech_model", str(folder)
        return _setting_of(find_checkpoint(str(folder))), str(folder)
    if name == BUNDLED_NAME or "/" not in name or _has_speech_model(name):
        find_speech_model(name)
        return "speech_model", name
    return _setting_of(find_cached_checkpoint(name)), name


def _setting_of(checkpoint: Checkpoint) -> DefaultSetting:
    """Return the setting that names a checkpoint, by what it was trained for."""
    return "model" if checkpoint.profile.capabilities.answers else "grounding_model"


def _has_speech_model(repo_id: str) -> bool:
    from longview.model.hub.cache import find_snapshot
    from longview.model.hub.listing import SPEECH_FILES, check_name

    check_name(repo_id)
    snapshot = find_snapshot(repo_id, SPEECH_FILES)
    return snapshot is not None and (snapshot.folder / MODEL_FILE).is_file()


def _is_same(value: str, name: str) -> bool:
    """Whether two names mean one model: `small` is a repository, too, and a folder has several paths."""
    return not {value, *_other_names(value)}.isdisjoint({name, *_other_names(name)})


def _other_names(name: str) -> set[str]:
    names = set()
    with suppress(OSError, RuntimeError, ValueError):
        # Its folder may be gone.
        names.add(str(Path(name).expanduser().resolve()))
    with suppress(ModelError):
        names.add(speech_repository(name))
    return names


def _edit_file(values: Mapping[str, str | None]) -> None:
    """Set or remove settings in `longview.toml`, and keep all else as it is: comments, order, line ends and permissions."""
    # The file may be a link into a folder of settings.
    path = settings_module.CONFIG_FILE.resolve()
    try:
        text = path.read_bytes().decode() if path.exists() else ""
        document = tomlkit.parse(text)
        for name, value in values.items():
            if value is None:
                document.pop(name, None)
            else:
                item = tomlkit.string(value)
                item.trivia.trail = "\r\n" if "\r\n" in text else "\n"
                document[name] = item
        with atomic_write(path) as temporary_path:
            temporary_path.write_bytes(tomlkit.dumps(document).encode())
    except (OSError, ValueError, TOMLKitError) as error:
        raise BadRequest(f"{path} cannot be changed: {error}") from error
