"""Tests of thumbnails, contact sheets, cuts and browser copies."""

import resource
from pathlib import Path
from typing import Any

import av
import ffmpeg
import numpy as np
import pytest
from PIL import Image

from longview.core.timeline import Span
from longview.video.decoding.decoder import Decoder
from longview.video.errors import FFmpegFailed, NotAVideo
from longview.video.ffmpeg import run
from longview.video.probing.probe import VideoInfo, probe
from longview.video.synthetic import COLORS, ShapesEvent, render
from longview.video.thumbnails import contact_sheet, thumbnail
from longview.video.transcoding import (
    BROWSER_COPY_HEIGHT_PX,
    cut_reencode,
    cut_stream_copy,
    is_browser_playable,
    make_browser_copy,
)
from tests.support.barcodes import run_ffmpeg

EVENTS = (
    ShapesEvent(0.0, 4.0, "red", "square", "stays still"),
    ShapesEvent(4.0, 8.0, "green", "square", "stays still"),
    ShapesEvent(8.0, 12.0, "blue", "square", "stays still"),
)
DURATION_S = 12.0


def middle_color(image: Path) -> str:
    """Return the name of the colour in the middle of a JPEG file."""
    with av.open(str(image)) as container:
        frame = next(container.decode(video=0)).to_ndarray(format="rgb24").astype(int)
    middle = frame[frame.shape[0] // 2, frame.shape[1] // 2]
    return min(COLORS, key=lambda name: abs(middle - np.asarray(COLORS[name])).sum())


def render_video(folder: Path, name: str, fps: float = 10, codec: str = "libx264", **options: object) -> VideoInfo:
    return probe(render(folder / name, EVENTS, DURATION_S, fps=fps, codec=codec, output_options=options))


@pytest.mark.parametrize(
    ("name", "fps", "options"),
    [
        ("usual.mp4", 10, {}),
        ("one key frame.mkv", 10, {"g": 1000}),
        ("starts at 10 s.mkv", 10, {"output_ts_offset": 10}),
        ("stream.ts", 10, {}),
        ("slides.mp4", 0.25, {}),
    ],
)
def test_thumbnail_shows_the_frame_on_screen(
    tmp_path: Path, decoder: Decoder, name: str, fps: float, options: dict[str, Any]
) -> None:
    video = render_video(tmp_path, name, fps, **options)
    for time_s, color in (
        (0, "red"),
        (3.85, "red"),
        (4.1, "green"),
        (7.8, "green"),
        (8.2, "blue"),
        (11.95, "blue"),
        (99, "blue"),
    ):
        assert middle_color(thumbnail(decoder, video, time_s, tmp_path / "thumbnail.jpg")) == color, time_s
    assert middle_color(thumbnail(decoder, video, -5, tmp_path / "thumbnail.jpg")) == "red"
    assert {file.name for file in tmp_path.iterdir()} == {name, "thumbnail.jpg"}


def render_delayed(tmp_path: Path) -> VideoInfo:
    """Render a video whose first frame is 1.5 s after its audio, with a codec that browsers do not play."""
    silent = render_video(tmp_path, "silent.mp4")
    source = ffmpeg.input(str(silent.path), itsoffset=1.5)
    audio = ffmpeg.input("sine=frequency=440:duration=13", f="lavfi")
    target = tmp_path / "delayed.mkv"
    run(ffmpeg.output(source.video, audio, str(target), vcodec="mpeg4", acodec="aac", **{"q:v": 3}), timeout_s=60)
    return probe(target)


def test_thumbnail_before_the_first_frame_shows_the_first_frame(tmp_path: Path, decoder: Decoder) -> None:
    assert middle_color(thumbnail(decoder, render_delayed(tmp_path), 0.2, tmp_path / "thumbnail.jpg")) == "red"


def test_browser_copy_is_playable_and_keeps_timestamps(tmp_path: Path, decoder: Decoder) -> None:
    video = render_delayed(tmp_path)
    assert not is_browser_playable(video)
    copy = probe(make_browser_copy(video, tmp_path / "output" / "copy.mp4"))
    assert is_browser_playable(copy)
    assert copy.has_audio
    assert copy.duration_s == pytest.approx(video.duration_s, abs=0.15)
    # The times are in the middle of frames, because encoded audio may start some hundredths of a second early, and with it
    # the container.
    times_s = [1.65, 3.05, 5.35, 5.65, 9.35, 9.65, 12.95]
    (expected,) = decoder.frames_played_at(video, times_s, 96, 160)
    (actual,) = decoder.frames_played_at(copy, times_s, 96, 160)
    assert actual.times_s == pytest.approx(expected.times_s, abs=0.03)
    assert np.abs(actual.frames.astype(int) - expected.frames).mean() < 5


def test_browser_copy_is_downscaled_but_never_upscaled(tmp_path: Path) -> None:
    for width, height, expected in ((1280, 720, BROWSER_COPY_HEIGHT_PX), (322, 182, 182)):
        video = probe(render(tmp_path / f"{height}.mp4", EVENTS[:1], 1.0, fps=5, width=width, height=height))
        copy = probe(make_browser_copy(video, tmp_path / "copy.mp4"))
        assert copy.height == expected
        assert copy.width / copy.height == pytest.approx(width / height, rel=0.02)


@pytest.mark.parametrize(
    ("name", "codec", "options", "is_playable"),
    [
        ("a.mp4", "libx264", {}, True),
        ("a.M4V", "libx264", {"f": "mp4"}, True),
        ("a.webm", "libvpx", {}, True),
        ("a.mkv", "libx264", {}, False),
        ("a.mov", "libx264", {}, False),
        ("a.avi", "libx264", {}, False),
        ("a.mp4", "mpeg4", {}, False),
        ("a.mp4", "libx264", {"pix_fmt": "yuv444p"}, False),
    ],
)
def test_playable_means_that_every_browser_plays_the_file(
    tmp_path: Path, name: str, codec: str, options: dict[str, object], is_playable: bool
) -> None:
    path = render(tmp_path / name, EVENTS[:1], 1.0, fps=5, width=64, height=64, codec=codec, output_options=options)
    assert is_browser_playable(probe(path)) is is_playable


def test_failed_thumbnail_or_copy_leaves_no_file(tmp_path: Path, decoder: Decoder) -> None:
    video = render_video(tmp_path, "a.mp4")
    video.path.write_bytes(b"no longer a video" * 100)
    with pytest.raises(NotAVideo):
        thumbnail(decoder, video, 1.0, tmp_path / "output" / "thumbnail.jpg")
    with pytest.raises(FFmpegFailed):
        make_browser_copy(video, tmp_path / "output" / "copy.mp4")
    assert list((tmp_path / "output").iterdir()) == []


def colors_at(decoder: Decoder, path: Path, times_s: list[float]) -> list[str]:
    (chunk,) = decoder.frames_played_at(probe(path), times_s, 96, 160)
    middles = chunk.frames[:, 48, 80].astype(int)
    return [min(COLORS, key=lambda name: abs(middle - np.asarray(COLORS[name])).sum()) for middle in middles]


@pytest.mark.parametrize("name", ["whole.mp4", "whole.mkv", "whole.ts"])
def test_reencoded_cut_has_exact_edges(tmp_path: Path, decoder: Decoder, name: str) -> None:
    video = render_video(tmp_path, name, g=1000)
    cut_reencode(video, Span(3.5, 8.5), tmp_path / "part.mp4", first_frame_s=3.5)
    part = probe(tmp_path / "part.mp4")
    assert part.duration_s == pytest.approx(5.0, abs=0.11)
    assert colors_at(decoder, part.path, [0.0, 0.35, 0.75, 4.25, 4.75]) == ["red", "red", "green", "green", "blue"]


@pytest.mark.parametrize("name", ["whole.mp4", "whole.mkv", "whole.flv", "late.mkv"])
def test_copied_cut_starts_at_the_previous_key_frame(tmp_path: Path, decoder: Decoder, name: str) -> None:
    late_s = 10 if name == "late.mkv" else 0
    video = render_video(tmp_path, name, g=20, sc_threshold=0, output_ts_offset=late_s)
    keys_s = decoder.key_frames_around(video, 3.5)
    assert keys_s == pytest.approx((2.0, 4.0), abs=0.002)
    assert keys_s is not None
    span = cut_stream_copy(video, Span(3.5, 8.5), tmp_path / f"part{video.path.suffix}", key_frames_s=keys_s)
    assert span.start_s == keys_s[0]
    assert span.end_s == 8.5
    part = probe(tmp_path / f"part{video.path.suffix}")
    assert part.codec == video.codec
    # The last packets are copied in decoding order, so that a few more frames of 0.1 s follow.
    assert span.duration_s - 0.11 <= part.duration_s <= span.duration_s + 0.65
    # The timestamps of the cut start at its own first frame.
    assert colors_at(decoder, part.path, [0.1, 1.8, 2.2, 5.8, 6.2]) == ["red", "red", "green", "green", "blue"]


@pytest.mark.parametrize(("start_s", "end_s", "colors"), [(3.0, 6.0, "red green"), (1.0, 3.0, "red"), (5.0, 11.0, "green blue")])
def test_cut_of_a_slide_show_starts_with_the_slide_on_screen(
    tmp_path: Path, decoder: Decoder, start_s: float, end_s: float, colors: str
) -> None:
    video = render_video(tmp_path, "slides.mp4", 0.25)
    cut_reencode(video, Span(start_s, end_s), tmp_path / "part.mp4", first_frame_s=start_s // 4 * 4)
    part = probe(tmp_path / "part.mp4")
    assert part.duration_s == pytest.approx(end_s - start_s, abs=0.11)
    edges_s = [time_s - start_s for time_s in (4.0, 8.0) if start_s < time_s < end_s]
    times_s = [0.0, *(edge_s + shift_s for edge_s in edges_s for shift_s in (-0.15, 0.15)), end_s - start_s - 0.15]
    actual_colors = colors_at(decoder, part.path, times_s)
    assert " ".join(dict.fromkeys(actual_colors)) == colors


def test_thumbnail_and_copy_have_displayed_shape_and_sdr(tmp_path: Path, decoder: Decoder) -> None:
    red = ("-f", "lavfi", "-i", "color=c=0xDC281E:s=160x120:r=5:d=2")
    to_pq = "zscale=tin=bt709:pin=bt709:min=gbr:rin=full:t=smpte2084:p=bt2020:m=bt2020nc:r=limited:npl=203"
    tags = "log-level=none:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc:range=limited"
    filters = f"format=gbrp,{to_pq},format=yuv420p10le,setsar=2"
    run_ffmpeg(*red, "-vf", filters, "-c:v", "libx265", "-preset", "ultrafast", "-x265-params", tags, str(tmp_path / "hdr.mp4"))
    video = probe(tmp_path / "hdr.mp4")
    assert video.is_hdr and (video.width, video.height) == (320, 120)
    (chunk,) = decoder.frames_played_at(video, [1.0], 120, 320)
    expected = chunk.frames[0].mean(axis=(0, 1))
    with av.open(str(thumbnail(decoder, video, 1.0, tmp_path / "thumbnail.jpg", width=160))) as container:
        frame = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert frame.shape == (60, 160, 3)
    assert frame.mean(axis=(0, 1)) == pytest.approx(expected, abs=45)
    assert frame[..., 0].mean() - frame[..., 1:].mean() > 90
    copy = probe(make_browser_copy(video, tmp_path / "copy.mp4"))
    assert not copy.is_hdr and is_browser_playable(copy)


def test_cut_drops_audio_in_an_unsupported_codec(tmp_path: Path) -> None:
    source = ("-f", "lavfi", "-i", "testsrc=d=2:r=5:s=64x64")
    audio = ("-f", "lavfi", "-i", "sine=d=2:sample_rate=8000")
    x264 = ("-c:v", "libx264", "-pix_fmt", "yuv420p")
    run_ffmpeg(*source, *audio, *x264, "-c:a", "g726", "-b:a", "32k", str(tmp_path / "a.mkv"))
    video = probe(tmp_path / "a.mkv")
    assert [stream.codec for stream in video.audio_streams] == ["adpcm_g726"]
    cut_reencode(video, Span(0.4, 1.4), tmp_path / "part.mp4", first_frame_s=0.4)
    assert not probe(tmp_path / "part.mp4").has_audio


def test_reencoded_cut_of_an_odd_size_loses_one_pixel(tmp_path: Path) -> None:
    options: dict[str, object] = {"pix_fmt": "yuv444p"}
    path = render(tmp_path / "odd.mkv", EVENTS, 6.0, width=333, height=241, fps=10, codec="ffv1", output_options=options)
    cut_reencode(probe(path), Span(1.0, 4.0), tmp_path / "part.mp4", first_frame_s=1.0)
    part = probe(tmp_path / "part.mp4")
    assert (part.width, part.height) == (332, 240) and part.duration_s == pytest.approx(3.0, abs=0.15)


def test_cut_contains_audio(tmp_path: Path) -> None:
    video = render_delayed(tmp_path)
    cut_reencode(video, Span(4.0, 9.0), tmp_path / "part.mkv", first_frame_s=4.0)
    part = probe(tmp_path / "part.mkv")
    assert part.has_audio
    assert part.duration_s == pytest.approx(5.0, abs=0.15)


def test_contact_sheet_covers_the_video_evenly(tmp_path: Path, decoder: Decoder) -> None:
    video = render_video(tmp_path, "a.mp4")
    times_s, missing_s = contact_sheet(decoder, video, tmp_path / "sheet.jpg", columns=3, rows=2, width=200)
    assert times_s == pytest.approx([1, 3, 5, 7, 9, 11])
    assert missing_s == []
    with av.open(str(tmp_path / "sheet.jpg")) as container:
        sheet = next(container.decode(video=0)).to_ndarray(format="rgb24").astype(int)
    height, width = sheet.shape[0] // 2, sheet.shape[1] // 3
    assert width == 200 and height / width == pytest.approx(video.height / video.width, rel=0.03)
    middles = [sheet[row * height + height // 2, column * width + width // 2] for row in range(2) for column in range(3)]
    colors = [min(COLORS, key=lambda name: abs(middle - np.asarray(COLORS[name])).sum()) for middle in middles]
    assert colors == ["red", "red", "green", "green", "blue", "blue"]
    # Each thumbnail has its time in a corner, in white letters; no event is white.
    for row in range(2):
        for column in range(3):
            corner = sheet[row * height : row * height + 30, column * width : column * width + 80]
            assert (corner.min(axis=2) > 200).sum() > 40
    assert {file.name for file in tmp_path.iterdir()} == {"a.mp4", "sheet.jpg"}


@pytest.mark.parametrize(
    ("width", "height", "image", "sheet"), [(2, 4000, (2, 1280), (640, 2560)), (4000, 2, (320, 2), (640, 80))]
)
def test_images_of_thin_and_wide_videos_are_bounded_on_both_sides(
    tmp_path: Path, decoder: Decoder, width: int, height: int, image: tuple[int, int], sheet: tuple[int, int]
) -> None:
    run_ffmpeg("-f", "lavfi", "-i", f"color=s={width}x{height}:r=5:d=1", "-c:v", "ffv1", str(tmp_path / "thin.mkv"))
    video = probe(tmp_path / "thin.mkv")
    with Image.open(thumbnail(decoder, video, 0.0, tmp_path / "thumbnail.jpg")) as picture:
        assert picture.size == image
    contact_sheet(decoder, video, tmp_path / "sheet.jpg", columns=2, rows=2)
    with Image.open(tmp_path / "sheet.jpg") as picture:
        assert picture.size == sheet


def test_failed_cut_or_contact_sheet_leaves_no_file(tmp_path: Path, decoder: Decoder) -> None:
    video = render_video(tmp_path, "a.mp4")
    with pytest.raises(FFmpegFailed):
        cut_reencode(video, Span(1, 2), tmp_path / "output" / "part.unknown", first_frame_s=1.0)
    video.path.write_bytes(b"no longer a video" * 100)
    with pytest.raises(FFmpegFailed):
        cut_stream_copy(video, Span(1, 2), tmp_path / "output" / "part.mp4", key_frames_s=(1.0, 2.0))
    with pytest.raises(NotAVideo):
        contact_sheet(decoder, video, tmp_path / "output" / "sheet.jpg")
    assert list((tmp_path / "output").iterdir()) == []


def test_image_that_does_not_fit_on_the_disk_is_an_error(tmp_path: Path, decoder: Decoder) -> None:
    video = render_video(tmp_path, "a.mp4")
    # The first sheet starts the decoding process, and gives it the memory that it needs for the second one.
    contact_sheet(decoder, video, tmp_path / "sheet.jpg")
    # A write over this limit is cut short, as on a full disk.
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            contact_sheet(decoder, video, tmp_path / "output" / "sheet.jpg")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list((tmp_path / "output").iterdir()) == []


@pytest.fixture(scope="module")
def vfr_video(tmp_path_factory: pytest.TempPathFactory) -> VideoInfo:
    """A video of 5 frames per second up to 6 s, and 25 after it, with B-frames and a key frame every 60 frames."""
    folder = tmp_path_factory.mktemp("vfr")
    whole = render_video(folder, "whole.mp4", fps=25)
    drop = "select=gt(t\\,6)+not(mod(n\\,5))"
    x264 = ("-c:v", "libx264", "-bf", "3", "-g", "60", "-sc_threshold", "0", "-pix_fmt", "yuv420p")
    run_ffmpeg("-i", str(whole.path), "-vf", drop, "-fps_mode", "vfr", *x264, str(folder / "vfr.mp4"))
    video = probe(folder / "vfr.mp4")
    assert video.is_vfr
    return video


def test_cuts_and_thumbnails_of_vfr_video_are_accurate(tmp_path: Path, decoder: Decoder, vfr_video: VideoInfo) -> None:
    cut_reencode(vfr_video, Span(5.5, 9.0), tmp_path / "exact.mp4", first_frame_s=5.4)
    exact = probe(tmp_path / "exact.mp4")
    assert colors_at(decoder, exact.path, [0.1, 2.4, 2.6, 3.4]) == ["green", "green", "blue", "blue"]
    (all_frames,) = decoder.frames_played_at(exact, [index / 50 for index in range(175)], 32, 32, chunk_frames=500)
    # Three frames of a fifth of a second each, and then 75 of the full rate.
    assert len(all_frames) == pytest.approx(3 + 75, abs=2)
    keys_s = decoder.key_frames_around(vfr_video, 8.5)
    assert keys_s is not None and 6 < keys_s[0] < 8.5
    cut_stream_copy(vfr_video, Span(8.5, 11.0), tmp_path / "copy.mp4", key_frames_s=keys_s)
    copy = probe(tmp_path / "copy.mp4")
    assert copy.duration_s == pytest.approx(11.0 - keys_s[0], abs=0.3)
    assert middle_color(thumbnail(decoder, vfr_video, 3.9, tmp_path / "thumbnail.jpg")) == "red"
    assert middle_color(thumbnail(decoder, vfr_video, 7.9, tmp_path / "thumbnail.jpg")) == "green"


def test_missing_frames_are_black_on_the_sheet_and_not_cut(tmp_path: Path, decoder: Decoder) -> None:
    whole = render_video(tmp_path, "whole.mp4", fps=25, movflags="+faststart", g=25)
    data = whole.path.read_bytes()
    (tmp_path / "half.mp4").write_bytes(data[: len(data) // 2])
    half = probe(tmp_path / "half.mp4")
    assert half.duration_s == pytest.approx(12, abs=0.1)
    times_s, missing_s = contact_sheet(decoder, half, tmp_path / "sheet.png", columns=4, rows=1, width=100)
    assert 1 <= len(missing_s) <= 3 and missing_s == times_s[-len(missing_s) :]
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert np.asarray(sheet)[-8:, -8:].max() == 0
    with pytest.raises(FFmpegFailed, match="No frame in that part"):
        cut_reencode(half, Span(11.0, 11.9), tmp_path / "part.mp4", first_frame_s=11.0)
    assert not (tmp_path / "part.mp4").exists()


def test_browser_copy_drops_frames_over_the_pixel_limit(tmp_path: Path) -> None:
    parts = []
    for size in ("64x64", "1600x1200"):
        run_ffmpeg(
            "-f", "lavfi", "-i", f"testsrc=d=2:r=10:s={size}", "-c:v", "mpeg2video", "-g", "5", str(tmp_path / f"{size}.ts")
        )
        parts.append((tmp_path / f"{size}.ts").read_bytes())
    (tmp_path / "grows.ts").write_bytes(b"".join(parts))
    video = probe(tmp_path / "grows.ts")
    unlimited_s, limited_s = (
        probe(make_browser_copy(video, tmp_path / f"{pixels}.mp4", max_pixels=pixels)).duration_s
        for pixels in (1600 * 1200, 100_000)
    )
    assert limited_s == pytest.approx(2.0, abs=0.3)
    assert unlimited_s > limited_s + 1
