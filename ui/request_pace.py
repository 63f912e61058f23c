"""How often Gradio looks at its queue of requests: its own interval of a millisecond takes a twentieth of a core at all times."""

import asyncio
from typing import Any

import gradio as gr

QUICK_POLL_S, IDLE_POLL_S = 0.01, 0.25
"""Intervals at which the queue is looked at, in seconds: while a page is open and after a request, and otherwise."""
QUICK_S = 5.0
"""Time after a request, or after a page was last there, in which the queue is looked at quickly, in seconds."""
PROGRESS_POLL_S = 60.0
"""Interval at which Gradio looks for values of `gr.Progress`, in seconds. The page has none."""


class RequestPace:
    """Sets the interval at which the queue of a page is looked at. It is used in the thread of the server's event loop only."""

    def __init__(self, page: gr.Blocks) -> None:
        self._queue = page._queue
        self._queue.sleep_when_free, self._queue.progress_update_sleep_when_free = IDLE_POLL_S, PROGRESS_POLL_S
        self._last_s, self._is_quick = 0.0, False
        push: Any = self._queue.push

        async def push_request(**values: Any) -> Any:
            self.quicken()
            return await push(**values)

        self._queue.push = push_request  # type: ignore[method-assign, assignment]

    def quicken(self) -> None:
        """Look at the queue quickly for some seconds from now on."""
        loop = asyncio.get_running_loop()
        self._last_s = loop.time()
        if not self._is_quick:
            self._is_quick, self._queue.sleep_when_free = True, QUICK_POLL_S
            loop.call_later(QUICK_S, self._calm)

    def _calm(self) -> None:
        loop = asyncio.get_running_loop()
        rest_s = self._last_s + QUICK_S - loop.time()
        if rest_s > 0:
            loop.call_later(rest_s, self._calm)
        else:
            self._is_quick, self._queue.sleep_when_free = False, IDLE_POLL_S
