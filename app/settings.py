"""All settings, from flags, environment, file and defaults, in that order of weight."""

from pathlib import Path
from typing import Any

import platformdirs
from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from app.errors import BadRequest
from video.decoder import ReaderName

CONFIG_FILE = Path(platformdirs.user_config_dir("longview")) / "longview.toml"


class Settings(BaseSettings):
    """Every limit and choice.

    `LONGVIEW_<NAME>` sets one in the environment, `longview.toml` in the user's configuration folder in a file.
    """

    model_config = SettingsConfigDict(
        env_prefix="LONGVIEW_", env_ignore_empty=True, frozen=True, extra="ignore", toml_file=CONFIG_FILE
    )

    home: Path = Field(default_factory=lambda: Path(platformdirs.user_data_dir("longview")))
    """The library folder."""
    model: str = "auto"
    """`auto`, `demo`, a Hugging Face id or a folder."""
    reader: ReaderName = "pyav"
    device: str | None = None
    """`cuda` or `cpu`; by default CUDA where there is one."""
    threads: int | None = Field(default=None, ge=1)
    """CPU threads of the engine; by default one for small checkpoints, else one a core."""
    context_tokens: int | None = Field(default=None, ge=1)
    """Most tokens of one prompt and reply; by default what the device can take."""
    session_memory_bytes: int = Field(default=4 << 30, ge=0)
    """Memory for the KV caches of videos that were looked at."""
    port: int = Field(default=7860, ge=1, le=65535)
    max_upload_bytes: int = Field(default=64 << 30, ge=1)

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
