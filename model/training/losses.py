"""Weights of answer tokens in the loss.

Long answers dominate a per-token loss, short ones a per-sample loss. The Qwen3-VL report takes the middle: an answer of n tokens
has the weight sqrt(n).
"""

from typing import Literal

import torch

Loss = Literal["sqrt", "token", "sample"]
EXPONENTS: dict[Loss, float] = {"token": 0.0, "sqrt": -0.5, "sample": -1.0}
"""A token of an answer of n tokens has the weight n to that power."""


def token_weights(answer_of: torch.Tensor, loss: Loss) -> torch.Tensor:
    """Return the weight of each answer token, float32 (n,), with a sum of 1.

    `answer_of`: int64 (n,), the number of the answer that each token belongs to, counted through the batch from 0.
    """
    lengths = torch.bincount(answer_of).float()
    weights = lengths[answer_of] ** EXPONENTS[loss]
    return weights / weights.sum()


def answer_loss(token_losses: torch.Tensor, answer_of: torch.Tensor, loss: Loss) -> torch.Tensor:
    """Return the loss of a batch, a scalar, from the cross entropies (n,) of its answer tokens."""
    return (token_losses * token_weights(answer_of, loss)).sum()
