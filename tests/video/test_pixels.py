"""Colours come out as they went in, whatever matrix, range, depth and light the file codes them in."""

from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from longview.video.backends.base import UNSPECIFIED
from longview.video.decoder import BackendName, Decoder
from longview.video.probe import probe
from tests.barcodes import run_ffmpeg

BARS = {"red": (220, 40, 30), "green": (40, 180, 60), "blue": (30, 60, 210), "yellow": (230, 210, 40), "gray": (128, 128, 128)}
READERS: tuple[BackendName, ...] = ("pyav", "ffmpeg")
LOSSLESS = ("-c:v", "libx264", "-preset", "ultrafast", "-crf", "4")
HEVC = ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:crf=4")


def coded(matrix: str, range_: str = "tv", pixels: str = "yuv420p") -> str:
    return f"scale=out_color_matrix={matrix}:out_range={range_},format={pixels}"


UNNAMED = ",setparams=colorspace=unknown:color_primaries=unknown:color_trc=unknown:range=unknown"


def named(matrix: str, range_: str = "tv") -> tuple[str, ...]:
    return ("-colorspace", matrix, "-color_range", range_, "-color_primaries", "bt709", "-color_trc", "bt709")


SDR: dict[str, tuple[str, str, tuple[str, ...]]] = {
    # size, filters, encoder: where nothing is named players take BT.601 for small and BT.709 for large pictures
    "small and unnamed": ("320x192", coded("bt601") + UNNAMED, LOSSLESS),
    "large and unnamed": ("1280x720", coded("bt709") + UNNAMED, LOSSLESS),
    "small and named BT.709": ("320x192", coded("bt709"), (*LOSSLESS, *named("bt709"))),
    "large and named BT.601": ("1280x720", coded("bt601"), (*LOSSLESS, *named("smpte170m"))),
    "full range": ("320x192", coded("bt709", "pc", "yuvj420p"), (*LOSSLESS, *named("bt709", "pc"))),
    "full chroma": ("320x192", coded("bt709", pixels="yuv444p"), (*LOSSLESS, *named("bt709"))),
    "ten bits": ("320x192", coded("bt709", pixels="yuv420p10le"), (*HEVC, *named("bt709"))),
    "BT.2020 without HDR": ("320x192", coded("bt2020", pixels="yuv420p10le"), (*HEVC, "-colorspace", "bt2020nc")),
    "RGB": ("320x192", "format=gbrp", ("-c:v", "ffv1")),
}  # fmt: skip


def bars(target: Path, size: str, filters: str, *encoder: str) -> Path:
    """One second of five upright bars."""
    width, height = map(int, size.split("x"))
    row = np.repeat(np.array(list(BARS.values()), np.uint8), width // len(BARS), axis=0)
    picture = np.broadcast_to(row, (height, *row.shape)).tobytes()
    raw = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{len(row)}x{height}", "-r", "5", "-i", "pipe:")
    run_ffmpeg(*raw, "-vf", filters, *encoder, str(target), given=picture * 5)
    return target


@pytest.fixture(scope="module", params=READERS)
def colors_of(request: pytest.FixtureRequest) -> Iterator[Callable[[Path], NDArray[np.float64]]]:
    """The mean colour in the middle of each bar, (5, 3), by either reader."""
    decoder = Decoder(backend=request.param, processes=1)

    def read(path: Path) -> NDArray[np.float64]:
        (chunk,) = decoder.frames_played_at(probe(path), [0.5], 96, 160)
        places = [slice(32 * index + 10, 32 * index + 22) for index in range(len(BARS))]
        return np.array([chunk.frames[0][20:76, place].mean(axis=(0, 1)) for place in places])

    yield read
    decoder.close()


@pytest.mark.parametrize("kind", SDR)
def test_colours_are_those_that_were_filmed(colors_of: Callable[[Path], NDArray[np.float64]], tmp_path: Path, kind: str) -> None:
    size, filters, encoder = SDR[kind]
    path = bars(tmp_path / "bars.mkv", size, filters, *encoder)
    if UNNAMED in filters:
        with av.open(str(path)) as opened:
            assert opened.streams.video[0].codec_context.colorspace == UNSPECIFIED
    found = colors_of(path)
    assert np.abs(found - np.array(list(BARS.values()))).max() <= 8


@pytest.mark.parametrize("transfer", ["smpte2084", "arib-std-b67"], ids=["PQ", "HLG"])
def test_hdr_is_mapped_to_colours_that_are_neither_gray_nor_dark(
    colors_of: Callable[[Path], NDArray[np.float64]], tmp_path: Path, transfer: str
) -> None:
    light = f"zscale=tin=bt709:pin=bt709:min=gbr:rin=full:t={transfer}:p=bt2020:m=bt2020nc:r=limited:npl=203,format=yuv420p10le"
    tags = f"{HEVC[-1]}:colorprim=bt2020:transfer={transfer}:colormatrix=bt2020nc:range=limited"
    path = bars(tmp_path / "hdr.mkv", "320x192", light, *HEVC[:-1], tags)
    assert probe(path).is_hdr
    red, green, blue, yellow, gray = colors_of(path)
    assert red[0] > 150 and red[0] - red[1:].max() > 90
    assert green[1] > 110 and green[1] - max(green[0], green[2]) > 60
    assert blue[2] > 130 and blue[2] - blue[:2].max() > 80
    assert min(yellow[:2]) > 140 and yellow[:2].min() - yellow[2] > 80
    assert np.ptp(gray) < 8 and 85 < gray.mean() < 170


def test_wide_pixels_are_shown_at_their_displayed_shape(decoder: Decoder, tmp_path: Path) -> None:
    path = tmp_path / "wide.mp4"
    # A circle as displayed, stored in pixels twice as wide as high.
    circle = "color=black:s=160x160:d=1,geq=lum='if(lt(hypot((X-79.5)*2,Y-79.5),60),220,20)':cb=128:cr=128,setsar=2"
    run_ffmpeg("-f", "lavfi", "-i", circle, *LOSSLESS, "-pix_fmt", "yuv420p", str(path))
    video = probe(path)
    assert (video.width, video.height) == (320, 160)
    (chunk,) = decoder.frames_played_at(video, [0.0], 160, 320)
    white = chunk.frames[0].mean(axis=2) > 120
    rows, columns = np.flatnonzero(white.any(axis=1)), np.flatnonzero(white.any(axis=0))
    assert np.ptp(columns) == pytest.approx(np.ptp(rows), abs=4)
