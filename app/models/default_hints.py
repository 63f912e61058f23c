"""The hint that a checkpoint which cannot be found is the default. Every question needs it, so it imports no parser of TOML."""

from collections.abc import Iterator
from contextlib import contextmanager

from longview.app.settings import is_set_in_file
from longview.model.errors import CheckpointNotFound, InvalidCheckpoint


@contextmanager
def explaining_default(setting: str, name: str) -> Iterator[None]:
    """Say of a checkpoint that cannot be found that it is the default, if it is, and how to reset it."""
    try:
        yield
    except (CheckpointNotFound, InvalidCheckpoint) as error:
        if not is_set_in_file(setting, name):
            raise
        hint = f"It is the default {setting} (longview.toml); `longview models default {name} --unset` resets it."
        raise type(error)(f"{error} {hint}") from error
