"""Twelve files of six kinds whose indexing takes different times, for `benchmarks.estimates.check_index_estimates`."""

import itertools
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from longview.app.evaluation.sounds import music, write_wav
from longview.video.ffmpeg import ffmpeg_path
from longview.video.synthetic import render, sample_events

WORDS = Path(__file__).parents[2] / "app" / "evaluation" / "words"
FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
SENTENCES = (
    "The council meets on the first Monday of each month", "Budget for roads and bridges", "Lead pipes are replaced by 2031",
    "The library opens on Sundays", "A new bus line to the harbour", "Questions from the audience", "Votes: nine for, two no",
    "The next meeting is in September",
)  # fmt: skip
Draw = Callable[[float], Image.Image]


def make_files(folder: Path) -> dict[str, list[Path]]:
    """Make two files of each kind, of one to two minutes; those that exist already stay. Return them by their kind."""
    samples = [("en.opus", 100.0), ("de.opus", 75.0)]
    return {
        "slides with speech": [
            _make(folder / f"slides-{name[:2]}.mp4", _slides(12.0, large), length_s, (1280, 720), WORDS / name)
            for (name, length_s), large in zip(samples, (False, True), strict=True)
        ],
        "talk without slides": [
            _make(folder / "talk-es.mp4", _moving(3), 60.0, (640, 360), WORDS / "es.opus"),
            _make(folder / "talk-en.mp4", _moving(4), 75.0, (1280, 720), WORDS / "en.opus"),
        ],
        "silent film": [
            _make(folder / "silent.mp4", _moving(5), 60.0, (960, 540), None),
            _shapes(folder / "shapes.mp4", 60.0),
        ],
        "music only": [
            _make(folder / "music-still.mp4", _slides(200.0, large=True), 120.0, (1280, 720), _music(folder, 120.0)),
            _make(folder / "music-film.mp4", _moving(6), 60.0, (854, 480), _music(folder, 60.0)),
        ],
        "scrolling text": [
            _make(folder / "terminal.mp4", _scrolling(1.0), 60.0, (1280, 720), None),
            _make(folder / "editor.mp4", _scrolling(0.3), 90.0, (1280, 720), WORDS / "fr.opus"),
        ],
        "audio only": [
            _sound(folder / "radio.mp3", WORDS / "en.opus", 112.0),
            _sound(folder / "voices.m4a", WORDS / "fr.opus", 130.0),
        ],
    }


def _slides(period_s: float, large: bool) -> Draw:
    """Return a drawing of slides: a heading and some lines, which change at each period."""
    heading = ImageFont.truetype(str(FONTS / "DejaVuSans-Bold.ttf"), 64)
    body = ImageFont.truetype(str(FONTS / "DejaVuSans.ttf"), 48 if large else 30)

    def draw(time_s: float) -> Image.Image:
        number = int(time_s // period_s)
        image = Image.new("RGB", (1280, 720), (250, 250, 245))
        canvas = ImageDraw.Draw(image)
        canvas.text((80, 60), f"Item {number + 1}: {SENTENCES[number % len(SENTENCES)][:24]}", font=heading, fill=(20, 30, 90))
        for row in range(3 if large else 7):
            text = f"{row + 1}. {SENTENCES[(number + row + 1) % len(SENTENCES)]}"
            canvas.text((100, 200 + row * (110 if large else 65)), text, font=body, fill=(0, 0, 0))
        return image

    return draw


def _moving(seed: int) -> Draw:
    """Return a drawing of clouds that move all the time, without text."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (24, 256, 3), dtype=np.uint8)

    def draw(time_s: float) -> Image.Image:
        shift = int(time_s * 40)
        wide = Image.fromarray(np.roll(small, -(shift // 32), axis=1)[:, :20]).resize((1312, 720), Image.Resampling.BICUBIC)
        return wide.crop((shift % 32, 0, shift % 32 + 1280, 720))

    return draw


def _scrolling(lines_per_s: float) -> Draw:
    """Return a drawing of a terminal that scrolls."""
    font = ImageFont.truetype(str(FONTS / "DejaVuSansMono.ttf"), 22)

    def draw(time_s: float) -> Image.Image:
        first = int(time_s * lines_per_s)
        image = Image.new("RGB", (1280, 720), (16, 18, 24))
        canvas = ImageDraw.Draw(image)
        for row in range(22):
            number = first + row
            text = f"{number:05d} {SENTENCES[number * 7 % len(SENTENCES)].lower()} -> {number * 7919 % 10007}"
            canvas.text((24, 16 + row * 31), text, font=font, fill=(200, 220, 200))
        return image

    return draw


def _make(target: Path, draw: Draw, length_s: float, size: tuple[int, int], sound: Path | None, fps: int = 5) -> Path:
    """Write a video of drawn frames; the sound is repeated up to its end."""
    if target.exists():
        return target
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{size[0]}x{size[1]}", "-r", str(fps), "-i", "-"]
    audio = ["-stream_loop", "-1", "-i", str(sound), "-c:a", "aac", "-shortest"] if sound else []
    codec = ["-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-r", "25", "-t", str(length_s)]
    _run([*source, *audio, *codec, str(target)], _frames(draw, length_s, size, fps))
    return target


def _frames(draw: Draw, length_s: float, size: tuple[int, int], fps: int) -> Iterator[bytes]:
    last: tuple[Image.Image, bytes] | None = None
    for index in range(round(length_s * fps)):
        image = draw(index / fps)
        if last is None or last[0].tobytes() != image.tobytes():
            pixels: NDArray[np.uint8] = np.asarray(image.resize(size, Image.Resampling.BILINEAR))
            last = image, pixels.tobytes()
        yield last[1]


def _shapes(target: Path, length_s: float) -> Path:
    if not target.exists():
        render(target, sample_events(length_s, 5, seed=7), length_s, fps=12.5)
    return target


def _music(folder: Path, length_s: float) -> Path:
    target = folder / f"music-{length_s:g}.wav"
    if not target.exists():
        write_wav(target, music(length_s))
    return target


def _sound(target: Path, source: Path, length_s: float) -> Path:
    if not target.exists():
        _run(["-stream_loop", "-1", "-i", str(source), "-t", str(length_s), str(target)], ())
    return target


def _run(arguments: Sequence[str], frames: Iterator[bytes] | tuple[()]) -> None:
    """Run FFmpeg with frames on its standard input."""
    with subprocess.Popen([ffmpeg_path(), "-y", "-v", "error", *arguments], stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        for frame in itertools.chain(frames):
            process.stdin.write(frame)
        process.stdin.close()
        assert process.wait() == 0
