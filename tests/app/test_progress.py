"""Fractions and remaining times of staged progress."""

import pytest

from longview.app.progress import MIN_FRACTION_FOR_ETA, Progress, StagedProgress


def test_stages_share_the_whole_operation() -> None:
    reports: list[Progress] = []
    stages = StagedProgress(reports.append)
    stages.begin("Probing", until=0.2)
    stages(0.5)
    stages.begin("Captioning", until=1.0)
    stages(0.5)
    stages(1.0)
    assert [report.stage for report in reports] == ["Probing"] * 2 + ["Captioning"] * 3
    assert [report.fraction for report in reports] == pytest.approx([0.0, 0.1, 0.2, 0.6, 1.0])


def test_remaining_time_follows_from_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    reports: list[Progress] = []
    clock_s = 100.0
    monkeypatch.setattr("time.monotonic", lambda: clock_s)
    stages = StagedProgress(reports.append)
    stages.begin("Captioning", until=1.0)
    clock_s = 110.0
    stages(MIN_FRACTION_FOR_ETA / 2)
    stages(0.25)
    stages(1.0)
    assert [report.seconds_left for report in reports] == [None, None, pytest.approx(30.0), 0.0]


def test_progress_without_a_callback_is_ignored() -> None:
    stages = StagedProgress(None)
    stages.begin("Captioning", until=1.0)
    stages(0.5)
