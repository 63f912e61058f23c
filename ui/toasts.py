"""Expected errors as short notices on the page."""

import functools
import inspect
from collections.abc import Callable
from html import escape
from typing import Any, ParamSpec, TypeVar

import gradio as gr

from longview.app.errors import EXPECTED_ERRORS
from longview.app.jobs.text import printable

T = TypeVar("T")
P = ParamSpec("P")


def toast(text: str) -> gr.Error:
    """Return an error that the page shows and the server does not log."""
    return gr.Error(_display_text(text), duration=10, print_exception=False)


def reports_errors(handler: Callable[P, T]) -> Callable[P, T]:
    """Let a handler of the page, which may yield updates, show its expected errors."""
    if inspect.isgeneratorfunction(handler):

        @functools.wraps(handler)
        def yield_updates(*args: P.args, **kwargs: P.kwargs) -> Any:
            try:
                yield from handler(*args, **kwargs)
            except EXPECTED_ERRORS as error:
                raise toast(str(error)) from error

        return yield_updates

    if inspect.isasyncgenfunction(handler):

        @functools.wraps(handler)
        async def yield_async_updates(*args: P.args, **kwargs: P.kwargs) -> Any:
            try:
                async for update in handler(*args, **kwargs):
                    yield update
            except EXPECTED_ERRORS as error:
                raise toast(str(error)) from error

        return yield_async_updates

    if inspect.iscoroutinefunction(handler):

        @functools.wraps(handler)
        async def await_updates(*args: P.args, **kwargs: P.kwargs) -> Any:
            try:
                return await handler(*args, **kwargs)
            except EXPECTED_ERRORS as error:
                raise toast(str(error)) from error

        return await_updates  # type: ignore[return-value]

    @functools.wraps(handler)
    def return_updates(*args: P.args, **kwargs: P.kwargs) -> T:
        return or_toast(lambda: handler(*args, **kwargs))

    return return_updates


def or_toast(call: Callable[[], T]) -> T:
    """Return the result of a call, or show its expected error."""
    try:
        return call()
    except EXPECTED_ERRORS as error:
        raise toast(str(error)) from error


def show_warning(text: str) -> None:
    """Show a notice, and leave the components of the page as they are: an error would cover them."""
    gr.Warning(_display_text(text), duration=10)


def _display_text(text: str) -> str:
    """Return a text as Gradio shows it, which is as HTML. The name of a file may be in it, and may not be UTF-8."""
    return escape(printable(text))
