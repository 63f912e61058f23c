"""Fixtures of the tests about engines."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from longview.model.engine.remote.engine import RemoteEngine
from longview.model.engine.remote.server import Server
from longview.model.engine.sessions import SessionPool
from longview.video.decoding.decoder import Decoder
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
