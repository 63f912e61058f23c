"""The weights of answers in the three losses equal values computed by hand."""

import pytest
import torch

from longview.model.training.losses import answer_loss


def test_losses_equal_values_computed_by_hand() -> None:
    # One answer has one token with a loss of 3; the other has four tokens with a loss of 1 each.
    token_losses, answer_of = torch.tensor([3.0, 1.0, 1.0, 1.0, 1.0]), torch.tensor([0, 1, 1, 1, 1])
    assert answer_loss(token_losses, answer_of, "token").item() == pytest.approx((3 + 4) / 5)
    assert answer_loss(token_losses, answer_of, "sample").item() == pytest.approx((3 + 1) / 2)
    # sqrt: the weights are 1 and four times 1/2.
    assert answer_loss(token_losses, answer_of, "sqrt").item() == pytest.approx((3 + 4 * 0.5) / (1 + 4 * 0.5))
