"""Threads of a server import parts of the engine at the same time: each gets all of what it asked for."""

import subprocess
import sys

SCRIPT = """
# A server has imported the standard library before it starts threads.
import importlib, sys, threading, typing
sys.setswitchinterval(1e-5)
names = [
    "tasks.answerer", "tasks.captioner", "engine.loading",
    "engine.generation.sampling", "engine.remote.engine", "engine.kernels.fp8",
]
barrier, failures = threading.Barrier(len(names)), []

def load(name):
    barrier.wait()
    try:
        importlib.import_module("longview.model." + name)
    except BaseException as error:
        failures.append((name, repr(error)))

threads = [threading.Thread(target=load, args=[name]) for name in names]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(failures)
"""


def test_threads_that_import_the_engine_at_once_do_not_fail() -> None:
    completed = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False, timeout=200)
    assert completed.stdout.strip() == "[]", completed.stderr
