"""Check of the engine on a GPU, with random weights: nothing to download. It writes one Markdown file to attach to an issue.

    make check-gpu
    python -m benchmarks.hardware.check_gpu [--shapes Qwen3-VL-2B,Qwen3-VL-8B] [--device cuda|cpu] [--output check-gpu.md]

It notes the facts of the machine, and answers the findings of the review of the engine by their numbers. With small random
checkpoints of every layout it checks the exactness against transformers, CUDA graphs, offloading, the kernels of linear
attention, and what happens when memory is short. It runs the tests that need a GPU, and measures the table of
docs/performance.md. Every step runs in a process of its own with a time limit, and the file is written after every row. With
`--device cpu --shapes tiny` the same code runs without a GPU. The exit code is 1 if a row failed.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import torch

from benchmarks.check_report import NOT_RUN, CheckReport, Row, Section, check_row
from benchmarks.check_steps import Step, run_steps
from benchmarks.hardware import finding_rows, machine_facts, random_checks, time_rows
from benchmarks.shapes import MODEL_SHAPES
from tests.support.random_checkpoints import LAYOUTS

FACTS = Section("Machine", ("fact", "value"))
CHECKS = Section(
    "Checks",
    ("check", "result", "figures"),
    "Small random checkpoints of every published layout. Differences are in standard deviations (std) of the logits. In "
    "bfloat16, the error of each engine is its distance from float32.",
)
SECTIONS = (FACTS, finding_rows.FINDINGS_SECTION, CHECKS, time_rows.TIMES, time_rows.FILE_TIMES)
TEST_LIMIT_S, TIME_LIMIT_S = 240.0, 300.0
"""Maximum times of the tests, and of one row of the table, in seconds."""
MAX_OUTPUT_LINES = 80
"""Maximum length of the output of failed tests in the report."""


def steps(shapes: Sequence[str], device: str) -> Iterator[Step]:
    """Yield all steps in their order: first what is quick."""
    yield Step(FACTS, "facts", partial(machine_facts.fact_rows, device))
    for number in finding_rows.FINDINGS:
        yield Step(finding_rows.FINDINGS_SECTION, f"finding {number}", partial(finding_rows.finding_row, number, device))
    for layout in LAYOUTS:
        yield Step(CHECKS, layout, partial(random_checks.layout_rows, layout, device))
    yield Step(CHECKS, "memory shortage", partial(random_checks.memory_rows, device))
    yield Step(CHECKS, "kernels of linear attention", partial(random_checks.linear_kernel_rows, device))
    yield Step(CHECKS, "device tests", partial(device_test_rows, device), TEST_LIMIT_S)
    for name in shapes:
        yield Step(time_rows.FILE_TIMES, name, partial(time_rows.shape_file_rows, name, device), TIME_LIMIT_S)
        yield Step(time_rows.TIMES, name, partial(time_rows.shape_rows, name, device), TIME_LIMIT_S)


def device_test_rows(device: str) -> Iterator[Row]:
    """Run the tests of the engine and of the training that need a GPU. Other tests repeat the checks of this report."""
    if device != "cuda":
        yield Row(("device tests", NOT_RUN, "they need a GPU"))
        return
    yield test_row("device tests", ["-m", "gpu", "tests/model"])


def test_row(name: str, arguments: Sequence[str]) -> Row:
    """Run pytest, and return a row with its summary; if tests fail, with the end of its output."""
    command = [sys.executable, "-m", "pytest", "-q", "--no-header", "--tb=short", "-p", "no:cacheprovider", *arguments]
    run = subprocess.run(command, cwd=machine_facts.ROOT, capture_output=True, text=True, check=False)
    lines = (run.stdout + run.stderr).strip().splitlines()
    output = "" if run.returncode == 0 else "\n".join(lines[-MAX_OUTPUT_LINES:])
    return check_row(name, run.returncode == 0, lines[-1].strip("= ") if lines else "no output", output)


def choose_device(requested: str | None) -> str:
    """Return the requested device, or CUDA.

    Raises:
        SystemExit: there is no CUDA device; the message says what to do.
    """
    if requested != "cpu" and not torch.cuda.is_available():
        sys.exit(
            f"There is no CUDA device that this PyTorch ({torch.__version__}) can use; install a driver and a PyTorch with CUDA, "
            "or try the check without a GPU: python -m benchmarks.hardware.check_gpu --device cpu --shapes tiny"
        )
    return requested or "cuda"


def run_report(path: Path, title: str, sections: Sequence[Section], all_steps: Iterator[Step]) -> None:
    """Run the steps, and exit with 1 if a row failed.

    Raises:
        SystemExit: the file cannot be written, or a row failed.
    """
    try:
        report = CheckReport(path, title, sections)
        run_steps(all_steps, report)
    except OSError as error:
        sys.exit(f"{path} cannot be written: {error.strerror}; choose another file with --output.")
    print(f"\nWritten to {path}: {report.failures} rows failed.")
    sys.exit(1 if report.failures else 0)


def main(arguments: list[str] | None = None) -> None:
    """Run the check; exit with 1 if a row failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", default="Qwen3-VL-2B", help=f"shapes to measure, with commas: {', '.join(MODEL_SHAPES)}")
    parser.add_argument("--device", choices=["cuda", "cpu"])
    parser.add_argument("--output", type=Path, default=Path("check-gpu.md"))
    options = parser.parse_args(arguments)
    shapes = options.shapes.split(",")
    if unknown := [name for name in shapes if name not in MODEL_SHAPES]:
        parser.error(f"there is no shape {unknown[0]}; use one of {', '.join(MODEL_SHAPES)}")
    device = choose_device(options.device)
    run_report(options.output, f"Longview on {device}", SECTIONS, steps(shapes, device))


if __name__ == "__main__":
    main()
