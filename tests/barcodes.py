"""Videos whose pictures carry their own number as a barcode, so that a decoded picture tells which one it is."""

import subprocess
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from longview.video.ffmpeg import ffmpeg_path

WIDTH, HEIGHT, BLOCK = 160, 96, 32
FRAMES = 600
"""24 seconds at 25 frames a second: with `-g 250` the key frames lie at 0, 10 and 20 seconds."""
BITS = 10
NUMBERS = 1 << BITS
"""How many different barcodes there are."""


def barcode(number: int) -> NDArray[np.uint8]:
    """A gray frame of 3 rows of 5 blocks: a white corner, the number's bits, their parity, and three black blocks."""
    bits = [number >> place & 1 for place in range(BITS)]
    cells = np.array([1, *bits, sum(bits) % 2, 0, 0, 0], np.uint8).reshape(HEIGHT // BLOCK, WIDTH // BLOCK)
    return np.kron(cells, np.ones((BLOCK, BLOCK), np.uint8)) * 215 + 20


def number_read(frame: NDArray[np.uint8]) -> int:
    """The number in a decoded frame of any size; -1 if it is damaged, turned or mirrored."""
    rows, columns = HEIGHT // BLOCK, WIDTH // BLOCK
    high, wide = frame.shape[0] // rows, frame.shape[1] // columns
    blocks = frame.mean(axis=2).reshape(rows, high, columns, wide)[:, high // 4 : -(high // 4), :, wide // 4 : -(wide // 4)]
    first, *bits, parity, _, _, _ = cells = (blocks.mean(axis=(1, 3)) > 127).ravel().astype(int).tolist()
    if not first or sum(bits) % 2 != parity or any(cells[-3:]):
        return -1
    return sum(bit << place for place, bit in enumerate(bits))


def run_ffmpeg(*arguments: str, given: bytes = b"") -> None:
    subprocess.run(
        [ffmpeg_path(), "-y", "-hide_banner", "-loglevel", "error", *arguments],
        input=given,
        check=True,
        timeout=60,
        capture_output=True,
    )


def encode(target: Path, *options: str, fps: str = "25", quarter_turns: int = 0) -> Path:
    """A video of barcodes 0, 1, 2, …, each turned counter-clockwise so many times."""
    frames = b"".join(np.rot90(barcode(number), quarter_turns).tobytes() for number in range(FRAMES))
    width, height = (HEIGHT, WIDTH) if quarter_turns % 2 else (WIDTH, HEIGHT)
    source = ("-f", "rawvideo", "-pix_fmt", "gray", "-s", f"{width}x{height}", "-r", fps, "-i", "pipe:")
    run_ffmpeg(*source, "-pix_fmt", "yuv420p", *options, str(target), given=frames)
    return target
