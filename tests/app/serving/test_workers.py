"""Workers of the server: they run the queue, store uploads, and tell pages what has ended."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from longview.app.errors import BadRequest
from longview.app.ingest.options import IndexOptions
from longview.app.jobs.text import refused_text
from longview.app.service import Longview
from longview.app.serving.workers import STATE_S, Workers
from longview.indexing.records.job import QueuedJob
from longview.video.errors import VideoError
from longview.video.synthetic import render
from tests.support.app_samples import RING, TWICE, demo_settings, file_names

JOB_TIMEOUT_S = 60


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render(tmp_path_factory.mktemp("videos") / "ring.mp4", [RING], 5.0, fps=5)


@pytest.fixture
def workers(app: Longview) -> Iterator[Workers]:
    workers = Workers(app)
    yield workers
    workers.close(wait_s=JOB_TIMEOUT_S)


def wait_until(workers: Workers, job: QueuedJob, is_reached: Callable[[QueuedJob], bool]) -> QueuedJob:
    deadline = time.monotonic() + JOB_TIMEOUT_S
    while not is_reached(current := workers.job(job.job_id)):
        assert time.monotonic() < deadline, current
        time.sleep(0.02)
    return current


def wait_for(is_reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + JOB_TIMEOUT_S
    while not is_reached():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def ended(workers: Workers, job: QueuedJob) -> QueuedJob:
    return wait_until(workers, job, lambda job: job.status not in ("waiting", "running"))


def temporary_upload(video: Path, tmp_path: Path) -> Path:
    """Return the temporary file of a browser's upload."""
    return Path(shutil.copy(video, tmp_path / "tmp1234.mp4"))


def test_jobs_run_in_order_and_report_their_results(workers: Workers, app: Longview, video: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.mp4"
    damaged.write_text("no video " * 100)
    first, second = workers.index(video), workers.index(damaged)
    assert workers.index(video).job_id == first.job_id
    first, second = ended(workers, first), ended(workers, second)
    assert (first.status, first.fraction) == ("done", 1.0) and "captions: 1 event" in first.reason
    assert first.video_id is not None and app.video(first.video_id).path == video
    assert second.status == "failed" and "damaged.mp4" in second.reason and "\n" not in second.reason
    with pytest.raises(VideoError, match="no file at"):
        workers.index(tmp_path / "missing.mp4")


def test_running_job_names_its_video_with_its_first_results(workers: Workers, app: Longview, tmp_path: Path) -> None:
    path = render(tmp_path / "new.mp4", TWICE, 30.0, fps=5, seed=5)
    path.with_suffix(".srt").write_text("1\n00:00:01,000 --> 00:00:02,000\nA line.\n")
    job = wait_until(workers, workers.index(path), lambda job: job.partial_results > 0)
    video_id = job.video_id
    assert video_id is not None
    wait_for(lambda: workers.is_indexing(video_id))
    assert [item.text for item in app.segments(app.video(video_id), "subtitles")] == ["A line."]
    assert ended(workers, job).status == "done"


def test_upload_is_indexed_under_its_own_name_and_stored(workers: Workers, app: Longview, video: Path, tmp_path: Path) -> None:
    # A video of the library would keep its title.
    for known in app.videos():
        app.remove(known)
    temporary = temporary_upload(video, tmp_path)
    job = ended(workers, workers.index(temporary, upload_name="My ring.mp4"))
    assert job.status == "done" and job.video_id is not None
    entry = app.video(job.video_id)
    assert entry.title == "My ring"
    assert entry.path.parent == app.parts.library.folder / "uploads"
    assert file_names(entry.path.parent) == [entry.path.name]
    assert entry.path.read_bytes() == video.read_bytes()
    assert not temporary.exists()


def test_failed_upload_can_be_tried_again_until_it_is_dismissed(video: Path, tmp_path: Path) -> None:
    # The file is a video, but the context is too small for any plan.
    app = Longview(demo_settings(tmp_path / "library", context_tokens=600))
    workers, uploads = Workers(app), app.parts.library.folder / "uploads"
    temporary = temporary_upload(video, tmp_path)
    job = ended(workers, workers.index(temporary, upload_name="My ring.mp4"))
    assert job.status == "failed" and "context" in job.reason and not temporary.exists()
    assert len(file_names(uploads)) == 1
    workers.change(job.job_id, "retry")
    again = ended(workers, job)
    assert (again.status, again.attempts) == ("failed", 2)
    workers.change(job.job_id, "cancel")
    assert file_names(uploads) == [] and app.videos() == ()
    workers.close(wait_s=JOB_TIMEOUT_S)


def test_dismissed_upload_of_a_known_video_keeps_its_file(workers: Workers, app: Longview, video: Path, tmp_path: Path) -> None:
    first = ended(workers, workers.index(temporary_upload(video, tmp_path), upload_name="My ring.mp4"))
    assert first.video_id is not None
    track = app.video(first.video_id).track("captions")
    assert track is not None
    app.parts.library.tracks.update(first.video_id, replace(track, status="failed"))
    workers.close(wait_s=JOB_TIMEOUT_S)
    failing = Workers(Longview(app.settings.model_copy(update={"context_tokens": 600})))
    job = ended(failing, failing.index(temporary_upload(video, tmp_path), upload_name="Again.mp4"))
    assert job.status == "failed"
    failing.change(job.job_id, "cancel")
    failing.close(wait_s=JOB_TIMEOUT_S)
    assert app.video(first.video_id).path.exists()


def test_unexpected_error_is_one_sentence_and_the_next_job_runs(
    workers: Workers, app: Longview, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = render(tmp_path / "other.mp4", [RING], 5.0, fps=5, seed=9)
    with monkeypatch.context() as patched:
        patched.setattr(app.parts.indexer, "index", lambda *_, **__: dict[str, str]()["secret detail"])
        failed = ended(workers, workers.index(path))
    assert failed.status == "failed" and "unexpected" in failed.reason and "secret" not in failed.reason
    assert ended(workers, workers.index(path)).status == "done"


def test_error_of_the_queue_does_not_end_the_worker(
    app: Longview, video: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # The queue fails once, as for a row that cannot be read.
    claim_next, failures = app.parts.runner.claim_next, iter([ValueError("a damaged row")])

    def fail_once() -> QueuedJob | None:
        for error in failures:
            raise error
        return claim_next()

    monkeypatch.setattr(app.parts.runner, "claim_next", fail_once)
    monkeypatch.setattr("longview.app.serving.workers.UNUSABLE_S", 0.1)
    workers = Workers(app)
    assert ended(workers, workers.index(video)).status == "done"
    assert "a damaged row" in caplog.text
    workers.close(wait_s=JOB_TIMEOUT_S)


def test_queue_is_read_once_for_all_pages_only(workers: Workers, app: Longview, monkeypatch: pytest.MonkeyPatch) -> None:
    readings: list[float] = []
    read = app.parts.library.queue.jobs

    def count(**options: int) -> tuple[QueuedJob, ...]:
        readings.append(time.monotonic())
        return read(**options)

    monkeypatch.setattr(app.parts.library.queue, "jobs", count)
    time.sleep(2 * STATE_S)
    assert readings == []
    with ThreadPoolExecutor(8) as pages:
        started_s = time.monotonic()
        while time.monotonic() - started_s < 1:
            list(pages.map(lambda _: workers.jobs(), range(8)))
            time.sleep(0.02)
    intervals = [later - earlier for earlier, later in zip(readings, readings[1:], strict=False)]
    assert intervals and min(intervals) >= STATE_S


def test_wrong_options_add_no_job(app: Longview, video: Path) -> None:
    count = len(app.parts.library.queue.jobs())
    with pytest.raises(BadRequest, match="no source"):
        app.parts.runner.add(video, IndexOptions(sources=("smells",)))
    assert len(app.parts.library.queue.jobs()) == count


def test_videos_with_one_title_get_a_browser_copy_each(workers: Workers, app: Longview, tmp_path: Path) -> None:
    paths = [render(tmp_path / f"{seed}.avi", [RING], 3.0, fps=5, codec="mpeg4", seed=seed) for seed in (1, 2)]
    entries = [app.index(path, IndexOptions(title="the same title")).result().entry for path in paths]
    copies = [workers.prepare_for_browser(entry) for entry in (*entries, *entries)]
    assert copies[0] is copies[2] and copies[1] is copies[3] and copies[0] is not copies[1]
    for copy in copies:
        assert copy.ended_event.wait(JOB_TIMEOUT_S) and copy.status == "done"
    assert all(app.parts.media.browser_copy(entry) for entry in entries)


def test_failed_browser_copy_is_not_tried_again(workers: Workers, app: Longview, tmp_path: Path) -> None:
    path = render(tmp_path / "ring.avi", [RING], 3.0, fps=5, codec="mpeg4")
    entry = app.index(path).result().entry
    path.unlink()
    failed = workers.prepare_for_browser(entry)
    assert failed.ended_event.wait(JOB_TIMEOUT_S) and failed.status == "failed" and "no longer at" in failed.reason
    assert workers.prepare_for_browser(entry) is failed


@pytest.mark.parametrize(("pauses", "status"), [(True, "paused"), pytest.param(False, "waiting", marks=pytest.mark.slow)])
def test_stopped_server_leaves_its_jobs_in_the_queue(tmp_path: Path, pauses: bool, status: str) -> None:
    app = Longview(demo_settings(tmp_path / "library"))
    paths = [render(tmp_path / f"{seed}.mp4", TWICE, 30.0, fps=5, seed=seed) for seed in (3, 4)]
    workers = Workers(app)
    running, waiting = map(workers.index, paths)
    wait_until(workers, running, lambda job: job.stage == "Captioning")
    workers.close(pauses=pauses, wait_s=JOB_TIMEOUT_S)
    assert [workers.job(job.job_id).status for job in (running, waiting)] == [status, status]
    # The next server resumes: at once, or when somebody resumes the jobs.
    later = Workers(app)
    for job in (running, waiting):
        if pauses:
            later.change(job.job_id, "retry")
        assert ended(later, job).status == "done"
    later.close(wait_s=JOB_TIMEOUT_S)
    assert [entry.caption_count for entry in app.videos()] == [4, 4]


def test_job_is_cancelled_paused_and_moved_while_others_run(workers: Workers, app: Longview, tmp_path: Path) -> None:
    paths = [render(tmp_path / f"{seed}.mp4", TWICE, 30.0, fps=5, seed=seed) for seed in (11, 12, 13)]
    known = [entry.video_id for entry in app.videos()]
    first, second, third = map(workers.index, paths)
    wait_until(workers, first, lambda job: job.status == "running")
    workers.change(third.job_id, "first")
    wait_until(workers, first, lambda job: job.stage == "Captioning")
    started = time.monotonic()
    workers.change(first.job_id, "cancel")
    assert ended(workers, first).status == "cancelled"
    assert time.monotonic() - started < 10
    # Nothing was found in it so far.
    assert workers.job(first.job_id).video_id not in known
    wait_until(workers, third, lambda job: job.status == "running")
    assert workers.job(second.job_id).status == "waiting"
    workers.change(third.job_id, "pause")
    assert ended(workers, third).status == "paused"
    for job in (third, second):
        workers.change(job.job_id, "cancel")
        assert ended(workers, job).status == "cancelled"


def test_a_folder_is_added_without_the_files_that_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    app = Longview(demo_settings(tmp_path / "library", max_file_bytes=100))
    workers = Workers(app)
    workers.stop()
    for name in (b"a.mp4", b"b-\xff.mp4", b"c.mp4", b"d-\xe9.mp4", b"e.mp4", b"f-\xff.mp4", b"g-\xff.mp4"):
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(b"x" * (200 if name == b"c.mp4" else 50))
    added = workers.index_folder(folder)
    assert [job.path.name for job in added.jobs] == ["a.mp4", "e.mp4"]
    first, *others, last = refused_text(added.refused).splitlines()
    assert first == "5 files were not added:" and last == "… and 2 more"
    assert [line.partition(":")[0] for line in others] == ["b-\ufffd.mp4", "c.mp4", "d-\ufffd.mp4"]
    assert "not valid UTF-8" in others[0] and "max_file_bytes" in others[1]
    workers.close()
