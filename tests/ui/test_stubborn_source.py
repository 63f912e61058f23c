"""A source that ignores its cancellation keeps neither the page nor the end of its server from anybody."""

import json
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from longview.indexing.sqlite.database.database import DATABASE
from longview.indexing.sqlite.library import Library
from longview.video.synthetic import render
from tests.support.page_servers import Server, running_server

DEADLINE_S = 60
SERVE_WITH_A_STUBBORN_SOURCE = """
import runpy, time
from longview.app.ingest import sources
from longview.core.sources import SOURCES, SourceTraits
from tests.support import new_modules

def listen(self, progress):
    while True:
        time.sleep(0.05)

others = dict(SOURCES)
SOURCES.clear()
SOURCES.update({"music": SourceTraits("music", "other", "piece", "no music"), **others})
sources.__path__ = [*sources.__path__, *new_modules.__path__]
sources.source_class("music").listen = listen
runpy.run_module("app", run_name="__main__", alter_sys=True)
"""
"""`longview serve` with a source that comes first, and that looks at nothing."""


def wait(is_reached: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not is_reached():
        assert time.monotonic() < deadline_s
        time.sleep(0.1)


def add(server: Server, path: Path) -> None:
    body = json.dumps({"data": [str(path), False]}).encode()
    assert server.post("/gradio_api/call/index", body, **{"Content-Type": "application/json"})[0] == 200


@pytest.mark.parametrize(("number", "state"), [(signal.SIGTERM, "waiting"), (signal.SIGINT, "paused")], ids=["term", "ctrl-c"])
def test_a_source_that_ignores_its_cancellation_does_not_keep_the_server(
    tmp_path: Path, number: signal.Signals, state: str
) -> None:
    library = Library(tmp_path / "library")

    def jobs() -> dict[str, tuple[str, str]]:
        return {job.path.name: (job.status, job.stage) for job in library.queue.jobs()}

    with running_server(library.folder, script=SERVE_WITH_A_STUBBORN_SOURCE, LONGVIEW_WORKERS="2") as server:
        for name in ("cancelled.mp4", "running.mp4"):
            add(server, render(tmp_path / name, (), 1.0, width=64, height=48, fps=10.0, seed=len(name)))
        wait(lambda: list(jobs().values()) == [("running", "Listening to music")] * 2)
        job_id = next(job.job_id for job in library.queue.jobs() if job.path.name == "cancelled.mp4")
        assert server.post(f"/v1/jobs/{job_id}/cancel", b"")[0] == 200
        wait(lambda: jobs()["cancelled.mp4"] == ("running", "Waiting for the end of “Listening to music”"))
        with closing(sqlite3.connect(library.folder / DATABASE, isolation_level=None)) as db:
            # An orderly end is no second crash, after which a job is given up.
            db.execute("UPDATE jobs SET crashes = 1")
        # Its page says so, and answers.
        assert server.get("/")[0] == 200 and b"Waiting for the end of" in server.get("/v1/jobs")[1]
        server.process.send_signal(number)
        assert server.process.wait(DEADLINE_S) == (130 if number == signal.SIGINT else -number)
    assert {name: status for name, (status, _) in jobs().items()} == {"cancelled.mp4": "cancelled", "running.mp4": state}
    # Both can be resumed.
    for job in library.queue.jobs():
        assert library.queue.move_first(job.job_id).status == job.status
        library.queue.retry(job.job_id)
    assert {status for status, _ in jobs().values()} == {"waiting"}
