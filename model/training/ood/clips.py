"""Clips for the out-of-distribution detector: rendered shapes (in-distribution), synthetic footage and cut files (out of it).

Everything that is generated depends only on seeds. Clips are short MP4 files, so that they are decoded like any other file.
"""

import io
import random
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from longview.core.atomic import atomic_write
from longview.model.training.ood.drawings import DRAWINGS, Frame
from longview.video.ffmpeg import ffmpeg_path
from longview.video.synthetic import ACTIONS, COLORS, SHAPES, ShapesEvent, background, draw, render, sample_scene

FORMATS = (
    (320, 192, 25.0),
    (640, 360, 30.0),
    (426, 240, 12.5),
    (320, 192, 5.0),
    (192, 320, 10.0),
    (160, 96, 5.0),
    (256, 256, 5.0),
)
"""Widths, heights and frame rates of rendered clips; the first three are those of `longview eval shapes`."""
SIZES = ((320, 192), (640, 360), (426, 240), (192, 320), (160, 96))
"""Widths and heights of synthetic clips."""
PATCH_SIZES = ((128, 224), (96, 224), (96, 160), (64, 96), (128, 192), (160, 160), (160, 96), (224, 96))
"""Heights and widths of single patches: the sizes at which the model receives videos of different aspect ratios."""
LAVFI_SOURCES = (
    "testsrc", "testsrc2", "smptebars", "smptehdbars", "pal75bars", "rgbtestsrc", "yuvtestsrc", "colorspectrum",
    "mandelbrot", "life=mold=10:ratio=0.3:death_color=#C83232:life_color=#00ff00", "cellauto=rule=110", "sierpinski",
    "zoneplate=ku=512:kv=0:kt2=0:kx2=256", "gradients=n=4:speed=0.02", "nullsrc,geq=random(1)*255:128:128",
)  # fmt: skip
"""FFmpeg sources of out-of-distribution footage."""
VARIANTS = 6
"""Number of variants of each drawing."""
MIN_CLIP_S, MAX_CLIP_S = 5, 20
"""Range of the lengths of clips that are cut from a file, in seconds."""
FILTERS = ("null", "hue=s=0", "hflip", "lutyuv=y=val*0.45", "scale=320:-2", "scale=640:-2", "crop=iw/2:ih/2")
"""FFmpeg filters for cut clips: none, gray, mirrored, darkened, two sizes, a quarter of the frame."""


def render_clips(folder: Path, *, count: int, seed: int) -> Iterator[Path]:
    """Render in-distribution clips with random size, frame rate, compression, noise and background. One in five has no shape."""
    for number in range(seed, seed + count):
        rng = random.Random(number)
        path = folder / f"rendered-{number}.mp4"
        duration_s = rng.choice([6.0, 12.0, 20.0])
        width, height, fps = rng.choice(FORMATS)
        options: dict[str, object] = {"crf": rng.choice([18, 20, 23, 28, 34])}
        if rng.random() < 0.25:
            options["vf"] = f"noise=alls={rng.randint(2, 10)}:allf=t"
        scene = sample_scene(duration_s, max(1, int(duration_s // 6)), seed=number) if rng.random() < 0.8 else ()
        if not path.exists():
            # Higher frame rates than 12.5 make no difference, because the model samples at most five frames per second.
            render(path, scene, duration_s, width=width, height=height, fps=min(fps, 12.5), seed=number, output_options=options)
        yield path


def render_patches(*, each: int, seed: int) -> Iterator[Frame]:
    """Render single in-distribution patches, uint8 (2, height, width, 3): every shape in every colour, `each` times.

    Clips contain only some of these and consist mostly of background. But a window may show a single shape that does not move.
    """
    appearances = [(color, shape) for color in COLORS for shape in SHAPES] * each
    for number, (color, shape) in enumerate(appearances):
        rng = random.Random(seed + number)
        height, width = rng.choice(PATCH_SIZES)
        event = ShapesEvent(0, rng.uniform(4, 12), color, shape, rng.choice(ACTIONS), rng.uniform(0.2, 0.8))
        event = replace(event, y=rng.uniform(0.2, 0.8), radius=rng.uniform(0.14, 0.22))
        other = replace(event, color=rng.choice(list(COLORS)), shape=rng.choice(SHAPES), action=rng.choice(ACTIONS))
        time_s = rng.uniform(0, event.end_s - 0.5)
        backdrop = background(height, width, seed=seed + number)
        events = [event, replace(other, x=rng.uniform(0.2, 0.8))] if rng.random() < 0.2 else [event]
        frames = np.stack([draw(events, time_s, backdrop), draw(events, time_s + rng.choice([0.2, 0.5]), backdrop)])
        noise = np.random.default_rng(number).normal(0, rng.choice([0, 0, 1, 3]), frames.shape)
        frames = np.clip(frames + noise, 0, 255).astype(np.uint8)
        yield np.stack([_compress(frame, rng.randint(60, 95)) for frame in frames]) if rng.random() < 0.6 else frames


def _compress(frame: Frame, quality: int) -> Frame:
    """Encode a frame as JPEG and decode it: block artefacts, and colours at half the resolution, as in most videos."""
    file = io.BytesIO()
    Image.fromarray(frame).save(file, "JPEG", quality=quality, subsampling="4:2:0")
    return np.asarray(Image.open(file))


def synthetic_clips(folder: Path, *, seed: int) -> Iterator[Path]:
    """Generate out-of-distribution clips: every FFmpeg source in two sizes (three: twice in one), and every drawing."""
    for number, source in enumerate(LAVFI_SOURCES):
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
                rng = random.Random(f"{seed} {kind} {variant}")
                frames = b"".join(np.ascontiguousarray(frame).tobytes() for frame in drawing(width, height, 40, rng))
                raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", "5", "-i", "pipe:"]
                _encode(path, raw, stdin=frames)
            yield path


def cut_clips(folder: Path, source: Path, duration_s: float) -> Iterator[Path]:
    """Cut a file into consecutive clips of 5 to 20 seconds, and apply every filter to each of them."""
    rng = random.Random(source.name)
    start_s, number = 0.0, 0
    while start_s < max(0.5, duration_s - 1.0):
        length_s = rng.uniform(MIN_CLIP_S, MAX_CLIP_S)
        for video_filter in FILTERS:
            name = "".join(letter if letter.isalnum() else "-" for letter in video_filter)
            path = folder / f"{source.stem}-{number}-{name}.mp4"
            if not path.exists():
                even_size = "scale=trunc(iw/2)*2:trunc(ih/2)*2"
                seek = ["-ss", f"{start_s:.2f}", "-t", f"{length_s:.2f}", "-i", str(source)]
                _encode(path, seek, video_filter=f"{video_filter},{even_size},fps=10")
            yield path
        start_s, number = start_s + length_s, number + 1


def _encode(target: Path, source: list[str], *, video_filter: str = "null", stdin: bytes | None = None) -> None:
    with atomic_write(target) as partial:
        subprocess.run(
            [
                ffmpeg_path(), "-y", "-hide_banner", "-loglevel", "error", *source, "-an", "-vf", video_filter, "-c:v", "libx264",
                "-preset", "veryfast", "-crf", "23", "-pix_fmt", "yuv420p", str(partial),
            ],
            input=stdin, stdin=subprocess.DEVNULL if stdin is None else None, check=True, timeout=120,
        )  # fmt: skip
