"""What the benchmarks of pages share: pages of Chromium, transferred bytes, and figures of frames, memory and nodes."""

import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import psutil
from playwright.sync_api import Browser, Error, Page, Request, sync_playwright

from tests.support.browser import CHROMIUM, CHROMIUM_ARGUMENTS

WIDTH_PX, HEIGHT_PX = 1280, 800
"""Size of the visible part of the page, in pixels."""
COUNT_NODES = """() => {
  let count = 0;
  const add = (root) => {
    const walker = document.createTreeWalker(root);
    do {
      count += 1;
      if (walker.currentNode.shadowRoot) add(walker.currentNode.shadowRoot);
    } while (walker.nextNode());
  };
  add(document);
  return count;
}"""
"""Script that returns the number of nodes of a document, with texts and shadow roots."""


@contextmanager
def running_browser() -> Iterator[Browser]:
    """Start a browser without a window; end the program if there is none."""
    if CHROMIUM is None:
        sys.exit("There is no Chromium; install one (on Debian and Ubuntu: apt install chromium).")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(browser: Browser) -> Iterator[Page]:
    """Open a page of its own profile."""
    page = browser.new_page(viewport={"width": WIDTH_PX, "height": HEIGHT_PX})
    try:
        yield page
    finally:
        page.close()


def load_and_date() -> str:
    """Return the load average and the date, for the text above a table."""
    load = " ".join(f"{value:.1f}" for value in psutil.getloadavg())
    return f"load {load} at the start, {time.strftime('%Y-%m-%d')}"


def note_transfers(page: Page) -> list[int]:
    """Return a list to which the bytes of each response are added from now on."""
    sizes: list[int] = []
    page.on("requestfinished", partial(_note_size, sizes))
    return sizes


def _note_size(sizes: list[int], request: Request) -> None:
    try:
        size = request.sizes()
    except Error:
        # A response that the browser has dropped has none.
        return
    sizes.append(size["responseBodySize"] + size["responseHeadersSize"])


def transfer_cells(transfers: list[tuple[int, int]]) -> list[str]:
    """Return the cells of the median number of requests, and of the median of their kB, from pairs of number and bytes."""
    requests, size = (int(statistics.median(values)) for values in zip(*transfers, strict=True))
    return [f"{requests}", f"{size / 1000:,.0f}"]


def p95(values: list[float]) -> float:
    """Return the 95th percentile."""
    return sorted(values)[int(0.95 * len(values))]


def tab_memory_bytes() -> int:
    """Return the memory that only the largest process of a page has: what the browser's own task manager shows (Linux)."""
    sizes = [0]
    for process in psutil.Process().children(recursive=True):
        try:
            if "--type=renderer" in process.cmdline():
                full = process.memory_full_info()
                sizes.append(full.uss + full.swap)
        except psutil.NoSuchProcess:
            continue
    return max(sizes)
