"""CPU and wall time of an upload in parts, as ratios to a plain copy and SHA-256 of the same file in the same run.

    python -m benchmarks.page.bench_uploads [--mb 512] [--rounds 3]

The client sends two parts at once, each with its SHA-256. The server checks each part, stores it, waits until it is on the disk,
and computes the SHA-256 and the content hash of the whole. The median of the rounds is printed. Linux states the CPU time of the
server.
"""

import argparse
import hashlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from longview.ui.access import CLIENT_HEADER, HOST
from longview.video.synthetic import render

BLOCK_BYTES = 8 << 20
PARTS_AT_ONCE = 2
HEADER_BYTES = 8
REST_S = 8.0
"""Time before each measurement, in seconds. A virtual machine may return freed memory to its host within a few seconds, and
to get it again takes up to 8 s of CPU time per GB of a file that is written: each step pays for it, or none."""
PORT = re.compile(r":(\d{1,5})\s*+$")


@dataclass(frozen=True)
class Cost:
    """What an operation takes, in seconds."""

    cpu_s: float
    wall_s: float


def make_video(path: Path, size_bytes: int, seed: int) -> Path:
    """Render a video of a second, and append a box of bytes that players skip."""
    render(path, (), 1.0, width=64, height=48, fps=10.0)
    left = size_bytes - path.stat().st_size
    block = hashlib.shake_256(str(seed).encode()).digest(BLOCK_BYTES)
    with path.open("ab") as file:
        file.write(left.to_bytes(4, "big") + b"free")
        left -= HEADER_BYTES
        while left:
            left -= file.write(block[:left])
        os.fsync(file.fileno())
    return path


def cpu_s(pid: int) -> float:
    """Return the CPU time of a process, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(pid: int, operation: Callable[[], object]) -> Cost:
    """Run an operation, and return what it takes of a process."""
    time.sleep(REST_S)
    before, start = cpu_s(pid), time.perf_counter()
    operation()
    return Cost(cpu_s(pid) - before, time.perf_counter() - start)


def copy_and_hash(source: Path, target: Path) -> str:
    """Copy a file, wait until it is on the disk, and return its SHA-256."""
    digest = hashlib.sha256()
    with source.open("rb") as reader, target.open("wb") as writer:
        while block := reader.read(BLOCK_BYTES):
            digest.update(block)
            writer.write(block)
        writer.flush()
        os.fsync(writer.fileno())
    return digest.hexdigest()


class Client:
    """Sends a file to a server."""

    def __init__(self, port: int) -> None:
        self._port = port

    def request(self, connection: HTTPConnection, method: str, path: str, body: bytes, **headers: str) -> Any:
        """Return the document of a response."""
        connection.request(method, f"/v1/uploads{path}", body, {CLIENT_HEADER: "1"} | headers)
        response = connection.getresponse()
        text = response.read()
        if response.status >= 300:
            raise SystemExit(f"{method} {path}: {response.status} {text.decode()}")
        return json.loads(text) if text else None

    def begin(self, path: Path) -> Any:
        """Begin an upload, and return it."""
        document = {"name": path.name, "size_bytes": path.stat().st_size, "modified_ms": 0}
        return self.request(HTTPConnection(HOST, self._port), "POST", "", json.dumps(document).encode())

    def send(self, path: Path, upload: Any) -> None:
        """Send all parts of a file."""
        size = upload["part_bytes"]
        numbers = iter(range(-(-upload["size_bytes"] // size)))

        def send_parts(_sender: int) -> None:
            connection = HTTPConnection(HOST, self._port)
            with path.open("rb") as file:
                for number in numbers:
                    file.seek(number * size)
                    data = file.read(size)
                    digest = f"sha-256=:{b64encode(hashlib.sha256(data).digest()).decode()}:"
                    self.request(connection, "PUT", f"/{upload['upload_id']}/parts/{number}", data, **{"Content-Digest": digest})
            connection.close()

        with ThreadPoolExecutor(PARTS_AT_ONCE) as senders:
            list(senders.map(send_parts, range(PARTS_AT_ONCE)))

    def complete(self, upload: Any) -> Any:
        """Complete an upload, and return its end."""
        options = json.dumps({"options": {"sources": ["subtitles"]}}).encode()
        return self.request(HTTPConnection(HOST, self._port), "POST", f"/{upload['upload_id']}/complete", options)


def run_round(folder: Path, client: Client, pid: int, size_bytes: int, seed: int) -> dict[str, Cost]:
    """Return the costs of one round: of a copy, and of an upload in two steps."""
    source = make_video(folder / f"{seed}.mp4", size_bytes, seed)
    digests = []
    copy = measure(os.getpid(), lambda: digests.append(copy_and_hash(source, folder / "copy")))
    upload, ends = client.begin(source), []
    sending = measure(pid, lambda: client.send(source, upload))
    completion = measure(pid, lambda: ends.append(client.complete(upload)))
    if ends[0]["sha256"] != digests[0]:
        raise SystemExit("The hashes differ.")
    for path in (source, folder / "copy", Path(ends[0]["job"]["path"])):
        path.unlink()
    return {"copy": copy, "sending": sending, "completion": completion}


def main(arguments: list[str] | None = None) -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mb", type=int, default=512, help="size of the file in MB")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    size_bytes = options.mb * 1_000_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = os.environ | {"LONGVIEW_LIBRARY": str(folder / "library")}
        command = [sys.executable, "-m", "longview.app", "serve"]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as server:
            try:
                assert server.stdout is not None
                port = PORT.search(server.stdout.readline())
                if port is None:
                    raise SystemExit("The server does not start.")
                client = Client(int(port[1]))
                wait_for(int(port[1]))
                rounds = [run_round(folder, client, server.pid, size_bytes, seed) for seed in range(options.rounds)]
            finally:
                server.terminate()
    print("| step | CPU s per GB | ratio to copy | wall s per GB | ratio to copy |\n|---|---|---|---|---|")
    for step in ("copy", "sending", "completion"):
        costs = [one[step] for one in rounds]
        ratios = [(one[step].cpu_s / one["copy"].cpu_s, one[step].wall_s / one["copy"].wall_s) for one in rounds]
        cpu, wall = (
            statistics.median(values) * 1e9 / size_bytes for values in zip(*((c.cpu_s, c.wall_s) for c in costs), strict=True)
        )
        cpu_ratio, wall_ratio = (statistics.median(values) for values in zip(*ratios, strict=True))
        print(f"| {step} | {cpu:.2f} | {cpu_ratio:.2f} | {wall:.2f} | {wall_ratio:.2f} |")


def wait_for(port: int) -> None:
    """Wait until a server responds."""
    for _ in range(600):
        try:
            connection = HTTPConnection(HOST, port)
            connection.request("GET", "/v1/uploads", headers={CLIENT_HEADER: "1"})
            connection.getresponse().read()
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit("The server does not respond.")


if __name__ == "__main__":
    main()
