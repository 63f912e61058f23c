"""Videos in which every frame contains its own number as a barcode, so that a decoded frame can be identified."""

import subprocess
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from longview.video.ffmpeg import ffmpeg_path

WIDTH, HEIGHT, BLOCK = 160, 96, 32
FRAMES = 600
"""Number of frames: 24 seconds at 25 frames per second. With `-g 250` the key frames are at 0, 10 and 20 seconds."""
BITS = 10
NUMBERS = 1 << BITS
"""Number of different barcodes."""


def barcode(number: int) -> NDArray[np.uint8]:
    """Return a gray frame of 3 rows of 5 blocks: a white corner, the bits of the number, their parity, and 3 black blocks."""
    bits = [number >> position & 1 for position in range(BITS)]
    cells = np.array([1, *bits, sum(bits) % 2, 0, 0, 0], np.uint8).reshape(HEIGHT // BLOCK, WIDTH // BLOCK)
    return np.kron(cells, np.ones((BLOCK, BLOCK), np.uint8)) * 215 + 20


def number_read(frame: NDArray[np.uint8]) -> int:
    """Read the number in a decoded frame of any size; -1 if the frame is damaged, rotated or mirrored."""
    rows, columns = HEIGHT // BLOCK, WIDTH // BLOCK
    height, width = frame.shape[0] // rows, frame.shape[1] // columns
    blocks = frame.mean(axis=2).reshape(rows, height, columns, width)
    blocks = blocks[:, height // 4 : -(height // 4), :, width // 4 : -(width // 4)]
    first, *bits, parity, _, _, _ = cells = (blocks.mean(axis=(1, 3)) > 127).ravel().astype(int).tolist()
    if not first or sum(bits) % 2 != parity or any(cells[-3:]):
        return -1
    return sum(bit << position for position, bit in enumerate(bits))


def run_ffmpeg(*arguments: str, stdin: bytes = b"") -> None:
    subprocess.run(
        [ffmpeg_path(), "-y", "-hide_banner", "-loglevel", "error", *arguments],
        input=stdin,
        check=True,
        timeout=60,
        capture_output=True,
    )


def encode(target: Path, *options: str, fps: str = "25", quarter_turns: int = 0) -> Path:
    """Encode a video of the barcodes 0, 1, 2, …, each rotated by `quarter_turns` counter-clockwise."""
    frames = b"".join(np.rot90(barcode(number), quarter_turns).tobytes() for number in range(FRAMES))
    width, height = (HEIGHT, WIDTH) if quarter_turns % 2 else (WIDTH, HEIGHT)
    source = ("-f", "rawvideo", "-pix_fmt", "gray", "-s", f"{width}x{height}", "-r", fps, "-i", "pipe:")
    run_ffmpeg(*source, "-pix_fmt", "yuv420p", *options, str(target), stdin=frames)
    return target
