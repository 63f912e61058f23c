"""The watch page in a browser: timeline, panels, find, selection and keys, in step with the player."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from longview.indexing.records.video import VideoEntry
from longview.indexing.sqlite.library import Library
from tests.support.browser import VIDEO, needs_browser
from tests.support.library_samples import put_file, sample_entry, sample_track, spoken
from tests.support.page_servers import Server
from tests.support.watch_page import COLUMN, DURATION_S, PHONE, PLACE, SPOKEN, TIME, WORD_S, open_at, pause, seek, wait_for_time

pytestmark = needs_browser


def test_a_link_opens_at_its_time_and_the_row_that_plays_is_in_view(page: Page, server: Server, talk: VideoEntry) -> None:
    open_at(page, server, talk, "tab=transcript&t=70.2")
    now = page.locator("longview-panels .row.now")
    expect(now).to_contain_text("Sentence 70")
    expect(now).to_be_in_viewport(ratio=1)
    # What somebody reads stays, until they want to follow again.
    page.locator("longview-panels .list").hover()
    page.mouse.wheel(0, -1050)
    expect(page.locator("longview-panels .row", has_text="Sentence 40")).to_be_in_viewport()
    page.evaluate(f"{VIDEO}.play()")
    page.wait_for_function(f"{TIME} > 72")
    expect(now).to_have_count(0)
    page.get_by_role("button", name="Back to what plays").click()
    expect(now).to_be_in_viewport(ratio=1)
    # A word plays from its own time.
    pause(page)
    now.locator(".word").nth(2).click()
    start_s = float(str(now.locator(".word").nth(2).get_attribute("data-start")))
    page.wait_for_function(f"{TIME} >= {start_s} && {TIME} < {start_s + 2}")


def test_a_video_begins_where_somebody_stopped_watching(page: Page, server: Server, talk: VideoEntry) -> None:
    open_at(page, server, talk, "tab=transcript&t=42.2")
    page.locator("longview-panels .row", has_text="Sentence 43 is").locator("button.time").click()
    wait_for_time(page, 44, within_s=2)
    pause(page)
    time_s = page.evaluate(TIME)
    page.wait_for_function(f"Math.abs(new URLSearchParams(location.search).get('t') - {time_s}) < 0.11")
    page.goto(f"{server.url}/watch?video={talk.video_id}")
    wait_for_time(page, time_s)
    expect(page.locator("longview-panels .row.now")).to_be_in_viewport(ratio=1)


def test_find_goes_from_hit_to_hit_and_marks_them_on_the_timeline(page: Page) -> None:
    page.keyboard.press("/")
    field = page.get_by_label("Find in this video")
    expect(field).to_be_focused()
    field.fill("LEAD pipes")
    expect(page.locator("longview-panels .hits")).to_have_text("1 of 5")
    expect(page.locator("longview-panels .row.hit mark")).to_have_text(["lead", " ", "pipes"])
    page.keyboard.press("Enter")
    expect(page.locator("longview-panels .hits")).to_have_text("2 of 5")
    wait_for_time(page, 30)
    page.get_by_role("button", name="Previous hit").click()
    wait_for_time(page, 10)
    assert page.evaluate(COLUMN, ["Found", page.evaluate(PLACE, 50.4)])[3] == 255
    assert page.evaluate(COLUMN, ["Found", page.evaluate(PLACE, 60)])[3] == 0
    assert "find=LEAD+pipes" in page.url
    # Accents and case make no difference.
    field.fill("bluten")
    expect(page.locator("longview-panels .hits")).to_contain_text("of 91")
    field.fill("zebra")
    expect(page.locator("longview-panels .hits")).to_have_text("not found")


def test_the_timeline_shows_each_event_at_its_time(page: Page) -> None:
    page.get_by_label("Timeline").wait_for()
    # Gradio has put the columns beside each other.
    page.wait_for_function(f"Math.abs(window.longviewSession.strip.x({DURATION_S}) - 638) < 20")

    def edges(name: str, start_s: float, end_s: float) -> None:
        """Check that a line is filled from one pixel after a start to one before an end, and not beside them."""
        left, right = (page.evaluate(PLACE, seconds) for seconds in (start_s, end_s))
        for x, is_filled in ((left + 1, True), (right - 2, True), (left - 1.5, False), (right + 1.5, False)):
            assert (page.evaluate(COLUMN, [name, x])[3] == 255) == is_filled, (name, start_s, x)

    edges("Screen text", 10.0, 20.0)
    edges("Screen text", 30.0, 50.0)
    # From the whole to a second, by keys.
    seek(page, 10)
    page.wait_for_function(f"!{VIDEO}.seeking")
    for _ in range(7):
        page.keyboard.press("+")
    part: dict[str, float] = page.evaluate("window.longviewSession.strip.part")
    assert 1.0 <= part["to"] - part["from"] <= 1.001 and part["from"] < 10 < part["to"]
    page.wait_for_timeout(100)
    left = page.evaluate(PLACE, 10.0)
    assert page.evaluate(COLUMN, ["Screen text", left + 1])[3] == 255 and page.evaluate(COLUMN, ["Screen text", left - 2])[3] == 0
    page.keyboard.press("0")
    assert page.evaluate("window.longviewSession.strip.part") == {"from": 0, "to": DURATION_S}


def test_the_timeline_is_zoomed_by_wheel_moved_by_its_overview_and_shows_pictures(page: Page) -> None:
    view, part = page.get_by_label("Timeline"), "window.longviewSession.strip.part"
    box = view.bounding_box()
    assert box
    place = page.evaluate(PLACE, 30.0)
    line = page.locator(".names span", has_text="Screen text").bounding_box()
    assert line
    # Browsers report whole pixels.
    pointer_x = round(box["x"] + place + 2)
    page.mouse.move(pointer_x, line["y"] + 5)
    # What was found at that time, and how it looks there.
    expect(page.locator(".tip b")).to_have_text("0:00:30.3")
    expect(page.locator(".tip p")).to_have_text("Second")
    # The picture is there as soon as its image has been made.
    while not (picture := page.locator(".tip .picture")).is_visible():
        page.mouse.move(pointer_x, line["y"] + 6)
        page.mouse.move(pointer_x, line["y"] + 5)
        page.wait_for_timeout(100)
    assert "/sprite.jpg" in picture.evaluate("picture => picture.style.backgroundImage")
    distance = pointer_x - box["x"]
    pointed_s = 30 + (distance - place) / (page.evaluate(PLACE, 31.0) - place)
    for _ in range(8):
        page.mouse.wheel(0, -100)
    page.wait_for_function(f"{part}.to - {part}.from < 20")
    # The time under the pointer keeps its place.
    assert page.evaluate(PLACE, pointed_s) == pytest.approx(distance, abs=1)
    overview = page.locator("canvas.overview").bounding_box()
    assert overview
    page.mouse.move(overview["x"] + 0.3 * overview["width"], overview["y"] + 8)
    page.mouse.down()
    page.mouse.move(overview["x"] + 0.8 * overview["width"], overview["y"] + 8, steps=4)
    page.mouse.up()
    shown = page.evaluate(part)
    assert (shown["from"] + shown["to"]) / 2 == pytest.approx(80, abs=0.5)


def test_full_screen_has_the_timeline(page: Page) -> None:
    page.keyboard.press("f")
    page.wait_for_function("document.fullscreenElement")
    expect(page.get_by_label("Timeline")).to_be_in_viewport(ratio=1)
    page.keyboard.press("f")
    page.wait_for_function("!document.fullscreenElement")


def test_what_was_not_looked_for_not_found_and_what_failed_are_told_apart(
    page: Page, server: Server, library: Library, talk: VideoEntry
) -> None:
    entry = replace(sample_entry("b" * 12, "States"), path=talk.path, facts=talk.facts | {"has_audio": True})
    library.put(entry)
    library.tracks.replace(entry.video_id, replace(sample_track("captions", "failed"), note="The model ended."), ())
    library.tracks.replace(entry.video_id, sample_track("screen_text"), ())
    page.goto(f"{server.url}/watch?video={entry.video_id}")
    state = page.locator("longview-panels .source-state")
    for tab, said, action in (
        ("Captions", "Captions failed. The model ended.", "Try again"),
        ("Screen text", "Screen text: no text on screen.", ""),
        ("Transcript", "Speech: not looked for yet.", "Look for it"),
    ):
        page.get_by_role("tab", name=tab).click()
        for sentence in said.split(" The "):
            expect(state).to_contain_text(sentence)
        expect(state.get_by_role("button")).to_have_text([action] if action else [])
    library.remove(entry.video_id)


def test_each_key_does_what_the_list_says(page: Page) -> None:
    video = page.locator(".stage video")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_contain_text("Previous or next frame")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="Keys")).to_be_hidden()
    # The browser takes the focus from the button of the dialog a frame later.
    page.wait_for_function("document.activeElement === document.body")
    page.keyboard.press("Space")
    page.wait_for_function(f"!{VIDEO}.paused")
    page.keyboard.press("Space")
    page.wait_for_function(f"{VIDEO}.paused")
    video.evaluate("video => { video.currentTime = 40; }")
    wait_for_time(page, 40)
    for key, seconds in (("ArrowRight", 45.0), ("ArrowLeft", 40.0), ("Shift+ArrowRight", 41.0), ("n", 42.0), ("p", 41.0)):
        page.keyboard.press(key)
        wait_for_time(page, seconds, within_s=0.01)
    # A frame takes a fifth of a second here.
    page.keyboard.press(".")
    wait_for_time(page, 41.201, within_s=0.01)
    page.keyboard.press(",")
    wait_for_time(page, 41.001, within_s=0.01)
    page.keyboard.press("[")
    page.keyboard.press("ArrowRight")
    wait_for_time(page, 46.001, within_s=0.01)
    page.keyboard.press("]")
    expect(page.get_by_label("Selected part").locator(".span-text")).to_have_text("0:00:41.0 – 0:00:46.0 (5.0 s)")
    page.keyboard.press("Escape")
    expect(page.get_by_label("Selected part")).to_be_hidden()
    page.keyboard.press("l")
    page.keyboard.press("l")
    page.wait_for_function(f"!{VIDEO}.paused && {VIDEO}.playbackRate === 2")
    page.keyboard.press("k")
    page.wait_for_function(f"{VIDEO}.paused && {VIDEO}.playbackRate === 1")
    before_s = float(video.evaluate("video => video.currentTime"))
    page.keyboard.press("j")
    page.wait_for_function(f"{TIME} < {before_s - 0.5}")
    page.keyboard.press("k")
    page.keyboard.press("m")
    assert video.evaluate("video => video.muted") is True
    page.keyboard.press("ArrowDown")
    assert video.evaluate("video => video.volume") == pytest.approx(0.95)
    # Text fields keep their keys.
    stopped_s = float(video.evaluate("video => video.currentTime"))
    for field in (page.get_by_label("Question", exact=True), page.get_by_label("Find in this video")):
        field.fill("")
        field.press_sequentially(" jkl,.np[]/?")
        expect(field).to_have_value(" jkl,.np[]/?")
    assert video.evaluate("video => video.currentTime") == stopped_s and video.evaluate("video => video.paused")
    # A tab that was clicked has no key but the arrows.
    pause(page)
    page.get_by_role("tab", name="Screen text").click()
    video.evaluate("video => { video.currentTime = 40; }")
    wait_for_time(page, 40)
    page.keyboard.press("p")
    wait_for_time(page, 30, within_s=0.01)


def test_captions_are_drawn_over_the_picture_and_stay_chosen(page: Page, server: Server, talk: VideoEntry) -> None:
    page.get_by_label("Captions over the picture").select_option("screen_text")
    seek(page, 12)
    expect(page.locator(".over-lines")).to_have_text("First slide")
    seek(page, 25)
    expect(page.locator(".over-lines")).to_be_hidden()
    open_at(page, server, talk, "t=35")
    expect(page.locator(".over-lines")).to_have_text("Second")


def test_a_hundred_thousand_rows_are_searched_and_scrolled_with_few_elements(
    page: Page, server: Server, library: Library
) -> None:
    open_at(page, server, library.video("c" * 12), "t=30000")
    # Its file is gone, and its words are readable.
    expect(page.get_by_text("The file is no longer at")).to_be_visible()
    expect(page.locator("longview-panels .row.now")).to_contain_text("Word number 83333")
    expect(page.locator("longview-panels .row.now")).to_be_in_viewport(ratio=1)
    page.get_by_label("Find in this video").fill("number 99999")
    expect(page.locator("longview-panels .row.hit")).to_contain_text("Word number 99999")
    expect(page.locator("longview-panels .row.hit")).to_be_in_viewport(ratio=1)
    page.get_by_label("Find in this video").fill("")
    page.locator("longview-panels .list").focus()
    page.keyboard.press("Home")
    expect(page.locator("longview-panels .row", has_text="Word number 0")).to_be_in_viewport(ratio=1)
    elements = page.evaluate(
        """() => { const count = (root) => [...root.querySelectorAll('*')].reduce(
          (sum, node) => sum + 1 + (node.shadowRoot ? count(node.shadowRoot) : 0), 0); return count(document); }"""
    )
    assert elements <= 3000
    page.locator("longview-panels .row").first.click()
    expect(page.locator(".controls .clock")).to_have_text("0:00:00.0 / 10:00:00")


def test_a_track_that_grows_is_read_on_where_it_is_read(page: Page, server: Server, library: Library, talk: VideoEntry) -> None:
    video_id = "d" * 12
    library.put(replace(sample_entry(video_id, "Growing"), path=talk.path, facts=talk.facts))
    rows = [spoken(at, text, word_s=WORD_S) for at, text in SPOKEN]
    track = sample_track("speech", "incomplete", done_s=0.0)
    library.tracks.begin(video_id, track)
    library.tracks.append(video_id, replace(track, done_s=30.0), rows[:30], after_s=0.0)
    open_at(page, server, library.video(video_id), "tab=transcript")
    expect(page.locator("longview-panels .source-state")).to_contain_text("complete up to 30 %")
    row = page.locator("longview-panels .row", has_text="Sentence 10 is")
    # The words of the rows are there, so that no row is filled again.
    row.locator(".word").first.wait_for()
    page.locator("longview-panels .list").hover()
    page.mouse.wheel(0, 200)
    page.wait_for_function("document.querySelector('longview-panels').shadowRoot.querySelector('.list').scrollTop === 200")
    expect(row).to_be_in_viewport()
    place = """() => {
      const list = document.querySelector('longview-panels').shadowRoot.querySelector('.list');
      const row = [...list.querySelectorAll('.row')].find((each) => each.textContent.includes('Sentence 10 is'));
      return row.getBoundingClientRect().top - list.getBoundingClientRect().top;
    }"""
    before = page.evaluate(place)
    library.tracks.append(video_id, replace(track, status="complete", done_s=100.0), rows[30:], after_s=30.0)
    expect(page.locator("longview-panels .source-state")).to_be_empty(timeout=5000)
    assert page.evaluate(place) == pytest.approx(before, abs=1)
    expect(row).to_have_attribute("aria-setsize", "96")
    page.locator("longview-panels .list").focus()
    page.keyboard.press("End")
    expect(page.locator("longview-panels .row", has_text="Sentence 95 is")).to_be_in_viewport(ratio=1)
    library.remove(video_id)


def test_segments_of_any_form_are_found_by_time(page: Page) -> None:
    found: Any = page.evaluate(
        """async () => {
          const { Segments } = await import('/page/watch/segments.js');
          const rows = [
            [0, 36000, 'hours'], [5, 6, 'short'], [5, 4, 'backwards'], [7, 7, 'empty'], [8, 12, 'long'], [9, 10, 'inner'],
            [9, 10, 'same']];
          const segments = new Segments(rows.map(([start_s, end_s, text]) => ({ start_s, end_s, text })));
          const name = (index) => segments.rows[index]?.text ?? null;
          return [5.5, 7, 9.5, 11, 13, 40000].map((time) => name(segments.at(time))).concat([
            name(segments.near(40000)), segments.nextStart(5, 1), segments.nextStart(0, -1)]);
        }"""
    )
    assert found == ["short", "hours", "inner", "long", "hours", None, "same", 7, None]


def test_a_phone_keeps_the_player_in_view_beside_the_chat(page: Page, server: Server, talk: VideoEntry) -> None:
    page.set_viewport_size(PHONE)
    open_at(page, server, talk, "tab=transcript")
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    # What is outside of the page could not be scrolled to.
    last = page.get_by_role("button", name="Full screen").bounding_box()
    assert last and last["x"] + last["width"] <= PHONE["width"] - 16
    page.get_by_role("tab", name="Chat").click()
    question = page.get_by_label("Question", exact=True)
    for part in (question, page.locator(".stage video")):
        expect(part).to_be_in_viewport(ratio=0.99)
    question.fill("When is “lead” mentioned?")
    page.keyboard.press("Enter")
    expect(page.locator(".message.bot").last).to_contain_text("lead pipes")
    question.scroll_into_view_if_needed()
    page.mouse.wheel(0, 2000)
    expect(question).to_be_in_viewport(ratio=1)
    expect(page.locator(".stage video")).to_be_in_viewport(ratio=1)


def test_a_removed_file_keeps_its_words_and_pictures_of_sound_are_left_out(
    page: Page, server: Server, library: Library, tmp_path: Path
) -> None:
    path = tmp_path / "gone.mp4"
    shutil.copy(next(video.path for video in library.videos() if video.title == "A talk"), path)
    path.write_bytes(path.read_bytes() + (16).to_bytes(4, "big") + b"free" + bytes(8))
    entry = put_file(library, path, "Gone")
    path.unlink()
    open_at(page, server, entry)
    expect(page.get_by_text("The file is no longer at")).to_be_visible()
    expect(page.locator("longview-panels .row")).to_contain_text("a red circle")
    library.remove(entry.video_id)


def test_an_unknown_video_says_so_and_leads_to_the_library(page: Page, server: Server) -> None:
    for name in ("ffffffffffff", "zzzz", "../x"):
        page.goto(f"{server.url}/watch?video={name}")
        expect(page.get_by_text("There is no such video in this library")).to_be_visible()
        expect(page.get_by_label("Question", exact=True)).to_be_hidden()
        assert "video=" in page.url
    page.get_by_role("link", name="Open the library").click()
    page.locator("longview-library .card").first.wait_for()
