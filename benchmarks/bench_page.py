"""The library page in a headless browser: time until it is usable, frames while scrolling, requests, and CPU time while idle.

    python -m benchmarks.bench_page [--videos 1000 10000] [--idle-s 60]

It fills a library with copies of a small video, each with a poster of its own, starts a server over it, and drives Chromium. The
page is scrolled from its beginning to its end in strokes; after each it rests, so that posters are loaded. All frames count.
Those in which a row of the view lacks its cards are counted, too. The floor of the frames is a page of the same height with
nothing in it, scrolled in the same way in the same run; that of the idle time is the same browser with `about:blank`, after the
server has ended.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
import psutil
from PIL import Image
from playwright.sync_api import Browser, Response

from benchmarks.check_report import line
from benchmarks.page.driving import load_and_date, note_transfers, opened, p95, running_browser, transfer_cells
from longview.app.files.posters import SHARES
from longview.core.atomic import create_folder
from longview.indexing.library_files import THUMBNAILS
from longview.indexing.sqlite.library import Library
from longview.video.synthetic import background, draw, render
from longview.video.synthetic import sample_events as sample_shapes
from tests.support.library_samples import put_file
from tests.support.page_servers import Server, running_server

ROUNDS = 5
"""Number of times that the page is opened; the median counts."""
SCROLL_FRAMES, MAX_SCROLL_PX = 300, 480
"""Number of frames in which the page is moved, at least, and the largest step of one, in pixels."""
STROKE_FRAMES, REST_FRAMES = 30, 20
"""Number of frames in which the page is moved without a rest, and of those of the rest."""
DURATION_S = 100.0
"""Length of each video, in seconds, which is that of `sample_entry`."""
POSTERS = 200
"""Number of different posters; one of them is of each 200th video."""
POSTER_WIDTH_PX, POSTER_HEIGHT_PX = 320, 180
NOISE = 16.0
"""Standard deviation of the noise on posters, of 255: they have 15 to 20 KB, as those of films."""
COLUMNS = (
    "videos",
    "usable s",
    "requests",
    "kB",
    "frame p95 ms",
    "floor ms",
    "frames without cards",
    "idle CPU s",
    "about:blank CPU s",
    "server MB",
)
WATCH_FOR_CARDS = """
window.usableMs = null;
const look = () => {
  const cards = document.querySelector('longview-library')?.shadowRoot?.querySelectorAll('.card');
  if (cards?.length) window.usableMs = performance.now();
  else requestAnimationFrame(look);
};
requestAnimationFrame(look);
"""
"""Script that notes when the first cards are on the page, in milliseconds from the start of the navigation."""
SCROLL = """async ([leastFrames, maxStep, strokeFrames, restFrames]) => {
  const library = document.querySelector('longview-library')?.shadowRoot;
  const grid = library?.querySelector('.grid');
  const painted = new MessageChannel();
  const room = document.documentElement.scrollHeight - innerHeight;
  const step = Math.min(maxStep, Math.ceil(room / leastFrames));
  const times = [];
  let blank = 0;
  // Whether some of the part of the grid that is in view has no card. The gap below a row belongs to it.
  const isBlank = () => {
    const place = grid.getBoundingClientRect();
    let covered = Math.max(0, place.top);
    const rows = new Map();
    for (const card of grid.querySelectorAll('.card')) {
      const { top, bottom } = card.getBoundingClientRect();
      rows.set(Math.round(top), bottom);
    }
    const tops = [...rows.keys()].sort((one, other) => one - other);
    const gap = tops.length > 1 ? Math.max(0, tops[1] - rows.get(tops[0])) : 0;
    for (const top of tops) if (top <= covered + 1) covered = Math.max(covered, rows.get(top) + gap);
    return covered < Math.min(innerHeight, place.bottom) - 1;
  };
  await new Promise(requestAnimationFrame);
  let before = performance.now();
  const frame = async (move) => {
    scrollBy({ top: move, behavior: 'instant' });
    await new Promise(requestAnimationFrame);
    const now = performance.now();
    times.push(now - before);
    before = now;
    // The page draws its cards in this frame; what is looked at has been painted.
    await new Promise((resolve) => { painted.port1.onmessage = resolve; painted.port2.postMessage(null); });
    if (grid && isBlank()) blank += 1;
  };
  for (let moved = 0; moved < room; ) {
    for (let number = 0; number < strokeFrames && moved < room; number++, moved += step) await frame(step);
    for (let number = 0; number < restFrames; number++) await frame(0);
  }
  return { times, blank, isAtEnd: scrollY >= document.documentElement.scrollHeight - innerHeight - 1 };
}"""
"""Script that scrolls to the end, and returns the times between frames in milliseconds and the number of those without cards."""
SCROLL_ARGUMENTS = [SCROLL_FRAMES, MAX_SCROLL_PX, STROKE_FRAMES, REST_FRAMES]


def fill(folder: Path, count: int) -> Path:
    """Make a library of real videos with posters, which it has as after their first use; return its folder."""
    library = Library(folder / "library")
    shapes = sample_shapes(DURATION_S, 4, seed=1)
    whole = render(folder / "video.mp4", shapes, DURATION_S, width=64, height=48, fps=1.0).read_bytes()
    posters = [_poster(number) for number in range(min(count, POSTERS))]
    create_folder(library.folder / THUMBNAILS)
    for number in range(count):
        path = folder / f"{number:05}.mp4"
        # A box that players skip makes the contents differ.
        path.write_bytes(whole + (8 + 8).to_bytes(4, "big") + b"free" + number.to_bytes(8, "big"))
        entry = put_file(library, path, f"Recording {number:05}")
        poster = library.folder / THUMBNAILS / f"{entry.video_id}-{round(1000 * SHARES[0] * entry.duration_s)}.jpg"
        poster.write_bytes(posters[number % POSTERS])
    return library.folder


def _poster(number: int) -> bytes:
    """Return a picture with as much detail as one of a film, as JPEG."""
    rng = np.random.default_rng(number)
    noise = rng.normal(0, NOISE, (POSTER_HEIGHT_PX, POSTER_WIDTH_PX, 3))
    frame = draw(
        [replace(shape, start_s=0.0) for shape in sample_shapes(DURATION_S, 2, seed=number)],
        0.0,
        background(POSTER_HEIGHT_PX, POSTER_WIDTH_PX, seed=number),
    )
    buffer = BytesIO()
    Image.fromarray(np.clip(frame + noise, 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def measure(browser: Browser, server: Server, count: int, idle_s: float) -> tuple[list[str], str]:
    """Return the cells of a row that come before that of `about:blank`, and the one behind it."""
    usable_s, sizes = [], []
    for _ in range(ROUNDS):
        with opened(browser) as page:
            transferred = note_transfers(page)
            page.add_init_script(WATCH_FOR_CARDS)
            page.goto(server.url)
            page.wait_for_function("window.usableMs !== null")
            usable_s.append(page.evaluate("window.usableMs") / 1000)
            page.wait_for_timeout(1000)
            sizes.append((len(transferred), sum(transferred)))
    with opened(browser) as page:
        posters: set[str] = set()
        page.on("response", partial(_note_poster, posters))
        page.goto(server.url)
        page.locator("longview-library .card").first.wait_for()
        page.wait_for_timeout(1000)
        first_posters = len(posters)
        scroll = page.evaluate(SCROLL, SCROLL_ARGUMENTS)
        if not scroll["isAtEnd"] or not 0 < first_posters < len(posters):
            sys.exit(f"The scroll has not come to the end, or not loaded posters ({first_posters}, then {len(posters)}).")
        height = page.evaluate("document.documentElement.scrollHeight")
        page.evaluate("window.scrollTo(0, 0)")
        page.wait_for_timeout(2000)
        idle_cpu_s = _cpu_s_while(lambda: page.wait_for_timeout(1000 * idle_s), server)
    with opened(browser) as page:
        page.set_content(f"<!DOCTYPE html><body style='margin:0;height:{height}px'>")
        floor = page.evaluate(SCROLL, SCROLL_ARGUMENTS)
    memory = psutil.Process(server.process.pid).memory_info().rss
    cells = [
        f"{count:,}",
        f"{statistics.median(usable_s):.2f}",
        *transfer_cells(sizes),
        f"{p95(scroll['times']):.1f}",
        f"{p95(floor['times']):.1f}",
        f"{scroll['blank']:,} of {len(scroll['times']):,}",
        f"{idle_cpu_s:.2f}",
    ]
    return cells, f"{memory / 1e6:.0f}"


def measure_blank(browser: Browser, idle_s: float) -> str:
    """Return the cell of `about:blank`. No server may be running."""
    with opened(browser) as page:
        page.goto("about:blank")
        page.wait_for_timeout(2000)
        return f"{_cpu_s_while(lambda: page.wait_for_timeout(1000 * idle_s), None):.2f}"


def _note_poster(addresses: set[str], response: Response) -> None:
    if response.ok and response.url.endswith("/poster.jpg"):
        addresses.add(response.url)


def _cpu_s_while(wait: Callable[[], None], server: Server | None) -> float:
    """Return the CPU seconds of all processes of the browser, and of the server, while something runs."""
    before = _cpu_s(server)
    wait()
    return _cpu_s(server) - before


def _cpu_s(server: Server | None) -> float:
    roots = [psutil.Process()] + ([psutil.Process(server.process.pid)] if server else [])
    processes = {process.pid: process for root in roots for process in root.children(recursive=True)}
    if server:
        processes[server.process.pid] = psutil.Process(server.process.pid)
    total = 0.0
    for process in processes.values():
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total


def main() -> None:
    """Print one row for each size of the library."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--idle-s", type=float, default=60.0)
    options = parser.parse_args()
    with running_browser() as browser:
        print(f"{load_and_date()}\n")
        print(line(COLUMNS))
        print(line(["---"] * len(COLUMNS)))
        for count in options.videos:
            with tempfile.TemporaryDirectory() as name:
                with running_server(fill(Path(name), count)) as server:
                    cells, memory = measure(browser, server, count, options.idle_s)
                print(line([*cells, measure_blank(browser, options.idle_s), memory]), flush=True)


if __name__ == "__main__":
    main()
