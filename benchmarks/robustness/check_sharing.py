"""Search, index, remove and export in many processes over one library at once; print errors, wrong results and search times.

    python -m benchmarks.robustness.check_sharing [--minutes N] [--searchers N] [--indexers N]

Each process is its own, as with eight users and two scripts. A search is wrong if it does not find the line that the library
has had from the start, or returns a text that its video never had. The floor is one searcher that has the machine to itself, in
the same run. The last lines are in docs/reliability.md.
"""

import argparse
import multiprocessing
import random
import statistics
import tempfile
import time
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from longview.app.ingest.options import IndexOptions
from longview.app.service import Longview
from longview.app.settings import Settings
from longview.indexing.records.track import video_id_of
from longview.video.probing.content_hash import content_hash
from longview.video.synthetic import render, sample_scene

WORDS = ["harbour", "lantern", "window", "garden", "letter", "bridge", "market", "forest", "kettle", "ribbon", "anchor", "meadow"]
FIXED_LINE = "A xylophone stands in the cellar."
DURATION_S, LINES = 20.0, 60
FLOOR_S = 20.0
"""Time for which one searcher has the machine to itself, in seconds."""
FILES = 6
"""Number of files that each indexer adds and removes in turn."""


def main() -> None:
    """Run the floor, then all processes for some minutes, and print what they found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--searchers", type=int, default=8)
    parser.add_argument("--indexers", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = [[make_video(folder, indexer, number) for number in range(FILES)] for indexer in range(arguments.indexers)]
        fixed_video = make_video(folder, 99, 0)
        open_library(folder).index(fixed_video).result()
        true_texts = {
            video_id_of(content_hash(path)): texts_of(path) for path in (fixed_video, *(path for some in paths for path in some))
        }
        floor = run(folder, true_texts, [], 1, FLOOR_S)
        print(row("one searcher alone", floor), flush=True)
        together = run(folder, true_texts, paths, arguments.searchers, arguments.minutes * 60)
        print(row(f"{arguments.searchers} searchers beside {arguments.indexers} indexers", together))
        print(f"{together['indexed']} files indexed, {together['removed']} removed, {together['exported']} exports.")
        for problem in dict.fromkeys(together["problems"]):
            print(f"PROBLEM: {problem}")
        raise SystemExit(1 if together["problems"] else 0)


def make_video(folder: Path, indexer: int, number: int) -> Path:
    """Make a video of shapes with lines of subtitles beside it."""
    seed = 1000 * indexer + number
    path = render(folder / f"{indexer}-{number}.mp4", sample_scene(DURATION_S, 2, seed=seed), DURATION_S, fps=5, seed=seed)
    generator = random.Random(seed)
    lines = [" ".join(generator.choices(WORDS, k=4)) for _ in range(LINES)]
    lines = [FIXED_LINE, *lines] if indexer == 99 else lines
    step_s = DURATION_S / len(lines)
    cues = [f"{index}\n{clock(index * step_s)} --> {clock((index + 0.9) * step_s)}\n{line}\n" for index, line in enumerate(lines)]
    path.with_suffix(".srt").write_text("\n".join(cues), encoding="utf-8")
    return path


def clock(time_s: float) -> str:
    """Return a time as SubRip has it."""
    return f"00:00:{int(time_s):02},{int(time_s % 1 * 1000):03}"


def texts_of(path: Path) -> set[str]:
    """Return the lines of the subtitles of a video."""
    return set(path.with_suffix(".srt").read_text(encoding="utf-8").splitlines())


def open_library(folder: Path) -> Longview:
    """Open the shared library in this process."""
    return Longview(Settings(library=folder / "library", model="demo", device="cpu", cpu_threads=1))


def run(
    folder: Path, true_texts: dict[str, set[str]], paths: list[list[Path]], searchers: int, duration_s: float
) -> dict[str, Any]:
    """Run searchers, and an indexer for each list of paths, for some time; return what they report together."""
    context = multiprocessing.get_context("spawn")
    reports, stop = context.Queue(), context.Event()
    processes = [context.Process(target=search, args=(folder, true_texts, seed, stop, reports)) for seed in range(searchers)]
    processes += [context.Process(target=index, args=(folder, some, seed, stop, reports)) for seed, some in enumerate(paths)]
    for process in processes:
        process.start()
    time.sleep(duration_s)
    stop.set()
    total: dict[str, Any] = {"times_s": [], "problems": [], "indexed": 0, "removed": 0, "exported": 0}
    for _ in processes:
        for name, value in reports.get(timeout=300).items():
            total[name] += value
    for process in processes:
        process.join()
    return total


def search(folder: Path, true_texts: dict[str, set[str]], seed: int, stop: Event, reports: Any) -> None:
    """Search again and again, and check each result."""
    app, generator = open_library(folder), random.Random(seed)
    times_s: list[float] = []
    problems: list[str] = []
    app.search("warm up", verify=False).result()
    while not stop.is_set():
        query = generator.choice([*WORDS, "xylophone"])
        start_s = time.perf_counter()
        try:
            moments = app.search(query, verify=False, limit=20).result().moments
        except Exception as error:
            problems.append(f"search: {type(error).__name__}: {error}")
            continue
        times_s.append(time.perf_counter() - start_s)
        hits = [(moment.video_id, item.segment) for moment in moments for item in moment.evidence]
        subtitles = [(video_id, segment.text) for video_id, segment in hits if segment.source == "subtitles"]
        problems += [f"wrong text {text!r}" for video_id, text in subtitles if text not in true_texts.get(video_id, ())]
        if query == "xylophone" and FIXED_LINE not in [text for _, text in subtitles]:
            problems.append("the line that is always there was not found")
    reports.put({"times_s": times_s, "problems": problems})


def index(folder: Path, paths: list[Path], seed: int, stop: Event, reports: Any) -> None:
    """Index files, export what is there, and remove some of them, again and again."""
    app, generator = open_library(folder), random.Random(seed)
    counts = {"indexed": 0, "removed": 0, "exported": 0}
    problems: list[str] = []
    while not stop.is_set():
        path = generator.choice(paths)
        try:
            result = app.index(path, IndexOptions(sources=("subtitles", "screen_text", "captions"))).result()
            problems += [f"index: {failure.reason}" for failure in result.failures]
            counts["indexed"] += 1
            if set(filter(str.isalpha, app.export(result.entry, "txt", ["subtitles"]))) == set():
                problems.append("an export is empty")
            counts["exported"] += 1
            if generator.random() < 0.5:
                app.remove(result.entry)
                counts["removed"] += 1
        except Exception as error:
            problems.append(f"index: {type(error).__name__}: {error}")
    reports.put(counts | {"problems": problems})


def row(name: str, total: dict[str, Any]) -> str:
    """Return the search times of a run in milliseconds."""
    times_ms = sorted(1000 * time_s for time_s in total["times_s"])
    p95 = statistics.quantiles(times_ms, n=20)[-1]
    return (
        f"{name}: {len(times_ms)} searches, median {statistics.median(times_ms):.0f} ms, p95 {p95:.0f} ms, "
        f"longest {times_ms[-1]:.0f} ms, {len(total['problems'])} problems"
    )


if __name__ == "__main__":
    main()
