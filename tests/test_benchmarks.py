"""The engine's benchmark at small shapes, so that it is ready to run where there is a GPU."""

import re

import pytest

from benchmarks import bench_engine


def test_the_engine_reads_as_many_tokens_as_it_was_told_and_faster_the_second_time(capsys: pytest.CaptureFixture[str]) -> None:
    bench_engine.main(["--shapes", "tiny", "--tokens", "600", "--device", "cpu"])
    table = [line for line in capsys.readouterr().out.splitlines() if re.match(r"\| (Longview|transformers) ", line)]
    assert len(table) == 2
    for line in table:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        tokens, frames = (int(number.replace(",", "")) for number in re.findall(r"[\d,]+", cells[1]))
        assert 500 <= tokens <= 600 and frames > 50
        assert all(float(cell) > 0 for cell in (*cells[2:3], *cells[6:]))
