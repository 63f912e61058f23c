"""Processes of the command line that begin with their imports done.

Most of the time of a short command is the import of PyTorch and transformers: five seconds of CPU time, and eight with the page.
One process imports them for all workers, and forks for each command. A fork is a process as any other: it has its own memory,
streams, signals and exit code. Only what the imports do themselves is the same for all; what depends on a fresh interpreter
must start one. Without pidfd (it is of Linux) the commands are started as usual.
"""

import atexit
import functools
import gc
import hashlib
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NoReturn

ENGINE_MODULES = (
    "longview.app.service",
    *(
        f"longview.app.cli.{name}"
        for name in ("ask", "captions", "check", "evaluate", "export", "indexing", "jobs", "library", "search", "transcripts")
    ),
    "longview.model.engine.local",
    "longview.model.verifiers",
    "transformers.models.qwen3_vl.modeling_qwen3_vl",
    "transformers.models.qwen3_vl.processing_qwen3_vl",
    "transformers.models.qwen3_vl.video_processing_qwen3_vl",
    "transformers.models.qwen2_vl.image_processing_qwen2_vl",
    "faiss",
    "rapidocr.main",
    "xgrammar",
)
PAGE_MODULES = ("longview.ui.process",)
RUNTIME_VARIABLES = ("LONGVIEW_", "PYTEST_", "COLUMNS")
"""Prefixes of variables that no import reads. A difference in another one needs imports of its own."""
SET_BY_IMPORTS = ("GOMP_SPINCOUNT", "TORCHINDUCTOR_CACHE_DIR", "LD_LIBRARY_PATH", "PATH")
"""Variables that imports in the process of the tests change meanwhile."""
VARIABLES = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}
"""Variables of all commands: one engine thread, no downloads, unbuffered output."""
MAX_REQUEST_BYTES = 1 << 20
CAN_FORK = hasattr(os, "pidfd_open")


class WarmProcess:
    """A running command, with the part of the interface of `subprocess.Popen` that tests use."""

    def __init__(
        self, words: Sequence[str], environment: dict[str, str], stderr: int | None = None, script: str | None = None
    ) -> None:
        self.args = list(words)
        self.returncode: int | None = None
        (child_in, own_in), (own_out, child_out), (own_err, child_err) = os.pipe(), os.pipe(), os.pipe()
        own_end, other_end = socket.socketpair()
        with other_end:
            fds = (child_in, child_out, child_err if stderr is None else stderr, other_end.fileno())
            _send_request(list(words), environment, script, fds)
        for fd in (child_in, child_out, child_err):
            os.close(fd)
        self.stdin: IO[str] = os.fdopen(own_in, "w", encoding="utf-8")
        self.stdout: IO[str] = os.fdopen(own_out, encoding="utf-8")
        self.stderr: IO[str] = os.fdopen(own_err, encoding="utf-8")
        self._replies = own_end.makefile("r")
        self._socket = own_end
        self.pid = int(self._replies.readline())

    def __enter__(self) -> "WarmProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self._close_stdin()
        self.stdout.close()
        self.stderr.close()
        self.wait()

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal, or none while the command runs."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end, and return the exit code.

        Raises:
            subprocess.TimeoutExpired: the command still runs after this time, in seconds.
        """
        if self.returncode is None:
            with selectors.DefaultSelector() as selector:
                selector.register(self._socket, selectors.EVENT_READ)
                if not selector.select(timeout):
                    raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
            self.returncode = int(self._replies.readline())
            self._replies.close()
            self._socket.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the command has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End the command at once."""
        self.send_signal(signal.SIGKILL)

    def communicate(self, input: str | None = None, timeout: float | None = None) -> tuple[str, str]:
        """Write to stdin, read both streams to their end, and wait.

        Raises:
            subprocess.TimeoutExpired: the command still runs after this time, in seconds.
        """
        texts = ["", ""]

        def read(position: int, stream: IO[str]) -> None:
            texts[position] = stream.read()
            stream.close()

        readers = [threading.Thread(target=read, args=each, daemon=True) for each in enumerate((self.stdout, self.stderr))]
        for reader in readers:
            reader.start()
        if input:
            with suppress(BrokenPipeError):
                self.stdin.write(input)
        self._close_stdin()
        self.wait(timeout)
        for reader in readers:
            reader.join()
        return texts[0], texts[1]

    def _close_stdin(self) -> None:
        with suppress(BrokenPipeError):
            self.stdin.close()


def start_command(
    words: Sequence[str], environment: dict[str, str], *, stderr: int | None = None, script: str | None = None
) -> "subprocess.Popen[str] | WarmProcess":
    """Start the command line with these words and exactly this environment.

    Its streams are pipes of text, but stderr is the open file `stderr` if one is given. `script`: Python code that runs in its
    place.
    """
    if CAN_FORK:
        return WarmProcess(words, environment, stderr, script)
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    pipes["stderr"] = subprocess.PIPE if stderr is None else stderr
    code = ["-m", "app"] if script is None else ["-c", script]
    return subprocess.Popen([sys.executable, *code, *words], env=environment, **pipes)


def run_script(script: str, *words: str | Path, timeout_s: float = 120.0) -> "subprocess.CompletedProcess[str]":
    """Run Python code with these words as `sys.argv[1:]` in a process of its own, which begins with the imports done."""
    environment, command = os.environ | {"OMP_NUM_THREADS": "1"}, [str(word) for word in words]
    if not CAN_FORK:
        return subprocess.run(
            [sys.executable, "-c", script, *command],
            capture_output=True,
            text=True,
            env=environment,
            timeout=timeout_s,
            check=False,
        )
    with WarmProcess(command, environment, script=script) as process:
        try:
            stdout, stderr = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    assert process.returncode is not None
    return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)


_request_lock = threading.Lock()


def _send_request(words: list[str], environment: dict[str, str], script: str | None, fds: Sequence[int]) -> None:
    common = {name: value for name, value in environment.items() if not name.startswith(RUNTIME_VARIABLES + SET_BY_IMPORTS)}
    modules = ENGINE_MODULES + (PAGE_MODULES if "serve" in words or "longview.ui" in (script or "") else ())
    request = {"words": words, "script": script, "environment": environment, "folder": str(Path.cwd()), "modules": modules}
    with _request_lock:
        requests, _ = _connection(tuple(sorted(common.items())))
        socket.send_fds(requests, [json.dumps(request).encode()], fds)


@functools.lru_cache(maxsize=1)
def _connection(common: tuple[tuple[str, str], ...]) -> "tuple[socket.socket, subprocess.Popen[bytes] | None]":
    """Connect to the process that forks for all workers of a run of the tests, and start it for the first one.

    It ends when all connections are closed. Returns the connection, and the process if it was started here.
    """
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", f"{os.getpid()}")
    # The name of an abstract socket belongs to whoever binds it first, and needs no file.
    name = f"\0longview-{run}-{hashlib.sha256(repr(common).encode()).hexdigest()[:16]}"
    process = None
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener, suppress(OSError):
        listener.bind(name)
        listener.listen()
        process = _start_forking_process(listener, common)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MAX_REQUEST_BYTES)
    connection.connect(name)
    return connection, process


def _start_forking_process(listener: socket.socket, common: tuple[tuple[str, str], ...]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.warm_process", str(listener.fileno())],
        # As in `main`, which comes after the imports here.
        env={"TOKENIZERS_PARALLELISM": "false", "OPENBLAS_NUM_THREADS": "1"}
        | {name: os.environ[name] for name in SET_BY_IMPORTS if name in os.environ}
        | dict(common),
        # The objects of the standard streams remember that they are pipes.
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=[listener.fileno()],
        # The workers that end later need it, too.
        start_new_session=True,
    )


def serve_forks(listener: socket.socket) -> dict[str, Any] | None:
    """Fork for each request. Return it in the forked process, and none in this one when all connections are closed."""
    running: dict[int, tuple[int, socket.socket]] = {}
    connections: dict[int, socket.socket] = {}
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    is_new = True
    while is_new or connections or running:
        for key, _ in selector.select():
            if key.fd in running:
                pid, replies = running.pop(key.fd)
                _, status = os.waitpid(pid, 0)
                selector.unregister(key.fd)
                os.close(key.fd)
                with replies, suppress(BrokenPipeError):
                    replies.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))
                continue
            if key.fd == listener.fileno():
                connection, _ = listener.accept()
                connections[connection.fileno()] = connection
                selector.register(connection, selectors.EVENT_READ)
                is_new = False
                continue
            data, fds, _, _ = socket.recv_fds(connections[key.fd], MAX_REQUEST_BYTES, 4)
            if not data:
                # Its commands may run on.
                selector.unregister(key.fd)
                connections.pop(key.fd).close()
                continue
            request = json.loads(data)
            for module in request["modules"]:
                importlib.import_module(module)
            # The garbage collector of the fork leaves alone what was imported.
            gc.freeze()
            # A thread is not copied, but the locks that it holds are.
            assert threading.active_count() == 1
            replies = socket.socket(fileno=fds.pop())
            if not (pid := os.fork()):
                for other, (_, socket_of_other) in running.items():
                    os.close(other)
                    socket_of_other.close()
                for opened in (*connections.values(), listener, replies):
                    opened.close()
                selector.close()
                _become(request, fds)
                return dict(request)
            for fd in fds:
                os.close(fd)
            pidfd = os.pidfd_open(pid)
            running[pidfd] = pid, replies
            selector.register(pidfd, selectors.EVENT_READ)
            replies.sendall(b"%d\n" % pid)
    return None


def _become(request: dict[str, Any], fds: Sequence[int]) -> None:
    """Take the streams, the environment and the folder of a request."""
    for target, fd in enumerate(fds):
        os.dup2(fd, target)
        os.close(fd)
    of_imports = {name: os.environ[name] for name in SET_BY_IMPORTS if name in os.environ}
    os.environ.clear()
    os.environ.update(of_imports | request["environment"])
    os.chdir(request["folder"])


def run_and_exit(words: Sequence[str], script: str | None) -> NoReturn:
    """Run the command line or a script with these words, and end this process as Python does, but for freeing its memory.

    To free what was imported takes longer than most commands, because memory that a fork shares is copied when it is written.
    """
    sys.argv[1:] = words
    code: object = 0
    try:
        if script is None:
            runpy.run_module("app", run_name="__main__", alter_sys=True)
        else:
            exec(compile(script, "<string>", "exec"), {"__name__": "__main__"})
    except SystemExit as error:
        code = error.code
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    with suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code if isinstance(code, int) else bool(code))


if __name__ == "__main__":
    own_request = serve_forks(socket.socket(fileno=int(sys.argv[1])))
    if own_request is not None:
        run_and_exit(own_request["words"], own_request["script"])
