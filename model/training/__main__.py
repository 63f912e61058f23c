"""`python -m model.training --minutes 25 -o FOLDER`: train, score and write a checkpoint; run again to go on."""

import argparse
import logging
import sys
from pathlib import Path

import torch

from longview.model.errors import ModelError, TrainingRefused
from longview.model.training.configs import SizeName
from longview.model.training.export import CARD, WEIGHTS, write_checkpoint
from longview.model.training.scenes import MAX_RUNS
from longview.model.training.scoring import scores, table
from longview.model.training.state import forget_state
from longview.model.training.trainer import TrainingConfig, train


def arguments() -> argparse.ArgumentParser:
    """What the program takes."""
    parser = argparse.ArgumentParser(
        prog="python -m model.training",
        description="Train the demo checkpoint from random weights. A run that was stopped goes on when it is started again.",
    )
    parser.add_argument("--minutes", type=float, required=True, help="time to train for, without scoring and writing")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the checkpoint, and for the state till then")
    parser.add_argument("--size", choices=("full", "toy"), help="default: full on a CUDA device, else toy")
    parser.add_argument("--loss", choices=("sqrt", "token", "sample"), default="sqrt", help="what an answer's length counts")
    parser.add_argument("--timestamps", choices=("text", "none"), default="text", help="none: times in the positions only")
    parser.add_argument("--seed", type=int, default=0, help=f"of weights and scenes, 0 to {MAX_RUNS - 1}")
    return parser


def main() -> int:
    """Run; returns the exit code."""
    chosen = arguments().parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        if not chosen.minutes > 0:
            raise TrainingRefused("--minutes must be more than 0.")
        if not 0 <= chosen.seed < MAX_RUNS:
            raise TrainingRefused(f"--seed must be from 0 to {MAX_RUNS - 1}.")
        if (chosen.output / WEIGHTS).exists():
            # Weights are written last; if a state is still there, it was stopped just before removing it.
            forget_state(chosen.output)
            raise TrainingRefused(f"{chosen.output} already holds a checkpoint: choose another folder.")
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        size: SizeName = chosen.size or ("full" if device.type == "cuda" else "toy")
        recipe = TrainingConfig(size, chosen.seed, chosen.loss, chosen.timestamps, max_seconds=60 * chosen.minutes)
        run = train(recipe, chosen.output, device=device, on_step=report)
        print("scoring held-out scenes …", flush=True)
        found = scores(run.model, run.size, recipe.timestamps)
        write_checkpoint(run, chosen.output, found)
        forget_state(chosen.output)
    except ModelError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; the same command goes on from the last saved minute", file=sys.stderr)
        return 130
    print(table(found))
    print(f"{chosen.output} is complete; its card is {chosen.output / CARD}")
    return 0


def report(step: int, progress: float, loss: float) -> None:
    """One line on how far the run is."""
    print(f"{progress:4.0%}  step {step:,}  loss {loss:.3f}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
