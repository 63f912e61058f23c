"""What a machine has learnt of its speed: weighted towards the last runs, and safe from whatever is in the file."""

import json
import threading
from pathlib import Path

import pytest

from longview.app.runtime import machine_speeds
from longview.app.runtime.machine_speeds import FILE, MAX_ENTRIES, MachineSpeeds


def test_nothing_is_assumed_before_the_first_run(tmp_path: Path) -> None:
    speeds = MachineSpeeds(tmp_path / "none")
    assert speeds.ratio("speech") == 1.0 and speeds.share("declined", 0.6) == 0.6 and not speeds.knows("speech")
    assert not (tmp_path / "none").exists()


def test_next_process_knows_what_a_run_took_and_the_last_runs_count_most(tmp_path: Path) -> None:
    MachineSpeeds(tmp_path).learn_ratio("speech", 200.0, 100.0)
    assert MachineSpeeds(tmp_path).knows("speech") and MachineSpeeds(tmp_path).ratio("speech") == pytest.approx(2.0, rel=0.02)
    for _ in range(4):
        MachineSpeeds(tmp_path).learn_ratio("speech", 50.0, 100.0)
    assert MachineSpeeds(tmp_path).ratio("speech") == pytest.approx(0.5, rel=0.15)
    assert MachineSpeeds(tmp_path).ratio("screen text") == 1.0


def test_work_on_the_cpu_tells_how_long_other_work_takes(tmp_path: Path) -> None:
    speeds = MachineSpeeds(tmp_path)
    speeds.learn_ratio("speech on a GPU", 1.0, 20.0)
    assert speeds.ratio("screen text") == 1.0
    speeds.learn_ratio("speech", 30.0, 100.0, cpu_ratio=0.6)
    assert speeds.ratio("screen text") == pytest.approx(0.5, rel=0.02) and not speeds.knows("screen text")
    assert speeds.ratio("screen text", 2.0) == 2.0
    speeds.learn_ratio("screen text", 100.0, 100.0)
    assert speeds.ratio("screen text") == pytest.approx(1.0, rel=0.02)


def test_short_run_hardly_counts(tmp_path: Path) -> None:
    speeds = MachineSpeeds(tmp_path)
    speeds.learn_ratio("speech", 100.0, 100.0)
    speeds.learn_ratio("speech", 5.0, 0.5)
    assert speeds.ratio("speech") < 1.2


def test_share_follows_what_has_happened(tmp_path: Path) -> None:
    speeds = MachineSpeeds(tmp_path)
    for _ in range(5):
        speeds.learn_share("declined", happened=False)
    assert speeds.share("declined", 0.95) < 0.4
    for _ in range(5):
        speeds.learn_share("declined", happened=True)
    assert 0.6 < speeds.share("declined", 0.5) <= 1.0


@pytest.mark.parametrize(
    ("measured_s", "reference_s"), [(1.0, 0.0), (float("nan"), 1.0), (float("inf"), 1.0), (-1.0, 1.0), (1e9, 1.0)]
)
def test_times_that_cannot_be_true_are_not_learnt(tmp_path: Path, measured_s: float, reference_s: float) -> None:
    speeds = MachineSpeeds(tmp_path)
    speeds.learn_ratio("speech", measured_s, reference_s)
    assert speeds.ratio("speech") == 1.0


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"KEY": 3}', b'{"KEY": {"value": "2", "weight": 1.0}}',
        b'{"KEY": {"value": NaN, "weight": 1.0}}', b'{"KEY": {"value": -2.0, "weight": 1.0}}', b'{"KEY": {"value": true}}',
        b'{"KEY": {"value": 1e300, "weight": 1.0}}', b'{"KEY": {"value": 2.0, "weight": 0.0}}', b'{"KEY": {"value": 2.0}}',
        b'{"KEY": ' + b" " * (2 << 20) + b'{"value": 2.0, "weight": 1.0}}',
    ],
)  # fmt: skip
def test_damaged_file_counts_as_nothing_learnt_and_is_replaced(tmp_path: Path, content: bytes) -> None:
    MachineSpeeds(tmp_path).learn_ratio("speech", 3.0, 1.0)
    (key,) = json.loads((tmp_path / FILE).read_text())
    (tmp_path / FILE).write_bytes(content.replace(b"KEY", key.encode()))
    speeds = MachineSpeeds(tmp_path)
    assert speeds.ratio("speech") == 1.0
    speeds.learn_ratio("speech", 200.0, 100.0)
    assert speeds.ratio("speech") == pytest.approx(2.0, rel=0.02)


def test_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    speeds = MachineSpeeds(tmp_path / "file")
    speeds.learn_ratio("speech", 2.0, 1.0)
    assert speeds.ratio("speech") == 1.0


def test_file_that_cannot_be_replaced_is_no_error(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    speeds = MachineSpeeds(tmp_path)
    speeds.learn_ratio("speech", 2.0, 1.0)
    assert speeds.ratio("speech") == 1.0 and list(tmp_path.glob(".partial-*")) == []


def test_runs_that_end_at_once_are_all_learnt_from(tmp_path: Path) -> None:
    def run(worker: int) -> None:
        for number in range(10):
            MachineSpeeds(tmp_path).learn_ratio(f"{worker} {number}", 200.0, 100.0)

    threads = [threading.Thread(target=run, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    speeds = MachineSpeeds(tmp_path)
    assert all(speeds.knows(f"{worker} {number}") for worker in range(4) for number in range(10))


def test_file_does_not_grow_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_speeds, "MAX_ENTRIES", 3)
    speeds = MachineSpeeds(tmp_path)
    for name in "abcda":
        speeds.learn_ratio(name, 2.0, 1.0)
    assert [name for name in "abcd" if speeds.knows(name)] == ["a", "c", "d"]
    assert MAX_ENTRIES > 100


def test_another_machine_with_the_same_cache_learns_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    MachineSpeeds(tmp_path).learn_ratio("speech", 2.0, 1.0)
    monkeypatch.setattr(machine_speeds, "processor_name", lambda: "another processor")
    assert not MachineSpeeds(tmp_path).knows("speech")
