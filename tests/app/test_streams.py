"""Streams: events in order, one result, errors, and cancellation from both sides."""

import threading
import weakref
from collections.abc import Generator
from typing import Any

import pytest

from longview.app.streams import STREAM_THREAD, Done, Stream
from longview.core.progress import Cancelled, Progress, ProgressReport
from longview.model.errors import InvalidQuestion
from longview.model.tasks.events import PartialResult, TextDelta


def wait_for_cancel(progress: Progress) -> None:
    """Wait like an operation that looks for a cancellation now and then."""
    threading.Event().wait(0.01)
    progress.raise_if_cancelled()


def test_events_come_in_order_with_the_result_last() -> None:
    def operation(progress: Progress) -> Generator[TextDelta | PartialResult[Any], None, int]:
        progress.child(0.0, 0.5, "Counting")
        yield TextDelta("one")
        progress.update(0.5)
        yield PartialResult(2)
        return 3

    stream: Stream[int] = Stream(operation)
    events = list(stream)
    assert [event for event in events if not isinstance(event, ProgressReport)] == [TextDelta("one"), PartialResult(2), Done(3)]
    assert {event.stage for event in events if isinstance(event, ProgressReport)} == {"Counting"}
    again: Stream[int] = Stream(operation)
    assert again.result() == 3
    # An operation without events is a plain function.
    assert Stream(lambda _: "done").result() == "done"


def test_error_of_the_operation_is_raised_by_the_iteration() -> None:
    def operation(_: Progress) -> Generator[TextDelta, None, None]:
        yield TextDelta("so far")
        raise InvalidQuestion("too long")

    stream: Stream[None] = Stream(operation)
    events = iter(stream)
    assert next(events) == TextDelta("so far")
    with pytest.raises(InvalidQuestion, match="too long"):
        next(events)


def test_leaving_the_iteration_cancels_the_operation_and_closes_it() -> None:
    closed = threading.Event()

    def operation(progress: Progress) -> Generator[TextDelta, None, None]:
        try:
            yield TextDelta("first")
            while True:
                wait_for_cancel(progress)
        finally:
            closed.set()

    stream: Stream[None] = Stream(operation)
    events = iter(stream)
    next(events)
    events.close()
    assert closed.is_set() and not stream.is_running
    assert all(thread.name != STREAM_THREAD for thread in threading.enumerate())


def test_cancel_from_another_thread_ends_the_iteration() -> None:
    def operation(progress: Progress) -> None:
        while True:
            wait_for_cancel(progress)

    stream = Stream(operation)
    threading.Timer(0.05, stream.cancel).start()
    with pytest.raises(Cancelled):
        stream.result()


def test_operation_is_never_further_ahead_than_one_event() -> None:
    produced = []

    def operation(_: Progress) -> Generator[PartialResult[int], None, None]:
        for number in range(100):
            produced.append(number)
            yield PartialResult(number)

    stream: Stream[None] = Stream(operation)
    events = iter(stream)
    next(events)
    threading.Event().wait(0.2)
    # One is read, one waits to be read, and one waits for its place.
    assert len(produced) <= 3
    events.close()


def test_cancel_reaches_a_reader_that_is_slower_than_the_operation() -> None:
    def operation(progress: Progress) -> Generator[PartialResult[int], None, None]:
        number = 0
        while True:
            progress.raise_if_cancelled()
            yield PartialResult(number := number + 1)

    stream: Stream[None] = Stream(operation)
    events = iter(stream)
    next(events)
    stream.cancel()
    # The queue is full, so the end of the operation finds no place in it.
    while stream.is_running:
        threading.Event().wait(0.05)
    with pytest.raises(Cancelled):
        list(events)


def test_unexpected_error_keeps_its_traceback_but_no_objects() -> None:
    class Session:
        pass

    references = []

    def failing_step(_: Progress) -> None:
        session = Session()
        references.append(weakref.ref(session))
        raise RuntimeError("a bug")

    stream: Stream[None] = Stream(failing_step)
    with pytest.raises(RuntimeError) as caught:
        stream.result()
    assert "failing_step" in [entry.name for entry in caught.traceback]
    assert references[0]() is None


def test_stream_of_a_part_leaves_the_whole_uncancelled() -> None:
    whole = Progress()
    part = whole.child(0.0, 0.5)
    assert Stream(lambda progress: progress.update(1.0), progress=part).result() is None
    assert not whole.is_cancelled and whole.report.fraction == 0.5
    whole.cancel()
    with pytest.raises(Cancelled):
        Stream(lambda progress: progress.update(1.0), progress=part).result()
