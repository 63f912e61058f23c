"""A hub that sends without an end, slowly or nonsense costs neither memory nor an endless wait."""

import gzip
import json

import httpx2
import pytest
from huggingface_hub import constants

from longview.model.errors import HubUnreachable, InvalidCheckpoint
from longview.model.hub import connection
from longview.model.hub.pulls import plan_pull, pull
from tests.hub_server import Hub, Reply, describe

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
    hub.slow_headers[LIST] = 0.05
    with pytest.raises(HubUnreachable, match=r"did not answer within"):
        plan_pull(NAME)
    hub.slow_headers.clear()
    hub.add(NAME, FILES)
    plan = plan_pull(NAME)
    hub.slow_headers[f"/{NAME}/resolve"] = 0.05
    with pytest.raises(HubUnreachable, match=r"did not answer within"):
        pull(plan)
    hub.slow_headers.clear()
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


def test_file_of_a_mirror_is_no_list_whatever_its_address(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "MAX_LIST_BYTES", 50_000)
    weights = bytes(100_000)
    for address in (hub.url, f"{hub.url}/artifactory/api/hf"):
        monkeypatch.setattr(constants, "ENDPOINT", address)
        for path, is_bounded in (("/me/api/resolve/x", False), ("/api/models/me/x", True)):
            reply = httpx2.Response(200, stream=httpx2.ByteStream(weights), request=httpx2.Request("GET", address + path))
            connection.bounded_client().event_hooks["response"][-1](reply)
            if is_bounded:
                with pytest.raises(HubUnreachable):
                    reply.read()
            else:
                assert reply.read() == weights
