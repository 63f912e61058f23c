"""A run: steps until the budget is spent, its state saved on the way, taken up again where it was."""

import logging
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
from longview.model.training.batches import Batch, batch_at, batches
from longview.model.training.configs import SIZES, Size, SizeName
from longview.model.training.curriculum import rate_share, stage_at
from longview.model.training.losses import Loss, answer_loss
from longview.model.training.modeling import freeze_but, random_model, read
from longview.model.training.rendering import pixels
from longview.model.training.state import load_state, remove_partials, save_state
from longview.model.training.tokens import NO_LABEL, RowWriter, Timestamps

log = logging.getLogger(__name__)

SAVE_EVERY_S = 60.0
"""What a run that is killed loses at most. A state of `full` is about 140 MB."""
BETAS, WEIGHT_DECAY, MAX_GRADIENT_NORM = (0.9, 0.98), 0.05, 1.0
"""Of AdamW; biases and norms do not decay. Gradients are scaled down to that norm."""
AUXILIARY_SHARE_FIRST, AUXILIARY_SHARE_LAST = 1.0, 0.2
"""What the auxiliary losses count at the beginning and at the end: help first, then the task."""
MAX_BAD_STEPS = 8
"""Steps one after another whose gradients are not finite; a single one is passed over."""
REPORT_EVERY = 100
AVERAGED_STEPS = 50


@dataclass(frozen=True)
class TrainingConfig:
    """What makes a run the same run. Progress counts seconds, or steps where these are given."""

    size: SizeName
    seed: int = 0
    loss: Loss = "sqrt"
    timestamps: Timestamps = "text"
    max_seconds: float = 0.0
    steps: int = 0

    def progress(self, step: int, spent_s: float) -> float:
        """The share of the budget that is spent, 0 to 1."""
        return min(1.0, step / self.steps if self.steps else spent_s / self.max_seconds)


OnStep = Callable[[int, float, float], None]
"""Called with steps done, progress and the average loss."""


class Trainer:
    """A model in training."""

    def __init__(self, config: TrainingConfig, device: torch.device) -> None:
        # cuDNN's attention gives NaN gradients at some lengths (64 tokens a frame, torch 2.11, pytorch#196678).
        torch.backends.cuda.enable_cudnn_sdp(False)
        self.config, self.device = config, device
        self.size: Size = SIZES[config.size]
        self.model: Any = random_model(self.size, seed=config.seed).to(device)
        self.heads = AuxiliaryHeads(self.model.config.text_config.hidden_size).to(device)
        self.optimizer = torch.optim.AdamW(_groups(self.model, self.heads), betas=BETAS, fused=device.type == "cuda")
        self.step = 0
        self.tokens = 0
        self.spent_s = 0.0
        self.loss = float("nan")
        """Of the answers, averaged over about the last `AVERAGED_STEPS` steps."""
        self.mixed = device.type == "cuda"
        """Whether products are computed in bfloat16; weights and the optimiser's state stay float32."""
        self._hook = ActivationHook(self.model)
        self._bad = 0
        self._stage: Any = None

    @property
    def progress(self) -> float:
        """The share of the budget that is spent, 0 to 1."""
        return self.config.progress(self.step, self.spent_s)

    def losses(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """(loss of the answers, of the auxiliary tasks) for a batch on the device."""
        seen = pixels(batch.events, batch.frame_times_s, batch.grid, seed=batch.seed)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed):
            hidden = read(self.model, batch.ids, batch.positions, seen, batch.grid, use_cache=False)
            wanted = batch.labels[:, 1:]
            told = wanted != NO_LABEL
            logits = self.model.lm_head(hidden[:, :-1][told])
            assert self._hook.activation is not None
            auxiliary = self.heads.loss(self._hook.activation, batch)
        each = functional.cross_entropy(logits.float(), wanted[told], reduction="none")
        return answer_loss(each, batch.answer_of[:, 1:][told], self.config.loss), auxiliary

    def train_on(self, batch: Batch) -> None:
        """One step of the optimiser.

        Raises:
            TrainingFailed: there were no finite gradients for several steps.
        """
        progress = self.progress
        stage = stage_at(self.size.stages, progress)
        if stage != self._stage:
            log.info("step %d: stage %s, up to %d patches", self.step, stage.name, stage.max_patches)
            freeze_but(self.model, stage)
            self._stage = stage
        rate = self.size.learning_rate * rate_share(progress, self.step, self.size.warm_up_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss, auxiliary = self.losses(batch.to(self.device))
        share = AUXILIARY_SHARE_FIRST + (AUXILIARY_SHARE_LAST - AUXILIARY_SHARE_FIRST) * progress
        self.optimizer.zero_grad(set_to_none=True)
        (loss + share * auxiliary).backward()
        trained = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        norm = torch.nn.utils.clip_grad_norm_(trained, MAX_GRADIENT_NORM)
        self.step += 1
        if not torch.isfinite(norm):
            self._bad += 1
            log.warning("step %d: gradients are not finite, passed over", self.step)
            if self._bad >= MAX_BAD_STEPS:
                raise TrainingFailed(f"Gradients were not finite in {self._bad} steps one after another, up to {self.step}.")
            return
        self._bad = 0
        self.optimizer.step()
        self.tokens += batch.ids.numel()
        now = float(loss.detach())
        self.loss = now if self.loss != self.loss else self.loss + (now - self.loss) / AVERAGED_STEPS

    def state(self) -> dict[str, Any]:
        """All that the rest of the run depends on, as plain values and tensors."""
        return {
            "recipe": asdict(self.config),
            "step": self.step,
            "tokens": self.tokens,
            "spent_s": self.spent_s,
            "loss": self.loss,
            "model": self.model.state_dict(),
            "heads": self.heads.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Be where a run was when it made this state. A longer or shorter budget than then is taken as it is.

        Raises:
            TrainingRefused: it is the state of another recipe.
        """
        budget = {"seconds", "steps"}
        was, now = ({k: v for k, v in r.items() if k not in budget} for r in (state["recipe"], asdict(self.config)))
        if was != now:
            raise TrainingRefused(f"The folder holds a run of {was}, not of {now}: choose another folder or the same options.")
        self.model.load_state_dict(state["model"])
        self.heads.load_state_dict(state["heads"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.tokens = int(state["step"]), int(state["tokens"])
        self.spent_s, self.loss = float(state["spent_s"]), float(state["loss"])


def train(recipe: TrainingConfig, folder: Path, *, device: torch.device, on_step: OnStep | None = None) -> Trainer:
    """Train until the budget is spent, from where the state in `folder` is, if there is one.

    The last state stays in the folder: whoever wrote the checkpoint calls `forget_state`.

    Raises:
        TrainingRefused: the folder holds the state of another recipe. TrainingFailed: see `Run.train_on`.
    """
    run = Trainer(recipe, device)
    state = load_state(folder)
    remove_partials(folder)
    if state is not None:
        run.restore(state)
        log.info("taken up at step %d after %.0f s", run.step, run.spent_s)
    shared = torch.tensor([run.progress]).share_memory_()
    workers = max(1, (os.cpu_count() or 1) - 2) if device.type == "cuda" else 0
    made = partial(_batch, RowWriter(), recipe, shared)
    ready = batches(run.step, made, workers=workers, pinned=device.type == "cuda")
    saved_s, before_s = run.spent_s, run.spent_s
    begun = time.perf_counter()
    while run.progress < 1:
        run.train_on(next(ready))
        run.spent_s = before_s + time.perf_counter() - begun
        shared[0] = run.progress
        if run.spent_s - saved_s >= SAVE_EVERY_S:
            save_state(folder, run.state())
            saved_s = run.spent_s
        if on_step and (run.step % REPORT_EVERY == 0 or run.progress >= 1):
            on_step(run.step, run.progress, run.loss)
    save_state(folder, run.state())
    return run


def _batch(writer: RowWriter, recipe: TrainingConfig, shared: torch.Tensor, step: int) -> Batch:
    # By steps a batch depends on its number alone; by seconds on how far the run is when the batch is made.
    progress = recipe.progress(step, 0.0) if recipe.steps else float(shared[0])
    return batch_at(writer, SIZES[recipe.size], recipe.timestamps, run=recipe.seed, step=step, progress=progress)


def _groups(model: Any, heads: AuxiliaryHeads) -> list[dict[str, Any]]:
    parameters = [*model.parameters(), *heads.parameters()]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": WEIGHT_DECAY},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
