"""Sampling frames from long videos: time and memory against plain decoding, qwen-vl-utils and transformers.

    python -m benchmarks.bench_decode [--folder DIR] [--only TEXT] [--repeat N]

Renders its videos once into `--folder` (about 5 minutes on two cores): every picture carries its number as a barcode.
Each row runs in a process of its own; its wall time, CPU time and peak memory include all processes that it starts.
Ratios are to `ffmpeg -threads 2 -i x -f null -` over the same file in the same run. "right" counts frames whose barcode
is that of the picture on screen at the time that the reader claims; for Longview the time must also be the wanted one, and
as many must come as were wanted (with `--fast` as there are key frames among them). Peers that are not installed are left
out: `pip install qwen-vl-utils torchcodec opencv-python-headless` adds them.
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

from longview.video.backends.base import TOLERANCE_S
from longview.video.decoder import Decoder
from longview.video.ffmpeg import ffmpeg_path
from tests.barcodes import HEIGHT, NUMBERS, WIDTH, barcode, number_read

FPS = 25
KEY_FRAMES = 250
"""Every so many frames."""
SIZE = (256, 448)
"""Height and width of the sampled frames: about what a 2-hour video gets."""


@dataclass(frozen=True)
class Film:
    """A video to sample from."""

    name: str
    width: int
    height: int
    seconds: int
    container: str = "mp4"

    @property
    def file(self) -> str:
        """Its file's name."""
        return f"{self.name}.{self.container}"


FILMS = {
    film.file: film
    for film in (
        Film("720p10m", 1280, 720, 600),
        Film("360p1h", 640, 360, 3600),
        Film("1080p5m", 1920, 1080, 300),
        Film("360p1h", 640, 360, 3600, "mkv"),
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
"""Film and number of frames; 600 of ten minutes is one a second."""


def render(film: Film, target: Path) -> None:
    """H.264 with B-frames and a key frame every 10 seconds, a barcode in the upper left quarter of each picture."""
    partial = target.with_name(f"partial.{film.container}")
    frames = f"{film.width // 2}x{film.height // 2}"
    command = [
        *(ffmpeg_path(), "-y", "-v", "error", "-f", "rawvideo", "-pix_fmt", "gray", "-s", f"{WIDTH}x{HEIGHT}", "-r", str(FPS)),
        *("-i", "pipe:", "-f", "lavfi", "-i", f"testsrc2=s={film.width}x{film.height}:r={FPS}:d={film.seconds}"),
        *(
            "-filter_complex",
            f"[0]scale={frames.replace('x', ':')}:flags=neighbor[code];[1][code]overlay=0:0:shortest=1,format=yuv420p",
        ),
        *(
            "-c:v",
            "libx264",
            "-preset",
            "veryfast",
            "-crf",
            "23",
            "-g",
            str(KEY_FRAMES),
            "-bf",
            "3",
            "-sc_threshold",
            "0",
            str(partial),
        ),
    ]
    process = subprocess.Popen(command, stdin=subprocess.PIPE)
    assert process.stdin is not None
    codes = [barcode(number).tobytes() for number in range(NUMBERS)]
    for number in range(film.seconds * FPS):
        process.stdin.write(codes[number % NUMBERS])
    process.stdin.close()
    if process.wait():
        raise SystemExit("ffmpeg failed")
    partial.replace(target)


# -- one row: runs in a process of its own ------------------------------------------------------------------------


def wanted_times(film: Film, count: int) -> list[float]:
    """Evenly spaced, as a plan has them."""
    return [film.seconds * index / count for index in range(count)]


def right(frames: NDArray[np.uint8], times_s: NDArray[np.float64]) -> int:
    """How many of the frames (N, H, W, 3) are the picture on screen at their time."""
    code = frames[:, : frames.shape[1] // 2, : frames.shape[2] // 2]
    numbers = [number_read(frame[: len(frame) // 3 * 3, : frame.shape[1] // 5 * 5]) for frame in code]
    expected = np.floor(np.asarray(times_s) * FPS + 0.02).astype(int) % NUMBERS
    return int((np.asarray(numbers) == expected).sum())


def longview(path: Path, film: Film, count: int, reader: str) -> tuple[int, int]:
    """Frames and how many of them are right; chunk by chunk, as the engine takes them."""
    decoder = Decoder(backend="pyav" if reader == "fast" else reader, key_frames_only=reader == "fast")  # type: ignore[arg-type]
    video = decoder.probe(path, known_hash="unread")
    wanted = np.asarray(wanted_times(film, count))
    # The start of the picture that is on screen at each wanted time, or of the key frame before it.
    starts = (
        np.unique(np.floor((wanted + TOLERANCE_S) * FPS) if reader != "fast" else wanted * FPS // KEY_FRAMES * KEY_FRAMES) / FPS
    )
    found = good = 0
    for chunk in decoder.frames_played_at(video, wanted.tolist(), *SIZE):
        if not np.allclose(chunk.times_s, starts[found : found + len(chunk)], atol=1e-3):
            raise SystemExit("frames came for other times than those that were wanted")
        found += len(chunk)
        good += right(chunk.frames, chunk.times_s)
    decoder.close()
    if found != len(starts):
        raise SystemExit(f"{found} frames came, not {len(starts)}")
    return found, good


def qwen_vl_utils(path: Path, film: Film, count: int, reader: str) -> tuple[int, int]:
    """As its users call it, with the size fixed to ours."""
    os.environ["FORCE_QWENVL_VIDEO_READER"] = reader
    os.environ["FPS_MAX_FRAMES"] = "4096"
    os.environ["TORCHCODEC_NUM_THREADS"] = "2"
    from qwen_vl_utils import fetch_video

    asked: dict[str, Any] = {"video": str(path), "nframes": count, "resized_height": SIZE[0], "resized_width": SIZE[1]}
    (video, metadata), _ = fetch_video(asked, image_patch_size=16, return_video_sample_fps=True, return_video_metadata=True)
    frames = video.permute(0, 2, 3, 1).round().clamp(0, 255).to(dtype=__import__("torch").uint8).numpy()
    times_s = np.asarray(metadata["frames_indices"]) / metadata["fps"]
    return len(frames), right(frames, times_s)


def transformers_load(path: Path, film: Film, count: int, reader: str) -> tuple[int, int]:
    """`load_video` and its processor's resize."""
    import torch
    from torchvision.transforms.v2 import functional
    from transformers.video_utils import load_video

    frames, metadata = load_video(str(path), num_frames=count, backend=reader)
    pictures = torch.as_tensor(np.asarray(frames))
    # Its readers differ in where they have the colours.
    pictures = pictures.permute(0, 3, 1, 2) if pictures.shape[-1] == 3 else pictures
    resized = functional.resize(pictures, list(SIZE), antialias=True)
    times_s = np.asarray(metadata.frames_indices) / metadata.fps
    return len(resized), right(resized.permute(0, 2, 3, 1).numpy(), times_s)


def floor(path: Path, film: Film, count: int, reader: str) -> tuple[int, int]:
    """Decode everything, keep nothing."""
    subprocess.run([ffmpeg_path(), "-v", "error", "-threads", reader, "-i", str(path), "-f", "null", "-"], check=True)
    return 0, 0


FLOOR = "ffmpeg -f null"
ROWS = {
    FLOOR: (floor, "2"),
    "Longview": (longview, "pyav"),
    "Longview --fast": (longview, "fast"),
    "Longview --reader ffmpeg": (longview, "ffmpeg"),
    "Longview --reader decord": (longview, "decord"),
    "qwen-vl-utils decord": (qwen_vl_utils, "decord"),
    "qwen-vl-utils torchcodec": (qwen_vl_utils, "torchcodec"),
    "transformers pyav": (transformers_load, "pyav"),
    "transformers decord": (transformers_load, "decord"),
    "transformers torchcodec": (transformers_load, "torchcodec"),
}


# -- measuring ----------------------------------------------------------------------------------------------------


class PeakMemory(threading.Thread):
    """Samples the memory of a process and its children; shared pages count once for each, as the kernel shows them."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._process = psutil.Process(pid)
        self.peak_bytes = 0

    def run(self) -> None:
        """Until the process is gone."""
        try:
            while self._process.is_running():
                family = [self._process, *self._process.children(recursive=True)]
                total = 0
                for member in family:
                    try:
                        total += member.memory_info().rss
                    except psutil.NoSuchProcess:
                        continue
                self.peak_bytes = max(self.peak_bytes, total)
                time.sleep(0.02)
        except psutil.NoSuchProcess:
            return


def measured(row: str, path: Path, film: Film, count: int) -> dict[str, Any] | None:
    """Run one row in a process; None if the peer is missing or fails."""
    command = [sys.executable, "-m", "benchmarks.bench_decode", "--row", row, "--path", str(path), "--film", film.file]
    process = subprocess.Popen([*command, "--count", str(count)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    peak = PeakMemory(process.pid)
    peak.start()
    said, complaints = process.communicate(timeout=1800)
    peak.join()
    if process.returncode:
        last = complaints.strip().splitlines()[-1:] or ["?"]
        print(f"  {row}: left out ({'killed' if process.returncode < 0 else last[0][:100]})", file=sys.stderr)
        return None
    return json.loads(said.splitlines()[-1]) | {"peak_bytes": peak.peak_bytes}


def run_row(row: str, path: Path, film: Film, count: int) -> None:
    """Print wall and CPU seconds, imports left out, and how many frames are right."""
    function, reader = ROWS[row]
    if function is transformers_load:
        import transformers.video_utils  # noqa: F401 (importing is not decoding)
    elif function is qwen_vl_utils:
        import qwen_vl_utils as _  # noqa: F401
    before, begun = os.times(), time.perf_counter()
    found, good = function(path, film, count, reader)
    wall_s, after = time.perf_counter() - begun, os.times()
    cpu_s = sum(getattr(after, name) - getattr(before, name) for name in ("user", "system", "children_user", "children_system"))
    print(json.dumps({"wall_s": wall_s, "cpu_s": cpu_s, "frames": found, "right": good}))


def main() -> None:
    """Render what is missing, run all rows, print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "longview-bench-decode")
    parser.add_argument("--only", default="", help="only tasks or rows whose name has this in it")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each row; the fastest counts")
    parser.add_argument("--row")
    parser.add_argument("--path", type=Path)
    parser.add_argument("--film")
    parser.add_argument("--count", type=int)
    options = parser.parse_args()
    if options.row:
        run_row(options.row, options.path, FILMS[options.film], options.count)
        return
    options.folder.mkdir(parents=True, exist_ok=True)
    print("| video | frames | reader | wall s | wall, of floor | CPU, of floor | peak MB | right |")
    print("|---|---|---|---|---|---|---|---|")
    for name, count in TASKS:
        film, path = FILMS[name], options.folder / name
        if not path.exists():
            render(film, path)
        base: dict[str, Any] | None = None
        chosen = [row for row in ROWS if options.only in f"{name} {count} {row}" and row != FLOOR]
        # Every ratio is to the floor of its own task.
        for row in [FLOOR, *chosen] if chosen else []:
            runs = [measured(row, path, film, count) for _ in range(options.repeat)]
            found = [run for run in runs if run]
            if not found:
                continue
            best = min(found, key=lambda run: run["wall_s"])
            base = base or best
            print(
                f"| {name} | {count} | {row} | {best['wall_s']:.2f} | {best['wall_s'] / base['wall_s']:.2f} "
                f"| {best['cpu_s'] / base['cpu_s']:.2f} | {best['peak_bytes'] / 1e6:.0f} | "
                f"{best['right']} of {best['frames']} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
