"""Steps of a check that end in every way. Their processes import this module, so it imports little."""

import os
import time
from collections.abc import Iterator

from benchmarks.check_report import Row, check_row


def good() -> Iterator[Row]:
    yield check_row("good", True, "1 | 2")


def wrong() -> Iterator[Row]:
    yield check_row("wrong", False, "3 of 4", output="line 1\nline 2")


def failing() -> Iterator[Row]:
    yield check_row("before the error", True, "")
    raise ValueError("no\nsuch kernel")


def dying() -> Iterator[Row]:
    yield check_row("before the crash", True, "")
    os._exit(139)


def hanging() -> Iterator[Row]:
    yield check_row("before the hang", True, "")
    time.sleep(600)
