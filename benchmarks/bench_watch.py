"""The watch page in a headless browser: time until it shows something, seeks, frames, memory and nodes, for a long video.

    python -m benchmarks.bench_watch [--prototype FILE]

The video lasts ten hours, and has 5,000 captions, 100,000 spoken words with their times, and a waveform. The prototype is a
program that serves a page with a player, a strip and a list inside of Gradio on the port of its argument, over a file `long.mp4`
of 20 minutes beside it. It is measured in turn with the page of this project, in the same way, and has no row without the option.

Each opening begins at another document of the same server, as from the library: browsers start a process for a page to which
another site or an empty tab leads, because its policy (`Cross-Origin-Opener-Policy`) asks for it. A page is opened when the first
row of its list is in view and its strip has drawn something below its ruler. A seek begins with a click on a row, and has ended
when the player shows its time and the row is marked. All frames of a scroll and of a zoom count.
"""

import argparse
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import numpy as np
from playwright.sync_api import Browser, Page

from benchmarks.check_report import line
from benchmarks.page.driving import (
    COUNT_NODES,
    load_and_date,
    note_transfers,
    opened,
    p95,
    running_browser,
    tab_memory_bytes,
    transfer_cells,
)
from longview.app.service import Longview
from longview.core.atomic import create_folder
from longview.core.timeline import Segment, Span, Word
from longview.indexing.library_files import THUMBNAILS
from longview.indexing.sqlite.library import Library
from longview.video.waveform import PEAKS_PER_S, peak_count
from tests.support.app_samples import demo_settings
from tests.support.library_samples import put_file, sample_track
from tests.support.page_servers import free_port, running_server

ROUNDS = 7
"""Number of times that each page is opened; the median counts."""
SEEKS = 12
"""Number of rows that are clicked."""
DURATION_S, CAPTIONS, WORDS, SEGMENT_WORDS = 36_000.0, 5_000, 100_000, 10
PROTOTYPE_DURATION_S = 1200.0
VOCABULARY = 3000
"""Number of different words."""
SCROLL_FRAMES, SCROLL_PX = 400, 480
"""Number of frames in which a list is scrolled, and the distance of each, in pixels."""
ZOOM_FRAMES, ZOOMS = 48, 3
"""Number of frames of a zoom to a second, and of one back; and number of both."""
START_TIMEOUT_S = 60.0
OTHER_DOCUMENT = "/favicon.ico"
"""Path of a document that servers of Gradio have."""
COLUMNS = (
    "page",
    "opened s",
    "all read s",
    "opened again s",
    "requests",
    "kB",
    "seek ms, median",
    "worst",
    "captions p95 ms",
    "words p95 ms",
    "frames without rows",
    "zoom p95 ms",
    "tab MB",
    "nodes",
)
PARTS = """
window.parts = {
  list: () => %(list)s,
  strip: () => %(strip)s,
  canvas: () => %(strip)s?.querySelector('canvas'),
  video: () => %(video)s,
  hasAll: () => %(has_all)s,
  // Pages may replace this function.
  frame: requestAnimationFrame.bind(window),
};
window.openedMs = window.allMs = null;
{
  const RULER_PX = 20;
  const isShown = () => {
    const list = parts.list();
    const canvas = parts.canvas();
    const row = list?.querySelector('.row');
    if (!row?.textContent || !(canvas?.height > RULER_PX)) return false;
    const { top, bottom, height } = row.getBoundingClientRect();
    if (!height || bottom > innerHeight || top < list.getBoundingClientRect().top) return false;
    const { data } = canvas.getContext('2d').getImageData(0, RULER_PX, canvas.width, canvas.height - RULER_PX);
    return data.some((value) => value);
  };
  const look = () => {
    if (openedMs === null && isShown()) openedMs = performance.now();
    if (openedMs !== null && parts.hasAll()) allMs = performance.now();
    else parts.frame(look);
  };
  parts.frame(look);
}
"""
"""Script that notes when a page is opened, and when it has read everything, in milliseconds from the start of the navigation."""
SEEK = """async ([count]) => {
  const { list, video, frame } = parts;
  const times = [];
  const frames = async (number) => { for (; number > 0; number--) await new Promise(frame); };
  const seconds = (text) => text.split(':').reduce((sum, part) => 60 * sum + Number(part), 0);
  for (let number = 1; number <= count; number++) {
    list().scrollTop = (number * 0.618 % 1) * (list().scrollHeight - list().clientHeight);
    await frames(30);
    const { top, height } = list().getBoundingClientRect();
    const row = [...list().querySelectorAll('.row')].find((each) => each.getBoundingClientRect().top > top + height / 2);
    const { textContent } = row;
    const time = row.querySelector('time, .time');
    const wanted = seconds(time.textContent);
    const isThere = () => !video().seeking && Math.abs(video().currentTime - wanted) < 0.5
      && list().querySelector('.row.now')?.textContent === textContent;
    if (isThere()) throw new Error('The row is marked before it is clicked.');
    const before = performance.now();
    time.click();
    while (!isThere()) {
      if (performance.now() - before > 10000) throw new Error(`There was no seek to ${textContent}.`);
      await new Promise((resolve) => setTimeout(resolve));
    }
    times.push(performance.now() - before);
    video().pause();
    await frames(10);
  }
  return times;
}"""
"""Script that clicks rows in different places of the list, and returns the time of each seek in milliseconds."""
SCROLL = """async ([count, step]) => {
  const { list, frame } = parts;
  const painted = new MessageChannel();
  const times = [];
  let blank = 0;
  const isBlank = () => {
    const { top, bottom } = list().getBoundingClientRect();
    const rows = [...list().querySelectorAll('.row')].map((row) => row.getBoundingClientRect());
    return Math.min(...rows.map((row) => row.top)) > top + 1 || Math.max(...rows.map((row) => row.bottom)) < bottom - 2;
  };
  list().scrollTop = 0;
  for (let number = 0; number < 30; number++) await new Promise(frame);
  let before = performance.now();
  for (let number = 0; number < count; number++) {
    list().scrollTop += step;
    await new Promise(frame);
    const now = performance.now();
    times.push(now - before);
    before = now;
    // The page draws its rows in this frame; what is looked at has been painted.
    await new Promise((resolve) => { painted.port1.onmessage = resolve; painted.port2.postMessage(null); });
    if (isBlank()) blank += 1;
  }
  return { times, blank, moved: list().scrollTop };
}"""
"""Script that scrolls the list, and returns the times between frames in milliseconds and the number of those without rows."""
ZOOM = """async ([count, rounds]) => {
  const { strip, canvas, frame } = parts;
  const { left, top, width } = strip().getBoundingClientRect();
  const times = [];
  const pictures = new Set([canvas().toDataURL()]);
  for (let number = 0; number < 2 * rounds; number++) {
    const clientX = left + width * (0.2 + 0.1 * number);
    await new Promise(frame);
    let before = performance.now();
    for (let step = 0; step < count; step++) {
      const place = { clientX, clientY: top + 30, bubbles: true, cancelable: true, composed: true };
      strip().dispatchEvent(new WheelEvent('wheel', { deltaY: number % 2 ? 100 : -100, ...place }));
      await new Promise(frame);
      const now = performance.now();
      times.push(now - before);
      before = now;
    }
    for (let rest = 0; rest < 3; rest++) await new Promise(frame);
    pictures.add(canvas().toDataURL());
  }
  return { times, pictures: pictures.size };
}"""
"""Script that zooms the strip in and out by the wheel, and returns the times between frames in milliseconds."""


@dataclass(frozen=True)
class WatchPage:
    """A page that is measured."""

    name: str
    address: str
    parts: dict[str, str]
    """Expressions of its list, its strip and its player, and whether it has read everything."""
    tabs: Sequence[str] = ("",)
    """Parameters of the address for the panels that are scrolled: captions, words."""

    @property
    def script(self) -> str:
        """The script that runs first on the page."""
        return PARTS % self.parts


PANELS = "document.querySelector('longview-panels')?.shadowRoot?"
WATCH = "document.querySelector('longview-watch')?.shadowRoot?"
OWN_PARTS = {
    "list": f"{PANELS}.querySelector('.list')",
    "strip": f"{WATCH}.querySelector('.view')",
    "video": f"{WATCH}.querySelector('video')",
    "has_all": f"window.longviewSession?.video.segments('speech').length === {WORDS // SEGMENT_WORDS}"
    f" && window.longviewSession.video.segments('captions').length === {CAPTIONS}",
}
PROTOTYPE_PARTS = {
    "list": "document.querySelector('.wb .list')",
    "strip": "document.querySelector('.wb .tl')",
    "video": "document.querySelector('.wb video')",
    "has_all": "true",
}


def make_film(path: Path, duration_s: float, rate: int) -> Path:
    """Make a film of a test picture without sound."""
    picture = f"testsrc=size=320x180:rate={rate}:duration={duration_s}"
    options = ["-c:v", "libx264", "-preset", "ultrafast", "-g", str(10 * rate), "-pix_fmt", "yuv420p", "-movflags", "+faststart"]
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", picture, *options, path], check=True)
    return path


def fill(folder: Path) -> tuple[Path, str]:
    """Make a library with the long video; return its folder, and the id of the video."""
    library = Library(folder / "library")
    entry = put_file(library, make_film(folder / "hours.mp4", DURATION_S, 1), "Ten hours")
    library.put(replace(entry, duration_s=DURATION_S))
    rng = random.Random(1)
    words = ["".join(rng.choices("abcdefghilmnoprstuv", k=rng.randint(2, 9))) for _ in range(VOCABULARY)]
    step_s = DURATION_S / CAPTIONS
    captions = [
        Segment(Span(at * step_s, (at + 0.8) * step_s), " ".join(rng.choices(words, k=rng.choice((8, 8, 8, 20)))), "captions")
        for at in range(CAPTIONS)
    ]
    word_s = DURATION_S / WORDS
    speech = []
    for first in range(0, WORDS, SEGMENT_WORDS):
        spoken = [
            Word(Span((first + at) * word_s, (first + at + 0.9) * word_s), rng.choice(words), 0.9) for at in range(SEGMENT_WORDS)
        ]
        span = Span(spoken[0].span.start_s, spoken[-1].span.end_s)
        speech.append(Segment(span, " ".join(word.text for word in spoken), "speech", "en", 0.9, tuple(spoken)))
    for source, segments in (("captions", captions), ("speech", speech)):
        language = "en" if source == "speech" else None
        track = sample_track(source, language=language, span=Span(0, DURATION_S), done_s=DURATION_S)
        library.tracks.replace(entry.video_id, track, segments)
    peaks = np.random.default_rng(1).integers(0, 256, peak_count(DURATION_S), dtype=np.uint8)
    create_folder(library.folder / THUMBNAILS)
    (library.folder / THUMBNAILS / f"{entry.video_id}-waveform.bin").write_bytes(peaks.tobytes())
    assert len(peaks) == PEAKS_PER_S * DURATION_S
    return library.folder, entry.video_id


@contextmanager
def running_prototype(script: Path, folder: Path) -> Iterator[str]:
    """Run a copy of the prototype in a folder; yield its address."""
    create_folder(folder)
    copy = shutil.copy(script, folder / script.name)
    make_film(folder / "long.mp4", PROTOTYPE_DURATION_S, 5)
    address = f"http://127.0.0.1:{(port := free_port())}/"
    environment = os.environ | {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1"}
    process = subprocess.Popen([sys.executable, copy, str(port)], cwd=folder, env=environment)
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                urllib.request.urlopen(address, timeout=10).close()
                break
            except urllib.error.URLError:
                if process.poll() is not None or time.monotonic() > deadline:
                    sys.exit(f"{script} does not answer.")
                time.sleep(0.2)
        yield address
    finally:
        process.terminate()
        process.wait()


@contextmanager
def prepared(browser: Browser, page: WatchPage) -> Iterator[Page]:
    """Open an empty page of its own profile, in which each document runs the script of `page` first."""
    with opened(browser) as browser_page:
        browser_page.add_init_script(page.script)
        yield browser_page


def open_page(browser_page: Page, page: WatchPage, tab: str = "") -> None:
    """Open a page from another document of its server, and wait until it has read everything."""
    browser_page.goto(urljoin(page.address, OTHER_DOCUMENT))
    browser_page.goto(page.address + tab)
    browser_page.wait_for_function("window.allMs !== null")


def measure_opening(browser: Browser, pages: Sequence[WatchPage]) -> list[list[str]]:
    """Return for each page the cells of its opening. The pages are opened in turn, with an empty cache, and then again."""
    times: list[list[tuple[float, ...]]] = [[] for _ in pages]
    transfers: list[list[str]] = []
    for page in pages:
        # This makes what the server keeps, as the small pictures.
        with prepared(browser, page) as browser_page:
            sizes = note_transfers(browser_page)
            open_page(browser_page, page)
            browser_page.wait_for_timeout(3000)
            transfers.append(transfer_cells([(len(sizes), sum(sizes))]))
    for _ in range(ROUNDS):
        for page, page_times in zip(pages, times, strict=True):
            with prepared(browser, page) as browser_page:
                open_page(browser_page, page)
                first = browser_page.evaluate("[openedMs / 1000, allMs / 1000]")
                browser_page.wait_for_timeout(1000)
                open_page(browser_page, page)
                page_times.append((*first, browser_page.evaluate("openedMs / 1000")))
    return [
        [*(f"{statistics.median(values):.2f}" for values in zip(*page_times, strict=True)), *cells]
        for page_times, cells in zip(times, transfers, strict=True)
    ]


def measure_use(browser: Browser, page: WatchPage) -> list[str]:
    """Return the cells of the use of a page."""
    scrolls: list[dict[str, Any]] = []
    zooms: list[dict[str, Any]] = []
    seek_ms: list[float] = []
    memory, nodes = 0, 0
    for tab in page.tabs:
        with prepared(browser, page) as browser_page:
            open_page(browser_page, page, tab)
            browser_page.wait_for_timeout(3000)
            seek_ms += browser_page.evaluate(SEEK, [SEEKS])
            scrolls.append(browser_page.evaluate(SCROLL, [SCROLL_FRAMES, SCROLL_PX]))
            zooms.append(browser_page.evaluate(ZOOM, [ZOOM_FRAMES, ZOOMS]))
            nodes = max(nodes, browser_page.evaluate(COUNT_NODES))
            memory = max(memory, tab_memory_bytes())
    if any(zoom["pictures"] < 2 for zoom in zooms) or any(scroll["moved"] < SCROLL_FRAMES * SCROLL_PX / 2 for scroll in scrolls):
        sys.exit(f"{page.name}: the list was not scrolled to {SCROLL_FRAMES * SCROLL_PX} pixels, or the strip not drawn anew.")
    scroll_cells = [f"{p95(scroll['times']):.1f}" for scroll in scrolls]
    return [
        f"{statistics.median(seek_ms):.0f}",
        f"{max(seek_ms):.0f}",
        *scroll_cells,
        *["–"] * (2 - len(scroll_cells)),
        f"{sum(scroll['blank'] for scroll in scrolls)} of {len(scrolls) * SCROLL_FRAMES:,}",
        f"{max(p95(zoom['times']) for zoom in zooms):.1f}",
        f"{memory / 1e6:.0f}",
        f"{nodes:,}",
    ]


def measure(pages: Sequence[WatchPage]) -> None:
    """Print a row for each page."""
    with running_browser() as browser:
        print(f"{load_and_date()}\n")
        opening = measure_opening(browser, pages)
        print(line(COLUMNS))
        print(line(["---"] * len(COLUMNS)))
        for page, cells in zip(pages, opening, strict=True):
            print(line([page.name, *cells, *measure_use(browser, page)]), flush=True)


def main() -> None:
    """Measure the watch page, and the prototype if there is one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prototype", type=Path, metavar="FILE")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, video_id = fill(Path(name))
        # What an index run leaves: the vectors of the passages, which the first chapters would make while the page is measured.
        app = Longview(demo_settings(folder))
        app.chapters(app.video_with_id(video_id))
        with running_server(folder) as server:
            address = f"{server.url}/watch?video={video_id}"
            own = WatchPage("Longview", address, OWN_PARTS, ("&tab=captions", "&tab=transcript"))
            if options.prototype is None:
                measure([own])
                return
            with running_prototype(options.prototype, Path(name) / "prototype") as prototype:
                measure([own, WatchPage("prototype", prototype, PROTOTYPE_PARTS)])


if __name__ == "__main__":
    main()
