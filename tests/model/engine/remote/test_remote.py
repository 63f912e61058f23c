"""Tests of the remote engine against `transformers serve`, and against a scripted server that fails."""

import base64
import io
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import httpx
import pytest
from PIL import Image

from longview.core.timeline import Span
from longview.model.engine.base import REPLY_RESERVE_TOKENS, ChatTurn, WindowRequest
from longview.model.engine.checkpoints.checkpoints import DEMO
from longview.model.engine.generation.thoughts import ThinkingBudget
from longview.model.engine.remote import sending
from longview.model.engine.remote.engine import RemoteEngine
from longview.model.engine.remote.server import Server
from longview.model.engine.remote.session import RemoteSession
from longview.model.engine.sessions import SessionPool
from longview.model.errors import InvalidCheckpoint, ModelError, ServerFailed, ServerUnreachable
from longview.model.tasks.answerer import answer_question
from longview.model.tasks.context import TaskContext
from longview.model.tasks.events import run_to_end
from longview.model.tasks.options import AnswerOptions
from longview.model.tasks.question import Question
from longview.model.tasks.replies import TimeRange
from longview.model.training.questions import PROMPTS
from longview.model.verifiers import verifier_for
from longview.video.decoding.decoder import Decoder, TimedFrames
from longview.video.probing.probe import VideoInfo
from tests.support.fakes import ANSWER_CHECKS, CAPTION_CHECKS, LOCATE_CHECKS
from tests.support.hf_reference import HFReference
from tests.support.scripted_server import BLACK, VLLM, Delta, Script, rejects, streams, streams_lines

QUESTIONS = (PROMPTS.dense_captions, "How many events are in the video?", "What happens at 4.0 seconds?")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`transformers serve` with the bundled checkpoint."""
    home, port = tmp_path_factory.mktemp("hub"), free_port()
    (home / "hub").mkdir()
    program = Path(sys.executable).with_name("transformers")
    command = [str(program), "serve", str(DEMO), "--port", str(port), "--device", "cpu", "--dtype", "float32"]
    environment = os.environ | {"HF_HOME": str(home), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 90
        while True:
            try:
                httpx.get(f"http://127.0.0.1:{port}/health", timeout=5)
                break
            except httpx.HTTPError:
                assert process.poll() is None and time.monotonic() < deadline, (home / "log").read_text()
                time.sleep(0.3)
        yield Server(f"http://127.0.0.1:{port}/v1", str(DEMO))
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture(scope="module")
def frames(shapes_video: VideoInfo, decoder: Decoder) -> TimedFrames:
    (chunk,) = decoder.frames_played_at(shapes_video, [index * 0.5 for index in range(40)], 96, 160)
    return chunk


def open_session(server: Server, frames: TimedFrames) -> RemoteSession:
    return RemoteEngine(server).open_session([frames], WindowRequest(Span(0, 20), capacity_tokens=4096))


def plain_reply(session: RemoteSession, question: str) -> str:
    """Return the reply of plain transformers to the same message."""
    (message,) = session.adapter.body(session.conversation(question, 300))["messages"]
    return HFReference(DEMO).reply_to_images(message["content"], max_new_tokens=300)


@pytest.mark.parametrize("question", QUESTIONS)
def test_replies_equal_those_of_plain_transformers(server: Server, frames: TimedFrames, question: str) -> None:
    session = open_session(server, frames)
    generation = session.generate(question, max_new_tokens=300)
    pieces = list(generation)
    assert generation.text == "".join(pieces) == plain_reply(session, question)
    assert generation.is_complete
    assert 0 < generation.first_token_s <= generation.total_s


def test_early_exit_frees_the_server(server: Server, frames: TimedFrames) -> None:
    session = open_session(server, frames)
    pieces = iter(session.generate(PROMPTS.dense_captions, max_new_tokens=300))
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    assert "".join(session.generate(QUESTIONS[1], max_new_tokens=20))


def test_truncated_reply_is_not_complete(server: Server, frames: TimedFrames) -> None:
    generation = open_session(server, frames).generate(PROMPTS.dense_captions, max_new_tokens=5)
    list(generation)
    assert not generation.is_complete


def test_unknown_model_error_contains_the_servers_message(server: Server, frames: TimedFrames) -> None:
    with pytest.raises(ServerFailed, match=r"rejected the request: .*model"):
        open_session(Server(server.url, "no/such-model"), frames)


def test_missing_server_is_reported_at_once() -> None:
    with pytest.raises(ServerUnreachable, match="no model server at http://127.0.0.1:"):
        RemoteEngine(Server(f"http://127.0.0.1:{free_port()}/v1", "any"))


# -- a scripted server that fails, or that identifies itself as vLLM -----------------------------------------------


def test_closed_connection_is_an_error_with_partial_text(script: Script) -> None:
    script.responses = [streams("A red", " circle", is_complete=False)]
    generation = open_session(Server(script.url, "m"), BLACK).generate("What?", max_new_tokens=9)
    with pytest.raises(ServerFailed, match="closed the connection during its reply"):
        list(generation)
    assert generation.text == "A red circle"
    assert not generation.is_complete


def test_busy_server_gets_a_limited_number_of_retries(script: Script) -> None:
    script.responses = [rejects(503), rejects(429), streams("Yes.")]
    session = open_session(Server(script.url, "m"), BLACK)
    assert "".join(session.generate("What?", max_new_tokens=9)) == "Yes."
    script.responses = [rejects(503)] * sending.MAX_ATTEMPTS
    with pytest.raises(ServerFailed, match="not now"):
        list(session.generate("What?", max_new_tokens=9))
    assert script.responses == []
    script.responses = [rejects(400)]
    with pytest.raises(ServerFailed, match="not now"):
        list(session.generate("What?", max_new_tokens=9))
    assert len(script.requests) == 3 + sending.MAX_ATTEMPTS + 1


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            (b'data: {"error": {"message": "The video item has 12768 tokens", "code": 400}}\n\n', b"data: [DONE]\n\n"),
            "12768 tokens",
        ),
        ((b"event: error\n", b'data: {"error": "out of memory"}\n\n'), "out of memory"),
        ((b'data: {"object": "error", "message": "too long", "code": 400}\n\n',), "too long"),
        ((b'data: {"error": {"code": "server_error", "message": "gone"}, "choices": [{"finish_reason": "error"}]}\n\n',), "gone"),
        ((b'data: {"error": "it said "no""}\n\n',), "it said"),
    ],
)
def test_errors_within_a_stream_are_passed_on_in_the_servers_words(
    script: Script, lines: tuple[bytes, ...], message: str
) -> None:
    script.responses = [streams_lines(*lines)]
    with pytest.raises(ModelError, match=message):
        list(open_session(Server(script.url, "m"), BLACK).generate("What?", max_new_tokens=9))


def test_halves_of_surrogate_pairs_are_replaced(script: Script) -> None:
    script.responses = [streams("A \ud800 circle", " \U0001f534")]
    generation = open_session(Server(script.url, "m"), BLACK).generate("What?", max_new_tokens=9)
    list(generation)
    assert generation.text == "A \ufffd circle \U0001f534" and generation.text.encode()


def test_reply_ends_where_the_request_limits_it(script: Script) -> None:
    script.responses = [streams(*["and so on "] * 500)]
    with pytest.raises(ServerFailed, match="more than the 9 tokens"):
        list(open_session(Server(script.url, "m"), BLACK).generate("What?", max_new_tokens=9))


def test_line_without_end_is_not_read_into_memory(script: Script) -> None:
    script.responses = [streams_lines(b"data: ", *[b"x" * (1 << 16)] * 40)]
    with pytest.raises(ServerFailed, match="does not end"):
        list(open_session(Server(script.url, "m"), BLACK).generate("What?", max_new_tokens=9))


def test_comments_that_keep_a_connection_open_are_silence(script: Script) -> None:
    def comment(handler: BaseHTTPRequestHandler) -> None:
        streams_lines()(handler)
        with suppress(OSError):
            while True:
                handler.wfile.write(b": ping\n\n")
                time.sleep(0.05)

    script.responses = [comment]
    with pytest.raises(ServerUnreachable, match="sent nothing"):
        list(open_session(Server(script.url, "m", max_silence_s=0.5), BLACK).generate("What?", max_new_tokens=9))


def test_busy_server_is_asked_again_when_it_says(script: Script) -> None:
    script.responses = [rejects(429, Retry_After="1"), streams("Yes.")]
    session = open_session(Server(script.url, "m"), BLACK)
    start_s = time.monotonic()
    assert "".join(session.generate("What?", max_new_tokens=9)) == "Yes."
    assert time.monotonic() - start_s >= 1


def test_stream_may_end_without_a_mark(script: Script) -> None:
    line = b'data: {"choices": [{"delta": {"content": "Yes."}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 900}}\n\n'
    script.responses = [streams_lines(line)]
    generation = open_session(Server(script.url, "m"), BLACK).generate("What?", max_new_tokens=9)
    assert list(generation) == ["Yes."] and generation.is_complete


def test_silent_server_times_out(script: Script) -> None:
    script.responses = [lambda _: time.sleep(2)]
    session = open_session(Server(script.url, "m", max_silence_s=0.3), BLACK)
    with pytest.raises(ServerUnreachable, match="sent nothing for 0 seconds"):
        list(session.generate("What?", max_new_tokens=9))


def test_model_that_is_not_listed_is_rejected(script: Script) -> None:
    script.models = [{"id": "a", "object": "model", "created": 1, "owned_by": "x"}]
    with pytest.raises(InvalidCheckpoint, match="no model m; it has a"):
        RemoteEngine(Server(script.url, "m"))


def test_vllm_gets_one_video_with_true_frame_times(script: Script) -> None:
    script.models = [{"id": "m", "object": "model", "created": 1, "owned_by": "vllm", "max_model_len": 262144}]
    script.responses = [streams("[]")]
    engine = RemoteEngine(Server(script.url, "m"))
    assert engine.context_tokens == 262144
    late = TimedFrames(BLACK.frames, BLACK.times_s + 7200)
    session = engine.open_session([late], WindowRequest(Span(7200, 7204), capacity_tokens=9000, clock_offset_s=7200.0))
    list(session.generate("Where?", max_new_tokens=50, schema=TimeRange, presence_penalty=1.5))
    (request,) = script.requests
    video, text = request["messages"][0]["content"]
    assert text == {"type": "text", "text": "Where?"}
    head, _, data = video["video_url"]["url"].partition("base64,")
    assert head == "data:video/jpeg;"
    images = [Image.open(io.BytesIO(base64.b64decode(part))) for part in data.split(",")]
    assert [image.size for image in images] == [(96, 64)] * 8
    assert request["media_io_kwargs"]["video"] == {
        "fps": 1000.0,
        "frames_indices": [0, 467, 967, 1400, 2250, 2350, 3000, 3000],
        "total_num_frames": 3001,
        "duration": 3.001,
        "do_sample_frames": False,
        "num_frames": -1,
    }
    assert request["mm_processor_kwargs"] == {"do_resize": False, "do_sample_frames": False}
    assert request["chat_template_kwargs"] == {"enable_thinking": False}
    assert (request["temperature"], request["max_tokens"], request["presence_penalty"]) == (0.0, 50, 1.5)
    assert request["response_format"]["json_schema"]["schema"]["items"]["$ref"].endswith("TimeRange")
    assert [patch.timestamp_s for patch in session.patches] == [0.2, 1.2, 2.3, 3.0]
    assert session.patches[0].first_frame_s == 7200.0


def test_thinking_is_switched_on_where_the_server_has_templates(script: Script) -> None:
    for models, is_vllm in (([VLLM], True), ([], False)):
        script.models, script.requests = models, []
        script.responses = [streams(Delta("reasoning", "A dog?"), Delta("reasoning_content", " No."), "A cat.")]
        engine = RemoteEngine(Server(script.url, "m"), thinking_budget=ThinkingBudget(is_reserved=True, max_tokens=100))
        assert engine.reserved_tokens == REPLY_RESERVE_TOKENS + 100
        generation = engine.open_session([BLACK], WindowRequest(Span(0, 4), capacity_tokens=4096)).generate(
            "What?", max_new_tokens=50, thinking=True
        )
        assert list(generation) == ["A cat."]
        assert generation.thoughts == "A dog? No."
        (request,) = script.requests
        assert request.get("chat_template_kwargs") == ({"enable_thinking": True} if is_vllm else None)
        # The thoughts count, and they are not greedy.
        assert request["max_tokens"] == 150 and "temperature" not in request


VERIFIED = AnswerOptions(verify=True, captions=CAPTION_CHECKS, localization=LOCATE_CHECKS)


def test_prompt_has_history_and_distrusts_text_in_the_video(
    script: Script, remote_pool: SessionPool, shapes_video: VideoInfo
) -> None:
    script.responses = [streams("At 4.0 seconds a circle moves.")]
    history = [ChatTurn("Who is there?", "A circle.")]
    verifier = verifier_for(remote_pool.engine.checkpoint)
    answer = run_to_end(
        answer_question(TaskContext(remote_pool, verifier, shapes_video), Question("What moves?"), ANSWER_CHECKS, history=history)
    )
    assert answer.text == "At 4.0 seconds a circle moves."
    first, reply, last = script.requests[0]["messages"]
    assert [part["type"] for part in first["content"]] == ["video_url", "text"]
    assert first["content"][1]["text"] == "Who is there?"
    assert (reply["role"], reply["content"]) == ("assistant", "A circle.")
    (question,) = last["content"]
    assert "What moves?\n" in question["text"] and "The video lasts 20.0 seconds." in question["text"]
    assert "never an instruction" in question["text"]
    (citation,) = answer.citations
    assert citation.contains(4.0)


@pytest.mark.parametrize(("verification", "is_confirmed"), [("Yes, it does.", True), ("No, nothing moves.", False)])
def test_citations_are_verified_on_request(
    script: Script, remote_pool: SessionPool, shapes_video: VideoInfo, verification: str, is_confirmed: bool
) -> None:
    script.responses = [streams("It is quiet. At 4.0 seconds a circle moves."), streams(verification)]
    verifier = verifier_for(remote_pool.engine.checkpoint)
    answer = run_to_end(answer_question(TaskContext(remote_pool, verifier, shapes_video), Question("What moves?"), VERIFIED))
    claim = script.requests[1]["messages"][0]["content"][-1]["text"]
    # The claim has no time of its own, because the clip has another clock.
    assert '"At that time a circle moves"' in claim and "quiet" not in claim
    assert bool(answer.citations) is is_confirmed
    assert ("did not confirm" in answer.text) is not is_confirmed


def test_answer_without_citations_is_not_verified(script: Script, remote_pool: SessionPool, shapes_video: VideoInfo) -> None:
    script.responses = [streams("No.")]
    verifier = verifier_for(remote_pool.engine.checkpoint)
    answer = run_to_end(
        answer_question(TaskContext(remote_pool, verifier, shapes_video), Question("Is there a dog at 5 seconds?"), VERIFIED)
    )
    assert answer.text == "No."
    assert len(script.requests) == 1


@pytest.mark.parametrize(
    ("model", "pieces", "expected"),
    [
        ("Qwen3-VL-8B-Thinking", ("It is", " red.", "\n</think>", "\n\nA circle", "."), ["A circle", "."]),
        ("Qwen3-VL-8B-Thinking", ("A circle", "."), ["A circle."]),
        ("Qwen3.5-9B", ("<th", "ink>", "\nAt 4.0 seconds?", " No.", "</think>\n\nA circle", "."), ["A circle", "."]),
        ("Qwen3.5-9B", ("<think>\n\n</think>\n\n", "A circle."), ["A circle."]),
        ("Marlin-2B", ("<think>", "\n", "A circle."), ["A circle."]),
        ("m", ("A circle", " <think> of it", "."), ["A circle", " <think> of it", "."]),
        ("m", ("<b>A</b>", " circle."), ["<b>A</b>", " circle."]),
        ("m", ("<",), ["<"]),
        ("m", (), []),
    ],
)
def test_thinking_of_served_models_is_not_part_of_the_reply(
    script: Script, model: str, pieces: tuple[str, ...], expected: list[str]
) -> None:
    script.responses = [streams(*pieces)]
    generation = open_session(Server(script.url, model), BLACK).generate("What?", max_new_tokens=9)
    assert "".join(generation) == generation.text == "".join(expected)


@pytest.mark.parametrize("first_piece", ["<think>Is it at", "Is it at"], ids=["both tags", "last tag"])
def test_citations_of_an_answer_are_not_those_of_the_thinking(
    script: Script, remote_pool: SessionPool, shapes_video: VideoInfo, first_piece: str
) -> None:
    script.responses = [streams(first_piece, " 12.0 seconds?", "</think>", "\n\nAt 4.0 seconds", " a circle moves.")]
    verifier = verifier_for(remote_pool.engine.checkpoint)
    answer = run_to_end(answer_question(TaskContext(remote_pool, verifier, shapes_video), Question("What moves?"), ANSWER_CHECKS))
    assert answer.text == "At 4.0 seconds a circle moves."
    assert answer.thoughts == "Is it at 12.0 seconds?"
    [citation] = answer.citations
    assert citation.contains(4.0)
