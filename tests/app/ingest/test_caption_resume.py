"""Captions resume at the next window after an interruption, and end with the result of an uninterrupted run."""

import json
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from longview.app.files.watched_file import WatchedFile
from longview.app.ingest.indexer import IndexResult
from longview.app.ingest.media_look import MediaLook
from longview.app.ingest.options import IndexOptions
from longview.app.ingest.sources.base import SourceJob
from longview.app.ingest.sources.caption_run import find_run
from longview.app.runtime.runtime import Runtime
from longview.app.service import Longview
from longview.app.streams import Done
from longview.core.progress import NO_PROGRESS, Cancelled, ProgressReport
from longview.core.timeline import Span
from longview.indexing.sqlite.database.database import DATABASE
from longview.indexing.sqlite.library import Library
from longview.indexing.sqlite.repair.integrity import database_problems
from longview.indexing.sqlite.repair.recovery import recover
from longview.model.tasks.events import PartialResult
from longview.video.decoding.decoder import Decoder, TimedFrames
from longview.video.probing.probe import probe
from longview.video.sampling_plan import SamplingPlan
from longview.video.synthetic import ShapesEvent, render
from tests.support.app_samples import cancel_after, demo_settings
from tests.support.barcodes import run_ffmpeg
from tests.support.warm_process import run_script

EVENTS = (
    ShapesEvent(2, 7, "red", "circle", "moves to the right"),
    # Both are in two windows, so that their times are refined.
    ShapesEvent(20, 31, "green", "square", "stays still"),
    ShapesEvent(50, 58, "blue", "star", "grows"),
    ShapesEvent(68, 74, "cyan", "ring", "moves up"),
)
DURATION_S = 81.0
CONTEXT_TOKENS = 2600
WINDOWS = 3
NO_CHECKS = {"index_verify": False, "index_refine": False}
OPTIONS = IndexOptions(sources=("captions",), context_tokens=CONTEXT_TOKENS)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render(tmp_path_factory.mktemp("videos") / "video.mp4", EVENTS, DURATION_S, fps=5)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, path: Path) -> tuple[Path, IndexResult]:
    """A library with the captions of an uninterrupted run."""
    folder = tmp_path_factory.mktemp("whole")
    result = open_library(folder).index(path, OPTIONS).result()
    assert result.entry.caption_count == len(EVENTS)
    assert window_rows(folder) == []
    return folder, result


def open_library(folder: Path, **settings: Any) -> Longview:
    """Open a library as another process would, without any session."""
    return Longview(demo_settings(folder, **settings))


def index_windows(app: Longview, path: Path, count: int, options: IndexOptions = OPTIONS) -> list[int]:
    """Index until `count` windows are captioned, and interrupt the run there; return their positions."""
    positions: list[int] = []

    def is_last(event: object) -> bool:
        if isinstance(event, PartialResult):
            positions.append(event.value.position)
        return len(positions) == count

    with pytest.raises(Cancelled):
        cancel_after(app.index(path, options), is_last)
    return positions


def index_rest(app: Longview, path: Path, options: IndexOptions = OPTIONS) -> tuple[list[int], IndexResult]:
    """Index to the end; return the positions of the windows that were captioned, and the result."""
    *events, done = app.index(path, options)
    assert isinstance(done, Done)
    return [event.value.position for event in events if isinstance(event, PartialResult)], done.result


def window_rows(folder: Path) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(folder / DATABASE)) as db:
        return db.execute("SELECT position, run, content FROM caption_windows ORDER BY position").fetchall()


def contents(folder: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Return all that a run of captions writes, without ids and times of day."""
    columns = {
        "videos": "video_id, title, duration_s, summary, chapters",
        "tracks": "source, status, start_s, end_s, done_s, checkpoint, prompt_version, profile, plan, uncovered, note, "
        "segment_counts",
        "segments": "source, start_s, end_s, text, language, confidence",
        "passages": "source, position, start_s, end_s, text",
        "caption_windows": "*",
        "earlier_tracks": "source",
    }
    with closing(sqlite3.connect(folder / DATABASE)) as db:
        return {table: sorted(db.execute(f"SELECT {names} FROM {table}")) for table, names in columns.items()}


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory, path: Path) -> Path:
    """A library with the captions of two of three windows."""
    folder = tmp_path_factory.mktemp("interrupted")
    assert index_windows(open_library(folder), path, 2) == [0, 1]
    return folder


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    return open_library(tmp_path_factory.mktemp("runtime")).parts.runtime


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, ...]]:
    """The times of the frames that are decoded, one item for each request."""
    requests: list[tuple[float, ...]] = []
    decode = Decoder.frames_played_at

    def record(self: Decoder, video: Any, times_s: Any, *args: Any, **options: Any) -> Iterator[TimedFrames]:
        requests.append(tuple(times_s))
        return decode(self, video, times_s, *args, **options)

    monkeypatch.setattr(Decoder, "frames_played_at", record)
    return requests


def plan_of(app: Longview, path: Path) -> SamplingPlan:
    return app.parts.runtime.pool.planner.plan(probe(path), "caption", context_tokens=CONTEXT_TOKENS)


def test_interrupted_captions_resume_at_the_next_window(
    interrupted: Path, tmp_path: Path, path: Path, whole: tuple[Path, IndexResult], requests: list[tuple[float, ...]]
) -> None:
    folder = Path(shutil.copytree(interrupted, tmp_path / "library"))
    windows = plan_of(open_library(folder), path).windows
    app = open_library(folder)
    (before,) = app.videos()
    requests.clear()
    *events, done = app.index(path, OPTIONS)
    assert isinstance(done, Done)
    assert [event.value.position for event in events if isinstance(event, PartialResult)] == [2]
    # Neither are shots detected again, nor the first, the middle and the last window examined.
    assert requests[0] == windows[2].times_s
    assert [window.times_s in requests for window in windows] == [False, False, True]
    assert contents(folder) == contents(whole[0])
    fractions = [event.fraction for event in events if isinstance(event, ProgressReport)]
    assert fractions == sorted(fractions)
    # The time that is estimated is that of the rest, and the time that was spent that of both runs.
    report, whole_report = done.result.reports[0], whole[1].reports[0]
    assert report.estimated_seconds is not None and whole_report.estimated_seconds is not None
    assert report.estimated_seconds < whole_report.estimated_seconds
    spent_s = [entry.track("captions").seconds_spent for entry in (before, done.result.entry)]  # type: ignore[union-attr]
    assert spent_s[1] > spent_s[0] > 0


def test_captions_that_are_interrupted_after_each_window_end_with_the_same_result(
    tmp_path: Path, path: Path, whole: tuple[Path, IndexResult]
) -> None:
    spent_s = 0.0
    for position in range(WINDOWS):
        assert index_windows(open_library(tmp_path), path, 1) == [position]
        (entry,) = open_library(tmp_path).videos()
        track = entry.track("captions")
        assert track is not None and track.status == "incomplete"
        # The last window is followed by the complete track.
        assert track.seconds_spent > spent_s or position == WINDOWS - 1
        spent_s = track.seconds_spent
    positions, result = index_rest(open_library(tmp_path), path)
    assert positions == []
    assert contents(tmp_path) == contents(whole[0])
    track = result.entry.track("captions")
    assert track is not None and track.seconds_spent > spent_s


@pytest.mark.slow
def test_a_run_over_older_complete_captions_resumes_and_leaves_them_until_its_end(
    tmp_path: Path, path: Path, whole: tuple[Path, IndexResult]
) -> None:
    older = open_library(tmp_path).index(path, replace(OPTIONS, end_s=20.0)).result().entry
    before = contents(tmp_path)
    assert index_windows(open_library(tmp_path), path, 1) == [0]
    assert index_windows(open_library(tmp_path), path, 1) == [1]
    assert contents(tmp_path) | {"caption_windows": []} == before
    positions, result = index_rest(open_library(tmp_path), path)
    assert positions == [2]
    assert contents(tmp_path) | {"earlier_tracks": []} == contents(whole[0])
    (earlier,) = (version for version in open_library(tmp_path).versions(result.entry) if not version.is_current)
    assert replace(earlier.track, updated_at="") == replace(older.track("captions"), updated_at="")  # type: ignore[type-var]


def test_other_options_start_over(interrupted: Path, tmp_path: Path, path: Path) -> None:
    folder = Path(shutil.copytree(interrupted, tmp_path / "library"))
    app = open_library(folder)
    for other, options in (
        (open_library(folder, index_verify=False), OPTIONS),
        (app, replace(OPTIONS, context_tokens=CONTEXT_TOKENS + 10)),
        (app, replace(OPTIONS, end_s=75.0)),
        (app, OPTIONS),
    ):
        assert index_windows(other, path, 1, options) == [0]
        assert [row[0] for row in window_rows(folder)] == [0]


def test_resume_keeps_plan_unless_memory_shrank(tmp_path: Path, path: Path) -> None:
    options = replace(OPTIONS, context_tokens=None)

    def with_context(tokens: int | None) -> Longview:
        app = open_library(tmp_path, **NO_CHECKS)
        if tokens:
            # The engine takes it from the free memory.
            app.parts.runtime.pool.planner.context_tokens = tokens
        return app

    assert index_windows(with_context(CONTEXT_TOKENS), path, 1, options) == [0]
    positions, result = index_rest(with_context(None), path, options)
    assert positions == [1, 2]
    with_context(None).remove(result.entry)
    assert index_windows(with_context(None), path, 1, options) == [0]
    assert index_windows(with_context(CONTEXT_TOKENS), path, 2, options) == [0, 1]


@pytest.fixture(params=[pytest.param("half unknown", marks=pytest.mark.slow), "half damaged"])
def difficult_path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A video of which the second half is unlike what the checkpoint was trained on, or cannot be decoded."""
    options: dict[str, object] = {"movflags": "+faststart", "g": 5}
    path = render(tmp_path / "first.mp4", EVENTS[:3], DURATION_S, fps=5, output_options=options)
    if request.param == "half damaged":
        data = path.read_bytes()
        middle = (data.index(b"mdat") + len(data)) // 2
        path.write_bytes(data[:middle] + bytes(len(data) - middle))
        return path
    video, mixed = probe(path), tmp_path / "mixed.mp4"
    source = f"testsrc2=size={video.width}x{video.height}:rate=5:duration={DURATION_S / 2}"
    cut = f"[0:v]trim=end={DURATION_S / 2},setpts=PTS-STARTPTS,setsar=1[first];[first][1:v]concat=n=2:v=1"
    run_ffmpeg("-i", str(path), "-f", "lavfi", "-i", source, "-filter_complex", cut, "-pix_fmt", "yuv420p", str(mixed))
    return mixed


def test_windows_without_captions_do_not_change_the_result(difficult_path: Path, tmp_path: Path) -> None:
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    positions, result = index_rest(open_library(whole, **NO_CHECKS), difficult_path)
    track = result.entry.track("captions")
    assert track is not None and track.status == "complete" and track.uncovered and track.segment_count
    count = len(positions) - 1
    assert index_windows(open_library(resumed, **NO_CHECKS), difficult_path, count) == positions[:count]
    assert index_rest(open_library(resumed, **NO_CHECKS), difficult_path)[0] == positions[count:]
    assert contents(resumed) == contents(whole)


def test_a_declined_video_leaves_no_windows(tmp_path: Path) -> None:
    path = tmp_path / "unknown.mp4"
    run_ffmpeg("-f", "lavfi", "-i", "testsrc2=size=160x96:rate=5:duration=60", "-pix_fmt", "yuv420p", str(path))
    app = open_library(tmp_path / "library")
    assert index_windows(app, path, 1) == [0]
    assert app.videos() == () and len(window_rows(tmp_path / "library")) == 1
    positions, result = index_rest(open_library(tmp_path / "library"), path)
    assert positions == [1] and result.reports[0].status == "declined"
    assert window_rows(tmp_path / "library") == []


KILLED = """
import os, signal, sys
from pathlib import Path
from longview.model.tasks.events import PartialResult
from tests.app.ingest.test_caption_resume import OPTIONS, open_library
for event in open_library(Path(sys.argv[1])).index(Path(sys.argv[2]), OPTIONS):
    if isinstance(event, PartialResult) and event.value.position == 1:
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_a_killed_run_resumes(tmp_path: Path, path: Path, whole: tuple[Path, IndexResult]) -> None:
    killed = run_script(KILLED, tmp_path, path)
    assert killed.returncode == -signal.SIGKILL
    count = len(window_rows(tmp_path))
    assert count >= 2
    # The captions so far are searchable.
    app = open_library(tmp_path)
    (entry,) = app.videos()
    assert entry.track("captions").status == "incomplete"  # type: ignore[union-attr]
    assert app.search(EVENTS[0].text).result().moments
    positions, _ = index_rest(app, path)
    assert positions == [*range(count, WINDOWS)]
    assert contents(tmp_path) == contents(whole[0])


@pytest.mark.parametrize(
    ("column", "change"),
    [
        ("content", lambda content: "no JSON"),
        ("content", lambda content: content[: len(content) // 2]),
        ("content", lambda content: content.replace('"position":1', '"position":2')),
        ("content", lambda content: content.replace('"is_readable":true', '"is_readable":"yes"')),
        ("content", lambda content: content.replace('"frames":', '"frames":-')),
        ("content", lambda content: content.encode()[:-1] + b"\xff}"),
        ("content", lambda content: _with_event(content, -5.0, 3.0)),
        ("content", lambda content: _with_event(content, 7.0, 3.0)),
        ("content", lambda content: _with_event(content, 7.0, 1e6)),
        ("content", lambda content: content.replace('"end_s":', '"end_s":1', 1)),
        ("content", lambda content: 17),
        ("run", lambda run: run.replace("{", "[", 1)),
        ("run", lambda run: "{}"),
        ("run", lambda run: run.replace('"plan_digest":"', '"plan_digest":"0')),
        ("run", lambda run: run.replace('"context_tokens":2600,"shot', '"context_tokens":-1,"shot')),
    ],
)
def test_a_damaged_row_is_ignored(
    runtime: Runtime, interrupted: Path, tmp_path: Path, path: Path, column: str, change: Any
) -> None:
    folder = Path(shutil.copytree(interrupted, tmp_path / "library"))
    with closing(sqlite3.connect(folder / DATABASE)) as db, db:
        ((value,),) = db.execute(f"SELECT {column} FROM caption_windows WHERE position = 1").fetchall()
        assert change(value) != value
        db.execute(f"UPDATE caption_windows SET {column} = CAST(? AS TEXT) WHERE position = 1", (change(value),))
    library, video = Library(folder), probe(path)
    (entry,) = library.videos()
    span = Span(0.0, video.duration_s)
    look = MediaLook(runtime.decoder, video, span)
    job = SourceJob(entry, video, span, is_requested=True, file=WatchedFile(path), look=look, context_tokens=CONTEXT_TOKENS)
    run = find_run(library, runtime, job, NO_PROGRESS)
    assert [window.position for window in run.finished] == [0]


def test_a_window_with_a_damaged_row_is_captioned_again(interrupted: Path, tmp_path: Path, path: Path) -> None:
    folder = Path(shutil.copytree(interrupted, tmp_path / "library"))
    before = window_rows(folder)
    with closing(sqlite3.connect(folder / DATABASE)) as db, db:
        db.execute("UPDATE caption_windows SET content = '{}' WHERE position = 1")
    assert index_windows(open_library(folder), path, 1) == [1]
    assert [without_seconds(row) for row in window_rows(folder)] == [without_seconds(row) for row in before]


def test_a_recovered_database_resumes(interrupted: Path, tmp_path: Path, path: Path, whole: tuple[Path, IndexResult]) -> None:
    folder = Path(shutil.copytree(interrupted, tmp_path / "library"))
    with (folder / DATABASE).open("r+b") as file:
        file.write(bytes(100))
    recover(folder / DATABASE)
    assert database_problems(folder) == []
    assert [row[0] for row in window_rows(folder)] == [0, 1]
    positions, _ = index_rest(open_library(folder), path)
    assert positions == [2]
    assert contents(folder)["segments"] == contents(whole[0])["segments"]


def without_seconds(row: tuple[Any, ...]) -> tuple[Any, ...]:
    position, run, content = row
    return position, run, json.loads(content)["window"]


def _with_event(content: str, start_s: float, end_s: float) -> str:
    fields = json.loads(content)
    fields["window"]["events"].append({"span": {"start_s": start_s, "end_s": end_s}, "text": "An event."})
    return json.dumps(fields)
