"""Decoder backends, one module each with one function `decode` (see `longview.video.backends.base.Backend`)."""

from importlib import import_module
from typing import Literal, cast, get_args

from longview.video.backends.base import Backend

BackendName = Literal["pyav", "ffmpeg", "decord"]
BACKENDS: tuple[BackendName, ...] = get_args(BackendName)
"""Names of the modules in this package that decode."""
FALLBACK: dict[BackendName, BackendName] = {"pyav": "ffmpeg", "ffmpeg": "pyav", "decord": "pyav"}
"""Backend that is tried once if the chosen one cannot read a file or crashes."""


def load_backend(name: BackendName) -> Backend:
    """Return the `decode` function of a backend; its library is imported only now."""
    return cast(Backend, import_module(f"{__name__}.{name}").decode)
