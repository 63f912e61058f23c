"""Estimates of the time of `index` against the truth, for twelve files of six kinds.

    python -m benchmarks.estimates.check_index_estimates [--media FOLDER] [--rounds 2]

Each file is indexed in a process of its own, into a new library. In the first round nothing is known of the machine; in the
second one it has indexed one other file before, the first of the list (for the first one: the last).

`first` is the estimate of `plan` on a machine that knows nothing, as a multiple of the time that `index` took; `other kind` and
`same kind` are those after one earlier run, of the first file, and of the other file of the same kind. `growth` is the largest
ratio of the remaining time to its least value so far, where both are ten seconds or more. The load is that of the last minute;
`contention` is how much longer the threads took because other programs ran in their place: the estimates hold on a machine that
stays as busy as it was.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from benchmarks.estimates.estimate_media import make_files

MIN_LEFT_S = 10.0
"""Remaining time from which its growth is examined, in seconds."""
POLL_S = 0.25


def index(cache: Path, path: Path) -> dict[str, Any]:
    """Index a file in this process; return its time, and the remaining times that were shown with their times."""
    from longview.app.service import Longview
    from longview.app.settings import Settings

    shares: list[tuple[float, float, float]] = []
    has_ended = threading.Event()
    start_s = time.monotonic()
    with tempfile.TemporaryDirectory() as library:
        app = Longview(Settings(library=Path(library), cache=cache))
        stream = app.index(path)

        def watch() -> None:
            while not has_ended.wait(POLL_S):
                report = stream.progress.report
                if report.seconds_left is not None:
                    now_s = time.monotonic() - start_s
                    shares.append((round(now_s, 2), round(report.fraction, 4), round(report.seconds_left, 2)))

        watcher = threading.Thread(target=watch)
        watcher.start()
        result = stream.result()
        has_ended.set()
        watcher.join()
        contention = waiting_factor()
    reports = {report.source: (report.status, round(report.seconds_spent, 2)) for report in result.reports}
    return {"seconds": result.seconds_spent, "contention": contention, "shown": shares, "sources": reports}


def waiting_factor() -> float:
    """Return how much longer the threads of this process and of its decoders took because others ran in their place.

    It is 1 where that is unknown: only Linux states the time that a thread has waited for a processor.
    """
    running_ns = waiting_ns = 0
    for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
        for path in Path(f"/proc/{process.pid}/task").glob("*/schedstat"):
            with suppress(OSError, ValueError):
                running, waiting, _ = map(int, path.read_text().split())
                running_ns, waiting_ns = running_ns + running, waiting_ns + waiting
    return (running_ns + waiting_ns) / running_ns if running_ns else 1.0


def estimates(cache: Path, paths: Sequence[Path]) -> dict[str, dict[str, float]]:
    """Return the estimates of `plan` for files that nothing was loaded for, by their names, in seconds."""
    from longview.app.service import Longview
    from longview.app.settings import Settings
    from longview.core.timeline import Span

    result = {}
    for path in paths:
        with tempfile.TemporaryDirectory() as library:
            app = Longview(Settings(library=Path(library), cache=cache))
            other_s = app.parts.indexer.other_seconds
            video = app.parts.media.open(path)
            decisions, _ = app.parts.indexer.decisions(video, Span(0.0, video.duration_s))
            parts = {name: item.estimated_seconds or 0.0 for name, item in decisions.items() if item.action == "run"}
            result[path.name] = {"total": sum(parts.values()) + other_s, **parts}
    return result


def growth(shares: Sequence[tuple[float, float, float]]) -> float:
    """Return the largest ratio of a remaining time to an earlier one, where both are at least `MIN_LEFT_S`."""
    largest, least_s = 1.0, float("inf")
    for _, _, left_s in shares:
        if left_s >= MIN_LEFT_S:
            largest = max(largest, left_s / max(least_s, MIN_LEFT_S) if least_s < float("inf") else 1.0)
        least_s = min(least_s, left_s)
    return largest


def call(name: str, cache: Path, *paths: Path) -> Any:
    """Run one of the functions above in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.estimates.check_index_estimates", f"--{name}", str(cache), *map(str, paths)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    return json.loads(output.splitlines()[-1])


def main() -> None:
    """Print one row for each file and round."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--media", type=Path, help="Folder of the files; those that are there already are used.")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--details", type=Path, help="File for what was shown, as JSON.")
    parser.add_argument("--index", nargs=2, type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--estimates", nargs="+", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.index:
        print(json.dumps(index(*options.index)))
        return
    if options.estimates:
        print(json.dumps(estimates(options.estimates[0], options.estimates[1:])))
        return
    with tempfile.TemporaryDirectory() as folder:
        run_all(Path(folder), options.media or Path(folder), options.rounds, options.details)


def run_all(folder: Path, media: Path, rounds: int, details: Path | None) -> None:
    """Index all files, and print the tables."""
    kinds = make_files(media)
    files = [(kind, path) for kind, paths in kinds.items() for path in paths]
    partner = {paths[number]: paths[1 - number] for paths in kinds.values() for number in (0, 1)}
    first = call("estimates", folder / "empty", *(path for _, path in files))
    runs: dict[tuple[int, Path], dict[str, Any]] = {}
    print("| round | kind | file | time s | load | contention | growth |\n|---|---|---|---|---|---|---|")
    for round_number in range(rounds):
        for kind, path in files:
            cache = folder / f"{round_number}-{path.name}"
            if round_number:
                shutil.copytree(folder / f"0-{_other(files, path).name}", cache)
            load = os.getloadavg()[0]
            run = runs[round_number, path] = call("index", cache, path)
            row = f"{round_number + 1} | {kind} | {path.name} | {run['seconds']:.1f} | {load:.1f} | {run['contention']:.2f}"
            print(f"| {row} | {growth(run['shown']):.2f} |", flush=True)
            if details:
                facts = {f"{number + 1} {path.name}": run for (number, path), run in runs.items()}
                details.write_text(json.dumps({"runs": facts, "first": first}), encoding="utf-8")
        latest = {path: runs[round_number, path] for _, path in files}
        print_ratios(folder, files, partner, first, latest)
        print(f"largest growth of the remaining time: {max(growth(run['shown']) for run in runs.values()):.2f}", flush=True)


def print_ratios(
    folder: Path,
    files: Sequence[tuple[str, Path]],
    partner: dict[Path, Path],
    first: dict[str, dict[str, float]],
    runs: dict[Path, dict[str, Any]],
) -> None:
    """Print the estimates of each file as multiples of its time."""
    start = files[0][1]
    after_start = call("estimates", folder / f"0-{start.name}", *(path for _, path in files[1:]))
    after_start |= call("estimates", folder / f"0-{_other(files, start).name}", start)
    print("\n| kind | file | time s | first | other kind | same kind |\n|---|---|---|---|---|---|")
    ratios: dict[str, list[float]] = {"first": [], "other kind": [], "same kind": []}
    for kind, path in files:
        after_partner = call("estimates", folder / f"0-{partner[path].name}", path)
        cases = {"first": first, "other kind": after_start, "same kind": after_partner}
        seconds = runs[path]["seconds"]
        row = {name: estimate[path.name]["total"] / seconds for name, estimate in cases.items()}
        for name, ratio in row.items():
            ratios[name].append(max(ratio, 1 / ratio))
        print(f"| {kind} | {path.name} | {seconds:.1f} | " + " | ".join(f"{ratio:.2f}" for ratio in row.values()) + " |")
    for name, factors in ratios.items():
        print(f"{name}: largest factor {max(factors):.2f}, median {statistics.median(factors):.2f}")


def _other(files: Sequence[tuple[str, Path]], path: Path) -> Path:
    """Return the file that was indexed before another one: the first one, or the last one before the first."""
    return files[-1][1] if path == files[0][1] else files[0][1]


if __name__ == "__main__":
    main()
