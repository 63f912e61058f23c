"""Times and memory of the engine beside plain transformers, as rows of a report (`benchmarks.bench_engine` measures them)."""

import gc
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import torch

from benchmarks.bench_engine import COLUMNS, Bench
from benchmarks.check_report import FAIL, NOT_RUN, Row, Section
from benchmarks.check_steps import describe
from longview.model.engine.devices import memory_bytes
from longview.video.ffmpeg import ffmpeg_path

TIMES = Section(
    "Times",
    ("shape", *COLUMNS),
    "Noise of 448x256 pixels (128x96 with tiny shapes), one session. Question 1 includes the prefill; transformers prefills "
    'again for question 2. "Of maximum" is the share of the speed of matrix products on this device in the same run. The peak '
    "includes the weights.",
)
FILE_TIMES = Section(
    "From a file to the first answer",
    ("shape", "video", "frames", "decoding alone s", "first token s", "ratio"),
    "Decoding and prefill overlap. The ratio is that of the time to the first token to the time of decoding alone.",
)
TOKENS = {"cuda": (16_384, 65_536, 262_144), "cpu": (1024, 2048, 4096)}
"""Lengths of the prompts, by device type. On a CPU they only show that the measurement works."""
FILE_TOKENS = {"cuda": 16_384, "cpu": 1024}
FILE_S = {"cuda": 120, "cpu": 10}
"""Duration of the video from which frames are decoded, in seconds, by device type."""
FILE_SIZE = (1280, 720)
"""Width and height of that video, in pixels."""


def shape_rows(shapes: str, device: str) -> Iterator[Row]:
    """Measure a shape with random weights."""
    yield from bench_rows(shapes, _bench(shapes, device), TOKENS[device])


def shape_file_rows(shapes: str, device: str) -> Iterator[Row]:
    """Measure the time from a video file to the first token, for a shape with random weights."""
    yield file_row(shapes, _bench(shapes, device))


def _bench(shapes: str, device: str) -> Bench:
    if device == "cpu":
        # The decoders need the other cores.
        torch.set_num_threads(1)
    return Bench.of_shapes(shapes, device)


def bench_rows(name: str, bench: Bench, lengths: Sequence[int]) -> Iterator[Row]:
    """Measure prompts of several lengths with both engines, as far as they fit."""
    for tokens in lengths:
        frames = bench.frames_for(tokens)
        needed_bytes = bench.estimates.session_bytes(tokens) + bench.estimates.chunk_bytes
        free = memory_bytes(bench.model.device)[0]
        if needed_bytes > free:
            reason = f"{tokens:,} tokens need {needed_bytes / 1e9:.1f} GB beside the weights; {free / 1e9:.1f} GB are free"
            yield Row((name, f"Longview: {NOT_RUN}", reason, *[""] * (len(COLUMNS) - 2)))
        else:
            yield _measure(name, "Longview", bench, frames, partial(bench.longview, frames), is_peer=False)
        yield _measure(name, "transformers", bench, frames, partial(bench.transformers, frames), is_peer=True)


def _measure(name: str, engine: str, bench: Bench, frames: int, measure: Callable[[], dict[str, float]], *, is_peer: bool) -> Row:
    """Return the row of one measurement, or of its error. That transformers does not fit is not a failure."""
    try:
        return Row((name, *bench.format_row(engine, frames, bench.with_peak_memory(measure))))
    except torch.OutOfMemoryError:
        reason, is_failure = "out of memory", not is_peer
    except Exception as error:
        reason, is_failure = describe(error), True
    # Outside the except block, whose traceback would keep the memory.
    gc.collect()
    if bench.device == "cuda":
        torch.cuda.empty_cache()
    result = f"{engine}: {FAIL}" if is_failure else engine
    return Row((name, result, f"{reason} ({frames:,} frames)", *[""] * (len(COLUMNS) - 2)), is_failure)


def file_row(name: str, bench: Bench) -> Row:
    """Measure the time from a video file to the first token."""
    duration_s = FILE_S[bench.device]
    with tempfile.TemporaryDirectory() as folder:
        path = write_test_video(Path(folder) / "test.mp4", duration_s)
        figures = bench.file(path, bench.frames_for(FILE_TOKENS[bench.device]))
    width, height = FILE_SIZE
    decode_s, first_s = figures["decode"], figures["first"]
    times = (f"{decode_s:.2f}", f"{first_s:.2f}", f"{first_s / decode_s:.2f}")
    return Row((name, f"{duration_s} s of {width}x{height}, H.264", f"{int(figures['frames']):,}", *times))


def write_test_video(path: Path, duration_s: int) -> Path:
    """Write a video of FFmpeg's test pattern."""
    width, height = FILE_SIZE
    source = f"testsrc2=s={width}x{height}:r=25:d={duration_s}"
    command = [ffmpeg_path(), "-v", "error", "-f", "lavfi", "-i", source, "-c:v", "libx264", "-preset", "ultrafast"]
    subprocess.run([*command, "-pix_fmt", "yuv420p", str(path)], check=True, timeout=120)
    return path
