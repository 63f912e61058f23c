"""The answers that are in the making for each page, so that its Stop button frees the model at once."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import gradio as gr

from app.service import Asking

ANSWERING: dict[str, Any] = {"stop_btn": "Stop"}
IDLE: dict[str, Any] = {"stop_btn": False}


class Answers:
    """Of all pages; a page is known by its session."""

    def __init__(self) -> None:
        self._running: dict[str, list[Asking]] = {}

    @contextmanager
    def asked(self, request: gr.Request, ask: Callable[[], Asking]) -> Iterator[Asking]:
        """An answer that `stop` of the same page ends."""
        asking = ask()
        running = self._running.setdefault(request.session_hash or "", [])
        running.append(asking)
        try:
            yield asking
        finally:
            running.remove(asking)

    def leave(self, request: gr.Request) -> None:
        """Stop all answers of a page. Leaving an answer alone would let the frames that it waits for be read to their end."""
        for asking in self._running.pop(request.session_hash or "", []):
            asking.stop()

    def stop(self, request: gr.Request) -> dict[str, Any]:
        """The same for the page's button, which is not needed then."""
        self.leave(request)
        return gr.update(**IDLE)
