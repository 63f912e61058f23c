"""Check of a checkpoint on the local hardware, with its weights. It writes one Markdown file to attach to an issue.

    make check-real MODEL=Qwen/Qwen3-VL-8B-Instruct
    python -m benchmarks.hardware.check_real --model MODEL [--device cuda|cpu] [--output check-real.md]

Renders a video of one minute. The engine and plain transformers prefill it with the same weights; tokens, logits and greedy
replies are compared. CUDA graphs, offloading and, on a GPU, a shortage of memory are checked as in
`benchmarks.hardware.check_gpu`, and the same table is measured. Ten questions with known answers are asked, and `longview eval`
is run: on rendered shapes with the demo checkpoint, on the narrated sample with any other. The exit code is 1 if a row failed;
wrong answers are not failures.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.bench_engine import Bench
from benchmarks.check_report import Row, Section, number
from benchmarks.check_steps import Step
from benchmarks.hardware import machine_facts, time_rows
from benchmarks.hardware.check_gpu import run_report
from benchmarks.hardware.engine_checks import (
    MAX_DIFFERENCE,
    Finding,
    check_graph_steps,
    check_offload,
    check_rows,
    check_two_recordings,
    compare_with_transformers,
)
from benchmarks.hardware.memory_checks import check_memory_shortage
from longview.app.evaluation.word_material import SLIDES_FILE
from longview.model.engine.base import WindowRequest
from longview.model.engine.checkpoints.checkpoints import find_checkpoint
from longview.model.engine.local import LocalEngine
from longview.model.engine.local_session import LocalSession
from longview.model.engine.sessions import SessionPool
from longview.model.errors import ModelError
from longview.model.tasks.answerer import answer_question
from longview.model.tasks.context import TaskContext
from longview.model.tasks.events import run_to_end
from longview.model.tasks.question import Question
from longview.model.tasks.replies import TimedCaption
from longview.model.verifiers import verifier_for
from longview.video.decoding.decoder import Decoder, TimedFrames
from longview.video.probing.probe import VideoInfo
from longview.video.synthetic import ShapesEvent, render
from tests.support.fakes import ANSWER_CHECKS

DURATION_S = 60.0
EVENTS = (
    ShapesEvent(3.0, 9.0, "red", "circle", "moves to the right"),
    ShapesEvent(12.0, 18.0, "green", "square", "stays still"),
    ShapesEvent(22.0, 29.0, "blue", "star", "grows"),
    ShapesEvent(33.0, 40.0, "yellow", "cross", "moves up"),
    ShapesEvent(45.0, 54.0, "purple", "diamond", "shrinks"),
)
QUESTIONS = (
    ("What happens at 0:06?", "a red circle moves to the right"),
    ("What happens at 15 seconds?", "a green square stays still"),
    ("What is in the video at 0:25?", "a blue star grows"),
    ("What happens between 33 and 40 seconds?", "a yellow cross moves up"),
    ("When does the purple diamond appear?", "45 to 54 seconds"),
    ("When does the red circle appear?", "3 to 9 seconds"),
    ("When does a white ring appear?", "not in this video"),
    ("How many events are in the video?", "5"),
    ("What happens after the green square?", "a blue star grows"),
    ("What happens at 0:50?", "a purple diamond shrinks"),
)
STEP_LIMIT_S, EVALUATION_LIMIT_S = 600.0, 3600.0
"""Maximum times of one row, in seconds. A large checkpoint takes minutes to load."""
FACTS = Section("Machine and checkpoint", ("fact", "value"))
CHECKS = Section(
    "Checks", ("check", "result", "figures"), "Differences are in standard deviations (std) of the logits of plain transformers."
)
ANSWERS = Section(
    "Answers", ("question", "known answer", "answer", "first token s", "total s"), "About a rendered video of one minute."
)
EVALUATION = Section("Evaluation", ("metric", "value"), "`longview eval`; docs/quality.md explains the metrics.")
SECTIONS = (FACTS, CHECKS, ANSWERS, time_rows.FILE_TIMES, time_rows.TIMES, EVALUATION)


@dataclass(frozen=True)
class Target:
    """The checkpoint that is checked, and its device. Each step loads it in its own process."""

    model: str
    device: str

    def engine(self) -> LocalEngine:
        """Load the checkpoint."""
        return LocalEngine(find_checkpoint(self.model), device=self.device)


def steps(target: Target) -> Iterator[Step]:
    """Yield all steps in their order."""
    yield Step(FACTS, "machine", partial(machine_facts.fact_rows, target.device))
    yield Step(FACTS, "checkpoint", partial(checkpoint_rows, target), STEP_LIMIT_S)
    yield Step(CHECKS, "checks", partial(engine_rows, target), STEP_LIMIT_S)
    yield Step(ANSWERS, "answers", partial(answer_rows, target), STEP_LIMIT_S)
    yield Step(time_rows.FILE_TIMES, "file", partial(file_rows, target), STEP_LIMIT_S)
    yield Step(time_rows.TIMES, "times", partial(bench_rows, target), STEP_LIMIT_S)
    yield Step(EVALUATION, "longview eval", partial(evaluation_rows, target), EVALUATION_LIMIT_S)


def checkpoint_rows(target: Target) -> Iterator[Row]:
    """Yield what the engine knows about the checkpoint."""
    engine = target.engine()
    yield Row(("checkpoint", engine.checkpoint.identity))
    yield Row(("architecture", f"{engine.model.config.model_type}, {engine.model.dtype}"))
    yield Row(("weights", f"{engine.estimates.weight_bytes / 1e9:.1f} GB"))
    yield Row(("context", f"{engine.context_tokens:,} tokens, {engine.estimates.kv_bytes_per_token / 1024:.0f} KiB per token"))


def rendered_video(folder: Path, decoder: Decoder) -> VideoInfo:
    """Render the video with known events."""
    return decoder.probe(render(folder / "truth.mp4", EVENTS, DURATION_S, width=640, height=384))


def compared_questions(session: LocalSession) -> tuple[str, ...]:
    """Return the questions for which the engine is compared with transformers."""
    prompts = session.engine.checkpoint.profile.prompts
    return prompts.captions(session), prompts.locate(session, "a red circle"), "What happens at 15.0 seconds?"


def engine_rows(target: Target) -> Iterator[Row]:
    """Compare the engine with transformers, and with itself, on the rendered video."""
    engine = target.engine()
    with tempfile.TemporaryDirectory() as folder, closing(Decoder()) as decoder:
        session, frames = open_captions(engine, decoder, rendered_video(Path(folder), decoder))
        yield from check_rows(
            (f"against transformers: {question[:40]}", partial(compare, session, frames, question))
            for question in compared_questions(session)
        )
        # The memory check fills the device itself.
        del session
        short = TimedFrames(frames.frames[:16], frames.times_s[:16])
        yield from check_rows([("offload to the host and back", lambda: check_offload(engine, short))])
        if engine.uses_cuda_graph or engine.device == "cpu":
            yield from check_rows([("CUDA graph", lambda: check_graph_steps(engine, short))])
            yield from check_rows([("two sessions record at once", lambda: check_two_recordings(engine, short))])
        if engine.uses_cuda_graph:
            # On a CPU the limit would also hit what is not a session; of several cards, the ballast would fill only one.
            yield from check_rows([("memory shortage", lambda: check_memory_shortage(engine, Path(folder)))])


def compare(session: LocalSession, frames: TimedFrames, question: str) -> Finding:
    """Compare a session with plain transformers for one question."""
    comparison, dtype = compare_with_transformers(session, frames, question), session.engine.model.dtype
    limit = MAX_DIFFERENCE[dtype]
    # In bfloat16 two equally likely tokens may change places; in float32 the replies must be equal.
    is_right = comparison.has_same_tokens and comparison.difference <= limit
    is_right = is_right and (comparison.has_same_reply or dtype != torch.float32)
    tokens = f"{comparison.prompt_tokens:,} {'equal' if comparison.has_same_tokens else 'OTHER'} tokens"
    figures = f"{tokens}, logits differ by {number(comparison.difference)} std (limit {limit:g}), {comparison.reply}"
    return Finding(is_right, figures)


def open_captions(engine: LocalEngine, decoder: Decoder, video: VideoInfo) -> tuple[LocalSession, TimedFrames]:
    """Open the first caption window of a video; return its session and its frames, with the last one repeated if it is odd."""
    pool = SessionPool(engine, decoder, memory_bytes=8 << 30)
    plan = pool.planner.plan(video, "caption")
    window = plan.windows[0]
    chunks = list(decoder.frames_played_at(video, window.times_s, plan.height, plan.width))
    frames = TimedFrames(np.concatenate([c.frames for c in chunks]), np.concatenate([c.times_s for c in chunks]))
    if len(frames) % 2:
        frames = TimedFrames(np.concatenate([frames.frames, frames.frames[-1:]]), np.append(frames.times_s, frames.times_s[-1]))
    return engine.open_session(chunks, WindowRequest(window.span, capacity_tokens=plan.window_tokens[0])), frames


def answer_rows(target: Target) -> Iterator[Row]:
    """Ask the questions, and caption the video."""
    engine = target.engine()
    with tempfile.TemporaryDirectory() as folder, closing(Decoder()) as decoder:
        pool = SessionPool(engine, decoder, memory_bytes=8 << 30)
        video = rendered_video(Path(folder), decoder)
        for question, known_answer in QUESTIONS:
            answer = run_to_end(
                answer_question(TaskContext(pool, verifier_for(engine.checkpoint), video), Question(question), ANSWER_CHECKS)
            )
            yield Row((question, known_answer, answer.text, f"{answer.first_token_s:.2f}", f"{answer.total_s:.2f}"))
        plan = pool.planner.plan(video, "caption")
        session = pool.session(video, plan, plan.windows[0])
        prompt = engine.checkpoint.profile.prompts.captions(session)
        generation = session.generate(prompt, max_new_tokens=1024, schema=TimedCaption)
        captions = "".join(generation)
        event_count = f"{len(EVENTS)} events"
        times = (f"{generation.first_token_s:.2f}", f"{generation.total_s:.2f}")
        yield Row(("captions", event_count, "see below", *times), output=captions)


def file_rows(target: Target) -> Iterator[Row]:
    """Measure the time from a file to the first token."""
    yield time_rows.file_row(target.model, _bench(target.engine()))


def bench_rows(target: Target) -> Iterator[Row]:
    """Measure prefill, questions and decoding at several lengths, as far as the context of the checkpoint reaches."""
    engine = target.engine()
    max_tokens = engine.checkpoint.max_context_tokens
    lengths = [tokens for tokens in time_rows.TOKENS[engine.device] if tokens <= max_tokens] or [max_tokens // 2]
    yield from time_rows.bench_rows(target.model, _bench(engine), lengths)


def _bench(engine: LocalEngine) -> Bench:
    return Bench(engine.model, engine.processor, uses_cuda_graph=engine.uses_cuda_graph)


def evaluation_rows(target: Target) -> Iterator[Row]:
    """Run `longview eval` in a library of its own, and yield its scores."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        suite = "shapes" if find_checkpoint(target.model).question_templates else str(write_sample_labels(folder))
        environment = os.environ | {"LONGVIEW_LIBRARY": str(folder / "library"), "LONGVIEW_DEVICE": target.device}
        if suite == "shapes":
            _run_longview(["eval", suite, "--videos", "1"], target, folder, environment)
        else:
            # `eval` would not start captions that take long.
            _run_longview(["index", "--yes", str(folder / SLIDES_FILE.name)], target, folder, environment)
            _run_longview(["eval", suite], target, folder, environment)
        scores = json.loads((folder / "eval" / f"{Path(suite).stem}.json").read_text(encoding="utf-8"))["scores"]
        yield Row(("suite", "rendered shapes" if suite == "shapes" else f"slides of {SLIDES_FILE.name}"))
        yield from _score_rows(scores)


def _run_longview(arguments: list[str], target: Target, folder: Path, environment: dict[str, str]) -> None:
    """Run a command with the checkpoint in a folder, where `eval` writes its report.

    Raises:
        RuntimeError: the command failed; with the end of its output.
    """
    command = [sys.executable, "-m", "longview.app", *arguments, "--model", target.model]
    run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if run.returncode:
        raise RuntimeError(f"`longview {arguments[0]}` failed: {(run.stderr or run.stdout).strip()[-300:]}")


def _score_rows(scores: dict[str, Any]) -> Iterator[Row]:
    for group, figures in scores.items():
        if isinstance(figures, dict):
            yield from (Row((f"{group}: {name}", str(value))) for name, value in figures.items() if value is not None)


def write_sample_labels(folder: Path) -> Path:
    """Write labels of the narrated sample: when which slide is shown. Return their file, which is beside a copy of the video."""
    shutil.copyfile(SLIDES_FILE, folder / SLIDES_FILE.name)
    slides = json.loads(SLIDES_FILE.with_suffix(".json").read_text(encoding="utf-8"))["slides"]
    labels = {
        "timestamps": [[slide["start_s"], slide["end_s"]] for slide in slides],
        "sentences": [f'A slide with the title "{slide["lines"][0]}" is shown.' for slide in slides],
    }
    path = folder / "slides.json"
    path.write_text(json.dumps({SLIDES_FILE.name: labels}), encoding="utf-8")
    return path


def main(arguments: list[str] | None = None) -> None:
    """Run the check; exit with 1 if a row failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="auto")
    parser.add_argument("--device", choices=["cpu", "cuda"])
    parser.add_argument("--output", type=Path, default=Path("check-real.md"))
    options = parser.parse_args(arguments)
    try:
        checkpoint = find_checkpoint(options.model)
    except ModelError as error:
        sys.exit(str(error))
    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    run_report(options.output, f"{checkpoint.name} on {device}", SECTIONS, steps(Target(checkpoint.name, device)))


if __name__ == "__main__":
    main()
