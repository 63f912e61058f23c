"""The answers that are in the making: what each says, how far it has come before that, and the Stop button of its page."""

import queue
import threading
import traceback
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import gradio as gr

from longview.app.answers import AnswerStream

ANSWERING: dict[str, Any] = {"stop_btn": "Stop"}
IDLE: dict[str, Any] = {"stop_btn": False}

POLL_S = 0.5
"""How often a page is told how far an answer has come that says nothing yet."""


def stream_events(asking: AnswerStream) -> Generator[str]:
    """The pieces of an answer; an empty one now and then while there is none, because it says nothing while a video is read.

    It is made beside, no further than it is taken from here; leaving the iteration stops it. What it raises comes from here.
    """
    pieces: queue.Queue[str | None] = queue.Queue(maxsize=1)
    failure: list[BaseException] = []
    left = threading.Event()

    def hand_over(piece: str | None) -> None:
        while not left.is_set():
            with suppress(queue.Full):
                pieces.put(piece, timeout=POLL_S)
                break

    def work() -> None:
        try:
            for piece in asking:
                hand_over(piece)
        except BaseException as error:
            # The frames that it came through hold the session, which may be gigabytes.
            traceback.clear_frames(error.__traceback__)
            failure.append(error.with_traceback(None))
        hand_over(None)

    threading.Thread(target=work, name="answer", daemon=True).start()
    try:
        while True:
            try:
                piece = pieces.get(timeout=POLL_S)
            except queue.Empty:
                piece = ""
            if piece is None:
                break
            yield piece
        if failure:
            raise failure.pop()
    finally:
        left.set()
        asking.cancel()


class ActiveStreams:
    """Of all pages; a page is known by its session."""

    def __init__(self) -> None:
        self._running: dict[str, list[threading.Event]] = {}

    @contextmanager
    def cancellable(self, request: gr.Request) -> Iterator[threading.Event]:
        """While an answer is made: what `stop` of the same page sets, also before there is anything to be stopped."""
        stopping = threading.Event()
        running = self._running.setdefault(request.session_hash or "", [])
        running.append(stopping)
        try:
            yield stopping
        finally:
            running.remove(stopping)

    def cancel_all(self, request: gr.Request) -> None:
        """Stop all answers of a page. Leaving an answer alone would let the frames that it waits for be read to their end."""
        for stopping in self._running.pop(request.session_hash or "", []):
            stopping.set()

    def stop(self, request: gr.Request) -> dict[str, Any]:
        """The same for the page's button, which is not needed then."""
        self.cancel_all(request)
        return gr.update(**IDLE)
