"""Captions without a GPU: the engine against plain transformers, at the shapes of small checkpoints, with random weights.

    python -m benchmarks.bench_laptop [--shapes Qwen3.5-0.8B] [--threads 1] [--patches 30]

One window of captions: 60 frames of 384x224, one per second (84 tokens per temporal patch), and a reply of 128 tokens. Every
variant runs in a process of its own, so that its peak memory is its own. Prints one table: seconds until the first token, seconds
for the window, seconds to the first token of a second question, milliseconds per token, and peak memory. Seconds are CPU time of
all threads, which other programs on the machine disturb less. The ratios are to the faster of the two variants of plain
transformers in the same run. Random weights do not change the speed.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

from benchmarks.shapes import MODEL_SHAPES, shape_model
from longview.core.timeline import Span
from longview.model.engine.base import WindowRequest
from longview.model.engine.checkpoints.checkpoints import DEMO, find_checkpoint
from longview.model.engine.checkpoints.precision_names import Precision
from longview.model.engine.local import LocalEngine
from longview.video.decoding.decoder import TimedFrames
from tests.support.hf_reference import HFReference

HEIGHT, WIDTH = 224, 384
REPLY_TOKENS = 128
QUESTIONS = ("Localize a series of activity events in the video.", "What happens at 12.5 seconds?")
PLAIN = ("plain float32", "plain bfloat16")
OWN: dict[str, Precision] = {"float32": "float32", "bfloat16": "bfloat16", "8 bits": "int8"}


def random_frames(patches: int) -> TimedFrames:
    """Return noise: two frames per temporal patch, one per second."""
    frames = np.random.default_rng(0).integers(0, 256, (2 * patches, HEIGHT, WIDTH, 3), dtype=np.uint8)
    return TimedFrames(frames, np.arange(2 * patches, dtype=np.float64))


def measure_plain(folder: Path, patches: int, dtype: torch.dtype) -> dict[str, float]:
    """Measure `generate` of transformers: a window of captions, and the first token of a second question."""
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=dtype).eval()
    reference = HFReference.from_loaded(AutoProcessor.from_pretrained(folder), model)
    frames = random_frames(patches)

    def generate(question: str, tokens: int) -> float:
        start = time.process_time()
        inputs = reference.inputs(frames, question)
        model.generate(**inputs, do_sample=False, max_new_tokens=tokens, min_new_tokens=tokens)
        return time.process_time() - start

    first_s = generate(QUESTIONS[0], 1)
    window_s = generate(QUESTIONS[0], REPLY_TOKENS)
    # `generate` prefills the whole prompt again for a second question.
    return {"first": first_s, "window": window_s, "second": first_s, "token": (window_s - first_s) / (REPLY_TOKENS - 1)}


def measure_engine(folder: Path, patches: int, precision: Precision, threads: int) -> dict[str, float]:
    """Measure the engine: the same window, and the first token of a second question."""
    engine = LocalEngine(find_checkpoint(str(folder)), device="cpu", cpu_threads=threads, precision=precision)
    frames = random_frames(patches)
    start = time.process_time()
    session = engine.open_session([frames], WindowRequest(Span(0.0, 2.0 * patches), capacity_tokens=16 + patches * 100 + 1024))

    def reply(question: str, tokens: int) -> None:
        logits = session.cache.next_logits(engine.question_ids(question), uses_cuda_graph=False)
        for _ in range(tokens - 1):
            logits = session.cache.next_logits(logits.argmax().view(1, 1), uses_cuda_graph=False)
        session.cache.crop()

    prefill_s = time.process_time() - start
    # The detector takes every frame of noise for a cut, so that no patch is left out.
    assert session.frames == len(frames)
    reply(QUESTIONS[0], 1)
    first_s = time.process_time() - start
    reply(QUESTIONS[0], REPLY_TOKENS)
    window_s = time.process_time() - start - (first_s - prefill_s)
    start = time.process_time()
    reply(QUESTIONS[1], 1)
    second_s = time.process_time() - start
    return {"first": first_s, "window": window_s, "second": second_s, "token": (window_s - first_s) / (REPLY_TOKENS - 1)}


def run_variant(options: argparse.Namespace) -> dict[str, float]:
    """Measure the variant of this process."""
    torch.set_num_threads(options.threads)
    folder = Path(options.folder)
    if options.variant in PLAIN:
        dtype = torch.float32 if options.variant == PLAIN[0] else torch.bfloat16
        figures = measure_plain(folder, options.patches, dtype)
    else:
        figures = measure_engine(folder, options.patches, OWN[options.variant], options.threads)
    return figures | {"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9}


def measure_all(options: argparse.Namespace, run: Callable[[str, str], dict[str, float]]) -> None:
    """Write the random checkpoint, run every variant, and print the table."""
    print(f"{options.shapes} shapes, {options.patches} temporal patches, {options.threads} threads, torch {torch.__version__}\n")
    print("| variant | first token s | window s | of plain | second question s | of plain | ms/token | peak GB |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        model = shape_model(options.shapes, "cpu", torch.bfloat16)
        model.save_pretrained(folder)
        AutoProcessor.from_pretrained(DEMO).save_pretrained(folder)
        del model
        plain: list[dict[str, float]] = []
        for name in options.only or [*PLAIN, *OWN]:
            figures = run(name, folder)
            plain += [figures] if name in PLAIN or not plain else []
            window_s, second_s = (min(other[field] for other in plain) for field in ("window", "second"))
            print(
                f"| {name} | {figures['first']:.1f} | {figures['window']:.1f} | {figures['window'] / window_s:.2f} "
                f"| {figures['second']:.2f} | {figures['second'] / second_s:.3f} | {figures['token'] * 1000:.0f} "
                f"| {figures['peak']:.1f} |",
                flush=True,
            )


def main(arguments: list[str] | None = None) -> None:
    """Run the measurements and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", choices=sorted(MODEL_SHAPES), default="Qwen3.5-0.8B")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--patches", type=int, default=30)
    parser.add_argument("--only", nargs="*", choices=[*PLAIN, *OWN], help="variants; by default all")
    parser.add_argument("--variant", choices=[*PLAIN, *OWN], help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.variant:
        print(json.dumps(run_variant(options)))
        return

    def run(variant: str, folder: str) -> dict[str, float]:
        command = [sys.executable, "-m", "benchmarks.bench_laptop", "--variant", variant, "--folder", folder]
        command += ["--threads", str(options.threads), "--patches", str(options.patches)]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        figures: dict[str, float] = json.loads(output.splitlines()[-1])
        return figures

    measure_all(options, run)


if __name__ == "__main__":
    main()
