"""A disk that is full while a file is indexed: it is reported, nothing takes the last space, and the next run resumes."""

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from longview.app.errors import EXPECTED_ERRORS
from longview.app.service import Longview
from longview.app.serving.workers import Workers
from longview.model.tasks.events import PartialResult
from longview.video.synthetic import render
from tests.support.app_samples import TWICE, demo_settings, file_names
from tests.support.small_disk import small_disk


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", "32m") as folder:
        yield folder


def fill(folder: Path) -> None:
    """Fill a disk to its last byte."""
    with (folder / "filler").open("wb", buffering=0) as file:
        for size in (1 << 16, 1):
            with suppress(OSError):
                while True:
                    file.write(bytes(size))


def texts(app: Longview) -> list[tuple[object, ...]]:
    """Return what a library has: videos, tracks and segments, without their numbers."""
    tracks = [(entry, track) for entry in app.videos() for track in entry.tracks]
    return [(entry.video_id, track.source, track.status, app.segments(entry, track.source)) for entry, track in tracks]


def index_until_full(app: Longview, path: Path, disk: Path) -> None:
    """Index a file, and fill the disk as soon as the run has committed something."""
    for event in app.index(path):
        if isinstance(event, PartialResult) and not (disk / "filler").exists():
            fill(disk)


@pytest.mark.slow
def test_index_on_a_disk_that_fills_up_at_any_step_resumes_when_there_is_space(disk: Path, tmp_path: Path) -> None:
    path = render(tmp_path / "film.mp4", TWICE, 70.0, fps=5)
    path.with_suffix(".srt").write_text("1\n00:00:01,000 --> 00:00:02,000\nA line about ducks.\n", encoding="utf-8")
    whole = Longview(demo_settings(tmp_path / "whole"))
    steps = sum(isinstance(event, PartialResult) for event in whole.index(path))
    failures = []
    # Each run commits one step more, before its disk is full.
    for _ in range(steps):
        app = Longview(demo_settings(disk / "library"))
        with suppress(*EXPECTED_ERRORS):
            try:
                index_until_full(app, path, disk)
            except EXPECTED_ERRORS as error:
                failures.append((error.code, "disk" in str(error) and "full" in str(error)))
                raise
        if len(failures) == 1:
            # What only reads works, and what does not fit is not begun.
            assert [item.text for item in app.segments(app.videos()[0], "subtitles")] == ["A line about ducks."]
            assert app.search("ducks", verify=False).result().moments
            with pytest.raises(EXPECTED_ERRORS, match=r"disk .*is full"):
                app.index(path).result()
        assert not [name for name in file_names(disk) if "partial" in name]
        (disk / "filler").unlink(missing_ok=True)
    assert len(failures) > 2 and set(failures) == {("no_space", True)}
    app = Longview(demo_settings(disk / "library"))
    app.index(path).result()
    assert texts(app) == texts(whole)


def test_job_of_a_server_resumes_once_the_disk_has_space_again(
    disk: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = render(tmp_path / "film.mp4", TWICE, 30.0, fps=5)
    app = Longview(demo_settings(disk / "library"))
    workers = Workers(app)
    job = workers.index(path)
    deadline = time.monotonic() + 60
    while workers.job(job.job_id).stage != "Captioning":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    fill(disk)
    while "cannot be stored now" not in caplog.text:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert workers.job(job.job_id).status == "running"
    (disk / "filler").unlink()
    # It resumes by itself.
    while (now := workers.job(job.job_id)).status in ("waiting", "running"):
        assert time.monotonic() < deadline, now
        time.sleep(0.05)
    assert (now.status, now.attempts) == ("done", 2)
    workers.close(wait_s=60)
