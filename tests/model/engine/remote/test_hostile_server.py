"""Tests of servers that leak keys, send what cannot be stored or does not end, or fail in the middle."""

import gzip
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from longview.core.timeline import Span
from longview.model.engine.base import WindowRequest
from longview.model.engine.remote.engine import RemoteEngine
from longview.model.engine.remote.server import Server
from longview.model.engine.remote.session import RemoteSession
from longview.model.errors import InvalidCheckpoint, ModelError, ServerFailed, ServerUnreachable
from tests.support.scripted_server import BLACK, VLLM, Script, answers, rejects, streams, streams_lines
from tests.support.shell import Shell

KEY = "sk-secret-1234"


def open_session(script: Script, key: str = "none", max_silence_s: float = 300.0) -> RemoteSession:
    server = Server(script.url, "m", key, max_silence_s=max_silence_s)
    return RemoteEngine(server).open_session([BLACK], WindowRequest(Span(0, 4), capacity_tokens=3000))


@pytest.mark.parametrize("padding", [0, 380, 390, 395])
def test_key_is_in_no_part_of_a_message_or_log(script: Script, padding: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    session = open_session(script, KEY)
    # The message is cut, and the first response is a reason to send the request once more.
    message = "response_format " + "x" * padding + f" Bearer {KEY}"
    for status in (400, 401, 500):
        script.responses = [answers(status, {"error": {"message": message}})] * 3
        with pytest.raises(ModelError) as failure:
            list(session.generate("Where?", max_new_tokens=9))
        assert "sk-secr" not in str(failure.value) and "sk-secr" not in caplog.text


def test_refused_key_of_a_reply_names_the_setting(script: Script) -> None:
    session = open_session(script, KEY)
    script.responses = [answers(401, {"error": {"message": "No auth credentials found"}})]
    with pytest.raises(ServerFailed, match="refuses the API key .*LONGVIEW_SERVER_KEY"):
        list(session.generate("Where?", max_new_tokens=9))


def test_what_cannot_be_stored_is_replaced_wherever_it_comes_from(script: Script) -> None:
    script.models = [VLLM | {"root": "/models/\ud800", "id": "m"}, {"id": "other \udfff"}]
    engine = RemoteEngine(Server(script.url, "m"))
    assert engine.checkpoint.identity.encode()
    with pytest.raises(InvalidCheckpoint) as failure:
        RemoteEngine(Server(script.url, "missing"))
    assert str(failure.value).encode()
    session = engine.open_session([BLACK], WindowRequest(Span(0, 4), capacity_tokens=3000))
    script.responses = [answers(400, {"error": {"message": "no \ud83d"}})]
    with pytest.raises(ServerFailed) as failed:
        list(session.generate("Where?", max_new_tokens=9))
    assert str(failed.value).encode()


def test_compressed_responses_are_refused_before_they_grow(script: Script) -> None:
    session = open_session(script)
    data = gzip.compress(b"data: " + b"x" * (64 << 20))
    script.responses = [answers(200, data, Content_Encoding="gzip")]
    with pytest.raises(ServerFailed, match="compressed"):
        list(session.generate("Where?", max_new_tokens=9))
    script.documents = {"/v1/models": answers(200, gzip.compress(b"{}"), Content_Encoding="gzip")}
    with pytest.raises(ServerFailed, match="compressed"):
        RemoteEngine(Server(script.url, "m"))


def test_pieces_without_content_are_silence(script: Script) -> None:
    def ping(handler: BaseHTTPRequestHandler) -> None:
        streams_lines()(handler)
        with suppress(OSError):
            while True:
                handler.wfile.write(b'data: {"choices": []}\n\n')
                time.sleep(0.05)

    script.responses = [ping]
    with pytest.raises(ServerUnreachable, match="sent nothing for"):
        list(open_session(script, max_silence_s=0.5).generate("What?", max_new_tokens=9))


def test_error_between_pieces_ends_the_reply_in_the_servers_words(script: Script) -> None:
    session = open_session(script)
    piece = b'data: {"choices": [{"delta": {"content": "A "}}]}\n\n'
    script.responses = [streams_lines(piece, b'data: {"error": {"message": "out of memory"}}\n\n')]
    with pytest.raises(ServerFailed, match="ended the reply: out of memory"):
        list(session.generate("What?", max_new_tokens=9))


def test_two_questions_at_once_send_again_what_the_server_dropped(script: Script) -> None:
    script.models, script.fallback = [VLLM], streams("Yes.")
    session = open_session(script)
    assert "".join(session.generate("1?", max_new_tokens=9)) == "Yes."
    script.media = {}
    replies: list[str] = []
    threads = [
        threading.Thread(target=lambda: replies.append("".join(session.generate("2?", max_new_tokens=9)))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert replies == ["Yes."] * 4


def test_server_whose_engine_is_dead_is_a_problem_of_doctor(script: Script, tmp_path: Path) -> None:
    script.models, script.short_response = [VLLM], rejects(500)
    document = Shell(tmp_path).call("doctor", "--server", script.url, "--model", "m", code=1)
    assert "rejected a short request: not now" in document["problems"][0]


def test_vllm_that_is_too_old_for_times_gets_images(script: Script) -> None:
    script.models = [VLLM]
    script.documents = {"/version": answers(200, {"version": "0.17.2"})}
    facts = RemoteEngine(Server(script.url, "m")).facts
    assert not facts.takes_video and "vLLM 0.17.2 does not take the times" in facts.warnings[0]


def test_model_of_ollama_may_be_named_without_its_tag(script: Script) -> None:
    script.models = [{"id": "m:latest"}]
    script.documents = {
        "/api/version": answers(200, {"version": "0.33.0"}),
        "/api/tags": answers(200, {"models": [{"name": "m:latest", "digest": "abc", "capabilities": ["vision"]}]}),
        "/api/ps": answers(200, {"models": [{"name": "m:latest", "context_length": 8192}]}),
    }
    assert RemoteEngine(Server(script.url, "m")).facts.software == "Ollama"
