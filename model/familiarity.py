"""Is this footage of the kind that a checkpoint was trained on? Told from what its vision tower sees, while it is read.

A checkpoint that knows one small world says something about any other, too, and nothing in its words gives that away. So beside
it may lie a `familiar.safetensors`: which statistics of the vision tower's tokens set its world apart from all else. Checkpoints
without that file, every Qwen3-VL that is trained on everything, are familiar with everything.

The rule is linear in the mean and the spread of a temporal patch's tokens. `benchmarks.fit_familiarity` makes the file.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from model.checkpoints import FAMILIAR_FILE, Checkpoint
from model.errors import BadCheckpoint, UnfamiliarFootage

DEVIATIONS_MAX = 10.0
"""No statistic counts for more than so many standard deviations: one that is far off must not outvote all others."""


@dataclass(frozen=True)
class Familiarity:
    """The rule of one checkpoint, for tokens of `width` numbers."""

    mean: torch.Tensor
    """Of each statistic over the checkpoint's own world: float32 (2 * width,)."""
    scale: torch.Tensor
    """Standard deviation of each statistic there, the same shape."""
    weight: torch.Tensor
    """How much a deviation speaks for the checkpoint's world, the same shape."""
    bias: torch.Tensor
    """Float32 (): moves the border between familiar (above) and unfamiliar to 0."""

    def of_patches(self, tokens: torch.Tensor) -> torch.Tensor:
        """How familiar each temporal patch is: float32 (patches,), above 0 for what looks like the checkpoint's world.

        `tokens`: what the vision tower gives the language model, of shape (patches, tokens a patch, width).
        """
        deviations = ((statistics(tokens) - self.mean) / self.scale).clamp(-DEVIATIONS_MAX, DEVIATIONS_MAX)
        return deviations @ self.weight + self.bias

    def save(self, path: Path) -> None:
        """Write the rule as safetensors."""
        save_file({name: getattr(self, name).contiguous() for name in ("mean", "scale", "weight", "bias")}, path)


def statistics(tokens: torch.Tensor) -> torch.Tensor:
    """Mean and standard deviation over the tokens of each patch: (patches, tokens, width) -> float32 (patches, 2 * width)."""
    tokens = tokens.float()
    return torch.cat([tokens.mean(1), tokens.std(1, correction=0)], dim=-1)


def of_window(patches: list[torch.Tensor]) -> float:
    """How familiar a window is: the median of its patches, so that the majority decides."""
    return float(torch.cat(patches).median())


def familiarity_of(checkpoint: Checkpoint, device: torch.device | str) -> Familiarity | None:
    """The rule beside a checkpoint, on that device; None for one that is familiar with everything.

    Raises:
        BadCheckpoint: there is a file, but it is no such rule.
    """
    path = checkpoint.folder / FAMILIAR_FILE
    if not path.exists():
        return None
    try:
        rule = Familiarity(**load_file(path, device=str(device)))
    except (OSError, TypeError, SafetensorError) as error:
        raise BadCheckpoint(f"{path} does not say what the checkpoint is familiar with: {error}") from error
    if not rule.mean.shape == rule.scale.shape == rule.weight.shape or rule.bias.ndim:
        raise BadCheckpoint(f"{path} does not say what the checkpoint is familiar with: its tensors do not fit together.")
    return rule


def declined(checkpoint: Checkpoint) -> UnfamiliarFootage:
    """The error that says so to a user, with what the checkpoint's own notice says of it."""
    notice = f" ({checkpoint.notice})" if checkpoint.notice else ""
    return UnfamiliarFootage(
        f"This checkpoint has never seen footage like this, so whatever it said about it would be invented{notice}."
    )
