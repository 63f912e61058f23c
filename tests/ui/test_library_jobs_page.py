"""What the page of the library shows of jobs and positions: filters, the bar of selected videos, and what stays as it is."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect

from longview.core.processes import this_process
from longview.indexing.records.job import QueuedJob
from longview.indexing.sqlite.library import Library
from longview.indexing.sqlite.repair.copies import prepare_replacement, replace_database
from tests.support.browser import needs_browser
from tests.support.library_samples import put_captions, sample_entry, sample_events, sample_track
from tests.support.page_servers import running_server
from tests.support.routes import add_job, put, video_id

pytestmark = needs_browser
BOTTOM_OF_QUESTION = "document.querySelector('#longview-question').getBoundingClientRect().bottom"
TOP_OF_QUEUE = "document.querySelector('longview-queue').shadowRoot.querySelector('.queue').getBoundingClientRect().top"


@pytest.fixture
def library(tmp_path: Path) -> Library:
    library = Library(tmp_path)
    for number in range(5):
        put(library, number, f"Video {number}")
    # Jobs that no server takes: they need settings that it does not have.
    for number in (1, 2, 3):
        job = add_job(library, number, "speech", settings={"profile": "none"})
        if number == 3:
            library.queue.pause(job.job_id)
    library.tracks.begin(video_id(4), sample_track("speech", "incomplete", done_s=0.0))
    return library


@pytest.fixture
def page(browser: Browser, library: Library) -> Iterator[Page]:
    with running_server(library.folder) as server:
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(30_000)
        page.goto(server.url)
        page.locator("longview-library .card").first.wait_for()
        yield page
        page.close()


def test_jobs_of_selected_videos_are_paused_continued_and_cancelled(page: Page, library: Library) -> None:
    bar = page.locator(".bulk")
    page.get_by_label("Select Video 0").check()
    # Its file is not there.
    bar.get_by_role("button", name="Index what is missing").click()
    dialog = page.get_by_role("dialog")
    for _ in range(2):
        expect(dialog.locator(".cost")).to_contain_text("is no longer at")
        dialog.get_by_role("button", name="Index", exact=True).click()
    dialog.get_by_role("button", name="Cancel").click()
    expect(bar.get_by_role("button")).to_have_text(["Index what is missing", "Remove", "Clear the selection"])
    for number in (1, 2):
        page.get_by_label(f"Select Video {number}").check()
    bar.get_by_role("button", name="Pause").click()
    for number in (1, 2):
        expect(page.locator(".card", has_text=f"Video {number}")).to_contain_text("Speech: paused")
    expect(bar.get_by_role("button", name="Pause")).to_have_count(0)
    page.get_by_label("Select Video 3").check()
    bar.get_by_role("button", name="Continue").click()
    expect(page.locator(".card", has_text="Video 3")).to_contain_text("Speech: waiting")
    bar.get_by_role("button", name="Cancel").click()
    expect(page.locator(".card", has_text="Video 2")).not_to_contain_text("waiting")
    expect(bar).to_be_hidden()
    assert {job.status for job in library.queue.jobs()} == {"cancelled"}


def test_states_and_the_order_of_watching_are_offered_and_follow_what_happens(page: Page, library: Library) -> None:
    count = page.locator("longview-library .count")
    state = page.get_by_label("State")
    for value, expected in (("waiting", 2), ("paused", 1), ("partial", 1), ("outdated", 5), ("running", 0)):
        state.select_option(value)
        expect(count).to_have_text("1 video" if expected == 1 else f"{expected} videos")
    state.select_option("paused")
    expect(page.locator("longview-library .card")).to_contain_text(["Video 3"])
    library.queue.pause(next(job for job in library.queue.jobs() if job.video_id == video_id(1)).job_id)
    expect(count).to_have_text("2 videos", timeout=5000)
    state.select_option("")
    page.get_by_label("Order").select_option("watched")
    assert "sort=watched" in page.url
    library.set_position(video_id(2), 40.0)
    expect(page.locator("longview-library .card").first).to_contain_text("Video 2", timeout=5000)


def test_a_job_is_moved_to_the_front_and_a_card_shows_the_share_of_its_source(page: Page, library: Library) -> None:
    rows = page.locator("longview-queue .rows li")
    page.locator("longview-queue .queue > summary").click()
    expect(rows.locator("b")).to_have_text(["job of 3", "job of 1", "job of 2"])
    rows.filter(has_text="job of 2").get_by_role("button", name="Run first").click()
    expect(rows.locator("b")).to_have_text(["job of 3", "job of 2", "job of 1"])
    # A job that this process runs: it has read all of one source, and a fifth of another.
    library.tracks.begin(video_id(1), sample_track("speech", "incomplete", done_s=20.0))
    job = next(job for job in library.queue.jobs() if job.video_id == video_id(1))
    library.queue.claim(job.job_id, this_process())
    state = page.locator(".card", has_text="Video 1").locator(".states")
    for fraction, left_s, left in ((0.7, 900.0, "15 min"), (0.8, 600.0, "10 min"), (0.9, 300.0, "5 min")):
        library.queue.report(
            job.job_id, this_process(), stage="Speech", fraction=fraction, seconds_left=left_s, partial_results=1
        )
        expect(state).to_contain_text(f"Speech 20 %, {left} left")


@pytest.mark.parametrize("size", [{"width": 1280, "height": 800}, {"width": 390, "height": 844}])
def test_the_queue_moves_and_covers_nothing_of_a_watched_video(page: Page, library: Library, size: ViewportSize) -> None:
    page.set_viewport_size(size)
    page.locator(".card", has_text="Video 1").locator("a.title").click()
    page.get_by_role("tab", name="Chat").click()
    heading, queue = page.locator("longview-watch h1"), page.locator("longview-queue .queue")
    expect(queue).to_be_in_viewport(ratio=1)
    expect(page.get_by_label("Question", exact=True)).to_be_visible()
    end = "document.documentElement.scrollHeight" if size["width"] < 760 else "0"
    page.wait_for_function(f"(scrollTo(0, {end}), {BOTTOM_OF_QUESTION} <= {TOP_OF_QUEUE})")
    page.evaluate("scrollTo(0, 0)")
    before = heading.bounding_box()
    for job in library.queue.jobs():
        library.queue.cancel(job.job_id)
    expect(queue.locator(".rows li")).to_have_count(0)
    add_job(library, 2, "speech", settings={"profile": "none"})
    expect(queue.locator(".rows li")).to_have_count(1)
    assert heading.bounding_box() == before
    # The file is gone, which is said once above the video and once in its place.
    expect(page.get_by_text("is no longer at").locator("visible=true")).to_have_count(2)


def test_a_watched_video_changes_although_the_end_of_its_job_was_missed(page: Page, library: Library, tmp_path: Path) -> None:
    captions = page.locator("longview-panels")
    page.locator(".card", has_text="Video 1").locator("a.title").click()
    expect(captions).to_contain_text("a red circle")
    # A job that this process runs.
    job = next(job for job in library.queue.jobs() if job.video_id == video_id(1))
    library.queue.claim(job.job_id, this_process())
    library.queue.report(job.job_id, this_process(), stage="Speech", fraction=0.5, seconds_left=60.0, partial_results=1)
    expect(page.locator("longview-queue")).to_contain_text("50 %")
    # A back-up is restored, in which that job is not.
    other = Library(tmp_path / "other")
    put_captions(other, sample_entry(video_id(1), "Video 1"), sample_events("a green square"))
    prepare_replacement(library.folder, other.folder)
    replace_database(library.folder, other.folder)
    expect(captions).to_contain_text("a green square")
    put_captions(Library(library.folder), sample_entry(video_id(1), "Video 1"), sample_events("a blue star"))
    expect(captions).to_contain_text("a blue star")


def test_a_card_says_that_captions_need_a_larger_model_where_none_captions_footage(page: Page, library: Library) -> None:
    library.put(sample_entry(video_id(9), "A film"))
    library.tracks.replace(video_id(9), sample_track("speech"), ())
    chip = page.locator(".card", has_text="A film").locator(".chip", has_text="Captions")
    expect(chip).to_have_text("Captions: need a larger model", timeout=5000)
    assert chip.get_attribute("title") == "A larger model is needed, which is not on this machine; longview models names one."
    # What was looked for and not found is a line of its card, too.
    none = page.locator(".card", has_text="A film").locator(".chip", has_text="no speech")
    expect(none).to_be_visible()
    assert none.evaluate("(chip) => chip.offsetHeight") < 40


def test_a_position_moves_the_bar_of_its_card_and_leaves_the_rest(page: Page, library: Library) -> None:
    card = page.locator(".card", has_text="Video 2")
    card.locator(".chip").first.evaluate("chip => { window.chip = chip; }")
    library.set_position(video_id(2), 40.0)
    expect(card.locator(".seen")).to_be_visible(timeout=5000)
    assert card.locator(".seen").evaluate("bar => bar.style.width") == "40%"
    assert "t=40.0" in (card.locator("a.title").get_attribute("href") or "")
    assert page.evaluate("window.chip.isConnected")
    library.set_position(video_id(2), 0.0)
    expect(card.locator(".seen")).to_be_hidden(timeout=5000)
    assert page.evaluate("window.chip.isConnected")


def test_files_in_the_queue_have_cards_are_found_and_leave_when_something_of_them_was_found(page: Page, library: Library) -> None:
    def add(name: str, *sources: str, number: int | None = None) -> QueuedJob:
        """Add a job that no server takes. `number`: of the video, if the file was read."""
        entry = sample_entry(video_id(number or 0))
        values: dict[str, Any] = {"settings": {"profile": "none"}, "priority": 0, "options": {"sources": list(sources)}}
        content = entry.content_hash if number else ""
        return library.queue.add(Path(f"/films/{name}"), title=name, content_hash=content, **values)

    cards, count = page.locator(".waiting-files li"), page.locator("longview-library .count")
    whole, words = add("Éclair <b>one</b>.mp4", "speech", number=7), add("Éclair <b>one</b>.mp4", "screen_text", number=7)
    for number in range(20):
        add(f"film {number:02}.mp4")
    # Two jobs of one file are one card, and those of videos that have cards have none.
    expect(count).to_have_text("5 videos, 21 in the queue", timeout=5000)
    expect(cards).to_have_count(9)
    expect(page.locator(".more-files")).to_have_text("… and 13 more wait in the queue above.")
    expect(cards.nth(0)).to_contain_text("Speech · waiting")
    expect(cards.nth(1)).to_contain_text("Screen text · waiting")
    page.get_by_label("Find by title").fill("ECLAIR one")
    expect(count).to_have_text("0 videos, 1 in the queue")
    expect(cards).to_have_count(2)
    expect(page.get_by_text("No video matches.")).to_have_count(0)
    page.get_by_label("Find by title").fill("")
    page.get_by_label("State").select_option("paused")
    expect(count).to_have_text("1 video")
    cards_of_film = cards.filter(has_text="film 03.mp4")
    page.get_by_label("State").select_option("waiting")
    cards_of_film.get_by_role("button", name="Pause").click()
    expect(cards_of_film).to_have_count(0)
    page.get_by_label("State").select_option("")
    library.queue.claim(whole.job_id, this_process())
    library.queue.report(whole.job_id, this_process(), stage="Speech", fraction=0.25, seconds_left=300.0, partial_results=0)
    expect(cards.first).to_contain_text("running 25 %", timeout=5000)
    # As soon as something was found, the video has a card of its own.
    put(library, 7, "Eclair")
    expect(count).to_have_text("6 videos, 20 in the queue", timeout=5000)
    expect(page.locator(".card", has_text="Eclair")).to_be_visible()
    library.queue.cancel(words.job_id)
    page.locator("longview-queue .queue > summary").click()
    expect(page.locator("longview-queue .rows a", has_text="Éclair").first).to_have_attribute(
        "href", f"/watch?video={video_id(7)}"
    )
    # A video that was removed is in the library no more.
    library.removals.remove(video_id(7))
    expect(page.locator("longview-queue .rows a", has_text="Éclair")).to_have_count(0, timeout=5000)
