"""A package index on the loopback interface with tiny wheels, and the wrong answers that a test chooses."""

import hashlib
import io
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote, unquote

Answer = Callable[[BaseHTTPRequestHandler], None]


def wheel(name: str, version: str) -> bytes:
    """Return a wheel with one empty module."""
    folder = f"{name}-{version}.dist-info"
    files = {
        f"{name}/__init__.py": "",
        f"{folder}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{folder}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: false\nTag: py3-none-any\n",
    }
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for path, text in {**files, f"{folder}/RECORD": "".join(f"{path},,\n" for path in files)}.items():
            archive.writestr(path, text)
    return content.getvalue()


def answer(status: int, body: bytes, media_type: str = "text/html", **headers: str) -> Answer:
    """Return a way to answer a request."""

    def send(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        request.send_header("Content-Type", media_type)
        request.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(body)

    return send


def drip(request: BaseHTTPRequestHandler) -> None:
    """Answer with one byte each half second, so that no time limit of a socket ends it."""
    request.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n")
    for _ in range(40):
        request.wfile.write(b" ")
        request.wfile.flush()
        time.sleep(0.5)


class PackageIndex:
    """A running index: wheels by file name, and wrong answers by path."""

    def __init__(self) -> None:
        self.url = ""
        self.wheels: dict[str, bytes] = {}
        self.wrong_answers: dict[str, Answer] = {}
        self.requests: list[str] = []

    def add(self, name: str, version: str, tags: str) -> None:
        """Add a wheel."""
        self.wheels[f"{name}-{version}-{tags}.whl"] = wheel(name, version)

    def send(self, request: BaseHTTPRequestHandler) -> None:
        """Answer a request as an index does, or wrongly."""
        path = unquote(request.path)
        self.requests.append(path)
        name = path.strip("/").rpartition("/")[2]
        if path in self.wrong_answers:
            self.wrong_answers[path](request)
        elif name in self.wheels:
            answer(200, self.wheels[name], "application/octet-stream")(request)
        else:
            links = "".join(
                f'<a href="/wheels/{quote(file)}#sha256={hashlib.sha256(content).hexdigest()}">{file}</a><br/>'
                for file, content in self.wheels.items()
                if file.startswith(f"{name.replace('-', '_')}-")
            )
            answer(200 if links else 404, f"<!DOCTYPE html><html><body>{links}</body></html>".encode())(request)


@contextmanager
def package_index() -> Iterator[PackageIndex]:
    """Run an index on the loopback interface."""
    index = PackageIndex()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with suppress(OSError):
                index.send(self)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    index.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield index
    finally:
        server.shutdown()
        server.server_close()
