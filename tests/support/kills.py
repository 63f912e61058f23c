"""Runs of writers in child processes that kill themselves at a rename of `longview.core.atomic`."""

import gc
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn

import longview
from longview.core import atomic

ROOT = Path(str(longview.__file__)).parent
Moment = Literal["before", "after"]
TIMEOUT_S = 60
"""Time after which a child that hangs is ended, in seconds."""


@dataclass(frozen=True)
class Kill:
    """A point in a run: right before or right after one of its renames, which count from 1."""

    number: int
    moment: Moment


def run_in_child(write: Callable[[], object], kill: Kill | None = None) -> list[str] | None:
    """Run a writer in a forked process; return the modules that asked for each rename, or none if it has killed itself.

    Only renames of `longview.core.atomic` count.
    """
    read_end, write_end = os.pipe()
    pid = os.fork()
    if not pid:
        _run(write, kill, write_end)
    os.close(write_end)
    with os.fdopen(read_end) as report:
        text = report.read()
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if code == -signal.SIGKILL:
        assert kill is not None, "somebody else has killed it"
        return None
    assert code == 0, text or f"exit code {code}"
    modules: list[str] = json.loads(text)
    return modules


def _run(write: Callable[[], object], kill: Kill | None, report: int) -> NoReturn:
    # Neither the tests nor their fixtures go on in this process.
    code, modules = 1, list[str]()
    try:
        gc.disable()
        # The handler of pytest would not run while a library hangs.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(TIMEOUT_S)
        if "torch" in sys.modules:
            # The threads of OpenMP are not in a forked process, and waiting for them has no end.
            sys.modules["torch"].set_num_threads(1)
        _kill_at_rename(kill, modules)
        write()
        os.write(report, json.dumps(modules).encode())
        code = 0
    except BaseException:
        os.write(report, traceback.format_exc().encode())
    finally:
        os._exit(code)


def _kill_at_rename(kill: Kill | None, modules: list[str]) -> None:
    replace = os.replace

    def noted(*paths: Any) -> None:
        module = _asking_module()
        if module is not None:
            modules.append(module)
        for moment in ("before", "after"):
            if moment == "after":
                replace(*paths)
            if module is not None and kill == Kill(len(modules), moment):
                os.kill(os.getpid(), signal.SIGKILL)

    os.replace = noted  # type: ignore[assignment]


def _asking_module() -> str | None:
    """Return the module that uses `longview.core.atomic`, relative to the package; None if that is not in the stack."""
    files = []
    frame = sys._getframe(2)
    while frame.f_back is not None:
        files.append(Path(frame.f_code.co_filename))
        frame = frame.f_back
    own_file = Path(str(atomic.__file__))
    if own_file not in files:
        return None
    outer = files[files.index(own_file) :]
    return next(str(path.relative_to(ROOT)) for path in outer if path.is_relative_to(ROOT) and path != own_file)
