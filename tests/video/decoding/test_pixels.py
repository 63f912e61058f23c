"""Tests of colours for all colour matrices, ranges, bit depths and transfer functions, and of pixel aspect ratios."""

from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from longview.video.decoding.backends import BackendName
from longview.video.decoding.backends.base import UNSPECIFIED
from longview.video.decoding.decoder import Decoder
from longview.video.probing.probe import probe
from tests.support.barcodes import run_ffmpeg

BARS = {"red": (220, 40, 30), "green": (40, 180, 60), "blue": (30, 60, 210), "yellow": (230, 210, 40), "gray": (128, 128, 128)}
BACKENDS: tuple[BackendName, ...] = ("pyav", "ffmpeg")
LOSSLESS = ("-c:v", "libx264", "-preset", "ultrafast", "-crf", "4")
HEVC = ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:crf=4")


def encoding_filters(matrix: str, range_: str = "tv", pixels: str = "yuv420p") -> str:
    return f"scale=out_color_matrix={matrix}:out_range={range_},format={pixels}"


UNSPECIFIED_COLORS = ",setparams=colorspace=unknown:color_primaries=unknown:color_trc=unknown:range=unknown"


def color_tags(matrix: str, range_: str = "tv") -> tuple[str, ...]:
    return ("-colorspace", matrix, "-color_range", range_, "-color_primaries", "bt709", "-color_trc", "bt709")


SDR: dict[str, tuple[str, str, tuple[str, ...]]] = {
    # size, filters, encoder. For unspecified colours, players use BT.601 for small and BT.709 for large frames.
    "small, unspecified": ("320x192", encoding_filters("bt601") + UNSPECIFIED_COLORS, LOSSLESS),
    "large, unspecified": ("1280x720", encoding_filters("bt709") + UNSPECIFIED_COLORS, LOSSLESS),
    "small, BT.709": ("320x192", encoding_filters("bt709"), (*LOSSLESS, *color_tags("bt709"))),
    "large, BT.601": ("1280x720", encoding_filters("bt601"), (*LOSSLESS, *color_tags("smpte170m"))),
    "full range": ("320x192", encoding_filters("bt709", "pc", "yuvj420p"), (*LOSSLESS, *color_tags("bt709", "pc"))),
    "full chroma": ("320x192", encoding_filters("bt709", pixels="yuv444p"), (*LOSSLESS, *color_tags("bt709"))),
    "ten bits": ("320x192", encoding_filters("bt709", pixels="yuv420p10le"), (*HEVC, *color_tags("bt709"))),
    "BT.2020 without HDR": ("320x192", encoding_filters("bt2020", pixels="yuv420p10le"), (*HEVC, "-colorspace", "bt2020nc")),
    "RGB": ("320x192", "format=gbrp", ("-c:v", "ffv1")),
}  # fmt: skip


def render_bars(target: Path, size: str, filters: str, *encoder: str) -> Path:
    """Render one second of five vertical bars."""
    width, height = map(int, size.split("x"))
    row = np.repeat(np.array(list(BARS.values()), np.uint8), width // len(BARS), axis=0)
    frame = np.broadcast_to(row, (height, *row.shape)).tobytes()
    raw = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{len(row)}x{height}", "-r", "5", "-i", "pipe:")
    run_ffmpeg(*raw, "-vf", filters, *encoder, str(target), stdin=frame * 5)
    return target


@pytest.fixture(scope="module", params=BACKENDS)
def colors_of(request: pytest.FixtureRequest) -> Iterator[Callable[[Path], NDArray[np.float64]]]:
    """A function that returns the mean colour in the middle of each bar, (5, 3), for each backend."""
    decoder = Decoder(backend=request.param, processes=1)

    def mean_colors(path: Path) -> NDArray[np.float64]:
        (chunk,) = decoder.frames_played_at(probe(path), [0.5], 96, 160)
        columns = [slice(32 * index + 10, 32 * index + 22) for index in range(len(BARS))]
        return np.array([chunk.frames[0][20:76, column].mean(axis=(0, 1)) for column in columns])

    yield mean_colors
    decoder.close()


@pytest.mark.parametrize("kind", SDR)
def test_sdr_colours_are_correct(colors_of: Callable[[Path], NDArray[np.float64]], tmp_path: Path, kind: str) -> None:
    size, filters, encoder = SDR[kind]
    path = render_bars(tmp_path / "bars.mkv", size, filters, *encoder)
    if UNSPECIFIED_COLORS in filters:
        with av.open(str(path)) as container:
            assert container.streams.video[0].codec_context.colorspace == UNSPECIFIED
    colors = colors_of(path)
    assert np.abs(colors - np.array(list(BARS.values()))).max() <= 8


@pytest.mark.parametrize("transfer", ["smpte2084", "arib-std-b67"], ids=["PQ", "HLG"])
def test_hdr_is_mapped_to_saturated_bright_colours(
    colors_of: Callable[[Path], NDArray[np.float64]], tmp_path: Path, transfer: str
) -> None:
    filters = f"zscale=tin=bt709:pin=bt709:min=gbr:rin=full:t={transfer}:p=bt2020:m=bt2020nc:r=limited:npl=203,format=yuv420p10le"
    tags = f"{HEVC[-1]}:colorprim=bt2020:transfer={transfer}:colormatrix=bt2020nc:range=limited"
    path = render_bars(tmp_path / "hdr.mkv", "320x192", filters, *HEVC[:-1], tags)
    assert probe(path).is_hdr
    red, green, blue, yellow, gray = colors_of(path)
    assert red[0] > 150 and red[0] - red[1:].max() > 90
    assert green[1] > 110 and green[1] - max(green[0], green[2]) > 60
    assert blue[2] > 130 and blue[2] - blue[:2].max() > 80
    assert min(yellow[:2]) > 140 and yellow[:2].min() - yellow[2] > 80
    assert np.ptp(gray) < 8 and 85 < gray.mean() < 170


def test_wide_pixels_are_scaled_to_the_displayed_shape(decoder: Decoder, tmp_path: Path) -> None:
    path = tmp_path / "wide.mp4"
    # The displayed shape is a circle; the stored pixels are twice as wide as high.
    circle = "color=black:s=160x160:d=1,geq=lum='if(lt(hypot((X-79.5)*2,Y-79.5),60),220,20)':cb=128:cr=128,setsar=2"
    run_ffmpeg("-f", "lavfi", "-i", circle, *LOSSLESS, "-pix_fmt", "yuv420p", str(path))
    video = probe(path)
    assert (video.width, video.height) == (320, 160)
    (chunk,) = decoder.frames_played_at(video, [0.0], 160, 320)
    white = chunk.frames[0].mean(axis=2) > 120
    rows, columns = np.flatnonzero(white.any(axis=1)), np.flatnonzero(white.any(axis=0))
    assert np.ptp(columns) == pytest.approx(np.ptp(rows), abs=4)
