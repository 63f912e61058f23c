"""Expected errors as notes on the page."""

from collections.abc import Callable
from html import escape
from typing import TypeVar

import gradio as gr

from longview.app.errors import EXPECTED_ERRORS

T = TypeVar("T")


def toast(text: str) -> gr.Error:
    """A note on the page, and nothing in the server's log."""
    # Gradio shows the text as HTML, and a file's name may be in it.
    return gr.Error(escape(text), duration=10, print_exception=False)


def or_toast(work: Callable[[], T]) -> T:
    """What the work gives, or a note that says why it cannot be had."""
    try:
        return work()
    except EXPECTED_ERRORS as error:
        raise toast(str(error)) from error
