"""The browser of tests of the page."""

import os
import shutil

import pytest
from playwright.sync_api import expect

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
needs_browser = pytest.mark.skipif(
    CHROMIUM is None and "LONGVIEW_NEED_BROWSER" not in os.environ, reason="no Chromium is installed"
)
# The default of five seconds is too short while other tests use the same two cores.
expect.set_options(timeout=60_000)
