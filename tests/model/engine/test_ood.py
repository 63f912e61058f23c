"""Footage of another world than the bundled checkpoint's: known as such, and declined instead of told inventions."""

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont
from safetensors.torch import save_file

from longview.app.service import Longview
from longview.app.settings import Settings
from longview.model.engine.checkpoints import DEMO, OOD_DETECTOR_FILE, find_checkpoint
from longview.model.engine.local import LocalEngine, LocalSession
from longview.model.engine.ood import load_ood_detector
from longview.model.engine.sessions import SessionPool
from longview.model.errors import InvalidCheckpoint, OutOfDistribution
from longview.model.tasks.answerer import VideoAnswerStream
from longview.model.tasks.captioner import caption
from longview.model.tasks.localizer import locate
from longview.video.decoder import Decoder, TimedFrames
from longview.video.probe import VideoInfo, probe
from longview.video.synthetic import COLORS, SHAPES, ShapesEvent, background, draw, render
from longview.video.timeline import Span
from tests.barcodes import run_ffmpeg

EVENTS = (ShapesEvent(1.0, 6.0, "red", "circle", "moves up"), ShapesEvent(7.5, 11.0, "white", "ring", "stays still"))
STRANGE = ("testsrc2", "mandelbrot", "smptebars")
HALF_S = 66.0


def made(target: Path, source: str, *, seconds: float = 6.0) -> Path:
    """One of FFmpeg's own sources."""
    run_ffmpeg("-f", "lavfi", "-i", f"{source}=s=320x192:r=5", "-t", f"{seconds}", "-pix_fmt", "yuv420p", str(target))
    return target


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("familiarity")


@pytest.fixture(scope="module")
def strange(folder: Path) -> Path:
    return made(folder / "strange.mp4", "mandelbrot", seconds=10.0)


@pytest.fixture(scope="module")
def pool(engine: LocalEngine, decoder: Decoder) -> SessionPool:
    return SessionPool(engine, decoder, memory_bytes=1 << 30)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Longview:
    return Longview(Settings(library=tmp_path_factory.mktemp("home"), model="demo", device="cpu", cpu_threads=1))


def judged(pool: SessionPool, video: VideoInfo) -> list[bool]:
    """Of each way to look at it, whether its first window is unfamiliar."""
    plans = [pool.plan(video, purpose) for purpose in ("watch", "caption", "look")]
    return [pool.session(video, plan, plan.windows[0]).is_out_of_distribution for plan in plans]


@pytest.mark.parametrize(("width", "height", "crf", "noise"), [(320, 192, 20, 0), (426, 240, 30, 0), (96, 160, 20, 6)])
def test_the_checkpoints_own_world_is_familiar(
    pool: SessionPool, tmp_path: Path, width: int, height: int, crf: int, noise: int
) -> None:
    options: dict[str, object] = {"crf": crf} | ({"vf": f"noise=alls={noise}:allf=t"} if noise else {})
    path = tmp_path / "shapes.mp4"
    render(path, EVENTS, 12.0, width=width, height=height, fps=5, seed=width, output_options=options)
    assert judged(pool, probe(path)) == [False] * 3


@pytest.mark.parametrize("seed", range(3))
def test_a_plain_background_without_shapes_is_familiar(pool: SessionPool, tmp_path: Path, seed: int) -> None:
    assert judged(pool, probe(render(tmp_path / "empty.mp4", (), 4.0, fps=5, seed=seed))) == [False] * 3


def test_single_patches_of_every_shape_in_every_colour_are_familiar(engine: LocalEngine) -> None:
    """A star that stands still for a minute may be all that there is to see."""
    wrong = []
    for number, (color, shape) in enumerate((color, shape) for color in COLORS for shape in SHAPES):
        frame = draw([ShapesEvent(0, 9, color, shape, "stays still")], 1.0, background(96, 160, seed=number))
        session = engine.open_session(
            [TimedFrames(np.stack([frame, frame]), np.array([1.0, 1.5]))], Span(1, 2), capacity_tokens=256
        )
        wrong += [f"{color} {shape}"] if session.is_out_of_distribution else []
    # The border is where one in 200 falls short of it.
    assert len(wrong) <= 2, wrong


@pytest.mark.parametrize("source", STRANGE)
def test_other_pictures_are_not(pool: SessionPool, tmp_path: Path, source: str) -> None:
    assert judged(pool, probe(made(tmp_path / "other.mp4", source))) == [True] * 3


def test_a_screen_of_text_is_not(engine: LocalEngine) -> None:
    image = Image.new("RGB", (224, 128), (20, 24, 40))
    for row in range(8):
        words = f"{row}: the quick brown fox jumps over"
        ImageDraw.Draw(image).text((6, row * 15 + 4), words, fill=(230, 230, 220), font=ImageFont.load_default(12))
    frames = TimedFrames(np.repeat(np.asarray(image)[None], 4, axis=0), np.arange(4) / 2.0)
    assert engine.open_session([frames], Span(0, 2), capacity_tokens=1024).is_out_of_distribution


def test_how_a_window_is_read_does_not_change_how_familiar_it_is(
    engine: LocalEngine, decoder: Decoder, shapes_video: VideoInfo
) -> None:
    [chunk] = list(decoder.frames_played_at(shapes_video, [index / 2 for index in range(12)], 96, 160))
    pieces = [TimedFrames(chunk.frames[part : part + 2], chunk.times_s[part : part + 2]) for part in range(0, 12, 2)]
    whole, pieced = (engine.open_session(frames, Span(0, 6), capacity_tokens=1024) for frames in ([chunk], pieces))
    assert isinstance(whole, LocalSession) and whole.ood_score is not None and whole.ood_score > 0
    assert whole.ood_score == pytest.approx(pieced.ood_score, abs=1e-3)


def test_one_patch_is_enough(engine: LocalEngine, decoder: Decoder, shapes_video: VideoInfo, strange: Path) -> None:
    for video, unfamiliar in ((shapes_video, False), (probe(strange), True)):
        frames = decoder.frames_played_at(video, [4.0], 96, 160)
        assert engine.open_session(frames, Span(4.0, 4.5), capacity_tokens=1024).is_out_of_distribution is unfamiliar


def test_indexing_it_succeeds_without_captions_and_says_why(
    app: Longview, strange: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        entry = app.index(strange).entry
    assert app.captions(entry) == () and entry.caption_count == 0
    [span] = entry.incomplete
    assert span.start_s == 0.0 and span.end_s == pytest.approx(10.0)
    assert "never seen footage like this" in caplog.text and "coloured shapes" in caplog.text


def test_searching_and_asking_it_are_declined(app: Longview, strange: Path) -> None:
    entry = app.index(strange).entry
    with pytest.raises(OutOfDistribution, match="coloured shapes"):
        app.locate(entry, "red circle")
    for question in ("What happens at 2 seconds?", "When does the red circle appear?", "What happens between 2 and 8 seconds?"):
        with pytest.raises(OutOfDistribution):
            list(app.ask([entry], question))


def test_one_strange_video_does_not_keep_others_from_answering(app: Longview, strange: Path, shapes_path: Path) -> None:
    shapes = app.index(shapes_path, end_s=8.0).entry
    asking = app.ask([app.index(strange).entry, shapes], "What happens at 4 seconds?")
    text = "".join(asking)
    assert "never seen footage like this" in text and "red circle" in text
    assert {item.video_id for item in asking.answer.citations} == {shapes.video_id}


@pytest.fixture(scope="module")
def half(folder: Path) -> VideoInfo:
    """66 seconds of shapes, then as many of something else."""
    events = [ShapesEvent(5, 12, "red", "circle", "moves up"), ShapesEvent(30, 38, "cyan", "star", "grows")]
    shapes = render(folder / "shapes.mp4", events, HALF_S, fps=5)
    other = made(folder / "other.mp4", "testsrc2", seconds=HALF_S)
    joined = folder / "half.mp4"
    run_ffmpeg("-i", str(shapes), "-i", str(other), "-filter_complex", "concat=n=2:v=1", "-pix_fmt", "yuv420p", str(joined))
    return probe(joined)


def test_of_a_video_that_is_half_strange_that_half_is_unseen(pool: SessionPool, half: VideoInfo) -> None:
    plan = pool.plan(half, "caption")
    captions = caption(pool, half, plan)
    assert [event.text for event in captions.events] == ["A red circle moves up.", "A cyan star grows."]
    assert captions.out_of_distribution and all(span.overlap_s(Span(HALF_S, 200)) > 20 for span in captions.out_of_distribution)
    [unseen] = captions.coverage.uncovered
    assert unseen.end_s == pytest.approx(half.duration_s) and abs(unseen.start_s - HALF_S) < 30


def test_in_a_video_that_is_half_strange_the_other_half_is_searched(pool: SessionPool, half: VideoInfo) -> None:
    result = locate(pool, half, "cyan star")
    assert [found.span.iou(Span(30, 38)) > 0.8 for found in result.occurrences] == [True]
    assert result.coverage.uncovered and "Could not be looked at" in str(result.coverage)


def test_what_happens_in_its_strange_half_is_declined(pool: SessionPool, half: VideoInfo) -> None:
    with pytest.raises(OutOfDistribution):
        list(VideoAnswerStream(pool, half, "What happens between 90 and 100 seconds?"))
    assert "red circle" in "".join(VideoAnswerStream(pool, half, "What happens between 5 and 12 seconds?"))


def test_a_checkpoint_without_the_file_is_familiar_with_everything(tmp_path: Path, strange: Path, decoder: Decoder) -> None:
    shutil.copytree(DEMO, tmp_path / "plain", ignore=shutil.ignore_patterns(OOD_DETECTOR_FILE))
    engine = LocalEngine(find_checkpoint(str(tmp_path / "plain")), device="cpu", cpu_threads=1)
    session = engine.open_session(decoder.frames_played_at(probe(strange), [1.0, 2.0], 96, 160), Span(1, 3), capacity_tokens=1024)
    assert session.ood_score is None and not session.is_out_of_distribution


def test_the_file_is_not_taken_for_weights_and_is_part_of_what_made_a_result(tmp_path: Path) -> None:
    shutil.copytree(DEMO, tmp_path / "plain", ignore=shutil.ignore_patterns(OOD_DETECTOR_FILE))
    with_file, without = find_checkpoint("demo"), find_checkpoint(str(tmp_path / "plain"))
    assert with_file.weight_bytes == without.weight_bytes and with_file.fingerprint != without.fingerprint
    (tmp_path / "plain" / "model.safetensors").rename(tmp_path / "plain" / OOD_DETECTOR_FILE)
    with pytest.raises(InvalidCheckpoint, match="weights"):
        find_checkpoint(str(tmp_path / "plain"))


@pytest.mark.parametrize("damage", ["no safetensors", "other tensors"])
def test_a_damaged_file_is_said(tmp_path: Path, damage: str) -> None:
    copy = Path(shutil.copytree(DEMO, tmp_path / "damaged"))
    if damage == "no safetensors":
        (copy / OOD_DETECTOR_FILE).write_bytes(b"nothing of the kind")
    else:
        save_file({"mean": torch.zeros(3)}, copy / OOD_DETECTOR_FILE)
    with pytest.raises(InvalidCheckpoint, match="familiar"):
        load_ood_detector(find_checkpoint(str(copy)), "cpu")
