"""The answers that are in the making: what each says, how far it has come before that, and the Stop button of its page."""

import queue
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

import gradio as gr

from app.asking import Asking

ANSWERING: dict[str, Any] = {"stop_btn": "Stop"}
IDLE: dict[str, Any] = {"stop_btn": False}

EVERY_S = 0.5
"""How often a page is told how far an answer has come that says nothing yet."""


def followed(asking: Asking) -> Generator[str]:
    """The pieces of an answer; an empty one now and then while there is none, because it says nothing while a video is read.

    It is made beside; leaving the iteration stops it. What it raises comes from here.
    """
    news: queue.SimpleQueue[str | BaseException | None] = queue.SimpleQueue()

    def work() -> None:
        try:
            for piece in asking:
                news.put(piece)
            news.put(None)
        except BaseException as error:
            news.put(error)

    threading.Thread(target=work, daemon=True).start()
    try:
        while True:
            try:
                piece = news.get(timeout=EVERY_S)
            except queue.Empty:
                yield ""
                continue
            if piece is None:
                return
            if isinstance(piece, BaseException):
                raise piece
            yield piece
    finally:
        asking.stop()


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
