"""The queue of the page in a browser: uploads, buttons, and what appears while a job runs."""

from pathlib import Path

from gradio_client import Client
from playwright.sync_api import Locator, Page, expect

from longview.indexing.sqlite.library import Library
from longview.video.synthetic import ShapesEvent, render
from tests.support.browser import needs_browser
from tests.support.page_servers import Server
from tests.ui.test_browser import open_page

pytestmark = needs_browser


def test_idle_page_sends_no_requests_and_sees_the_jobs_of_others(page: Page, server: Server, tmp_path: Path) -> None:
    page.wait_for_timeout(3000)
    urls: list[str] = []
    page.on("request", lambda request: urls.append(request.url))
    page.wait_for_timeout(3000)
    assert urls == []
    path = render(tmp_path / "other.mp4", [ShapesEvent(1, 4, "red", "ring", "grows")], 5.0, fps=5)
    client = Client(server.url, verbose=False)
    _, video_id = client.predict(str(path), api_name="/index")
    expect(page.locator("longview-queue .queue > summary")).to_contain_text("other.mp4: done.")
    open_page(page, "/")
    expect(page.locator("longview-library")).to_contain_text("other")
    client.predict(video_id, api_name="/remove")
    expect(page.locator("longview-library")).not_to_contain_text("other")


def test_queue_is_changed_with_its_buttons(page: Page, server: Server, tmp_path: Path) -> None:
    ring = ShapesEvent(1, 4, "cyan", "ring", "moves up")
    paths = [render(tmp_path / f"queued-{number}.mp4", [ring], 90.0, fps=5, seed=40 + number) for number in (1, 2)]
    damaged = tmp_path / "damaged.mp4"
    damaged.write_text("no video " * 100)
    client = Client(server.url, verbose=False)
    for path in (*paths, damaged):
        client.submit(str(path), api_name="/index")
        page.wait_for_timeout(300)
    queue = page.locator("longview-queue")
    summary = queue.locator(".queue > summary")
    summary.click()
    rows = {name: queue.locator("li", has_text=name) for name in ("queued-1", "queued-2", "damaged")}
    expect(rows["queued-1"]).to_contain_text("running")
    expect(summary).to_contain_text("2 waiting")
    rows["damaged"].get_by_role("button", name="Run first").click()
    # Before it has moved, the worker could take the other one.
    expect(queue.locator("li").nth(1)).to_contain_text("damaged")
    rows["queued-1"].get_by_role("button", name="Pause").click()
    expect(rows["queued-1"]).to_contain_text("paused")
    expect(rows["damaged"]).to_contain_text("is not a video that can be opened")
    expect(summary).to_contain_text("1 failed")
    rows["queued-2"].get_by_role("button", name="Cancel").click()
    expect(rows["queued-2"]).to_have_count(0)
    rows["damaged"].get_by_role("button", name="Dismiss").click()
    expect(rows["damaged"]).to_have_count(0)
    rows["queued-1"].get_by_role("button", name="Continue").click()
    expect(summary).to_contain_text("queued-1.mp4: done.")
    expect(queue.locator("li")).to_have_count(0)
    for route in ("/v1/jobs/999/cancel", f"/v1/jobs/{1 << 70}/cancel", "/v1/jobs/1/explode", "/v1/videos/ffff/undo-removal"):
        assert server.post(route, b"")[0] in (404, 422)
    assert server.post("/v1/jobs/1/cancel", b"", Origin="http://example.com")[0] == 403
    (video,) = [entry for entry in Library(server.library).videos() if entry.title == "queued-1"]
    client.predict(video.video_id, api_name="/remove")


def test_click_in_the_queue_counts_although_the_job_runs_meanwhile(page: Page, server: Server, tmp_path: Path) -> None:
    ring = ShapesEvent(1, 4, "cyan", "ring", "moves up")
    client = Client(server.url, verbose=False)
    for number in (1, 2):
        path = render(tmp_path / f"pressed-{number}.mp4", [ring], 240.0, fps=5, seed=50 + number)
        client.submit(str(path), api_name="/index")
        page.wait_for_timeout(300)
    queue = page.locator("longview-queue")
    queue.locator(".queue > summary").click()
    running, waiting = (queue.locator("li", has_text=f"pressed-{number}") for number in (1, 2))
    expect(running).to_contain_text("running")

    def press_until_update(row: Locator, name: str) -> None:
        """Press a button, and release it after the running job has come further."""
        button = row.get_by_role("button", name=name)
        button.hover()
        page.mouse.down()
        state = running.locator(".state")
        expect(state).not_to_have_text(state.inner_text())
        expect(button).to_be_focused()
        page.mouse.up()

    press_until_update(waiting, "Cancel")
    expect(waiting).to_have_count(0)
    press_until_update(running, "Pause")
    # The button that replaces a pressed one gets its focus.
    expect(running.get_by_role("button", name="Continue")).to_be_focused()
    running.get_by_role("button", name="Cancel").click()
    expect(running).to_have_count(0)


def test_captions_are_shown_while_the_video_is_captioned(page: Page, server: Server, tmp_path: Path) -> None:
    # The first of two windows of captions ends long before the second, also on a quick machine.
    rings = [ShapesEvent(start_s, start_s + 4, "cyan", "ring", "moves up") for start_s in (5, 65)]
    path = render(tmp_path / "long.mp4", rings, 118.0, fps=5)
    path.with_suffix(".srt").write_text("1\n00:00:01,000 --> 00:00:02,000\nA first line.\n", encoding="utf-8")
    client = Client(server.url, verbose=False)
    job = client.submit(str(path), api_name="/index")
    page.locator("longview-queue .queue > summary").click()
    page.locator("longview-queue li").get_by_role("link", name="long.mp4").click()
    panels, rows = page.locator("longview-panels"), page.locator("longview-panels .row")
    page.get_by_role("tab", name="Transcript").click()
    expect(rows.first).to_contain_text("A first line.")
    page.get_by_label("Captions over the picture").select_option("subtitles")
    page.locator(".stage video").evaluate("video => { window.watched = video; }")
    page.get_by_role("tab", name="Captions").click()
    expect(rows.first).to_contain_text("A cyan ring")
    expect(panels.locator(".source-state")).to_contain_text("%")
    _, video_id = job.result(timeout=60)
    expect(rows).to_have_count(2)
    expect(panels.locator(".source-state")).to_be_empty()
    # What plays continues with the new captions, and what was chosen stays chosen.
    assert page.locator(".stage video").evaluate("video => video === window.watched")
    expect(page.get_by_label("Captions over the picture")).to_have_value("subtitles")
    expect(page.get_by_label("Captions over the picture").locator("option")).to_have_count(3)
    client.predict(video_id, api_name="/remove")
