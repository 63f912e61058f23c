"""Time and memory of screen text, compared with rapidocr as it comes on each frame of the same rate.

    python -m benchmarks.bench_screen_text [FILE ...] [--minutes N] [--threads N]

Without files, a slide show is rendered: a slide every 20 s with a title, three points and a clock, at 25 frames per second. Each
row runs in a process of its own. Its wall and CPU time include the loading of the models, but no imports. Its CPU time and peak
memory include the processes that it starts. Where other programs share the CPU, the CPU time is the one to compare.

Ratios are relative to the first row: `RapidOCR()` with its default options on one frame a second of the same size.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from benchmarks.bench_decode import PeakMemory
from longview.app.ingest.options import IndexOptions
from longview.app.service import Longview
from longview.app.settings import Settings
from longview.model.screen_text.reader import CHUNK_FRAMES
from longview.model.screen_text.readings import normalized, similarity
from longview.model.screen_text.recognizer import frame_size
from longview.video.decoding.decoder import Decoder
from longview.video.ffmpeg import ffmpeg_path

SIZE = 1280, 720
SLIDE_S = 20
FPS = 25
TIMEOUT_S = 14_400.0
FONT = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
WORDS = (
    *("harbour", "bridge", "budget", "engineer", "pillar", "crack", "traffic", "ferry", "summer", "council", "report", "citizen"),
    *("station", "tunnel", "concrete", "steel", "river", "pavement", "schedule", "contract", "inspector", "sensor", "repair"),
    *("closure", "detour", "crane", "barge", "welding", "measure", "survey"),
)
CLOCK = "12:"
"""Beginning of the clock, which is not counted."""
FOUND_SIMILARITY = 0.9
"""Similarity from which a line counts as read."""


def slide_lines(number: int) -> list[str]:
    """Return the title and the points of a slide."""
    numbers = np.random.default_rng(number)
    points = [" ".join(numbers.choice(WORDS, size)) for size in (4, 6, 8)]
    return [f"Part {number + 1}: {points[0]}", *points]


def slide(number: int, second: int) -> NDArray[np.uint8]:
    """Draw a slide."""
    image = Image.new("RGB", SIZE, (250, 250, 245))
    draw = ImageDraw.Draw(image)
    title, *points = slide_lines(number)
    draw.text((80, 60), title, font=ImageFont.truetype(str(FONT), 48), fill=(20, 40, 90))
    for row, point in enumerate(points):
        draw.text((110, 200 + 110 * row), point, font=ImageFont.truetype(str(FONT), 34), fill=(30, 30, 30))
    clock = f"{CLOCK}{second // 60 % 60:02d}:{second % 60:02d}"
    draw.text((1080, 670), clock, font=ImageFont.truetype(str(FONT), 24), fill=(90, 90, 90))
    return np.asarray(image)


def render_slides(path: Path, duration_s: int) -> None:
    """Write the slide show. Each second is drawn once."""
    size = f"{SIZE[0]}x{SIZE[1]}"
    source = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", "1", "-i", "-")
    codec = ("-r", str(FPS), "-c:v", "libx264", "-preset", "veryfast", "-crf", "26", "-pix_fmt", "yuv420p")
    with subprocess.Popen([ffmpeg_path(), "-y", "-v", "error", *source, *codec, str(path)], stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        for second in range(duration_s):
            process.stdin.write(slide(second // SLIDE_S, second).tobytes())
        process.stdin.close()


# -- one row: runs in its own process -----------------------------------------------------------------------------


def read_longview(path: Path, threads: int) -> list[str]:
    """Index the text of a file, as `longview index --sources screen_text` does."""
    with tempfile.TemporaryDirectory() as folder:
        app = Longview(Settings(library=Path(folder), device="cpu", cpu_threads=threads))
        entry = app.index(path, IndexOptions(sources=("screen_text",))).result().entry
        texts = [segment.text for segment in app.segments(entry, "screen_text")]
        app.parts.decoder.close()
    return texts


def _each_second(path: Path) -> Iterator[NDArray[np.uint8]]:
    decoder = Decoder()
    video = decoder.probe(path)
    times_s = [float(second) for second in range(max(1, int(video.duration_s)))]
    for chunk in decoder.frames_played_at(video, times_s, *frame_size(video), chunk_frames=CHUNK_FRAMES):
        yield from chunk.frames
    decoder.close()


def read_plain(path: Path, threads: int) -> list[str]:
    """Call the library with each frame, as its documentation does."""
    from rapidocr import RapidOCR
    from rapidocr.utils.output import RapidOCROutput

    engine = RapidOCR(params={"Global.log_level": "critical", "EngineConfig.onnxruntime.intra_op_num_threads": threads})
    texts: dict[str, None] = {}
    for frame in _each_second(path):
        output = engine(np.ascontiguousarray(frame[..., ::-1]))
        assert isinstance(output, RapidOCROutput)
        texts |= dict.fromkeys(output.txts or ())
    return list(texts)


ROWS: dict[str, Callable[[Path, int], list[str]]] = {"rapidocr, each second": read_plain, "Longview": read_longview}
"""The first row is the one to which the others are compared."""


def run_row(row: str, path: Path, threads: int) -> None:
    """Print the wall and CPU seconds and the texts of a row as JSON."""
    import rapidocr  # noqa: F401 (the import is not part of the time)

    before, start = os.times(), time.perf_counter()
    texts = ROWS[row](path, threads)
    wall_s, after = time.perf_counter() - start, os.times()
    cpu_s = sum(getattr(after, name) - getattr(before, name) for name in ("user", "system", "children_user", "children_system"))
    print(json.dumps({"wall_s": wall_s, "cpu_s": cpu_s, "texts": texts}))


# -- measurement --------------------------------------------------------------------------------------------------


def measure_row(row: str, path: Path, threads: int) -> dict[str, Any]:
    """Run one row in a process; return its `wall_s`, `cpu_s`, `texts` and `peak_bytes`."""
    command = [sys.executable, "-m", "benchmarks.bench_screen_text", "--row", row, "--threads", str(threads), str(path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    peak = PeakMemory(process.pid)
    peak.start()
    stdout, _ = process.communicate(timeout=TIMEOUT_S)
    peak.join()
    if process.returncode:
        raise SystemExit(f"{row} failed with exit code {process.returncode}")
    return json.loads(stdout.splitlines()[-1]) | {"peak_bytes": peak.peak_bytes}


def scores(truth: list[str], texts: list[str]) -> tuple[float, int]:
    """Return the share of the true lines that were read, and the number of lines that were read but not shown."""
    true_keys = [normalized(text) for text in truth]
    keys = [normalized(text) for text in texts if not text.startswith(CLOCK)]
    true_key_set = set(true_keys)
    read = set(keys)
    missed_keys = [key for key in true_keys if key not in read and not _has_similar(key, read)]
    wrong = [key for key in keys if key not in true_key_set and not _has_similar(key, true_key_set)]
    return 1.0 - len(missed_keys) / max(1, len(true_keys)), len(wrong)


def _has_similar(key: str, others: set[str]) -> bool:
    return any(similarity(key, other) >= FOUND_SIMILARITY for other in others)


def print_table(path: Path, truth: list[str], threads: int) -> None:
    """Run all rows on a file, and print a Markdown table."""
    minutes = Decoder(processes=1).probe(path).duration_s / 60
    print(f"\n{path.name}, {minutes:.1f} min, {threads} thread(s)\n")
    print("| reader | wall s per minute | CPU s per minute | ratio | peak MB | ratio | lines | recall | false lines |")
    print("|---|---|---|---|---|---|---|---|---|")
    base: dict[str, Any] | None = None
    for row in ROWS:
        result = measure_row(row, path, threads)
        base = base or result
        recall, false_lines = scores(truth, result["texts"]) if truth else (None, None)
        print(
            f"| {row} | {result['wall_s'] / minutes:.2f} "
            f"| {result['cpu_s'] / minutes:.2f} | {result['cpu_s'] / base['cpu_s']:.2f} "
            f"| {result['peak_bytes'] / 1e6:.0f} | {result['peak_bytes'] / base['peak_bytes']:.2f} | {len(result['texts'])} "
            f"| {'' if recall is None else f'{recall:.3f}'} | {'' if false_lines is None else false_lines} |",
            flush=True,
        )


def main(arguments: list[str] | None = None) -> None:
    """Measure the files, or a slide show that is rendered."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, help="videos; by default a slide show is rendered")
    parser.add_argument("--minutes", type=int, default=3, help="minutes of the slide show")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of the models")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.row:
        run_row(options.row, options.files[0], options.threads)
        return
    for path in options.files:
        print_table(path, [], options.threads)
    if not options.files:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "slides.mp4"
            render_slides(path, 60 * options.minutes)
            truth = [line for number in range(60 * options.minutes // SLIDE_S) for line in slide_lines(number)]
            print_table(path, truth, options.threads)


if __name__ == "__main__":
    main()
