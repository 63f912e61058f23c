"""Events that a task yields before its result.

A task with intermediate output is a generator: it yields `TextDelta` or `PartialResult`, and returns its result. Progress and
cancellation go through `longview.core.progress.Progress` instead.
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class TextDelta:
    """The next piece of a text."""

    text: str


@dataclass(frozen=True)
class PartialResult(Generic[T]):
    """A part of the result, before the whole result."""

    value: T


def run_to_end(task: Generator[object, None, T]) -> T:
    """Run a task to its end, ignore its events, and return its result."""
    while True:
        try:
            next(task)
        except StopIteration as end:
            result: T = end.value
            return result
