"""A library with a video that is watched, its server, and a page of it."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from playwright.sync_api import Browser, Page, expect

from longview.core.timeline import Segment, Span
from longview.indexing.records.video import VideoEntry
from longview.indexing.sqlite.library import Library
from longview.video.synthetic import ShapesEvent, render
from tests.support.browser import VIDEO
from tests.support.library_samples import put_file, sample_entry, sample_track, shown, spoken
from tests.support.page_servers import Server, running_server
from tests.support.watch_page import DURATION_S, MANY, SPOKEN, WORD_S, open_at


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """A library with a video of shapes in which somebody speaks, and one of ten hours without its file."""
    folder = tmp_path_factory.mktemp("watch")
    library = Library(folder / "library")
    path = render(folder / "talk.mp4", [ShapesEvent(2.0, 90.0, "red", "circle", "stays still")], DURATION_S, fps=5)
    talk = put_file(library, path, "A talk")
    library.put(replace(library.video(talk.video_id), facts=talk.facts | {"fps": 5.0}))
    sentences = [spoken(at, text, word_s=WORD_S) for at, text in SPOKEN]
    library.tracks.replace(talk.video_id, sample_track("speech", language="en"), sentences)
    library.tracks.replace(
        talk.video_id, sample_track("screen_text"), [shown(10.0, 20.0, "First slide"), shown(30, 50, "Second")]
    )
    hours = replace(sample_entry("c" * 12, "Ten hours"), duration_s=36_000.0)
    library.put(hours)
    track = replace(sample_track("speech", language="en"), span=Span(0, 36_000), done_s=36_000.0)
    rows = [Segment(Span(0.36 * at, 0.36 * at + 0.3), f"Word number {at}", "speech", "en") for at in range(MANY)]
    library.tracks.replace(hours.video_id, track, rows)
    return library


@pytest.fixture(scope="module")
def server(library: Library) -> Iterator[Server]:
    with running_server(library.folder) as server:
        yield server


@pytest.fixture(scope="module")
def talk(library: Library) -> VideoEntry:
    (entry,) = [video for video in library.videos() if video.title == "A talk"]
    return entry


@pytest.fixture
def page(browser: Browser, server: Server, talk: VideoEntry) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 800}, permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.set_default_timeout(30_000)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    open_at(page, server, talk, "tab=transcript")
    page.wait_for_function(f"{VIDEO}?.readyState >= 3")
    # Gradio has drawn the page to its end: it has the questions that fit.
    expect(page.get_by_label("Question", exact=True)).not_to_have_attribute("placeholder", "Ask about this video")
    yield page
    context.close()
    assert not errors
