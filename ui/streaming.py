"""Answers that are being generated: their pieces, their progress before the first piece, and the Stop button of a page."""

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
"""Interval at which a page gets the progress of an answer without text, in seconds."""


def stream_events(stream: AnswerStream) -> Generator[str]:
    """Yield the pieces of an answer; yield an empty piece every `POLL_S` while a video is read.

    The answer is generated in a thread, no further ahead than the next piece. Leaving the iteration cancels it. An exception of
    the thread is raised here.
    """
    pieces: queue.Queue[str | None] = queue.Queue(maxsize=1)
    errors: list[BaseException] = []
    is_abandoned = threading.Event()

    def hand_over(piece: str | None) -> None:
        while not is_abandoned.is_set():
            with suppress(queue.Full):
                pieces.put(piece, timeout=POLL_S)
                break

    def generate() -> None:
        try:
            for piece in stream:
                hand_over(piece)
        except BaseException as error:
            # The traceback's frames hold the session, which may be gigabytes.
            traceback.clear_frames(error.__traceback__)
            errors.append(error.with_traceback(None))
        hand_over(None)

    threading.Thread(target=generate, name="answer", daemon=True).start()
    try:
        while True:
            try:
                piece = pieces.get(timeout=POLL_S)
            except queue.Empty:
                piece = ""
            if piece is None:
                break
            yield piece
        if errors:
            raise errors.pop()
    finally:
        is_abandoned.set()
        stream.cancel()


class ActiveStreams:
    """The answers that are being generated for all pages; a page is known by its session."""

    def __init__(self) -> None:
        self._cancel_events: dict[str, list[threading.Event]] = {}

    @contextmanager
    def cancellable(self, request: gr.Request) -> Iterator[threading.Event]:
        """Provide the event that `cancel_all` of the same page sets while an answer is generated, or even before it begins."""
        cancel_event = threading.Event()
        events = self._cancel_events.setdefault(request.session_hash or "", [])
        events.append(cancel_event)
        try:
            yield cancel_event
        finally:
            events.remove(cancel_event)

    def cancel_all(self, request: gr.Request) -> None:
        """Cancel all answers of a page. Without it, an abandoned answer would decode its window to the end."""
        for cancel_event in self._cancel_events.pop(request.session_hash or "", []):
            cancel_event.set()

    def stop(self, request: gr.Request) -> dict[str, Any]:
        """Cancel all answers of a page, and hide its Stop button."""
        self.cancel_all(request)
        return gr.update(**IDLE)
