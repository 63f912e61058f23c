"""The address of the watch page without a video: it gets the one that was watched last, else the newest one."""

from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from longview.app.service import Longview
from longview.app.serving.sample import SHAPES_SAMPLE
from longview.indexing.library_files import SAMPLE_FILES
from longview.indexing.sqlite.database.database import DATABASE
from longview.ui.watch_address import WatchAddress
from tests.support.app_samples import demo_settings
from tests.support.library_samples import put_captions, sample_entry, sample_events
from tests.support.routes import video_id


@pytest.fixture
def app(tmp_path: Path) -> Longview:
    return Longview(demo_settings(tmp_path / "library"))


def opened(app: Longview, address: str = "/watch") -> str | None:
    """Return the address to which a browser is sent; None: it stays."""
    client = TestClient(WatchAddress(PlainTextResponse("the page"), app), follow_redirects=False)
    reply = client.get(address)
    assert reply.is_redirect or reply.text == "the page"
    return reply.headers.get("location")


def put(app: Longview, number: int, path: str) -> None:
    entry = replace(sample_entry(video_id(number)), path=Path(path), added_at=f"2026-01-01T00:00:0{number}+00:00")
    put_captions(app.parts.library, entry, sample_events("a red circle"))


def test_the_video_that_was_watched_last_is_opened_else_the_newest_that_is_no_rendered_sample(app: Longview) -> None:
    assert opened(app) is None
    put(app, 1, f"/{SAMPLE_FILES}/{SHAPES_SAMPLE.name}")
    assert opened(app) == f"?video={video_id(1)}"
    put(app, 2, f"/{SAMPLE_FILES}/narrated.mp4")
    put(app, 3, f"/{SAMPLE_FILES}/{SHAPES_SAMPLE.name}")
    assert opened(app) == f"?video={video_id(2)}"
    put(app, 4, "/films/own.mp4")
    assert opened(app) == f"?video={video_id(4)}"
    app.parts.library.set_position(video_id(1), 12.0)
    address = opened(app, "/watch?video=&tab=chat&__theme=dark&question=a%26b")
    parameters = {"video": [video_id(1)], "tab": ["chat"], "__theme": ["dark"], "question": ["a&b"]}
    assert parse_qs(urlsplit(address or "").query) == parameters
    for other in (f"/watch?video={video_id(2)}", "/watch?video=unknown", "/", "/watch/"):
        assert opened(app, other) is None


def test_a_library_that_cannot_be_read_keeps_the_page_that_says_so(app: Longview) -> None:
    put(app, 1, "/films/own.mp4")
    (app.folder / DATABASE).write_bytes(b"no database" * 1000)
    assert opened(app) is None
