"""Out-of-distribution footage: the detector rejects it, and the tasks decline it instead of inventing replies."""

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont
from safetensors.torch import save_file

from longview.app.ingest.options import IndexOptions
from longview.app.service import Longview
from longview.app.settings import Settings
from longview.core.timeline import Span
from longview.model.engine.base import WindowRequest
from longview.model.engine.checkpoints.checkpoints import DEMO, OOD_DETECTOR_FILE, OOD_DETECTOR_FOLDER, find_checkpoint
from longview.model.engine.execution.ood import load_ood_detector
from longview.model.engine.local import LocalEngine
from longview.model.engine.local_session import LocalSession
from longview.model.engine.sessions import SessionPool
from longview.model.errors import InvalidCheckpoint, OutOfDistribution
from longview.model.tasks.answerer import answer_question
from longview.model.tasks.captioner import caption
from longview.model.tasks.context import TaskContext
from longview.model.tasks.events import run_to_end
from longview.model.tasks.localizer import locate
from longview.model.tasks.question import Question
from longview.model.verifiers import verifier_for
from longview.video.decoding.decoder import Decoder, TimedFrames
from longview.video.probing.probe import VideoInfo, probe
from longview.video.synthetic import COLORS, SHAPES, ShapesEvent, background, draw, render
from tests.support.barcodes import run_ffmpeg
from tests.support.fakes import ANSWER_CHECKS, CAPTION_CHECKS, LOCATE_CHECKS

EVENTS = (ShapesEvent(1.0, 6.0, "red", "circle", "moves up"), ShapesEvent(7.5, 11.0, "white", "ring", "stays still"))
CAPTIONS_ONLY = IndexOptions(sources=("captions",))
OOD_SOURCES = ("testsrc2", "mandelbrot", "smptebars")
SHAPES_S = 66.0
"""Length of the in-distribution half of a mixed video, in seconds."""


def render_source(target: Path, source: str, *, seconds: float = 6.0) -> Path:
    """Render one of the test sources of FFmpeg."""
    run_ffmpeg("-f", "lavfi", "-i", f"{source}=s=320x192:r=5", "-t", f"{seconds}", "-pix_fmt", "yuv420p", str(target))
    return target


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ood")


@pytest.fixture(scope="module")
def ood_path(folder: Path) -> Path:
    return render_source(folder / "ood.mp4", "mandelbrot", seconds=10.0)


@pytest.fixture(scope="module")
def pool(engine: LocalEngine, decoder: Decoder) -> SessionPool:
    return SessionPool(engine, decoder, memory_bytes=1 << 30)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Longview:
    return Longview(Settings(library=tmp_path_factory.mktemp("library"), model="demo", device="cpu", cpu_threads=1))


def ood_flags(pool: SessionPool, video: VideoInfo) -> list[bool]:
    """Whether the first window is out-of-distribution, for each sampling purpose."""
    plans = [pool.planner.plan(video, purpose) for purpose in ("qa", "caption", "refine")]
    return [pool.session(video, plan, plan.windows[0]).is_out_of_distribution for plan in plans]


@pytest.mark.parametrize(("width", "height", "crf", "noise"), [(320, 192, 20, 0), (426, 240, 30, 0), (96, 160, 20, 6)])
def test_rendered_shapes_are_in_distribution(
    pool: SessionPool, tmp_path: Path, width: int, height: int, crf: int, noise: int
) -> None:
    options: dict[str, object] = {"crf": crf} | ({"vf": f"noise=alls={noise}:allf=t"} if noise else {})
    path = tmp_path / "shapes.mp4"
    render(path, EVENTS, 12.0, width=width, height=height, fps=5, seed=width, output_options=options)
    assert ood_flags(pool, probe(path)) == [False] * 3


@pytest.mark.parametrize("seed", range(3))
def test_background_without_shapes_is_in_distribution(pool: SessionPool, tmp_path: Path, seed: int) -> None:
    assert ood_flags(pool, probe(render(tmp_path / "empty.mp4", (), 4.0, fps=5, seed=seed))) == [False] * 3


def test_single_patches_of_all_shapes_are_in_distribution(engine: LocalEngine) -> None:
    """A window may contain a single shape that does not move."""
    rejected = []
    for number, (color, shape) in enumerate((color, shape) for color in COLORS for shape in SHAPES):
        frame = draw([ShapesEvent(0, 9, color, shape, "stays still")], 1.0, background(96, 160, seed=number))
        session = engine.open_session(
            [TimedFrames(np.stack([frame, frame]), np.array([1.0, 1.5]))], WindowRequest(Span(1, 2), capacity_tokens=256)
        )
        rejected += [f"{color} {shape}"] if session.is_out_of_distribution else []
    # The threshold rejects one in 200 in-distribution patches.
    assert len(rejected) <= 2, rejected


@pytest.mark.parametrize("source", OOD_SOURCES)
def test_ffmpeg_sources_are_out_of_distribution(pool: SessionPool, tmp_path: Path, source: str) -> None:
    assert ood_flags(pool, probe(render_source(tmp_path / "other.mp4", source))) == [True] * 3


def test_screen_of_text_is_out_of_distribution(engine: LocalEngine) -> None:
    image = Image.new("RGB", (224, 128), (20, 24, 40))
    for row in range(8):
        words = f"{row}: the quick brown fox jumps over"
        ImageDraw.Draw(image).text((6, row * 15 + 4), words, fill=(230, 230, 220), font=ImageFont.load_default(12))
    frames = TimedFrames(np.repeat(np.asarray(image)[None], 4, axis=0), np.arange(4) / 2.0)
    assert engine.open_session([frames], WindowRequest(Span(0, 2), capacity_tokens=1024)).is_out_of_distribution


def test_chunking_does_not_change_the_score(engine: LocalEngine, decoder: Decoder, shapes_video: VideoInfo) -> None:
    [chunk] = list(decoder.frames_played_at(shapes_video, [index / 2 for index in range(12)], 96, 160))
    chunks = [TimedFrames(chunk.frames[start : start + 2], chunk.times_s[start : start + 2]) for start in range(0, 12, 2)]
    single, chunked = (
        engine.open_session(frames, WindowRequest(Span(0, 6), capacity_tokens=1024)) for frames in ([chunk], chunks)
    )
    assert isinstance(single, LocalSession) and single.ood_score is not None and single.ood_score > 0
    assert single.ood_score == pytest.approx(chunked.ood_score, abs=1e-3)


def test_one_patch_is_enough_for_a_decision(
    engine: LocalEngine, decoder: Decoder, shapes_video: VideoInfo, ood_path: Path
) -> None:
    for video, is_ood in ((shapes_video, False), (probe(ood_path), True)):
        frames = decoder.frames_played_at(video, [4.0], 96, 160)
        assert engine.open_session(frames, WindowRequest(Span(4.0, 4.5), capacity_tokens=1024)).is_out_of_distribution is is_ood


def test_indexing_gives_no_captions_and_logs_the_reason(app: Longview, ood_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        result = app.index(ood_path, CAPTIONS_ONLY).result()
    assert app.segments(result.entry) == () and result.entry.caption_count == 0
    report, track = result.report("captions"), result.entry.track("captions")
    assert report is not None and track is not None and report.status == track.status == "declined"
    assert report.reason == track.note == "the demo checkpoint cannot caption this kind of video"
    [span] = track.uncovered
    assert span.start_s == 0.0 and span.end_s == pytest.approx(10.0)
    assert "because the checkpoint demo cannot caption this kind of video" in caplog.text


def test_locate_and_ask_are_declined(app: Longview, ood_path: Path) -> None:
    entry = app.index(ood_path, CAPTIONS_ONLY).result().entry
    with pytest.raises(OutOfDistribution, match="unlike anything the checkpoint was trained on"):
        app.locate(entry, "red circle").result()
    for question in ("What happens at 2 seconds?", "When does the red circle appear?", "What happens between 2 and 8 seconds?"):
        with pytest.raises(OutOfDistribution):
            app.ask([entry], question).result()


def test_ask_still_answers_from_other_videos(app: Longview, ood_path: Path, shapes_path: Path) -> None:
    shapes = app.index(shapes_path, IndexOptions(end_s=8.0, sources=("captions",))).result().entry
    answer = app.ask([app.index(ood_path, CAPTIONS_ONLY).result().entry, shapes], "What happens at 4 seconds?").result()
    assert "unlike anything the checkpoint was trained on" in answer.text and "red circle" in answer.text
    assert {item.video_id for item in answer.citations} == {shapes.video_id}


@pytest.fixture(scope="module")
def mixed_video(folder: Path) -> VideoInfo:
    """66 seconds of shapes, then 66 seconds of out-of-distribution footage."""
    events = [ShapesEvent(5, 12, "red", "circle", "moves up"), ShapesEvent(30, 38, "cyan", "star", "grows")]
    shapes = render(folder / "shapes.mp4", events, SHAPES_S, fps=5)
    other = render_source(folder / "other.mp4", "testsrc2", seconds=SHAPES_S)
    mixed = folder / "mixed.mp4"
    run_ffmpeg("-i", str(shapes), "-i", str(other), "-filter_complex", "concat=n=2:v=1", "-pix_fmt", "yuv420p", str(mixed))
    return probe(mixed)


def test_out_of_distribution_half_is_uncovered(pool: SessionPool, mixed_video: VideoInfo) -> None:
    plan = pool.planner.plan(mixed_video, "caption")
    captions = run_to_end(caption(TaskContext(pool, verifier_for(pool.engine.checkpoint), mixed_video), plan, CAPTION_CHECKS))
    assert [event.text for event in captions.events] == ["A red circle moves up.", "A cyan star grows."]
    assert captions.out_of_distribution and all(span.overlap_s(Span(SHAPES_S, 200)) > 20 for span in captions.out_of_distribution)
    [uncovered_span] = captions.coverage.uncovered
    assert uncovered_span.end_s == pytest.approx(mixed_video.duration_s) and abs(uncovered_span.start_s - SHAPES_S) < 30


def test_in_distribution_half_is_searched(pool: SessionPool, mixed_video: VideoInfo) -> None:
    result = locate(TaskContext(pool, verifier_for(pool.engine.checkpoint), mixed_video), "cyan star", LOCATE_CHECKS)
    assert [occurrence.span.iou(Span(30, 38)) > 0.8 for occurrence in result.occurrences] == [True]
    assert result.coverage.uncovered and "could not be searched" in str(result.coverage)


def test_question_about_the_other_half_is_declined(pool: SessionPool, mixed_video: VideoInfo) -> None:
    verifier = verifier_for(pool.engine.checkpoint)
    other, shapes = (f"What happens between {range_text} seconds?" for range_text in ("90 and 100", "5 and 12"))
    with pytest.raises(OutOfDistribution):
        run_to_end(answer_question(TaskContext(pool, verifier, mixed_video), Question(other), ANSWER_CHECKS))
    assert (
        "red circle"
        in run_to_end(answer_question(TaskContext(pool, verifier, mixed_video), Question(shapes), ANSWER_CHECKS)).text
    )


def test_checkpoint_without_a_detector_accepts_all_footage(tmp_path: Path, ood_path: Path, decoder: Decoder) -> None:
    shutil.copytree(DEMO, tmp_path / "bare", ignore=shutil.ignore_patterns(OOD_DETECTOR_FILE))
    engine = LocalEngine(find_checkpoint(str(tmp_path / "bare")), device="cpu", cpu_threads=1)
    session = engine.open_session(
        decoder.frames_played_at(probe(ood_path), [1.0, 2.0], 96, 160), WindowRequest(Span(1, 3), capacity_tokens=1024)
    )
    assert session.ood_score is None and not session.is_out_of_distribution


def test_detector_counts_for_the_fingerprint_not_as_weights(tmp_path: Path) -> None:
    shutil.copytree(DEMO, tmp_path / "bare", ignore=shutil.ignore_patterns(OOD_DETECTOR_FILE))
    with_detector, without_detector = find_checkpoint("demo"), find_checkpoint(str(tmp_path / "bare"))
    assert (
        with_detector.weight_bytes == without_detector.weight_bytes and with_detector.fingerprint != without_detector.fingerprint
    )
    (tmp_path / "bare" / "model.safetensors").rename(tmp_path / "bare" / OOD_DETECTOR_FILE)
    with pytest.raises(InvalidCheckpoint, match="weights"):
        find_checkpoint(str(tmp_path / "bare"))


def test_detector_beside_the_weights_is_read_like_one_in_its_folder(tmp_path: Path) -> None:
    # Earlier versions wrote it there. Libraries have the fingerprint of the checkpoint.
    earlier = Path(shutil.copytree(DEMO, tmp_path / "earlier"))
    (earlier / OOD_DETECTOR_FOLDER / OOD_DETECTOR_FILE).rename(earlier / OOD_DETECTOR_FILE)
    (earlier / OOD_DETECTOR_FOLDER).rmdir()
    demo, checkpoint = find_checkpoint("demo"), find_checkpoint(str(earlier))
    assert (checkpoint.fingerprint, checkpoint.weight_bytes) == (demo.fingerprint, demo.weight_bytes)
    detector, expected = load_ood_detector(checkpoint, "cpu"), load_ood_detector(demo, "cpu")
    assert detector is not None and expected is not None
    patches = torch.randn(3, 5, len(detector.mean) // 2, generator=torch.Generator().manual_seed(1))
    assert torch.equal(detector.score_patches(patches), expected.score_patches(patches))

    detector.save(earlier)
    assert [path.name for path in earlier.glob("*.safetensors")] == ["model.safetensors"]
    assert find_checkpoint(str(earlier)).ood_detector_file == earlier / OOD_DETECTOR_FOLDER / OOD_DETECTOR_FILE


@pytest.mark.parametrize("damage", ["no safetensors", "other tensors"])
def test_damaged_detector_is_rejected(tmp_path: Path, damage: str) -> None:
    copy = Path(shutil.copytree(DEMO, tmp_path / "damaged"))
    file = copy / OOD_DETECTOR_FOLDER / OOD_DETECTOR_FILE
    if damage == "no safetensors":
        file.write_bytes(b"not safetensors")
    else:
        save_file({"mean": torch.zeros(3)}, file)
    with pytest.raises(InvalidCheckpoint, match="out-of-distribution detector"):
        load_ood_detector(find_checkpoint(str(copy)), "cpu")
