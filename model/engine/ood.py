"""Is this footage of the kind that a checkpoint was trained on? Told from what its vision tower sees, while it is read.

A checkpoint that knows one small world says something about any other, too, and nothing in its words gives that away. So beside
it may lie a `familiar.safetensors`: which statistics of the vision tower's tokens set its world apart from all else. Checkpoints
without that file, every Qwen3-VL that is trained on everything, are familiar with everything.

The rule is a small network over the mean and the spread of a temporal patch's tokens; `longview.model.training.ood.fit` makes the
file.
"""

from dataclasses import dataclass, fields
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch.nn.functional import gelu

from longview.model.engine.checkpoints import OOD_DETECTOR_FILE, Checkpoint
from longview.model.errors import InvalidCheckpoint, OutOfDistribution

MAX_DEVIATIONS = 10.0
"""No statistic counts for more than so many standard deviations: one that is far off must not outvote all others."""


@dataclass(frozen=True)
class OODDetector:
    """The rule of one checkpoint, for tokens of `width` numbers."""

    mean: torch.Tensor
    """Of each statistic over the checkpoint's own world: float32 (2 * width,)."""
    scale: torch.Tensor
    """Standard deviation of each statistic there, the same shape."""
    hidden: torch.Tensor
    """From deviations to the network's hidden numbers: float32 (2 * width, hidden)."""
    hidden_bias: torch.Tensor
    """Float32 (hidden,)."""
    weight: torch.Tensor
    """How much each hidden number speaks for the checkpoint's world, float32 (hidden,)."""
    bias: torch.Tensor
    """Float32 (): moves the border between familiar (above) and unfamiliar to 0."""

    def score_patches(self, tokens: torch.Tensor) -> torch.Tensor:
        """How familiar each temporal patch is: float32 (patches,), above 0 for what looks like the checkpoint's world.

        `tokens`: what the vision tower gives the language model, of shape (patches, tokens a patch, width).
        """
        return self.score_statistics(patch_statistics(tokens))

    def score_statistics(self, found: torch.Tensor) -> torch.Tensor:
        """The same, from what `statistics` gives: (patches, 2 * width) -> (patches,)."""
        deviations = ((found - self.mean) / self.scale).clamp(-MAX_DEVIATIONS, MAX_DEVIATIONS)
        return gelu(deviations @ self.hidden + self.hidden_bias) @ self.weight + self.bias

    def save(self, path: Path) -> None:
        """Write the rule as safetensors."""
        save_file({field.name: getattr(self, field.name).contiguous() for field in fields(self)}, path)


def patch_statistics(tokens: torch.Tensor) -> torch.Tensor:
    """Mean and standard deviation over the tokens of each patch: (patches, tokens, width) -> float32 (patches, 2 * width)."""
    tokens = tokens.float()
    return torch.cat([tokens.mean(1), tokens.std(1, correction=0)], dim=-1)


def window_score(patches: list[torch.Tensor]) -> float:
    """How familiar a window is: the median of its patches, so that the majority decides."""
    return float(torch.cat(patches).median())


def load_ood_detector(checkpoint: Checkpoint, device: torch.device | str) -> OODDetector | None:
    """The rule beside a checkpoint, on that device; None for one that is familiar with everything.

    Raises:
        BadCheckpoint: there is a file, but it is no such rule.
    """
    path = checkpoint.folder / OOD_DETECTOR_FILE
    if not path.exists():
        return None
    try:
        rule = OODDetector(**load_file(path, device=str(device)))
    except (OSError, TypeError, SafetensorError) as error:
        raise InvalidCheckpoint(f"{path} does not say what the checkpoint is familiar with: {error}") from error
    sizes = (len(rule.mean), *rule.weight.shape)
    if rule.hidden.shape != sizes or len(rule.scale) != sizes[0] or rule.hidden_bias.shape != rule.weight.shape or rule.bias.ndim:
        raise InvalidCheckpoint(f"{path} does not say what the checkpoint is familiar with: its tensors do not fit together.")
    return rule


def out_of_distribution_error(checkpoint: Checkpoint) -> OutOfDistribution:
    """The error that says so to a user, with what the checkpoint's own notice says of it."""
    notice = f" ({checkpoint.notice})" if checkpoint.notice else ""
    return OutOfDistribution(
        f"This checkpoint has never seen footage like this, so whatever it said about it would be invented{notice}."
    )
