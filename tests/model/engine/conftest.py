"""Fixtures of the tests about engines."""

import json
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from longview.model.engine.checkpoints.checkpoints import DEMO
from longview.model.engine.remote.engine import RemoteEngine
from longview.model.engine.remote.server import Server
from longview.model.engine.sessions import SessionPool
from longview.video.decoding.decoder import Decoder, TimedFrames
from longview.video.probing.probe import VideoInfo, probe
from longview.video.synthetic import SHAPES, ShapesEvent, render
from tests.support.hf_reference import HFReference
from tests.support.scripted_server import VLLM, Script, answers, is_measurement, rejects, streams


@pytest.fixture
def script() -> Iterator[Script]:
    """The script of a running server."""
    script = Script()

    class Handler(BaseHTTPRequestHandler):
        script: Script

        def do_GET(self) -> None:
            self.script.headers.append(dict(self.headers))
            if self.path == "/v1/models" and self.path not in self.script.documents:
                answers(200, {"object": "list", "data": self.script.models})(self)
            else:
                self.script.documents.get(self.path, rejects(404))(self)

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if not request.get("stream"):
                # vLLM says so since 0.31, unless it was started with the option.
                sentence = (
                    "Per-request mm_processor_kwargs are disabled by default because they can change multimodal preprocessing"
                )
                refusal = {"error": {"message": sentence, "type": "BadRequestError", "code": 400}}
                refused_or_taken = answers(200 if script.trusts_requests else 400, {} if script.trusts_requests else refusal)
                (self.script.short_response or refused_or_taken)(self)
                return
            self.script.last_request = self.script.with_media(request)
            if self.script.last_request is None:
                answers(400, {"error": {"message": "Cache miss for video at index 0 but data is not provided.", "code": 400}})(
                    self
                )
                return
            for tokens, message in self.script.refused.items():
                if self.script.prompt_tokens > tokens:
                    answers(400, {"error": {"message": message, "code": 400}})(self)
                    return
            if is_measurement(request):
                self.script.measurements.append(request)
                streams(".")(self)
                return
            self.script.requests.append(request)
            response = self.script.responses.pop(0) if self.script.responses else self.script.fallback
            assert response is not None
            response(self)

        def log_message(self, *_: object) -> None:
            pass

    Handler.script = script
    http_server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    script.url = f"http://127.0.0.1:{http_server.server_address[1]}/v1"
    threading.Thread(target=http_server.serve_forever, daemon=True).start()
    yield script
    http_server.shutdown()
    http_server.server_close()


@pytest.fixture
def remote_pool(script: Script, decoder: Decoder) -> SessionPool:
    """A pool of the scripted server, which identifies itself as vLLM."""
    script.models = [VLLM]
    return SessionPool(RemoteEngine(Server(script.url, "m")), decoder)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[VideoInfo]:
    """Three short videos of the same length and size, so that their sessions take the same memory."""
    folder = tmp_path_factory.mktemp("videos")
    return [
        probe(render(folder / f"{shape}.mp4", [ShapesEvent(1, 5, "red", shape, "grows")], 6.0, fps=10)) for shape in SHAPES[:3]
    ]


@pytest.fixture(scope="module")
def plain() -> HFReference:
    return HFReference(DEMO)


@pytest.fixture
def decode_counts(decoder: Decoder, monkeypatch: pytest.MonkeyPatch) -> Counter[Path]:
    """The number of times that each file was decoded."""
    counts: Counter[Path] = Counter()
    frames_played_at = decoder.frames_played_at

    def counting(video: VideoInfo, times_s: Sequence[float], *size: int, **options: Any) -> Iterator[TimedFrames]:
        counts[video.path] += 1
        return frames_played_at(video, times_s, *size, **options)

    monkeypatch.setattr(decoder, "frames_played_at", counting)
    return counts
