"""The streams that run for a page, and its Stop button."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gradio as gr

from longview.app.service import Progress

ANSWERING: dict[str, Any] = {"stop_btn": "Stop"}
IDLE: dict[str, Any] = {"stop_btn": False}


class ActiveStreams:
    """The answers and searches that run for all pages; a page is known by its session."""

    def __init__(self) -> None:
        self._progresses: dict[str, list[Progress]] = {}

    @contextmanager
    def cancellable(self, request: gr.Request) -> Iterator[Progress]:
        """Provide the progress that `cancel_all` of the same page cancels while a stream runs, or even before it begins."""
        progress = Progress()
        progresses = self._progresses.setdefault(request.session_hash or "", [])
        progresses.append(progress)
        try:
            yield progress
        finally:
            progresses.remove(progress)

    def cancel_all(self, request: gr.Request) -> None:
        """Cancel all streams of a page. Without it, an abandoned answer would decode its window to the end."""
        for progress in self._progresses.pop(request.session_hash or "", []):
            progress.cancel()

    def stop(self, request: gr.Request) -> dict[str, Any]:
        """Cancel all streams of a page, and hide its Stop button."""
        self.cancel_all(request)
        return gr.update(**IDLE)
