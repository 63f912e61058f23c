"""The library page in a browser: what it finds, renames, removes and brings back, and what its address keeps."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from longview.indexing.sqlite.library import Library
from longview.ui.routes.events import REPLAYED_S
from tests.support.browser import needs_browser
from tests.support.library_samples import put_captions, sample_entry, sample_events
from tests.support.page_servers import Server, running_server
from tests.support.routes import video_id

pytestmark = needs_browser
COUNT = 1000
HOSTILE = "<img src=x onerror=window.hit=1><script>window.hit=1</script> “Ärger” 🎬 مرحبا " + "w" * 200


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("library")
    library = Library(folder)
    for number in range(COUNT):
        title = HOSTILE if number == COUNT - 1 else f"Video {number:04}"
        put_captions(library, sample_entry(video_id(number), title), sample_events("a red circle"))
    with running_server(folder) as server:
        yield server


@pytest.fixture
def page(browser: Browser, server: Server) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.set_default_timeout(30_000)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(server.url)
    page.locator("longview-library .card").first.wait_for()
    yield page
    assert page.evaluate("window.hit") is None
    page.close()
    assert not errors


def test_only_cards_in_view_are_in_the_document_and_the_last_one_is_reached(page: Page) -> None:
    cards = page.locator("longview-library .card")
    expect(page.locator("longview-library .count")).to_have_text(f"{COUNT:,} videos")
    assert cards.count() < 60
    # The newest is first, and its hostile title is text.
    expect(cards.first).to_contain_text("<img src=x onerror=window.hit=1>")
    page.evaluate("window.scrollTo(0, document.documentElement.scrollHeight)")
    expect(page.locator("longview-library .card", has_text="Video 0000")).to_be_in_viewport()
    assert cards.count() < 60


def test_search_as_you_type_is_in_the_address_and_survives_reload_and_back(page: Page) -> None:
    page.goto(f"{page.url}?__theme=dark")
    find = page.get_by_label("Find by title")
    find.press_sequentially("vidéo 004")
    expect(page.locator("longview-library .count")).to_have_text("11 videos")
    assert "query=" in page.url
    page.reload()
    expect(page.locator("longview-library .count")).to_have_text("11 videos")
    page.get_by_label("Order").select_option("title")
    expect(page.locator("longview-library .card").first).to_contain_text("Video 0004")
    page.locator("longview-library .card", has_text="Video 0042").locator("a.title").click()
    page.wait_for_url("**/watch?video=*")
    # What was chosen in the address stays on all pages.
    assert "__theme=dark" in page.url
    page.get_by_role("link", name="Library").click()
    page.wait_for_url(re.compile(r":\d+/\?__theme=dark$"))
    page.go_back()
    page.go_back()
    expect(page.locator("longview-library .count")).to_have_text("11 videos")
    page.get_by_label("Find by title").fill("nothing of that name")
    page.get_by_role("button", name="Show all videos").click()
    expect(page.locator("longview-library .count")).to_have_text(f"{COUNT:,} videos")
    assert page.url.endswith("/?__theme=dark")


def test_two_pages_agree_on_removal_undo_and_new_titles(page: Page, browser: Browser, server: Server) -> None:
    library = Library(server.library)
    # A tab that was opened in the background.
    hidden = browser.new_page()
    hidden.add_init_script("Object.defineProperty(document, 'hidden', { get: () => !window.isShown })")
    hidden.goto(f"{server.url}/watch?video={video_id(510)}")
    expect(hidden.locator("longview-panels .row")).to_contain_text("a red circle")
    put_captions(library, sample_entry(video_id(510), "Video 0510"), sample_events("a blue star"))
    changed_s = time.monotonic()
    other = browser.new_page()
    other.goto(f"{server.url}/?query=video+0500")
    expect(other.locator("longview-library .card")).to_have_count(1)
    page.get_by_label("Find by title").fill("video 0500")
    expect(page.locator("longview-library .card")).to_have_count(1)
    menu = page.get_by_label("Actions for Video 0500")
    menu.click()
    page.get_by_role("button", name="Remove", exact=True).click()
    expect(other.locator("longview-library .card")).to_have_count(0, timeout=3000)
    page.get_by_role("button", name="Undo").click()
    expect(other.locator("longview-library .card")).to_have_count(1, timeout=3000)
    page.once("dialog", lambda dialog: dialog.accept("Renamed: video 0500"))
    menu.click()
    page.get_by_role("button", name="Rename").click()
    expect(other.locator("longview-library .card")).to_contain_text("Renamed: video 0500", timeout=3000)
    # A title that no longer matches leaves the list.
    library.rename(video_id(500), "Another title")
    expect(other.locator("longview-library .card")).to_have_count(0, timeout=3000)
    # A change that cannot be read at once is not forgotten.
    other.route("**/v1/videos*", lambda route: route.abort())
    with other.expect_event("requestfailed"):
        library.rename(video_id(500), "Video 0500")
    other.unroute("**/v1/videos*")
    expect(other.locator("longview-library .card")).to_contain_text("Video 0500")
    other.close()
    hidden.wait_for_timeout(1000 * max(0.0, changed_s + REPLAYED_S + 2.0 - time.monotonic()))
    hidden.evaluate("window.isShown = true; document.dispatchEvent(new Event('visibilitychange'))")
    expect(hidden.locator("longview-panels .row")).to_contain_text("a blue star")
    hidden.close()


def test_several_videos_are_removed_and_brought_back_at_once(page: Page) -> None:
    page.get_by_label("Find by title").fill("video 060")
    expect(page.locator("longview-library .count")).to_have_text("11 videos")
    for number in (1, 3, 5):
        page.get_by_label(f"Select Video 060{number}").check()
    bar = page.locator(".bulk")
    expect(bar).to_contain_text("3 selected")
    # What a query hides is no longer selected.
    page.get_by_label("Find by title").fill("video 0601")
    expect(bar).to_contain_text("1 selected")
    page.get_by_label("Find by title").fill("video 060")
    expect(page.locator("longview-library .count")).to_have_text("11 videos")
    expect(bar).to_contain_text("1 selected")
    for number in (3, 5):
        page.get_by_label(f"Select Video 060{number}").check()
    bar.get_by_role("button", name="Remove").click()
    expect(page.locator("longview-library .count")).to_have_text("8 videos")
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("longview-library .count")).to_have_text("11 videos")


def test_what_is_selected_stays_so_in_another_order_and_until_it_was_done(page: Page) -> None:
    bar, count = page.locator(".bulk"), page.locator("longview-library .count")
    for number in (995, 996, 997):
        page.get_by_label(f"Select Video 0{number}").check()
    page.get_by_label("Order").select_option("title")
    expect(page.get_by_label("Select Video 0000")).to_be_visible()
    expect(bar).to_contain_text("3 selected")
    # One of them is gone on another page.
    request = page.context.request
    headers = {"X-Longview-Client": "1"}
    assert request.delete(page.url.split("?")[0] + f"v1/videos/{video_id(995)}", headers=headers).ok
    expect(bar).to_contain_text("2 selected")

    def fail_one(route: Route) -> None:
        change = json.loads(route.request.post_data or "{}")
        failed = {"video_id": change["video_ids"].pop(), "error": "It is busy.", "job_id": None}
        reply = route.fetch(post_data=json.dumps(change)).json()
        route.fulfill(json={"results": [*reply["results"], failed]})

    page.route("**/v1/videos/bulk", fail_one)
    bar.get_by_role("button", name="Remove").click()
    expect(page.get_by_role("status").filter(has_text="It is busy.")).to_be_visible()
    expect(bar).to_contain_text("1 selected")
    expect(count).to_have_text(f"{COUNT - 2} videos")
    page.unroute("**/v1/videos/bulk")
    page.get_by_role("button", name="Undo").click()
    request.post(page.url.split("?")[0] + f"v1/videos/{video_id(995)}/undo-removal", headers=headers)
    expect(count).to_have_text(f"{COUNT:,} videos")
    page.get_by_label("Order").select_option("")
    expect(page.locator("longview-library input[type=checkbox]:checked")).to_have_count(1)


def test_what_was_done_before_a_request_of_several_failed_can_be_undone(page: Page) -> None:
    def answer(route: Route) -> None:
        ids = json.loads(route.request.post_data or "{}")["video_ids"]
        results = [{"video_id": one, "error": None, "job_id": None} for one in ids]
        route.fulfill(json={"results": results}) if len(ids) == COUNT else route.fulfill(status=507, json={"detail": "No space."})

    page.route("**/v1/videos/bulk", answer)
    ids = [video_id(number) for number in range(COUNT + 1)]
    done: Any = page.evaluate("async (ids) => (await import('/page/bulk.js')).bulk('remove', ids)", ids)
    assert done == ids[:COUNT]
    expect(page.get_by_role("status").filter(has_text="No space.")).to_be_visible()


def test_a_library_that_cannot_be_read_is_not_shown_as_empty(page: Page) -> None:
    cards, message = page.locator("longview-library .card"), page.locator("longview-library .message")
    refused = {"status": 500, "json": {"detail": "The database is missing."}}
    page.route("**/v1/videos?*", lambda route: route.fulfill(**refused))
    page.get_by_label("Find by title").fill("video 0777")
    expect(message).to_contain_text("The database is missing.")
    assert cards.count() > 0
    page.reload()
    expect(message).to_contain_text("The database is missing.")
    expect(page.get_by_text("Drop videos or sound here")).to_be_hidden()
    expect(page.get_by_label("Find by title")).to_have_value("video 0777")
    page.unroute("**/v1/videos?*")
    message.get_by_role("button", name="Try again").click()
    expect(page.locator("longview-library .count")).to_have_text("1 video")
    expect(message).to_be_hidden()


def test_the_library_fits_a_phone(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    expect(page.locator("longview-library .card").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_stopped_server_is_said_within_two_seconds_and_the_page_goes_on_by_itself(browser: Browser, tmp_path: Path) -> None:
    put_captions(Library(tmp_path), sample_entry("a" * 12, "One"), sample_events("a red circle"))
    with running_server(tmp_path) as server:
        page = browser.new_page()
        page.goto(server.url)
        expect(page.locator("longview-library .card")).to_have_count(1)
        port = server.url.rpartition(":")[2]
    expect(page.get_by_role("alert")).to_contain_text("The server does not answer", timeout=2000)
    Library(tmp_path).rename("a" * 12, "Renamed meanwhile")
    with running_server(tmp_path, "--port", port) as server:
        expect(page.get_by_role("alert")).to_have_count(0)
        expect(page.locator("longview-library .card")).to_contain_text("Renamed meanwhile")
        Library(tmp_path).rename("a" * 12, "Two")
        expect(page.locator("longview-library .card")).to_contain_text("Two")
        page.close()


def test_an_empty_library_has_one_next_action(browser: Browser, tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        page = browser.new_page()
        page.goto(server.url)
        expect(page.get_by_text("Drop videos or sound here")).to_be_visible()
        expect(page.get_by_label("Find by title")).to_be_hidden()
        page.locator(".empty").get_by_label("Path of a file or folder on this machine").fill(str(tmp_path / "none.mp4"))
        page.locator(".empty").get_by_role("button", name="Add", exact=True).click()
        expect(page.get_by_role("status").filter(has_text="none.mp4")).to_be_visible()
        page.goto(f"{server.url}/watch?video={'b' * 12}")
        expect(page.get_by_text("There is no such video in this library")).to_be_visible()
        expect(page.get_by_label("Question", exact=True)).to_be_hidden()
        page.get_by_role("link", name="Open the library").click()
        expect(page.get_by_text("Drop videos or sound here")).to_be_visible()
        watch, search = browser.new_page(), page
        watch.goto(f"{server.url}/watch")
        search.goto(f"{server.url}/search")
        controls = (watch.get_by_label("Question", exact=True), search.get_by_label("Ask the whole library"))
        for empty, control in zip((watch, search), controls, strict=True):
            expect(empty.get_by_text("The library is empty.")).to_be_visible()
            expect(empty.get_by_role("link", name="Add videos")).to_be_visible()
            expect(control).to_be_hidden()
        expect(search.get_by_label("Verify captions where this is quick")).to_be_hidden()
        # They come back with the first video.
        put_captions(Library(tmp_path), sample_entry("a" * 12, "One"), sample_events("a red circle"))
        for empty, control in zip((watch, search), controls, strict=True):
            expect(control).to_be_visible()
            expect(empty.get_by_text("The library is empty.")).to_be_hidden()
        watch.close()
        search.close()
