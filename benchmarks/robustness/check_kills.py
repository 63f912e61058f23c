"""Interrupt `longview index` at random moments, call it again until it is done, and compare with an uninterrupted run.

    python -m benchmarks.robustness.check_kills [--fill] [--count N] [--seed N]

The process is killed with SIGKILL, or with `--fill` the disk of the library is filled to its last byte until the process ends,
and then freed again; that needs root, to mount a disk of 64 MB. The video has pictures that the demo checkpoint captions, speech,
text on screen and subtitles, so that all sources run. The last line of the result is in docs/reliability.md.
"""

import argparse
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

import longview.app.samples
from longview.indexing.sqlite.database.database import DATABASE
from longview.video.ffmpeg import ffmpeg_path
from longview.video.synthetic import render, sample_scene

SAMPLES = Path(longview.app.samples.__path__[0])
SHAPES_S = 150.0
DISK = "64m"
LATEST_S = 30.0
"""Latest moment of an interruption after the start of the process, in seconds; its first seconds are imports."""
END_S = 120.0
"""Maximum time until a process ends whose disk is full, in seconds."""
LOG = Path(tempfile.gettempdir()) / "longview-check-kills.log"
"""What the last process wrote to stderr."""
ORPHAN_S = 5.0
"""Maximum time that a child process may outlive its parent, in seconds."""
VOLATILE = {"seconds_spent", "updated_at", "added_at", "path", "segment_id", "passage_id", "number"}
"""Columns that differ between two runs: times of day, time spent, and running numbers."""
TABLES = ("videos", "tracks", "segments", "passages", "earlier_tracks", "earlier_segments", "caption_windows")


def main() -> None:
    """Interrupt until there were enough interruptions, and print a row for each round."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--fill", action="store_true")
    arguments = parser.parse_args()
    generator = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder, disk(Path(folder, "disk"), is_small=arguments.fill) as libraries:
        video = make_video(Path(folder))
        start_s = time.monotonic()
        assert start(video, Path(folder, "uninterrupted")).wait() == 0
        whole_s = time.monotonic() - start_s
        expected = content(Path(folder, "uninterrupted"))
        counts = {name: len(rows) for name, rows in expected.items()}
        print(f"An uninterrupted run takes {whole_s:.0f} s and writes {counts}.", flush=True)
        total, rounds, problems = 0, 0, 0
        while total < arguments.count:
            library = libraries / f"library-{rounds}"
            interrupt = fill_disk if arguments.fill else kill
            times_s, faults = interrupt_until_done(video, library, generator, arguments.count - total, interrupt)
            faults += differences(content(library), expected)
            faults += [f"{name} is left" for name in left_files(library)]
            total, rounds, problems = total + len(times_s), rounds + 1, problems + len(faults)
            print(f"Round {rounds}: interrupted after {times_s} s; faults: {faults}", flush=True)
            shutil.rmtree(library)
        print(f"{total} interruptions in {rounds} rounds: {problems} faults.")
        sys.exit(1 if problems else 0)


@contextmanager
def disk(folder: Path, *, is_small: bool) -> Iterator[Path]:
    """Make a folder for libraries, with a small disk of its own if it is to be filled."""
    folder.mkdir()
    if is_small:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "none", str(folder)], check=True)
    try:
        yield folder
    finally:
        if is_small:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def make_video(folder: Path) -> Path:
    """Make a video of shapes and of narrated slides, with subtitles in another language beside it."""
    shapes = render(folder / "shapes.mp4", sample_scene(SHAPES_S, 12, seed=4), SHAPES_S, fps=5)
    target = folder / "all sources.mp4"
    filters = "scale=320:180:force_original_aspect_ratio=decrease,pad=320:180:-1:-1,fps=5,setsar=1,format=yuv420p"
    graph = f"[0:v]{filters}[a];[1:v]{filters}[b];[a][b]concat=n=2:v=1:a=0[v];[1:a]adelay={int(SHAPES_S * 1000)}:all=1[s]"
    inputs = ["-i", str(shapes), "-i", str(SAMPLES / "narrated-slides.mp4")]
    output = ["-map", "[v]", "-map", "[s]", "-c:v", "libx264", "-preset", "veryfast", "-c:a", "aac", str(target)]
    subprocess.run([ffmpeg_path(), "-y", "-v", "error", *inputs, "-filter_complex", graph, *output], check=True)
    cues = [f"{number}\n00:00:{number:02},000 --> 00:00:{number:02},900\nZeile {number}.\n" for number in range(1, 4)]
    target.with_suffix(".de.srt").write_text("\n".join(cues), encoding="utf-8")
    return target


def start(video: Path, library: Path) -> "subprocess.Popen[bytes]":
    """Start `longview index`."""
    environment = os.environ | {"LONGVIEW_LIBRARY": str(library), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "longview.app", "index", "--model", "demo", "--yes", str(video)]
    with LOG.open("wb") as log:
        return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=log)


def interrupt_until_done(
    video: Path,
    library: Path,
    generator: random.Random,
    max_count: int,
    interrupt: "Callable[[subprocess.Popen[bytes], Path], list[str]]",
) -> tuple[list[float], list[str]]:
    """Start and interrupt until a run comes to its end; return when each was interrupted, in seconds, and what went wrong."""
    times_s: list[float] = []
    faults: list[str] = []
    while True:
        process = start(video, library)
        wait_s = generator.uniform(0.5, LATEST_S) if len(times_s) < max_count else None
        try:
            code = process.wait(wait_s)
        except subprocess.TimeoutExpired:
            times_s.append(round(wait_s or 0.0, 1))
            faults += interrupt(process, library)
            continue
        return times_s, faults + ([] if code == 0 else [f"longview index ended with {code}"])


def kill(process: "subprocess.Popen[bytes]", library: Path) -> list[str]:
    """Kill a process; return which of its children outlive it."""
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(children, timeout=ORPHAN_S)
    return [f"process {child.pid} is left" for child in alive]


def fill_disk(process: "subprocess.Popen[bytes]", library: Path) -> list[str]:
    """Fill the disk to its last byte until a process ends, and free it again; return what is wrong with how it ended."""
    filler = library.parent / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        for size in (1 << 20, 1):
            with suppress(OSError):
                while True:
                    file.write(bytes(size))
    code = process.wait(END_S)
    log_lines = LOG.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    filler.unlink()
    # A run that had nothing more to write comes to its end.
    is_expected = code == 0 or (code == 1 and "disk" in log_lines[-1] and "full" in log_lines[-1])
    return [] if is_expected else [f"it ended with {code} and said {log_lines[-1:]}"]


def content(library: Path) -> dict[str, list[Any]]:
    """Return what a library says of its videos, without what differs between two runs."""
    with closing(sqlite3.connect(library / DATABASE)) as db:
        db.row_factory = sqlite3.Row
        return {
            table: sorted(
                json.dumps({name: row[name] for name in row.keys() if name not in VOLATILE})  # noqa: SIM118 (a row is not a dict)
                for row in db.execute(f"SELECT * FROM {table}")
            )
            for table in TABLES
        }


def differences(actual: dict[str, list[Any]], expected: dict[str, list[Any]]) -> list[str]:
    """Return the rows that one of two libraries has and the other has not."""
    return [
        f"{table}: {what} {row}"
        for table in expected
        for what, rows, others in (("unexpected", actual[table], expected[table]), ("missing", expected[table], actual[table]))
        for row in rows
        if row not in others
    ]


def left_files(library: Path) -> list[str]:
    """Return the temporary files in a library folder."""
    return [path.name for path in library.rglob("*") if "partial" in path.name or path.suffix == ".tmp"]


if __name__ == "__main__":
    main()
