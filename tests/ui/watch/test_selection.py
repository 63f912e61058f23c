"""What is done with a part of the video that is watched, with its questions and with its subtitle files."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from longview.indexing.records.video import VideoEntry
from longview.indexing.sqlite.library import Library
from longview.video.probing.probe import probe
from tests.support.browser import VIDEO, needs_browser
from tests.support.page_servers import Server
from tests.support.watch_page import COLUMN, DURATION_S, PLACE, TIME, open_at, pause, wait_for_time

pytestmark = needs_browser
SELECTED = "document.querySelector('longview-panels').shadowRoot.getSelection().getRangeAt(0).toString().trim()"


def test_a_selected_part_is_played_looped_and_copied(page: Page, talk: VideoEntry) -> None:
    view = page.get_by_label("Timeline")
    page.wait_for_function(f"Math.abs(window.longviewSession.strip.x({DURATION_S}) - 638) < 20")
    start_s, end_s = 20.0, 21.5
    for seconds, act in ((start_s, page.mouse.down), (end_s, page.mouse.up)):
        view.hover(position={"x": page.evaluate(PLACE, seconds), "y": 30})
        act()
    bar = page.get_by_label("Selected part")
    expect(bar.locator(".span-text")).to_have_text("0:00:20.0 – 0:00:21.5 (1.5 s)")
    bar.get_by_role("button", name="Play").click()
    page.wait_for_function(f"{VIDEO}.paused && Math.abs({TIME} - {end_s}) < 0.25")
    bar.get_by_role("button", name="Loop").click()
    page.wait_for_function(f"{TIME} > {end_s - 0.6}")
    page.wait_for_function(f"{TIME} < {start_s + 0.6}")
    bar.get_by_role("button", name="Loop").click()
    page.wait_for_function(f"{VIDEO}.paused")
    copied = {}
    for name, begin in (("Copy link", "http"), ("Copy times", "0:00"), ("Copy quote", "“")):
        bar.get_by_role("button", name=name).click()
        expect(page.get_by_text(f"Copied: {begin}")).to_be_visible()
        copied[name] = page.evaluate("navigator.clipboard.readText()")
    assert copied["Copy times"] == "0:00:20.0 – 0:00:21.5"
    assert copied["Copy quote"] == "“Sentence 20 is about trees and Blüten. Sentence 21 is about” (A talk, 0:00:20.0 – 0:00:21.5)"
    page.goto(copied["Copy link"])
    expect(page.get_by_label("Selected part").locator(".span-text")).to_have_text("0:00:20.0 – 0:00:21.5 (1.5 s)")
    page.get_by_role("button", name="Ask about it").click()
    expect(page.get_by_label("Question", exact=True)).to_have_value("What happens from 0:00:20.0 – 0:00:21.5?")
    page.get_by_role("button", name="Clear the selection").click()
    expect(page.get_by_label("Selected part")).to_be_hidden()


def test_a_selected_part_is_cut_into_a_file_that_has_it(page: Page, server: Server, talk: VideoEntry, tmp_path: Path) -> None:
    open_at(page, server, talk, "tab=transcript&t=20&end=24")
    bar = page.get_by_label("Selected part")
    expect(bar.get_by_label("exact")).to_be_checked()
    with page.expect_download() as download:
        bar.get_by_role("button", name="Cut", exact=True).click()
    path = tmp_path / "cut.mp4"
    download.value.save_as(path)
    assert download.value.suggested_filename.startswith("A talk")
    assert probe(path).duration_s == pytest.approx(4.0, abs=0.21)
    expect(bar.get_by_role("link", name="Save A talk")).to_be_visible()
    # The timeline marks what was cut, also after a reload.
    for _ in range(2):
        expect(page.locator(".names span", has_text="Cuts")).to_be_visible()
        inside, outside = (page.evaluate(COLUMN, ["Cuts", page.evaluate(PLACE, at)]) for at in (22, 26))
        assert inside[3] == 255 and outside[3] == 0
        page.reload()


def test_selected_words_are_a_part_of_the_video(page: Page) -> None:
    words = page.locator("longview-panels .row", has_text="Sentence 3 is").locator(".word")
    first, last = words.nth(1).bounding_box(), words.nth(3).bounding_box()
    assert first and last
    page.mouse.move(first["x"] + 1, first["y"] + 8)
    page.mouse.down()
    page.mouse.move(last["x"] + last["width"] - 1, last["y"] + 8, steps=8)
    page.mouse.up()
    expect(page.get_by_label("Selected part").locator(".span-text")).to_have_text("0:00:03.1 – 0:00:03.5 (0.4 s)")
    page.get_by_role("button", name="Copy quote").click()
    expect(page.get_by_text("Copied: “3 is about” (A talk, 0:00:03.1 – 0:00:03.5)")).to_be_visible()


def test_selected_words_stay_selected_when_the_video_is_read_again(page: Page, library: Library, talk: VideoEntry) -> None:
    words = page.locator("longview-panels .row", has_text="Sentence 3 is").locator(".word")
    words.nth(1).dblclick()
    assert page.evaluate(SELECTED) == "3"
    with page.expect_response(f"**/v1/videos/{talk.video_id}/segments?source=speech**"):
        library.put(library.video(talk.video_id))
    page.wait_for_timeout(300)
    assert page.evaluate(SELECTED) == "3"


def test_words_of_several_rows_are_quoted_without_their_times(page: Page) -> None:
    rows = page.locator("longview-panels .row")
    first = rows.filter(has_text="Sentence 3 is").locator(".word").nth(1).bounding_box()
    last = rows.filter(has_text="Sentence 5 is").locator(".word").nth(2).bounding_box()
    assert first and last
    page.mouse.move(first["x"] + 1, first["y"] + 8)
    page.mouse.down()
    page.mouse.move(last["x"] + last["width"] - 1, last["y"] + 8, steps=5)
    page.mouse.up()
    page.get_by_role("button", name="Copy quote").click()
    copied = page.evaluate("navigator.clipboard.readText()")
    sentences = "3 is about trees and Blüten. Sentence 4 is about trees and Blüten. Sentence 5 is"
    assert copied == f"“{sentences}” (A talk, 0:00:03.1 – 0:00:05.4)"


def test_the_quote_of_a_part_has_all_that_is_said_in_it(page: Page, server: Server, talk: VideoEntry) -> None:
    # Nothing is said at the middle of the part, where a slide is shown.
    for span, words in (("t=40.5&end=41.35", "trees and Blüten. Sentence 41 is"), ("t=49.9&end=49.95", "Second")):
        open_at(page, server, talk, f"tab=screen_text&{span}")
        page.get_by_role("button", name="Copy quote").click()
        expect(page.get_by_text(f"Copied: “{words}” (A talk, 0:00:4")).to_be_visible()
    page.get_by_role("button", name="More like this").click()
    page.wait_for_url("**/search?q=Second")


def test_a_double_click_on_an_event_of_the_timeline_selects_it(page: Page) -> None:
    label = page.locator(".names span", has_text="Screen text").bounding_box()
    view = page.get_by_label("Timeline").bounding_box()
    assert label and view
    page.mouse.dblclick(view["x"] + page.evaluate(PLACE, 40.0), label["y"] + label["height"] / 2)
    expect(page.get_by_label("Selected part")).to_contain_text("0:00:30.0 – 0:00:50.0")


def test_a_question_can_be_asked_of_all_videos(page: Page) -> None:
    page.get_by_label("Question", exact=True).fill("When is lead pipes mentioned?")
    page.get_by_role("link", name="Ask all videos").click()
    expect(page.get_by_label("Ask the whole library")).to_have_value("When is lead pipes mentioned?")
    expect(page.get_by_text("Sentence 10 is about lead pipes").first).to_be_visible()
    page.wait_for_url("**/search?*answer=*")
    page.reload()
    expect(page.get_by_text("Sentence 10 is about lead pipes").first).to_be_visible()


def test_a_late_reply_does_not_replace_the_exports_of_another_panel(page: Page) -> None:
    held: list[Route] = []
    page.route("**/versions", lambda route: held.append(route) if not held else route.continue_())
    page.get_by_label("Exports, versions, subtitle files").click()
    page.wait_for_timeout(200)
    # A click beside the menu would close it.
    page.get_by_role("tab", name="Transcript").press("ArrowRight")
    links = page.get_by_role("link", name="SRT")
    expect(links).to_have_attribute("href", re.compile("source=screen_text"))
    with page.expect_response("**/subtitles"):
        held[0].continue_()
    # What happens in the background of the page does not close the menu either.
    page.evaluate("document.getElementById('longview-conversation-changed').click()")
    page.wait_for_timeout(200)
    expect(links).to_be_visible()
    expect(links).to_have_attribute("href", re.compile("source=screen_text"))


def test_subtitle_files_are_added_and_removed(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "talk.en.srt"
    path.write_text("1\n00:00:10,000 --> 00:00:12,000\nA line of the file.\n")
    menu, rows = page.get_by_label("Exports, versions, subtitle files"), page.locator("longview-panels .row")
    menu.click()
    page.get_by_label("shifted by seconds").fill("4.5")
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Add subtitles").click()
    chooser.value.set_files(path)
    # What was added is shown at once.
    expect(rows).to_have_count(1)
    expect(page.get_by_label("Source", exact=True)).to_have_value("subtitles")
    page.reload()
    expect(rows.first).to_contain_text("A line of the file")
    rows.get_by_role("button", name="0:14.5").click()
    wait_for_time(page, 14.5, within_s=2)
    pause(page)
    menu.click()
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_label("Remove the subtitles of talk.en.srt").click()
    expect(page.get_by_label("Remove the subtitles of talk.en.srt")).to_have_count(0)
    expect(page.locator("longview-panels .row", has_text="A line of the file")).to_have_count(0)
    expect(page.get_by_text("Subtitles: no subtitles.")).to_be_visible()
    # A file that is none is refused in words.
    page.get_by_label("Add subtitles").last.set_input_files({"name": "a.srt", "mimeType": "text/plain", "buffer": b"\0\xff" * 99})
    expect(page.locator("longview-toasts .toast", has_text="a.srt")).to_be_visible()
