"""The watch page in a browser: timeline, panels, find, selection and keys, in step with the player."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect

from longview.core.timeline import Segment, Span
from longview.indexing.records.video import VideoEntry
from longview.indexing.sqlite.library import Library
from longview.video.probing.probe import probe
from longview.video.synthetic import ShapesEvent, render
from tests.support.browser import VIDEO, needs_browser
from tests.support.library_samples import put_file, sample_entry, sample_track, shown, spoken
from tests.support.page_servers import Server, running_server

pytestmark = needs_browser
DURATION_S = 100.0
SPOKEN = [
    (number, f"Sentence {number} is about {'lead pipes' if number % 20 == 10 else 'trees and Blüten'}.") for number in range(96)
]
"""Start in seconds and text of what is said."""
PHONE: ViewportSize = {"width": 390, "height": 844}
MANY = 100_000
TIME = f"{VIDEO}?.currentTime"
COLUMN = """([name, x]) => {
  const root = document.querySelector('longview-watch').shadowRoot;
  const label = [...root.querySelectorAll('.names span')].find((each) => each.textContent === name);
  const canvas = root.querySelector('.view canvas');
  const y = label.offsetTop + label.offsetHeight / 2;
  const ratio = devicePixelRatio;
  return [...canvas.getContext('2d').getImageData(Math.round(x * ratio), Math.round(y * ratio), 1, 1).data];
}"""
"""Script that returns the colour of the line with a name at a distance from its left side, in pixels."""
PLACE = "seconds => window.longviewSession.strip.x(seconds)"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """A library with a video of shapes in which somebody speaks, and one of ten hours without its file."""
    folder = tmp_path_factory.mktemp("watch")
    library = Library(folder / "library")
    path = render(folder / "talk.mp4", [ShapesEvent(2.0, 90.0, "red", "circle", "stays still")], DURATION_S, fps=5)
    talk = put_file(library, path, "A talk")
    library.put(replace(library.video(talk.video_id), facts=talk.facts | {"fps": 5.0}))
    library.tracks.replace(talk.video_id, sample_track("speech", language="en"), [spoken(at, text) for at, text in SPOKEN])
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


def open_at(page: Page, server: Server, entry: VideoEntry, parameters: str = "") -> None:
    begin = "" if "t=" in parameters.replace("at=", "") else "&t=0"
    page.goto(f"{server.url}/watch?video={entry.video_id}&{parameters}{begin}")
    page.locator("longview-panels .row").first.wait_for()


def wait_for_time(page: Page, seconds: float, *, within_s: float = 0.3) -> None:
    page.wait_for_function(f"Math.abs({TIME} - {seconds}) < {within_s}")


def seek(page: Page, seconds: float) -> None:
    page.locator(".stage video").evaluate("(video, seconds) => { video.currentTime = seconds; }", seconds)


def pause(page: Page) -> None:
    page.evaluate(f"{VIDEO}.pause()")


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
    for name in ("Copy link", "Copy times", "Copy quote"):
        bar.get_by_role("button", name=name).click()
        expect(page.get_by_text("Copied:").last).to_be_visible()
        copied[name] = page.evaluate("navigator.clipboard.readText()")
    assert copied["Copy times"] == "0:00:20.0 – 0:00:21.5"
    assert copied["Copy quote"] == "“Sentence 20 is about trees and Blüten.” (A talk, 0:00:20.0 – 0:00:21.5)"
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
    expect(page.get_by_label("Selected part").locator(".span-text")).to_have_text("0:00:03.5 – 0:00:05.0 (1.5 s)")
    page.get_by_role("button", name="Copy quote").click()
    expect(page.get_by_text("Copied: “3 is about” (A talk, 0:00:03.5 – 0:00:05.0)")).to_be_visible()


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
    assert copied == f"“{sentences}” (A talk, 0:00:03.5 – 0:00:06.5)"


def test_a_double_click_on_an_event_of_the_timeline_selects_it(page: Page) -> None:
    label = page.locator(".names span", has_text="Screen text").bounding_box()
    view = page.get_by_label("Timeline").bounding_box()
    assert label and view
    page.mouse.dblclick(view["x"] + page.evaluate(PLACE, 40.0), label["y"] + label["height"] / 2)
    expect(page.get_by_label("Selected part")).to_contain_text("0:00:30.0 – 0:00:50.0")


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
    rows = [spoken(at, text) for at, text in SPOKEN]
    track = sample_track("speech", "incomplete", done_s=0.0)
    library.tracks.begin(video_id, track)
    library.tracks.append(video_id, replace(track, done_s=30.0), rows[:30], after_s=0.0)
    open_at(page, server, library.video(video_id), "tab=transcript")
    expect(page.locator("longview-panels .source-state")).to_contain_text("complete up to 30 %")
    row = page.locator("longview-panels .row", has_text="Sentence 10 is")
    row.scroll_into_view_if_needed()
    place = "row => row.getBoundingClientRect().top - row.closest('.list').getBoundingClientRect().top"
    before = row.evaluate(place)
    library.tracks.append(video_id, replace(track, status="complete", done_s=100.0), rows[30:], after_s=30.0)
    expect(page.locator("longview-panels .source-state")).to_be_empty(timeout=5000)
    assert row.evaluate(place) == pytest.approx(before, abs=1)
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


def test_a_question_can_be_asked_of_all_videos(page: Page) -> None:
    page.get_by_label("Question", exact=True).fill("When is lead pipes mentioned?")
    page.get_by_role("link", name="Ask all videos").click()
    expect(page.get_by_label("Ask the whole library")).to_have_value("When is lead pipes mentioned?")
    expect(page.get_by_text("Sentence 10 is about lead pipes").first).to_be_visible()
    page.wait_for_url("**/search?*answer=*")
    page.reload()
    expect(page.get_by_text("Sentence 10 is about lead pipes").first).to_be_visible()


def test_a_phone_keeps_the_player_in_view_beside_the_chat(page: Page, server: Server, talk: VideoEntry) -> None:
    page.set_viewport_size(PHONE)
    open_at(page, server, talk, "tab=transcript")
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    # What is outside of the page could not be scrolled to.
    last = page.get_by_role("button", name="Full screen").bounding_box()
    assert last and last["x"] + last["width"] <= PHONE["width"] - 16
    page.get_by_role("tab", name="Chat").click()
    question = page.get_by_label("Question", exact=True)
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


def test_subtitle_files_are_added_and_removed(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "talk.en.srt"
    path.write_text("1\n00:00:10,000 --> 00:00:12,000\nA line of the file.\n")
    menu, rows = page.get_by_label("Exports, versions, subtitle files"), page.locator("longview-panels .row")
    menu.click()
    page.get_by_label("shifted by seconds").fill("4.5")
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Add subtitles").click()
    chooser.value.set_files(path)
    page.get_by_label("Source", exact=True).select_option("subtitles")
    expect(rows).to_have_count(1)
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
