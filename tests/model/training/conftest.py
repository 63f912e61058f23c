"""Fixtures of the training tests."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoProcessor

from longview.model.engine.checkpoints.checkpoints import DEMO
from longview.model.training.configs import TOY
from longview.model.training.export import write_checkpoint
from longview.model.training.scoring import compute_scores
from longview.model.training.state import delete_state
from longview.model.training.tokens import ExampleEncoder
from longview.model.training.trainer import Trainer, train
from tests.support.toy_training import CONFIG, CPU


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def encoder() -> ExampleEncoder:
    return ExampleEncoder()


@pytest.fixture(scope="session")
def processor() -> Any:
    return AutoProcessor.from_pretrained(DEMO, local_files_only=True)


@pytest.fixture(scope="session")
def trained_toy(tmp_path_factory: pytest.TempPathFactory) -> tuple[Trainer, Path]:
    """A trainer after four steps, and the folder of its checkpoint."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("checkpoint")
    trainer = train(replace(CONFIG, steps=4), folder, device=CPU)
    tiny = replace(TOY, scored=((4, 3),), max_reply_tokens=12)
    write_checkpoint(trainer, folder, compute_scores(trainer.model, tiny, "text"))
    delete_state(folder)
    return trainer, folder
