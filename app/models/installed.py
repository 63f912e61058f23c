"""The checkpoints on this machine: what each is for, what memory it needs, and whether it fits."""

import logging
from dataclasses import dataclass

from longview.app.settings import Settings, is_default
from longview.model.engine.checkpoints.checkpoints import Checkpoint, cached_checkpoints, find_checkpoint
from longview.model.engine.local_access import choose_device_type, device_memory_bytes
from longview.model.errors import CheckpointNotFound, InvalidCheckpoint

log = logging.getLogger(__name__)

CONTEXTS = (16_384, 65_536, 262_144)
"""Context lengths for which the memory is stated, in tokens."""


@dataclass(frozen=True)
class LocalModel:
    """A checkpoint on this machine."""

    checkpoint: Checkpoint
    memory_bytes: dict[int, int]
    """Memory of the weights and a KV cache, by the length of the context in tokens: those of `CONTEXTS` that it takes."""
    device_bytes: int
    """Memory of the device, free at the moment or not."""
    is_chosen: bool
    """Whether it is the one that `--model` means."""

    def fits(self, tokens: int) -> bool:
        """Whether the device has the memory for a context of `memory_bytes`."""
        return self.memory_bytes[tokens] < self.device_bytes

    @property
    def tasks(self) -> tuple[str, ...]:
        """What it was trained for."""
        capabilities = self.checkpoint.profile.capabilities
        tasks = (
            ("captions", capabilities.captions),
            ("answers", capabilities.answers),
            ("locates all", capabilities.spans == "all"),
            ("locates one", capabilities.spans == "one"),
        )
        return tuple(name for name, is_trained in tasks if is_trained)


def local_models(settings: Settings) -> tuple[LocalModel, ...]:
    """Return the checkpoints of the Hugging Face cache, the bundled one, and the chosen ones if they are folders.

    Nothing is downloaded.

    Raises:
        DeviceNotFound: there is no such device as in the settings. CheckpointNotFound, InvalidCheckpoint: an option names
            no checkpoint. A default, or one that can be pulled, is left out.
    """
    checkpoints = {checkpoint.name: checkpoint for checkpoint in (find_checkpoint("demo"), *cached_checkpoints())}
    chosen_folder = None if settings.server else _add_checkpoint("model", settings, checkpoints)
    if settings.grounding_model and not settings.grounding_server:
        _add_checkpoint("grounding_model", settings, checkpoints)
    total_bytes = _device_bytes(settings.device)
    models = []
    for checkpoint in checkpoints.values():
        limit = checkpoint.max_context_tokens
        contexts = [tokens for tokens in CONTEXTS if tokens <= limit] or [limit]
        memory_bytes = {tokens: checkpoint.bytes_with(tokens) for tokens in contexts}
        models.append(LocalModel(checkpoint, memory_bytes, total_bytes, checkpoint.name == chosen_folder))
    return tuple(models)


def _add_checkpoint(setting: str, settings: Settings, checkpoints: dict[str, Checkpoint]) -> str | None:
    """Return the name of the checkpoint of a setting, and add it if it is a folder; None, with a warning, if it is missing."""
    name: str = getattr(settings, setting)
    try:
        checkpoint = checkpoints.get(name) or find_checkpoint(name, device=settings.device)
    except (CheckpointNotFound, InvalidCheckpoint) as error:
        # A model that can be pulled, or was a default, is not a wrong option.
        is_repository = "/" in name and not name.startswith((".", "/", "~"))
        if not (is_repository or is_default(setting, name)):
            raise
        log.warning("%s", error)
        return None
    checkpoints.setdefault(checkpoint.name, checkpoint)
    return checkpoint.name


def _device_bytes(device: str | None) -> int:
    _, total_bytes = device_memory_bytes(choose_device_type(device))
    return total_bytes
