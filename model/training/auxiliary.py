"""Help in training only: two more tasks on an early layer, which are thrown away afterwards.

Without the second of them localisation stayed at 35 % for 400 s in the runs that made the bundled checkpoint, and with it
it was at 80 % in 200 s. The heads are a module of their own, so nothing of them can get into a written checkpoint.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from longview.model.training.scenes import Scene
from longview.video.synthetic import ACTIONS, COLORS, SHAPES

if TYPE_CHECKING:
    from longview.model.training.batches import Batch

LAYER = 4
"""The layer, counted from 1, behind which the heads read; the last one of shallower models."""
MAX_STARTS, MAX_EVENTS_SO_FAR = 2, 15
DIGITS = 5
"""Of a marker's time in tenths of seconds: up to 9,999.9 s."""
CLASSES = (
    len(COLORS) + 1,
    len(SHAPES) + 1,
    len(ACTIONS) + 1,
    MAX_STARTS + 1,
    MAX_STARTS + 1,
    MAX_EVENTS_SO_FAR + 1,
    *[10] * DIGITS,
)
"""Of each label of a patch; the last colour, shape and action stand for none."""
QUERY_SIZE = 128


def frame_labels(scene: Scene) -> NDArray[np.int64]:
    """What is to be told of each patch, int64 (T, 11).

    Colour, shape and action of the latest event, how many begin there, how many were over just before, how many there
    were so far, and the digits of the marker's time.
    """
    labels = np.zeros((scene.patches, len(CLASSES)), np.int64)
    labels[:, :3] = len(COLORS), len(SHAPES), len(ACTIONS)
    for seen in scene.visible_events:
        event = seen.event
        look = tuple(COLORS).index(event.color), SHAPES.index(event.shape), ACTIONS.index(event.action)
        labels[seen.first : seen.last + 1, :3] = look
        labels[seen.first, 3] += 1
        labels[seen.last + 1 : seen.last + 2, 4] += 1
    labels[:, 5] = labels[:, 3].cumsum().clip(max=MAX_EVENTS_SO_FAR)
    labels[:, 3:5] = labels[:, 3:5].clip(max=MAX_STARTS)
    tenths = np.array([round(time_s * 10) for time_s in scene.timestamps_s])
    for digit in range(DIGITS):
        labels[:, 6 + digit] = tenths // 10 ** (DIGITS - 1 - digit) % 10
    return labels


class ActivationHook:
    """Keeps what a layer of the language model put out last: hidden states (B, n, d)."""

    def __init__(self, model: Any) -> None:
        layers = model.model.language_model.layers
        self.activation: torch.Tensor | None = None
        self._hook = layers[min(LAYER, len(layers)) - 1].register_forward_hook(self._keep)

    def _keep(self, _module: nn.Module, _inputs: Any, output: Any) -> None:
        self.activation = output[0] if isinstance(output, tuple) else output

    def remove(self) -> None:
        """Leave the model as it was."""
        self._hook.remove()
        self.activation = None


class AuxiliaryHeads(nn.Module):
    """What is in each patch, and which patches a question speaks of."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.labels = nn.Linear(hidden_size, sum(CLASSES))
        self.query = nn.Linear(hidden_size, QUERY_SIZE)
        self.key = nn.Linear(hidden_size, QUERY_SIZE)
        self.bias = nn.Linear(hidden_size, 1)

    def loss(self, hidden: torch.Tensor, batch: "Batch") -> torch.Tensor:
        """Both tasks' loss, a scalar, from the hidden states (B, n, d) of the tapped layer."""
        rows = torch.arange(len(hidden), device=hidden.device).unsqueeze(1)
        patches = hidden[rows, batch.patch_ends]
        scores = self.labels(patches).float().flatten(0, 1).split(CLASSES, dim=-1)
        wanted = batch.frame_labels.flatten(0, 1).unbind(-1)
        labels = torch.stack([functional.cross_entropy(s, w) for s, w in zip(scores, wanted, strict=True)]).mean()
        if not len(batch.query_rows):
            return labels
        asked = self.query(hidden[batch.query_rows, batch.query_positions]).float()
        keys, bias = self.key(patches).float()[batch.query_rows], self.bias(patches).float()[batch.query_rows, :, 0]
        matches = (keys @ asked.unsqueeze(-1)).squeeze(-1) / QUERY_SIZE**0.5 + bias
        return labels + functional.binary_cross_entropy_with_logits(matches, batch.query_targets)
