"""How often Gradio looks at its queue of requests: its own interval of a millisecond takes a twentieth of a core at all times."""

import asyncio
from typing import Any

import gradio as gr

QUICK_POLL_S, OPEN_POLL_S, IDLE_POLL_S = 0.01, 0.1, 0.25
"""Intervals at which the queue is looked at, in seconds: after a request, while a page is open, and otherwise."""
QUICK_S = 5.0
"""Time after a request, or after a page was last there, in which the queue is looked at quickly, in seconds."""
PROGRESS_POLL_S = 60.0
"""Interval at which Gradio looks for values of `gr.Progress`, in seconds. The page has none."""


class RequestPace:
    """Sets the interval at which the queue of a page is looked at. It is used in the thread of the server's event loop only."""

    def __init__(self, page: gr.Blocks) -> None:
        self._queue = page._queue
        self._queue.sleep_when_free, self._queue.progress_update_sleep_when_free = IDLE_POLL_S, PROGRESS_POLL_S
        self._request_s = self._page_s = -QUICK_S
        self._is_calming = False
        push: Any = self._queue.push

        async def push_request(**values: Any) -> Any:
            self._request_s = asyncio.get_running_loop().time()
            self._set()
            return await push(**values)

        self._queue.push = push_request  # type: ignore[method-assign, assignment]

    def note_page(self) -> None:
        """Note that a page is open, whose next request must not wait for long."""
        self._page_s = asyncio.get_running_loop().time()
        self._set()

    def _set(self) -> None:
        """Set the interval, and look again later whether it is still the right one."""
        loop = asyncio.get_running_loop()
        is_quick, is_open = (loop.time() - last_s < QUICK_S for last_s in (self._request_s, self._page_s))
        self._queue.sleep_when_free = QUICK_POLL_S if is_quick else OPEN_POLL_S if is_open else IDLE_POLL_S
        if (is_quick or is_open) and not self._is_calming:
            self._is_calming = True
            loop.call_later(QUICK_S / 2, self._calm)

    def _calm(self) -> None:
        self._is_calming = False
        self._set()
