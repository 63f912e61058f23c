"""The first start: the page is there while the samples are still being made, and a killed start resumes."""

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from longview.app.serving.sample import SHAPES_SAMPLE, SLIDES_SAMPLE
from longview.indexing.library_files import SAMPLE_FILES
from longview.indexing.sqlite.library import Library
from tests.support.page_servers import Server, running_server

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
