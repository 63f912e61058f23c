"""A second attempt with a smaller plan, where a served model turns out to take less than was planned."""

import logging
from collections.abc import Callable, Generator
from typing import TypeVar

from longview.app.runtime.runtime import Runtime
from longview.model.errors import PromptTooLong

EventT = TypeVar("EventT")
ResultT = TypeVar("ResultT")

log = logging.getLogger(__name__)


def retry_with_smaller_context(runtime: Runtime, operation: Callable[[], ResultT]) -> ResultT:
    """Run an operation that plans and asks; run it once more if a prompt was too long, and say so.

    Raises:
        PromptTooLong: a prompt of the second attempt was too long, too.
        ContextTooShort: no smaller plan is possible.
    """
    try:
        return operation()
    except PromptTooLong as error:
        _prepare_retry(runtime, error)
    return operation()


def stream_with_smaller_context(
    runtime: Runtime, operation: Callable[[], Generator[EventT, None, ResultT]]
) -> Generator[EventT, None, ResultT]:
    """Run an operation that yields events; see `retry_with_smaller_context`."""
    try:
        return (yield from operation())
    except PromptTooLong as error:
        _prepare_retry(runtime, error)
    return (yield from operation())


def _prepare_retry(runtime: Runtime, error: PromptTooLong) -> None:
    """End the sessions whose frames were too many, and say why the operation starts again."""
    runtime.discard_sessions()
    log.warning("%s It starts again.", error.reason)
