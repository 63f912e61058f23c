"""Workers of the server: they run the queue, store uploads, and tell pages what has ended."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from longview.app.errors import BadRequest, VideoError
from longview.app.jobs.text import refused_text
from longview.app.service import IndexOptions, Longview, QueuedJob
from longview.app.serving.workers import STATE_S, Jobs
from longview.video.synthetic import render
from tests.support.app_samples import RING, demo_settings, file_names

JOB_TIMEOUT_S = 60


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render(tmp_path_factory.mktemp("videos") / "ring.mp4", [RING], 5.0, fps=5)


@pytest.fixture
def jobs(app: Longview) -> Iterator[Jobs]:
    jobs = Jobs(app)
    yield jobs
    jobs.close(wait_s=JOB_TIMEOUT_S)


def wait_until(jobs: Jobs, job: QueuedJob, is_reached: Callable[[QueuedJob], bool]) -> QueuedJob:
    deadline = time.monotonic() + JOB_TIMEOUT_S
    while not is_reached(current := jobs.job(job.job_id)):
        assert time.monotonic() < deadline, current
        time.sleep(0.02)
    return current


def wait_for(is_reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + JOB_TIMEOUT_S
    while not is_reached():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def ended(jobs: Jobs, job: QueuedJob) -> QueuedJob:
    return wait_until(jobs, job, lambda job: job.status not in ("waiting", "running"))


def temporary_upload(video: Path, tmp_path: Path) -> Path:
    """Return the temporary file of a browser's upload."""
    return Path(shutil.copy(video, tmp_path / "tmp1234.mp4"))


def test_jobs_run_in_order_and_report_their_results(jobs: Jobs, app: Longview, video: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.mp4"
    damaged.write_text("no video " * 100)
    first, second = jobs.index(video), jobs.index(damaged)
    assert jobs.index(video).job_id == first.job_id
    first, second = ended(jobs, first), ended(jobs, second)
    assert (first.status, first.fraction) == ("done", 1.0) and "captions: 1 event" in first.reason
    assert first.video_id is not None and app.video(first.video_id).path == video
    assert second.status == "failed" and "damaged.mp4" in second.reason and "\n" not in second.reason
    wait_for(lambda: set(jobs.ended_video_ids()) == {first.video_id, second.video_id})
    with pytest.raises(VideoError, match="no file at"):
        jobs.index(tmp_path / "missing.mp4")


def test_running_job_names_its_video_as_soon_as_there_is_something_to_see(jobs: Jobs, app: Longview, tmp_path: Path) -> None:
    path = render(tmp_path / "new.mp4", [RING], 60.0, fps=5, seed=5)
    path.with_suffix(".srt").write_text("1\n00:00:01,000 --> 00:00:02,000\nA line.\n")
    job = wait_until(jobs, jobs.index(path), lambda job: job.partial_results > 0)
    video_id = job.video_id
    assert video_id is not None
    wait_for(lambda: jobs.is_indexing(video_id) and bool(jobs.partial_results()))
    assert [item.text for item in app.segments(app.video(video_id), "subtitles")] == ["A line."]
    assert ended(jobs, job).status == "done"


def test_upload_is_indexed_under_its_own_name_and_stored(jobs: Jobs, app: Longview, video: Path, tmp_path: Path) -> None:
    # A video of the library would keep its title.
    for known in app.videos():
        app.remove(known)
    temporary = temporary_upload(video, tmp_path)
    job = ended(jobs, jobs.index(temporary, upload_name="My ring.mp4"))
    assert job.status == "done" and job.video_id is not None
    entry = app.video(job.video_id)
    assert entry.title == "My ring"
    assert entry.path.parent == app.library.folder / "uploads"
    assert file_names(entry.path.parent) == [entry.path.name]
    assert entry.path.read_bytes() == video.read_bytes()
    assert not temporary.exists()


def test_failed_upload_can_be_tried_again_until_it_is_dismissed(video: Path, tmp_path: Path) -> None:
    # The file is a video, but the context is too small for any plan.
    app = Longview(demo_settings(tmp_path / "library", context_tokens=600))
    jobs, uploads = Jobs(app), app.library.folder / "uploads"
    temporary = temporary_upload(video, tmp_path)
    job = ended(jobs, jobs.index(temporary, upload_name="My ring.mp4"))
    assert job.status == "failed" and "context" in job.reason and not temporary.exists()
    assert len(file_names(uploads)) == 1
    jobs.change(job.job_id, "retry")
    again = ended(jobs, job)
    assert (again.status, again.attempts) == ("failed", 2)
    jobs.change(job.job_id, "cancel")
    assert file_names(uploads) == [] and app.videos() == ()
    jobs.close(wait_s=JOB_TIMEOUT_S)


def test_dismissed_upload_of_an_indexed_video_keeps_its_file(jobs: Jobs, app: Longview, video: Path, tmp_path: Path) -> None:
    first = ended(jobs, jobs.index(temporary_upload(video, tmp_path), upload_name="My ring.mp4"))
    assert first.video_id is not None
    track = app.video(first.video_id).track("captions")
    assert track is not None
    app.library.tracks.update(first.video_id, replace(track, status="failed"))
    jobs.close(wait_s=JOB_TIMEOUT_S)
    failing = Jobs(Longview(app.settings.model_copy(update={"context_tokens": 600})))
    job = ended(failing, failing.index(temporary_upload(video, tmp_path), upload_name="Again.mp4"))
    assert job.status == "failed"
    failing.change(job.job_id, "cancel")
    failing.close(wait_s=JOB_TIMEOUT_S)
    assert app.video(first.video_id).path.exists()


def test_unexpected_error_is_one_sentence_and_the_next_job_runs(
    jobs: Jobs, app: Longview, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = render(tmp_path / "other.mp4", [RING], 5.0, fps=5, seed=9)
    with monkeypatch.context() as patched:
        patched.setattr(app.indexer, "index", lambda *_, **__: dict[str, str]()["secret detail"])
        failed = ended(jobs, jobs.index(path))
    assert failed.status == "failed" and "unexpected" in failed.reason and "secret" not in failed.reason
    assert ended(jobs, jobs.index(path)).status == "done"


def test_error_of_the_queue_does_not_end_the_worker(
    app: Longview, video: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # The queue fails once, as for a row that cannot be read.
    claim_next, failures = app.jobs.claim_next, iter([ValueError("a damaged row")])

    def fail_once() -> QueuedJob | None:
        for error in failures:
            raise error
        return claim_next()

    monkeypatch.setattr(app.jobs, "claim_next", fail_once)
    monkeypatch.setattr("longview.app.serving.workers.UNUSABLE_S", 0.1)
    jobs = Jobs(app)
    assert ended(jobs, jobs.index(video)).status == "done"
    assert "a damaged row" in caplog.text
    jobs.close(wait_s=JOB_TIMEOUT_S)


def test_queue_is_read_once_for_all_pages_and_only_for_them(jobs: Jobs, app: Longview, monkeypatch: pytest.MonkeyPatch) -> None:
    readings: list[float] = []
    read = app.library.jobs.jobs

    def count(**options: int) -> tuple[QueuedJob, ...]:
        readings.append(time.monotonic())
        return read(**options)

    monkeypatch.setattr(app.library.jobs, "jobs", count)
    time.sleep(2 * STATE_S)
    assert readings == []
    with ThreadPoolExecutor(8) as pages:
        started_s = time.monotonic()
        while time.monotonic() - started_s < 1:
            list(pages.map(lambda _: jobs.jobs(), range(8)))
            time.sleep(0.02)
    intervals = [later - earlier for earlier, later in zip(readings, readings[1:], strict=False)]
    assert intervals and min(intervals) >= STATE_S


def test_wrong_options_add_no_job(app: Longview, video: Path) -> None:
    count = len(app.library.jobs.jobs())
    with pytest.raises(BadRequest, match="no source"):
        app.jobs.add(video, IndexOptions(sources=("smells",)))
    assert len(app.library.jobs.jobs()) == count


def test_videos_with_one_title_get_a_browser_copy_each(jobs: Jobs, app: Longview, tmp_path: Path) -> None:
    paths = [render(tmp_path / f"{seed}.avi", [RING], 3.0, fps=5, codec="mpeg4", seed=seed) for seed in (1, 2)]
    entries = [app.index(path, IndexOptions(title="the same title")).result().entry for path in paths]
    copies = [jobs.prepare_for_browser(entry) for entry in (*entries, *entries)]
    assert copies[0] is copies[2] and copies[1] is copies[3] and copies[0] is not copies[1]
    for copy in copies:
        assert copy.ended_event.wait(JOB_TIMEOUT_S) and copy.status == "done"
    assert all(app.media.browser_copy(entry) for entry in entries)
    assert {copy.video_id for copy in copies} <= set(jobs.ended_video_ids())


def test_failed_browser_copy_is_not_tried_again(jobs: Jobs, app: Longview, tmp_path: Path) -> None:
    path = render(tmp_path / "ring.avi", [RING], 3.0, fps=5, codec="mpeg4")
    entry = app.index(path).result().entry
    path.unlink()
    failed = jobs.prepare_for_browser(entry)
    assert failed.ended_event.wait(JOB_TIMEOUT_S) and failed.status == "failed" and "no longer at" in failed.reason
    assert jobs.prepare_for_browser(entry) is failed


@pytest.mark.parametrize(("pauses", "status"), [(True, "paused"), (False, "waiting")])
def test_stopped_server_leaves_its_jobs_in_the_queue(tmp_path: Path, pauses: bool, status: str) -> None:
    app = Longview(demo_settings(tmp_path / "library"))
    paths = [render(tmp_path / f"{seed}.mp4", [RING], 60.0, fps=5, seed=seed) for seed in (3, 4)]
    jobs = Jobs(app)
    running, waiting = map(jobs.index, paths)
    wait_until(jobs, running, lambda job: job.stage == "Captioning")
    jobs.close(pauses=pauses, wait_s=JOB_TIMEOUT_S)
    assert [jobs.job(job.job_id).status for job in (running, waiting)] == [status, status]
    # The next server goes on: at once, or when somebody resumes the jobs.
    later = Jobs(app)
    for job in (running, waiting):
        if pauses:
            later.change(job.job_id, "retry")
        assert ended(later, job).status == "done"
    later.close(wait_s=JOB_TIMEOUT_S)
    assert [entry.caption_count for entry in app.videos()] == [1, 1]


def test_job_is_cancelled_paused_and_moved_while_others_run(jobs: Jobs, app: Longview, tmp_path: Path) -> None:
    paths = [render(tmp_path / f"{seed}.mp4", [RING], 60.0, fps=5, seed=seed) for seed in (11, 12, 13)]
    known = [entry.video_id for entry in app.videos()]
    first, second, third = map(jobs.index, paths)
    wait_until(jobs, first, lambda job: job.status == "running")
    jobs.change(third.job_id, "first")
    wait_until(jobs, first, lambda job: job.stage == "Captioning")
    started = time.monotonic()
    jobs.change(first.job_id, "cancel")
    assert ended(jobs, first).status == "cancelled"
    assert time.monotonic() - started < 10
    # Nothing was found in it so far.
    assert jobs.job(first.job_id).video_id not in known
    wait_until(jobs, third, lambda job: job.status == "running")
    assert jobs.job(second.job_id).status == "waiting"
    jobs.change(third.job_id, "pause")
    assert ended(jobs, third).status == "paused"
    for job in (third, second):
        jobs.change(job.job_id, "cancel")
        assert ended(jobs, job).status == "cancelled"


def test_a_folder_is_added_without_the_files_that_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    app = Longview(demo_settings(tmp_path / "library", max_file_bytes=100))
    jobs = Jobs(app)
    jobs.stop()
    for name in (b"a.mp4", b"b-\xff.mp4", b"c.mp4", b"d-\xe9.mp4", b"e.mp4", b"f-\xff.mp4", b"g-\xff.mp4"):
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(b"x" * (200 if name == b"c.mp4" else 50))
    added = jobs.index_folder(folder)
    assert [job.path.name for job in added.jobs] == ["a.mp4", "e.mp4"]
    first, *others, last = refused_text(added.refused).splitlines()
    assert first == "5 files were not added:" and last == "… and 2 more"
    assert [line.partition(":")[0] for line in others] == ["b-\ufffd.mp4", "c.mp4", "d-\ufffd.mp4"]
    assert "not valid UTF-8" in others[0] and "max_file_bytes" in others[1]
    jobs.close()
