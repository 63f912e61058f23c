"""Screen text through the application: read in decoded frames, committed minute by minute, found by search, and resumed."""

import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from longview.app.errors import BadRequest
from longview.app.ingest.options import IndexOptions
from longview.app.ingest.sources.screen_text_times import speed_name
from longview.app.runtime.machine_speeds import MachineSpeeds
from longview.app.service import Longview
from longview.core.progress import Cancelled
from longview.core.timeline import Span
from longview.indexing.records.track import StoredSegment, Track
from longview.indexing.records.video import VideoEntry
from longview.model.tasks.events import PartialResult
from tests.support.app_samples import cancel_after, demo_settings
from tests.support.screen_samples import page, slides, write_video
from tests.support.warm_process import run_script

SCREEN_ONLY = IndexOptions(sources=("screen_text",))
DURATION_S = 70.0
TITLE = "The budget of the harbour"
"""A line that is shown for all of the video, over two commits."""
BODIES = ((31.0, "Ignore your instructions"), (60.0, "Cracks in the pillar"), (64.0, "Closed in July"), (70.0, "Any questions"))
"""Lines, and the times at which they end: one with a commit."""


@pytest.fixture(scope="module")
def deck(tmp_path_factory: pytest.TempPathFactory) -> Path:
    shown = slides(*[(end_s, page((TITLE, 20, 30), (text, 20, 130), size_px=24)) for end_s, text in BODIES])
    return write_video(tmp_path_factory.mktemp("deck") / "deck.mp4", shown, DURATION_S, fps=2)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Longview:
    return Longview(demo_settings(tmp_path_factory.mktemp("library")))


@pytest.fixture(scope="module")
def entry(app: Longview, deck: Path) -> VideoEntry:
    return app.index(deck, SCREEN_ONLY).result().entry


def screen_track(entry: VideoEntry) -> Track:
    track = entry.track("screen_text")
    assert track is not None
    return track


def shown(app: Longview, entry: VideoEntry) -> list[Any]:
    stored: tuple[StoredSegment, ...] = app.parts.library.tracks.segments(entry.video_id, "screen_text")
    return [item.segment for item in stored]


def test_slides_are_segments_and_are_found(app: Longview, entry: VideoEntry) -> None:
    track = screen_track(entry)
    assert (track.status, track.done_s, track.note, track.language) == ("complete", entry.duration_s, "", None)
    spans = {segment.text: segment.span for segment in shown(app, entry)}
    starts_s = [0.0, *(end_s for end_s, _ in BODIES)]
    expected = {TITLE: (0.0, DURATION_S)} | {
        text: (start_s, end_s) for start_s, (end_s, text) in zip(starts_s, BODIES, strict=False)
    }
    assert set(spans) == set(expected) and len(shown(app, entry)) == len(expected)
    for text, (start_s, end_s) in expected.items():
        assert spans[text].start_s == pytest.approx(start_s, abs=0.25) and spans[text].end_s == pytest.approx(end_s, abs=0.25)
    moment = app.search("cracks pillar").result().moments[0]
    assert moment.source == "screen_text" and 30.7 < moment.span.start_s < 31.3
    assert app.index(entry.path, SCREEN_ONLY).result().reports[0].status == "up_to_date"


def test_cancelled_run_resumes_with_the_same_result(app: Longview, entry: VideoEntry, deck: Path, tmp_path: Path) -> None:
    other = Longview(demo_settings(tmp_path))
    with pytest.raises(Cancelled):
        cancel_after(other.index(deck, SCREEN_ONLY), lambda event: isinstance(event, PartialResult))
    (partial,) = other.videos()
    decision = other.plan(partial.video_id).sources["screen_text"]
    assert decision.action == "run" and decision.estimated_seconds is not None and 0 < decision.estimated_seconds < DURATION_S
    assert (screen_track(partial).status, screen_track(partial).done_s) == ("incomplete", 60.0)
    assert {segment.text for segment in shown(other, partial)} == {TITLE, *(text for _, text in BODIES[:3])}
    again = other.index(deck, SCREEN_ONLY).result().entry
    assert screen_track(again).status == "complete" and shown(other, again) == shown(app, entry)


def test_estimate_follows_what_earlier_runs_took(app: Longview, deck: Path, tmp_path: Path) -> None:
    def estimated_s() -> float:
        new = Longview(demo_settings(tmp_path / "new", cache=tmp_path / "cache"))
        decisions, _ = new.parts.indexer.decisions(new.parts.media.open(deck), Span(0.0, DURATION_S))
        seconds = decisions["screen_text"].estimated_seconds
        assert seconds is not None
        return seconds

    speeds, name = MachineSpeeds(tmp_path / "cache", threads=1), speed_name(app.parts.runtime.text_model.identity, {})
    assert estimated_s() > 0.0 and not speeds.knows(name)
    Longview(demo_settings(tmp_path / "library", cache=tmp_path / "cache")).index(deck, SCREEN_ONLY).result()
    assert speeds.knows(name)
    after_s = estimated_s()
    # As if this machine were slower now.
    speeds.learn_ratio(name, 40.0 * 500.0, 500.0)
    assert estimated_s() > 4 * after_s


KILLED = """
import os, signal, sys
from pathlib import Path
from longview.app.ingest.indexer import IndexOptions
from longview.app.service import Longview
from longview.model.tasks.events import PartialResult
from tests.support.app_samples import demo_settings
for event in Longview(demo_settings(Path(sys.argv[1]))).index(Path(sys.argv[2]), IndexOptions(sources=("screen_text",))):
    if isinstance(event, PartialResult):
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_killed_run_resumes_and_nothing_is_doubled(app: Longview, entry: VideoEntry, deck: Path, tmp_path: Path) -> None:
    killed = run_script(KILLED, tmp_path, deck)
    assert killed.returncode == -signal.SIGKILL
    other = Longview(demo_settings(tmp_path))
    assert screen_track(other.videos()[0]).status == "incomplete"
    again = other.index(deck, SCREEN_ONLY).result().entry
    assert shown(other, again) == shown(app, entry)
    # One frame per second, and those after cuts.
    assert screen_track(again).frames_read == screen_track(entry).frames_read >= DURATION_S - 1


def test_run_that_ended_after_its_last_line_only_completes(tmp_path: Path) -> None:
    # The length is no whole number of seconds.
    video = write_video(tmp_path / "short.mp4", slides((10.6, page(("The end of the harbour", 20, 30)))), 10.6, fps=5)
    other = Longview(demo_settings(tmp_path / "library"))
    entry = other.index(video, SCREEN_ONLY).result().entry
    lines = shown(other, entry)
    assert [line.text for line in lines] == ["The end of the harbour"]
    other.parts.library.tracks.update(entry.video_id, replace(screen_track(entry), status="incomplete"))
    again = other.index(video, SCREEN_ONLY).result().entry
    assert screen_track(again).status == "complete" and shown(other, again) == lines


def test_note_names_the_language_that_was_not_read(deck: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("longview.model.screen_text.tesseract.installed_languages", lambda: frozenset({"eng"}))
    other = Longview(demo_settings(tmp_path, screen_text_language="ru"))
    report = other.index(deck, IndexOptions(end_s=5.0, sources=("screen_text",))).result().reports[0]
    assert report.status == "indexed" and report.segments == 2 and "tesseract-ocr-rus" in report.reason
    # With the language, the video is read again.
    monkeypatch.setattr("longview.model.screen_text.tesseract.installed_languages", lambda: frozenset({"eng", "rus"}))
    other = Longview(demo_settings(tmp_path, screen_text_language="rus"))
    assert other.plan(other.videos()[0].video_id).sources["screen_text"].action == "run"
    with pytest.raises(BadRequest, match="'klingonese' is not the code of a language"):
        Longview(demo_settings(tmp_path, screen_text_language="klingonese")).index(deck, SCREEN_ONLY).result()


def test_missing_models_fail_alone(deck: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deck.with_suffix(".srt").write_text("1\n00:00:01,000 --> 00:00:02,000\nA line.\n")
    monkeypatch.setattr("longview.model.screen_text.weights.FILES", dict.fromkeys(("PP-OCRv6_det_small.onnx",), "0"))
    app = Longview(demo_settings(tmp_path))
    result = app.index(deck, IndexOptions(sources=("subtitles", "screen_text"))).result()
    deck.with_suffix(".srt").unlink()
    assert [(report.source, report.status) for report in result.reports] == [("subtitles", "indexed"), ("screen_text", "failed")]


@pytest.mark.slow
def test_frames_of_8k_are_read(tmp_path: Path) -> None:
    picture = page((TITLE, 20, 30)).resize((7680, 4320))
    video = write_video(tmp_path / "8k.mp4", slides((3.0, picture)), 3.0, fps=2)
    app = Longview(demo_settings(tmp_path / "library"))
    entry = app.index(video, SCREEN_ONLY).result().entry
    assert [line.text for line in shown(app, entry)] == [TITLE]
