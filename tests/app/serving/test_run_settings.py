"""Jobs with run settings of their own: a server runs them with these, and keeps its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from longview.app.ingest.options import IndexOptions, RunSettings
from longview.app.service import Longview
from longview.app.serving.workers import Workers
from longview.app.settings import job_settings
from longview.indexing.records.job import QueuedJob
from longview.indexing.records.track import Track
from tests.app.serving.test_workers import JOB_TIMEOUT_S, ended
from tests.support.app_samples import demo_settings
from tests.support.speech_samples import make_talk, needs_speech_model


@pytest.fixture
def workers(app: Longview) -> Iterator[Workers]:
    workers = Workers(app)
    yield workers
    workers.close(wait_s=JOB_TIMEOUT_S)


def run(workers: Workers, path: Path, source: str, **settings: str) -> QueuedJob:
    options = IndexOptions(sources=(source,), settings=RunSettings(**settings))  # type: ignore[arg-type]
    job = ended(workers, workers.add(path, options, title=path.name))
    assert job.status == "done", job.reason
    return job


def track_of(app: Longview, job: QueuedJob, source: str) -> Track:
    assert job.video_id is not None
    track = app.video(job.video_id).track(source)
    assert track is not None
    return track


@needs_speech_model
def test_a_job_is_recognised_in_its_own_language_and_again_after_a_retry(workers: Workers, app: Longview, tmp_path: Path) -> None:
    talk = make_talk(tmp_path / "talk.m4a", ("en", 8.0), gap_s=1.0)
    job = run(workers, talk, "speech", speech_language="de")
    assert job.settings["speech_language"] == "de"
    track = track_of(app, job, "speech")
    assert (track.language, track.provenance.plan["language"]) == ("de", "de")
    assert app.settings.speech_language is None
    # To detect the language is a choice, too: nothing that was recognised with another one is kept.
    again = run(workers, talk, "speech", speech_language="auto")
    assert again.job_id != job.job_id and track_of(app, again, "speech").language == "en"
    app.parts.library.queue.cancel(job.job_id)
    assert workers.change(job.job_id, "retry").settings["speech_language"] == "de"


@needs_speech_model
def test_a_default_that_is_chosen_overrides_the_setting_of_the_server(tmp_path: Path) -> None:
    talk = make_talk(tmp_path / "talk.m4a", ("en", 8.0), gap_s=1.0)
    app = Longview(demo_settings(tmp_path / "library", speech_language="de", precision="float32"))
    workers = Workers(app)
    try:
        job = run(workers, talk, "speech", speech_language="auto", precision="auto")
        assert (job.settings["speech_language"], job.settings["precision"]) == ("auto", "auto")
        assert track_of(app, job, "speech").language == "en"
        assert track_of(app, run(workers, talk, "speech"), "speech").language == "de"
    finally:
        workers.close(wait_s=JOB_TIMEOUT_S)


def test_the_checkpoint_of_another_precision_is_freed_with_its_job(workers: Workers, app: Longview, short_path: Path) -> None:
    job = run(workers, short_path, "captions", precision="bfloat16")
    assert track_of(app, job, "captions").segment_count == 1
    assert not app.parts.runtime.is_loaded
    run(workers, short_path, "captions")


def test_a_job_with_a_setting_that_cannot_be_fails_in_a_sentence(workers: Workers, app: Longview, short_path: Path) -> None:
    queue = app.parts.library.queue
    settings = job_settings(app.settings) | {"precision": "decimal"}
    job = queue.add(short_path, title="short", options={}, settings=settings, priority=1)
    failed = ended(workers, job)
    assert failed.status == "failed" and "settings that cannot be used: precision" in failed.reason
