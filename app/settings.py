"""All settings, from flags, environment, file and defaults, in that order of precedence."""

import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import platformdirs
from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from longview.app.errors import BadRequest
from longview.model.engine.checkpoints.precision_names import Precision
from longview.model.speech.devices import SpeechDeviceChoice
from longview.video.decoding.backends import BackendName
from longview.video.probing.guard import Limits

JOB_SETTINGS = (
    "model", "profile", "server", "grounding_model", "grounding_server", "key_frames_only", "context_tokens", "precision",
    "speech_model", "speech_language", "speech_vocabulary", "audio_track", "screen_text_language", "index_verify",
    "index_refine", "transcript",
)  # fmt: skip
"""Settings that change what is found in a video, or by what."""
CONFIG_FILE = Path(platformdirs.user_config_dir("longview")) / "longview.toml"
ENV_PREFIX = "LONGVIEW_"
OLD_NAMES = {"home": "library", "reader": "backend", "fast": "key_frames_only", "threads": "cpu_threads"}
"""Names of earlier versions. Their use is an error: if `home` were ignored, the library would seem empty."""
RENAMED = {"words": "transcript"}
"""Earlier names that still work, and the present ones. Jobs are stored with the earlier ones, so that old queues stay valid."""


class Settings(BaseSettings):
    """Every limit and choice.

    Each is set by the environment variable `LONGVIEW_<NAME>`, or in `longview.toml` in the user's configuration folder.
    docs/settings.md lists all of them.
    """

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_ignore_empty=True, frozen=True, extra="ignore", toml_file=CONFIG_FILE
    )

    library: Path = Field(default_factory=lambda: Path(platformdirs.user_data_dir("longview")))
    """The library folder."""
    model: str = "auto"
    """`auto`, `demo`, a Hugging Face id or a folder."""
    profile: str | None = None
    """Profile of the model, which decides what it is asked and how long its videos are: a file of `model/profiles/` by its name,
    or `demo`; by default as the model's name and architecture say."""
    server: str | None = None
    """A server of `model`, as `http://host:8000/v1`; by default the model runs here."""
    grounding_model: str | None = None
    """A second checkpoint, which locates and refines times while `model` captions, answers and verifies; by default `model` does
    all."""
    grounding_server: str | None = None
    """A server of `grounding_model`, with the same key; by default it runs here."""
    server_key: str = Field(default="none", repr=False)
    """The API key for that server. It is better kept in the environment or in a file than in a command."""
    server_key_file: Path | None = None
    """A file that contains the API key for that server, instead of `server_key`."""
    server_silence_s: float = Field(default=300.0, gt=0)
    """Maximum time without a token from that server, in seconds. A large model prefills a long video for minutes."""
    server_video_tokens: int | None = Field(default=None, ge=1)
    """Maximum tokens of one video on a vLLM server that was started with a larger limit than vLLM's own; see docs/servers.md."""
    backend: BackendName = "pyav"
    """The decoder backend."""
    key_frames_only: bool = False
    """Decode key frames only: much faster. Times stay accurate, but events between two key frames are missed."""
    decode_processes: int | None = Field(default=None, ge=1, le=64)
    """Maximum number of processes that decode one video at once; by default one per core, at most four."""
    decode_memory_bytes: int = Field(default=4 << 30, ge=1 << 29)
    """Maximum address space of a decoding process, in bytes; 8K needs about 2 GiB."""
    decode_stall_s: float = Field(default=30.0, gt=0)
    """Time without a heartbeat after which a decoding process is stopped, in seconds."""
    decode_seconds_per_second: float = Field(default=10.0, gt=0)
    """Maximum decoding time per second of video, in seconds, beyond the minute that every file has."""
    video_folders: tuple[Path, ...] = ()
    """The only folders, beside the library's uploads, whose videos may be opened; empty: all that the user may read."""
    max_file_bytes: int = Field(default=1 << 40, ge=1)
    """Maximum size of a video file, in bytes."""
    max_pixels: int = Field(default=8192 * 8192, ge=1)
    """Maximum size of a frame, in pixels."""
    max_frames: int = Field(default=10_000_000, ge=1)
    """Maximum number of frames of a video."""
    max_duration_s: float = Field(default=48 * 3600.0, gt=0)
    """Maximum length of a video, in seconds."""
    cache: Path = Field(default_factory=lambda: Path(platformdirs.user_cache_dir("longview")))
    """The folder for what is measured once on this machine, such as the speed of a checkpoint. It can be deleted at any time."""
    cache_bytes: int = Field(default=20 << 30, ge=0)
    """Maximum size of the thumbnails and browser copies of the library, in bytes; those used longest ago are deleted first."""
    device: str | None = None
    """`cuda`, `xpu`, `mps` or `cpu`; by default the accelerator, where there is one."""
    canary: bool = True
    """Whether a loaded checkpoint must find a plain text likely before it is used; not for random weights."""
    precision: Precision = "auto"
    """Number format of the weights on a CPU: `float32`, `bfloat16`, `int8` (linear layers in 8 bits), or `auto`, the faster of
    the first two."""
    cpu_threads: int | None = Field(default=None, ge=1)
    """Number of CPU threads of the engine; by default one for small checkpoints, else one per core."""
    context_tokens: int | None = Field(default=None, ge=1)
    """Maximum context length (prompt and reply), in tokens; by default what the device can hold. A context longer
    than the checkpoint was trained on is extended by YaRN."""
    session_memory_bytes: int | None = Field(default=None, ge=0)
    """Device memory for the KV caches of open videos, in bytes; by default most of what is free."""
    session_host_bytes: int = Field(default=0, ge=0)
    """Host memory for KV caches that no longer fit on the device, in bytes. They move back without a second decoding."""
    speech_model: str = "auto"
    """The speech model: `auto` (the bundled one), a folder in CTranslate2's form, or the name of a cached model."""
    speech_device: SpeechDeviceChoice = "auto"
    """The device of the speech model: `cpu`, `cuda`, or `auto`: CUDA where `device` is, and the CPU if CUDA cannot be used."""
    speech_language: str | None = None
    """Language of the speech as a code such as `en`; by default it is detected."""
    speech_vocabulary: Path | None = None
    """A text file with names and terms that are likely in the speech, one per line."""
    audio_track: str | None = None
    """Audio track for speech recognition: its number from 1, or a language; by default the default track of the file."""
    screen_text_language: str | None = None
    """Language of the text on screen as a code such as `ko`; by default that of the speech and the subtitles. It matters only for
    languages that the bundled model does not read; see `longview.model.screen_text.languages`."""
    index_verify: bool | None = None
    """Verify every caption, and retry a window whose captions fail the check; by default only for the demo checkpoint."""
    index_refine: bool | None = None
    """Refine the times of contested captions in clips of their own; by default only for the demo checkpoint."""
    locate_verify: bool = True
    """Verify each occurrence that `locate` finds, and verify the absence of a query before it is stated."""
    locate_refine: bool = True
    """Refine the boundaries of each occurrence that `locate` finds."""
    transcript: bool = True
    """Give the checkpoint what is said and shown in the video, as text beside the frames. The demo checkpoint never gets it."""
    thinking: bool = False
    """Let the checkpoint think before it answers a question, where its chat template has a switch for it."""
    thinking_tokens: int = Field(default=8192, ge=1)
    """Maximum length of the thoughts before one reply, in tokens."""
    ask_verify: bool = False
    """Verify the times that an answer names."""
    search_verify: bool | None = None
    """Verify search results; by default all of them for the demo checkpoint, else those that take less than `search_verify_s`."""
    search_verify_s: float = Field(default=5.0, ge=0)
    """Maximum estimated time to verify a search result by default, in seconds."""
    watch_rest_s: float = Field(default=10.0, gt=0)
    """Time without a change after which `index --watch` takes a file for complete, in seconds."""
    workers: int = Field(default=1, ge=1, le=16)
    """Number of files that `serve` indexes at once. They share the device."""
    port: int = Field(default=7860, ge=1, le=65535)
    """The port of `serve` on 127.0.0.1."""
    max_upload_bytes: int = Field(default=64 << 30, ge=1)
    """Maximum size of an upload, in bytes."""

    @property
    def limits(self) -> Limits:
        """The limits for files and their decoding."""
        return Limits(
            folders=(*self.video_folders, self.library) if self.video_folders else (),
            size_bytes=self.max_file_bytes,
            pixels=self.max_pixels,
            frames=self.max_frames,
            duration_s=self.max_duration_s,
            memory_bytes=self.decode_memory_bytes,
            stall_s=self.decode_stall_s,
            seconds_per_second=self.decode_seconds_per_second,
        )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 (pydantic passes it by name)
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources in order of precedence: flags, then environment, then file."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


def read_server_key(settings: Settings) -> str:
    """Return the API key of the server, from its file where one is set.

    Raises:
        BadRequest: the file cannot be read.
    """
    if settings.server_key_file is None:
        return settings.server_key
    try:
        return settings.server_key_file.expanduser().read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise BadRequest(f"The file of the API key, {settings.server_key_file}, cannot be read: {error}") from error


def job_settings(settings: Settings) -> dict[str, Any]:
    """Return the settings that change what is found in a video, as far as they differ from those of a command without options.

    Raises:
        BadRequest: the settings of such a command cannot be read.
    """
    values, default = (each.model_dump(mode="json", include=set(JOB_SETTINGS)) for each in (settings, load_settings()))
    stored_names = {new: old for old, new in RENAMED.items()}
    return {stored_names.get(name, name): values[name] for name in JOB_SETTINGS if values[name] != default[name]}


def is_default(name: str, value: str) -> bool:
    """Whether a command without options has this value of a setting, from the environment or from `longview.toml`."""
    if variable := os.environ.get(f"{ENV_PREFIX}{name.upper()}"):
        return variable == value
    return is_set_in_file(name, value)


def is_set_in_file(name: str, value: str) -> bool:
    """Whether `longview.toml` has this value of a setting."""
    try:
        return bool(read_config_file().get(name) == value)
    except (OSError, ValueError):
        return False


def read_config_file() -> dict[str, Any]:
    """Return the settings of `longview.toml`; none if there is no such file.

    Raises:
        OSError, ValueError: it cannot be read.
    """
    return tomllib.loads(CONFIG_FILE.read_text(encoding="utf-8")) if CONFIG_FILE.exists() else {}


def load_settings(**flags: Any) -> Settings:
    """Return the settings with those flags that are not None.

    Raises:
        BadRequest: a value is invalid, or a name is one of an earlier version.
    """
    flags = {name: value for name, value in flags.items() if value is not None}
    try:
        _refuse_old_names(flags)
        return Settings(**{new: value for _, new, value in _renamed_values(flags)} | flags)
    except ValidationError as error:
        first = error.errors()[0]
        raise BadRequest(f"The setting {'.'.join(map(str, first['loc']))} has an invalid value: {first['msg']}.") from error
    except (ValueError, OSError) as error:
        raise BadRequest(f"The settings in {CONFIG_FILE} or in the environment cannot be read: {error}") from error


def _refuse_old_names(flags: dict[str, Any]) -> None:
    in_file = read_config_file()
    for old, new in OLD_NAMES.items():
        old_variable, new_variable = f"{ENV_PREFIX}{old.upper()}", f"{ENV_PREFIX}{new.upper()}"
        # A user who sets both names runs two versions side by side.
        if os.environ.get(old_variable) and not os.environ.get(new_variable) and new not in flags:
            raise BadRequest(f"The environment variable {old_variable} is now called {new_variable}; rename it.")
        if old in in_file:
            raise BadRequest(f"The setting {old} in {CONFIG_FILE} is now called {new}; rename it.")


def rename_notices(flags: dict[str, Any]) -> list[str]:
    """Return a sentence for each setting whose value comes from its earlier name."""
    return [notice for notice, _, _ in _renamed_values(flags)]


def _renamed_values(flags: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Yield a notice, the present name and the value of settings that only have their earlier name."""
    in_file = read_config_file()
    for old, new in RENAMED.items():
        old_variable, new_variable = f"{ENV_PREFIX}{old.upper()}", f"{ENV_PREFIX}{new.upper()}"
        if flags.get(new) is not None or os.environ.get(new_variable):
            continue
        if value := os.environ.get(old_variable):
            yield f"{old_variable} is now {new_variable}.", new, value
        elif old in in_file and new not in in_file:
            yield f"{old} in {CONFIG_FILE} is now {new}.", new, in_file[old]
