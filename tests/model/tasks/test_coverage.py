"""What could not be looked at is said, never passed off as "not there"."""

from pathlib import Path

import pytest

from longview.app.service import Longview
from longview.app.settings import Settings
from longview.model.demo import prober_for
from longview.model.engine.local import LocalEngine
from longview.model.engine.sessions import SessionPool
from longview.model.tasks.captioner import caption
from longview.model.tasks.localizer import locate
from longview.video.decoder import Decoder
from longview.video.probe import VideoInfo, probe
from longview.video.synthetic import ShapesEvent, render

EVENTS = (ShapesEvent(1, 6, "red", "circle", "moves up"), ShapesEvent(13, 19, "blue", "star", "grows"))
DURATION_S = 20.0


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MP4 with its index at the front, so that the first part of it plays alone."""
    folder = tmp_path_factory.mktemp("cut")
    options: dict[str, object] = {"movflags": "+faststart", "g": 25}
    return render(folder / "whole.mp4", EVENTS, DURATION_S, output_options=options)


@pytest.fixture(scope="module")
def cut(whole: Path) -> VideoInfo:
    data = whole.read_bytes()
    target = whole.with_name("cut.mp4")
    target.write_bytes(data[: int(len(data) * 0.55)])
    return probe(target)


@pytest.fixture
def pool(engine: LocalEngine, decoder: Decoder) -> SessionPool:
    return SessionPool(engine, decoder, memory_bytes=1 << 28)


def test_a_whole_file_is_seen_to_its_end(pool: SessionPool, whole: Path) -> None:
    result = locate(pool, prober_for(pool.engine.checkpoint), probe(whole), "a white ring")
    assert result.occurrences == ()
    assert result.coverage.uncovered == ()
    assert result.coverage.seconds == pytest.approx(DURATION_S, abs=0.1)


def test_the_missing_part_of_a_cut_off_file_is_said_to_be_unseen(pool: SessionPool, cut: VideoInfo) -> None:
    assert cut.duration_s == pytest.approx(DURATION_S, abs=0.1)
    last_s = max(
        float(chunk.times_s[-1])
        for chunk in pool.decoder.frames_played_at(cut, [index / 25 for index in range(500)], 64, 96)
        if len(chunk)
    )
    assert last_s < 16
    result = locate(pool, prober_for(pool.engine.checkpoint), cut, "a blue star grows")
    (unseen,) = result.coverage.uncovered
    # Between the last picture and the next time that was wanted, half a second later at most.
    assert last_s <= unseen.start_s <= last_s + 0.5
    assert unseen.end_s == pytest.approx(DURATION_S, abs=0.1)
    assert result.coverage.seconds == pytest.approx(unseen.start_s, abs=0.01)
    assert "Could not be looked at" in str(result.coverage)
    assert caption(pool, prober_for(pool.engine.checkpoint), cut, pool.planner.plan(cut, "caption")).coverage.uncovered == (
        unseen,
    )


def test_a_picture_that_stands_still_counts_as_seen(pool: SessionPool, tmp_path: Path) -> None:
    slow = render(tmp_path / "slow.mp4", EVENTS, DURATION_S, fps=0.2)
    assert locate(pool, prober_for(pool.engine.checkpoint), probe(slow), "a white ring").coverage.uncovered == ()


def test_the_library_keeps_what_is_missing_and_finds_a_renamed_original(cut: VideoInfo, whole: Path, tmp_path: Path) -> None:
    app = Longview(Settings(library=tmp_path / "home", model="demo", device="cpu", cpu_threads=1))
    assert app.index(cut.path).entry.incomplete[0].end_s == pytest.approx(DURATION_S, abs=0.1)
    first = tmp_path / "first.mp4"
    first.write_bytes(whole.read_bytes())
    entry = app.index(first).entry
    second = first.rename(tmp_path / "second.mp4")
    assert app.video(str(second)).path == second
    assert app.locate(app.library.video(entry.video_id), EVENTS[0].text).occurrences


def test_windows_that_cannot_be_read_do_not_cost_the_others(pool: SessionPool, tmp_path: Path) -> None:
    early = ShapesEvent(5, 11, "red", "circle", "moves up")
    options: dict[str, object] = {"movflags": "+faststart", "g": 25}
    whole = render(tmp_path / "whole.mp4", [early, ShapesEvent(130, 136, "blue", "star", "grows")], 150.0, output_options=options)
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * 0.35)])
    video = probe(cut)
    plan = pool.planner.plan(video, "caption")
    assert len(plan.windows) >= 3
    captions = caption(pool, prober_for(pool.engine.checkpoint), video, plan)
    assert [event.text for event in captions.events] == [early.text]
    assert captions.coverage.uncovered[-1].end_s == pytest.approx(150.0, abs=0.1)
    result = locate(pool, prober_for(pool.engine.checkpoint), video, "red circle")
    assert [item.span.iou(early.event.span) > 0.8 for item in result.occurrences] == [True]
    assert result.coverage.uncovered == captions.coverage.uncovered
