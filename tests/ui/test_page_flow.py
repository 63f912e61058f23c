"""One way through the page: from a folder that is dropped to an answer that outlives a reload, beside a second tab."""

from pathlib import Path

from playwright.sync_api import Browser, Page, expect

from longview.video.synthetic import ShapesEvent, render
from tests.support.browser import drop, needs_browser
from tests.support.page_servers import EVENTS, running_server

LATE = ShapesEvent(48.0, 55.0, "cyan", "ring", "moves up")
LONG_S = 120.0
"""Length of the first video, in seconds: its job is paused while it runs, and its page is loaded again while it is answered."""
AGREES_MS = 3000
"""Time after which a second tab has to show what the first one has done, in milliseconds."""


def make_folder(folder: Path) -> Path:
    """Render a long, a short and an unwanted video into a folder with a folder in it and a file of another kind."""
    (folder / "day 2").mkdir(parents=True)
    render(folder / "a walk.mp4", (*EVENTS, LATE), LONG_S, fps=5)
    render(folder / "b short.mp4", EVENTS[:1], 10.0, fps=5)
    render(folder / "day 2" / "c unwanted.mp4", EVENTS[:1], 12.0, fps=5)
    (folder / "notes.txt").write_text("no video")
    return folder


def change_queue(page: Page, other: Page) -> None:
    """Pause the first job, cancel the third, resume the first, and wait for the end of all."""
    queue = page.locator("longview-queue")
    summary = queue.locator(".queue > summary")
    expect(summary).to_contain_text("2 waiting")
    summary.click()
    walk, short, unwanted = (queue.locator("li", has_text=name) for name in ("a walk", "b short", "c unwanted"))
    walk.get_by_role("button", name="Pause").click()
    expect(walk.locator(".state")).to_have_text("paused")
    unwanted.get_by_role("button", name="Cancel").click()
    expect(unwanted).to_have_count(0)
    expect(other.locator("longview-queue .counts")).to_contain_text("1 paused", timeout=AGREES_MS)
    # What is behind the paused job does not wait for it.
    expect(short).to_have_count(0)
    walk.get_by_role("button", name="Continue").click()
    expect(summary).to_contain_text("a walk.mp4: done.")
    queue.get_by_text("Ended: 3").click()
    expect(queue.get_by_role("listitem").filter(has_text="c unwanted")).to_contain_text("cancelled")


@needs_browser
def test_from_a_dropped_folder_to_an_answer_and_a_second_tab(browser: Browser, tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "holiday")
    with running_server(tmp_path / "library") as server, browser.new_context(viewport={"width": 1280, "height": 900}) as context:
        page, other = context.new_page(), context.new_page()
        errors: list[str] = []
        for tab in (page, other):
            tab.on("pageerror", lambda error: errors.append(str(error)))
            tab.goto(server.url)
            tab.get_by_text("Drop videos or sound here").wait_for()
        drop(page, folder)
        expect(page.get_by_text("is neither a video nor sound, and was left out.")).to_be_visible()
        change_queue(page, other)

        expect(page.locator("longview-library .count")).to_have_text("2 videos")
        page.locator("longview-library .card", has_text="a walk").locator("a.title").click()
        expect(page.locator("longview-panels .row")).to_have_count(len(EVENTS) + 1)
        other.goto(page.url)
        expect(other.locator("longview-panels .row").first).to_be_visible()
        other.get_by_role("tab", name="Chat").click()
        page.get_by_label("Question", exact=True).fill(f"What happens between 2 and {LONG_S - 2:.0f} seconds?")
        page.keyboard.press("Enter")
        expect(page.locator(".message.user")).to_be_visible()
        page.reload()
        for tab in (page, other):
            expect(tab.locator(".message.user")).to_contain_text("What happens between 2 and")
            expect(tab.locator(".message.bot")).to_contain_text("Evidence:")
        assert page.locator(".message.bot").inner_text() == other.locator(".message.bot").inner_text()

        page.go_back()
        card = page.locator("longview-library .card", has_text="walk")
        page.once("dialog", lambda dialog: dialog.accept("A walk by the sea"))
        card.hover()
        card.get_by_label("Actions for").click()
        page.get_by_role("button", name="Rename").click()
        expect(card).to_contain_text("A walk by the sea")
        expect(other.locator(".heading")).to_contain_text("A walk by the sea", timeout=AGREES_MS)
        expect(other.locator(".message.bot")).to_contain_text("Evidence:")
        card.get_by_label("Actions for").click()
        page.get_by_role("button", name="Remove").click()
        expect(other.get_by_text("“A walk by the sea” was removed")).to_be_visible(timeout=AGREES_MS)
        expect(other.locator("longview-panels")).to_be_hidden()
        other.get_by_role("button", name="Bring it back").click()
        expect(card).to_be_visible(timeout=AGREES_MS)
        expect(other.locator("longview-panels")).to_be_visible()
        assert not errors
