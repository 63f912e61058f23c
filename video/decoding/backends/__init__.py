"""Decoder backends: each is a module with a function `decode` (see `longview.video.decoding.backends.base.Backend`)."""

from importlib import import_module
from typing import TYPE_CHECKING, Literal, cast

if TYPE_CHECKING:
    from longview.video.decoding.backends.base import Backend

BackendName = Literal["pyav", "ffmpeg", "decord"]
"""Names of the backends, which are the names of their modules."""
FALLBACK: dict[BackendName, BackendName] = {"pyav": "ffmpeg", "ffmpeg": "pyav", "decord": "pyav"}
"""Backend that is tried once if the chosen one cannot read a file, or crashes."""


def load_backend(name: BackendName) -> "Backend":
    """Import a backend and its library, and return its `decode` function."""
    return cast("Backend", import_module(f"{__name__}.{name}").decode)
