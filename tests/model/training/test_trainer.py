"""The trainer at toy size: what each stage trains, how steps fail, and how an interrupted run resumes."""

from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from longview.model.errors import TrainingFailed, TrainingRefused
from longview.model.training import trainer as trainer_module
from longview.model.training.batches import batch_at
from longview.model.training.configs import FULL, TOY
from longview.model.training.curriculum import TOY_STAGES
from longview.model.training.modeling import trained_parameters
from longview.model.training.state import load_state
from longview.model.training.tokens import ExampleEncoder
from longview.model.training.trainer import Trainer, TrainingConfig, train
from tests.support.toy_training import CONFIG, CPU, copy_weights


class Interrupted(Exception):
    pass


def test_first_stage_trains_only_the_merger(encoder: ExampleEncoder) -> None:
    trainer = Trainer(replace(CONFIG, steps=1000), CPU)
    before = copy_weights(trainer)
    for step in range(3):
        trainer.train_step(batch_at(encoder, TOY, "text", run=3, step=step, progress=trainer.progress))
    changed = {name for name, value in copy_weights(trainer).items() if not torch.equal(value, before[name])}
    assert trainer.step == 3
    assert {name.split(".")[2] for name in changed} == {"merger", "deepstack_merger_list"}
    assert changed <= set(trained_parameters(trainer.model, TOY_STAGES[0]))
    trainer.step = 30  # of 1000: after the first stage
    trainer.train_step(batch_at(encoder, TOY, "text", run=3, step=30, progress=trainer.progress))
    changed = {name for name, value in copy_weights(trainer).items() if not torch.equal(value, before[name])}
    assert {"model.language_model.embed_tokens.weight", "model.visual.blocks.0.attn.qkv.weight"} <= changed


def test_loss_falls_on_one_batch(encoder: ExampleEncoder) -> None:
    trainer = Trainer(replace(CONFIG, steps=100_000), CPU)
    trainer.step = 5_000  # after the first stage and the warmup
    small = replace(TOY, tokens_per_step=600)
    batch = batch_at(encoder, small, "text", run=0, step=0, progress=0.1)
    first = float(trainer.losses(batch)[0].detach())
    for _ in range(40):
        trainer.train_step(batch)
    last = float(trainer.losses(batch)[0].detach())
    assert first > 5 and last < 0.4 * first


def test_bfloat16_gives_nearly_the_same_loss(encoder: ExampleEncoder) -> None:
    trainer = Trainer(CONFIG, CPU)
    batch = batch_at(encoder, replace(TOY, tokens_per_step=600), "text", run=0, step=0, progress=0.1)
    exact = torch.stack(trainer.losses(batch))
    trainer.mixed_precision = True
    rounded = torch.stack(trainer.losses(batch))
    rounded.sum().backward()
    assert torch.allclose(exact, rounded, rtol=0.02)
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in trainer.model.parameters())


def test_full_size_takes_a_step(encoder: ExampleEncoder) -> None:
    trainer = Trainer(TrainingConfig("full", steps=100), CPU)
    assert sum(parameter.numel() for parameter in trainer.model.parameters()) == pytest.approx(11.0e6, rel=0.05)
    trainer.step = 50
    small = replace(FULL, tokens_per_step=1500, max_examples_per_step=2, grids=((3, 3),))
    batch = batch_at(encoder, small, "text", run=0, step=50, progress=0.05)
    before = copy_weights(trainer)
    trainer.train_step(batch)
    assert trainer.loss > 1 and all(torch.isfinite(value).all() for value in copy_weights(trainer).values())
    assert sum(not torch.equal(value, before[name]) for name, value in copy_weights(trainer).items()) > 0.9 * len(before)


@pytest.mark.gpu
def test_full_size_steps_on_a_gpu_are_finite(encoder: ExampleEncoder) -> None:
    """With 64 vision patches per frame, cuDNN's attention gave NaN gradients; `Trainer` disables it."""
    trainer = Trainer(TrainingConfig("full", steps=10_000), torch.device("cuda"))
    squares = replace(FULL, grids=((4, 4),))
    for step in (0, 4000, 9000):
        trainer.step = step
        trainer.train_step(batch_at(encoder, squares, "text", run=0, step=step, progress=trainer.progress))
        assert trainer.step == step + 1 and trainer.loss == trainer.loss
    assert all(torch.isfinite(parameter).all() for parameter in trainer.model.parameters())
    assert trainer._nonfinite_steps == 0


def test_nonfinite_steps_are_skipped_and_then_end_the_run(encoder: ExampleEncoder) -> None:
    trainer = Trainer(replace(CONFIG, steps=1000), CPU)
    batch = batch_at(encoder, replace(TOY, tokens_per_step=300), "text", run=0, step=0, progress=0.1)
    trainer.train_step(batch)
    before = copy_weights(trainer)
    with torch.no_grad():
        trainer.heads.labels.bias.fill_(float("nan"))
    for _ in range(trainer_module.MAX_NONFINITE_STEPS - 1):
        trainer.train_step(batch)
    assert all(torch.equal(value, before[name]) for name, value in copy_weights(trainer).items())
    with pytest.raises(TrainingFailed, match="not finite"):
        trainer.train_step(batch)


def test_interrupted_run_resumes_exactly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train(CONFIG, tmp_path / "whole", device=CPU)
    monkeypatch.setattr(trainer_module, "SAVE_EVERY_S", 0.0)
    monkeypatch.setattr(trainer_module, "REPORT_EVERY", 1)

    def interrupt(step: int, progress: float, loss: float) -> None:
        if step == 5:
            raise Interrupted

    with pytest.raises(Interrupted):
        train(CONFIG, tmp_path / "parts", device=CPU, on_step=interrupt)
    state = load_state(tmp_path / "parts")
    assert state is not None and state["step"] == 5
    steps: list[int] = []
    resumed = train(CONFIG, tmp_path / "parts", device=CPU, on_step=lambda step, *_: steps.append(step))
    assert steps == [6, 7, 8]
    assert resumed.elapsed_s > state["elapsed_s"] and resumed.tokens == whole.tokens and resumed.loss == whole.loss
    for name, value in copy_weights(whole).items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
    with pytest.raises(TrainingRefused, match="another folder"):
        train(replace(CONFIG, loss="token"), tmp_path / "parts", device=CPU)


def test_state_is_restored_with_another_budget() -> None:
    trainer = Trainer(TrainingConfig("toy", max_seconds=60.0), CPU)
    state = trainer.state() | {"step": 7, "config": asdict(TrainingConfig("toy", max_seconds=120.0))}
    trainer.restore(state)
    assert trainer.step == 7
