"""A model server whose responses are scripted. It fails, cuts prompts, or identifies itself as vLLM.

It counts the tokens of a prompt as Qwen3-VL does, in the chat completions of OpenAI and in Ollama's API.
"""

import base64
import io
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import Any

import numpy as np
from PIL import Image

from longview.model.engine.remote.frame_costs import MEASURED_QUESTION
from longview.video.decoding.decoder import TimedFrames

VLLM = {"id": "m", "object": "model", "created": 1, "owned_by": "vllm", "max_model_len": 262144}
BLACK = TimedFrames(np.zeros((7, 64, 96, 3), np.uint8), np.array([0.0, 0.467, 0.967, 1.4, 2.25, 2.35, 3.0]))


class Script:
    """The next responses of the server, and the requests that it received."""

    def __init__(self) -> None:
        self.models: list[dict[str, Any]] = []
        self.responses: list[Callable[[BaseHTTPRequestHandler], None]] = []
        self.fallback: Callable[[BaseHTTPRequestHandler], None] | None = None
        """The response when there is no next one."""
        self.requests: list[dict[str, Any]] = []
        self.documents: dict[str, Callable[[BaseHTTPRequestHandler], None]] = {}
        """What the server publishes besides the list of models, by path."""
        self.headers: list[dict[str, str]] = []
        """The headers of the requests for documents."""
        self.short_response: Callable[[BaseHTTPRequestHandler], None] | None = None
        """The response to the short request with which vLLM is asked for that; None: as `trusts_requests` says."""
        self.trusts_requests = True
        """Whether it takes settings of its processor from requests."""
        self.measurements: list[dict[str, Any]] = []
        """The requests with which the cost of a frame is measured."""
        self.last_request: dict[str, Any] | None = None
        """The last request, with the frames that it only names."""
        self.media: dict[str, dict[str, Any]] = {}
        """The parts of earlier requests that have a name, by their names, as vLLM keeps them."""
        self.min_image_tokens = 0
        """Images with fewer tokens are enlarged."""
        self.token_side_px = 32
        """Side of the square that is one token, in pixels; that of other families than Qwen3-VL is another."""
        self.shows_images = True
        """Whether the tokens of images are in the prompt."""
        self.cut_tokens: int | None = None
        """Length to which longer prompts are cut without a word."""
        self.refused: dict[int, str] = {}
        """Messages with which prompts of more than so many tokens are refused."""
        self.reports_tokens = True
        self.url = ""

    @property
    def prompt_tokens(self) -> int:
        """Number of tokens of the last request, as far as they are read."""
        request = self.last_request or {"messages": []}
        tokens = len(text_of(request)) // 2
        if self.shows_images:
            tokens = count_tokens(request, self.min_image_tokens, self.token_side_px)
        return tokens if self.cut_tokens is None else min(tokens, self.cut_tokens)

    def with_media(self, request: dict[str, Any]) -> dict[str, Any] | None:
        """Return a request with the frames that it only names; None if one of them is not here."""
        request = json.loads(json.dumps(request))
        for message in request["messages"]:
            for part in message["content"] if isinstance(message["content"], list) else []:
                name, kind = part.get("uuid"), part["type"]
                if not name:
                    continue
                if part[kind]:
                    self.media[name] = part[kind]
                elif name not in self.media:
                    return None
                part[kind] = self.media[name]
        return request


def frames_of(request: dict[str, Any]) -> list[list[str]]:
    """Return the frames of a request as base64, those of a video together."""
    frames = []
    for message in request["messages"]:
        frames += [[image] for image in message.get("images", [])]
        for part in message["content"] if isinstance(message["content"], list) else []:
            url = (part.get("video_url") or part.get("image_url") or {}).get("url")
            if url:
                frames.append(url.partition("base64,")[2].split(","))
    return frames


def text_of(request: dict[str, Any]) -> str:
    """Return the text of a request."""
    texts = []
    for message in request["messages"]:
        content = message["content"]
        texts += [content] if isinstance(content, str) else [part.get("text", "") for part in content]
    return "\n".join(texts)


def count_tokens(request: dict[str, Any], min_image_tokens: int = 0, side_px: int = 32) -> int:
    """Count the tokens of a prompt: a square of pixels for one, two frames of a video together."""
    tokens = len(text_of(request)) // 2
    for images in frames_of(request):
        width, height = Image.open(io.BytesIO(base64.b64decode(images[0]))).size
        is_video = len(images) > 1
        # The timestamps of a video are not in the text.
        unit_tokens = max(width * height // side_px**2, min_image_tokens) + (9 if is_video else 2)
        tokens += unit_tokens * (-(-len(images) // 2))
    return tokens


def is_measurement(request: dict[str, Any]) -> bool:
    """Whether a request measures the cost of a frame or of a timestamp."""
    return text_of(request).splitlines()[-1] == MEASURED_QUESTION


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
        if handler.path == "/api/chat":
            for piece in pieces:
                message = {piece.field: piece.text} if isinstance(piece, Delta) else {"content": piece}
                handler.wfile.write(json.dumps({"message": message, "done": False}).encode() + b"\n")
            if is_complete:
                tokens = handler.script.prompt_tokens  # type: ignore[attr-defined]
                end = {"message": {"content": ""}, "done": True, "done_reason": "stop", "prompt_eval_count": tokens}
                handler.wfile.write(json.dumps(end).encode() + b"\n")
            return
        deltas: list[tuple[dict[str, str], str | None]] = [
            ({piece.field: piece.text} if isinstance(piece, Delta) else {"content": piece}, None) for piece in pieces
        ]
        if is_complete:
            deltas.append(({}, "stop"))
        for delta, finish_reason in deltas:
            choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
            chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
            if finish_reason and handler.script.reports_tokens:  # type: ignore[attr-defined]
                chunk["usage"] = {"prompt_tokens": handler.script.prompt_tokens}  # type: ignore[attr-defined]
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
        try:
            if self._pieces:
                streams(*self._pieces, is_complete=False)(handler)
                handler.wfile.flush()
            self.has_begun.set()
            if not handler.connection.recv(1):
                self.is_closed.set()
        except ConnectionError:
            # A client that closes a connection with unread pieces resets it.
            self.is_closed.set()
        handler.close_connection = True
