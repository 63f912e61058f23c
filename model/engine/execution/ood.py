"""Out-of-distribution detection: tokens of the vision tower -> a score per window, computed during prefill.

A checkpoint with narrow training data generates fluent replies about any footage, and the text does not reveal that they are
invented. A `detector/ood_detector.safetensors` in its folder separates its training distribution from other footage. Scores
above 0 are in-distribution. Checkpoints without the file accept all footage, as Qwen3-VL does.

The detector is a network with one hidden layer. Its inputs are the mean and the standard deviation of each feature over the
tokens of a temporal patch. `longview.model.training.ood.fit` fits it and writes the file.
"""

from dataclasses import dataclass, fields
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch.nn.functional import gelu

from longview.core.atomic import atomic_write
from longview.model.engine.checkpoints.checkpoints import OOD_DETECTOR_FILE, OOD_DETECTOR_FOLDER, Checkpoint
from longview.model.errors import InvalidCheckpoint

MAX_DEVIATIONS = 10.0
"""Maximum deviation of a statistic, in standard deviations. Larger ones are clipped, so that one cannot outweigh all others."""


@dataclass(frozen=True)
class OODDetector:
    """An out-of-distribution detector for one checkpoint, whose visual tokens have `width` features."""

    mean: torch.Tensor
    """Mean of each statistic over in-distribution patches, float32 (2 * width,)."""
    scale: torch.Tensor
    """Standard deviation of each statistic over in-distribution patches, float32 (2 * width,)."""
    hidden: torch.Tensor
    """Weights of the hidden layer, float32 (2 * width, hidden)."""
    hidden_bias: torch.Tensor
    """Biases of the hidden layer, float32 (hidden,)."""
    weight: torch.Tensor
    """Weights of the output, float32 (hidden,). Positive weights raise the in-distribution score."""
    bias: torch.Tensor
    """Bias of the output, float32 (). It places the decision threshold at 0."""

    def score_patches(self, tokens: torch.Tensor) -> torch.Tensor:
        """Score each temporal patch; above 0: in-distribution.

        `tokens`: output of the vision tower, (patches, tokens per patch, width). Returns float32 (patches,).
        """
        return self.score_statistics(patch_statistics(tokens))

    def score_statistics(self, statistics: torch.Tensor) -> torch.Tensor:
        """Score each temporal patch by the output of `patch_statistics`: (patches, 2 * width) -> (patches,)."""
        deviations = ((statistics - self.mean) / self.scale).clamp(-MAX_DEVIATIONS, MAX_DEVIATIONS)
        return gelu(deviations @ self.hidden + self.hidden_bias) @ self.weight + self.bias

    def save(self, checkpoint_folder: Path) -> None:
        """Write the detector into the folder of its checkpoint, in place of one that is there, also beside the weights."""
        path = checkpoint_folder / OOD_DETECTOR_FOLDER / OOD_DETECTOR_FILE
        with atomic_write(path) as partial:
            save_file({field.name: getattr(self, field.name).contiguous() for field in fields(self)}, partial)
        (checkpoint_folder / OOD_DETECTOR_FILE).unlink(missing_ok=True)


def patch_statistics(tokens: torch.Tensor) -> torch.Tensor:
    """Compute mean and standard deviation over the tokens of each patch.

    (patches, tokens per patch, width) -> float32 (patches, 2 * width).
    """
    tokens = tokens.float()
    return torch.cat([tokens.mean(1), tokens.std(1, correction=0)], dim=-1)


def window_score(patch_scores: list[torch.Tensor]) -> float:
    """Return the median of the patch scores of a window, so that the majority decides. Above 0: in-distribution."""
    return float(torch.cat(patch_scores).median())


def load_ood_detector(checkpoint: Checkpoint, device: torch.device | str) -> OODDetector | None:
    """Load the detector of a checkpoint onto a device. None: the checkpoint has no detector and accepts all footage.

    Raises:
        InvalidCheckpoint: the file is not an out-of-distribution detector.
    """
    path = checkpoint.ood_detector_file
    if path is None:
        return None
    try:
        detector = OODDetector(**load_file(path, device=str(device)))
    except (OSError, TypeError, SafetensorError) as error:
        raise InvalidCheckpoint(f"{path} is not an out-of-distribution detector: {error}") from error
    sizes = (len(detector.mean), *detector.weight.shape)
    if (
        detector.hidden.shape != sizes
        or len(detector.scale) != sizes[0]
        or detector.hidden_bias.shape != detector.weight.shape
        or detector.bias.ndim
    ):
        raise InvalidCheckpoint(f"{path} is not an out-of-distribution detector: the shapes of its tensors do not match.")
    return detector
