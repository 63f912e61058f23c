"""Pulls that a hub or Longview refuses, and what the refusal says."""

from pathlib import Path
from typing import Any

import pytest

from longview.model.errors import (
    AccessRefused,
    HubUnreachable,
    InvalidCheckpoint,
    ModelError,
    RepositoryNotFound,
)
from longview.model.hub.cache import repository_folder
from longview.model.hub.pulls import plan_pull
from tests.support.hub_server import Hub, Reply, describe
from tests.support.pull_samples import FILES, NAME, WEIGHTS, transfers

LOGIN = "`hf auth login` or HF_TOKEN"
GATED = {"X-Error-Code": "GatedRepo"}


@pytest.mark.parametrize(
    ("reply", "token", "error", "text"),
    [
        (Reply(401), None, AccessRefused, f"no repository {NAME}, or it is private.*log in with {LOGIN}"),
        (Reply(401), "hf_wrong", AccessRefused, f"does not accept the token.*renew the token with {LOGIN}"),
        (
            Reply(401, GATED),
            None,
            AccessRefused,
            f"gated.*visit http://[^ ]*/{NAME}, accept its conditions, log in with {LOGIN}",
        ),
        (Reply(403, GATED), "hf_known", AccessRefused, f"not been granted access yet: visit http://[^ ]*/{NAME}, accept"),
        (Reply(403), "hf_known", AccessRefused, f"refuses access to {NAME}: visit http://[^ ]*/{NAME}"),
        (Reply(404, {"X-Error-Code": "RepoNotFound"}), None, RepositoryNotFound, f"There is no repository {NAME}"),
        (Reply(404, {"X-Error-Code": "RevisionNotFound"}), None, RepositoryNotFound, f"{NAME} has no revision v9"),
        (Reply(429), None, HubUnreachable, r"too many requests.*\(429\).*what was transferred is kept"),
        (Reply(503), None, HubUnreachable, r"failed \(503\); try again later: what was transferred is kept"),
        (Reply(200, {}, b"<html>Log in to the network</html>"), None, HubUnreachable, "does not answer as a model hub"),
        (
            Reply(200, {}, b'{"id": "a/b", "sha": "../../x", "siblings": []}'),
            None,
            HubUnreachable,
            "does not answer as a model hub",
        ),
        (Reply(200, {}, b'{"id": "a/b", "siblings": 7}'), None, HubUnreachable, "does not answer as a model hub"),
    ],
)
def test_refusal_says_what_to_do(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, reply: Reply, token: str | None, error: type[ModelError], text: str
) -> None:
    hub.add(NAME, dict(FILES))
    hub.failures["/api/models/"] = reply
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(error, match=text) as raised:
        plan_pull(NAME, "v9")
    assert "\n" not in str(raised.value) and "hf_" not in str(raised.value)


@pytest.mark.parametrize("status", [401, 403])
def test_gated_files_of_a_public_list_are_explained(hub: Hub, status: int) -> None:
    hub.add(NAME, dict(FILES))
    hub.failures[f"/{NAME}/resolve/"] = Reply(status, GATED)
    with pytest.raises(AccessRefused, match=f"{NAME} is gated.*visit http://[^ ]*/{NAME}"):
        plan_pull(NAME)
    assert not repository_folder(NAME).exists()


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"config.json": FILES["config.json"], "pytorch_model.bin": b"pickle"}, "no safetensors weights"),
        (FILES | {"config.json": b'{"model_type": "llama"}'}, "no vision_config"),
        (FILES | {"config.json": b'{"model_type": "whisper"}'}, "CTranslate2's form, such as Systran/faster-whisper-small"),
        (FILES | {"config.json": b"[" * 100_000}, "no readable config.json"),
        ({"model.safetensors": WEIGHTS}, "no readable config.json"),
        ({"config.json": b'{"add_source_bos": false}', "model.bin": b"translation"}, "not a speech model"),
    ],
)
def test_model_that_cannot_be_loaded_is_refused_before_its_weights(hub: Hub, files: dict[str, bytes], reason: str) -> None:
    hub.add(NAME, files)
    with pytest.raises(InvalidCheckpoint, match=f"{NAME} was not downloaded: .*{reason}"):
        plan_pull(NAME)
    assert set(transfers(hub)) <= {"config.json"} and not repository_folder(NAME).exists()


def entry(path: str, **changes: Any) -> dict[str, Any]:
    return describe(path, b"{}") | changes


@pytest.mark.parametrize(
    "hostile",
    [
        [entry("../../../evil.json")],
        [entry("/etc/evil.json")],
        [entry("a/../../evil.safetensors")],
        [entry("C:\\evil.json")],
        [entry("evil\x1b[2J.json")],
        [entry("\u202egpj.json")],
        [entry("size.json", size=-1)],
        [entry("size.json", size=None)],
        [entry("size.json", size="7")],
        [entry("size.json", size=1 << 60)],
        [entry("hash.json", blobId="../../x")],
        [entry("hash.json", blobId=None)],
        [entry("lfs.json", lfs={"size": 2, "sha256": "00", "pointerSize": 1})],
        [entry("twice.json"), entry("twice.json")],
        [entry(f"{number}.png") for number in range(10_001)],
    ],
    ids=lambda hostile: repr(hostile[-1]["rfilename"]),
)
def test_implausible_list_of_files_is_refused(hub: Hub, tmp_path: Path, hostile: list[dict[str, Any]]) -> None:
    repository = hub.add(NAME, dict(FILES))
    hub.siblings = [*map(describe, repository.files, repository.files.values()), *hostile]
    with pytest.raises(InvalidCheckpoint, match=f"{NAME} was not downloaded") as raised:
        plan_pull(NAME)
    assert str(raised.value).isprintable()
    assert transfers(hub) == [] and [path.name for path in tmp_path.rglob("*evil*")] == []


@pytest.mark.parametrize("name", ["Qwen", "a/b/c", "../b", "a/..", "a--b/c", "a/b.git", "a/b c", "", "a/\u00e9"])
def test_name_that_no_repository_has_is_not_asked_for(hub: Hub, name: str) -> None:
    with pytest.raises(RepositoryNotFound, match="has the form"):
        plan_pull(name)
    with pytest.raises(RepositoryNotFound, match="No revision"):
        plan_pull(NAME, "../main")
    assert hub.requests == []
