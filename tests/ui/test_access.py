"""Pages of other sites, also of other ports of this machine, reach nothing of the server."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from longview.app.service import Longview
from longview.app.serving.workers import Workers
from longview.ui.access import CLIENT_HEADER, FRAME_POLICY, OWN_POLICY, PAGE_POLICY, PAGES, RESPONSE_HEADERS
from longview.ui.server import create
from tests.support.app_samples import demo_settings
from tests.support.library_samples import put_captions, sample_entry, sample_events
from tests.support.odd_requests import OddRequest, Reply, send

VIDEO_ID = "a" * 12
HOST = "127.0.0.1:7860"
OWN = {"Origin": f"http://{HOST}"}
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
VISIT = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
FOREIGN_ORIGINS = ("http://127.0.0.1:8000", "http://localhost:7860", "https://127.0.0.1:7860", "http://evil.example", "null", "")


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> object:
    app = Longview(demo_settings(tmp_path_factory.mktemp("library")))
    put_captions(app.parts.library, sample_entry(VIDEO_ID), sample_events("a red circle"))
    return create(app, Workers(app))


def reply(web: object, method: str, path: str, headers: Mapping[str, str]) -> Reply:
    body = b"{}" if method == "POST" else None
    own = {"Host": HOST, CLIENT_HEADER: "", "Content-Type": "text/plain"}
    return asyncio.run(send(web, OddRequest(method, path, body, own | dict(headers))))


@pytest.mark.parametrize("path", ["/", "/config", "/thumbnail/ffffffffffff/0.jpg", "/nothing", "/theme.css", "/gradio_api/info"])
def test_every_response_keeps_other_origins_out(web: object, path: str) -> None:
    for headers in ({}, OWN, {"Origin": "http://evil.example"}, {"Host": "evil.example"}):
        answer = reply(web, "GET", path, headers)
        assert {name: answer.headers.get(name.lower()) for name in RESPONSE_HEADERS} == RESPONSE_HEADERS
        # Nothing of another site runs here, nor shows this; Gradio's pages need some exceptions.
        policy = PAGE_POLICY if path in PAGES else OWN_POLICY
        assert answer.headers["content-security-policy"] == f"{FRAME_POLICY}, {policy}"
        assert not [name for name in answer.headers if name.startswith("access-control-")]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_a_foreign_origin_is_refused(web: object, method: str) -> None:
    for origin in FOREIGN_ORIGINS:
        for path in ("/config", f"/export/{VIDEO_ID}.srt", "/v1/jobs/1/cancel", "/gradio_api/queue/join"):
            assert reply(web, method, path, {"Origin": origin, CLIENT_HEADER: "1"} | JSON).status == 403, (origin, path)


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_foreign_page_may_only_lead_a_person_to_the_page(web: object, site: str) -> None:
    for path in (f"/export/{VIDEO_ID}.srt", "/export/ffffffffffff.srt", f"/media/{VIDEO_ID}", "/config", "/nothing"):
        for headers in ({}, VISIT, {"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}):
            assert reply(web, "GET", path, {"Sec-Fetch-Site": site} | headers).status == 403
    assert reply(web, "GET", "/", {"Sec-Fetch-Site": site} | VISIT).status == 200
    assert reply(web, "GET", "/", {"Sec-Fetch-Site": site} | VISIT | {"Sec-Fetch-Dest": "iframe"}).status == 403
    assert reply(web, "POST", "/", {"Sec-Fetch-Site": site} | VISIT).status == 403


@pytest.mark.parametrize(
    ("headers", "is_allowed"),
    [
        ({}, False),
        (FORM, False),
        ({"Content-Type": "multipart/form-data; boundary=x"}, False),
        ({"Content-Type": "text/plain; application/json"}, False),
        (FORM | {"Sec-Fetch-Site": "none"}, False),
        (OWN, True),
        ({"Origin": f"HTTP://{HOST}"}, True),
        (JSON, True),
        ({"Content-Type": "Application/JSON; charset=utf-8"}, True),
        ({CLIENT_HEADER: "1"}, True),
        ({"Sec-Fetch-Site": "same-origin"}, True),
    ],
)
def test_a_change_needs_what_a_form_cannot_send(web: object, headers: Mapping[str, str], is_allowed: bool) -> None:
    # There is no such job: a request that is let in is answered 404.
    assert reply(web, "POST", "/v1/jobs/999/cancel", headers).status == (404 if is_allowed else 403)


def test_reading_needs_no_header(web: object, tmp_path: Path) -> None:
    for headers in ({}, {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}, OWN):
        assert reply(web, "GET", f"/export/{VIDEO_ID}.srt", headers).status == 200
