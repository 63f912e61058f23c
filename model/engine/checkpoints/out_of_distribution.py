"""The error for footage outside the training distribution of a checkpoint."""

from longview.model.engine.checkpoints.checkpoints import Checkpoint
from longview.model.errors import OutOfDistribution


def out_of_distribution_error(checkpoint: Checkpoint) -> OutOfDistribution:
    """Create the error for footage outside the training distribution."""
    return OutOfDistribution(
        f"This footage is unlike anything the checkpoint was trained on ({checkpoint.name}), so any answer about it would be "
        "invented; `longview models` names another one, and --model chooses it."
    )
