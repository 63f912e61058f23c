"""Make the pictures of the documents: docs/screenshot.png, the page with the narrated sample, and docs/needle.png.

    python -m benchmarks.make_pictures
    python -m benchmarks.make_pictures screenshot

The screenshot needs an installed Chromium and the extra `speech`. The chart takes a quarter of an hour.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.support.page_servers import Server, running_server
from tests.support.shell import Shell

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
SAMPLE = ROOT / "app" / "samples" / "narrated-slides.mp4"
TITLE = "How a lighthouse works"
QUESTION, ANSWER = "What did the keeper write about in the morning?", "washed the windows"
"""Question of the screenshot, and a part of its answer."""
SHOWN_S = 96.0
"""Time at which the player of the screenshot stands, in seconds: within the quoted sentence."""
WIDTH_PX, HEIGHT_PX = 1280, 1290
TIMEOUT_MS = 120_000
NEEDLE_TIMEOUT_S = 7200.0


def make_screenshot(folder: Path) -> None:
    """Index the narrated sample, ask about it on the page, and take the picture.

    Raises:
        StopIteration: no Chromium is installed.
    """
    video, library = folder / f"{TITLE}.mp4", folder / "library"
    shutil.copyfile(SAMPLE, video)
    Shell(library).run("index", str(video))
    with running_server(library) as server:
        _photograph(server, DOCS / "screenshot.png")


def _photograph(server: Server, target: Path) -> None:
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": WIDTH_PX, "height": HEIGHT_PX})
        page.set_default_timeout(TIMEOUT_MS)
        page.goto(f"{server.url}/watch?t={SHOWN_S}")
        page.wait_for_selector(".captions tr")
        page.get_by_label("Question", exact=True).fill(QUESTION)
        page.keyboard.press("Enter")
        page.locator(".bot", has_text=ANSWER).wait_for()
        page.wait_for_function("document.querySelector('.player video').readyState >= 3")
        page.screenshot(path=target)
        browser.close()


def make_needle_chart(folder: Path) -> None:
    """Measure the needle in a haystack, and keep its chart."""
    Shell(folder / "library").run("eval", "needle", "-o", str(folder), timeout_s=NEEDLE_TIMEOUT_S)
    shutil.copyfile(folder / "needle.png", DOCS / "needle.png")


PICTURES = {"screenshot": make_screenshot, "needle": make_needle_chart}


def main() -> None:
    """Make one picture, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", choices=PICTURES)
    chosen = parser.parse_args().name
    for name in [chosen] if chosen else PICTURES:
        with tempfile.TemporaryDirectory() as folder:
            PICTURES[name](Path(folder))


if __name__ == "__main__":
    main()
