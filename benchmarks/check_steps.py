"""Steps of a check, each in a process of its own: an error, a crash or a hang of one step is a row of the report.

CUDA errors leave a process unusable, and memory that a failed step holds would change what the next one measures. A new process
has neither. A step is a generator of rows, which arrive one by one, so that what it had measured before it crashed is kept.
"""

import multiprocessing
import multiprocessing.connection
import time
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import psutil

from benchmarks.check_report import CheckReport, Row, Section, failure_row


@dataclass(frozen=True)
class Step:
    """A part of a check."""

    section: Section
    name: str
    rows: Callable[[], Iterable[Row]]
    """Function that yields the rows. Another process imports it, so it is a function of a module, or a partial of one."""
    limit_s: float = 180.0
    """Maximum time for each row, in seconds."""


def run_steps(steps: Iterable[Step], report: CheckReport) -> None:
    """Run steps one after the other, write their rows, and print the progress."""
    start = time.monotonic()
    for step in steps:
        print(f"{time.monotonic() - start:4.0f} s  {step.section.title}: {step.name} …", flush=True)
        for row in run_step(step):
            report.add(step.section, row)
            print(f"{time.monotonic() - start:4.0f} s    " + " | ".join(cell for cell in row.cells if cell), flush=True)


def run_step(step: Step) -> Iterator[Row]:
    """Run a step in a new process, and yield its rows. If it fails or takes too long, the last row says so."""
    # A forked process could not use CUDA if this one does.
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(step.rows, sender))
    process.start()
    # Only the new process may hold the other end, so that its death ends the connection.
    sender.close()
    try:
        if (yield from _receive(step, receiver)):
            # It ends by itself, unless a thread of a library keeps it.
            process.join(timeout=5)
    finally:
        _kill(process)
        receiver.close()


def _receive(step: Step, receiver: multiprocessing.connection.Connection) -> Generator[Row, None, bool]:
    """Yield the rows that arrive. Return whether the process has ended its work."""
    columns = len(step.section.columns)
    while True:
        if not receiver.poll(step.limit_s):
            yield failure_row(step.name, f"not finished after {step.limit_s:g} s", columns)
            return False
        try:
            message: Row | str | None = receiver.recv()
        except EOFError:
            yield failure_row(step.name, "the process died; its last output is on the terminal", columns)
            return True
        if message is None:
            return True
        if isinstance(message, str):
            yield failure_row(step.name, message, columns)
            return True
        yield message


def _work(rows: Callable[[], Iterable[Row]], sender: multiprocessing.connection.Connection) -> None:
    """Send the rows of a step; then the text of its error, or None if it ended regularly."""
    message = None
    try:
        for row in rows():
            sender.send(row)
    except Exception as error:
        traceback.print_exc()
        message = describe(error)
    sender.send(message)


def describe(error: Exception) -> str:
    """Return the class and the message of an error in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def _kill(process: multiprocessing.process.BaseProcess) -> None:
    """End a process and those that it started, such as the decoders of videos."""
    if process.is_alive() and process.pid is not None:
        with suppress(psutil.NoSuchProcess):
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
        process.kill()
    process.join()
