"""Processes that share a library: their names in its database, and whether they still run."""

import functools
import json
import os
import platform
from contextlib import suppress
from pathlib import Path

SAME_START_S = 2.0
"""Maximum difference between two readings of the start of one process, in seconds, where it follows from the time of day."""
START_FIELD, STATE_FIELD = 19, 0
"""Positions of the start and of the state among the fields of `/proc/PID/stat` after the name of the program; see proc(5)."""


def this_process() -> str:
    """Return the name of this process, which no other process of any machine has: machine, boot, process id and start as JSON."""
    return _name_of(os.getpid())


@functools.lru_cache(maxsize=1)
def _name_of(pid: int) -> str:
    # A child that was forked has another id, so that the cache does not give it the name of its parent.
    return json.dumps([_machine(), _boot(), pid, _start(pid)])


def is_on_this_machine(name: str) -> bool:
    """Whether a name is of a process that this process could see, if it still runs."""
    return _parse(name)[0] == _machine()


def is_running(name: str) -> bool:
    """Whether a process of this machine still runs. A process id that another process has got since does not count."""
    import psutil

    _, boot, pid, start = _parse(name)
    if pid <= 0 or boot != _boot() or not psutil.pid_exists(pid):
        return False
    now = _start(pid)
    # Without a start, a process that this user may not look at has this id.
    return now is None or start is None or abs(now - start) <= (0 if _boot() else SAME_START_S)


def has_same_boot(name: str) -> bool:
    """Whether the machine of a process has not been started again since, as far as that is known."""
    machine, boot, _, _ = _parse(name)
    return machine != _machine() or boot == _boot()


def _parse(name: str) -> tuple[str, str, int, float | None]:
    """Return machine, boot, process id and start; those of no process if the name cannot be read."""
    try:
        machine, boot, pid, start = json.loads(name)
        return str(machine), str(boot), int(pid), None if start is None else float(start)
    except (ValueError, TypeError, RecursionError):
        return "", "", -1, None


def _start(pid: int) -> float | None:
    """Return when a process started: in clock ticks since the boot, which no change of the clock moves, else as a time of day in
    seconds. None: this user may not know. A process that has ended and that its parent has not noticed has no start, so 0."""
    import psutil

    if _boot():
        try:
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            return None
        return 0.0 if fields[STATE_FIELD] == "Z" else float(fields[START_FIELD])
    try:
        process = psutil.Process(pid)
        return 0.0 if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.Error:
        return None


@functools.cache
def _boot() -> str:
    """Return what identifies the present boot of a Linux system; empty on others."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return ""


@functools.cache
def _machine() -> str:
    """Return what identifies this machine, and on Linux the process ids that this process sees."""
    name = ""
    with suppress(OSError):
        # Two machines may have one host name. Most containers have no identity of their own, but a host name.
        name = Path("/etc/machine-id").read_text(encoding="ascii").strip()
    with suppress(OSError):
        name = f"{name or platform.node()} {Path('/proc/self/ns/pid').stat().st_ino}"
    return name or platform.node()
