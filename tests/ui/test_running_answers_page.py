"""Answers that continue without the page that has asked: a reload and another page find them, and can stop them."""

import re

from playwright.sync_api import Browser, Page, expect

from tests.support.browser import VIDEO, needs_browser
from tests.support.page_servers import Server

pytestmark = needs_browser


def second_page(browser: Browser, server: Server, video_id: str) -> Page:
    """Open the video in a page of another profile."""
    page = browser.new_page()
    page.goto(f"{server.url}/watch?video={video_id}&tab=chat")
    page.locator(".stage video").wait_for()
    return page


def ask(page: Page, question: str) -> None:
    page.get_by_label("Question", exact=True).fill(question)
    page.keyboard.press("Enter")
    expect(page.locator(".message.user").last).to_contain_text(question)


def test_an_answer_is_found_again_after_a_reload_and_by_another_page(
    page: Page, browser: Browser, server: Server, video_id: str
) -> None:
    other = second_page(browser, server, video_id)
    # No other test asks about this range, so it must be decoded first.
    ask(page, "What happens between 2 and 28.5 seconds?")
    expect(other.locator(".message.user").last).to_contain_text("28.5 seconds", timeout=5000)
    page.reload()
    expect(page.locator(".message.user").last).to_contain_text("28.5 seconds")
    for each in (page, other):
        expect(each.locator(".message.bot").last).to_contain_text("Evidence:")
    other.close()


def test_an_answer_is_stopped_by_another_page_and_a_cleared_conversation_is_empty_there(
    page: Page, browser: Browser, server: Server, video_id: str
) -> None:
    other = second_page(browser, server, video_id)
    ask(page, "What happens between 2.5 and 29 seconds?")
    other.get_by_role("button", name="Stop").click()
    expect(page.locator(".message.bot").last).to_have_text("Stopped.")
    ask(page, "How many events are in the video?")
    expect(other.get_by_text("3.", exact=True).first).to_be_visible()
    page.get_by_label("Clear", exact=True).click()
    expect(other.locator(".message.user")).to_have_count(0)
    page.get_by_role("button", name="Undo clearing").click()
    expect(other.locator(".message.user", has_text="How many events")).to_be_visible()
    other.close()


def test_an_answer_about_the_library_is_in_the_address(page: Page, server: Server) -> None:
    page.goto(f"{server.url}/search")
    page.get_by_label("Ask the whole library").fill("When does the yellow star appear?")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search?answer=*")
    page.reload()
    expect(page.locator(".moments a").first).to_be_visible()
    expect(page.get_by_label("Ask the whole library")).to_have_value("When does the yellow star appear?")


def test_the_address_keeps_the_query_and_the_place_in_the_video(page: Page, server: Server, video_id: str) -> None:
    page.goto(f"{server.url}/search?q=yellow+star")
    expect(page.locator(".moments a").first).to_be_visible()
    expect(page.get_by_label("Search what is shown, said and written")).to_have_value("yellow star")
    page.locator(".moments a").first.click()
    page.wait_for_url("**/watch?video=*")
    page.go_back()
    expect(page.locator(".moments a").first).to_be_visible()
    page.goto(f"{server.url}/watch?video={video_id}&t=20")
    page.wait_for_function(f"Math.abs({VIDEO}?.currentTime - 20) < 1")
    page.locator("longview-panels .row").first.click()
    page.wait_for_url(re.compile(r"&t=3(\.\d)?$"))
    page.evaluate(f"{VIDEO}.pause()")
    page.goto(server.url)
    page.locator("longview-library .seen").first.wait_for()
