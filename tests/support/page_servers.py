"""A running server of the page, and what its video shows."""

import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from longview.ui.access import CLIENT_HEADER
from longview.video.synthetic import ShapesEvent
from tests.support.shell import environment
from tests.support.warm_process import WarmProcess, start_command

EVENTS = (
    ShapesEvent(3.0, 9.0, "red", "circle", "moves up"),
    ShapesEvent(12.0, 18.0, "yellow", "star", "grows"),
    ShapesEvent(22.0, 28.0, "blue", "square", "moves to the left"),
)
START_TIMEOUT_S = 120


@dataclass(frozen=True)
class Server:
    """A running server over one library."""

    url: str
    library: Path
    process: "subprocess.Popen[str] | WarmProcess"

    def get(self, path: str, **headers: str) -> tuple[int, bytes, Any]:
        """Return status, body and headers of a GET request."""
        return self.send(urllib.request.Request(self.url + path, headers=headers))

    def post(self, path: str, body: bytes, **headers: str) -> tuple[int, bytes, Any]:
        """Return status, body and headers of a POST request of a program."""
        return self.send(urllib.request.Request(self.url + path, data=body, headers={CLIENT_HEADER: "1"} | headers))

    def send(self, request: urllib.request.Request) -> tuple[int, bytes, Any]:
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return response.status, response.read(), response.headers
        except urllib.error.HTTPError as error:
            return error.code, error.read(), error.headers


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running_server(library: Path, *options: str, script: str | None = None, **variables: str) -> Iterator[Server]:
    """Start a server with options, wait until it serves the page, and interrupt it in the end.

    `script`: Python code that runs in the place of the command line. `variables`: of the environment.
    """
    words = ["serve", "--port", str(free_port()), *options]
    with start_command(words, environment(library, **variables), stderr=2, script=script) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            url = re.search(r"http://127\.0\.0\.1:\d+", line)
            assert url, line
            server = Server(url[0], library, process)
            deadline = time.monotonic() + START_TIMEOUT_S
            while time.monotonic() < deadline:
                try:
                    if server.get("/")[0] == 200:
                        break
                except urllib.error.URLError:
                    time.sleep(0.2)
            yield server
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
