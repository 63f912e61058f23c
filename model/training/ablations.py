"""`python -m model.training.ablations --steps 500 -o FOLDER`: variants of the recipe on the same budget, in one table.

The budget is steps, not minutes: on a shared machine minutes differ from run to run, steps don't, and all variants see the
same scenes and questions in the same order. Variants that were trained and scored before are not trained again.
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

from longview.model.errors import ModelError, TrainingRefused
from longview.model.training.configs import SizeName
from longview.model.training.losses import Loss
from longview.model.training.questions import SHARES, Kind
from longview.model.training.scenes import MAX_RUNS
from longview.model.training.scoring import Score, scores
from longview.model.training.state import forget_state
from longview.model.training.tokens import Timestamps
from longview.model.training.trainer import TrainingConfig, train
from longview.video.atomic import atomic_write

VARIANTS: tuple[tuple[Loss, Timestamps], ...] = (("sqrt", "text"), ("token", "text"), ("sample", "text"), ("sqrt", "none"))
"""The recipe, and what differs from it in one thing: how the loss counts answers, or whether times are written out."""
RESULT, TABLE, ALL = "result.json", "ablations.md", "ablations.json"


@dataclass(frozen=True)
class Result:
    """How one variant did with one seed."""

    recipe: TrainingConfig
    training_s: float
    tokens: int
    """Trained on, with padding."""
    scores: tuple[Score, ...]

    def mean(self, name: str, kinds: Sequence[Kind] = tuple(SHARES)) -> float:
        """A score averaged over kinds and lengths; nan where there is none."""
        values = [getattr(score, name) for score in self.scores if score.kind in kinds]
        known = [value for value in values if value is not None]
        return fmean(known) if known else float("nan")


def ablate(folder: Path, size: SizeName, *, steps: int, seeds: int, device: torch.device) -> list[Result]:
    """Train and score every variant with the seeds 0 to `seeds` - 1, and write the table after each.

    Raises:
        TrainingRefused: the folder holds variants of another budget or size. TrainingFailed: see `loop.train`.
    """
    results: list[Result] = []
    for seed in range(seeds):
        for loss, timestamps in VARIANTS:
            recipe = TrainingConfig(size, seed, loss, timestamps, steps=steps)
            place = folder / f"{loss}-{timestamps}-{seed}"
            print(place.name, flush=True)
            results.append(_done(place, recipe) or _trained(place, recipe, device))
            _write(folder / TABLE, table(results))
            _write(folder / ALL, json.dumps([asdict(result) for result in results], indent=2) + "\n")
    return results


def _done(place: Path, recipe: TrainingConfig) -> Result | None:
    if not (place / RESULT).exists():
        return None
    found = json.loads((place / RESULT).read_text(encoding="utf-8"))
    was = TrainingConfig(**found.pop("recipe"))
    if was != recipe:
        raise TrainingRefused(f"{place} holds a run of {was}, not of {recipe}: choose another folder.")
    return Result(recipe, **found | {"scores": tuple(Score(**score) for score in found["scores"])})


def _trained(place: Path, recipe: TrainingConfig, device: torch.device) -> Result:
    run = train(recipe, place, device=device)
    result = Result(recipe, round(run.spent_s, 1), run.tokens, scores(run.model, run.size, recipe.timestamps))
    _write(place / RESULT, json.dumps(asdict(result), indent=2) + "\n")
    forget_state(place)
    return result


def table(results: Sequence[Result]) -> str:
    """One line a variant and seed, Markdown; every figure is the mean over the scored lengths."""
    kinds = " | ".join(SHARES)
    lines = [
        "By kind of question: right tokens of the true answers, in %. Held-out loss: nats a token. Exact: whole answers, in %.",
        "",
        f"| loss | timestamps | seed | training s | held-out loss | {kinds} | exact | dense IoU | localize IoU |",
        "|---" * (8 + len(SHARES)) + "|",
    ]
    for result in results:
        recipe = result.recipe
        cells = [recipe.loss, recipe.timestamps, str(recipe.seed), f"{result.training_s:.0f}", f"{result.mean('loss'):.3f}"]
        cells += [f"{100 * result.mean('right_tokens', (kind,)):.1f}" for kind in SHARES]
        cells += [f"{100 * result.mean('exact'):.1f}"]
        cells += [f"{result.mean('iou', ('dense',)):.3f}", f"{result.mean('iou', ('localize',)):.3f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as partial:
        partial.write_text(text, encoding="utf-8")


def main() -> int:
    """Run; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m model.training.ablations", description="Compare variants of the recipe.")
    parser.add_argument("--steps", type=int, required=True, help="budget of each variant")
    parser.add_argument("--seeds", type=int, default=2, help="runs a variant, to see how much chance does (default: 2)")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the table and the states till then")
    parser.add_argument("--size", choices=("full", "toy"), help="default: full on a CUDA device, else toy")
    chosen = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    size: SizeName = chosen.size or ("full" if device.type == "cuda" else "toy")
    try:
        if chosen.steps < 1 or not 1 <= chosen.seeds <= MAX_RUNS:
            raise TrainingRefused("--steps and --seeds must be at least 1.")
        print(table(ablate(chosen.output, size, steps=chosen.steps, seeds=chosen.seeds, device=device)))
    except ModelError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
