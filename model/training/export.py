"""A trained model as a complete checkpoint folder: weights, configuration, tokenizer, card, trained range and scores."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import save_file

from longview.model.engine.checkpoints import DEMO
from longview.model.training.curriculum import MIN_LENGTHS
from longview.model.training.scenes import MAX_START_S, MAX_STEP_S, MIN_STEP_S
from longview.model.training.scoring import Score, table
from longview.model.training.trainer import Trainer, TrainingConfig
from longview.video.atomic import atomic_write
from longview.video.sampler import FRAMES_PER_PATCH

REUSED = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "processor_config.json", "generation_config.json")
"""Files of the bundled checkpoint that do not depend on its weights."""
WEIGHTS, SCORES, CARD = "model.safetensors", "scores.json", "README.md"


def write_checkpoint(run: Trainer, folder: Path, found: Sequence[Score]) -> None:
    """Write all of a checkpoint's files, each whole or not at all; the weights last, so a folder with weights is complete."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in REUSED:
        with atomic_write(folder / name) as partial:
            shutil.copyfile(DEMO / name, partial)
    _write(folder / "config.json", _configuration(run))
    _write(folder / "trained_range.json", _json(trained_range(run)))
    _write(folder / SCORES, _json({"recipe": asdict(run.config), "steps": run.step, "scores": [asdict(s) for s in found]}))
    _write(folder / CARD, card(run, found))
    with atomic_write(folder / WEIGHTS) as partial:
        save_file(_weights(run.model), partial, metadata={"format": "pt"})


def _weights(model: Any) -> dict[str, torch.Tensor]:
    """bfloat16, without the output layer, which is the embedding. The auxiliary heads are no part of `model`."""
    state = model.state_dict()
    return {name: v.detach().to("cpu", torch.bfloat16).contiguous() for name, v in state.items() if name != "lm_head.weight"}


def _configuration(run: Trainer) -> str:
    config = run.model.config.to_dict()
    for part in (config, config["text_config"], config["vision_config"]):
        part["dtype"] = "bfloat16"
    config["architectures"] = [type(run.model).__name__]
    config["transformers_version"] = transformers.__version__
    return _json({key: value for key, value in config.items() if not key.startswith("_")})


def trained_range(run: Trainer) -> dict[str, Any]:
    """What the run's model saw, as `longview.model.engine.checkpoints` reads it: plans stay inside it."""
    demo: dict[str, Any] = json.loads((DEMO / "trained_range.json").read_text(encoding="utf-8"))
    areas = [rows * columns for rows, columns in run.size.grids]
    patches = max(stage.max_patches for stage in run.size.stages)
    return demo | {
        "max_frames": patches * FRAMES_PER_PATCH,
        "max_patches": patches,
        "max_visual_tokens": run.size.max_visual_tokens,
        "min_tokens_per_patch": min(areas),
        "max_tokens_per_patch": max(areas),
        "min_frame_period_s": MIN_STEP_S,
        "max_frame_period_s": MAX_STEP_S,
        "max_timestamp_s": MAX_START_S,
        "notice": _notice(run.config, demo["notice"]),
    }


def _notice(recipe: TrainingConfig, usual: str) -> str:
    if recipe.timestamps == "none":
        return "trained without time markers, for comparison only: prompts with markers are new to it"
    if recipe.size == "toy":
        return "a toy of minutes on a CPU, to show that training works: its answers mean nothing"
    return usual


def card(run: Trainer, found: Sequence[Score]) -> str:
    """The model card, Markdown."""
    recipe, size = run.config, run.size
    text = run.model.config.text_config
    count = sum(parameter.numel() for parameter in run.model.parameters())
    patches = max(stage.max_patches for stage in size.stages)
    vision = run.model.config.vision_config
    warning = _notice(recipe, "of real footage it understands nothing")
    rows = ((s.name, f"{s.until:.0%}", s.max_patches, "merger only" if s.merger_only else "everything") for s in size.stages)
    stages = "\n".join("| {} | {} | {} | {} |".format(*row) for row in rows)
    return f"""---
license: apache-2.0
library_name: transformers
pipeline_tag: video-text-to-text
---
# A Qwen3-VL of {count / 1e6:.2f} million parameters, trained on rendered shapes

Made from random weights by `python -m model.training` of Longview, size `{recipe.size}`. **It understands one world only**: eight
colours, seven shapes, seven actions on plain backgrounds. {warning[:1].upper() + warning[1:]}.

- Text model {text.num_hidden_layers} layers of width {text.hidden_size}, vision tower {vision.depth}
  layers of width {vision.hidden_size}; DeepStack, 2x2 merger, interleaved M-RoPE; safetensors, bfloat16.
- Loss: {recipe.loss} (what an answer's length counts); timestamps: {recipe.timestamps}; seed {recipe.seed}.
- {run.step:,} steps, {run.tokens / 1e6:.1f} million tokens with padding, {run.spent_s:,.0f} s on
  {run.device.type}; last training loss {run.loss:.3f}.
- Videos of {MIN_LENGTHS} to {patches} temporal patches, {MIN_STEP_S} to {MAX_STEP_S} s between frames, noise;
  times in seconds and as H:MM:SS.
- Auxiliary heads helped in training and are not in this folder.

| stage | until | patches, at most | trained |
|---|---|---|---|
{stages}

## Scores
Held-out scenes, greedy replies, one look. Training draws its seeds from 0 to 2^62 - 1, the table from
2^62 to 2^63 - 1, so no scene is in both. "Exact" is the whole answer, letter for letter.

{table(found)}"""


def _json(value: Any) -> str:
    return json.dumps(value, indent=2) + "\n"


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as partial:
        partial.write_text(text, encoding="utf-8")
