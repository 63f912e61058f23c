"""The border of Gradio's routes: which of them exist here, and which values their requests may have.

Gradio passes to a handler what a client sends, of whatever type, and reads any file of the machine that a client describes
(`{"path": …}`); a web address it downloads. So everything is checked before Gradio sees it: a document that is not plain JSON, or
a value that the page cannot send, is answered with a sentence.
"""

import json
import math
import re
from collections.abc import Callable, Iterator, Sequence, Set
from typing import Any

import gradio as gr
from fastapi import HTTPException
from gradio.data_classes import FileData
from pydantic import ValidationError
from starlette.datastructures import QueryParams
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from longview.model.tasks.question import MAX_QUESTION_CHARACTERS
from longview.ui.routes.common import PART_UPLOADS_ROUTE
from longview.ui.uploads import UPLOAD_ROUTE
from longview.video.probing.guard import MEDIA_SUFFIXES

MAX_BODY_BYTES = 1 << 20
"""Maximum size of a request that is not an upload; questions and paths take a few thousand bytes."""
MAX_DEPTH = 32
"""Maximum number of lists and objects inside of one another in a document; the page sends six."""
MAX_NAME_CHARS = 200
"""Maximum length of an id, or of the name of a session, in characters."""
MAX_FILE_NAME_BYTES = 255
"""Maximum length of the name of a file in usual file systems, in bytes; it ends in an error of the operating system."""
MAX_INTEGER = (1 << 53) - 1
"""Maximum absolute value of an integer: browsers have no larger ones."""
UNSTORABLE = re.compile("[\0\ud800-\udfff]")
"""Characters that are no text: NUL ends a text for the operating system, and half a surrogate pair has no UTF-8."""
API = "/gradio_api/"
CALL_ROUTE = re.compile(r"/gradio_api/(run|api|call)/([^/]+)/?")
STREAM_ROUTE = re.compile(r"/gradio_api/(queue/data|call/[^/]+/[^/]+)/?")
"""Routes that send the events of a session."""
JOIN_ROUTE = "/gradio_api/queue/join"
GRADIO_ROUTES = re.compile(
    r"/|/(watch|search)|/(config|theme\.css|manifest\.json|favicon\.ico|robots\.txt|pwa_icon|(assets|static|svelte)/.*)"
    r"|/gradio_api/(app_id|cancel|file=.*|heartbeat/[^/]+|info|login_check|queue/(data|join|status)|reset|startup-events|token"
    r"|upload_progress|user|(run|api|call)/[^/]+|call/(?!v2/)[^/]+/[^/]+)/?"
)
"""The routes of Gradio that the page and Gradio's client use. The others record, edit code, and forward requests."""
UNUSED_PARAMETERS = frozenset({"deep_link", "view"})
"""Parameters of Gradio's page for what this one does not have: stored states."""
UPLOAD_PREFIXES = (UPLOAD_ROUTE, PART_UPLOADS_ROUTE)
"""Beginnings of the addresses of own routes that take files, which limit what they read themselves."""
PAGE_NAMES = frozenset({"", "watch", "search"})
"""Values of the parameter by which Gradio names one of its pages."""


class CheckedInputs:
    """Refuses requests to Gradio that the page cannot send."""

    def __init__(
        self,
        app: ASGIApp,
        page: gr.Blocks,
        own_paths: Sequence[re.Pattern[str]],
        upload_paths: Sequence[re.Pattern[str]],
    ) -> None:
        """`own_paths`: the paths of routes that are not Gradio's; `upload_paths`: those of them that limit what they read."""
        self._app, self._page, self._own_paths, self._upload_paths = app, page, own_paths, upload_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 400 to 422. Of requests to other routes only the length is checked, but not of uploads."""
        is_own = scope["type"] == "http" and any(pattern.fullmatch(scope["path"]) for pattern in self._own_paths)
        if scope["type"] != "http" or is_own and self._is_upload_route(scope["path"]):
            await self._app(scope, receive, send)
            return
        try:
            body = await _body(receive) if scope["method"] not in ("GET", "HEAD", "OPTIONS") else None
            if not is_own:
                self._check(scope, body)
        except Refusal as refusal:
            # `detail` is read by Gradio's page and client where a request joins the queue, and `error` elsewhere.
            detail = refusal.validation if scope["path"] == JOIN_ROUTE and refusal.status == 422 else str(refusal)
            await JSONResponse({"detail": detail, "error": str(refusal)}, refusal.status)(scope, receive, send)
            return
        is_read = body is None

        async def replay() -> Message:
            nonlocal is_read
            if is_read:
                return await receive()
            is_read = True
            return {"type": "http.request", "body": body, "more_body": False}

        is_call = bool(CALL_ROUTE.fullmatch(scope["path"]))
        try:
            await self._app(scope, replay, _ExpectedErrors(send) if is_call else send)
        except (RuntimeError, KeyError, HTTPException):
            # Gradio ends the events of a session that it does not know with an exception, after it has told the client.
            if not STREAM_ROUTE.fullmatch(scope["path"]):
                raise

    def _is_upload_route(self, path: str) -> bool:
        return path.startswith(UPLOAD_PREFIXES) or any(pattern.fullmatch(path) for pattern in self._upload_paths)

    def _check(self, scope: Scope, body: bytes | None) -> None:
        """Check a request.

        Raises:
            Refusal
        """
        path = scope["path"]
        document = None
        if body is not None:
            document = _parse_json(body)
            if not all(_is_upload(item, self._page.upload_file_set) for item in _file_paths(document)):
                raise Refusal(403, "Only files that were uploaded to this server can be used.")
        is_path = path.isprintable() and all(len(name.encode()) <= MAX_FILE_NAME_BYTES for name in path.split("/"))
        if not is_path or not GRADIO_ROUTES.fullmatch(path):
            raise Refusal(404, "There is nothing at this address.")
        query = QueryParams(scope["query_string"])
        if any(query.get(name) for name in UNUSED_PARAMETERS) or query.get("page", "") not in PAGE_NAMES:
            raise Refusal(404, "There is no such page.")
        is_page = path.strip("/") in PAGE_NAMES
        if any(len(value) > MAX_NAME_CHARS or UNSTORABLE.search(value) for value in query.values()) and not is_page:
            raise Refusal(422, f"A parameter of the address is not a text of at most {MAX_NAME_CHARS} characters.")
        if body is None:
            return
        _check_document(document)
        if not isinstance(document, dict):
            raise Refusal(422, "The request is not a JSON object.")
        for name in ("session_hash", "event_id"):
            _check_text(name, document.get(name) or "", MAX_NAME_CHARS)
        call = CALL_ROUTE.fullmatch(path)
        if call or path == JOIN_ROUTE:
            self._check_call(document, call[2] if call else None, is_simple=call is not None and call[1] == "call")

    def _check_call(self, document: dict[str, Any], name: str | None, *, is_simple: bool) -> None:
        """Check the call of a function of the page, by its number or its name.

        Raises:
            Refusal
        """
        functions, number = self._page.fns, None if is_simple else document.get("fn_index")
        if number is None:
            function = next((item for item in functions.values() if name is not None and item.api_name == name), None)
        else:
            # `True` equals 1, but is not a number.
            function = functions.get(number) if type(number) is int else None
        if function is None or function.fn is None:
            raise Refusal(404, "There is no such endpoint.")
        if document.get("batched"):
            raise Refusal(422, "One request calls an endpoint once.")
        event = document.get("event_data")
        if function.collects_event_data and not _is_selection(event):
            raise Refusal(422, "The request has no event of a selected text.")
        data = document.get("data")
        inputs = [item for item in function.inputs if not (is_simple and item.skip_api)]
        if not isinstance(data, list) or len(data) not in {len(inputs), len(function.inputs)}:
            raise Refusal(422, f"“data” is not a list of {len(inputs)} values.")
        for item, value in zip(inputs if len(data) == len(inputs) else function.inputs, data, strict=True):
            _check_value(item, value)


class Refusal(Exception):
    """A request that is refused, with the sentence and the status of the response."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status

    @property
    def validation(self) -> list[dict[str, object]]:
        """The refusal in the form in which Gradio states invalid values of a function; its client reads no other."""
        return [{"__type__": "validate", "is_valid": False, "message": str(self), "parameter_name": "request"}]


class _ExpectedErrors:
    """Sends the response of an endpoint. Gradio takes an error for a fault of the server (500); an expected one is not."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Message | None = None
        self._body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] == 500:
            self._start = message
        elif self._start is None:
            await self._send(message)
        else:
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                self._start["status"] = 422 if _is_expected_error(self._body) else 500
                await self._send(self._start)
                message["body"] = self._body
                await self._send(message)


def _is_expected_error(body: bytes) -> bool:
    """Whether a response describes an error that a handler has raised for users; only that one states how long it is shown."""
    try:
        return "duration" in json.loads(body)
    except (ValueError, TypeError):
        return False


async def _body(receive: Receive) -> bytes:
    """Read the body of a request.

    Raises:
        Refusal: it is too large.
    """
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False) and message["type"] == "http.request"
        if len(body) > MAX_BODY_BYTES:
            raise Refusal(413, "The request is too large.")
    return body


def _parse_json(body: bytes) -> Any:
    """Parse a body as JSON. An empty one is null.

    Raises:
        Refusal: it is not JSON, or has numbers that JSON does not have.
    """
    try:
        return json.loads(body or b"null", parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, "The request is not valid JSON.") from error


def _no_number(text: str) -> None:
    raise ValueError(text)


def _file_paths(data: Any) -> Iterator[object]:
    """Yield the `path` of every file description in a JSON document.

    Raises:
        Refusal: it is too deep.
    """
    for value, _ in _values(data):
        if isinstance(value, dict) and "path" in value:
            yield value["path"]


def _values(data: Any) -> Iterator[tuple[Any, int]]:
    """Yield all values and keys of a document, each with its depth.

    Raises:
        Refusal: it is too deep.
    """
    waiting = [(data, 0)]
    while waiting:
        value, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise Refusal(400, f"The request has more than {MAX_DEPTH} lists and objects inside of one another.")
        yield value, depth
        if isinstance(value, dict):
            waiting += [(item, depth + 1) for pair in value.items() for item in pair]
        elif isinstance(value, list):
            waiting += [(item, depth + 1) for item in value]


def _is_upload(path: object, uploads: Set[str]) -> bool:
    # The exact text, because Gradio may take a path for a web address that the file system takes for another file.
    return isinstance(path, str) and path in uploads


def _check_document(document: Any) -> None:
    """Check all texts and numbers of a document.

    Raises:
        Refusal: one of them cannot be stored.
    """
    for value, _ in _values(document):
        if isinstance(value, str) and UNSTORABLE.search(value):
            raise Refusal(422, "A text of the request has a character that cannot be stored.")
        if isinstance(value, float) and not math.isfinite(value) or type(value) is int and abs(value) > MAX_INTEGER:
            raise Refusal(422, "A number of the request is too large.")


def _is_selection(event: Any) -> bool:
    """Whether an event is the selection of an example: its value is a row with one text."""
    if not isinstance(event, dict) or not {"index", "value"} <= event.keys():
        return False
    row = event["value"]
    return isinstance(row, list) and bool(row) and isinstance(row[0], str) and len(row[0]) <= MAX_QUESTION_CHARACTERS


def _check_value(component: Any, value: Any) -> None:
    """Check a value of a component of the page.

    Raises:
        Refusal: the page cannot send it.
    """
    for kind, check in CHECKS.items():
        if isinstance(component, kind):
            check(component, value)
            return
    raise Refusal(422, f"A value of the kind {type(component).__name__} cannot be sent.")


def _check_text(name: str, value: Any, max_chars: int) -> None:
    if not isinstance(value, str):
        raise Refusal(422, f"“{name}” is not text.")
    if len(value) > max_chars:
        raise Refusal(422, f"“{name}” has {len(value):,} characters; shorten it to {max_chars:,}.")


def _check_textbox(component: gr.Textbox, value: Any) -> None:
    _check_text(str(component.label or "A text"), value, component.max_length or MAX_QUESTION_CHARACTERS)


def _check_choice(component: gr.Dropdown, value: Any) -> None:
    _check_text(str(component.label or "A choice"), "" if value is None else value, MAX_NAME_CHARS)


def _check_checkbox(component: gr.Checkbox, value: Any) -> None:
    if not isinstance(value, bool):
        raise Refusal(422, f"“{component.label}” is neither true nor false.")


def _check_number(component: gr.Number, value: Any) -> None:  # noqa: ARG001
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise Refusal(422, "A number of the request is none.")


def _check_html(component: gr.HTML, value: Any) -> None:  # noqa: ARG001
    _check_text("HTML", "" if value is None else value, MAX_BODY_BYTES)


def _check_files(component: gr.File, value: Any) -> None:
    for item in value if isinstance(value, list) else [] if value is None else [value]:
        try:
            file = FileData.model_validate(item)
        except ValidationError as error:
            raise Refusal(422, f"“{component.label}” has a value that describes no uploaded file.") from error
        if not file.path.lower().endswith(MEDIA_SUFFIXES):
            raise Refusal(422, f"The name of a video or sound file ends with one of {' '.join(MEDIA_SUFFIXES)}.")


CHECKS: dict[type, Callable[[Any, Any], None]] = {
    gr.Textbox: _check_textbox,
    gr.Dropdown: _check_choice,
    gr.Checkbox: _check_checkbox,
    gr.Number: _check_number,
    gr.HTML: _check_html,
    gr.File: _check_files,
    # Its value is kept by the server, whatever the client sends.
    gr.State: lambda component, value: None,  # noqa: ARG005
}
"""The check of the values of each kind of component that is an input of a function."""
