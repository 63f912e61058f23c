"""Odd requests to every route and endpoint of the web application, which are found from the application itself."""

import asyncio
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote

import gradio as gr
from fastapi import FastAPI
from starlette.routing import Mount, Route

RESPONSE_TIMEOUT_S = 60.0
STREAM_S = 0.2
"""Time for which a stream of events is read, in seconds."""
OWN_HEADERS = {"Host": "127.0.0.1", "X-Longview-Client": "1"}


def nested(depth: int) -> Any:
    """Return a list in a list in a list."""
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


ODD_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 7, 1.5, -0.0, 1e308, -1e308, math.nan, math.inf, -math.inf),
    *(2**31, 2**63, -(2**63) - 1, 10**400, -(10**400)),
    *("", " ", "\n", "a", "0", "-1", "1e999", "nan", "Infinity", "null", "true", "٣", "+5", "1_000", "9" * 400, "-" + "9" * 400),
    *("\0", "a\0b", "\ud800", "a\udcffb", "\ufeff", "\u202e", "🎬" * 50, "ä" * 300, "a" * 5000, "word " * 3000),
    *(
        "~",
        "~nouser",
        "~nouser/a.mp4",
        "/nowhere/",
        "..",
        "../../etc/passwd",
        "/dev/zero",
        "a" * 300 + ".mp4",
        "/tmp/" + "a/" * 3000,
    ),
    *("http://127.0.0.1/a.mp4", "<script>alert(1)</script>", "' OR 1=1 --", "%00%ff", "*", "a\r\nX-Evil: 1"),
    *([], {}, [None], [[]], {"a": 1}, [1, 2, 3], ["a"], {"value": None}, {"path": None}, {"__type__": "update"}, nested(60)),
)
"""Values that no page sends: of the wrong type, too long, too large, or with characters that cannot be stored."""


@dataclass(frozen=True)
class OddRequest:
    """One request."""

    method: str
    path: str
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, path: str, document: Any) -> "OddRequest":
        """Return the request that posts a JSON document."""
        return cls("POST", path, json.dumps(document).encode())

    def __str__(self) -> str:
        return f"{self.method} {self.path[:120]} {(self.body or b'')[:200]!r}"


@dataclass(frozen=True)
class Reply:
    """The status of a response, its headers and the beginning of its body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


async def send(app: Any, request: OddRequest) -> Reply:
    """Send a request to an application without a network. A response that is a stream of events is left after its first part."""
    path, _, query = request.path.partition("?")
    headers = {"Content-Type": "application/json", **OWN_HEADERS, **request.headers}
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": request.method, "scheme": "http",
        "path": unquoted(path), "raw_path": path.encode(), "query_string": query.encode(), "root_path": "",
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80), "state": {},
    }  # fmt: skip
    status, parts = 0, list[bytes]()
    reply_headers: dict[str, str] = {}
    is_sent, has_ended = False, asyncio.Event()

    async def receive() -> dict[str, Any]:
        nonlocal is_sent
        if not is_sent:
            is_sent = True
            return {"type": "http.request", "body": request.body or b"", "more_body": False}
        await has_ended.wait()
        return {"type": "http.disconnect"}

    async def collect(message: Any) -> None:
        nonlocal status, reply_headers
        if message["type"] == "http.response.start":
            status = message["status"]
            reply_headers = {}
            for name, value in message["headers"]:
                # A header that is there twice counts as one with both values.
                before = reply_headers.get(name.decode().lower())
                reply_headers[name.decode().lower()] = ", ".join(filter(None, (before, value.decode("latin-1"))))
            if reply_headers.get("content-type", "").startswith("text/event-stream"):
                asyncio.get_running_loop().call_later(STREAM_S, has_ended.set)
        else:
            parts.append(message.get("body", b""))

    running = asyncio.create_task(app(scope, receive, collect))
    ended = asyncio.create_task(has_ended.wait())
    await asyncio.wait({running, ended}, timeout=RESPONSE_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
    has_ended.set()
    if not running.done():
        await asyncio.wait({running}, timeout=1.0)
    ended.cancel()
    if not running.done():
        assert status, f"{request} was not answered"
        running.cancel()
        await asyncio.wait({running})
    elif running.exception() is not None:
        # The server logs it as an error of the application.
        return Reply(599, reply_headers, repr(running.exception()).encode())
    return Reply(status, reply_headers, b"".join(parts)[:4000])


def unquoted(path: str) -> str:
    """Return a path as a server passes it to an application."""
    return unquote(path)


def gradio_app(web: FastAPI) -> Any:
    """Return Gradio's application inside of ours."""
    return next(route.app for route in web.routes if isinstance(route, Mount) and hasattr(route.app, "get_blocks"))


def routes(web: Any) -> Iterator[Any]:
    """Yield every route of an application, of those that are mounted in it, and of its routers."""
    for route in web.routes:
        if isinstance(route, Mount):
            yield from routes(route.app) if hasattr(route.app, "routes") else ()
        elif hasattr(route, "effective_candidates"):
            yield from route.effective_candidates()
        elif isinstance(route, Route):
            yield route


def parameters(route: Any) -> tuple[list[str], list[str]]:
    """Return the names of a route's parameters in its path and in the query."""
    dependant = getattr(route, "dependant", None)
    in_query = [item.alias for item in dependant.query_params] if dependant else []
    return re.findall(r"{(\w+)", route.path_format), in_query


def in_url(value: Any) -> str:
    """Return a value as a part of a path or a query."""
    text = value if isinstance(value, str) else json.dumps(value)
    return quote(text.encode("utf-8", "surrogatepass"), safe="")


def route_requests(web: FastAPI, valid: Mapping[str, Any]) -> Iterator[OddRequest]:
    """Yield requests to every route: with each odd value as each of its parameters, and as its body.

    `valid`: values of parameters for the requests in which another one is odd.
    """
    for route in routes(web):
        in_path, in_query = parameters(route)
        for method in sorted(route.methods or ()):
            has_body = method not in ("GET", "HEAD", "OPTIONS")
            for value in ODD_VALUES:
                for odd in (*in_path, *in_query) or ("",):
                    texts = {name: in_url(value if name == odd else valid.get(name, "x")) for name in (*in_path, *in_query)}
                    path = route.path_format.format_map(texts)
                    query = "&".join(f"{name}={texts[name]}" for name in in_query if name == odd or name in valid)
                    body = json.dumps(valid.get("body", {})).encode() if has_body else None
                    yield OddRequest(method, f"{path}?{query}" if query else path, body)
                if has_body:
                    texts = {name: in_url(valid.get(name, "x")) for name in in_path}
                    for document in (value, {"data": value}, {"data": [value], "session_hash": value, "fn_index": value}):
                        yield OddRequest(method, route.path_format.format_map(texts), json.dumps(document).encode())


def endpoint_requests(page: gr.Blocks, valid: Mapping[str, Any]) -> Iterator[OddRequest]:
    """Yield requests to every function of the page, with each odd value as each of its inputs and as its event.

    `valid`: for each label or kind of component a value that the page may send.
    """
    for number, function in page.fns.items():
        inputs = [valid.get(getattr(item, "label", None) or "", valid.get(item.get_block_name())) for item in function.inputs]
        name = function.api_name if isinstance(function.api_name, str) else ""
        for value in ODD_VALUES:
            documents: list[dict[str, Any]] = [{"data": [*inputs[:k], value, *inputs[k + 1 :]]} for k in range(len(inputs))]
            documents.append({"data": value})
            if function.collects_event_data:
                documents.append({"data": inputs, "event_data": value})
            for document in documents:
                document = document | {"fn_index": number, "session_hash": f"odd-{number}", "trigger_id": None}
                body = json.dumps(document).encode()
                yield OddRequest("POST", "/gradio_api/queue/join" if function.queue else "/gradio_api/run/predict", body)
            if name:
                body = json.dumps({"data": [value] * max(1, len(inputs)), "session_hash": f"odd-{number}"}).encode()
                yield OddRequest("POST", f"/gradio_api/call/{name}", body)
                yield OddRequest("POST", f"/gradio_api/run/{name}", body)
