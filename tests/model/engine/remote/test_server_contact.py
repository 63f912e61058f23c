"""Tests of the first contact with a server: what is found out about each kind, and what is said where it would not work."""

import json
from pathlib import Path
from typing import Any

import pytest

from longview.core.timeline import Span
from longview.model.engine.base import WindowRequest
from longview.model.engine.checkpoints.checkpoints import is_same_checkpoint
from longview.model.engine.remote.adapters.vllm import VIDEO_TOKENS
from longview.model.engine.remote.engine import RemoteEngine
from longview.model.engine.remote.facts import SAFE_CONTEXT_TOKENS
from longview.model.engine.remote.server import Server
from longview.model.errors import InvalidCheckpoint, ServerFailed, ServerUnreachable
from tests.support.scripted_server import BLACK, VLLM, Script, answers, rejects, streams
from tests.support.shell import Shell

LLAMA = {
    "id": "m",
    "owned_by": "llamacpp",
    "meta": {"n_ctx": 16384, "n_ctx_train": 262144, "n_params": 8, "size": 9, "ftype": "Q4"},
}
OPENROUTER = {
    "id": "m",
    "canonical_slug": "qwen/m-2026",
    "context_length": 262144,
    "top_provider": {"context_length": 131072},
    "architecture": {"input_modalities": ["text", "image"]},
    "supported_parameters": ["structured_outputs"],
}
TAGS = {"models": [{"name": "m", "digest": "abc123", "capabilities": ["completion", "vision"]}]}


def contact(script: Script, **settings: Any) -> RemoteEngine:
    return RemoteEngine(Server(script.url, "m", **settings))


def test_vllm_that_trusts_requests_gets_videos_within_its_encoder_cache(script: Script) -> None:
    script.models = [VLLM | {"root": "/models/m"}]
    script.documents = {"/version": answers(200, {"version": "0.32.0"})}
    engine = contact(script)
    assert (engine.facts.software, engine.facts.version, engine.facts.takes_video) == ("vLLM", "0.32.0", True)
    assert engine.context_tokens == 262144 and engine.checkpoint.identity == "m@m"
    assert engine.checkpoint.trained_range.max_visual_tokens == VIDEO_TOKENS
    assert contact(script, max_video_tokens=200_000).checkpoint.trained_range.max_visual_tokens == 200_000


def test_vllm_that_does_not_trust_requests_gets_images_and_says_how_to_change_it(script: Script) -> None:
    script.models, script.trusts_requests = [VLLM], False
    engine = contact(script)
    assert not engine.facts.takes_video and engine.checkpoint.trained_range.max_patches <= 999
    assert any("--trust-request-mm-kwargs" in warning for warning in engine.facts.warnings)
    script.responses = [streams("Yes.")]
    session = engine.open_session([BLACK], WindowRequest(Span(0, 4), capacity_tokens=4096))
    assert "".join(session.generate("What?", max_new_tokens=9)) == "Yes."
    (request,) = script.requests
    assert "mm_processor_kwargs" not in request and "media_io_kwargs" not in request
    assert [part["type"] for part in request["messages"][0]["content"]][:2] == ["text", "image_url"]


PUBLISHED: list[tuple[list[dict[str, Any]], dict[str, Any], tuple[str, int, str]]] = [
    (
        [LLAMA],
        {"/props": {"build_info": "b1", "model_path": "/m.gguf", "modalities": {"vision": True}}},
        ("llama.cpp", 16384, "m.gguf 9 8 Q4"),
    ),
    ([{"id": "m", "owned_by": "sglang", "max_model_len": 40960}], {"/model_info": {"model_path": "/m"}}, ("SGLang", 40960, "m")),
    ([OPENROUTER], {}, ("OpenRouter", 131072, "qwen/m-2026")),
    (
        [{"id": "m", "owned_by": "library"}],
        {
            "/api/version": {"version": "0.33.0"},
            "/api/tags": TAGS,
            "/api/ps": {"models": [{"name": "m", "context_length": 4096}]},
        },
        ("Ollama", 4096, "abc123"),
    ),
    (
        [{"id": "m"}],
        {"/api/v0/models": {"data": [{"id": "m", "type": "vlm", "state": "loaded", "loaded_context_length": 8000}]}},
        ("LM Studio", 8000, "served"),
    ),
    ([{"id": "m"}], {}, ("an OpenAI-compatible server", SAFE_CONTEXT_TOKENS, "served")),
    ([], {}, ("an OpenAI-compatible server", SAFE_CONTEXT_TOKENS, "served")),
]


@pytest.mark.parametrize(("models", "documents", "expected"), PUBLISHED)
def test_software_context_and_weights_are_read_from_what_the_server_publishes(
    script: Script, models: list[dict[str, Any]], documents: dict[str, Any], expected: tuple[str, int, str]
) -> None:
    script.models = models
    script.documents = {path: answers(200, document) for path, document in documents.items()}
    engine = contact(script)
    assert (engine.facts.software, engine.context_tokens, engine.checkpoint.fingerprint) == expected
    assert engine.checkpoint.name == "m" and contact(script, context_tokens=5000).context_tokens == 5000


def test_model_without_eyes_is_refused(script: Script) -> None:
    script.models = [LLAMA]
    script.documents = {"/props": answers(200, {"modalities": {"vision": False}})}
    with pytest.raises(ServerFailed, match="does not take images"):
        contact(script)


@pytest.mark.parametrize(
    "document",
    [b"<html>hello</html>", b"null", b'"text"', b"{", b"[]", b'{"data": null}', b'{"data": 7}', b"[" * 100_000, b"\xff\xfe"],
)
def test_odd_lists_of_models_are_named_and_not_raised(script: Script, document: bytes) -> None:
    script.documents = {"/v1/models": answers(200, document)}
    with pytest.raises(ServerFailed, match="is not the API of a model server"):
        contact(script)


def test_odd_entries_of_the_list_are_left_out(script: Script) -> None:
    script.models = [None, 7, {"id": 3}, {"id": "m", "max_model_len": "many", "owned_by": ["x"]}]  # type: ignore[list-item]
    assert contact(script).context_tokens == SAFE_CONTEXT_TOKENS


def test_key_is_sent_to_the_server_and_is_in_no_message(script: Script) -> None:
    key = "sk-secret-1234"
    script.documents = {"/v1/models": answers(401, {"error": {"message": f"Incorrect API key: {key}"}})}
    server = Server(script.url, "m", key)
    with pytest.raises(ServerFailed, match="refuses the API key .*LONGVIEW_SERVER_KEY") as refusal:
        RemoteEngine(server)
    assert script.headers[0]["Authorization"] == f"Bearer {key}"
    assert key not in str(refusal.value) and key not in repr(server)
    with pytest.raises(ServerFailed, match="needs an API key"):
        contact(script)


def test_missing_version_of_the_api_is_suggested(script: Script) -> None:
    with pytest.raises(ServerFailed, match=r"may be at http://127.0.0.1:\d+/v1"):
        RemoteEngine(Server(script.url.removesuffix("/v1"), "m"))
    with pytest.raises(ServerUnreachable, match="is not the address of a server"):
        Server("localhost:8000", "m")


def test_redirect_is_not_followed(script: Script) -> None:
    script.documents = {"/v1/models": answers(307, {}, Location="http://example.org/v1/models")}
    with pytest.raises(ServerFailed, match="redirects to http://example.org"):
        contact(script)
    script.documents = {}
    session = contact(script).open_session([BLACK], WindowRequest(Span(0, 4), capacity_tokens=4096))
    script.responses = [answers(307, {}, Location="http://example.org/")]
    with pytest.raises(ServerFailed, match="redirects to http://example.org"):
        list(session.generate("What?", max_new_tokens=9))


def test_endless_list_of_models_is_not_read_into_memory(script: Script) -> None:
    script.documents = {"/v1/models": answers(200, b"[" + b"1," * (17 << 20))}
    with pytest.raises(ServerFailed, match="does not end"):
        contact(script)


def test_other_model_is_named(script: Script) -> None:
    script.models = [{"id": f"model-{number:02}"} for number in range(40)]
    with pytest.raises(InvalidCheckpoint, match=r"no model m; it has model-00, .* and 28 more"):
        contact(script)


def test_captions_stay_up_to_date_at_another_address_and_not_with_another_model() -> None:
    old = "Qwen/Qwen3-VL-8B at http://10.0.0.1:8000/v1@served"
    assert is_same_checkpoint(old, "Qwen/Qwen3-VL-8B@served") and is_same_checkpoint(old, "Qwen/Qwen3-VL-8B@/models/8b")
    assert not is_same_checkpoint(old, "Qwen/Qwen3-VL-4B@served")
    assert not is_same_checkpoint("m@sha256:1", "m@sha256:2") and is_same_checkpoint("m@sha256:1", "m@sha256:1")


def test_doctor_contacts_the_server_and_says_what_it_takes(script: Script, tmp_path: Path) -> None:
    script.models, script.trusts_requests = [VLLM], False
    shell, options = Shell(tmp_path), ("--server", script.url, "--model", "m")
    document = shell.call("doctor", *options)
    assert document["server_software"] == "vLLM" and document["server_context_tokens"] == 262144
    assert "images" in document["server_input"] and "--trust-request-mm-kwargs" in document["server_notes"][0]
    assert document["problems"] == []
    script.documents = {"/v1/models": rejects(500)}
    assert "is not the API of a model server" in shell.call("doctor", *options, code=1)["problems"][0]
    dead = ("--server", "http://127.0.0.1:9/v1", "--model", "m")
    assert "no model server at http://127.0.0.1:9/v1" in shell.call("doctor", *dead, code=1)["problems"][0]


def test_key_is_read_from_a_file_and_is_in_no_document(script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_text("sk-secret-1234\n")
    monkeypatch.setenv("LONGVIEW_SERVER_KEY_FILE", str(tmp_path / "key"))
    document = Shell(tmp_path / "library").call("doctor", "--server", script.url, "--model", "m")
    assert script.headers[0]["Authorization"] == "Bearer sk-secret-1234"
    assert "sk-secret" not in json.dumps(document)
    monkeypatch.setenv("LONGVIEW_SERVER_KEY_FILE", str(tmp_path / "missing"))
    document = Shell(tmp_path / "library").call("doctor", "--server", script.url, "--model", "m", code=1)
    assert any("cannot be read" in problem for problem in document["problems"])
