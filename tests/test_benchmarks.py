"""The engine's benchmark at small shapes, so that it is ready to run where there is a GPU."""

import re

import pytest

from benchmarks import bench_checkpoint, bench_engine


def test_the_engine_reads_as_many_tokens_as_it_was_told_and_faster_the_second_time(capsys: pytest.CaptureFixture[str]) -> None:
    bench_engine.main(["--shapes", "tiny", "--tokens", "600", "--device", "cpu"])
    table = [line for line in capsys.readouterr().out.splitlines() if re.match(r"\| (Longview|transformers) ", line)]
    assert len(table) == 2
    for line in table:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        tokens, frames = (int(number.replace(",", "")) for number in re.findall(r"[\d,]+", cells[1]))
        assert 500 <= tokens <= 600 and frames > 50
        assert all(float(cell) > 0 for cell in (*cells[2:3], *cells[6:]))


def test_the_bench_checkpoint_is_judged_by_the_same_measures(capsys: pytest.CaptureFixture[str]) -> None:
    bench_checkpoint.main(["--minutes", "0.5", "--videos", "1"])
    table = capsys.readouterr().out
    found = re.search(r"\| grounding: mIoU \| ([\d.]+) \|", table)
    assert found and 0.5 < float(found[1]) <= 1.0
    assert "| captions: told |" in table and "| grounding: absent_queries | 20 |" in table
