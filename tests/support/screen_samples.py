"""Frames and videos with text at known times, for the tests of screen text."""

import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from longview.video.decoding.decoder import TimedFrames
from longview.video.ffmpeg import ffmpeg_path

LATIN_FONT = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
MONO_FONT = LATIN_FONT.with_name("DejaVuSansMono.ttf")
CJK_FONT = Path(__file__).parents[1] / "fixtures" / "noto_sans_cjk_subset.otf"
"""Noto Sans CJK with the characters of these tests only; `noto_sans_cjk_license.txt` is its licence."""
WIDTH, HEIGHT = 448, 256

Draw = Callable[[float], Image.Image]
"""Draws the frame at a time in seconds."""


def page(
    *lines: tuple[str, float, float], size_px: int = 28, font: Path = LATIN_FONT, ink: int = 0, paper: int = 255
) -> Image.Image:
    """Draw lines of text, each with the left and the top of its letters in pixels."""
    image = Image.new("RGB", (WIDTH, HEIGHT), (paper,) * 3)
    draw = ImageDraw.Draw(image)
    face = ImageFont.truetype(str(font), size_px)
    for text, left_px, top_px in lines:
        draw.text((left_px, top_px), text, font=face, fill=(ink,) * 3)
    return image


def slides(*shown: tuple[float, Image.Image]) -> Draw:
    """Show each picture up to a time in seconds, and the last one longer."""

    def draw(time_s: float) -> Image.Image:
        return next((image for end_s, image in shown if time_s < end_s), shown[-1][1])

    return draw


def frames(draw: Draw, duration_s: float, *, start_s: float = 0.0, fps: int = 5) -> Iterator[TimedFrames]:
    """Yield the frames of a video as the decoder does."""
    for index in range(round(start_s * fps), round(duration_s * fps)):
        pixels: NDArray[np.uint8] = np.asarray(draw(index / fps).convert("RGB"))
        yield TimedFrames(pixels[np.newaxis], np.asarray([index / fps]))


def write_video(target: Path, draw: Draw, duration_s: float, *, fps: int = 10, options: Sequence[str] = ()) -> Path:
    """Write a video of drawn frames."""
    first = draw(0.0)
    size = f"{first.width}x{first.height}"
    source = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", str(fps), "-i", "-")
    codec = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", *options)
    command = [ffmpeg_path(), "-y", "-v", "error", *source, *codec, str(target)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        for index in range(round(duration_s * fps)):
            process.stdin.write(np.asarray(draw(index / fps).convert("RGB")).tobytes())
        process.stdin.close()
        assert process.wait(timeout=60) == 0
    return target
