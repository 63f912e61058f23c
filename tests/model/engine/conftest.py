"""Fixtures of the tests about engines."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from longview.model.engine.remote import RemoteEngine
from longview.model.engine.remote_generation import Server
from longview.model.engine.sessions import SessionPool
from longview.video.decoder import Decoder
from tests.model.engine.scripted_server import VLLM, Script


@pytest.fixture
def script() -> Iterator[Script]:
    """The script of a running server."""
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
            script.responses.pop(0)(self)

        def log_message(self, *_: object) -> None:
            pass

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
