"""The browser of tests of the page."""

import os
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
VIDEO = "document.querySelector('longview-watch')?.shadowRoot?.querySelector('video')"
"""Expression for the player of the watch page."""
needs_browser = pytest.mark.skipif(
    CHROMIUM is None and "LONGVIEW_NEED_BROWSER" not in os.environ, reason="no Chromium is installed"
)
# The default of five seconds is too short while other tests use the same two cores.
expect.set_options(timeout=60_000)


def drop(page: Page, *paths: Path) -> None:
    """Drop files or folders on a page, as a file manager does."""
    devtools = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        devtools.send("Input.dispatchDragEvent", {"type": kind, "x": 50, "y": 200, "data": data})
    devtools.detach()
