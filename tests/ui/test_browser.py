"""The page in a real browser: what it draws, what seeks the player, and what a reload keeps.

The tests need an installed Chromium; nothing is downloaded. If LONGVIEW_NEED_BROWSER is set, as in the gate, a missing one is a
failure.
"""

import re
import wave
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from urllib.parse import urljoin

from gradio_client import Client
from PIL import Image
from playwright.sync_api import APIResponse, Page, Route, expect

from longview.core.time_text import parse_time
from longview.core.timeline import Segment, Span
from longview.indexing.sqlite.library import Library
from tests.support.browser import VIDEO, needs_browser
from tests.support.page_servers import EVENTS, Server

pytestmark = needs_browser

PLAYER_TIME = f"{VIDEO}?.currentTime"


def open_page(page: Page, path: str) -> None:
    page.goto(urljoin(page.url, path))


def test_caption_row_seeks_the_player_and_is_highlighted(page: Page) -> None:
    page.locator("longview-panels .row").nth(1).click()
    page.wait_for_function(f"Math.abs({PLAYER_TIME} - {EVENTS[1].start_s}) < 3")
    expect(page.locator("longview-panels .row.now")).to_contain_text(EVENTS[1].text)


def test_answer_has_links_to_times_and_survives_a_reload(page: Page) -> None:
    page.get_by_label("Question", exact=True).fill("When does the blue square appear?")
    page.keyboard.press("Enter")
    link = page.locator('a[href*="#t="]').last
    link.click()
    page.wait_for_function(f"Math.abs({PLAYER_TIME} - {EVENTS[2].start_s}) < 3")
    page.reload()
    expect(page.get_by_text("When does the blue square appear?").first).to_be_visible()


def test_question_is_answered_that_is_asked_before_the_page_has_loaded(page: Page) -> None:
    held: list[Route] = []
    page.route("**/gradio_api/run/**", lambda route: held.append(route))
    page.reload()
    page.get_by_label("Question", exact=True).fill("When does the red circle appear?")
    page.keyboard.press("Enter")
    expect(page.locator(".message.bot").last).to_contain_text("Evidence:")
    assert held
    for route in held:
        route.continue_()
    page.unroute_all()
    page.wait_for_timeout(1000)
    expect(page.locator(".message.bot").last).to_contain_text("Evidence:")


def test_search_result_opens_the_video_at_its_moment(page: Page) -> None:
    open_page(page, "/search")
    page.get_by_label("Search what is shown, said and written").fill("yellow star")
    held: list[Route] = []
    page.route("**/thumbnail/**", lambda route: held.append(route))
    page.keyboard.press("Enter")
    picture = page.locator(".moments img").first
    picture.wait_for()
    # A picture that is still being loaded is no dark box on a light page.
    with Image.open(BytesIO(picture.screenshot())) as shot:
        assert min(shot.convert("L").tobytes()) > 200
    for route in held:
        route.continue_()
    page.locator(".moments a").first.click()
    page.wait_for_function(f"Math.abs({PLAYER_TIME} - {EVENTS[1].start_s}) < 1")
    page.wait_for_function(f"{PLAYER_TIME} > {EVENTS[1].start_s} && !{VIDEO}.paused")
    # A reload and a shared link do not play.
    page.reload()
    page.wait_for_function(f"{VIDEO}?.readyState > 0")
    page.wait_for_timeout(500)
    assert page.evaluate(f"{VIDEO}.paused")


def test_search_results_are_verified(page: Page) -> None:
    open_page(page, "/search")
    page.get_by_label("Search what is shown, said and written").fill("yellow star")
    page.keyboard.press("Enter")
    expect(page.get_by_text("· verified").first).to_be_visible()
    expect(page.get_by_text("Verifying results …")).to_have_count(0)


def test_results_stay_when_verification_is_switched_off(page: Page) -> None:
    open_page(page, "/search")
    page.get_by_label("Verify captions where this is quick").uncheck()
    page.get_by_label("Search what is shown, said and written").fill("yellow star")
    page.keyboard.press("Enter")
    expect(page.get_by_text("· not verified").first).to_be_visible()
    button = page.get_by_role("button", name="Verify all results")
    expect(button).to_be_visible()
    page.get_by_label("Verify captions where this is quick").check()
    page.get_by_label("Verify captions where this is quick").uncheck()
    page.wait_for_timeout(500)
    expect(page.get_by_text("· not verified").first).to_be_visible()
    button.click()
    expect(page.get_by_text("· verified").first).to_be_visible()
    expect(button).to_be_hidden()


def test_switched_off_verification_is_in_the_address_and_survives_reload_and_back(page: Page) -> None:
    open_page(page, "/search?q=yellow+star")
    expect(page.get_by_text("· verified").first).to_be_visible()
    box = page.get_by_label("Verify captions where this is quick")
    box.uncheck()
    page.wait_for_url("**/search?q=yellow+star&verify=false")
    page.reload()
    expect(page.get_by_text("· not verified").first).to_be_visible()
    expect(box).not_to_be_checked()
    page.go_back()
    expect(page.get_by_text("· verified").first).to_be_visible()
    expect(box).to_be_checked()


def test_search_without_a_result_says_so(page: Page) -> None:
    open_page(page, "/search")
    page.get_by_label("Search what is shown, said and written").fill("xylophone quartet")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Nothing in the library matches.")).to_be_visible()
    page.wait_for_timeout(500)
    expect(page.get_by_text("Nothing in the library matches.")).to_be_visible()


def test_older_captions_can_be_replaced_and_stay_as_an_earlier_version(page: Page, server: Server, video_id: str) -> None:
    library = Library(server.library)
    track = library.video(video_id).track("captions")
    assert track is not None
    older = replace(track, provenance=replace(track.provenance, prompt_version="1", revision="<b>1</b>"))
    library.put_captions(video_id, older, [Segment(Span(3, 9), "An older caption.", "captions")], summary="", chapters=())
    content = server.get(f"/export/{video_id}.vtt")[1]
    page.reload()
    expect(page.get_by_text("Captioned by demo (prompts 1); the default is now demo (prompts 2).")).to_be_visible()
    page.get_by_role("button", name="Caption again").click()
    expect(page.get_by_role("button", name="Caption again")).to_be_hidden()
    expect(page.locator("longview-panels .row")).to_have_count(len(EVENTS))
    expect(page.get_by_text("Captioned by demo")).to_have_count(0)
    page.get_by_label("Exports, versions, subtitle files").click()
    page.get_by_label("Version", exact=True).select_option(index=1)
    expect(page.locator("longview-panels .row")).to_have_count(1)
    expect(page.locator("longview-panels .row")).to_contain_text("An older caption.")
    expect(page.locator("longview-panels")).to_contain_text("demo, revision <b>1</b>, prompts 1")
    link = page.locator(".menu-row a", has_text="VTT").get_attribute("href")
    assert server.get(link or "")[1] == content and b"An older caption." in content
    assert server.get(f"/export/{video_id}.vtt?version={1 << 70}")[0] == 404


def test_empty_input_leaves_no_error_on_the_page(page: Page) -> None:
    open_page(page, "/search")
    page.get_by_label("Search what is shown, said and written").fill("  ")
    page.keyboard.press("Enter")
    expect(page.get_by_text("The query is empty").first).to_be_visible()
    expect(page.get_by_text("Searching ·")).to_have_count(0)


def test_search_page_answers_questions_about_the_library(page: Page) -> None:
    open_page(page, "/search")
    page.get_by_label("Ask the whole library").fill("When does the blue square appear?")
    page.keyboard.press("Enter")
    page.locator(".moments a").first.click()
    page.wait_for_function(f"Math.abs({PLAYER_TIME} - {EVENTS[2].start_s}) < 1")


def test_chapters_seek_the_player(page: Page) -> None:
    page.get_by_role("tab", name="Chapters").click()
    chapter = page.locator("longview-panels .row").last
    start_s = parse_time(chapter.locator(".time").inner_text())
    chapter.click()
    page.wait_for_function(f"Math.abs({PLAYER_TIME} - {start_s}) < 3")


def test_examples_fit_the_video_and_sound_has_a_low_player(page: Page, server: Server, tmp_path: Path) -> None:
    expect(page.get_by_label("Question", exact=True)).to_have_attribute("placeholder", "What happens at 0:05?")
    with wave.open(str(tmp_path / "talk.wav"), "wb") as sound:
        sound.setparams((1, 1, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(8000 * 6))
    cue = "1\n00:00:01,000 --> 00:00:05,000\nA lighthouse has a clockwork.\n"
    (tmp_path / "talk.srt").write_text(cue, encoding="utf-8")
    client = Client(server.url, verbose=False)
    _, video_id = client.predict(str(tmp_path / "talk.wav"), api_name="/index")
    page.goto(f"{server.url}/watch?video={video_id}")
    page.get_by_role("tab", name="Chat").click()
    page.get_by_text("When is “lighthouse” mentioned?").click()
    expect(page.get_by_label("Question", exact=True)).to_have_value("When is “lighthouse” mentioned?")
    assert page.get_by_text("What happens at 0:05?").count() == 0
    box = page.locator(".stage").bounding_box()
    assert box and box["height"] < 100
    client.predict(video_id, api_name="/remove")


def test_stopped_answer_is_not_stored_and_frees_the_model(page: Page) -> None:
    question = page.get_by_label("Question", exact=True)
    # No other test asks about this range, so it must be decoded first.
    question.fill("What happens between 1 and 29.5 seconds?")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Stop").click()
    expect(page.locator(".message.bot").last).to_have_text("Stopped.")
    question.fill("How many events are in the video?")
    page.keyboard.press("Enter")
    expect(page.get_by_text("3.", exact=True).first).to_be_visible()
    page.reload()
    expect(page.get_by_text("How many events are in the video?").first).to_be_visible()
    expect(page.get_by_text("What happens between 1 and 29.5 seconds?")).to_have_count(0)


def test_answer_has_one_time_format_and_no_notice_of_its_own(page: Page) -> None:
    question = page.get_by_label("Question", exact=True)
    question.fill("What happens between 11 and 19 seconds?")
    page.keyboard.press("Enter")
    answer = page.locator(".message.bot").last
    expect(answer).to_contain_text("Evidence:")
    text = answer.inner_text()
    assert re.search(r"From 0:00:1\d\.\d to 0:00:1\d\.\d", text) and not re.search(r"\d seconds", text)
    assert "demo checkpoint" not in text
    question.fill("When does the white ring appear?")
    page.keyboard.press("Enter")
    refusal = page.locator(".message.bot").last
    expect(refusal).to_contain_text("Not in this video")
    assert refusal.locator("a").count() == 0


def test_cleared_conversation_stays_cleared_until_that_is_undone(page: Page) -> None:
    question = page.get_by_label("Question", exact=True)
    question.fill("When does the yellow star appear?")
    page.keyboard.press("Enter")
    expect(page.locator(".message.user").last).to_contain_text("yellow star")
    # The evidence comes with the whole answer, which is kept then.
    expect(page.locator(".message.bot").last).to_contain_text("Evidence:")
    page.get_by_label("Clear", exact=True).click()
    expect(page.get_by_text("Ask about this video.")).to_be_visible()
    question.fill("How many events are in the video?")
    page.keyboard.press("Enter")
    expect(page.get_by_text("3.", exact=True).first).to_be_visible()
    expect(page.get_by_text("When does the yellow star appear?")).to_have_count(0)
    page.reload()
    expect(page.get_by_text("How many events are in the video?").first).to_be_visible()
    expect(page.get_by_text("When does the yellow star appear?")).to_have_count(0)
    page.get_by_role("button", name="Undo clearing").click()
    expect(page.get_by_text("When does the yellow star appear?").first).to_be_visible()
    expect(page.get_by_text("How many events are in the video?").first).to_be_visible()
    page.reload()
    expect(page.get_by_text("When does the yellow star appear?").first).to_be_visible()


def test_question_that_is_asked_while_a_conversation_is_being_cleared_is_answered(page: Page) -> None:
    question = page.get_by_label("Question", exact=True)
    question.fill("When does the yellow star appear?")
    page.keyboard.press("Enter")
    expect(page.locator(".message.bot").last).to_contain_text("Evidence:")
    late: list[tuple[Route, APIResponse]] = []
    page.route("**/run/predict*", lambda route: late.append((route, route.fetch())))
    with page.expect_request("**/run/predict*"):
        page.get_by_label("Clear", exact=True).click()
    question.fill("What happens between 3.5 and 28 seconds?")
    page.keyboard.press("Enter")
    expect(page.locator(".message.user").last).to_contain_text("28 seconds")
    for route, response in late:
        route.fulfill(response=response)
    page.unroute("**/run/predict*")
    expect(page.locator(".message.bot").last).to_contain_text("Evidence:")
    page.reload()
    expect(page.get_by_text("What happens between 3.5 and 28 seconds?").first).to_be_visible()


def test_exports_are_downloads_and_the_notice_is_visible(page: Page) -> None:
    page.get_by_label("Exports, versions, subtitle files").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="SRT").click()
    assert EVENTS[0].text in Path(download.value.path()).read_text(encoding="utf-8")
    open_page(page, "/search")
    expect(page.locator(".notice")).to_contain_text("only moving coloured shapes")


def test_the_command_of_the_notice_is_copied_on_each_page(page: Page) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    for path in ("/", "/search"):
        open_page(page, path)
        expect(page.locator(".notice code")).to_have_text("longview models")
        page.evaluate("navigator.clipboard.writeText('')")
        page.get_by_role("button", name="Copy “longview models”").click()
        expect(page.get_by_role("status").filter(has_text="Copied: longview models")).to_be_visible()
        assert page.evaluate("navigator.clipboard.readText()") == "longview models"
    # Elsewhere than on this machine, browsers have no clipboard.
    page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error()); }")
    page.get_by_role("button", name="Copy “longview models”").click()
    expect(page.get_by_role("status").filter(has_text="select the text instead: longview models")).to_be_visible()


def test_no_name_of_a_text_is_read_out(page: Page) -> None:
    page.evaluate(
        """() => { window.seen = []; new MutationObserver(() => {
          const text = document.body.textContent;
          for (const mark of ['common.', 'Complete']) if (text.includes(mark)) window.seen.push(mark);
        }).observe(document.body, {subtree: true, childList: true, characterData: true}); }"""
    )
    question = page.get_by_label("Question", exact=True)
    question.fill("How many events are in the video?")
    page.keyboard.press("Enter")
    expect(page.get_by_text("3.", exact=True).last).to_be_visible()
    page.wait_for_function("() => window.seen.includes('Complete')")
    assert "common." not in page.evaluate("() => window.seen")
