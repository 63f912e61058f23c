"""`python -m longview.model.training --minutes 25 -o FOLDER`: train, score and write a checkpoint; run it again to resume."""

import argparse
import logging
import sys
from pathlib import Path

import torch

from longview.model.errors import ModelError, TrainingRefused
from longview.model.training.configs import SizeName
from longview.model.training.export import CARD, WEIGHTS, write_checkpoint
from longview.model.training.scenes import MAX_RUNS
from longview.model.training.scoring import compute_scores, format_table
from longview.model.training.state import delete_state
from longview.model.training.trainer import TrainingConfig, train


def argument_parser() -> argparse.ArgumentParser:
    """Return the parser of the program's options."""
    parser = argparse.ArgumentParser(
        prog="python -m longview.model.training",
        description="Train the demo checkpoint from random weights. The same command resumes a run that was stopped.",
    )
    parser.add_argument("--minutes", type=float, required=True, help="training time, without scoring and writing")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the training state, then for the checkpoint")
    parser.add_argument("--size", choices=("full", "toy"), help="default: full on a CUDA device, else toy")
    parser.add_argument("--loss", choices=("sqrt", "token", "sample"), default="sqrt", help="weight of an answer by its length")
    parser.add_argument(
        "--timestamps", choices=("text", "none"), default="text", help="times as text, or (none) in the positions only"
    )
    parser.add_argument("--seed", type=int, default=0, help=f"seed of weights and scenes, 0 to {MAX_RUNS - 1}")
    return parser


def main() -> int:
    """Train, score and write a checkpoint; return the exit code."""
    options = argument_parser().parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        if not options.minutes > 0:
            raise TrainingRefused(f"--minutes is {options.minutes:g}; it must be more than 0.")
        if not 0 <= options.seed < MAX_RUNS:
            raise TrainingRefused(f"--seed is {options.seed}; it must be from 0 to {MAX_RUNS - 1}.")
        if (options.output / WEIGHTS).exists():
            # Weights are written last. A state beside them is left from a run that was stopped just before deleting it.
            delete_state(options.output)
            raise TrainingRefused(f"{options.output} already contains a checkpoint; choose another folder.")
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        size: SizeName = options.size or ("full" if device.type == "cuda" else "toy")
        config = TrainingConfig(size, options.seed, options.loss, options.timestamps, max_seconds=60 * options.minutes)
        trainer = train(config, options.output, device=device, on_step=report)
        print("scoring held-out scenes …", flush=True)
        scores = compute_scores(trainer.model, trainer.size, config.timestamps)
        write_checkpoint(trainer, options.output, scores)
        delete_state(options.output)
    except ModelError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped. The same command resumes from the last saved state.", file=sys.stderr)
        return 130
    print(format_table(scores))
    print(f"{options.output} is complete; its card is {options.output / CARD}")
    return 0


def report(step: int, progress: float, loss: float) -> None:
    """Print one line about the progress."""
    print(f"{progress:4.0%}  step {step:,}  loss {loss:.3f}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
