"""The samples of an empty library: what is said and shown in the slide show is found, and an interrupted start is continued."""

import json
import time
import wave
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from longview.app.qa.example_questions import examples_for
from longview.app.service import Longview
from longview.app.serving.sample import (
    PACKAGED,
    SAMPLES,
    SLIDES_SAMPLE,
    Sample,
    add_samples,
    resume_samples,
)
from longview.app.serving.workers import Workers
from longview.core.progress import Cancelled, Progress
from longview.indexing.library_files import SAMPLE_FILES
from longview.indexing.records.video import VideoEntry
from longview.video.errors import FFmpegFailed
from tests.support.app_samples import demo_settings
from tests.support.speech_samples import needs_speech_model

MAX_START_ERROR_S = 0.5
TIMEOUT_S = 120
TIMES: dict[str, Any] = json.loads((PACKAGED / SLIDES_SAMPLE.name).with_suffix(".json").read_text(encoding="utf-8"))


def short_sample(name: str) -> Sample:
    """A sample without pictures, whose subtitles are beside it: it is indexed at once."""

    def make(path: Path, progress: Progress) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        cue = f"1\n00:00:01,000 --> 00:00:03,000\nThis is the {name} sample.\n"
        path.with_suffix(".srt").write_text(cue, encoding="utf-8")
        with wave.open(str(path), "wb") as sound:
            sound.setparams((1, 1, 8000, 0, "NONE", ""))
            sound.writeframes(name[:1].encode() * 8000 * 4)

    return Sample(f"{name}.wav", f"Sample: {name}", "Making", make)


FIRST, SECOND = SHORT = (short_sample("first"), short_sample("second"))


def add_and_index(app: Longview, samples: Sequence[Sample]) -> None:
    """Add samples as a server does, and run its queue until nothing waits."""
    resume_samples(app)
    workers = Workers(app)
    add_samples(app, workers, samples)
    wait_until(lambda: not any(job.status in ("waiting", "running") for job in app.parts.library.queue.jobs()))
    workers.close(wait_s=10.0)


def wait_until(is_reached: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + TIMEOUT_S
    while not is_reached():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def titles(app: Longview) -> list[str]:
    return [entry.title for entry in app.videos()]


# -- the narrated sample ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def slides(app: Longview) -> VideoEntry:
    add_and_index(app, [SLIDES_SAMPLE])
    (entry,) = app.videos()
    return entry


def first_start_s(app: Longview, entry: VideoEntry, query: str, source: str) -> float:
    moments = app.search(query, video=entry.video_id, verify=False).result().moments
    assert source in moments[0].sources
    return moments[0].span.start_s


def test_the_narrated_sample_comes_first() -> None:
    # Its file is only copied, so that there is something to watch at once.
    assert SAMPLES[0] is SLIDES_SAMPLE and len(SAMPLES) == 2


@needs_speech_model
@pytest.mark.parametrize("number", [2, 8, 20])
def test_spoken_sentence_is_found_at_its_time(app: Longview, slides: VideoEntry, number: int) -> None:
    sentence = TIMES["sentences"][number]
    query = " ".join(sentence["text"].strip(".").split()[:6])
    assert first_start_s(app, slides, query, "speech") == pytest.approx(sentence["start_s"], abs=MAX_START_ERROR_S)


def test_the_german_subtitles_are_found(app: Longview, slides: VideoEntry) -> None:
    (cue,) = (cue for cue in TIMES["subtitles"] if "Sturm" in cue["text"])
    assert first_start_s(app, slides, "Sturm", "subtitles") == pytest.approx(cue["start_s"], abs=MAX_START_ERROR_S)


@pytest.mark.parametrize("line", ["Roter Sand, North Sea", "灯塔照亮夜里的大海", "灯台は船に道を教えます"])
def test_a_line_that_is_only_shown_is_found(app: Longview, slides: VideoEntry, line: str) -> None:
    (slide,) = (slide for slide in TIMES["slides"] if line in slide["lines"])
    assert first_start_s(app, slides, line, "screen_text") == pytest.approx(slide["start_s"], abs=MAX_START_ERROR_S)


def test_the_demo_checkpoint_declines_the_slides_and_browsers_play_them(app: Longview, slides: VideoEntry) -> None:
    captions = slides.track("captions")
    assert captions is not None and captions.status == "declined"
    assert app.parts.media.browser_copy(slides) == slides.path
    # An upgrade of the package must not take the file away.
    assert slides.path.is_relative_to(app.parts.library.folder)


@needs_speech_model
def test_the_example_questions_have_answers(app: Longview, slides: VideoEntry) -> None:
    segments = {track.source: app.segments(slides, track.source) for track in slides.tracks}
    questions = examples_for(slides.duration_s, segments).questions
    assert "When is “clockwork” mentioned?" in questions
    for question in questions:
        answer = app.ask([slides], question).result()
        assert answer.found and answer.citations, question


# -- starts that ended early --------------------------------------------------------------------------------------


@pytest.fixture
def fresh_app(tmp_path: Path) -> Longview:
    return Longview(demo_settings(tmp_path / "library", speech_model="none"))


def test_an_interrupted_start_is_continued_and_removed_samples_stay_removed(fresh_app: Longview) -> None:
    def interrupt(path: Path, progress: Progress) -> None:
        raise Cancelled

    # The server is killed when the first sample is in the queue, and the file of the second one was not written.
    add_samples(fresh_app, Workers(fresh_app, starts=False), [FIRST, replace(SECOND, make=interrupt)])
    assert titles(fresh_app) == []
    # Ctrl-C pauses what is unfinished.
    workers = Workers(fresh_app, starts=False)
    add_samples(fresh_app, workers, SHORT)
    workers.close(pauses=True)
    assert {job.status for job in fresh_app.parts.library.queue.jobs()} == {"paused"}
    fresh_app = Longview(fresh_app.settings)
    add_and_index(fresh_app, SHORT)
    assert titles(fresh_app) == [FIRST.title, SECOND.title]
    assert all(entry.has_segments for entry in fresh_app.videos())
    for entry in fresh_app.videos():
        fresh_app.remove(entry)
        left = titles(fresh_app)
        add_and_index(fresh_app, SHORT)
        assert titles(fresh_app) == left
    assert left == []


def test_a_sample_that_somebody_paused_stays_paused(fresh_app: Longview) -> None:
    workers = Workers(fresh_app, starts=False)
    add_samples(fresh_app, workers, SHORT)
    first, _ = fresh_app.parts.library.queue.jobs()
    workers.change(first.job_id, "pause")
    add_and_index(fresh_app, SHORT)
    assert titles(fresh_app) == [SECOND.title]


def test_a_sample_that_cannot_be_made_is_shown_as_failed(fresh_app: Longview) -> None:
    def fail(path: Path, progress: Progress) -> None:
        raise FFmpegFailed("There is no encoder.")

    workers = Workers(fresh_app, starts=False)
    add_samples(fresh_app, workers, [replace(FIRST, make=fail), SECOND])
    (shown,) = workers.shown_preparations()
    assert (shown.status, shown.reason) == ("failed", "There is no encoder.")


def test_a_library_with_other_videos_stays_as_it_is(fresh_app: Longview, tmp_path: Path) -> None:
    own_path = tmp_path / "own.wav"
    FIRST.make(own_path, Progress())
    # Other content, because the same would be the sample itself.
    own_path.write_bytes(own_path.read_bytes() + bytes(1000))
    fresh_app.index(own_path).result()
    before = titles(fresh_app)
    add_and_index(fresh_app, SHORT)
    assert titles(fresh_app) == before


def test_an_older_library_stays_as_it_is(fresh_app: Longview) -> None:
    # Earlier versions had one sample, and no list of what is pending.
    path = fresh_app.parts.library.folder / SAMPLE_FILES / FIRST.name
    FIRST.make(path, Progress())
    fresh_app.index(path).result()
    add_and_index(fresh_app, SHORT)
    assert len(titles(fresh_app)) == 1
