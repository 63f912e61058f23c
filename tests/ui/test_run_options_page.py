"""The options of a run on the page: what is chosen there is done, and what it costs is said before."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from longview.video.synthetic import render
from tests.support.app_samples import TWICE
from tests.support.browser import drop, needs_browser
from tests.support.page_servers import Server, running_server
from tests.support.shell import Shell

pytestmark = needs_browser


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    render(folder / "twice.mp4", TWICE, 30.0, fps=5)
    render(folder / "other.mp4", TWICE[:1], 12.0, fps=5)
    (folder / "broken.mkv").write_bytes(b"no video")
    return folder


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running_server(tmp_path / "library") as server:
        yield server


@pytest.fixture
def page(browser: Browser, server: Server) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.set_default_timeout(60_000)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(server.url)
    yield page
    page.close()
    assert not errors


def ended_job(page: Page, server: Server, count: int = 1) -> Any:
    """Return the job that has ended last, as soon as so many have."""
    for _ in range(600):
        jobs = [job for job in Shell(server.library).json("jobs", "--ended")["jobs"] if job["status"] in ("done", "failed")]
        if len(jobs) >= count:
            assert jobs[0]["status"] == "done", jobs[0]
            return jobs[0]
        page.wait_for_timeout(200)
    raise AssertionError("the job has not ended")


def test_only_what_is_chosen_is_done_and_its_cost_is_said_before(page: Page, server: Server, videos: Path) -> None:
    panel = page.locator("longview-library .empty")
    panel.get_by_label("Path of a file or folder").fill(str(videos / "twice.mp4"))
    cost = panel.locator(".cost").first
    expect(cost).to_contain_text("Takes about")
    expect(cost).to_contain_text("Captions of footage need a larger model")
    panel.get_by_text("Options", exact=True).click()
    # What means nothing on this machine is not there.
    expect(panel.get_by_label("Screen text")).to_be_visible()
    expect(panel.get_by_label("Captions", exact=True)).to_have_count(0)
    expect(panel.get_by_text("Captions of what a film shows need a larger model")).to_be_visible()
    panel.get_by_label("Speech", exact=True).uncheck()
    panel.get_by_label("Subtitles").uncheck()
    panel.get_by_label("Start of the part").fill("9:00")
    expect(cost).to_contain_text("outside the video")
    panel.get_by_label("Start of the part").fill("0:02")
    panel.get_by_label("End of the part").fill("8 seconds")
    expect(cost).to_contain_text("Takes about")
    panel.get_by_role("button", name="Add", exact=True).click()
    job = ended_job(page, server)
    assert job["options"] == {"sources": ["screen_text"], "start_s": 2.0, "end_s": 8.0} and job["settings"] == {}
    (video,) = Shell(server.library).json("list")["videos"]
    (track,) = video["tracks"]
    assert track["source"] == "screen_text" and (track["indexed"]["start_s"], track["indexed"]["end_s"]) == (2.0, 8.0)


def test_chosen_files_are_shown_with_their_cost_and_sent_by_one_button(page: Page, server: Server, videos: Path) -> None:
    panel = page.locator("longview-library .empty")
    panel.locator("input[type=file][multiple]").first.set_input_files([videos / "twice.mp4", videos / "broken.mkv"])
    chosen = panel.locator(".chosen")
    expect(chosen.locator("li")).to_have_text(["twice.mp40:30", "broken.mkv0.0 kB"])
    expect(chosen.locator(".cost")).to_contain_text("Takes roughly")
    expect(chosen.locator(".cost")).to_contain_text("cannot read one file")
    # There is one way to add them.
    expect(panel.get_by_label("Path of a file or folder")).to_be_hidden()
    chosen.get_by_role("button", name="Clear").click()
    expect(panel.get_by_label("Path of a file or folder")).to_be_visible()
    panel.get_by_text("Options", exact=True).click()
    boxes = [panel.get_by_label(name, exact=True) for name in ("Subtitles", "Speech", "Screen text")]
    for box in boxes:
        box.uncheck()
    # The options are checked also before the browser has read the file.
    page.evaluate("Object.defineProperty(HTMLMediaElement.prototype, 'src', { set() {} })")
    panel.locator("input[type=file][multiple]").first.set_input_files(videos / "other.mp4")
    chosen.get_by_role("button", name="Add", exact=True).click()
    expect(chosen.locator(".cost")).to_contain_text("No source is chosen")
    expect(chosen.locator("li")).to_have_count(1)
    boxes[-1].check()
    chosen.get_by_role("button", name="Add", exact=True).click()
    job = ended_job(page, server)
    assert job["title"] == "other.mp4" and job["options"]["sources"] == ["screen_text"]


def test_videos_are_indexed_again_with_options(page: Page, server: Server, videos: Path) -> None:
    Shell(server.library).json("index", str(videos / "twice.mp4"), "--sources", "captions")
    page.reload()
    page.get_by_label("Select twice").check()
    page.locator(".bulk").get_by_role("button", name="Index what is missing").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.locator(".cost")).to_contain_text("Takes about")
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog).to_have_count(0)
    page.locator(".bulk").get_by_role("button", name="Index what is missing").click()
    dialog.get_by_label("Speech", exact=True).uncheck()
    dialog.get_by_label("Subtitles").uncheck()
    dialog.get_by_role("button", name="Index", exact=True).click()
    assert ended_job(page, server, 2)["options"] == {"sources": ["screen_text"]}


def test_what_is_dropped_starts_at_once_unless_options_are_being_chosen(page: Page, server: Server, videos: Path) -> None:
    panel = page.locator("longview-library .empty")
    panel.get_by_text("Options", exact=True).click()
    panel.get_by_label("Subtitles").uncheck()
    drop(page, videos / "other.mp4", videos / "twice.mp4")
    chosen = panel.locator(".chosen")
    expect(chosen.locator("li")).to_have_text(["other.mp40:12", "twice.mp40:30"])
    expect(chosen.locator(".cost")).to_contain_text("Takes roughly")
    assert Shell(server.library).json("jobs", "--ended")["jobs"] == []
    chosen.get_by_role("button", name="Clear").click()
    panel.get_by_text("Options", exact=True).click()
    drop(page, videos / "other.mp4")
    assert ended_job(page, server)["options"].keys() == {"title"}
