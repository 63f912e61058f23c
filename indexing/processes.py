"""Processes that share a library: their names in its database, and whether they still run."""

import functools
import json
import os
import platform
from contextlib import suppress
from pathlib import Path

import psutil

SAME_START_S = 2.0
"""Maximum difference between two readings of the start of one process, in seconds: a correction of the clock changes them."""


def this_process() -> str:
    """Return the name of this process, which no other process of any machine has: machine, process id and start as JSON."""
    return _name_of(os.getpid())


@functools.lru_cache(maxsize=1)
def _name_of(pid: int) -> str:
    # A child that was forked has another id, so that the cache does not give it the name of its parent.
    return json.dumps([_machine(), pid, psutil.Process(pid).create_time()])


def is_on_this_machine(name: str) -> bool:
    """Whether a name is of a process that this process could see."""
    return bool(_parsed(name)[0] == _machine())


def is_running(name: str) -> bool:
    """Whether a process of this machine still runs. A process id that another process has got since does not count."""
    _, pid, start_s = _parsed(name)
    try:
        process = psutil.Process(pid)
        return abs(process.create_time() - start_s) <= SAME_START_S and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, ValueError):
        return False


def _parsed(name: str) -> tuple[str, int, float]:
    """Return machine, process id and start; those of no process if the name cannot be read."""
    try:
        machine, pid, start_s = json.loads(name)
        return str(machine), int(pid), float(start_s)
    except (ValueError, TypeError):
        return "", -1, 0.0


@functools.cache
def _machine() -> str:
    # Containers of one machine have process ids of their own, and perhaps one host name.
    namespace = ""
    with suppress(OSError):
        namespace = f" {Path('/proc/self/ns/pid').stat().st_ino}"
    return platform.node() + namespace
