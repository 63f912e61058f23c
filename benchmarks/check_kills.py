"""Kill `longview index` with SIGKILL at random moments, call it again until it is done, and compare with an uninterrupted run.

    python -m benchmarks.check_kills [--kills N] [--seed N]

The video has pictures that the demo checkpoint captions, speech, text on screen and subtitles, so that all sources run. The last
line of the result is in docs/reliability.md.
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
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil

import longview.app.samples
from longview.indexing.library import DATABASE
from longview.video.ffmpeg import ffmpeg_path
from longview.video.synthetic import render, sample_scene

SAMPLES = Path(longview.app.samples.__path__[0])
SHAPES_S = 150.0
LATEST_KILL_S = 30.0
"""Latest moment of a kill after the start of the process, in seconds; its first seconds are imports."""
ORPHAN_S = 5.0
"""Maximum time that a child process may outlive its parent, in seconds."""
VOLATILE = {"seconds_spent", "updated_at", "added_at", "path", "segment_id", "passage_id", "number"}
"""Columns that differ between two runs: times of day, time spent, and running numbers."""
TABLES = ("videos", "tracks", "segments", "passages", "earlier_tracks", "earlier_segments", "caption_windows")


def main() -> None:
    """Kill until there were enough kills, and print a row for each round."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    generator = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        video = make_video(Path(folder))
        library = Path(folder) / "uninterrupted"
        start_s = time.monotonic()
        assert start(video, library).wait() == 0
        whole_s = time.monotonic() - start_s
        expected = content(library)
        counts = {name: len(rows) for name, rows in expected.items()}
        print(f"An uninterrupted run takes {whole_s:.0f} s and writes {counts}.", flush=True)
        kills, rounds, differences, orphans, left_over = 0, 0, 0, 0, 0
        while kills < arguments.kills:
            library = Path(folder) / f"killed-{rounds}"
            killed_at, orphans_now = kill_until_done(video, library, generator, arguments.kills - kills)
            is_equal, left = content(library) == expected, left_files(library)
            kills, rounds = kills + len(killed_at), rounds + 1
            differences, orphans, left_over = differences + (not is_equal), orphans + orphans_now, left_over + len(left)
            print(
                f"Round {rounds}: killed after {killed_at} s; equal: {is_equal}; orphans: {orphans_now}; left: {left}", flush=True
            )
            shutil.rmtree(library)
        print(
            f"{kills} kills in {rounds} rounds: {differences} results differ, {orphans} orphan processes, "
            f"{left_over} temporary files."
        )
        sys.exit(1 if differences or orphans or left_over else 0)


def make_video(folder: Path) -> Path:
    """Make a video of shapes and of narrated slides, with subtitles in another language beside it."""
    shapes = render(folder / "shapes.mp4", sample_scene(SHAPES_S, 12, seed=4), SHAPES_S, fps=5)
    target = folder / "all sources.mp4"
    scaled = "scale=320:180:force_original_aspect_ratio=decrease,pad=320:180:-1:-1,fps=5,setsar=1,format=yuv420p"
    graph = f"[0:v]{scaled}[a];[1:v]{scaled}[b];[a][b]concat=n=2:v=1:a=0[v];[1:a]adelay={int(SHAPES_S * 1000)}:all=1[s]"
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
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def kill_until_done(video: Path, library: Path, generator: random.Random, max_kills: int) -> tuple[list[float], int]:
    """Start and kill until a run comes to its end; return when each was killed, in seconds, and the number of orphans."""
    killed_at: list[float] = []
    orphans = 0
    while True:
        process = start(video, library)
        wait_s = generator.uniform(0.5, LATEST_KILL_S) if len(killed_at) < max_kills else None
        try:
            code = process.wait(wait_s)
        except subprocess.TimeoutExpired:
            children = psutil.Process(process.pid).children(recursive=True)
            process.kill()
            process.wait()
            killed_at.append(round(wait_s or 0.0, 1))
            _, alive = psutil.wait_procs(children, timeout=ORPHAN_S)
            orphans += len(alive)
            continue
        assert code == 0, f"longview index ended with {code}"
        return killed_at, orphans


def content(library: Path) -> dict[str, list[Any]]:
    """Return what a library says of its videos, without what differs between two runs."""
    with closing(sqlite3.connect(library / DATABASE)) as db:
        db.row_factory = sqlite3.Row
        return {
            table: sorted(
                json.dumps({name: row[name] for name in row.keys() if name not in VOLATILE})  # noqa: SIM118 (a row is no dict)
                for row in db.execute(f"SELECT * FROM {table}")
            )
            for table in TABLES
        }


def left_files(library: Path) -> list[str]:
    """Return the temporary files in a library folder."""
    return [path.name for path in library.rglob("*") if "partial" in path.name or path.suffix == ".tmp"]


if __name__ == "__main__":
    main()
