"""A training run: steps until the budget is spent. The state is saved regularly, and an interrupted run resumes from it."""

import logging
import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from longview.model.errors import TrainingFailed, TrainingRefused
from longview.model.training.auxiliary import ActivationHook, AuxiliaryHeads
from longview.model.training.batches import Batch, batch_at, load_batches
from longview.model.training.configs import SIZES, Size, SizeName
from longview.model.training.curriculum import rate_factor, stage_at
from longview.model.training.losses import Loss, answer_loss
from longview.model.training.modeling import freeze_except, hidden_states, random_model
from longview.model.training.rendering import render_pixels
from longview.model.training.state import delete_partial_files, load_state, save_state
from longview.model.training.tokens import NO_LABEL, ExampleEncoder, Timestamps

log = logging.getLogger(__name__)

SAVE_EVERY_S = 60.0
"""Time between two saved states, in seconds: the most that a killed run loses. A state of `full` is about 140 MB."""
BETAS, WEIGHT_DECAY, MAX_GRADIENT_NORM = (0.9, 0.98), 0.05, 1.0
"""Betas and weight decay of AdamW (biases and norms do not decay), and the norm to which gradients are clipped."""
AUXILIARY_WEIGHT_START, AUXILIARY_WEIGHT_END = 1.0, 0.2
"""Weight of the auxiliary losses at the start and at the end of a run."""
MAX_NONFINITE_STEPS = 8
"""Number of consecutive steps with non-finite gradients that ends a run. Fewer of them are skipped."""
REPORT_EVERY = 100
LOSS_AVERAGE_STEPS = 50


@dataclass(frozen=True)
class TrainingConfig:
    """The configuration of a run. The budget is in steps if `steps` is given, else in seconds."""

    size: SizeName
    seed: int = 0
    loss: Loss = "sqrt"
    timestamps: Timestamps = "text"
    max_seconds: float = 0.0
    steps: int = 0

    def progress(self, step: int, elapsed_s: float) -> float:
        """Return the share of the budget that is spent, 0 to 1."""
        return min(1.0, step / self.steps if self.steps else elapsed_s / self.max_seconds)


OnStep = Callable[[int, float, float], None]
"""Callback that receives the number of steps, the progress and the average loss."""


class Trainer:
    """A model in training."""

    def __init__(self, config: TrainingConfig, device: torch.device) -> None:
        # cuDNN's attention gives NaN gradients at some lengths (64 tokens per frame, torch 2.11, pytorch#196678).
        torch.backends.cuda.enable_cudnn_sdp(False)
        self.config, self.device = config, device
        self.size: Size = SIZES[config.size]
        self.model: Any = random_model(self.size, seed=config.seed).to(device)
        self.heads = AuxiliaryHeads(self.model.config.text_config.hidden_size).to(device)
        self.optimizer = torch.optim.AdamW(_parameter_groups(self.model, self.heads), betas=BETAS, fused=device.type == "cuda")
        self.step = 0
        self.tokens = 0
        self.elapsed_s = 0.0
        self.loss = float("nan")
        """Loss of the answers, averaged over about the last `LOSS_AVERAGE_STEPS` steps."""
        self.mixed_precision = device.type == "cuda"
        """Whether matrix products are computed in bfloat16. Weights and optimizer state stay float32."""
        self._hook = ActivationHook(self.model)
        self._nonfinite_steps = 0
        self._stage: Any = None

    @property
    def progress(self) -> float:
        """The share of the budget that is spent, 0 to 1."""
        return self.config.progress(self.step, self.elapsed_s)

    def losses(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the loss of the answers and that of the auxiliary tasks for a batch on the device."""
        pixels = render_pixels(batch.events, batch.frame_times_s, batch.grid, seed=batch.seed)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed_precision):
            hidden = hidden_states(self.model, batch.ids, batch.positions, pixels, batch.grid, use_cache=False)
            targets = batch.labels[:, 1:]
            is_answer = targets != NO_LABEL
            logits = self.model.lm_head(hidden[:, :-1][is_answer])
            assert self._hook.activation is not None
            auxiliary_loss = self.heads.loss(self._hook.activation, batch)
        token_losses = functional.cross_entropy(logits.float(), targets[is_answer], reduction="none")
        return answer_loss(token_losses, batch.answer_of[:, 1:][is_answer], self.config.loss), auxiliary_loss

    def train_step(self, batch: Batch) -> None:
        """Take one optimizer step. A step with non-finite gradients is skipped.

        Raises:
            TrainingFailed: the gradients were not finite in several consecutive steps.
        """
        progress = self.progress
        stage = stage_at(self.size.stages, progress)
        if stage != self._stage:
            log.info("step %d: stage %s, up to %d patches", self.step, stage.name, stage.max_patches)
            freeze_except(self.model, stage)
            self._stage = stage
        rate = self.size.learning_rate * rate_factor(progress, self.step, self.size.warmup_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss, auxiliary_loss = self.losses(batch.to(self.device))
        auxiliary_weight = AUXILIARY_WEIGHT_START + (AUXILIARY_WEIGHT_END - AUXILIARY_WEIGHT_START) * progress
        self.optimizer.zero_grad(set_to_none=True)
        (loss + auxiliary_weight * auxiliary_loss).backward()
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        norm = torch.nn.utils.clip_grad_norm_(parameters, MAX_GRADIENT_NORM)
        self.step += 1
        if not torch.isfinite(norm):
            self._nonfinite_steps += 1
            log.warning("step %d: skipped, because its gradients are not finite", self.step)
            if self._nonfinite_steps >= MAX_NONFINITE_STEPS:
                raise TrainingFailed(
                    f"The gradients of {self._nonfinite_steps} consecutive steps, up to step {self.step}, are not finite; "
                    "choose another --seed."
                )
            return
        self._nonfinite_steps = 0
        self.optimizer.step()
        self.tokens += batch.ids.numel()
        step_loss = float(loss.detach())
        self.loss = step_loss if math.isnan(self.loss) else self.loss + (step_loss - self.loss) / LOSS_AVERAGE_STEPS

    def state(self) -> dict[str, Any]:
        """Return everything that the rest of the run depends on, as plain values and tensors."""
        return {
            "config": asdict(self.config),
            "step": self.step,
            "tokens": self.tokens,
            "elapsed_s": self.elapsed_s,
            "loss": self.loss,
            "model": self.model.state_dict(),
            "heads": self.heads.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Restore a state. Its budget may differ from that of this run.

        Raises:
            TrainingRefused: the state belongs to another configuration.
        """
        budget = {"max_seconds", "steps"}
        saved, own = ({k: v for k, v in config.items() if k not in budget} for config in (state["config"], asdict(self.config)))
        if saved != own:
            raise TrainingRefused(
                f"The folder contains a run of {saved}, not of {own}; choose another folder or the same options."
            )
        self.model.load_state_dict(state["model"])
        self.heads.load_state_dict(state["heads"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.tokens = int(state["step"]), int(state["tokens"])
        self.elapsed_s, self.loss = float(state["elapsed_s"]), float(state["loss"])


def train(config: TrainingConfig, folder: Path, *, device: torch.device, on_step: OnStep | None = None) -> Trainer:
    """Train until the budget is spent; resume from the state in `folder` if there is one.

    The last state stays in the folder. Call `delete_state` when the checkpoint is written.

    Raises:
        TrainingRefused: the folder contains the state of another configuration. TrainingFailed: see `Trainer.train_step`.
    """
    trainer = Trainer(config, device)
    state = load_state(folder)
    delete_partial_files(folder)
    if state is not None:
        trainer.restore(state)
        log.info("resumed at step %d after %.0f s", trainer.step, trainer.elapsed_s)
    shared_progress = torch.tensor([trainer.progress]).share_memory_()
    is_cuda = device.type == "cuda"
    workers = max(1, (os.cpu_count() or 1) - 2) if is_cuda else 0
    make_batch = partial(_make_batch, ExampleEncoder(), config, shared_progress)
    batches = load_batches(trainer.step, make_batch, workers=workers, pin_memory=is_cuda)
    saved_s, resumed_s = trainer.elapsed_s, trainer.elapsed_s
    start = time.perf_counter()
    while trainer.progress < 1:
        trainer.train_step(next(batches))
        trainer.elapsed_s = resumed_s + time.perf_counter() - start
        shared_progress[0] = trainer.progress
        if trainer.elapsed_s - saved_s >= SAVE_EVERY_S:
            save_state(folder, trainer.state())
            saved_s = trainer.elapsed_s
        if on_step and (trainer.step % REPORT_EVERY == 0 or trainer.progress >= 1):
            on_step(trainer.step, trainer.progress, trainer.loss)
    save_state(folder, trainer.state())
    return trainer


def _make_batch(encoder: ExampleEncoder, config: TrainingConfig, shared_progress: torch.Tensor, step: int) -> Batch:
    # With a budget in steps, a batch depends on its step only; with one in seconds, also on the progress at that time.
    progress = config.progress(step, 0.0) if config.steps else float(shared_progress[0])
    return batch_at(encoder, SIZES[config.size], config.timestamps, run=config.seed, step=step, progress=progress)


def _parameter_groups(model: Any, heads: AuxiliaryHeads) -> list[dict[str, Any]]:
    parameters = [*model.parameters(), *heads.parameters()]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": WEIGHT_DECAY},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
