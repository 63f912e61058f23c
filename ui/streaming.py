"""The searches that run for a page."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gradio as gr

from longview.core.progress import Progress

ANSWERING: dict[str, Any] = {"stop_btn": "Stop"}
IDLE: dict[str, Any] = {"stop_btn": False}
"""The box of a question while it is answered, and otherwise."""


class ActiveSearches:
    """The searches that run for all pages; each page is identified by its session."""

    def __init__(self) -> None:
        self._searches: dict[str, list[Progress]] = {}

    @contextmanager
    def cancellable(self, request: gr.Request) -> Iterator[Progress]:
        """Provide the progress that `cancel` of the same page cancels while the search runs, or even before it begins."""
        progress = Progress()
        searches = self._searches.setdefault(request.session_hash or "", [])
        searches.append(progress)
        try:
            yield progress
        finally:
            searches.remove(progress)

    def cancel(self, request: gr.Request) -> None:
        """Cancel the searches of a page. Without it, an abandoned one would verify its results to the end."""
        for progress in self._searches.pop(request.session_hash or "", []):
            progress.cancel()
