"""Uploads in parts over HTTP: hostile requests change nothing."""

import asyncio
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from longview.app.files.file_names import safe_name
from longview.app.service import Longview
from longview.app.serving import part_uploads
from longview.app.serving.upload_files import unfinished_folder
from longview.app.serving.workers import Workers
from longview.ui.access import CLIENT_HEADER, HOST
from longview.ui.routes import common
from longview.ui.routes import uploads as upload_routes
from longview.ui.server import create
from tests.support.app_samples import demo_settings, file_names
from tests.support.uploaded_files import digest_header, padded_video, parts_of, stored_uploads

PART_BYTES = 1 << 14
UPLOADS = "/v1/uploads"
MB = 1 << 20


class Web:
    """The web application over a new library, in this process."""

    def __init__(self, library: Path, **settings: Any) -> None:
        self.library = library
        self.app = Longview(demo_settings(library, **settings))
        self.workers = Workers(self.app, starts=False)
        self.application = create(self.app, self.workers)
        self.client = TestClient(self.application, base_url=f"http://{HOST}", headers={CLIENT_HEADER: "1"})

    def begin(self, content: bytes, name: str = "a.mp4", status: int = 201) -> str:
        reply = self.client.post(UPLOADS, json={"name": name, "size_bytes": len(content), "modified_ms": 1})
        assert reply.status_code == status, reply.text
        return str(reply.json()["upload_id"])

    def put(self, upload_id: str, number: object, data: Any, **headers: str) -> int:
        return self.client.put(f"{UPLOADS}/{upload_id}/parts/{number}", content=data, headers=headers).status_code

    def received(self, upload_id: str) -> Any:
        return self.client.get(f"{UPLOADS}/{upload_id}").json()["received"]


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    monkeypatch.setattr(part_uploads, "PART_BYTES", PART_BYTES)
    web = Web(tmp_path / "library", max_upload_bytes=MB)
    with web.client:
        yield web
    web.workers.close()


@pytest.fixture(scope="module")
def refusing_web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """A web application for requests that change nothing."""
    web = Web(tmp_path_factory.mktemp("refusing") / "library", max_upload_bytes=MB)
    with web.client:
        yield web
    web.workers.close()


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return padded_video(tmp_path_factory.mktemp("video") / "a.mp4", 3 * PART_BYTES + 5).read_bytes()


def test_a_file_in_parts_becomes_a_job(web: Web, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    upload_id = web.begin(content)
    for number, part in enumerate(parts_of(content, PART_BYTES)[:3]):
        assert web.put(upload_id, number, part, **digest_header(part)) == 204
    assert web.begin(content, status=200) == upload_id
    (listed,) = web.client.get(UPLOADS).json()["uploads"]
    assert listed["received"] == [[0, 2]] and listed["received_bytes"] == 3 * PART_BYTES and listed["status"] == "unfinished"
    assert listed["is_active"]
    with monkeypatch.context() as patch:
        # Nothing has arrived for longer than between two parts.
        patch.setattr(part_uploads, "ACTIVE_S", 0.0)
        assert not web.client.get(f"{UPLOADS}/{upload_id}").json()["is_active"]
    reply = web.client.post(f"{UPLOADS}/{upload_id}/complete", json={})
    assert reply.status_code == 409 and reply.json()["code"] == "upload_incomplete"
    last = parts_of(content, PART_BYTES)[3]
    # A body in chunks states no length.
    assert web.put(upload_id, 3, iter([last[:2], last[2:]]), **digest_header(last)) == 204
    for _ in range(2):
        options = {"sources": ["speech"], "start_s": 0, "end_s": 0.5, "title": "A title"}
        reply = web.client.post(f"{UPLOADS}/{upload_id}/complete", json={"options": options})
        assert reply.status_code == 200, reply.text
        assert reply.json()["sha256"] == hashlib.sha256(content).hexdigest() and reply.headers["cache-control"] == "no-store"
        assert reply.json()["job"]["options"] == options and reply.json()["job"]["status"] == "waiting"
    assert stored_uploads(web.library) == [content]
    assert web.client.get(UPLOADS).json() == {"uploads": []}
    assert web.client.get(f"{UPLOADS}/{upload_id}").json()["job_id"] == reply.json()["job"]["job_id"]


HOSTILE_NAME = "‮<img src=x onerror=alert(1)> ; $(rm -rf ~) 🎬 ' \\ %2e%2e" + "é" * 60 + ".MP4"


def test_a_hostile_name_stays_text(web: Web, content: bytes) -> None:
    upload_id = web.begin(content, HOSTILE_NAME)
    for number, part in enumerate(parts_of(content, PART_BYTES)):
        assert web.put(upload_id, number, part, **digest_header(part)) == 204
    job = web.client.post(f"{UPLOADS}/{upload_id}/complete").json()["job"]
    assert job["title"] == HOSTILE_NAME and Path(job["path"]).name.endswith(safe_name(HOSTILE_NAME))


@pytest.mark.parametrize(
    ("changes", "status", "sentence"),
    [
        ({"name": "a.txt"}, 415, "ends with one of .mp4"),
        ({"name": "../a.mp4"}, 400, "no slash"),
        ({"name": "a\x00.mp4"}, 400, "no control characters"),
        ({"name": "a\n.mp4"}, 400, "no control characters"),
        ({"name": ""}, 400, "rename the file"),
        ({"name": "é" * 130 + ".mp4"}, 400, "at most 255 bytes"),
        ({"name": ".mp4"}, 415, "ends with one of"),
        ({"name": 7}, 400, "cannot be used: name"),
        ({"size_bytes": 0}, 400, "is empty"),
        ({"size_bytes": -1}, 400, "is empty"),
        ({"size_bytes": MB + 1}, 413, "max_upload_bytes"),
        ({"size_bytes": 10**400}, 400, "not possible"),
        ({"size_bytes": float("nan")}, 400, "size_bytes"),
        ({"size_bytes": True}, 400, "size_bytes"),
        ({"size_bytes": 1.5}, 400, "size_bytes"),
        ({"modified_ms": -1}, 400, "time of change"),
        ({"modified_ms": None}, 400, "modified_ms"),
        ({"fingerprint": "../" * 20}, 400, "fingerprint"),
    ],
)
def test_a_file_that_cannot_be_is_refused_in_a_sentence(
    refusing_web: Web, changes: dict[str, Any], status: int, sentence: str
) -> None:
    document = {"name": "a.mp4", "size_bytes": 1000, "modified_ms": 1} | changes
    reply = refusing_web.client.post(UPLOADS, content=json.dumps(document))
    assert reply.status_code == status and sentence in reply.json()["detail"], reply.text
    assert file_names(unfinished_folder(refusing_web.library)) == []


@pytest.mark.parametrize("body", [b"", b"[]", b"no json", b'{"name": "\\ud800.mp4"}', b"[" * 5000, b'"' + b"x" * 70_000])
def test_a_body_that_is_no_document_is_refused(refusing_web: Web, body: bytes) -> None:
    assert refusing_web.client.post(UPLOADS, content=body).status_code in (400, 413)


def test_a_part_that_is_wrong_is_not_counted(web: Web, content: bytes) -> None:
    upload_id, part = web.begin(content), content[:PART_BYTES]
    right = digest_header(part)
    for headers in (
        {},
        {"Content-Digest": "sha-256=:x:"},
        {"Content-Digest": "sha-512=:AAAA:"},
        {"Content-Digest": "sha-256=" * 900},
    ):
        assert web.put(upload_id, 0, part, **headers) == 400
    assert web.put(upload_id, 0, part[:-1], **right) == 422
    assert web.put(upload_id, 0, part[:-1] + b"?", **right) == 422
    assert web.put(upload_id, 0, iter([part, part]), **right) == 422
    for number, status in ((4, 404), (10**15, 404), (-1, 422), (10**30, 422), ("NaN", 422), ("1e3", 422)):
        assert web.put(upload_id, number, part, **right) == status, number
    assert web.put(upload_id, 0, bytes(upload_routes.MAX_PART_BYTES + 1), **right) == 413
    for unknown_id in ("x" * 32, "%2e%2e%2f", "a" * 300, upload_id.swapcase()):
        assert web.put(unknown_id, 0, part, **right) in (400, 404, 422), unknown_id
    assert web.received(upload_id) == []
    multiple = {"Content-Digest": f"sha-512=:AAAA:, {right['Content-Digest']}"}
    assert web.put(upload_id, 0, part, **multiple) == 204 and web.put(upload_id, 0, part, **right) == 204


def put_directly(web: Web, upload_id: str, part: bytes, messages: list[Any], *, hangs: bool = False) -> int:
    """Return the status of the response to a part whose request has these messages. `hangs`: nothing follows them."""
    headers = {"host": HOST, CLIENT_HEADER.lower(): "1", "content-length": str(len(part))} | digest_header(part)
    path = f"{UPLOADS}/{upload_id}/parts/0"
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "PUT", "scheme": "http",
        "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()], "state": {},
    }  # fmt: skip
    statuses: list[int] = []

    async def receive() -> Any:
        if not messages and hangs:
            await asyncio.sleep(60)
        return messages.pop(0)

    async def collect(message: Any) -> None:
        statuses.extend([message["status"]] if "status" in message else [])

    asyncio.run(web.application(scope, receive, collect))  # type: ignore[arg-type]
    return statuses[0]


def test_a_part_that_ends_early_or_stalls_is_not_counted(web: Web, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    upload_id, part = web.begin(content), content[:PART_BYTES]
    half = {"type": "http.request", "body": part[:99], "more_body": True}
    assert put_directly(web, upload_id, part, [half, {"type": "http.disconnect"}]) == 499
    monkeypatch.setattr(common, "STALL_S", 0.2)
    assert put_directly(web, upload_id, part, [half], hangs=True) == 408
    assert web.received(upload_id) == []
    rest = {"type": "http.request", "body": part[99:], "more_body": False}
    assert put_directly(web, upload_id, part, [half, rest]) == 204


def test_what_is_given_up_is_gone(web: Web, content: bytes) -> None:
    upload_id, part = web.begin(content), content[:PART_BYTES]
    web.put(upload_id, 0, part, **digest_header(part))
    assert web.client.delete(f"{UPLOADS}/{upload_id}").status_code == 204
    assert file_names(unfinished_folder(web.library)) == []
    assert web.client.delete(f"{UPLOADS}/{upload_id}").status_code == 404
    assert web.put(upload_id, 0, part, **digest_header(part)) == 404
    assert web.client.post(f"{UPLOADS}/{upload_id}/complete").status_code == 404


def test_another_site_cannot_upload(web: Web, content: bytes) -> None:
    upload_id, part = web.begin(content), content[:PART_BYTES]
    headers = {"Origin": "http://evil.example", CLIENT_HEADER: ""}
    assert web.put(upload_id, 0, part, **digest_header(part), **headers) == 403
    assert web.client.post(UPLOADS, json={}, headers=headers).status_code == 403
    assert web.client.delete(f"{UPLOADS}/{upload_id}", headers=headers).status_code == 403


@pytest.mark.parametrize(
    "options", [{"sources": ["nothing"]}, {"start_s": 2, "end_s": 1}, {"end_s": "NaN"}, {"unknown": 1}, {"context_tokens": -1}]
)
def test_options_are_checked_before_the_file_takes_its_place(web: Web, content: bytes, options: dict[str, Any]) -> None:
    upload_id = web.begin(content)
    for number, part in enumerate(parts_of(content, PART_BYTES)):
        web.put(upload_id, number, part, **digest_header(part))
    assert web.client.post(f"{UPLOADS}/{upload_id}/complete", json={"options": options}).status_code == 400
    assert stored_uploads(web.library) == [] and web.client.post(f"{UPLOADS}/{upload_id}/complete").status_code == 200
