"""Tests of what each server software is sent, and of how its replies are read."""

import json
from pathlib import Path
from typing import Any

import pytest

from longview.core.timeline import Span
from longview.model.engine.base import ChatTurn, PrecedingText, WindowRequest
from longview.model.engine.remote.engine import RemoteEngine
from longview.model.engine.remote.server import Server
from longview.model.engine.remote.session import RemoteSession
from longview.model.errors import InvalidProfile, ServerFailed
from longview.model.tasks.replies import TimeRange, parse_events
from longview.model.verifiers import verifier_for
from longview.video.decoding.decoder import TimedFrames
from tests.support.scripted_server import BLACK, VLLM, Delta, Script, answers, frames_of, rejects, streams, streams_lines
from tests.support.shell import Shell

TAGS = {"models": [{"name": "m", "digest": "abc123", "capabilities": ["completion", "vision", "thinking"]}]}
OPENROUTER = {
    "id": "m",
    "canonical_slug": "qwen/m-2026",
    "context_length": 131_072,
    "architecture": {"input_modalities": ["text", "image"]},
    "supported_parameters": ["structured_outputs", "reasoning"],
    "pricing": {"prompt": "0.0000002", "completion": "0.000001"},
}


def open_session(script: Script, frames: TimedFrames = BLACK, **settings: Any) -> RemoteSession:
    return RemoteEngine(Server(script.url, "m", **settings)).open_session(
        [frames], WindowRequest(Span(0, 4), capacity_tokens=3000)
    )


def serve_ollama(script: Script, version: str = "0.33.0", context_tokens: int = 8192) -> None:
    script.documents = {
        "/api/version": answers(200, {"version": version}),
        "/api/tags": answers(200, TAGS),
        "/api/ps": answers(200, {"models": [{"name": "m", "context_length": context_tokens}]}),
    }


def test_ollama_gets_one_message_whose_text_marks_the_places_of_the_images(script: Script) -> None:
    serve_ollama(script)
    session = open_session(script)
    script.responses = [streams("A"), streams(Delta("thinking", "A dog?"), "A ", "cat.")]
    preceding = PrecedingText("said: [img]", [ChatTurn("Who?", "A cat.")])
    generation = session.generate("Where? [img]", max_new_tokens=50, schema=TimeRange, preceding=preceding)
    assert list(generation) == ["A ", "cat."] and generation.thoughts == "A dog?" and generation.is_complete
    proof, request = script.requests
    assert proof["messages"] == request["messages"] and proof["options"]["num_predict"] == 1
    first, answer, question = request["messages"]
    # A mark in the text of others would move the images.
    assert first["content"].count("[img]") == len(first["images"]) == 7
    assert first["content"].startswith("<0.0 seconds>[img]<0.5 seconds>[img]") and "(img)" in first["content"]
    assert (answer, question["content"]) == ({"role": "assistant", "content": "A cat."}, "Where? (img)")
    assert (request["truncate"], request["shift"], request["think"]) == (False, False, False)
    assert request["options"] == {"num_predict": 50, "temperature": 0.0}
    assert request["format"]["items"]["$ref"].endswith("TimeRange")
    assert session.prompt_tokens > session.min_tokens


def test_ollama_loads_the_model_with_the_context_that_the_user_sets(script: Script) -> None:
    serve_ollama(script)
    session = open_session(script, context_tokens=16_384)
    script.fallback = streams("Yes.")
    list(session.generate("Where?", max_new_tokens=50))
    # The same number in each request: another one would load the model again.
    assert {request["options"]["num_ctx"] for request in [*script.measurements, *script.requests]} == {16_384}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            b'{"error":"the request exceeds the available context size (4096 tokens), try increasing it"}\n',
            "at most 4,096 tokens",
        ),
        (b'{"error":"model runner has unexpectedly stopped"}\n', "unexpectedly stopped"),
        (b"not json\n", "not json"),
    ],
)
def test_ollama_states_errors_in_its_stream(script: Script, line: bytes, message: str) -> None:
    serve_ollama(script)
    session = open_session(script)
    script.responses = [streams_lines(line)]
    with pytest.raises(Exception, match=message):
        list(session.generate("Where?", max_new_tokens=50))


def test_ollama_that_miscounts_prompts_is_refused(script: Script) -> None:
    serve_ollama(script, version="0.30.0")
    with pytest.raises(ServerFailed, match="install a newer version"):
        open_session(script)


def test_openrouter_may_not_cut_prompts_and_has_a_price(script: Script, tmp_path: Path, shapes_path: Path) -> None:
    script.models, script.fallback = [OPENROUTER], streams("[]")
    list(open_session(script).generate("Where?", max_new_tokens=50))
    (request,) = script.requests
    assert request["plugins"] == [{"id": "context-compression", "enabled": False}]
    assert request["reasoning"] == {"enabled": False}
    shell, server = Shell(tmp_path), ("--server", script.url, "--model", "m")
    ask = shell.call("plan", *server, str(shapes_path))["frames"]["costs"]["ask"]
    assert ask["usd"] == pytest.approx(ask["prompt_tokens"] * 2e-7 + 100 * 1e-6) and ask["sent_bytes"] > 10_000
    # What it takes is compared with the plan.
    shell.call("ask", *server, str(shapes_path), "What colour is it?")
    asked = script.requests[-1]
    sent_bytes = sum(len(image) for images in frames_of(asked) for image in images)
    assert 0.1 * ask["sent_bytes"] < sent_bytes < 2 * ask["sent_bytes"]


def test_vllm_is_not_sent_again_what_it_keeps(script: Script) -> None:
    for trusts_requests in (True, False):
        script.models, script.trusts_requests, script.requests, script.media = [VLLM], trusts_requests, [], {}
        session = open_session(script)
        script.responses = [streams("One."), streams("Two."), streams("Three.")]
        assert "".join(session.generate("1?", max_new_tokens=9)) == "One."
        assert "".join(session.generate("2?", max_new_tokens=9)) == "Two."
        # The server has dropped it.
        script.media = {}
        assert "".join(session.generate("3?", max_new_tokens=9)) == "Three."
        first, second, third = (len(json.dumps(request)) for request in script.requests)
        assert second < 0.4 * first and third == first
        if trusts_requests:
            later = TimedFrames(BLACK.frames, BLACK.times_s + 0.1)
            names = [
                part["uuid"]
                for opened in (session, open_session(script, later))
                for part in opened.adapter.body(opened.conversation("?", 9))["messages"][0]["content"]
                if "uuid" in part
            ]
            # The name stands for the times, too, which are a part of what the server keeps.
            assert len(set(names)) == 2


def test_vllm_is_sent_its_frames_again_once_when_it_has_lost_them(script: Script) -> None:
    script.models, script.trusts_requests = [VLLM], False
    session = open_session(script)
    lost = streams_lines(b'data: {"error": {"message": "Internal server error", "code": 500}}\n\n')
    script.responses = [lost, streams("One."), lost, lost]
    assert "".join(session.generate("1?", max_new_tokens=9)) == "One."
    other = open_session(script, TimedFrames(BLACK.frames, BLACK.times_s + 0.1))
    with pytest.raises(ServerFailed, match="Internal server error"):
        list(other.generate("1?", max_new_tokens=9))
    assert script.responses == [] and all(len(frames_of(request)) == len(BLACK) for request in script.requests)


def test_json_schema_is_left_out_where_the_server_refuses_it(script: Script) -> None:
    session = open_session(script)
    refusal = answers(400, {"error": {"message": "response_format.type must be 'text'"}})
    script.responses = [refusal, streams("Sure: [", '{"start": 1.0, "end": 2.0}]'), streams("[]")]
    generation = session.generate("Where?", max_new_tokens=50, schema=TimeRange)
    list(generation)
    list(session.generate("Where?", max_new_tokens=50, schema=TimeRange))
    assert ["response_format" in request for request in script.requests] == [True, False, False]
    # The reply is parsed all the same, also that of a server that ignores the schema.
    assert [event.span.start_s for event in parse_events(generation.text, session).events] == pytest.approx([1.0], abs=0.1)


def test_rejection_that_nothing_can_be_changed_about_is_sent_once(script: Script) -> None:
    session = open_session(script)
    script.responses = [rejects(400)]
    with pytest.raises(ServerFailed, match="not now"):
        list(session.generate("Where?", max_new_tokens=50, schema=TimeRange))


@pytest.mark.parametrize(
    ("model", "profile", "expected"),
    [
        ("Qwen/Qwen3.5-9B-FP8", None, "qwen3_5"),
        ("qwen3-vl:8b", None, "qwen3_vl"),
        ("my-model", None, "qwen3_vl"),
        ("my-model", "qwen3.5", "qwen3_5"),
    ],
)
def test_profile_follows_the_name_of_the_model_unless_it_is_set(model: str, profile: str | None, expected: str) -> None:
    checkpoint = Server("http://h/v1", model, profile=profile).checkpoint
    assert expected in checkpoint.profile.architectures and checkpoint.name == model


def test_served_demo_checkpoint_is_asked_by_its_templates() -> None:
    checkpoint = Server("http://h/v1", "any", profile="demo").checkpoint
    templates = verifier_for(checkpoint).templates
    assert templates is not None and templates.match("how many events are in the video") is not None
    assert checkpoint.trained_range.max_visual_tokens < 10_000 and checkpoint.name == "any"
    with pytest.raises(InvalidProfile, match=r"no profile nothing; choose one of these: demo, .*qwen3-vl, qwen3\.5"):
        _ = Server("http://h/v1", "any", profile="nothing").checkpoint
