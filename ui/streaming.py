"""The streams that run for a page, and its Stop button."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import gradio as gr

from longview.app.service import Progress

ANSWERING: dict[str, Any] = {"stop_btn": "Stop"}
IDLE: dict[str, Any] = {"stop_btn": False}
STOPPED_REPLY = "Stopped."
"""Text in place of an answer that the user has stopped."""


Kind = Literal["answer", "search"]


class ActiveStreams:
    """The answers and searches that run for all pages; each page is identified by its session."""

    def __init__(self) -> None:
        self._progresses: dict[tuple[str, Kind], list[Progress]] = {}

    @contextmanager
    def cancellable(self, request: gr.Request, kind: Kind = "answer") -> Iterator[Progress]:
        """Provide the progress that `cancel` of the same page cancels while a stream runs, or even before it begins."""
        progress = Progress()
        progresses = self._progresses.setdefault((request.session_hash or "", kind), [])
        progresses.append(progress)
        try:
            yield progress
        finally:
            progresses.remove(progress)

    def cancel(self, request: gr.Request, kind: Kind = "answer") -> None:
        """Cancel the answers or the searches of a page."""
        for progress in self._progresses.pop((request.session_hash or "", kind), []):
            progress.cancel()

    def cancel_all(self, request: gr.Request) -> None:
        """Cancel all streams of a page. Without it, an abandoned answer would decode its window to the end."""
        self.cancel(request, "answer")
        self.cancel(request, "search")

    def stop(self, request: gr.Request) -> dict[str, Any]:
        """Cancel the answers of a page, and hide its Stop button."""
        self.cancel(request)
        return gr.update(**IDLE)
