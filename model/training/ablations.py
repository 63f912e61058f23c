"""Ablations: variants of the configuration with the same budget, in one table.

    python -m longview.model.training.ablations --steps 500 -o FOLDER

The budget is in steps, because the number of steps per minute varies between runs on a shared machine. All variants are trained
on the same scenes and questions in the same order. A variant that has a result in the folder is not trained again.
"""

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean

import torch

from longview.core.atomic import atomic_write
from longview.model.errors import ModelError, TrainingRefused
from longview.model.training.configs import SizeName
from longview.model.training.losses import Loss
from longview.model.training.questions import KIND_SHARES, Kind
from longview.model.training.scenes import MAX_RUNS
from longview.model.training.scoring import Score, compute_scores
from longview.model.training.state import delete_partial_files, delete_state
from longview.model.training.tokens import Timestamps
from longview.model.training.trainer import TrainingConfig, train

VARIANTS: tuple[tuple[Loss, Timestamps], ...] = (("sqrt", "text"), ("token", "text"), ("sample", "text"), ("sqrt", "none"))
"""The default configuration, and variants that differ in one option: the weights in the loss, or textual timestamps."""
RESULT, TABLE, ALL_RESULTS = "result.json", "ablations.md", "ablations.json"


@dataclass(frozen=True)
class Result:
    """The result of one variant with one seed."""

    config: TrainingConfig
    training_s: float
    tokens: int
    """Number of training tokens, with padding."""
    scores: tuple[Score, ...]

    def mean(self, name: str, kinds: Sequence[Kind] = tuple(KIND_SHARES)) -> float:
        """Return the mean of a score over kinds and lengths; nan if it was not measured."""
        values = [getattr(score, name) for score in self.scores if score.kind in kinds]
        measured = [value for value in values if value is not None]
        return fmean(measured) if measured else float("nan")


def run_ablations(folder: Path, size: SizeName, *, steps: int, seeds: int, device: torch.device) -> list[Result]:
    """Train and score every variant with the seeds 0 to `seeds` - 1, and write the table after each.

    Raises:
        TrainingRefused: the folder contains variants of another budget or size. TrainingFailed: see `trainer.train`.
    """
    delete_partial_files(folder)
    results: list[Result] = []
    for seed in range(seeds):
        for loss, timestamps in VARIANTS:
            config = TrainingConfig(size, seed, loss, timestamps, steps=steps)
            variant = folder / f"{loss}-{timestamps}-{seed}"
            print(variant.name, flush=True)
            results.append(_load_result(variant, config) or _train_variant(variant, config, device))
            _write(folder / TABLE, format_table(results))
            _write(folder / ALL_RESULTS, json.dumps([asdict(result) for result in results], indent=2) + "\n")
    return results


def _load_result(folder: Path, config: TrainingConfig) -> Result | None:
    if not (folder / RESULT).exists():
        return None
    values = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    saved_config = TrainingConfig(**values.pop("config"))
    if saved_config != config:
        raise TrainingRefused(f"{folder} contains a run of {saved_config}, not of {config}; choose another folder.")
    return Result(config, **values | {"scores": tuple(Score(**score) for score in values["scores"])})


def _train_variant(folder: Path, config: TrainingConfig, device: torch.device) -> Result:
    trainer = train(config, folder, device=device)
    scores = compute_scores(trainer.model, trainer.size, config.timestamps)
    result = Result(config, round(trainer.elapsed_s, 1), trainer.tokens, scores)
    _write(folder / RESULT, json.dumps(asdict(result), indent=2) + "\n")
    delete_state(folder)
    return result


def format_table(results: Sequence[Result]) -> str:
    """Format one row per variant and seed, Markdown; every figure is the mean over the scored lengths."""
    kinds = " | ".join(KIND_SHARES)
    lines = [
        "By kind of question: token accuracy on the true answers, in %. Held-out loss: nats per token. Exact match: in %.",
        "",
        f"| loss | timestamps | seed | training s | held-out loss | {kinds} | exact match | dense IoU | localize IoU |",
        "|---" * (8 + len(KIND_SHARES)) + "|",
    ]
    for result in results:
        config = result.config
        cells = [config.loss, config.timestamps, str(config.seed), f"{result.training_s:.0f}", f"{result.mean('loss'):.3f}"]
        cells += [f"{100 * result.mean('token_accuracy', (kind,)):.1f}" for kind in KIND_SHARES]
        cells += [f"{100 * result.mean('exact_match'):.1f}"]
        cells += [f"{result.mean('iou', ('dense',)):.3f}", f"{result.mean('iou', ('localize',)):.3f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as partial:
        partial.write_text(text, encoding="utf-8")


def main() -> int:
    """Run the ablations; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m longview.model.training.ablations", description="Compare variants of the training configuration."
    )
    parser.add_argument("--steps", type=int, required=True, help="budget of each variant, in steps")
    parser.add_argument("--seeds", type=int, default=2, help="runs per variant, to show the random variation (default: 2)")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the table and the training states")
    parser.add_argument("--size", choices=("full", "toy"), help="default: full on a CUDA device, else toy")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    size: SizeName = options.size or ("full" if device.type == "cuda" else "toy")
    try:
        if options.steps < 1 or not 1 <= options.seeds <= MAX_RUNS:
            raise TrainingRefused("--steps and --seeds must be at least 1.")
        print(format_table(run_ablations(options.output, size, steps=options.steps, seeds=options.seeds, device=device)))
    except ModelError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
