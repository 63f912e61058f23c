"""Frame sampling from long videos: time and memory, compared with plain decoding, qwen-vl-utils and transformers.

    python -m benchmarks.bench_decode [--folder DIR] [--only TEXT] [--repeat N]

Renders its videos once into `--folder` (about 5 minutes on two cores). Every frame contains its number as a barcode. Each row
runs in its own process; wall time, CPU time and peak memory include all processes that it starts. Ratios are relative to
`ffmpeg -threads 2 -i x -f null -` for the same file in the same run.

The column "correct" counts the frames whose barcode is that of the frame on screen at the reported time. For Longview the time
must also be a requested one, and no frame may be missing (with `--key-frames-only`: no key frame). Peers that are not installed
are left out: `pip install qwen-vl-utils torchcodec opencv-python-headless` adds them.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from longview.video.decoding.backends.base import TOLERANCE_S
from longview.video.decoding.decoder import Decoder
from longview.video.ffmpeg import ffmpeg_path
from tests.support.barcodes import HEIGHT, NUMBERS, WIDTH, barcode, number_read

FPS = 25
KEY_FRAME_INTERVAL = 250
"""Number of frames from one key frame to the next."""
SIZE = (256, 448)
"""Height and width of the sampled frames in pixels: about those of a plan for a 2-hour video."""


@dataclass(frozen=True)
class SourceVideo:
    """A rendered video to sample from."""

    name: str
    width: int
    height: int
    seconds: int
    container: str = "mp4"

    @property
    def file(self) -> str:
        """Name of its file."""
        return f"{self.name}.{self.container}"


SOURCES = {
    source.file: source
    for source in (
        SourceVideo("720p10m", 1280, 720, 600),
        SourceVideo("360p1h", 640, 360, 3600),
        SourceVideo("1080p5m", 1920, 1080, 300),
        SourceVideo("360p1h", 640, 360, 3600, "mkv"),
    )
}
TASKS = (
    ("720p10m.mp4", 600),
    ("720p10m.mp4", 64),
    ("360p1h.mp4", 64),
    ("360p1h.mp4", 768),
    ("360p1h.mp4", 2048),
    ("360p1h.mkv", 64),
    ("360p1h.mkv", 768),
    ("1080p5m.mp4", 2048),
)
"""File and number of sampled frames; 600 frames of ten minutes are one per second."""


def render(source: SourceVideo, target: Path) -> None:
    """Render H.264 with B-frames, a key frame every 10 seconds, and a barcode in the upper left quarter of each frame."""
    partial = target.with_name(f"partial.{source.container}")
    barcode_size = f"{source.width // 2}:{source.height // 2}"
    overlay = f"[0]scale={barcode_size}:flags=neighbor[code];[1][code]overlay=0:0:shortest=1,format=yuv420p"
    command = [
        ffmpeg_path(), "-y", "-v", "error",
        "-f", "rawvideo", "-pix_fmt", "gray", "-s", f"{WIDTH}x{HEIGHT}", "-r", str(FPS), "-i", "pipe:",
        "-f", "lavfi", "-i", f"testsrc2=s={source.width}x{source.height}:r={FPS}:d={source.seconds}",
        "-filter_complex", overlay,
        "-c:v", "libx264", "-preset", "veryfast", "-crf", "23", "-g", str(KEY_FRAME_INTERVAL), "-bf", "3", "-sc_threshold", "0",
        str(partial),
    ]  # fmt: skip
    process = subprocess.Popen(command, stdin=subprocess.PIPE)
    assert process.stdin is not None
    codes = [barcode(number).tobytes() for number in range(NUMBERS)]
    for number in range(source.seconds * FPS):
        process.stdin.write(codes[number % NUMBERS])
    process.stdin.close()
    if process.wait():
        raise SystemExit(f"ffmpeg could not render {target}")
    partial.replace(target)


# -- one row: runs in its own process -----------------------------------------------------------------------------


def requested_times(source: SourceVideo, count: int) -> list[float]:
    """Return evenly spaced times, like those of a plan."""
    return [source.seconds * index / count for index in range(count)]


def count_correct(frames: NDArray[np.uint8], times_s: NDArray[np.float64]) -> int:
    """Count the frames (N, H, W, 3) that are the frame on screen at their time."""
    barcodes = frames[:, : frames.shape[1] // 2, : frames.shape[2] // 2]
    numbers = [number_read(frame[: len(frame) // 3 * 3, : frame.shape[1] // 5 * 5]) for frame in barcodes]
    expected = np.floor(np.asarray(times_s) * FPS + 0.02).astype(int) % NUMBERS
    return int((np.asarray(numbers) == expected).sum())


def sample_longview(path: Path, source: SourceVideo, count: int, backend: str) -> tuple[int, int]:
    """Return the number of frames, and how many of them are correct; chunk by chunk, as the engine receives them."""
    key_frames_only = backend == "key frames"
    decoder = Decoder(backend="pyav" if key_frames_only else backend, key_frames_only=key_frames_only)  # type: ignore[arg-type]
    video = decoder.probe(path, known_hash="unread")
    requested = np.asarray(requested_times(source, count))
    # The start of the frame that is on screen at each requested time, or of the key frame before it.
    frame_numbers = (
        requested * FPS // KEY_FRAME_INTERVAL * KEY_FRAME_INTERVAL
        if key_frames_only
        else np.floor((requested + TOLERANCE_S) * FPS)
    )
    expected_s = np.unique(frame_numbers) / FPS
    frames = correct = 0
    for chunk in decoder.frames_played_at(video, requested.tolist(), *SIZE):
        if not np.allclose(chunk.times_s, expected_s[frames : frames + len(chunk)], atol=1e-3):
            raise SystemExit("frames of other times than the requested ones were decoded")
        frames += len(chunk)
        correct += count_correct(chunk.frames, chunk.times_s)
    decoder.close()
    if frames != len(expected_s):
        raise SystemExit(f"{frames} frames were decoded, not {len(expected_s)}")
    return frames, correct


def sample_qwen_vl_utils(path: Path, source: SourceVideo, count: int, backend: str) -> tuple[int, int]:
    """Sample by `fetch_video`, as its users do, with the frame size of Longview."""
    os.environ["FORCE_QWENVL_VIDEO_READER"] = backend
    os.environ["FPS_MAX_FRAMES"] = "4096"
    os.environ["TORCHCODEC_NUM_THREADS"] = "2"
    from qwen_vl_utils import fetch_video

    request: dict[str, Any] = {"video": str(path), "nframes": count, "resized_height": SIZE[0], "resized_width": SIZE[1]}
    (video, metadata), _ = fetch_video(request, image_patch_size=16, return_video_sample_fps=True, return_video_metadata=True)
    frames = video.permute(0, 2, 3, 1).round().clamp(0, 255).to(dtype=__import__("torch").uint8).numpy()
    times_s = np.asarray(metadata["frames_indices"]) / metadata["fps"]
    return len(frames), count_correct(frames, times_s)


def sample_transformers(path: Path, source: SourceVideo, count: int, backend: str) -> tuple[int, int]:
    """Sample by `load_video` and the resize of the processor."""
    import torch
    from torchvision.transforms.v2 import functional
    from transformers.video_utils import load_video

    decoded, metadata = load_video(str(path), num_frames=count, backend=backend)
    frames = torch.as_tensor(np.asarray(decoded))
    # Its backends differ in the position of the colour axis.
    frames = frames.permute(0, 3, 1, 2) if frames.shape[-1] == 3 else frames
    resized_frames = functional.resize(frames, list(SIZE), antialias=True)
    times_s = np.asarray(metadata.frames_indices) / metadata.fps
    return len(resized_frames), count_correct(resized_frames.permute(0, 2, 3, 1).numpy(), times_s)


def decode_all(path: Path, source: SourceVideo, count: int, threads: str) -> tuple[int, int]:
    """Decode the whole file and discard the frames."""
    subprocess.run([ffmpeg_path(), "-v", "error", "-threads", threads, "-i", str(path), "-f", "null", "-"], check=True)
    return 0, 0


BASELINE = "ffmpeg -f null"
ROWS = {
    BASELINE: (decode_all, "2"),
    "Longview": (sample_longview, "pyav"),
    "Longview --key-frames-only": (sample_longview, "key frames"),
    "Longview --backend ffmpeg": (sample_longview, "ffmpeg"),
    "Longview --backend decord": (sample_longview, "decord"),
    "qwen-vl-utils decord": (sample_qwen_vl_utils, "decord"),
    "qwen-vl-utils torchcodec": (sample_qwen_vl_utils, "torchcodec"),
    "transformers pyav": (sample_transformers, "pyav"),
    "transformers decord": (sample_transformers, "decord"),
    "transformers torchcodec": (sample_transformers, "torchcodec"),
}


# -- measurement --------------------------------------------------------------------------------------------------


class PeakMemory(threading.Thread):
    """A sampler of the memory of a process and its children. Shared pages count for each of them, as in the kernel's figures."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._process = psutil.Process(pid)
        self.peak_bytes = 0

    def run(self) -> None:
        """Sample until the process ends."""
        try:
            while self._process.is_running():
                processes = [self._process, *self._process.children(recursive=True)]
                total = 0
                for process in processes:
                    try:
                        total += process.memory_info().rss
                    except psutil.NoSuchProcess:
                        continue
                self.peak_bytes = max(self.peak_bytes, total)
                time.sleep(0.02)
        except psutil.NoSuchProcess:
            return


def measure_row(row: str, path: Path, source: SourceVideo, count: int) -> dict[str, Any] | None:
    """Run one row in a process; return None if the peer is missing or fails."""
    command = [sys.executable, "-m", "benchmarks.bench_decode", "--row", row, "--path", str(path), "--source", source.file]
    process = subprocess.Popen([*command, "--count", str(count)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    peak = PeakMemory(process.pid)
    peak.start()
    stdout, stderr = process.communicate(timeout=1800)
    peak.join()
    if process.returncode:
        last = stderr.strip().splitlines()[-1:] or ["?"]
        print(f"  {row}: left out ({'killed' if process.returncode < 0 else last[0][:100]})", file=sys.stderr)
        return None
    return json.loads(stdout.splitlines()[-1]) | {"peak_bytes": peak.peak_bytes}


def run_row(row: str, path: Path, source: SourceVideo, count: int) -> None:
    """Print wall and CPU seconds, without imports, and the numbers of frames and of correct frames."""
    sample, option = ROWS[row]
    if sample is sample_transformers:
        import transformers.video_utils  # noqa: F401 (the import is not part of the time)
    elif sample is sample_qwen_vl_utils:
        import qwen_vl_utils as _  # noqa: F401
    before, start = os.times(), time.perf_counter()
    frames, correct = sample(path, source, count, option)
    wall_s, after = time.perf_counter() - start, os.times()
    cpu_s = sum(getattr(after, name) - getattr(before, name) for name in ("user", "system", "children_user", "children_system"))
    print(json.dumps({"wall_s": wall_s, "cpu_s": cpu_s, "frames": frames, "correct": correct}))


def main() -> None:
    """Render the missing videos, run all rows, and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "longview-bench-decode")
    parser.add_argument("--only", default="", help="only tasks or rows whose name contains this text")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each row; the fastest counts")
    parser.add_argument("--row")
    parser.add_argument("--path", type=Path)
    parser.add_argument("--source")
    parser.add_argument("--count", type=int)
    options = parser.parse_args()
    if options.row:
        run_row(options.row, options.path, SOURCES[options.source], options.count)
        return
    options.folder.mkdir(parents=True, exist_ok=True)
    print("| video | frames | reader | wall s | wall / baseline | CPU / baseline | peak MB | correct |")
    print("|---|---|---|---|---|---|---|---|")
    for name, count in TASKS:
        source, path = SOURCES[name], options.folder / name
        if not path.exists():
            render(source, path)
        baseline: dict[str, Any] | None = None
        rows = [row for row in ROWS if options.only in f"{name} {count} {row}" and row != BASELINE]
        # Ratios are relative to the baseline of the same task.
        for row in [BASELINE, *rows] if rows else []:
            results = [measure_row(row, path, source, count) for _ in range(options.repeat)]
            successful = [result for result in results if result]
            if not successful:
                continue
            best = min(successful, key=lambda result: result["wall_s"])
            baseline = baseline or best
            print(
                f"| {name} | {count} | {row} | {best['wall_s']:.2f} | {best['wall_s'] / baseline['wall_s']:.2f} "
                f"| {best['cpu_s'] / baseline['cpu_s']:.2f} | {best['peak_bytes'] / 1e6:.0f} | "
                f"{best['correct']} of {best['frames']} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
