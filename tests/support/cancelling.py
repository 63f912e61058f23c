"""Cancellation of a running operation from another thread."""

import threading
import time
from collections.abc import Callable

import pytest

from longview.core.progress import Cancelled, Progress

MAX_CANCEL_S = 2.0
"""Maximum time from the cancellation to the end of the operation, in seconds."""


def cancel_during(
    operation: Callable[[Progress], object], *, after_s: float = 0.5, when: Callable[[], bool] | None = None
) -> Progress:
    """Run an operation, and cancel it from another thread after a time, or as soon as `when` is true; check that it ends soon.

    Returns its progress.
    """
    progress = Progress()
    cancelled_s: list[float] = []

    def cancel() -> None:
        deadline_s = time.monotonic() + 60
        if when is None:
            time.sleep(after_s)
        while when is not None and not when() and time.monotonic() < deadline_s:
            time.sleep(0.01)
        cancelled_s.append(time.monotonic())
        progress.cancel()

    canceller = threading.Thread(target=cancel)
    canceller.start()
    try:
        with pytest.raises(Cancelled):
            operation(progress)
        ended_s = time.monotonic()
    finally:
        canceller.join()
    assert ended_s - cancelled_s[0] < MAX_CANCEL_S
    return progress
