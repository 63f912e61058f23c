"""Export of a trained model to a checkpoint folder: weights, configuration, tokenizer, card, trained range and scores."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import save_file

from longview.core.atomic import atomic_write
from longview.model.engine.checkpoints.checkpoints import DEMO
from longview.model.training.curriculum import MIN_PATCHES
from longview.model.training.scenes import MAX_FRAME_PERIOD_S, MAX_START_S, MIN_FRAME_PERIOD_S
from longview.model.training.scoring import Score, format_table
from longview.model.training.trainer import Trainer, TrainingConfig
from longview.video.sampling_plan import FRAMES_PER_PATCH

COPIED_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "processor_config.json",
    "generation_config.json",
)
"""Files of the bundled checkpoint that do not depend on its weights."""
WEIGHTS, SCORES, CARD = "model.safetensors", "scores.json", "README.md"


def write_checkpoint(trainer: Trainer, folder: Path, scores: Sequence[Score]) -> None:
    """Write all files of a checkpoint atomically. The weights come last, so a folder with weights is complete."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in COPIED_FILES:
        with atomic_write(folder / name) as partial:
            shutil.copyfile(DEMO / name, partial)
    _write(folder / "config.json", _configuration(trainer))
    _write(folder / "trained_range.json", _json(trained_range(trainer)))
    rows = [asdict(score) for score in scores]
    _write(folder / SCORES, _json({"config": asdict(trainer.config), "steps": trainer.step, "scores": rows}))
    _write(folder / CARD, model_card(trainer, scores))
    with atomic_write(folder / WEIGHTS) as partial:
        save_file(_weights(trainer.model), partial, metadata={"format": "pt"})


def _weights(model: Any) -> dict[str, torch.Tensor]:
    """Return the weights in bfloat16, without the output layer, which is tied to the embedding."""
    state = model.state_dict()
    return {name: v.detach().to("cpu", torch.bfloat16).contiguous() for name, v in state.items() if name != "lm_head.weight"}


def _configuration(trainer: Trainer) -> str:
    config = trainer.model.config.to_dict()
    for part in (config, config["text_config"], config["vision_config"]):
        part["dtype"] = "bfloat16"
    config["architectures"] = [type(trainer.model).__name__]
    config["transformers_version"] = transformers.__version__
    return _json({key: value for key, value in config.items() if not key.startswith("_")})


def trained_range(trainer: Trainer) -> dict[str, Any]:
    """Return the trained range of the model in the form that `longview.model.engine.checkpoints.checkpoints` reads."""
    demo: dict[str, Any] = json.loads((DEMO / "trained_range.json").read_text(encoding="utf-8"))
    areas = [rows * columns for rows, columns in trainer.size.grids]
    patches = max(stage.max_patches for stage in trainer.size.stages)
    return demo | {
        "max_frames": patches * FRAMES_PER_PATCH,
        "max_patches": patches,
        "max_visual_tokens": trainer.size.max_visual_tokens,
        "min_tokens_per_patch": min(areas),
        "max_tokens_per_patch": max(areas),
        "min_frame_period_s": MIN_FRAME_PERIOD_S,
        "max_frame_period_s": MAX_FRAME_PERIOD_S,
        "max_timestamp_s": MAX_START_S,
        "notice": _notice(trainer.config, demo["notice"]),
    }


def _notice(config: TrainingConfig, default: str) -> str:
    if config.timestamps == "none":
        return "trained without textual timestamps, for comparison only: prompts with timestamps are out-of-distribution"
    if config.size == "toy":
        return "toy checkpoint of a few minutes on a CPU, which shows that training works: its answers are meaningless"
    return default


def model_card(trainer: Trainer, scores: Sequence[Score]) -> str:
    """Return the model card, Markdown."""
    config, size = trainer.config, trainer.size
    text, vision = trainer.model.config.text_config, trainer.model.config.vision_config
    count = sum(parameter.numel() for parameter in trainer.model.parameters())
    patches = max(stage.max_patches for stage in size.stages)
    warning = _notice(config, "it cannot describe real footage")
    rows = ((s.name, f"{s.until:.0%}", s.max_patches, "merger only" if s.merger_only else "everything") for s in size.stages)
    stages = "\n".join("| {} | {} | {} | {} |".format(*row) for row in rows)
    return f"""---
license: apache-2.0
library_name: transformers
pipeline_tag: video-text-to-text
---
# A Qwen3-VL of {count / 1e6:.2f} million parameters, trained on rendered shapes

`python -m longview.model.training` trained it from random weights at size `{config.size}`, **on synthetic videos only**:
eight colours, seven shapes, seven actions on plain backgrounds. {warning[:1].upper() + warning[1:]}.

- Model: text model with {text.num_hidden_layers} layers of width {text.hidden_size}, vision tower with
  {vision.depth} layers of width {vision.hidden_size}; DeepStack, 2x2 merger, interleaved M-RoPE; safetensors, bfloat16.
- Loss: {config.loss} (weight of an answer by its length); timestamps: {config.timestamps}; seed {config.seed}.
- Run: {trainer.step:,} steps, {trainer.tokens / 1e6:.1f} million tokens with padding, {trainer.elapsed_s:,.0f} s on
  {trainer.device.type}; final training loss {trainer.loss:.3f}.
- Videos: {MIN_PATCHES} to {patches} temporal patches, {MIN_FRAME_PERIOD_S} to {MAX_FRAME_PERIOD_S} s between frames, noise;
  times in seconds and as H:MM:SS.
- The auxiliary heads, which are used in training only, are not in this folder.

| stage | until | maximum patches | trained |
|---|---|---|---|
{stages}

## Scores
The scores are of greedy replies to one question each, about held-out scenes. Training draws its seeds from 0 to 2^62 - 1,
the table from 2^62 to 2^63 - 1, so no scene is in both. "Exact match" is the share of replies that equal the true answer.

{format_table(scores)}"""


def _json(value: Any) -> str:
    return json.dumps(value, indent=2) + "\n"


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as partial:
        partial.write_text(text, encoding="utf-8")
