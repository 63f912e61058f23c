"""Estimates of time against the truth, for six cases.

    python -m benchmarks.estimates.check_estimates [--threads 1]

The demo checkpoint answers and captions rendered videos; a checkpoint with the shapes of Qwen3.5-0.8B and random weights prefills
a window of captions and generates 128 tokens, in the number format of this machine and in 8 bits. Each estimate is made before
the case runs, from a speed that is measured once in the same run; one of them from products of matrices alone, as
`longview models` estimates for a checkpoint that is not on the machine. The estimate includes one reply per window of a given
length, so that the truth is a prefill and as many tokens.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoProcessor

from benchmarks.shapes import shape_model
from longview.model.engine.checkpoints.checkpoints import DEMO, find_checkpoint
from longview.model.engine.costs.expected_speed import expected_speed
from longview.model.engine.costs.number_formats import product_speed
from longview.model.engine.local import LocalEngine
from longview.model.engine.local_session import LocalSession
from longview.model.engine.sessions import SessionPool
from longview.video.decoding.decoder import Decoder
from longview.video.sampling_plan import Purpose
from longview.video.synthetic import render, sample_events

REPLY_TOKENS = 128
QUESTION = "Localize a series of activity events in the video."


@dataclass(frozen=True)
class Case:
    """One case: its name, the estimate and the truth in seconds."""

    name: str
    estimate_s: float
    truth_s: float


def generate(engine: LocalEngine, session: LocalSession, tokens: int) -> None:
    """Generate exactly `tokens` tokens, whatever the checkpoint says."""
    logits = session.cache.next_logits(engine.question_ids(QUESTION), uses_cuda_graph=engine.uses_cuda_graph)
    for _ in range(tokens - 1):
        logits = session.cache.next_logits(logits.argmax().view(1, 1), uses_cuda_graph=engine.uses_cuda_graph)
    session.cache.crop()


def run(name: str, engine: LocalEngine, decoder: Decoder, path: Path, purpose: Purpose, minutes: float) -> Case:
    """Estimate one plan, then run it."""
    video = decoder.probe(path)
    pool = SessionPool(engine, decoder)
    plan = pool.planner.estimate_kept_share(video, pool.planner.plan(video, purpose))
    estimate_s = engine.estimated_seconds(plan, reply_tokens=REPLY_TOKENS)
    assert estimate_s is not None
    start = time.perf_counter()
    for window in plan.windows:
        session = pool.session(video, plan, window, pin=False)
        assert isinstance(session, LocalSession)
        generate(engine, session, REPLY_TOKENS)
        pool.release(session)
    return Case(f"{name}, {minutes:g} min, {plan.kept_tokens:,} tokens", estimate_s, time.perf_counter() - start)


def cases(folder: Path, threads: int) -> Iterator[Case]:
    """Run the six cases."""
    decoder = Decoder()
    videos = {}
    for minutes in (0.5, 2.0, 10.0):
        events = sample_events(minutes * 60, int(minutes * 5), seed=7)
        videos[minutes] = render(folder / f"{minutes}.mp4", events, minutes * 60, fps=12.5)
    demo = LocalEngine(find_checkpoint("demo"), device="cpu", cpu_threads=threads)
    demo.speed()
    yield run("demo, questions", demo, decoder, videos[2.0], "qa", 2.0)
    yield run("demo, captions", demo, decoder, videos[10.0], "caption", 10.0)
    yield run("demo, questions", demo, decoder, videos[0.5], "qa", 0.5)
    shape_model("Qwen3.5-0.8B", "cpu", torch.bfloat16).save_pretrained(folder / "small")
    AutoProcessor.from_pretrained(DEMO).save_pretrained(folder / "small")
    checkpoint = find_checkpoint(str(folder / "small"))
    for precision in ("auto", "int8"):
        engine = LocalEngine(checkpoint, device="cpu", cpu_threads=threads, precision=precision)
        engine.speed()
        case = run(f"Qwen3.5-0.8B shapes, {precision}", engine, decoder, videos[0.5], "caption", 0.5)
        yield case
        if precision == "auto":
            pool = SessionPool(engine, decoder)
            video = decoder.probe(videos[0.5])
            plan = pool.planner.estimate_kept_share(video, pool.planner.plan(video, "caption"))
            shape = engine.estimates.shape
            speed = expected_speed(shape, "cpu", *product_speed(engine.model.dtype))
            unloaded_s = shape.seconds_for(plan, speed, reply_tokens=REPLY_TOKENS)
            yield Case(f"the same, before it is loaded, {plan.kept_tokens:,} tokens", unloaded_s, case.truth_s)
    decoder.close()


def main() -> None:
    """Print one row per case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    print("| case | estimate s | truth s | ratio |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for case in cases(Path(folder), options.threads):
            ratio = case.estimate_s / case.truth_s
            print(f"| {case.name} | {case.estimate_s:.1f} | {case.truth_s:.1f} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
