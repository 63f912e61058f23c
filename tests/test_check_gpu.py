"""The check of a GPU and of a checkpoint: its report, and its checks on the CPU; those marked `gpu` on a card."""

import re
from pathlib import Path

import pytest
import torch

from benchmarks.check_report import CheckReport, Row, Section
from benchmarks.check_steps import Step, run_steps
from benchmarks.estimates import estimate_shapes
from benchmarks.hardware import check_gpu, check_real, engine_checks, random_checks
from benchmarks.hardware.engine_checks import check_exact_float32, compare_rounding, logits_of_engine, logits_of_transformers
from longview.model.engine.execution.prefill import Prefill
from tests.support import check_step_samples as samples
from tests.support.random_checkpoints import LAYOUTS

ROOT = Path(__file__).parents[1]
GIB, MIB, KIB = 2**30, 2**20, 2**10
CHECKS, TIMES = Section("Checks", ("check", "result", "figures")), Section("Times", ("shape", "seconds"))


def test_a_step_that_fails_dies_or_hangs_is_a_row_and_the_others_run(tmp_path: Path) -> None:
    report = CheckReport(tmp_path / "report.md", "A card", [CHECKS, TIMES, Section("Empty", ("a", "b"))])
    bad = [Step(CHECKS, "failing", samples.failing), Step(CHECKS, "dying", samples.dying)]
    bad += [Step(CHECKS, "wrong", samples.wrong), Step(TIMES, "hanging", samples.hanging, limit_s=3.0)]
    run_steps([*bad, Step(CHECKS, "good", samples.good)], report)
    text = report.path.read_text(encoding="utf-8")
    checks, times, empty = re.split(r"^## .*$", text, flags=re.MULTILINE)[1:]
    rows = [line for line in checks.splitlines() if line.startswith("| ")][1:]
    assert rows == [
        "| before the error | pass |  |",
        "| failing | FAIL | ValueError: no such kernel |",
        "| before the crash | pass |  |",
        "| dying | FAIL | the process died; its last output is on the terminal |",
        "| wrong | FAIL | 3 of 4 |",
        "| good | pass | 1 \\| 2 |",
    ]
    assert "Output of wrong:\n\n    line 1\n    line 2" in checks
    assert "| hanging | FAIL: not finished after 3 s |" in times and "| before the hang | pass |" in times
    assert "| not run |" in empty
    assert report.failures == 4 and "4 of 8 rows failed." in text


def test_the_report_is_complete_at_every_moment(tmp_path: Path) -> None:
    path = tmp_path / "report.md"
    report = CheckReport(path, "A card", [CHECKS])
    assert "| not run |" in path.read_text(encoding="utf-8")
    for count in range(1, 4):
        report.add(CHECKS, Row((f"row {count}", "pass", f"{Path.home()}/videos\x07")))
        assert path.read_text(encoding="utf-8").count("| pass | ~/videos |") == count
    assert [*tmp_path.iterdir()] == [path]
    with pytest.raises(FileExistsError):
        CheckReport(path / "report.md", "A card", [CHECKS])


@pytest.mark.parametrize(
    ("sections", "steps"),
    [
        (check_gpu.SECTIONS, check_gpu.steps(["tiny"], "cpu")),
        (check_real.SECTIONS, check_real.steps(check_real.Target("demo", "cpu"))),
    ],
    ids=["check-gpu", "check-real"],
)
def test_every_section_has_a_step(sections: tuple[Section, ...], steps: list[Step]) -> None:
    assert {step.section for step in steps} == {*sections}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_one_sentence_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="There is no CUDA device") as exit_info:
        check_gpu.main(["--output", str(tmp_path / "report.md")])
    assert isinstance(exit_info.value.code, str) and "--device cpu --shapes tiny" in exit_info.value.code
    assert not [*tmp_path.iterdir()]
    with pytest.raises(SystemExit):
        check_gpu.main(["--device", "cpu", "--shapes", "2B"])
    assert "there is no shape 2B; use one of Qwen3-VL-2B" in capsys.readouterr().err


def test_failed_device_tests_are_in_the_report(tmp_path: Path) -> None:
    (tmp_path / "test_card.py").write_text("def test_capture():\n    assert 'graph' == 'eager'\n")
    row = check_gpu.test_row("device tests", [str(tmp_path / "test_card.py")])
    assert row.is_failure and row.cells[1] == "FAIL" and "1 failed" in row.cells[2]
    assert "assert 'graph' == 'eager'" in row.output


@pytest.mark.slow
def test_checks_pass_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_checks, "ROUNDS", 1)
    rows = list(random_checks.layout_rows("dense", "cpu"))
    assert [row.cells[1] for row in rows] == ["pass"] * 6


def test_checks_fail_where_the_engine_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_checks, "CHUNK_PATCHES", (3,))
    delta = Prefill.rope_delta
    with random_checks.random_engine("dense", "cpu", tmp_path) as engine:
        plain = logits_of_transformers(engine)
        engine.model.float()
        truth = logits_of_transformers(engine)
        monkeypatch.setattr(Prefill, "rope_delta", property(lambda self: delta.__get__(self) + 1))
        assert not check_exact_float32(engine).is_right
        assert not compare_rounding(logits_of_engine(engine), plain, truth).is_right
        assert not compare_rounding(torch.full_like(plain, torch.nan), plain, truth).is_right


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_whole_check_runs_on_the_cpu(tmp_path: Path) -> None:
    path = tmp_path / "check-gpu.md"
    with pytest.raises(SystemExit) as exit_info:
        check_gpu.main(["--device", "cpu", "--shapes", "tiny", "--output", str(path)])
    text = path.read_text(encoding="utf-8")
    assert exit_info.value.code == 0, text
    assert "the other session was evicted; too little memory:" in text
    assert text.count("| tiny | Longview |") == text.count("| tiny | transformers |") == 3
    assert all(f"| {layout}: offload" in text for layout in LAYOUTS)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_demo_checkpoint_passes_the_check_of_a_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "check-real.md"
    with pytest.raises(SystemExit) as exit_info:
        check_real.main(["--model", "demo", "--device", "cpu", "--output", str(path)])
    text = path.read_text(encoding="utf-8")
    assert exit_info.value.code == 0, text
    assert text.count("| against transformers: ") == 3
    assert "| a yellow cross moves up | From 33.0 to 40.0 seconds: A yellow cross moves up. |" in text
    assert "| grounding: mIoU | 0.9" in text


@pytest.mark.gpu
@pytest.mark.parametrize("layout", LAYOUTS)
def test_checks_pass_on_a_card(layout: str) -> None:
    rows = list(random_checks.layout_rows(layout, "cuda"))
    assert [row.cells[1] for row in rows] == ["pass"] * 6, rows


@pytest.mark.gpu
def test_a_card_without_memory_evicts_sessions_and_works_again() -> None:
    (row,) = random_checks.memory_rows("cuda")
    assert not row.is_failure, row


@pytest.mark.gpu
def test_fast_kernels_of_linear_attention_agree_with_torch_operations() -> None:
    (row,) = random_checks.linear_kernel_rows("cuda")
    assert not row.is_failure, row


@pytest.mark.parametrize(
    ("name", "kv_gib", "state_mib", "kib_per_token"),
    [
        # Qwen3-VL model cards and configurations, in bfloat16.
        ("Qwen3-VL-2B", 28, 0, 112),
        ("Qwen3-VL-4B", 36, 0, 144),
        ("Qwen3-VL-8B", 36, 0, 144),
        ("Qwen3-VL-32B", 64, 0, 256),
        ("Qwen3-VL-30B-A3B", 24, 0, 96),
        # Read from the configurations of Qwen3.5, and measured on such layers.
        ("Qwen3.5-4B", 8, 49.5, 32),
        ("Qwen3.5-9B", 8, 49.5, 32),
        ("Qwen3.5-35B-A3B", 5, 62, 20),
    ],
)
def test_estimates_agree_with_published_figures(name: str, kv_gib: float, state_mib: float, kib_per_token: int) -> None:
    estimate = estimate_shapes.estimate_memory(name)
    assert estimate.kv_bytes[-1] == kv_gib * GIB == kib_per_token * KIB * 262_144
    assert estimate.state_bytes / MIB == pytest.approx(state_mib, abs=0.2)


@pytest.mark.parametrize(("name", "peak_gib"), [("Qwen3-VL-2B", 37), ("Qwen3-VL-8B", 57)])
def test_estimated_peaks_agree_with_measured_ones(name: str, peak_gib: float) -> None:
    """Measured on one H100: the prefill of 262,106 tokens in chunks, with random weights."""
    assert estimate_shapes.estimate_memory(name).peak_bytes[-1] / GIB == pytest.approx(peak_gib, rel=0.25)


def test_the_documented_table_is_the_computed_one() -> None:
    lines = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8").splitlines()
    table = estimate_shapes.table()
    assert lines[lines.index(table[0]) :][: len(table)] == table
