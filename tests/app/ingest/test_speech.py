"""Speech through the application: recognised in a worker's sound, committed chunk by chunk, found by the word, and resumed."""

import gc
import shutil
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from longview.app.errors import VideoGone
from longview.app.ingest.indexer import IndexResult
from longview.app.ingest.options import IndexOptions
from longview.app.ingest.sources import speech_state
from longview.app.service import Longview
from longview.core.progress import Cancelled, Progress
from longview.indexing.records.track import Track
from longview.indexing.records.video import VideoEntry
from longview.indexing.sqlite.database.database import Database
from longview.model.speech import voice_activity
from longview.model.tasks.events import PartialResult
from longview.video.decoding.audio import BLOCK_S, select_audio_stream
from longview.video.probing.probe import probe
from longview.video.waveform import waveform
from tests.support.app_samples import cancel_after, demo_settings
from tests.support.speech_samples import make_talk, needs_speech_model, spoken_words
from tests.support.warm_process import run_script

pytestmark = needs_speech_model
SPEECH_ONLY = IndexOptions(sources=("speech",))
TALK_S = 12.0


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video with pictures that the demo checkpoint does not know, and English and German speech."""
    return make_talk(tmp_path_factory.mktemp("talk") / "talk.mp4", ("en", TALK_S), ("de", 14.0), pictures=True)


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with sound only: two chunks of speech, 6 s apart."""
    return make_talk(tmp_path_factory.mktemp("talk") / "short.m4a", ("en", 4.5), ("en", 8.0))


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Longview:
    return Longview(demo_settings(tmp_path_factory.mktemp("library")))


@pytest.fixture(scope="module")
def result(app: Longview, talk: Path) -> IndexResult:
    return app.index(talk).result()


def another_app(folder: Path, **settings: Any) -> Longview:
    # The speech models of earlier ones take hundreds of megabytes each, and the garbage collector counts objects.
    gc.collect()
    return Longview(demo_settings(folder, **settings))


def speech_track(entry: VideoEntry) -> Track:
    track = entry.track("speech")
    assert track is not None
    return track


def words_of(app: Longview, entry: VideoEntry) -> list[tuple[float, str]]:
    return [(word.span.start_s, word.text) for segment in app.segments(entry, "speech") for word in segment.words]


def test_a_video_that_cannot_be_captioned_is_searchable(app: Longview, result: IndexResult) -> None:
    statuses = {report.source: report.status for report in result.reports}
    assert statuses == {"subtitles": "declined", "speech": "indexed", "screen_text": "indexed", "captions": "declined"}
    assert not result.failures and result.entry.caption_count == 0
    assert set(speech_track(result.entry).languages) == {"en", "de"}
    assert app.segments(result.entry, "captions") == ()


def test_the_waveform_is_made_of_the_sound_that_speech_recognition_hears(app: Longview, result: IndexResult, talk: Path) -> None:
    path = app.pictures.waveform(result.entry)
    assert path is not None
    video = probe(talk)
    peaks, own = np.frombuffer(path.read_bytes(), np.uint8), waveform(video, select_audio_stream(video, None).index)
    assert len(peaks) == len(own) and np.corrcoef(peaks, own)[0, 1] > 0.98
    assert np.flatnonzero(peaks > 40)[0] == pytest.approx(np.flatnonzero(own > 40)[0], abs=1)


def test_search_finds_the_word_within_half_a_second(app: Longview, result: IndexResult) -> None:
    truth = [word for word in spoken_words("en", TALK_S - 2) if len(word.text.strip(".,?!")) > 5]
    recognised = {text.strip(".,?!").lower() for _, text in words_of(app, result.entry)}
    words = [word for word in truth if word.text.strip(".,?!").lower() in recognised][-3:]
    assert len(words) == 3
    for word in words:
        moment = app.search(word.text).result().moments[0]
        assert moment.source == "speech" and moment.verified is None
        starts_s = [item.span.start_s for item in truth if item.text == word.text]
        assert min(abs(moment.span.start_s - start_s) for start_s in starts_s) < 0.5
        start, end = moment.evidence[0].highlights[0]
        assert moment.text[start:end].lower() == word.text.strip(".,?!").lower()


def test_second_run_changes_nothing(app: Longview, result: IndexResult, talk: Path) -> None:
    before = app.segments(result.entry), app.parts.library.tracks.revision()
    again = app.index(talk).result()
    assert [report.status for report in again.reports] == ["declined", "up_to_date", "up_to_date", "declined"]
    assert (app.segments(result.entry), app.parts.library.tracks.revision()) == before


def test_explicit_detection_keeps_a_detected_language(app: Longview, result: IndexResult, talk: Path) -> None:
    detected = another_app(app.parts.library.folder, speech_language="auto").index(talk, SPEECH_ONLY).result()
    assert detected.reports[0].status == "up_to_date"
    assert speech_track(detected.entry) == speech_track(result.entry)


def test_cancelled_speech_is_kept_and_resumed(short: Path, tmp_path: Path) -> None:
    app = another_app(tmp_path)
    with pytest.raises(Cancelled):
        cancel_after(app.index(short), lambda event: isinstance(event, PartialResult))
    (entry,) = app.videos()
    track = speech_track(entry)
    assert track.status == "incomplete" and 3 < track.done_s < 6
    first_words = words_of(app, entry)
    assert app.search(first_words[1][1]).result().moments
    entry = app.index(short).result().entry
    assert speech_track(entry).status == "complete" and speech_track(entry).done_s == pytest.approx(entry.duration_s)
    assert words_of(app, entry)[: len(first_words)] == first_words and len(words_of(app, entry)) > len(first_words)
    # Other settings replace the track, and an interrupted run with them leaves the words as an earlier version.
    content = app.export(entry, "json", ["speech"], word_times=True)
    stream = another_app(tmp_path, speech_language="en").index(short, SPEECH_ONLY)
    with pytest.raises(Cancelled):
        cancel_after(stream, lambda event: isinstance(event, PartialResult))
    (earlier,) = (version for version in app.parts.library.versions.of_video(entry.video_id) if not version.is_current)
    assert app.export_version(app.video(entry.video_id), "json", earlier, word_times=True) == content
    assert speech_track(app.video(entry.video_id)).status == "incomplete"
    part = another_app(tmp_path, speech_language="en").index(short, IndexOptions(end_s=5.0)).result().entry
    assert speech_track(part).span.end_s == 5.0 and len(words_of(app, part)) == len(first_words)
    assert speech_track(part).provenance.plan["language"] == "en"


def interrupt_and_count(app: Longview, path: Path, after: int) -> int:
    """Index a file, and cancel after some chunks; return the number of chunks that were recognised."""
    chunks = 0

    def is_last(event: object) -> bool:
        nonlocal chunks
        chunks += isinstance(event, PartialResult)
        return chunks == after

    with suppress(Cancelled):
        cancel_after(app.index(path, SPEECH_ONLY), is_last)
    return chunks


@pytest.mark.parametrize(
    ("section_s", "pieces"),
    [
        pytest.param(5.0, 3, id="a section for each chunk", marks=pytest.mark.slow),
        pytest.param(600.0, 2, id="one section"),
    ],
)
def test_recognition_that_is_interrupted_after_every_chunk_ends_like_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, section_s: float, pieces: int
) -> None:
    monkeypatch.setattr(speech_state, "SECTION_S", section_s)
    talk = make_talk(tmp_path / "talk.m4a", *[("en", 4.5), ("de", 8.0), ("en", 7.0)][:pieces])
    whole, parts = another_app(tmp_path / "whole"), another_app(tmp_path / "parts")
    count = interrupt_and_count(whole, talk, after=99)
    assert count >= pieces
    recognised = [interrupt_and_count(another_app(tmp_path / "parts"), talk, after=1) for _ in range(count + 1)]
    # No chunk was recognised twice.
    assert recognised == [1] * count + [0]
    results = []
    for app in (whole, parts):
        (entry,) = app.videos()
        track = speech_track(entry)
        results.append((app.segments(entry, "speech"), track.status, track.language, track.note, track.languages, track.state))
    assert results[0] == results[1] and results[0][1] == "complete"


def test_progress_is_the_share_of_the_sound_that_was_recognised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speech_state, "SECTION_S", 5.0)
    monkeypatch.setattr(voice_activity, "MIN_BUFFER_S", 1.0)
    talk = make_talk(tmp_path / "talk.m4a", *[("en", 4.5)] * 5, gap_s=16.0)
    app = another_app(tmp_path / "library")

    def times_s(after: int) -> list[tuple[float, float]]:
        """Index up to some chunk; return the end of each chunk, and the time in the sound that the progress stands for.

        Loading before, and the search after the speech take a small part of it.
        """
        progress, times_s = Progress(), []
        for event in app.parts.indexer.index(talk, SPEECH_ONLY, progress=progress):
            times_s.append((event.value.done_s, progress.report.fraction * 5 * 20.5))
            if len(times_s) == after:
                break
        return times_s

    before, resumed = times_s(2), times_s(99)
    assert resumed[0][0] > before[-1][0] and len(before) == 2 and len(resumed) >= 3
    for done_s, shown_s in before + resumed:
        # The decoder is a minute ahead of the recognition, and the shares of loading and decoding depend on the machine.
        assert abs(done_s - shown_s) < 4 * BLOCK_S


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory, short: Path) -> Path:
    """A library with the first chunk of `short`."""
    folder = tmp_path_factory.mktemp("interrupted")
    assert interrupt_and_count(another_app(folder), short, after=1) == 1
    return folder


@pytest.mark.parametrize(
    "state",
    [
        pytest.param("no JSON", marks=pytest.mark.slow),
        '{"section_start_s": 1e9, "language": "en", "probability": 1, "speech_s": 1, "sure_s": 1}',
    ],
)
def test_damaged_state_of_a_track_begins_a_section_at_the_end_of_the_last_chunk(
    short: Path, interrupted: Path, tmp_path: Path, state: str
) -> None:
    shutil.copytree(interrupted, tmp_path, dirs_exist_ok=True)
    app = another_app(tmp_path)
    with Database(tmp_path).transaction() as db:
        db.execute("UPDATE tracks SET state = ?", (state,))
    entry = app.index(short, SPEECH_ONLY).result().entry
    assert speech_track(entry).status == "complete" and len(words_of(app, entry)) > 10


KILLED = """
import os, signal, sys
from pathlib import Path
from typing import Any
from longview.app.ingest.indexer import IndexOptions
from longview.app.service import Longview
from longview.model.tasks.events import PartialResult
from tests.support.app_samples import demo_settings
for event in Longview(demo_settings(Path(sys.argv[1]))).index(Path(sys.argv[2]), IndexOptions(sources=("speech",))):
    if isinstance(event, PartialResult):
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_killed_run_leaves_whole_chunks_and_resumes(short: Path, tmp_path: Path) -> None:
    killed = run_script(KILLED, tmp_path, short)
    assert killed.returncode == -signal.SIGKILL
    app = another_app(tmp_path)
    (entry,) = app.videos()
    assert speech_track(entry).status == "incomplete"
    before = words_of(app, entry)
    assert before and before[-1][0] <= speech_track(entry).done_s
    entry = app.index(short, SPEECH_ONLY).result().entry
    after = words_of(app, entry)
    assert after[: len(before)] == before and len(after) > len(before)
    starts_s = [start_s for start_s, _ in after]
    assert starts_s == sorted(starts_s)


def test_file_that_changes_meanwhile_is_not_transcribed_further(short: Path, tmp_path: Path) -> None:
    app = another_app(tmp_path / "library")
    copy = tmp_path / "copy.m4a"
    copy.write_bytes(short.read_bytes())

    def read_and_change() -> None:
        for event in app.index(copy, SPEECH_ONLY):
            if isinstance(event, PartialResult):
                copy.write_bytes(short.read_bytes()[:-1000])

    with pytest.raises(VideoGone):
        read_and_change()
    (entry,) = app.videos()
    # What was committed before the change is of the file that was hashed.
    assert speech_track(entry).status == "incomplete" and speech_track(entry).done_s < 6


def test_missing_speech_model_is_reported_and_the_rest_runs(talk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    app = another_app(tmp_path, speech_model="nobody/no-such-model")
    result = app.index(talk).result()
    report = result.report("speech")
    assert report is not None and report.status == "skipped" and "nobody/no-such-model" in report.reason
    assert not result.failures
    chosen = app.index(talk, SPEECH_ONLY).result()
    assert [report.status for report in chosen.failures] == ["failed"]


def test_missing_audio_track_fails_alone(app: Longview, result: IndexResult, talk: Path) -> None:
    failed = another_app(app.parts.library.folder, audio_track="2").index(talk).result()
    assert [report.source for report in failed.failures] == ["speech"]
    assert "no audio track 2" in failed.failures[0].reason
    assert failed.report("captions").status == "declined"  # type: ignore[union-attr]
    assert speech_track(failed.entry) == speech_track(result.entry)
