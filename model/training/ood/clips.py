"""Clips by which the familiarity rule is fitted and measured: rendered ones, synthetic ones of no such world, and files given.

Everything that is made here follows from seeds. Clips are short MP4s, so that they go through the same decoder as any file.
"""

import io
import random
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from longview.app.evaluation.datasets import FORMATS
from longview.model.training.ood.drawings import DRAWINGS, Picture
from longview.video.atomic import atomic_write
from longview.video.ffmpeg import ffmpeg_path
from longview.video.synthetic import ACTIONS, COLORS, SHAPES, ShapesEvent, background, draw, render, sample_scene

SIZES = ((320, 192), (640, 360), (426, 240), (192, 320), (160, 96))
"""Widths and heights of clips, those of the evaluation among them."""
STILL_SIZES = ((128, 224), (96, 224), (96, 160), (64, 96), (128, 192), (160, 160), (160, 96), (224, 96))
"""Heights and widths at which the model sees videos of many shapes."""
LAVFI = (
    "testsrc", "testsrc2", "smptebars", "smptehdbars", "pal75bars", "rgbtestsrc", "yuvtestsrc", "colorspectrum",
    "mandelbrot", "life=mold=10:ratio=0.3:death_color=#C83232:life_color=#00ff00", "cellauto=rule=110", "sierpinski",
    "zoneplate=ku=512:kv=0:kt2=0:kx2=256", "gradients=n=4:speed=0.02", "nullsrc,geq=random(1)*255:128:128",
)  # fmt: skip
"""Sources of FFmpeg that make pictures of no such world."""
VARIANTS = 6
"""Of each drawing."""
MIN_CLIP_S, MAX_CLIP_S = 5, 20
"""Of clips that are cut from a file."""
FILTERS = ("null", "hue=s=0", "hflip", "lutyuv=y=val*0.45", "scale=320:-2", "scale=640:-2", "crop=iw/2:ih/2")
"""What is done to them: nothing, gray, mirrored, darkened, two sizes, a quarter of the picture."""


def render_clips(folder: Path, *, count: int, seed: int) -> Iterator[Path]:
    """Clips of the world: sizes, rates, compression, noise and backgrounds taken at random, one in five without any shape."""
    for number in range(seed, seed + count):
        chance = random.Random(number)
        path = folder / f"rendered-{number}.mp4"
        duration_s = chance.choice([6.0, 12.0, 20.0])
        width, height, fps = chance.choice([*FORMATS, (320, 192, 5.0), (192, 320, 10.0), (160, 96, 5.0), (256, 256, 5.0)])
        options: dict[str, object] = {"crf": chance.choice([18, 20, 23, 28, 34])}
        if chance.random() < 0.25:
            options["vf"] = f"noise=alls={chance.randint(2, 10)}:allf=t"
        scene = sample_scene(duration_s, max(1, int(duration_s // 6)), seed=number) if chance.random() < 0.8 else ()
        if not path.exists():
            # Five frames a second are enough for the rates at which the model looks.
            render(path, scene, duration_s, width=width, height=height, fps=min(fps, 12.5), seed=number, output_options=options)
        yield path


def stills(*, each: int, seed: int) -> Iterator[Picture]:
    """Single temporal patches of the world, uint8 (2, height, width, 3): every shape in every colour, `each` times.

    Clips show only some of these, and mostly backgrounds; but a star that stands still for a minute is all that there is to see.
    """
    looks = [(color, shape) for color in COLORS for shape in SHAPES] * each
    for number, (color, shape) in enumerate(looks):
        chance = random.Random(seed + number)
        height, width = chance.choice(STILL_SIZES)
        event = ShapesEvent(0, chance.uniform(4, 12), color, shape, chance.choice(ACTIONS), chance.uniform(0.2, 0.8))
        event = replace(event, y=chance.uniform(0.2, 0.8), radius=chance.uniform(0.14, 0.22))
        other = replace(event, color=chance.choice(list(COLORS)), shape=chance.choice(SHAPES), action=chance.choice(ACTIONS))
        time_s = chance.uniform(0, event.end_s - 0.5)
        ground = background(height, width, seed=seed + number)
        shown = [event, replace(other, x=chance.uniform(0.2, 0.8))] if chance.random() < 0.2 else [event]
        frames = np.stack([draw(shown, time_s, ground), draw(shown, time_s + chance.choice([0.2, 0.5]), ground)])
        noise = np.random.default_rng(number).normal(0, chance.choice([0, 0, 1, 3]), frames.shape)
        frames = np.clip(frames + noise, 0, 255).astype(np.uint8)
        yield np.stack([_compressed(frame, chance.randint(60, 95)) for frame in frames]) if chance.random() < 0.6 else frames


def _compressed(frame: Picture, quality: int) -> Picture:
    """As JPEG leaves it: blocks, and colours at half the resolution, as in most videos."""
    written = io.BytesIO()
    Image.fromarray(frame).save(written, "JPEG", quality=quality, subsampling="4:2:0")
    return np.asarray(Image.open(written))


def synthetic(folder: Path, *, seed: int) -> Iterator[Path]:
    """Clips of what is not the world: every source at two sizes (three: at one, twice), every drawing six times."""
    for number, source in enumerate(LAVFI):
        for width, height in (SIZES[number % 3], SIZES[(number + 1) % len(SIZES)]):
            path = folder / f"synthetic-{source.split('=')[0].split(',')[0]}-{width}.mp4"
            name, separator, rest = source.partition(",")
            sized = f"{name}{':' if '=' in name else '='}s={width}x{height}:r=10{separator}{rest}"
            if not path.exists():
                _encode(path, ["-f", "lavfi", "-i", sized, "-t", "8"])
            yield path
    for number, (kind, drawing) in enumerate(DRAWINGS.items()):
        for variant in range(VARIANTS):
            width, height = SIZES[(number + variant) % len(SIZES)]
            path = folder / f"drawn-{kind}-{seed}{variant}.mp4"
            if not path.exists():
                chance = random.Random(f"{seed} {kind} {variant}")
                pictures = b"".join(np.ascontiguousarray(picture).tobytes() for picture in drawing(width, height, 40, chance))
                raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", "5", "-i", "pipe:"]
                _encode(path, raw, given=pictures)
            yield path


def cut(folder: Path, source: Path, duration_s: float) -> Iterator[Path]:
    """Clips of 5 to 20 seconds from a file, one after another, each changed in another way."""
    chance = random.Random(source.name)
    start_s, number = 0.0, 0
    while start_s < max(0.5, duration_s - 1.0):
        length_s = chance.uniform(MIN_CLIP_S, MAX_CLIP_S)
        for change in FILTERS:
            name = "".join(letter if letter.isalnum() else "-" for letter in change)
            path = folder / f"{source.stem}-{number}-{name}.mp4"
            if not path.exists():
                even = "scale=trunc(iw/2)*2:trunc(ih/2)*2"
                seek = ["-ss", f"{start_s:.2f}", "-t", f"{length_s:.2f}", "-i", str(source)]
                _encode(path, seek, change=f"{change},{even},fps=10")
            yield path
        start_s, number = start_s + length_s, number + 1


def _encode(target: Path, source: list[str], *, change: str = "null", given: bytes | None = None) -> None:
    with atomic_write(target) as partial:
        subprocess.run(
            [
                ffmpeg_path(), "-y", "-hide_banner", "-loglevel", "error", *source, "-an", "-vf", change, "-c:v", "libx264",
                "-preset", "veryfast", "-crf", "23", "-pix_fmt", "yuv420p", str(partial),
            ],
            input=given, stdin=subprocess.DEVNULL if given is None else None, check=True, timeout=120,
        )  # fmt: skip
