"""A hub that sends without an end, slowly or nonsense costs neither memory nor an endless wait."""

import gzip
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from huggingface_hub import constants

from longview.model.errors import HubUnreachable, InvalidCheckpoint
from longview.model.hub import connection
from longview.model.hub.listing import find_commit
from longview.model.hub.pulls import plan_pull, pull
from tests.support.hub_server import Hub, Reply, describe

NAME = "me/model"
LIST = f"/api/models/{NAME}"
FILES = {"config.json": json.dumps({"vision_config": {}}).encode(), "model.safetensors": bytes(100_000)}


def test_reply_without_an_end_is_cut(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "MAX_LIST_BYTES", 2 << 20)
    hub.endless[LIST] = (b"a" * 65536, 0.0)
    with pytest.raises(HubUnreachable, match="more than 2 MB"):
        plan_pull(NAME)
    # What is sent is small, what it stands for is not.
    hub.endless.clear()
    hub.failures[LIST] = Reply(200, {"Content-Encoding": "gzip"}, gzip.compress(bytes(50 << 20)))
    with pytest.raises(HubUnreachable, match="more than 2 MB"):
        plan_pull(NAME)


def test_reply_and_file_of_a_byte_at_a_time_end_with_the_limit(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "MAX_REPLY_S", 0.5)
    monkeypatch.setattr(connection, "WINDOW_S", 0.5)
    hub.endless[LIST] = (b" ", 0.05)
    with pytest.raises(HubUnreachable, match=r"did not end its reply within"):
        plan_pull(NAME)
    hub.endless.clear()
    hub.add(NAME, FILES)
    plan = plan_pull(NAME)
    hub.endless[f"/{NAME}/resolve"] = (b"x", 0.05)
    with pytest.raises(HubUnreachable, match=r"too slowly \(\d+ bytes in"):
        pull(plan)


@pytest.mark.parametrize("content", [b"[" * 500_000, b"[]", b"null", b'{"siblings": 5}', b"\xff", b"1" * 10_000])
def test_nonsense_in_place_of_a_list_is_no_hub(hub: Hub, content: bytes) -> None:
    hub.failures[LIST] = Reply(200, {}, content)
    with pytest.raises(HubUnreachable, match="does not answer as a model hub does"):
        plan_pull(NAME)


def test_file_below_another_file_is_the_fault_of_the_hub(hub: Hub) -> None:
    hub.add(NAME, FILES)
    hub.siblings = [describe(path, FILES.get(path, b"{}")) for path in (*FILES, "x.json", "x.json/y.json")]
    with pytest.raises(InvalidCheckpoint, match=r"x\.json/y\.json below another file"):
        plan_pull(NAME)


@contextmanager
def dripping_hub(beginning: bytes, piece: bytes) -> Iterator[str]:
    """The address of a server that answers each request with a beginning, and then without an end with a small piece."""
    server, has_ended = socket.create_server(("127.0.0.1", 0)), threading.Event()

    def drip(client: socket.socket) -> None:
        with client, suppress(OSError):
            client.recv(65536)
            has_ended.wait(0.05)
            client.sendall(beginning)
            while piece and not has_ended.wait(0.05):
                client.sendall(piece)

    def serve() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=drip, args=(server.accept()[0],), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
    finally:
        has_ended.set()
        server.shutdown(socket.SHUT_RDWR)
        server.close()


@pytest.mark.parametrize(
    ("beginning", "piece", "message"),
    [
        (b"HTTP/1.1 200 OK\r\nX-A: ", b"a", "did not answer within"),
        (b"HTTP/1.1 200", b" ", "did not answer within"),
        (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n", "did not answer within"),
        (b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", b"", "did not answer within"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"a", "did not end its reply within"),
        (b"HTTP/1.0 200 OK\r\n\r\n", b" ", "did not end its reply within"),
    ],
    ids=["header", "status", "hints", "redirects", "chunk", "body"],
)
def test_headers_of_a_byte_at_a_time_end_with_the_limit(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, beginning: bytes, piece: bytes, message: str
) -> None:
    monkeypatch.setattr(connection, "MAX_REPLY_S", 0.5)
    with dripping_hub(beginning, piece) as address:
        monkeypatch.setattr(constants, "ENDPOINT", address)
        start_s = time.monotonic()
        with pytest.raises(HubUnreachable, match=message):
            find_commit(NAME)
        assert time.monotonic() - start_s < 5


def test_file_of_a_mirror_whose_address_contains_api_is_no_list(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "MAX_LIST_BYTES", 5000)
    hub.folder = "/artifactory/api/hf"
    monkeypatch.setattr(constants, "ENDPOINT", hub.url + hub.folder)
    template = hub.url + hub.folder + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    hub.add(NAME, FILES | {"api/notes.txt": bytes(10_000)})
    pull(plan_pull(NAME))
    hub.endless[LIST] = (b" " * 1000, 0.0)
    with pytest.raises(HubUnreachable, match="more than 0 MB"):
        find_commit(NAME)
