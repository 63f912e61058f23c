"""Uploads in parts from a page in a browser, which resume after every interruption."""

import hashlib
import json
import os
import re
import signal
import urllib.request
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, Route, expect

from longview.app.serving.upload_files import unfinished_folder
from longview.ui.access import CLIENT_HEADER
from longview.ui.page_head import ASSETS
from tests.support.app_samples import file_names
from tests.support.browser import drop, needs_browser
from tests.support.page_servers import Server, running_server
from tests.support.shell import Shell
from tests.support.uploaded_files import digest_header, padded_video, parts_of, stored_uploads

UPLOADS = "/v1/uploads"
STRINGS = {"lost": "LOST", "unreadable": "UNREADABLE", "gone": "GONE", "refused": "REFUSED", "differs": "DIFFERS"}
MODULE = "/test-assets/uploads.js"
BEGIN = """async ([module, strings]) => {
  const { Uploader } = await import(module);
  window.states = [];
  window.uploader = new Uploader({ strings, suffixes: ['.mp4'] });
  window.uploader.addEventListener('change', (event) => window.states.push(event.detail));
}"""
ADD = """async () => {
  const input = document.querySelector('#test-file');
  return await window.uploader.add(input.files, { options: { sources: ['speech'] } });
}"""
DROP = """() => {
  document.body.style.height = '400px';
  document.addEventListener('dragover', (event) => event.preventDefault());
  document.addEventListener('drop', async (event) => {
    event.preventDefault();
    window.dropped = await window.uploader.add(event.dataTransfer);
  });
}"""
PAGE_PART_BYTES = 1 << 20
SERVE_SMALL_PARTS = f"""
from longview.app.serving import part_uploads
part_uploads.PART_BYTES = {PAGE_PART_BYTES}
part_uploads.ACTIVE_S = 1.0
from longview.app.__main__ import main
main()
"""
SIZE_BYTES = 5 * PAGE_PART_BYTES + 4321


def open_page(browser: Browser, server: Server) -> Page:
    """Open an empty page of the server with an uploader."""
    page = browser.new_page()
    page.set_default_timeout(60_000)

    def serve(route: Route) -> None:
        name = route.request.url.rpartition("/")[2]
        body = (ASSETS / name).read_text(encoding="utf-8") if name.endswith(".js") else "<input id=test-file type=file multiple>"
        route.fulfill(body=body, content_type="text/javascript" if name.endswith(".js") else "text/html")

    page.route("**/test-assets/*", serve)
    page.goto(f"{server.url}/test-assets/page")
    page.evaluate(BEGIN, [MODULE, STRINGS])
    return page


def new_page(browser: Browser) -> Page:
    """Open a page that may be left in the middle of an upload."""
    page = browser.new_page()
    page.set_default_timeout(60_000)
    page.on("dialog", lambda dialog: dialog.accept())
    return page


def add_files(page: Page, *paths: Path) -> Any:
    page.set_input_files("#test-file", paths)
    return page.evaluate(ADD)


def wait_for(page: Page, condition: str) -> Any:
    page.wait_for_function(f"() => {{ const [item] = window.uploader.items; return {condition}; }}", polling=50)
    return page.evaluate("() => window.uploader.items[0]")


@needs_browser
def test_a_page_resumes_after_three_cuts_and_a_reload(browser: Browser, tmp_path: Path) -> None:
    video = padded_video(tmp_path / "long <b>day</b>.mp4", SIZE_BYTES)
    text = tmp_path / "notes.txt"
    text.write_text("no video")
    library = tmp_path / "library"
    sent: list[str] = []
    with running_server(library, script=SERVE_SMALL_PARTS) as server:
        page = open_page(browser, server)
        requests: list[int] = []
        lost: list[int] = []

        def cut(route: Route) -> None:
            requests.append(1)
            if len(requests) in (2, 3):
                route.abort("connectionreset")
            elif len(requests) == 6:
                # The response is lost, but the part has arrived.
                route.fetch()
                route.abort("connectionreset")
                lost.append(1)
            elif len(requests) > 6:
                # The rest is sent after the reload.
                return
            else:
                route.continue_()

        page.route("**/parts/*", cut)
        assert add_files(page, video, text) == {"ids": [1], "skipped": ["notes.txt"]}
        wait_for(page, "item.sentence === 'LOST'")
        while not lost:
            page.wait_for_timeout(50)
        wait_for(page, "item.sentence === 'LOST'")
        states = page.evaluate("() => window.states.map((state) => state.state)")
        assert "waiting" in states and "sending" in states
        # Nothing more must arrive while the page is being closed.
        page.context.set_offline(True)
        page.unroute_all(behavior="ignoreErrors")
        page.close()
        (listed,) = json.loads(server.get(UPLOADS)[1])["uploads"]
        assert 0 < listed["received_bytes"] < SIZE_BYTES
        server.process.send_signal(signal.SIGKILL)
        server.process.wait(20)
    with running_server(library, script=SERVE_SMALL_PARTS) as server:
        page = open_page(browser, server)
        assert page.evaluate("async () => (await window.uploader.unfinished()).length") == 1
        page.on("request", lambda request: sent.append(request.url) if "/parts/" in request.url else None)
        add_files(page, video)
        item = wait_for(page, "item.state === 'done' || item.state === 'failed'")
        assert item["state"] == "done", item
        digest = hashlib.sha256(video.read_bytes()).hexdigest()
        assert item["sha256"] == digest and item["job"]["title"] == video.name and item["sent"] == SIZE_BYTES
        assert len(sent) == len(set(sent)) <= 6 - sum(last - first + 1 for first, last in listed["received"])
        assert [job["job_id"] for job in Shell(library).json("jobs", "--ended")["jobs"]] == [item["job"]["job_id"]]
        # The same file once more is not stored twice.
        page.evaluate("() => { window.uploader.close(); }")
        page.reload()
        page.evaluate(BEGIN, [MODULE, STRINGS])
        add_files(page, video)
        again = wait_for(page, "item.state === 'done'")
        assert again["alreadyThere"]
        page.close()
        assert [hashlib.sha256(stored).hexdigest() for stored in stored_uploads(library)] == [digest]
        assert file_names(unfinished_folder(library)).count("data.mp4") == 0


@needs_browser
def test_a_page_pauses_cancels_and_states_why_a_file_failed(browser: Browser, tmp_path: Path) -> None:
    video = padded_video(tmp_path / "a.mp4", SIZE_BYTES)
    broken = tmp_path / "b.mp4"
    broken.write_bytes(b"no video")
    with running_server(tmp_path / "library", script=SERVE_SMALL_PARTS) as server:
        page = open_page(browser, server)
        page.route("**/parts/3", lambda route: None)
        assert add_files(page, video, broken)["ids"] == [1, 2]
        wait_for(page, "item.sent >= 3 * 1048576")
        page.evaluate("() => window.uploader.pause(1)")
        assert wait_for(page, "item.state === 'paused'")["sentence"] == ""
        # The next file does not wait for the one that is paused.
        page.wait_for_function("() => window.uploader.items[1].state === 'failed'")
        assert "b.mp4 is not a video" in page.evaluate("() => window.uploader.items[1].sentence")
        page.evaluate("() => window.uploader.forget(2)")
        assert page.evaluate("() => window.uploader.items.length") == 1
        page.unroute("**/parts/3")
        page.evaluate("() => window.uploader.resume(1)")
        assert wait_for(page, "item.state === 'done' || item.state === 'failed'")["state"] == "done"
        # Options that are refused can be corrected by choosing the file again.
        refused = padded_video(tmp_path / "r.mp4", 20_000, seed=2)
        page.set_input_files("#test-file", refused)
        for sources, state in (("nothing", "failed"), ("speech", "done")):
            page.evaluate(ADD.replace("speech", sources))
            page.wait_for_function(f"() => window.uploader.items.at(-1).state === '{state}'")
        assert page.evaluate("() => window.uploader.items.at(-1).job.options.sources") == ["speech"]
        page.route("**/parts/*", lambda route: None)
        other = padded_video(tmp_path / "c.mp4", SIZE_BYTES, seed=1)
        (other_id,) = add_files(page, other)["ids"]
        page.wait_for_function("() => window.uploader.items.at(-1).uploadId")
        page.evaluate("(id) => window.uploader.cancel(id)", other_id)
        page.wait_for_function("async () => (await window.uploader.unfinished()).length === 0")
        assert page.evaluate("() => window.uploader.items.length") == 2
        page.close()


@needs_browser
def test_a_page_does_not_mix_two_files_that_look_the_same(browser: Browser, tmp_path: Path) -> None:
    video = padded_video(tmp_path / "a.mp4", SIZE_BYTES)
    with running_server(tmp_path / "library", script=SERVE_SMALL_PARTS) as server:
        page = open_page(browser, server)
        other_part = parts_of(video.read_bytes(), PAGE_PART_BYTES)[2][::-1]

        def send_other_bytes_first(route: Route) -> None:
            headers = {CLIENT_HEADER: "1"} | digest_header(other_part)
            request = urllib.request.Request(route.request.url, other_part, headers, method="PUT")
            assert server.send(request)[0] in (204, 409)
            route.continue_()

        page.route("**/parts/2", send_other_bytes_first)
        add_files(page, video)
        item = wait_for(page, "item.state === 'done' || item.state === 'failed'")
        assert item["state"] == "failed" and "has changed since its upload was begun" in item["sentence"]
        page.close()
    assert stored_uploads(tmp_path / "library") == []


@needs_browser
def test_a_page_begins_anew_with_a_file_that_has_changed_in_its_middle(browser: Browser, tmp_path: Path) -> None:
    video, library = padded_video(tmp_path / "a.mp4", SIZE_BYTES), tmp_path / "library"
    with running_server(library, script=SERVE_SMALL_PARTS) as server:
        page = open_page(browser, server)
        page.route("**/parts/4", lambda route: route.abort())
        add_files(page, video)
        wait_for(page, f"item.sent >= {3 * PAGE_PART_BYTES} && item.state === 'waiting'")
        page.close()
        time_ns = video.stat().st_mtime_ns
        with video.open("r+b") as file:
            file.seek(2 * PAGE_PART_BYTES + 5)
            file.write(b"changed in the middle")
        os.utime(video, ns=(time_ns, time_ns))
        page = open_page(browser, server)
        # The server takes the upload to be another page's for a moment.
        add_files(page, video)
        item = wait_for(page, "item.state === 'failed' || item.state === 'done'")
        if item["state"] == "failed":
            assert item["sentence"] == "DIFFERS"
            page.wait_for_timeout(2000)
            page.evaluate("() => window.uploader.resume(window.uploader.items[0].id)")
        item = wait_for(page, "item.state === 'done'")
        assert item["sha256"] == hashlib.sha256(video.read_bytes()).hexdigest()
        page.close()


@needs_browser
def test_the_videos_of_a_dropped_folder_are_uploaded_and_other_files_named(browser: Browser, tmp_path: Path) -> None:
    folder = tmp_path / "holiday"
    (folder / "day 2").mkdir(parents=True)
    for number, name in enumerate(("b.mp4", "a.MP4", "day 2/a.mp4")):
        padded_video(folder / "x.mp4", 20_000, seed=number).rename(folder / name)
    for name in ("notes.txt", "day 2/.DS_Store"):
        (folder / name).write_text("no video")
    with running_server(tmp_path / "library", script=SERVE_SMALL_PARTS) as server:
        page = open_page(browser, server)
        page.evaluate(DROP)
        drop(page, folder)
        page.wait_for_function("() => window.dropped")
        assert page.evaluate("() => window.dropped") == {"ids": [1, 2, 3], "skipped": [".DS_Store", "notes.txt"]}
        assert page.evaluate("() => window.uploader.items.map((item) => item.name)") == ["a.MP4", "b.mp4", "a.mp4"]
        page.wait_for_function("() => window.uploader.items.every((item) => item.state === 'done')")
        page.close()
    assert len(stored_uploads(tmp_path / "library")) == 3


@needs_browser
def test_an_upload_that_was_cut_three_times_continues_on_the_page_and_after_a_reload(browser: Browser, tmp_path: Path) -> None:
    folder = tmp_path / "holiday"
    folder.mkdir()
    video = padded_video(folder / "long day.mp4", SIZE_BYTES)
    last = SIZE_BYTES // PAGE_PART_BYTES
    with running_server(tmp_path / "library", script=SERVE_SMALL_PARTS) as server:
        page = new_page(browser)
        sent: list[int] = []

        def cut(route: Route) -> None:
            number = int(route.request.url.rpartition("/")[2])
            sent.append(number)
            if number in (1, 2, 4) and sent.count(number) == 1:
                route.abort("connectionreset")
            elif number != last:
                route.continue_()

        page.route("**/parts/*", cut)
        page.goto(server.url)
        page.get_by_text("Drop videos or sound here").wait_for()
        drop(page, folder)
        row = page.locator("longview-uploads li")
        expect(row).to_contain_text("The connection is lost; this continues by itself when it is back.")
        expect(row).to_contain_text("sent 99 %")
        assert sorted(sent) == [0, 1, 1, 2, 2, 3, 4, 4, last]
        page.reload()
        expect(row).to_contain_text("99 % was sent; drop the same file again to continue")
        page.unroute("**/parts/*")
        page.on("request", lambda request: sent.append(int(request.url.rpartition("/")[2])) if "/parts/" in request.url else None)
        sent.clear()
        drop(page, video)
        expect(row).to_have_count(0)
        expect(page.locator("longview-queue .line")).to_have_text(re.compile(r"long day\.mp4: done\."))
        expect(page.locator("longview-library .card")).to_contain_text("long day")
        assert sent == [last]
        page.close()
    digest = hashlib.sha256(video.read_bytes()).hexdigest()
    assert [hashlib.sha256(stored).hexdigest() for stored in stored_uploads(tmp_path / "library")] == [digest]


@needs_browser
def test_an_upload_is_paused_continued_found_after_a_reload_and_discarded_unless_another_page_sends_it(
    browser: Browser, tmp_path: Path
) -> None:
    video = padded_video(tmp_path / "talk <b>1.mp4", SIZE_BYTES)
    with running_server(tmp_path / "library", script=SERVE_SMALL_PARTS) as server:
        page = new_page(browser)
        held: list[Route] = []

        def hold(route: Route) -> None:
            # All parts but the first two stay on their way.
            held.append(route)
            if len(held) <= 2:
                route.continue_()

        page.route("**/parts/*", hold)
        page.goto(server.url)
        row = page.locator("longview-uploads li")
        page.locator("longview-library input[type=file][multiple]").last.set_input_files(video)
        page.locator("longview-library").get_by_role("button", name="Add", exact=True).last.click()
        expect(row).to_contain_text(re.compile(r"sent [1-9]\d? %"))
        assert "talk <b>1.mp4" in row.inner_text()
        row.get_by_role("button", name="Pause").click()
        expect(row).to_contain_text(re.compile(r"paused at [1-9]"))
        row.get_by_role("button", name="Continue").click()
        expect(row).to_contain_text(re.compile(r"sent [1-9]\d? %"))
        page.reload()
        expect(row).to_contain_text("was sent; drop the same file again to continue")
        page.locator("longview-library input[type=file][multiple]").last.set_input_files(video)
        page.locator("longview-library").get_by_role("button", name="Add", exact=True).last.click()
        # Until the server has compared the file with what was begun, there are two rows.
        row.filter(has_text=re.compile(r"sent [1-9]\d? %")).wait_for()
        expect(row).to_have_count(1)
        page.reload()
        row.get_by_role("button", name="Discard").click()
        expect(row).to_have_count(0)
        page.reload()
        page.locator("longview-library .picker.large").wait_for()
        expect(row).to_have_count(0)
        assert not list(unfinished_folder(tmp_path / "library").iterdir())
        # Another page sends a file: this one sees it, and offers nothing until that page is closed.
        content = padded_video(tmp_path / "other.mp4", 20_000, seed=3).read_bytes()
        new = {"name": "other.mp4", "size_bytes": len(content), "modified_ms": 1}
        upload = json.loads(server.post(UPLOADS, json.dumps(new).encode())[1])
        part = f"{UPLOADS}/{upload['upload_id']}/parts/0"
        headers = {CLIENT_HEADER: "1", "Content-Length": str(len(content))} | digest_header(content)
        with closing(HTTPConnection("127.0.0.1", int(server.url.rpartition(":")[2]))) as connection:
            connection.putrequest("PUT", part)
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders(content[:100])
            page.wait_for_timeout(1500)
            page.reload()
            expect(row).to_contain_text("another page is sending it")
            expect(row.get_by_role("button")).to_have_count(0)
        expect(row.get_by_role("button", name="Discard")).to_be_visible()
        assert server.send(urllib.request.Request(server.url + part, content, headers, method="PUT"))[0] == 204
        # What was resumed and completed meanwhile is not given up.
        assert server.post(f"{UPLOADS}/{upload['upload_id']}/complete", b"")[0] == 200
        row.get_by_role("button", name="Discard").click()
        expect(row).to_have_count(0)
        page.close()
