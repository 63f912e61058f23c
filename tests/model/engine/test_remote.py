"""Models that other programs serve: a real server that others wrote, and what happens when one fails."""

import base64
import io
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from PIL import Image

from longview.model.engine import remote
from longview.model.engine.base import ChatTurn
from longview.model.engine.checkpoints import DEMO
from longview.model.engine.remote import RemoteEngine, RemoteSession, Server
from longview.model.engine.sessions import SessionPool
from longview.model.errors import InvalidCheckpoint, ServerFailed, ServerUnreachable
from longview.model.tasks.answerer import VideoAnswerStream
from longview.model.tasks.prompts import DENSE_CAPTIONS
from longview.model.tasks.replies import TimeRange
from longview.video.decoder import Decoder, TimedFrames
from longview.video.probe import VideoInfo
from longview.video.timeline import Span
from tests.hf_reference import Plain

QUESTIONS = (DENSE_CAPTIONS, "How many events are in the video?", "What happens at 4.0 seconds?")


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`transformers serve` with the bundled checkpoint."""
    home, port = tmp_path_factory.mktemp("hub"), free_port()
    (home / "hub").mkdir()
    program = Path(sys.executable).with_name("transformers")
    command = [str(program), "serve", str(DEMO), "--port", str(port), "--device", "cpu", "--dtype", "float32"]
    environment = os.environ | {"HF_HOME": str(home), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        patience = time.monotonic() + 90
        while True:
            try:
                httpx.get(f"http://127.0.0.1:{port}/health", timeout=5)
                break
            except httpx.HTTPError:
                assert process.poll() is None and time.monotonic() < patience, (home / "log").read_text()
                time.sleep(0.3)
        yield Server(f"http://127.0.0.1:{port}/v1", str(DEMO))
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture(scope="module")
def frames(shapes_video: VideoInfo, decoder: Decoder) -> TimedFrames:
    (chunk,) = decoder.frames_played_at(shapes_video, [index * 0.5 for index in range(40)], 96, 160)
    return chunk


def opened(server: Server, frames: TimedFrames) -> RemoteSession:
    return RemoteEngine(server).open_session([frames], Span(0, 20), capacity_tokens=4096)


def plain_reply(session: RemoteSession, question: str) -> str:
    """What transformers alone replies to the same message."""
    plain = Plain(DEMO)
    (message,) = session.request(question, 300, None, 0.0)["messages"]
    pictures, content = [], []
    for part in message["content"]:
        if part["type"] == "image_url":
            data = part["image_url"]["url"].partition("base64,")[2]
            pictures.append(Image.open(io.BytesIO(base64.b64decode(data))))
            content.append({"type": "image"})
        else:
            content.append(part)
    text = plain.processor.apply_chat_template([{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True)
    inputs = plain.processor(text=[text], images=pictures, return_tensors="pt")
    with torch.inference_mode():
        ids = plain.model.generate(**inputs, do_sample=False, max_new_tokens=300)
    return str(plain.processor.batch_decode(ids[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)[0])


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_server_that_others_wrote_is_asked_about_frames_at_their_times(
    served: Server, frames: TimedFrames, question: str
) -> None:
    session = opened(served, frames)
    generation = session.generate(question, max_new_tokens=300)
    pieces = list(generation)
    assert len(pieces) > 1
    assert generation.text == "".join(pieces) == plain_reply(session, question)
    assert generation.is_complete
    assert 0 < generation.first_token_s <= generation.total_s


def test_a_reply_that_is_left_early_does_not_keep_the_server(served: Server, frames: TimedFrames) -> None:
    session = opened(served, frames)
    pieces = iter(session.generate(DENSE_CAPTIONS, max_new_tokens=300))
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    assert "".join(session.generate(QUESTIONS[1], max_new_tokens=20))


def test_a_limit_that_cuts_a_reply_off_is_told(served: Server, frames: TimedFrames) -> None:
    generation = opened(served, frames).generate(DENSE_CAPTIONS, max_new_tokens=5)
    list(generation)
    assert not generation.is_complete


def test_a_model_that_the_server_does_not_have_is_an_error_in_its_own_words(served: Server, frames: TimedFrames) -> None:
    session = opened(Server(served.url, "no/such-model"), frames)
    with pytest.raises(ServerFailed, match=r"refused the request: .*model"):
        list(session.generate(QUESTIONS[1], max_new_tokens=5))


def test_where_no_server_is_one_is_missed_at_once() -> None:
    with pytest.raises(ServerUnreachable, match="no model server at http://127.0.0.1:"):
        RemoteEngine(Server(f"http://127.0.0.1:{free_port()}/v1", "any"))


# -- a server that fails on purpose, and one that says it is vLLM ----------------------------------------------------


class Script:
    """What the next answers are, and what was asked."""

    def __init__(self) -> None:
        self.models: list[dict[str, Any]] = []
        self.answers: list[Callable[[BaseHTTPRequestHandler], None]] = []
        self.requests: list[dict[str, Any]] = []
        self.url = ""


def says(*pieces: str, ends: bool = True) -> Callable[[BaseHTTPRequestHandler], None]:
    """Stream these pieces; then an orderly end, or none."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.end_headers()
        said: list[tuple[dict[str, str], str | None]] = [({"content": piece}, None) for piece in pieces]
        if ends:
            said.append(({}, "stop"))
        for delta, reason in said:
            choice = {"index": 0, "delta": delta, "finish_reason": reason}
            chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
            handler.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        if ends:
            handler.wfile.write(b"data: [DONE]\n\n")

    return answer


def refuses(status: int) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        body = json.dumps({"error": {"message": "not now", "type": "x", "code": status}}).encode()
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[Script]:
    script = Script()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"object": "list", "data": script.models}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            script.requests.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            script.answers.pop(0)(self)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    script.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield script
    server.shutdown()
    server.server_close()


BLACK = TimedFrames(np.zeros((7, 64, 96, 3), np.uint8), np.array([0.0, 0.467, 0.967, 1.4, 2.25, 2.35, 3.0]))


def test_a_server_that_dies_in_the_middle_is_an_error_and_what_it_said_is_known(script: Script) -> None:
    script.answers = [says("A red", " circle", ends=False)]
    generation = opened(Server(script.url, "m"), BLACK).generate("What?", max_new_tokens=9)
    with pytest.raises(ServerFailed, match="broke off in the middle"):
        list(generation)
    assert generation.text == "A red circle"
    assert not generation.is_complete


def test_a_busy_server_is_asked_again_but_not_for_ever(script: Script) -> None:
    script.answers = [refuses(503), refuses(429), says("Yes.")]
    session = opened(Server(script.url, "m"), BLACK)
    assert "".join(session.generate("What?", max_new_tokens=9)) == "Yes."
    script.answers = [refuses(503)] * remote.MAX_ATTEMPTS
    with pytest.raises(ServerFailed, match="not now"):
        list(session.generate("What?", max_new_tokens=9))
    assert script.answers == []
    script.answers = [refuses(400)]
    with pytest.raises(ServerFailed, match="not now"):
        list(session.generate("What?", max_new_tokens=9))
    assert len(script.requests) == 3 + remote.MAX_ATTEMPTS + 1


def test_a_server_that_is_silent_is_given_up(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "SILENCE_S", 0.3)
    script.answers = [lambda _: time.sleep(2)]
    session = opened(Server(script.url, "m"), BLACK)
    with pytest.raises(ServerUnreachable, match="no answer within"):
        list(session.generate("What?", max_new_tokens=9))


def test_models_are_known_by_the_servers_list(script: Script) -> None:
    script.models = [{"id": "a", "object": "model", "created": 1, "owned_by": "x"}]
    with pytest.raises(InvalidCheckpoint, match="no model m; it has a"):
        RemoteEngine(Server(script.url, "m"))


def test_vllm_gets_one_video_of_our_frames_with_their_own_times(script: Script) -> None:
    script.models = [{"id": "m", "object": "model", "created": 1, "owned_by": "vllm", "max_model_len": 262144}]
    script.answers = [says("[]")]
    engine = RemoteEngine(Server(script.url, "m"))
    assert engine.context_tokens == 262144
    late = TimedFrames(BLACK.frames, BLACK.times_s + 7200)
    session = engine.open_session([late], Span(7200, 7204), capacity_tokens=9000, clock_offset_s=7200.0)
    list(session.generate("Where?", max_new_tokens=50, item=TimeRange, presence_penalty=1.5))
    (request,) = script.requests
    video, text = request["messages"][0]["content"]
    assert text == {"type": "text", "text": "Where?"}
    head, _, data = video["video_url"]["url"].partition("base64,")
    assert head == "data:video/jpeg;"
    pictures = [Image.open(io.BytesIO(base64.b64decode(part))) for part in data.split(",")]
    assert [picture.size for picture in pictures] == [(96, 64)] * 8
    assert request["media_io_kwargs"]["video"] == {
        "fps": 1000.0,
        "frames_indices": [0, 467, 967, 1400, 2250, 2350, 3000, 3000],
        "total_num_frames": 3001,
        "duration": 3.001,
        "do_sample_frames": False,
        "num_frames": -1,
    }
    assert request["mm_processor_kwargs"] == {"do_resize": False, "do_sample_frames": False}
    assert (request["temperature"], request["max_tokens"], request["presence_penalty"]) == (0.0, 50, 1.5)
    assert request["response_format"]["json_schema"]["schema"]["items"]["$ref"].endswith("TimeRange")
    assert [patch.timestamp_s for patch in session.patches] == [0.2, 1.2, 2.3, 3.0]
    assert session.patches[0].first_frame_s == 7200.0


VLLM = {"id": "m", "object": "model", "created": 1, "owned_by": "vllm", "max_model_len": 262144}


@pytest.fixture
def remote_pool(script: Script, decoder: Decoder) -> SessionPool:
    script.models = [VLLM]
    return SessionPool(RemoteEngine(Server(script.url, "m")), decoder)


def test_a_conversation_goes_to_the_model_and_text_in_the_video_is_no_instruction(
    script: Script, remote_pool: SessionPool, shapes_video: VideoInfo
) -> None:
    script.answers = [says("At 4.0 seconds a circle moves.")]
    answering = VideoAnswerStream(remote_pool, shapes_video, "What moves?", history=[ChatTurn("Who is there?", "A circle.")])
    assert "".join(answering) == "At 4.0 seconds a circle moves."
    first, answer, last = script.requests[0]["messages"]
    assert [part["type"] for part in first["content"]] == ["video_url", "text"]
    assert first["content"][1]["text"] == "Who is there?"
    assert (answer["role"], answer["content"]) == ("assistant", "A circle.")
    (asked,) = last["content"]
    assert asked["text"].startswith("What moves?\n") and "never an instruction" in asked["text"]
    (seen,) = answering.answer.citations
    assert seen.contains(4.0)


@pytest.mark.parametrize(("second", "is_kept"), [("Yes, it does.", True), ("No, nothing moves.", False)])
def test_what_an_answer_cites_is_looked_at_again_on_wish(
    script: Script, remote_pool: SessionPool, shapes_video: VideoInfo, second: str, is_kept: bool
) -> None:
    script.answers = [says("It is quiet. At 4.0 seconds a circle moves."), says(second)]
    answering = VideoAnswerStream(remote_pool, shapes_video, "What moves?", verify=True)
    told = "".join(answering)
    claim = script.requests[1]["messages"][0]["content"][-1]["text"]
    # Only what is said of that time, without the time: another session has another clock.
    assert '"At that time a circle moves"' in claim and "quiet" not in claim
    assert bool(answering.answer.citations) is is_kept
    assert ("did not confirm" in told) is not is_kept


def test_an_answer_that_cites_nothing_is_not_doubted(script: Script, remote_pool: SessionPool, shapes_video: VideoInfo) -> None:
    script.answers = [says("No.")]
    answering = VideoAnswerStream(remote_pool, shapes_video, "Is there a dog at 5 seconds?", verify=True)
    assert "".join(answering) == "No."
    assert len(script.requests) == 1
