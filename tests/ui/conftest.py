"""A server for each module, over a library with a video that was indexed through the page."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from gradio_client import Client
from playwright.sync_api import Browser, Page, sync_playwright

from longview.ui.access import CLIENT_HEADER
from longview.video.synthetic import render
from tests.support.browser import CHROMIUM, CHROMIUM_ARGUMENTS
from tests.support.page_servers import EVENTS, Server, running_server
from tests.support.shared_files import shared_folder
from tests.support.shell import Shell


def client_of(server: Server) -> Client:
    return Client(server.url, headers={CLIENT_HEADER: "1"}, verbose=False)


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    name = "three <b>events</b>.mp4"
    return shared_folder(tmp_path_factory, "three", lambda folder: render(folder / name, EVENTS, 30.0)) / name


@pytest.fixture(scope="session")
def indexed_library(tmp_path_factory: pytest.TempPathFactory, video: Path) -> Path:
    """A library whose video was indexed through the page of a server, for modules to copy."""

    def index(folder: Path) -> None:
        with running_server(folder) as server:
            job = client_of(server).submit(str(video), api_name="/index")
            result, indexed_id = job.result(timeout=120)
            assert "done" in result
            reports = [str(report) for report in job.outputs()]
            assert any("Captioning" in report and "%" in report for report in reports)
            (row,) = Shell(folder).json("list")["videos"]
            assert row["events"] == len(EVENTS)
            assert row["video_id"] == indexed_id

    return shared_folder(tmp_path_factory, "three_indexed", index)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, indexed_library: Path) -> Iterator[Server]:
    library = Path(shutil.copytree(indexed_library, tmp_path_factory.mktemp("library"), dirs_exist_ok=True))
    with running_server(library) as server:
        yield server


@pytest.fixture(scope="module")
def client(server: Server) -> Client:
    return client_of(server)


@pytest.fixture(scope="module")
def shell(server: Server) -> Shell:
    """The command line over the library of the running server."""
    return Shell(server.library)


@pytest.fixture(scope="module")
def video_id(shell: Shell) -> str:
    (row,) = shell.json("list")["videos"]
    return str(row["video_id"])


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser for each module; a page of it has a profile of its own."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, server: Server, video_id: str) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1300, "height": 950})
    page.set_default_timeout(30_000)
    foreign_urls: list[str] = []
    errors: list[str] = []
    page.on(
        "request",
        lambda request: None if request.url.startswith((server.url, "data:", "blob:")) else foreign_urls.append(request.url),
    )
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"{server.url}/watch?video={video_id}")
    page.wait_for_selector("longview-panels .row")
    yield page
    page.close()
    assert not foreign_urls, "the page sent requests to other hosts"
    assert not errors
