"""An OpenAI-compatible server whose responses are scripted. It fails, or identifies itself as vLLM."""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import Any

import numpy as np

from longview.video.decoder import TimedFrames

VLLM = {"id": "m", "object": "model", "created": 1, "owned_by": "vllm", "max_model_len": 262144}
BLACK = TimedFrames(np.zeros((7, 64, 96, 3), np.uint8), np.array([0.0, 0.467, 0.967, 1.4, 2.25, 2.35, 3.0]))


class Script:
    """The next responses of the server, and the requests that it received."""

    def __init__(self) -> None:
        self.models: list[dict[str, Any]] = []
        self.responses: list[Callable[[BaseHTTPRequestHandler], None]] = []
        self.requests: list[dict[str, Any]] = []
        self.documents: dict[str, Callable[[BaseHTTPRequestHandler], None]] = {}
        """What the server publishes besides the list of models, by path."""
        self.headers: list[dict[str, str]] = []
        """The headers of the requests for documents."""
        self.trusts_requests = True
        """Whether it takes settings of its processor from requests."""
        self.url = ""


@dataclass(frozen=True)
class Delta:
    """A piece of another field than `content`."""

    field: str
    text: str


def streams(*pieces: str | Delta, is_complete: bool = True) -> Callable[[BaseHTTPRequestHandler], None]:
    """Stream these pieces, and then end the reply properly or close the connection."""

    def respond(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.end_headers()
        deltas: list[tuple[dict[str, str], str | None]] = [
            ({piece.field: piece.text} if isinstance(piece, Delta) else {"content": piece}, None) for piece in pieces
        ]
        if is_complete:
            deltas.append(({}, "stop"))
        for delta, finish_reason in deltas:
            choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
            chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
            handler.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        if is_complete:
            handler.wfile.write(b"data: [DONE]\n\n")

    return respond


def answers(status: int, document: Any, **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    """Send a whole document: bytes as they are, else as JSON."""

    def respond(handler: BaseHTTPRequestHandler) -> None:
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return respond


def rejects(status: int, **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    return answers(status, {"error": {"message": "not now", "type": "x", "code": status}}, **headers)


def streams_lines(*lines: bytes) -> Callable[[BaseHTTPRequestHandler], None]:
    """Stream these lines as they are, and close the connection."""

    def respond(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.end_headers()
        for line in lines:
            handler.wfile.write(line)

    return respond


class Silence:
    """A response that sends these pieces and then nothing more, until the client closes the connection."""

    def __init__(self, *pieces: str) -> None:
        self._pieces = pieces
        self.has_begun = threading.Event()
        self.is_closed = threading.Event()
        """Set when the client has closed the connection."""

    def __call__(self, handler: BaseHTTPRequestHandler) -> None:
        if self._pieces:
            streams(*self._pieces, is_complete=False)(handler)
            handler.wfile.flush()
        self.has_begun.set()
        if not handler.connection.recv(1):
            self.is_closed.set()
        handler.close_connection = True
