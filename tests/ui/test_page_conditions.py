"""What the pages keep to in dark colours, on a phone, with damaged pictures and pasted paths, and when a video changes."""

import shutil
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, ViewportSize, expect

from longview.indexing.library_files import THUMBNAILS
from longview.indexing.sqlite.library import Library
from longview.video.synthetic import ShapesEvent, render
from tests.support.browser import VIDEO, drop, needs_browser
from tests.support.library_samples import put_file
from tests.support.page_servers import EVENTS, Server

pytestmark = needs_browser
MIN_CONTRAST = 4.5
"""Contrast that text needs to be readable, by WCAG 2 (AA)."""
PHONE: ViewportSize = {"width": 390, "height": 844}
CONTRASTS = """() => {
  const canvas = Object.assign(document.createElement('canvas'), { width: 1, height: 1 });
  const context = canvas.getContext('2d', { willReadFrequently: true });
  const rgba = (colour) => {
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data];
  };
  const over = (top, ground) => ground.map((value, index) => value + (top[index] - value) * top[3] / 255);
  const parent = (node) => node.parentElement ?? node.getRootNode().host;
  const groundOf = (element) => {
    const layers = [];
    for (let node = element; node; node = parent(node)) layers.unshift(rgba(getComputedStyle(node).backgroundColor));
    return layers.reduce((ground, layer) => over(layer, ground), [255, 255, 255]);
  };
  const luminance = (colour) => {
    const linear = (value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    const [red, green, blue] = colour.map((value) => linear(value / 255));
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const found = [];
  const look = (root) => {
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      if (node.shadowRoot) look(node.shadowRoot);
      const element = node.parentElement;
      if (node.nodeType !== Node.TEXT_NODE || !node.data.trim() || !element || element.matches('option')) continue;
      if (!element.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
      const ground = groundOf(element);
      const [one, other] = [luminance(over(rgba(getComputedStyle(element).color), ground)), luminance(ground)];
      const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
      found.push({ text: node.data.trim().slice(0, 60), contrast, ground: other });
    }
  };
  look(document.body);
  return found;
}"""
"""Script that returns each visible text with its contrast to the colour behind it, and the luminance of that."""


def assert_fits(page: Page) -> None:
    """Check that nothing is wider than the page."""
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_all_texts_are_readable_in_light_and_dark(page: Page, server: Server, video_id: str, theme: str) -> None:
    asked = page.get_by_label("Question", exact=True)
    asked.fill("When does the blue square appear?")
    page.keyboard.press("Enter")
    expect(page.locator(".message.bot").last).to_contain_text("Evidence:")
    places = {
        "/?": "longview-library .card",
        f"/watch?video={video_id}&tab=chat&": ".message.bot",
        "/search?q=yellow+star&": ".moments a",
    }
    for address, place in places.items():
        page.goto(f"{server.url}{address}__theme={theme}")
        expect(page.locator(place).first).to_be_visible()
        texts: list[dict[str, Any]] = page.evaluate(CONTRASTS)
        assert len(texts) > 10
        assert [text for text in texts if text["contrast"] < MIN_CONTRAST] == []
        # A page that ignores the theme is readable, too.
        assert (statistics.median(text["ground"] for text in texts) < 0.1) == (theme == "dark")
        assert_fits(page)


def test_a_phone_shows_the_player_and_the_question_box(page: Page, server: Server, video_id: str) -> None:
    page.set_viewport_size(PHONE)
    page.goto(f"{server.url}/watch?video={video_id}")
    player, question = page.locator(".stage video"), page.get_by_label("Question", exact=True)
    expect(player).to_be_in_viewport(ratio=1)
    page.locator("longview-panels .row").first.wait_for()
    assert_fits(page)
    question.click()
    # Its edge may lie within a pixel of the edge of the window.
    expect(question).to_be_in_viewport(ratio=0.95)
    for place in (player, question):
        box = place.bounding_box()
        assert box and box["x"] >= 0 and box["x"] + box["width"] <= PHONE["width"] and box["width"] > PHONE["width"] / 2
    question.fill("When does the yellow star appear?")
    page.keyboard.press("Enter")
    expect(page.locator(".message.bot").last).to_contain_text("Evidence:")
    assert_fits(page)


def test_a_phone_shows_what_is_searched_for(page: Page, server: Server) -> None:
    page.set_viewport_size(PHONE)
    page.goto(f"{server.url}/search")
    query = page.get_by_label("Search what is shown, said and written")
    expect(query).to_be_in_viewport(ratio=1)
    assert_fits(page)
    query.fill("yellow star")
    page.keyboard.press("Enter")
    result = page.locator(".moments a").first
    result.scroll_into_view_if_needed()
    expect(result).to_be_in_viewport(ratio=1)
    assert_fits(page)
    page.get_by_label("Ask the whole library").click()
    expect(page.get_by_label("Ask the whole library")).to_be_in_viewport(ratio=1)


def test_a_pasted_path_is_offered_and_added(page: Page, server: Server, tmp_path: Path) -> None:
    path = render(tmp_path / "pasted.mp4", (), 1.0, width=64, height=48, fps=10.0)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])

    def paste(text: str) -> None:
        page.evaluate("text => navigator.clipboard.writeText(text)", text)
        page.keyboard.press("ControlOrMeta+v")

    page.goto(server.url)
    page.locator("longview-library .card").first.wait_for()
    field = page.locator("longview-library").get_by_label("Path of a file or folder on this machine").first
    paste("words that are no path")
    expect(field).to_be_hidden()
    find = page.get_by_label("Find by title")
    find.focus()
    paste(str(path))
    expect(find).to_have_value(str(path))
    expect(field).to_be_hidden()
    find.fill("")
    find.blur()
    paste(str(path))
    expect(field).to_have_value(str(path))
    page.keyboard.press("Enter")
    expect(page.locator("longview-library .card", has_text="pasted")).to_be_visible()
    expect(field).to_be_hidden()
    # Whoever adds it again is told that it is there, whether by its path or as an upload.
    expect(page.locator("longview-queue .line")).to_contain_text("pasted.mp4: done.")
    known = page.get_by_role("status").filter(has_text="“pasted” is in the library already")
    paste(str(path))
    page.keyboard.press("Enter")
    expect(known).to_be_visible()
    known.get_by_role("link", name="Open it").click()
    expect(page.locator("longview-watch h1")).to_have_text("pasted")
    drop(page, path)
    expect(page.get_by_role("status").filter(has_text="is in the library already")).to_be_visible()


def test_a_broken_poster_leaves_a_quiet_card(page: Page, server: Server, tmp_path: Path) -> None:
    library = Library(server.library)
    circle = ShapesEvent(0.0, 2.0, "red", "circle", "stays still")
    entries = {}
    for number, name in enumerate(("whole", "overwritten", "garbled")):
        path = render(tmp_path / f"{name}.mp4", [circle], 2.0, fps=5, seed=number)
        entries[name] = put_file(library, path, name)
    entries["overwritten"].path.write_text("no video")
    address = f"/v1/videos/{entries['garbled'].video_id}/poster.jpg"
    assert server.get(address)[0] == 200
    for picture in (server.library / THUMBNAILS).glob(f"{entries['garbled'].video_id}-*.jpg"):
        picture.write_text("no picture")
    page.goto(server.url)
    images = {name: page.locator("longview-library .card", has_text=name).locator("img") for name in entries}
    expect(images["whole"]).to_be_visible()
    assert images["whole"].evaluate("image => image.naturalWidth") > 0
    for name in ("overwritten", "garbled"):
        # The browser has given it up.
        page.wait_for_function("image => image.src && image.complete && !image.naturalWidth", arg=images[name].element_handle())
        expect(images[name]).to_be_hidden()
        expect(page.locator("longview-library .card", has_text=name).locator(".length")).to_have_text("1:40")
    for entry in entries.values():
        library.remove(entry.video_id)


def test_a_file_that_is_replaced_while_it_is_watched_is_said_to_have_changed(page: Page, server: Server, tmp_path: Path) -> None:
    library = Library(server.library)
    path = render(tmp_path / "watched.mp4", EVENTS[:1], 10.0, fps=5)
    other = render(tmp_path / "other.mp4", (), 8.0, fps=5, seed=1)
    entry = put_file(library, path, "watched")
    page.goto(f"{server.url}/watch?video={entry.video_id}")
    page.wait_for_function(f"{VIDEO}?.readyState >= 2")
    shutil.copy(other, path)
    page.get_by_label("Question", exact=True).fill("What happens between 1 and 8 seconds?")
    page.keyboard.press("Enter")
    sentence = f"{path} has changed since it was indexed; index it again."
    expect(page.locator(".message.bot").last).to_contain_text(sentence)
    page.reload()
    # What was found in it is still there.
    page.get_by_role("tab", name="Captions").click()
    expect(page.locator("longview-panels .row").first).to_contain_text("a red circle")
    expect(page.locator("longview-watch").get_by_text(sentence)).to_be_visible()
    expect(page.locator(".stage video")).to_be_hidden()
    library.remove(entry.video_id)


def test_a_video_that_is_indexed_again_plays_on_with_the_new_captions(page: Page, server: Server, video_id: str) -> None:
    library = Library(server.library)
    track = library.video(video_id).track("captions")
    assert track is not None
    segments = [item.segment for item in library.tracks.segments(video_id, "captions")]
    video = page.locator(".stage video")
    video.evaluate("video => { window.watched = video; video.muted = true; return video.play(); }")
    page.wait_for_function("window.watched.currentTime > 0.2")
    again = [replace(segments[0], text="A red circle, described again."), *segments[1:]]
    library.put_captions(video_id, track, again, summary="", chapters=())
    expect(page.locator("longview-panels .row").first).to_contain_text("described again", timeout=5000)
    seconds = video.evaluate("video => video === window.watched && !video.paused && video.currentTime")
    assert seconds > 0.2
    page.wait_for_function("seconds => window.watched.currentTime > seconds", arg=seconds)
    library.put_captions(video_id, track, segments, summary="", chapters=())
