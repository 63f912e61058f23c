"""Uncovered parts of a video are reported; they do not count as searched."""

from pathlib import Path

import pytest

from longview.app.service import Longview
from longview.app.settings import Settings
from longview.model.engine.sessions import SessionPool
from longview.model.tasks.captioner import caption
from longview.model.tasks.context import TaskContext
from longview.model.tasks.events import run_to_end
from longview.model.tasks.localizer import locate
from longview.model.tasks.verifier import Verifier
from longview.video.probing.probe import VideoInfo, probe
from longview.video.synthetic import ShapesEvent, render
from tests.support.fakes import CAPTION_CHECKS, LOCATE_CHECKS

EVENTS = (ShapesEvent(1, 6, "red", "circle", "moves up"), ShapesEvent(13, 19, "blue", "star", "grows"))
DURATION_S = 20.0


@pytest.fixture(scope="module")
def complete_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MP4 with its index at the front, so that its beginning alone is playable."""
    folder = tmp_path_factory.mktemp("truncated")
    options: dict[str, object] = {"movflags": "+faststart", "g": 25}
    return render(folder / "complete.mp4", EVENTS, DURATION_S, output_options=options)


@pytest.fixture(scope="module")
def truncated_video(complete_path: Path) -> VideoInfo:
    data = complete_path.read_bytes()
    target = complete_path.with_name("truncated.mp4")
    target.write_bytes(data[: int(len(data) * 0.55)])
    return probe(target)


def test_complete_file_is_covered_to_its_end(pool: SessionPool, verifier: Verifier, complete_path: Path) -> None:
    result = locate(TaskContext(pool, verifier, probe(complete_path)), "a white ring", LOCATE_CHECKS)
    assert result.occurrences == ()
    assert result.coverage.uncovered == ()
    assert result.coverage.seconds == pytest.approx(DURATION_S, abs=0.1)


def test_missing_part_of_a_truncated_file_is_uncovered(pool: SessionPool, verifier: Verifier, truncated_video: VideoInfo) -> None:
    assert truncated_video.duration_s == pytest.approx(DURATION_S, abs=0.1)
    last_s = max(
        float(chunk.times_s[-1])
        for chunk in pool.decoder.frames_played_at(truncated_video, [index / 25 for index in range(500)], 64, 96)
        if len(chunk)
    )
    assert last_s < 16
    result = locate(TaskContext(pool, verifier, truncated_video), "a blue star grows", LOCATE_CHECKS)
    (uncovered,) = result.coverage.uncovered
    # It begins between the last frame and the next requested time, which is at most half a second later.
    assert last_s <= uncovered.start_s <= last_s + 0.5
    assert uncovered.end_s == pytest.approx(DURATION_S, abs=0.1)
    assert result.coverage.seconds == pytest.approx(uncovered.start_s, abs=0.01)
    assert "could not be searched" in str(result.coverage)
    plan = pool.planner.plan(truncated_video, "caption")
    captions = run_to_end(caption(TaskContext(pool, verifier, truncated_video), plan, CAPTION_CHECKS))
    assert captions.coverage.uncovered == (uncovered,)


def test_static_frames_are_covered(pool: SessionPool, verifier: Verifier, tmp_path: Path) -> None:
    slow = render(tmp_path / "slow.mp4", EVENTS, DURATION_S, fps=0.2)
    assert locate(TaskContext(pool, verifier, probe(slow)), "a white ring", LOCATE_CHECKS).coverage.uncovered == ()


def test_library_stores_uncovered_spans_and_finds_renamed_files(
    truncated_video: VideoInfo, complete_path: Path, tmp_path: Path
) -> None:
    app = Longview(Settings(library=tmp_path / "library", model="demo", device="cpu", cpu_threads=1))
    track = app.index(truncated_video.path).result().entry.track("captions")
    assert track is not None and track.status == "complete"
    assert track.uncovered[0].end_s == pytest.approx(DURATION_S, abs=0.1)
    first = tmp_path / "first.mp4"
    first.write_bytes(complete_path.read_bytes())
    entry = app.index(first).result().entry
    second = first.rename(tmp_path / "second.mp4")
    assert app.video(str(second)).path == second
    assert app.locate(app.parts.library.video(entry.video_id), EVENTS[0].text).result().occurrences


@pytest.mark.slow
def test_undecodable_windows_do_not_affect_the_others(pool: SessionPool, verifier: Verifier, tmp_path: Path) -> None:
    early = ShapesEvent(5, 11, "red", "circle", "moves up")
    options: dict[str, object] = {"movflags": "+faststart", "g": 25}
    events = [early, ShapesEvent(130, 136, "blue", "star", "grows")]
    complete = render(tmp_path / "complete.mp4", events, 150.0, output_options=options)
    truncated = tmp_path / "truncated.mp4"
    truncated.write_bytes(complete.read_bytes()[: int(complete.stat().st_size * 0.35)])
    video = probe(truncated)
    plan = pool.planner.plan(video, "caption")
    assert len(plan.windows) >= 3
    captions = run_to_end(caption(TaskContext(pool, verifier, video), plan, CAPTION_CHECKS))
    assert [event.text for event in captions.events] == [early.text]
    assert captions.coverage.uncovered[-1].end_s == pytest.approx(150.0, abs=0.1)
    result = locate(TaskContext(pool, verifier, video), "red circle", LOCATE_CHECKS)
    assert [item.span.iou(early.event.span) > 0.8 for item in result.occurrences] == [True]
    assert result.coverage.uncovered == captions.coverage.uncovered
