"""Background jobs: progress, errors in one sentence, and no files after a failure."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from longview.app.jobs import Job, Jobs
from longview.app.service import IndexOptions, Longview
from longview.video.synthetic import render
from tests.app.samples import RING, demo_settings, file_names

JOB_TIMEOUT_S = 60


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render(tmp_path_factory.mktemp("videos") / "ring.mp4", [RING], 5.0, fps=5)


def wait_for(job: Job) -> Job:
    assert job.finished_event.wait(JOB_TIMEOUT_S)
    return job


def temporary_upload(video: Path, tmp_path: Path) -> Path:
    """Return the temporary file of a browser's upload."""
    return Path(shutil.copy(video, tmp_path / "tmp1234.mp4"))


def test_jobs_run_in_order_and_report_their_results(app: Longview, video: Path, tmp_path: Path) -> None:
    jobs = Jobs(app)
    first, second = jobs.index(video), jobs.index(tmp_path / "missing.mp4")
    assert second.report.stage == "Waiting"
    assert second in jobs.running_jobs() and jobs.latest_job() is second
    wait_for(first), wait_for(second)
    assert (first.error, first.report.fraction, first.report.stage) == (None, 1.0, "Done")
    assert first.video_id is not None
    assert app.video(first.video_id).path == video
    assert second.error is not None and "missing.mp4" in second.error and "\n" not in second.error
    assert jobs.running_jobs() == ()
    assert jobs.finished_jobs() == (first, second)


def test_running_job_names_its_video_as_soon_as_there_is_something_to_see(app: Longview, tmp_path: Path) -> None:
    path = render(tmp_path / "new.mp4", [RING], 5.0, fps=5, seed=5)
    path.with_suffix(".srt").write_text("1\n00:00:01,000 --> 00:00:02,000\nA line.\n")
    jobs = Jobs(app)
    job = jobs.index(path)
    while not job.partial_results:
        assert not job.finished_event.wait(0.01)
    assert job.video_id is not None and jobs.is_indexing(job.video_id)
    assert [item.text for item in app.segments(app.video(job.video_id), "subtitles")] == ["A line."]
    partial_results = jobs.partial_results()
    assert wait_for(job).error is None
    # The captions of the only window are a partial result of their own.
    assert jobs.partial_results() > partial_results and not jobs.is_indexing(job.video_id)


def test_upload_is_indexed_under_its_own_name_and_stored(app: Longview, video: Path, tmp_path: Path) -> None:
    temporary = temporary_upload(video, tmp_path)
    job = wait_for(Jobs(app).index(temporary, upload_name="My ring.mp4"))
    assert job.error is None and job.video_id is not None
    entry = app.video(job.video_id)
    assert entry.title == "My ring"
    assert entry.path.parent == app.library.folder / "uploads"
    assert file_names(entry.path.parent) == [entry.path.name]
    assert entry.path.read_bytes() == video.read_bytes()
    assert not temporary.exists()


def test_failed_upload_leaves_no_files(video: Path, tmp_path: Path) -> None:
    # The file is a video, but the context is too small for any plan.
    app = Longview(demo_settings(tmp_path / "library", context_tokens=600))
    temporary = temporary_upload(video, tmp_path)
    job = wait_for(Jobs(app).index(temporary, upload_name="My ring.mp4"))
    assert job.error is not None and "context" in job.error
    assert file_names(app.library.folder / "uploads") == [] and not temporary.exists()
    assert app.videos() == ()


def test_failed_upload_keeps_the_copy_of_an_indexed_video(app: Longview, video: Path, tmp_path: Path) -> None:
    first = wait_for(Jobs(app).index(temporary_upload(video, tmp_path), upload_name="My ring.mp4"))
    assert first.video_id is not None
    track = app.video(first.video_id).track("captions")
    assert track is not None
    app.library.tracks.update(first.video_id, replace(track, status="failed"))
    failing = Longview(app.settings.model_copy(update={"context_tokens": 600}))
    assert wait_for(Jobs(failing).index(temporary_upload(video, tmp_path), upload_name="Again.mp4")).error is not None
    assert app.video(first.video_id).path.exists()


def test_unexpected_error_is_one_sentence_and_the_next_job_runs(
    app: Longview, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = Jobs(app)
    with monkeypatch.context() as patched:
        patched.setattr(app.indexer, "index", lambda *_, **__: dict[str, str]()["secret detail"])
        failed = wait_for(jobs.index(video))
    assert failed.error is not None and "unexpected" in failed.error and "secret" not in failed.error
    assert wait_for(jobs.index(video)).error is None


def test_videos_with_one_title_get_a_browser_copy_each(app: Longview, tmp_path: Path) -> None:
    paths = [render(tmp_path / f"{seed}.avi", [RING], 3.0, fps=5, codec="mpeg4", seed=seed) for seed in (1, 2)]
    entries = [app.index(path, IndexOptions(title="the same title")).result().entry for path in paths]
    jobs = Jobs(app)
    # The first job keeps the worker busy until all are requested.
    requests = [jobs.index(entries[0].path), *[jobs.prepare_for_browser(entry) for entry in (*entries, *entries)]]
    assert requests[1] is requests[3] and requests[2] is requests[4] and requests[1] is not requests[2]
    for job in requests:
        assert wait_for(job).error is None
    assert all(app.media.browser_copy(entry) for entry in entries)


def test_failed_browser_copy_is_not_tried_again(app: Longview, tmp_path: Path) -> None:
    path = render(tmp_path / "ring.avi", [RING], 3.0, fps=5, codec="mpeg4")
    entry = app.index(path).result().entry
    path.unlink()
    jobs = Jobs(app)
    failed = wait_for(jobs.prepare_for_browser(entry))
    assert failed.error is not None and "no longer at" in failed.error
    assert jobs.prepare_for_browser(entry) is failed


def test_close_cancels_running_and_waiting_jobs(app: Longview, tmp_path: Path) -> None:
    paths = [render(tmp_path / f"{seed}.mp4", [RING], 60.0, fps=5, seed=seed) for seed in (3, 4)]
    entries = app.videos()
    jobs = Jobs(app)
    running, waiting = map(jobs.index, paths)
    while running.report.stage != "Captioning":
        assert not running.finished_event.wait(0.05)
    jobs.close(wait_s=JOB_TIMEOUT_S)
    for job in (running, waiting, jobs.index(paths[0])):
        assert job.finished_event.is_set() and job.error is not None
    assert app.videos() == entries
