"""All settings, from flags, environment, file and defaults, in that order of weight."""

from pathlib import Path
from typing import Any

import platformdirs
from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from longview.app.errors import BadRequest
from longview.video.decoder import BackendName
from longview.video.guard import Limits

CONFIG_FILE = Path(platformdirs.user_config_dir("longview")) / "longview.toml"


class Settings(BaseSettings):
    """Every limit and choice.

    `LONGVIEW_<NAME>` sets one in the environment, `longview.toml` in the user's configuration folder in a file.
    """

    model_config = SettingsConfigDict(
        env_prefix="LONGVIEW_", env_ignore_empty=True, frozen=True, extra="ignore", toml_file=CONFIG_FILE
    )

    library: Path = Field(default_factory=lambda: Path(platformdirs.user_data_dir("longview")))
    """The library folder."""
    model: str = "auto"
    """`auto`, `demo`, a Hugging Face id or a folder."""
    server: str | None = None
    """An OpenAI-compatible server that serves `model`, as `http://host:8000/v1`; by default the model runs here."""
    server_key: str = "none"
    """What that server wants as an API key."""
    backend: BackendName = "pyav"
    """The library that decodes videos."""
    key_frames_only: bool = False
    """Decode key frames only: much faster; times stay true, but what lies between two key frames is not seen."""
    decode_processes: int | None = Field(default=None, ge=1, le=64)
    """How many processes may decode one video at once; by default one a core, at most four."""
    decode_memory_bytes: int = Field(default=4 << 30, ge=1 << 29)
    """Address space of a decoding process; 8K needs about 2 GiB."""
    decode_stall_s: float = Field(default=30.0, gt=0)
    """A decoding process that gives no sign of life for so many seconds is stopped."""
    decode_seconds_per_second: float = Field(default=10.0, gt=0)
    """Seconds that decoding a second of video may take, beyond the minute that every file has."""
    video_folders: tuple[Path, ...] = ()
    """Only videos inside these folders, and the library's uploads, may be opened; empty: all that the user may read."""
    max_file_bytes: int = Field(default=1 << 40, ge=1)
    max_pixels: int = Field(default=8192 * 8192, ge=1)
    """Of a frame."""
    max_frames: int = Field(default=10_000_000, ge=1)
    max_duration_s: float = Field(default=48 * 3600.0, gt=0)
    device: str | None = None
    """`cuda` or `cpu`; by default CUDA where there is one."""
    cpu_threads: int | None = Field(default=None, ge=1)
    """CPU threads of the engine; by default one for small checkpoints, else one a core."""
    context_tokens: int | None = Field(default=None, ge=1)
    """Most tokens of one prompt and reply; by default what the device can take."""
    session_memory_bytes: int | None = Field(default=None, ge=0)
    """Memory of the device for the KV caches of videos that were looked at; by default most of what is free."""
    session_host_bytes: int = Field(default=0, ge=0)
    """The host's memory for those that no longer fit there: they come back without being read again."""
    port: int = Field(default=7860, ge=1, le=65535)
    max_upload_bytes: int = Field(default=64 << 30, ge=1)

    @property
    def limits(self) -> Limits:
        """What files and their decoding are held to."""
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
        """Flags, then environment, then file."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


def load_settings(**flags: Any) -> Settings:
    """The settings with those flags that were given (are not None).

    Raises:
        BadRequest: a value makes no sense.
    """
    try:
        return Settings(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        raise BadRequest(f"The setting {'.'.join(map(str, first['loc']))} is wrong: {first['msg']}.") from error
    except ValueError as error:
        raise BadRequest(f"{CONFIG_FILE} cannot be read: {error}") from error
