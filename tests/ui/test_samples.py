"""The first start: the page is there while the samples are still being made, and a killed start resumes."""

import json
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from playwright.sync_api import Browser, expect

from longview.app.serving.sample import SHAPES_SAMPLE, SLIDES_SAMPLE
from longview.indexing.library_files import SAMPLE_FILES
from longview.indexing.sqlite.library import Library
from tests.support.browser import needs_browser
from tests.support.library_samples import put_captions, sample_entry, sample_events
from tests.support.page_servers import Server, running_server
from tests.support.shell import Shell

TIMEOUT_S = 120
T = TypeVar("T")


def wait_for(read: Callable[[], T | None]) -> T:
    deadline_s = time.monotonic() + TIMEOUT_S
    while (value := read()) is None:
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    return value


def titles_in_queue(library: Path) -> set[str] | None:
    titles = {job.title for job in Library(library).queue.jobs(ended_limit=0)}
    return titles if {SLIDES_SAMPLE.title, SHAPES_SAMPLE.title} & titles else None


def shown_line(server: Server) -> str | None:
    document = json.loads(server.get("/v1/jobs")[1])
    lines = [item["action"] for item in document["preparations"]] + [job["title"] for job in document["jobs"]]
    return " ".join(lines) if any("lighthouse" in line for line in lines) else None


def test_the_page_answers_while_the_samples_are_made_and_a_killed_start_resumes(tmp_path: Path) -> None:
    library = tmp_path / "library"
    with running_server(library, "--sample") as server:
        assert server.get("/")[0] == 200
        # The samples take more than half a minute; their jobs and the file that is rendered are on the page.
        assert SLIDES_SAMPLE.title.removeprefix("Sample: ") in wait_for(lambda: shown_line(server))
        assert all(entry.track("captions") is None for entry in Library(library).videos())
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()
    with running_server(library, "--sample") as server:

        def watchable() -> int | None:
            entries = [entry for entry in Library(library).videos() if entry.title == SLIDES_SAMPLE.title]
            return server.get(f"/media/{entries[0].video_id}")[0] if entries else None

        # The slide show can be watched long before all of it is indexed, and meanwhile the other sample joins the queue.
        assert wait_for(watchable) == 200
        wait_for(lambda: True if (library / SAMPLE_FILES / SHAPES_SAMPLE.name).exists() else None)
        assert SHAPES_SAMPLE.title in wait_for(lambda: found if (found := titles_in_queue(library)) and len(found) == 2 else None)


@needs_browser
def test_a_question_below_the_card_of_a_sample_fills_the_question_box_and_asks_nothing(browser: Browser, tmp_path: Path) -> None:
    library = Library(tmp_path)
    path = tmp_path.resolve() / SAMPLE_FILES / SHAPES_SAMPLE.name
    put_captions(library, replace(sample_entry("a" * 12, "A sample"), path=path), sample_events("a red circle", "a blue star"))
    put_captions(library, sample_entry("b" * 12, "Another"), sample_events("a red circle"))
    rows = {row["title"]: row["example_questions"] for row in Shell(tmp_path).json("list")["videos"]}
    assert len(rows["A sample"]) == 3 and rows["Another"] == []
    question = rows["A sample"][1]
    with running_server(tmp_path) as server:
        page = browser.new_page()
        page.goto(server.url)
        expect(page.locator(".questions a")).to_have_text(rows["A sample"])
        page.get_by_role("link", name=question).click()
        box = page.get_by_label("Question", exact=True)
        expect(box).to_have_value(question)
        expect(page.locator(".message.user")).to_have_count(0)
        box.press("Enter")
        expect(page.locator(".message.user")).to_contain_text(question)
        assert "question=" not in page.url and f"video={'a' * 12}" in page.url
        # In a larger library the rows of cards are not higher for a sample.
        for number in range(4):
            put_captions(library, sample_entry(f"{number}" * 12, f"Video {number}"), sample_events("a red circle"))
        page.goto(server.url)
        expect(page.locator("longview-library .card")).to_have_count(6)
        expect(page.get_by_role("link", name=question)).to_be_hidden()
        page.close()
