"""The benchmarks of the engine, of the checkpoint, of image formats and of speech, at small sizes, so that they stay runnable."""

import re

import pytest

from benchmarks import bench_checkpoint, bench_engine, bench_speech, compare_image_formats
from tests.support.speech_samples import needs_speech_model


def test_engine_benchmark_measures_both_engines(capsys: pytest.CaptureFixture[str]) -> None:
    bench_engine.main(["--shapes", "tiny", "--tokens", "600", "--device", "cpu"])
    rows = [line for line in capsys.readouterr().out.splitlines() if re.match(r"\| (Longview|transformers) ", line)]
    assert len(rows) == 2
    for row in rows:
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        tokens, frames = (int(number.replace(",", "")) for number in re.findall(r"[\d,]+", cells[1]))
        assert 500 <= tokens <= 600 and frames > 50
        assert all(float(cell) > 0 for cell in (*cells[2:3], *cells[6:]))


def test_checkpoint_benchmark_prints_the_scores_of_eval(capsys: pytest.CaptureFixture[str]) -> None:
    bench_checkpoint.main(["--minutes", "0.5", "--videos", "1"])
    table = capsys.readouterr().out
    match = re.search(r"\| grounding: mIoU \| ([\d.]+) \|", table)
    assert match and 0.5 < float(match[1]) <= 1.0
    assert "| captions: recall |" in table and "| grounding: absent_queries | 20 |" in table


@pytest.mark.slow
def test_comparison_of_image_formats_measures_each_format(capsys: pytest.CaptureFixture[str]) -> None:
    compare_image_formats.main(["--minutes", "0.3", "--videos", "1", "--frames", "2"])
    captions, footage = (
        [[cell.strip() for cell in row.strip("|").split("|")] for row in table.splitlines()[2:]]
        for table in capsys.readouterr().out.strip().split("\n\n")
    )
    names = list(compare_image_formats.FORMATS)
    assert [row[0] for row in captions] == names and [row[2] for row in footage] == 6 * names
    untouched_bytes = int(captions[0][1].replace(",", ""))
    for _, size, encoding_ms, psnr_db, *_ in captions[1:]:
        assert 0 < int(size.replace(",", "")) < untouched_bytes and float(encoding_ms) > 0 and float(psnr_db) > 30


@pytest.mark.slow
@needs_speech_model
def test_speech_benchmark_compares_three_recognisers(capsys: pytest.CaptureFixture[str]) -> None:
    bench_speech.main(["--minutes", "0.2"])
    rows = [
        line.strip("|").split("|") for line in capsys.readouterr().out.splitlines() if re.match(r"\| (faster|Longview)", line)
    ]
    assert [row[0].strip() for row in rows] == list(bench_speech.ROWS)
    for row in rows:
        assert float(row[1]) > 0 and float(row[3]) > 0 and float(row[5]) > 100 and float(row[7]) <= 0.2
