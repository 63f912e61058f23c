"""The library page in a headless browser: time until it is usable, frames while scrolling, requests, and CPU time while idle.

    python -m benchmarks.bench_page [--videos 1000 10000] [--idle-s 60]

It fills a library with made-up videos, starts a server over it, and drives Chromium. The floor of the frames is a page of the
same height with nothing in it, scrolled in the same way in the same run; that of the idle time is the same browser with
`about:blank`.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psutil
from playwright.sync_api import Browser, Error, Page, Request, sync_playwright

from benchmarks.check_report import line
from longview.indexing.sqlite.library import Library
from tests.support.browser import CHROMIUM, CHROMIUM_ARGUMENTS
from tests.support.library_samples import put_captions, sample_entry, sample_events
from tests.support.page_servers import Server, running_server

WIDTH_PX, HEIGHT_PX = 1280, 800
"""Size of the visible part of the page, in pixels."""
ROUNDS = 5
"""Number of times that the page is opened; the median counts."""
SCROLL_FRAMES, SCROLL_PX = 300, 240
"""Number of frames of the scroll, and its step, in pixels."""
COLUMNS = ("videos", "usable s", "requests", "kB", "frame p95 ms", "floor ms", "idle CPU s", "about:blank CPU s", "server MB")
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
SCROLL = """async ([frames, step]) => {
  const times = [];
  let before = performance.now();
  for (let number = 0; number < frames; number++) {
    window.scrollBy(0, step);
    await new Promise(requestAnimationFrame);
    const now = performance.now();
    times.push(now - before);
    before = now;
  }
  return times;
}"""


def fill(folder: Path, count: int) -> None:
    """Fill a library with videos whose files do not exist."""
    library = Library(folder)
    for number in range(count):
        put_captions(library, sample_entry(f"{number:012x}", f"Recording {number:05}"), sample_events("a red circle"))


@contextmanager
def opened(browser: Browser) -> Iterator[Page]:
    """Open a page of its own profile."""
    page = browser.new_page(viewport={"width": WIDTH_PX, "height": HEIGHT_PX})
    try:
        yield page
    finally:
        page.close()


def measure(browser: Browser, server: Server, count: int, idle_s: float) -> tuple[str, ...]:
    """Return the cells of a row."""
    usable_s, sizes = [], []
    for _ in range(ROUNDS):
        with opened(browser) as page:
            transferred: list[int] = []
            page.on("requestfinished", partial(_note_size, transferred))
            page.add_init_script(WATCH_FOR_CARDS)
            page.goto(server.url)
            page.wait_for_function("window.usableMs !== null")
            usable_s.append(page.evaluate("window.usableMs") / 1000)
            page.wait_for_timeout(1000)
            sizes.append((len(transferred), sum(transferred)))
    with opened(browser) as page:
        page.goto(server.url)
        page.locator("longview-library .card").first.wait_for()
        page.wait_for_timeout(1000)
        frames_ms = page.evaluate(SCROLL, [SCROLL_FRAMES, SCROLL_PX])
        height = page.evaluate("document.documentElement.scrollHeight")
        page.evaluate("window.scrollTo(0, 0)")
        page.wait_for_timeout(2000)
        idle_cpu_s = _cpu_s_while(lambda: page.wait_for_timeout(1000 * idle_s), server)
    with opened(browser) as page:
        page.set_content(f"<!DOCTYPE html><body style='margin:0;height:{height}px'>")
        floor_ms = page.evaluate(SCROLL, [SCROLL_FRAMES, SCROLL_PX])
    with opened(browser) as page:
        page.goto("about:blank")
        page.wait_for_timeout(2000)
        blank_cpu_s = _cpu_s_while(lambda: page.wait_for_timeout(1000 * idle_s), None)
    memory = psutil.Process(server.process.pid).memory_info().rss
    requests, size = (int(statistics.median(values)) for values in zip(*sizes, strict=True))
    cells = (
        f"{count:,}",
        f"{statistics.median(usable_s):.2f}",
        f"{requests}",
        f"{size / 1000:.0f}",
        f"{_p95(frames_ms):.1f}",
        f"{_p95(floor_ms):.1f}",
        f"{idle_cpu_s:.2f}",
        f"{blank_cpu_s:.2f}",
        f"{memory / 1e6:.0f}",
    )
    return cells


def _note_size(sizes: list[int], request: Request) -> None:
    try:
        size = request.sizes()
    except Error:
        # A response that the browser has dropped has none.
        return
    sizes.append(size["responseBodySize"] + size["responseHeadersSize"])


def _p95(values: list[float]) -> float:
    return sorted(values)[int(0.95 * len(values))]


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
    if CHROMIUM is None:
        sys.exit("There is no Chromium; install one (on Debian and Ubuntu: apt install chromium).")
    load = " ".join(f"{value:.1f}" for value in psutil.getloadavg())
    print(f"load {load} at the start, {time.strftime('%Y-%m-%d')}\n")
    print(line(COLUMNS))
    print(line(["---"] * len(COLUMNS)))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGUMENTS)
        for count in options.videos:
            with tempfile.TemporaryDirectory() as name:
                fill(Path(name), count)
                with running_server(Path(name)) as server:
                    print(line(measure(browser, server, count, options.idle_s)), flush=True)
        browser.close()


if __name__ == "__main__":
    main()
