"""A stage trains the parameters that it names."""

from longview.model.training.configs import TOY
from longview.model.training.curriculum import Stage
from longview.model.training.modeling import random_model, trained_parameters


def test_unrestricted_stage_trains_all_parameters() -> None:
    model = random_model(TOY, seed=0)
    assert len(trained_parameters(model, Stage("full", 1.0, 4))) == len(list(model.parameters()))
