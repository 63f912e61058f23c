"""What commands print: results on stdout, progress on stderr, whatever these are connected to."""

import io
import json
import logging
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from longview.app.errors import OutputFailed
from longview.core.progress import ProgressReport
from longview.core.time_format import format_time

if TYPE_CHECKING:
    from tqdm import tqdm

BOLD, NOT_BOLD = "\x1b[1m", "\x1b[22m"
"""Control sequences of terminals."""
_CONTROL = re.compile("[\0-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f\u202d\u202e]|\r(?!\n)|\x1b(?!\\[(?:1|22)m)")
"""A character that a terminal could interpret or that reverses text, but for line ends, tabs and the sequences above."""


def without_controls(text: str) -> str:
    """Replace what a terminal could interpret, but for line ends, tabs and bold text."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


class CleanFormatter(logging.Formatter):
    """Formats what is logged without control characters: titles and names of files are in it."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of a record."""
        return without_controls(super().format(record))


def write_out(text: str) -> None:
    """Write to stdout at once. This is the one place that writes results.

    Raises:
        OutputFailed: it cannot be written.
    """
    try:
        sys.stdout.write(without_controls(text))
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputFailed(f"The output cannot be written: {error.strerror}.") from error


def write_err(text: str) -> None:
    """Write a line to stderr. If that is not possible, the result on stdout is still worth more than an error about it."""
    with suppress(OSError):
        print(without_controls(text), file=sys.stderr, flush=True)


def to_json(document: BaseModel) -> str:
    """Return a document as JSON text, in ASCII if stdout cannot encode more."""
    is_unicode = (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf")
    text = json.dumps(document.model_dump(), ensure_ascii=not is_unicode, indent=2)
    # JSON itself escapes fewer.
    return _CONTROL.sub(lambda control: f"\\u{ord(control[0]):04x}", text)


def printable(text: str) -> str:
    """Replace what a terminal could interpret, such as line breaks and escape sequences in a file's name."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


class ProgressBar:
    """A bar with stage and remaining time on stderr; plain lines if stderr is not a terminal."""

    def __init__(self, bar: "tqdm[Any] | None") -> None:
        """`bar`: None if stderr is not a terminal."""
        self._bar, self._is_closed = bar, False
        self._printed_steps: set[tuple[str, int]] = set()

    def show(self, report: ProgressReport) -> None:
        """Show the state of an operation."""
        if self._is_closed:
            return
        remaining = f"{format_time(report.seconds_left)[:-2]} left" if report.seconds_left is not None else ""
        step = (report.stage, int(report.fraction * 10))
        if self._bar is not None:
            self._bar.set_description_str(report.stage, refresh=False)
            self._bar.set_postfix_str(remaining, refresh=False)
            self._bar.n = report.fraction * 100
            self._bar.refresh()
        elif step not in self._printed_steps:
            self._printed_steps.add(step)
            write_err(f"{report.fraction:4.0%} {report.stage} {remaining}".rstrip())

    def close(self) -> None:
        """Remove the bar, and show no further state."""
        if self._bar is not None:
            self._bar.close()
        self._is_closed = True


@contextmanager
def progress_bar() -> Iterator[ProgressBar]:
    """Show the progress of an operation on stderr."""
    if not sys.stderr.isatty():
        yield ProgressBar(None)
        return
    from tqdm import tqdm

    layout = "{desc} {percentage:3.0f}%|{bar:30}| {postfix}"
    with tqdm(total=100, bar_format=layout, file=sys.stderr, leave=False) as bar:
        yield ProgressBar(bar)


def prepare_standard_streams() -> None:
    """Make the standard streams safe to use, whatever they are connected to.

    A closed stream is connected to the null device. Otherwise the next file that is opened would get its descriptor, and what is
    written to the stream. A character that the terminal cannot show, or that is not valid text, is replaced.
    """
    for number, name, flags in ((0, "stdin", os.O_RDONLY), (1, "stdout", os.O_RDONLY), (2, "stderr", os.O_WRONLY)):
        if getattr(sys, name) is None:
            # A closed stdout is opened for reading, so that writing fails and the loss of a result is reported.
            descriptor = os.open(os.devnull, flags)
            if descriptor != number:
                os.dup2(descriptor, number)
            setattr(sys, name, os.fdopen(number, "w" if number else "r", encoding="utf-8", closefd=False))
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def highlight_terms(text: str, ranges: Sequence[tuple[int, int]]) -> str:
    """Return a text for a terminal with ranges of its characters in bold."""
    parts, position = [], 0
    for start, end in ranges:
        parts += [printable(text[position:start]), BOLD, printable(text[start:end]), NOT_BOLD]
        position = end
    return "".join([*parts, printable(text[position:])])
