"""The streams that run for a page, and its Stop button."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import gradio as gr

from longview.core.progress import Progress

ANSWERING: dict[str, Any] = {"stop_btn": "Stop"}
IDLE: dict[str, Any] = {"stop_btn": False}
STOPPED_REPLY = "Stopped."
"""Text in place of an answer that the user has stopped."""


Kind = Literal["answer", "search"]


@dataclass(eq=False)
class ActiveStream:
    """An answer or a search that runs for a page."""

    progress: Progress = field(default_factory=Progress)
    is_discarded: bool = False
    """Whether the place of its output belongs to something newer, so that it must output nothing more."""


class ActiveStreams:
    """The answers and searches that run for all pages; each page is identified by its session."""

    def __init__(self) -> None:
        self._streams: dict[tuple[str, Kind], list[ActiveStream]] = {}
        self._replacements: Counter[str] = Counter()
        self._replaced = threading.Condition()

    @contextmanager
    def replacement(self, request: gr.Request) -> Iterator[None]:
        """Discard the answers of a page and replace its conversation; what is asked meanwhile begins after that.

        A question that is sent right after the conversation was cleared must neither be discarded nor read what was cleared.
        Enter it from a coroutine: Gradio runs these in the order in which the requests arrive, but not its threads.
        """
        session = request.session_hash or ""
        with self._replaced:
            self._replacements[session] += 1
        try:
            self.discard(request)
            yield
        finally:
            with self._replaced:
                self._replacements[session] -= 1
                if not self._replacements[session]:
                    del self._replacements[session]
                self._replaced.notify_all()

    @contextmanager
    def cancellable(self, request: gr.Request, kind: Kind = "answer") -> Iterator[ActiveStream]:
        """Provide the stream that `cancel` and `discard` of the same page end while it runs, or even before it begins."""
        session = request.session_hash or ""
        stream = ActiveStream()
        # In one step: a clearing that begins now either finds the stream, or is waited for.
        with self._replaced:
            if kind == "answer":
                self._replaced.wait_for(lambda: session not in self._replacements)
            streams = self._streams.setdefault((session, kind), [])
            streams.append(stream)
        try:
            yield stream
        finally:
            streams.remove(stream)

    def cancel(self, request: gr.Request, kind: Kind = "answer") -> None:
        """Cancel the answers or the searches of a page."""
        for stream in self._streams.pop((request.session_hash or "", kind), []):
            stream.progress.cancel()

    def discard(self, request: gr.Request, kind: Kind = "answer") -> None:
        """Cancel the answers or the searches of a page, which then output nothing more."""
        for stream in self._streams.get((request.session_hash or "", kind), []):
            stream.is_discarded = True
        self.cancel(request, kind)

    def cancel_all(self, request: gr.Request) -> None:
        """Cancel all streams of a page. Without it, an abandoned answer would decode its window to the end."""
        self.cancel(request, "answer")
        self.cancel(request, "search")

    def stop(self, request: gr.Request) -> dict[str, Any]:
        """Cancel the answers of a page, and hide its Stop button."""
        self.cancel(request)
        return gr.update(**IDLE)
