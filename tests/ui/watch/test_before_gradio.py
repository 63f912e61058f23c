"""The watch page before Gradio has loaded: it can be used at once, and goes on when it moves into Gradio's page."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, Route, ViewportSize, expect

from longview.indexing.records.video import VideoEntry
from tests.support.browser import VIDEO, needs_browser
from tests.support.page_servers import Server
from tests.support.watch_page import PHONE, TIME

pytestmark = needs_browser
BEFORE = "#longview-before"
SCROLLED_PX = "document.querySelector('longview-panels').shadowRoot.querySelector('.list').scrollTop"
DARK = "rgb(15, 17, 21)"


class HeldScripts:
    """The scripts of Gradio, which a page asks for and does not get before they are released."""

    def __init__(self, page: Page) -> None:
        self._routes: list[Route] = []
        self._is_held = True
        page.route("**/assets/*.js", self._hold)

    def _hold(self, route: Route) -> None:
        if self._is_held:
            self._routes.append(route)
        else:
            route.continue_()

    def release(self) -> None:
        self._is_held = False
        for route in self._routes:
            route.continue_()


@pytest.fixture
def new_page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.set_default_timeout(30_000)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    page.close()
    assert not errors


def test_the_page_plays_and_scrolls_before_gradio_and_goes_on_in_its_page(
    new_page: Page, server: Server, talk: VideoEntry
) -> None:
    page = new_page
    scripts = HeldScripts(page)
    page.goto(f"{server.url}/watch?video={talk.video_id}&tab=transcript&t=0&__theme=dark", wait_until="commit")
    rows = page.locator("longview-panels .row")
    rows.filter(has_text="Sentence 5 is").locator("button.time").click()
    page.wait_for_function(f"{TIME} > 5.2")
    page.locator("longview-panels .list").hover()
    page.mouse.wheel(0, 1500)
    page.wait_for_function(f"{SCROLLED_PX} > 1000")
    page.get_by_label("Find in this video").fill("lead")
    expect(page.locator("longview-panels .hits")).to_contain_text("of 5")
    page.locator("longview-panels .list").hover()
    page.mouse.wheel(0, 700)
    page.wait_for_function(f"{SCROLLED_PX} > 500")
    page.get_by_label("Find in this video").focus()
    assert page.evaluate(f"getComputedStyle(document.querySelector('{BEFORE}')).backgroundColor") == DARK
    page.wait_for_timeout(300)
    top_px, time_s = page.evaluate(SCROLLED_PX), page.evaluate(TIME)
    assert page.locator("longview-place").count() == 0
    scripts.release()
    expect(page.locator(BEFORE)).to_have_count(0)
    expect(page.locator("#longview-side longview-panels")).to_be_visible()
    assert page.evaluate(SCROLLED_PX) == top_px
    assert page.evaluate(TIME) >= time_s and not page.evaluate(f"{VIDEO}.paused")
    expect(page.get_by_label("Find in this video")).to_be_focused()
    expect(page).to_have_title("A talk · Longview")
    page.get_by_role("tab", name="Chat").click()
    expect(page.get_by_label("Question", exact=True)).to_be_in_viewport(ratio=0.9)


def test_a_list_that_scrolls_while_gradio_loads_comes_to_rest_where_it_was_scrolled_to(
    new_page: Page, server: Server, talk: VideoEntry
) -> None:
    page = new_page
    scripts = HeldScripts(page)
    page.goto(f"{server.url}/watch?video={talk.video_id}&tab=transcript&t=0", wait_until="commit")
    page.locator("longview-panels .row").first.wait_for()
    page.locator("longview-panels .list").hover()
    scripts.release()
    for _ in range(15):
        page.mouse.wheel(0, 100)
        page.wait_for_timeout(150)
    expect(page.locator(BEFORE)).to_have_count(0)
    page.wait_for_timeout(300)
    assert page.evaluate(SCROLLED_PX) == 1500


def test_a_question_about_a_part_waits_for_the_chat(new_page: Page, server: Server, talk: VideoEntry) -> None:
    page = new_page
    scripts = HeldScripts(page)
    page.goto(f"{server.url}/watch?video={talk.video_id}&tab=transcript&t=20&end=21.5", wait_until="commit")
    page.get_by_role("button", name="Ask about it").click()
    scripts.release()
    expect(page.get_by_label("Question", exact=True)).to_have_value("What happens from 0:00:20.0 – 0:00:21.5?")
    expect(page.get_by_label("Question", exact=True)).to_be_focused()


def test_a_row_plays_that_was_clicked_before_the_file_was_known(new_page: Page, server: Server, talk: VideoEntry) -> None:
    page = new_page
    requests: list[Route] = []
    page.route("**/v1/videos/*/media", lambda route: requests.append(route))
    page.goto(f"{server.url}/watch?video={talk.video_id}&tab=transcript&t=0", wait_until="commit")
    page.locator("longview-panels .row", has_text="Sentence 5 is").locator("button.time").click()
    for request in requests:
        request.continue_()
    page.wait_for_function(f"{TIME} > 5.2 && !{VIDEO}.paused")


@pytest.mark.parametrize("size", [{"width": 1280, "height": 800}, PHONE])
def test_nothing_jumps_when_gradio_has_loaded(new_page: Page, server: Server, talk: VideoEntry, size: ViewportSize) -> None:
    page = new_page
    page.set_viewport_size(size)
    scripts = HeldScripts(page)
    page.goto(f"{server.url}/watch?video={talk.video_id}&tab=transcript&t=0", wait_until="commit")
    parts = ("longview-watch h1", "longview-watch .stage", "longview-watch .strip", "longview-panels .tabs")
    page.locator("longview-panels .row").first.wait_for()
    page.wait_for_function(f"{VIDEO}?.readyState >= 3")
    # The line of the waveform is lower where there is no sound.
    page.get_by_text("has no sound").wait_for()
    before = {part: page.locator(part).bounding_box() for part in parts}
    scripts.release()
    expect(page.locator(BEFORE)).to_have_count(0)
    expect(page.get_by_label("Question", exact=True)).to_be_attached()
    page.wait_for_timeout(500)
    for part, box in before.items():
        after = page.locator(part).bounding_box()
        assert box is not None and after is not None
        assert all(abs(after[name] - box[name]) <= 12 for name in ("x", "y", "width", "height")), (part, box, after)


def test_an_unknown_video_is_said_before_gradio_and_in_its_page(new_page: Page, server: Server) -> None:
    page = new_page
    scripts = HeldScripts(page)
    page.goto(f"{server.url}/watch?video=ffffffffffff", wait_until="commit")
    sentence = page.get_by_text("There is no such video in this library").first
    expect(sentence).to_be_visible()
    expect(page.locator("longview-panels")).to_be_hidden()
    scripts.release()
    expect(page.locator(BEFORE)).to_have_count(0)
    expect(sentence).to_be_visible()
    expect(page.locator("longview-panels")).to_be_hidden()
