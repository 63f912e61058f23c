"""A server for each module, and a video that is indexed through its page."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from gradio_client import Client

from longview.ui.access import CLIENT_HEADER
from longview.video.synthetic import render
from tests.support.page_servers import EVENTS, Server, running_server
from tests.support.shell import Shell


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("library")) as server:
        yield server


@pytest.fixture(scope="module")
def client(server: Server) -> Client:
    return Client(server.url, headers={CLIENT_HEADER: "1"}, verbose=False)


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render(tmp_path_factory.mktemp("videos") / "three <b>events</b>.mp4", EVENTS, 30.0)


@pytest.fixture(scope="module")
def shell(server: Server) -> Shell:
    """The command line over the library of the running server."""
    return Shell(server.library)


@pytest.fixture(scope="module")
def video_id(shell: Shell, client: Client, video: Path) -> str:
    job = client.submit(str(video), api_name="/index")
    result, indexed_id = job.result(timeout=120)
    assert "done" in result
    reports = [str(report) for report in job.outputs()]
    assert any("Captioning" in report and "%" in report for report in reports)
    (row,) = shell.json("list")["videos"]
    assert row["events"] == len(EVENTS)
    assert row["video_id"] == indexed_id
    return str(indexed_id)
