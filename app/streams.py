"""Streams: long operations as iterators of typed events, which command line, page and programs read in the same way.

The operation runs in a thread of its own. Only this module passes results between the two threads.
"""

import logging
import queue
import threading
import traceback
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from longview.core.progress import Cancelled, Progress, ProgressReport
from longview.model.tasks.events import PartialResult, TextDelta

log = logging.getLogger(__name__)

STREAM_THREAD = "longview-stream"
POLL_S = 0.1
"""Interval at which a stream polls the progress, in seconds."""
MAX_CANCEL_S = 1.5
"""Maximum time that a stream waits for the end of a cancelled operation, in seconds."""

T = TypeVar("T")


@dataclass(frozen=True)
class Done(Generic[T]):
    """The last event of an operation that succeeded."""

    result: T


StreamEvent = ProgressReport | TextDelta | PartialResult[Any] | Done[T]
"""What a stream yields: progress whenever it has changed, the events of the operation, and its result at the end."""
Operation = Callable[[Progress], Generator[TextDelta | PartialResult[Any], None, T] | T]
"""A function that carries out an operation: a generator of events that returns the result, or a function without events."""


class Stream(Generic[T]):
    """One operation that begins with the iteration. It can be iterated once.

    The operation is at most one event ahead. Leaving the iteration cancels it. The iteration raises the errors of the operation.
    """

    def __init__(self, operation: Operation[T], *, progress: Progress | None = None) -> None:
        """`progress`: by default a new one. With a child of another operation's progress, this stream is a part of that
        operation. A caller can cancel it even before the iteration."""
        self._operation = operation
        self.progress = progress or Progress()
        self._events: queue.Queue[TextDelta | PartialResult[Any] | Done[T] | BaseException] = queue.Queue(maxsize=1)
        self._thread = threading.Thread(target=self._run, name=STREAM_THREAD, daemon=True)

    def cancel(self) -> None:
        """Cancel from any thread: the iteration ends with `Cancelled` at the next chunk of frames or the next token."""
        self.progress.cancel()

    @property
    def is_running(self) -> bool:
        """Whether the operation has begun and not ended."""
        return self._thread.is_alive()

    def __iter__(self) -> Generator[StreamEvent[T], None, None]:
        self._thread.start()
        last_shown, has_ended = ("", 0.0), False
        try:
            while True:
                try:
                    event = self._events.get(timeout=POLL_S)
                except queue.Empty:
                    event = None
                    if not self._thread.is_alive() and self._events.empty():
                        # Its last event found no place before the operation was cancelled.
                        raise Cancelled from None
                report = self.progress.report
                if last_shown != (last_shown := (report.stage, report.fraction)):
                    yield report
                if isinstance(event, BaseException):
                    has_ended = True
                    raise event
                has_ended = isinstance(event, Done)
                if event is not None:
                    yield event
                if has_ended:
                    return
        finally:
            if not has_ended:
                self.cancel()
            self._thread.join(MAX_CANCEL_S)
            if self._thread.is_alive():
                log.info("the operation was cancelled and is still running")

    def result(self) -> T:
        """Run the operation to its end, ignore its events, and return its result."""
        for event in self:
            if isinstance(event, Done):
                result: T = event.result
        return result

    def _run(self) -> None:
        try:
            outcome = self._operation(self.progress)
            self._put(Done(self._forward(outcome) if isinstance(outcome, Generator) else outcome))
        except BaseException as error:
            # The frames of the tracebacks hold the session, which may be gigabytes.
            cause: BaseException | None = error
            while cause is not None:
                traceback.clear_frames(cause.__traceback__)
                cause = cause.__cause__ or cause.__context__
            self._put(error)

    def _forward(self, events: "Generator[TextDelta | PartialResult[Any], None, T]") -> T:
        """Put all events of an operation into the queue, and return its result."""
        try:
            while True:
                self._put(next(events))
                self.progress.raise_if_cancelled()
        except StopIteration as end:
            result: T = end.value
            return result
        finally:
            events.close()

    def _put(self, event: TextDelta | PartialResult[Any] | Done[T] | BaseException) -> None:
        """Put an event into the queue, unless the operation was cancelled meanwhile."""
        while True:
            with suppress(queue.Full):
                self._events.put(event, timeout=POLL_S)
                return
            if self.progress.is_cancelled:
                return
