"""Expected errors as short notices on the page."""

from collections.abc import Callable
from html import escape
from typing import TypeVar

import gradio as gr

from longview.app.errors import EXPECTED_ERRORS

T = TypeVar("T")


def toast(text: str) -> gr.Error:
    """Return an error that the page shows and the server does not log."""
    # Gradio shows the text as HTML, and a file's name may be in it.
    return gr.Error(escape(text), duration=10, print_exception=False)


def or_toast(call: Callable[[], T]) -> T:
    """Return the result of a call, or show its expected error."""
    try:
        return call()
    except EXPECTED_ERRORS as error:
        raise toast(str(error)) from error


def show_warning(text: str) -> None:
    """Show a notice, and leave the components of the page as they are: an error would cover them."""
    gr.Warning(escape(text), duration=10)


def show_info(text: str) -> None:
    """Show a notice that something was done."""
    gr.Info(escape(text), duration=10)
