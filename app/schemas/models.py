"""The document of the verb that lists checkpoints."""

from typing import TYPE_CHECKING, Self

from pydantic import BaseModel

if TYPE_CHECKING:
    from longview.app.local_models import LocalModel


class LocalModelOut(BaseModel):
    """A checkpoint on this machine."""

    name: str
    chosen: bool
    """Whether it is the one that `--model` means."""
    tasks: list[str]
    """What it was trained for."""
    weight_bytes: int
    memory_bytes: dict[int, int]
    """Memory of weights and KV cache, by the length of the context in tokens."""
    fits: dict[int, bool]
    """Whether the device has this memory."""

    @classmethod
    def of(cls, model: "LocalModel") -> Self:
        """Return the document of a checkpoint."""
        return cls(
            name=model.checkpoint.name,
            chosen=model.is_chosen,
            tasks=list(model.tasks),
            weight_bytes=model.checkpoint.weight_bytes,
            memory_bytes=model.memory_bytes,
            fits={tokens: model.fits(tokens) for tokens in model.memory_bytes},
        )


class ModelsDocument(BaseModel):
    """The document of `models`."""

    models: list[LocalModelOut]
