"""The answers that are in the making for each page, so that its Stop button frees the model at once."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gradio as gr

ANSWERING: dict[str, Any] = {"stop_btn": "Stop"}
IDLE: dict[str, Any] = {"stop_btn": False}


class Answers:
    """Of all pages; a page is known by its session."""

    def __init__(self) -> None:
        self._running: dict[str, list[threading.Event]] = {}

    @contextmanager
    def stoppable(self, request: gr.Request) -> Iterator[threading.Event]:
        """While an answer is made: what `stop` of the same page sets, also before there is anything to be stopped."""
        stopping = threading.Event()
        running = self._running.setdefault(request.session_hash or "", [])
        running.append(stopping)
        try:
            yield stopping
        finally:
            running.remove(stopping)

    def leave(self, request: gr.Request) -> None:
        """Stop all answers of a page. Leaving an answer alone would let the frames that it waits for be read to their end."""
        for stopping in self._running.pop(request.session_hash or "", []):
            stopping.set()

    def stop(self, request: gr.Request) -> dict[str, Any]:
        """The same for the page's button, which is not needed then."""
        self.leave(request)
        return gr.update(**IDLE)
