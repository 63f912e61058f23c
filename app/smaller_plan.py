"""A second attempt with a smaller plan, where a served model turns out to take less than was planned."""

import logging
from collections.abc import Callable, Generator
from typing import TypeVar

from longview.model.errors import PromptTooLong
from longview.video.errors import ImpossiblePlan

EventT = TypeVar("EventT")
ResultT = TypeVar("ResultT")

log = logging.getLogger(__name__)


def retry_with_smaller_plan(operation: Callable[[], ResultT]) -> ResultT:
    """Run an operation that plans and asks; run it once more if a prompt was too long, and say so.

    Raises:
        PromptTooLong: a prompt of the second attempt was too long, too, or no smaller plan is possible.
    """
    try:
        return operation()
    except PromptTooLong as error:
        first_error = error
    _announce(first_error)
    try:
        return operation()
    except ImpossiblePlan as error:
        raise PromptTooLong(f"{first_error} {error}") from error


def stream_with_smaller_plan(operation: Callable[[], Generator[EventT, None, ResultT]]) -> Generator[EventT, None, ResultT]:
    """Run an operation that yields events; see `retry_with_smaller_plan`."""
    try:
        return (yield from operation())
    except PromptTooLong as error:
        first_error = error
    _announce(first_error)
    try:
        return (yield from operation())
    except ImpossiblePlan as error:
        raise PromptTooLong(f"{first_error} {error}") from error


def _announce(error: PromptTooLong) -> None:
    log.warning("%s", str(error).removesuffix("Ask again.") + "It tries once more.")
