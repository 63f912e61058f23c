"""Every route and endpoint of the application, with values that no page sends: none is an error of the server."""

import asyncio
import logging
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from longview.app.service import Longview
from longview.app.serving.workers import Workers
from longview.model.tasks.question import MAX_QUESTION_CHARACTERS
from longview.ui.access import OwnSiteOnly
from longview.ui.server import create
from tests.support.app_samples import demo_settings
from tests.support.library_samples import put_captions, sample_entry, sample_events
from tests.support.odd_requests import OddRequest, Reply, endpoint_requests, gradio_app, route_requests, routes, send

VIDEO_ID = "a" * 12
VALID_PARAMETERS = {
    "video_id": VIDEO_ID, "time_ms": 0, "format": "srt", "job_id": 1, "action": "cancel", "api_name": "open",
    "session_hash": "s", "event_id": "e", "upload_id": "u",
}  # fmt: skip
VALID_INPUTS = {"dropdown": VIDEO_ID, "textbox": "red circle", "checkbox": False, "html": "", "number": 0}
PARALLEL = 32
MAX_WAITING = 40


class Site:
    """The web application in this process."""

    def __init__(self, folder: Path) -> None:
        self.app = Longview(demo_settings(folder))
        put_captions(self.app.parts.library, sample_entry(VIDEO_ID), sample_events("a red circle"))
        self.workers = Workers(self.app)
        web = create(self.app, self.workers)
        assert isinstance(web, OwnSiteOnly) and isinstance(web._app, FastAPI)
        self.web, self.fastapi = web, web._app
        self.page = gradio_app(self.fastapi).get_blocks()

    async def replies(self, requests: list[OddRequest]) -> list[Reply]:
        """Send requests, some at once, and wait until the queue has run all that were accepted."""
        limit, queue = asyncio.Semaphore(PARALLEL), self.page._queue

        async def reply(request: OddRequest) -> Reply:
            async with limit:
                while True:
                    while len(queue) > MAX_WAITING:
                        await asyncio.sleep(0.02)
                    result = await send(self.web, request)
                    if result.status != 503 or queue.stopped:
                        return result

        async with self.fastapi.router.lifespan_context(self.fastapi):
            replies = await asyncio.gather(*map(reply, requests))
            while len(queue) or any(queue.active_jobs):
                await asyncio.sleep(0.02)
            assert not queue.stopped
        return replies

    def post(self, path: str, document: Any) -> Reply:
        """Send a JSON document."""
        return self.replies_to([OddRequest.of(path, document)])[0]

    def replies_to(self, requests: list[OddRequest]) -> list[Reply]:
        """Send requests in a loop of their own."""
        return asyncio.run(self.replies(requests))


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    site = Site(tmp_path / "library")
    # The folders that “~” and “..” name have no videos.
    (tmp_path / "home" / "folder").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "home" / "folder")
    yield site
    site.workers.close(wait_s=10)


def test_no_value_is_an_error_of_the_server(
    site: Site, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    requests = [*route_requests(site.fastapi, VALID_PARAMETERS), *endpoint_requests(site.page, VALID_INPUTS)]
    assert len({route.path_format for route in routes(site.fastapi)}) > 60 and len(requests) > 10_000
    replies = site.replies_to(requests)
    failed = [
        (str(request), reply.status, reply.body) for request, reply in zip(requests, replies, strict=True) if reply.status >= 500
    ]
    assert not failed, (Counter(reply.status for reply in replies), failed[:10])
    assert all(reply.headers["cross-origin-resource-policy"] == "same-origin" for reply in replies)
    assert "Traceback" not in capfd.readouterr().err
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_a_question_that_is_too_long_is_refused_with_its_length(site: Site) -> None:
    (ask,) = [number for number, function in site.page.fns.items() if function.api_name == "ask"]
    for length, status in ((MAX_QUESTION_CHARACTERS + 1, 422), (MAX_QUESTION_CHARACTERS, 200)):
        document = {"data": [VIDEO_ID, "a" * length], "fn_index": ask, "session_hash": "s"}
        reply = site.post("/gradio_api/queue/join", document)
        assert reply.status == status
        if status == 422:
            assert "“Question” has 2,001 characters; shorten it to 2,000." in reply.body.decode()


def test_a_video_that_is_not_there_is_not_an_empty_library(site: Site) -> None:
    reply = site.post("/gradio_api/run/open", {"data": ["b" * 12]})
    assert reply.status == 422 and b"There is no video bbbbbbbbbbbb in the library" in reply.body
    assert site.post("/gradio_api/run/open", {"data": [VIDEO_ID]}).status == 200


@pytest.mark.parametrize("path", ["/media/ID", "/thumbnail/ID/0.jpg", "/export/ID.srt"])
def test_the_beginning_of_an_id_is_no_id_for_a_route(site: Site, path: str) -> None:
    site.app.parts.library.set_path(VIDEO_ID, Path(__file__))
    ids = (VIDEO_ID[:1], VIDEO_ID[:-1], "0", f"{VIDEO_ID[:-1]}%2A", VIDEO_ID.upper())
    replies = site.replies_to([OddRequest("GET", path.replace("ID", video_id)) for video_id in ids])
    assert {(reply.status, reply.body) for reply in replies} == {(404, b'{"detail":"There is no video with this id."}')}
    if path.startswith("/export"):
        assert site.replies_to([OddRequest("GET", path.replace("ID", VIDEO_ID))])[0].status == 200


def test_the_queue_continues_when_the_session_of_a_waiting_request_is_forgotten(site: Site) -> None:
    (search,) = [number for number, function in site.page.fns.items() if function.api_name == "search"]
    document = {"data": ["red circle", False], "fn_index": search, "session_hash": "s"}
    site.page._queue.pending_messages_per_session.max_size = 2
    requests = [OddRequest.of("/gradio_api/queue/join", document | {"session_hash": f"s{number}"}) for number in range(20)]
    assert {reply.status for reply in site.replies_to(requests)} == {200}


def test_the_queue_continues_after_an_error_of_its_own(site: Site) -> None:
    (search,) = [number for number, function in site.page.fns.items() if function.api_name == "search"]
    queue, errors = site.page._queue, iter([RuntimeError("dictionary changed size during iteration")])
    get_events = queue.get_events

    def fail_once() -> Any:
        if (error := next(errors, None)) is not None:
            raise error
        return get_events()

    queue.get_events = fail_once
    document = {"data": ["red circle", False], "fn_index": search, "session_hash": "s"}
    requests = [OddRequest.of("/gradio_api/queue/join", document | {"session_hash": f"s{number}"}) for number in range(5)]
    assert {reply.status for reply in site.replies_to(requests)} == {200}
