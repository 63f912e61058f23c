"""The checkpoints on this machine: what each is for, what memory it needs, and whether it fits."""

from dataclasses import dataclass

from longview.app.settings import Settings
from longview.model.engine.checkpoints import Checkpoint, cached_checkpoints, find_checkpoint

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
    """Return the checkpoints of the Hugging Face cache, the bundled one, and the chosen one if it is a folder.

    Nothing is downloaded.

    Raises:
        DeviceNotFound: there is no such device as in the settings.
    """
    found = {checkpoint.name: checkpoint for checkpoint in (find_checkpoint("demo"), *cached_checkpoints())}
    chosen = _chosen_name(settings, found)
    total_bytes = _device_bytes(settings.device)
    models = []
    for checkpoint in found.values():
        limit = checkpoint.max_context_tokens
        contexts = [tokens for tokens in CONTEXTS if tokens <= limit] or [limit]
        memory_bytes = {tokens: checkpoint.bytes_with(tokens) for tokens in contexts}
        models.append(LocalModel(checkpoint, memory_bytes, total_bytes, checkpoint.name == chosen))
    return tuple(models)


def _chosen_name(settings: Settings, found: dict[str, Checkpoint]) -> str | None:
    """Return the name of the checkpoint that the settings choose; add it to those found if it is a folder. None: a server."""
    if settings.server is not None:
        return None
    if settings.model in found:
        return settings.model
    if settings.model != "auto" and "/" in settings.model and not settings.model.startswith((".", "/", "~")):
        # An id that is not in the cache would be downloaded.
        return None
    checkpoint = find_checkpoint(settings.model, device=settings.device)
    found.setdefault(checkpoint.name, checkpoint)
    return checkpoint.name


def _device_bytes(device: str | None) -> int:
    from longview.model.engine.devices import choose_device_type, devices_of, memory_bytes

    return sum(memory_bytes(one)[1] for one in devices_of(choose_device_type(device)))
