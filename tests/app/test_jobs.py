"""Background work: progress, one sentence for failures, and nothing left behind."""

import shutil
from pathlib import Path

import pytest

from longview.app.jobs import Job, Jobs
from longview.app.service import Longview
from longview.app.settings import Settings
from longview.video.synthetic import ShapesEvent, render

EVENTS = [ShapesEvent(1, 4, "cyan", "ring", "moves up")]
PATIENCE_S = 60


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render(tmp_path_factory.mktemp("videos") / "ring.mp4", EVENTS, 5.0, fps=5)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Longview:
    return Longview(Settings(library=tmp_path_factory.mktemp("home"), model="demo", device="cpu", cpu_threads=1))


def ended(job: Job) -> Job:
    assert job.finished_event.wait(PATIENCE_S)
    return job


def uploaded(video: Path, tmp_path: Path) -> Path:
    """The temporary file that a browser's upload makes."""
    return Path(shutil.copy(video, tmp_path / "tmp1234.mp4"))


def uploads(app: Longview) -> list[Path]:
    return sorted((app.library.folder / "uploads").glob("*"))


def test_jobs_run_one_after_another_and_tell_how_they_ended(app: Longview, video: Path, tmp_path: Path) -> None:
    jobs = Jobs(app)
    first, second = jobs.index(video), jobs.index(tmp_path / "missing.mp4")
    assert second in jobs.running_jobs() and jobs.latest_job() is second
    ended(first), ended(second)
    assert (first.error, first.progress.fraction, first.progress.stage) == (None, 1.0, "done")
    assert first.video_id is not None
    assert app.video(first.video_id).path == video
    assert second.error is not None and "missing.mp4" in second.error and "\n" not in second.error
    assert jobs.running_jobs() == ()
    assert jobs.finished_jobs() == (first, second)


def test_an_upload_is_indexed_under_its_own_name_and_kept_in_the_library(app: Longview, video: Path, tmp_path: Path) -> None:
    temporary = uploaded(video, tmp_path)
    job = ended(Jobs(app).index(temporary, upload_name="My ring.mp4"))
    assert job.error is None and job.video_id is not None
    entry = app.video(job.video_id)
    assert entry.title == "My ring"
    assert uploads(app) == [entry.path]
    assert entry.path.read_bytes() == video.read_bytes()
    assert not temporary.exists()


def test_an_upload_that_cannot_be_indexed_leaves_nothing_behind(video: Path, tmp_path: Path) -> None:
    # It is a video, but the context is too small for any plan.
    app = Longview(Settings(library=tmp_path / "home", model="demo", device="cpu", cpu_threads=1, context_tokens=600))
    temporary = uploaded(video, tmp_path)
    job = ended(Jobs(app).index(temporary, upload_name="My ring.mp4"))
    assert job.error is not None and "context" in job.error
    assert uploads(app) == [] and not temporary.exists()
    assert app.videos() == ()


def test_a_failed_upload_of_a_video_that_is_in_the_library_leaves_that_one_alone(
    app: Longview, video: Path, tmp_path: Path
) -> None:
    done = ended(Jobs(app).index(uploaded(video, tmp_path), upload_name="My ring.mp4"))
    assert done.video_id is not None
    narrow = Longview(app.settings.model_copy(update={"context_tokens": 600}))
    assert ended(Jobs(narrow).index(uploaded(video, tmp_path), upload_name="Again.mp4")).error is not None
    assert app.video(done.video_id).path.exists()


def test_a_mistake_of_ours_is_one_sentence_for_the_user_and_the_next_job_runs(
    app: Longview, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = Jobs(app)
    with monkeypatch.context() as patched:
        patched.setattr(app, "index", lambda *_, **__: dict[str, str]()["secret detail"])
        broken = ended(jobs.index(video))
    assert broken.error is not None and "unexpected" in broken.error and "secret" not in broken.error
    assert ended(jobs.index(video)).error is None


def test_each_video_gets_its_own_browser_copy_even_under_one_title(app: Longview, tmp_path: Path) -> None:
    entries = [
        app.index(render(tmp_path / f"{seed}.avi", EVENTS, 3.0, fps=5, codec="mpeg4", seed=seed), title="the same title").entry
        for seed in (1, 2)
    ]
    jobs = Jobs(app)
    # A job that keeps the worker busy until all are asked for.
    started = [jobs.index(entries[0].path), *[jobs.prepare_for_browser(entry) for entry in (*entries, *entries)]]
    assert started[1] is started[3] and started[2] is started[4] and started[1] is not started[2]
    for job in started:
        assert ended(job).error is None
    assert all(app.media.browser_copy(entry) for entry in entries)


def test_a_browser_copy_that_failed_is_not_tried_again_and_again(app: Longview, tmp_path: Path) -> None:
    path = render(tmp_path / "ring.avi", EVENTS, 3.0, fps=5, codec="mpeg4")
    entry = app.index(path).entry
    path.unlink()
    jobs = Jobs(app)
    failed = ended(jobs.prepare_for_browser(entry))
    assert failed.error is not None and "no longer at" in failed.error
    assert jobs.prepare_for_browser(entry) is failed
