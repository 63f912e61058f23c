"""A pool of decoding processes: it starts them for requests, and keeps idle ones for the next request."""

import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

from longview.video.decoding.worker_client import DecodingProcess
from longview.video.probing.guard import Limits


class ProcessPool:
    """Decoding processes with the same limits. Thread-safe.

    `close` ends the idle processes, and so does the exit of the program.
    """

    def __init__(self, limits: Limits, max_idle: int) -> None:
        """`limits`: the limits of each process. `max_idle`: maximum number of idle processes that are kept."""
        self._limits, self._max_idle = limits, max_idle
        self._idle: list[DecodingProcess] = []
        self._lock = threading.Lock()
        self._finalizer = weakref.finalize(self, _close_all, self._idle)

    def close(self) -> None:
        """End the idle processes; the next request starts new ones."""
        with self._lock:
            _close_all(self._idle)

    @contextmanager
    def process(self) -> Iterator[DecodingProcess]:
        """Acquire a process for the block, and release it at the end."""
        process = self.acquire()
        try:
            yield process
        finally:
            self.release(process)

    def acquire(self) -> DecodingProcess:
        """Return a process for exclusive use; the caller returns it with `release`."""
        with self._lock:
            while self._idle:
                process = self._idle.pop()
                if process.is_usable:
                    return process
                process.close()
        return DecodingProcess(self._limits)

    def release(self, process: DecodingProcess) -> None:
        """Keep a process for the next request if it is still usable; end it otherwise."""
        with self._lock:
            if process.is_usable and len(self._idle) < self._max_idle:
                self._idle.append(process)
            else:
                process.close()


def _close_all(processes: list[DecodingProcess]) -> None:
    while processes:
        processes.pop().close()
