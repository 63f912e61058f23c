"""A model hub on the loopback interface: the requests of `huggingface_hub`'s client, and failures that a test chooses."""

import hashlib
import json
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

API = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+)/revision/(?P<revision>[^/]+)")
RESOLVE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)")
LFS_SUFFIXES = (".safetensors", ".bin")


@dataclass
class Repository:
    """A repository on the hub, at its newest commit."""

    files: dict[str, bytes]
    commit: str = "0123456789abcdef0123456789abcdef01234567"
    tags: dict[str, str] = field(default_factory=dict)
    """Commits of tags; the files are the same."""


@dataclass
class Reply:
    """A reply of the hub."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"{}"


@dataclass
class Hub:
    """A running hub, and what it is to do wrong."""

    url: str = ""
    folder: str = ""
    """Path of the hub on its server, as that of a mirror."""
    repositories: dict[str, Repository] = field(default_factory=dict)
    failures: dict[str, Reply] = field(default_factory=dict)
    """Replies in place of the right ones, by the beginning of the path."""
    cuts: dict[str, list[int]] = field(default_factory=dict)
    """For each file, the numbers of bytes after which its next transfers break off."""
    wrong_content: dict[str, bytes] = field(default_factory=dict)
    """Content of files that is not the one that the list of files states."""
    etags: dict[str, str] = field(default_factory=dict)
    """ETags of files, in place of their hashes."""
    siblings: list[dict[str, Any]] | None = None
    """The list of files, in place of the right one."""
    cdn: str = ""
    """Another host, to which transfers of weights are redirected."""
    cdn_query: str = ""
    """What is appended to the address of such a transfer."""
    endless: dict[str, tuple[bytes, float]] = field(default_factory=dict)
    """Replies without an end, by the beginning of the path: a piece, and the time between two of them in seconds."""
    has_ended: threading.Event = field(default_factory=threading.Event)
    stall: threading.Event | None = None
    """What a transfer waits for, after half of the file."""
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    """Method, path and headers of each request; the words of their names begin with capital letters."""
    sent_bytes: Counter[str] = field(default_factory=Counter)
    """Bytes of each file that were sent."""

    def add(self, repo_id: str, files: dict[str, bytes], **options: Any) -> Repository:
        """Put a repository on the hub."""
        self.repositories[repo_id] = Repository(files, **options)
        return self.repositories[repo_id]

    def siblings_of(self, repository: Repository) -> list[dict[str, Any]]:
        """Return the list of files, as the hub states it."""
        if self.siblings is not None:
            return self.siblings
        return [describe(path, content) for path, content in repository.files.items()]


def describe(path: str, content: bytes) -> dict[str, Any]:
    """Return how the hub states a file."""
    entry = {"rfilename": path, "size": len(content), "blobId": git_hash(content)}
    if path.endswith(LFS_SUFFIXES):
        entry["lfs"] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest(), "pointerSize": 135}
    return entry


def git_hash(content: bytes) -> str:
    """Return the hash of a file in git."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path).removeprefix(self.hub.folder)
        self.hub.requests.append((self.command, path, {name.title(): value for name, value in self.headers.items()}))
        failure = next((failure for start, failure in self.hub.failures.items() if path.startswith(start)), None)
        endless = next((reply for start, reply in self.hub.endless.items() if path.startswith(start)), None)
        if endless and self.command == "GET":
            self._send_endlessly(*endless)
        elif failure:
            self._send(failure)
        elif match := API.fullmatch(path):
            self._send(self._list(match["repo"], match["revision"]))
        elif match := RESOLVE.fullmatch(path):
            self._send(self._resolve(match["repo"], match["revision"], match["path"]), match["path"])
        else:
            self._send(Reply(404))

    def _commit(self, repo: str, revision: str) -> str | None:
        repository = self.hub.repositories[repo]
        commits = {"main": repository.commit} | repository.tags
        return revision if revision in commits.values() else commits.get(revision)

    def _list(self, repo: str, revision: str) -> Reply:
        if repo not in self.hub.repositories:
            return Reply(404, {"X-Error-Code": "RepoNotFound"})
        if (commit := self._commit(repo, revision)) is None:
            return Reply(404, {"X-Error-Code": "RevisionNotFound"})
        siblings = self.hub.siblings_of(self.hub.repositories[repo])
        if "blobs=" not in self.path:
            siblings = [{"rfilename": sibling["rfilename"]} for sibling in siblings]
        return Reply(200, {}, json.dumps({"id": repo, "sha": commit, "siblings": siblings}).encode())

    def _resolve(self, repo: str, revision: str, path: str) -> Reply:
        repository = self.hub.repositories.get(repo)
        if repository is None or path not in repository.files:
            return Reply(404, {"X-Error-Code": "EntryNotFound" if repository else "RepoNotFound"})
        content = repository.files[path]
        stated = describe(path, content)
        digest = stated["lfs"]["sha256"] if "lfs" in stated else stated["blobId"]
        etag = f'"{self.hub.etags.get(path, digest)}"'
        headers = {"ETag": etag, "X-Linked-Etag": etag, "X-Linked-Size": str(len(content))}
        headers["X-Repo-Commit"] = str(self._commit(repo, revision))
        if self.hub.cdn and "lfs" in stated:
            return Reply(302, headers | {"Location": f"{self.hub.cdn}/{repo}/resolve/{revision}/{path}{self.hub.cdn_query}"})
        content = self.hub.wrong_content.get(path, content)
        if match := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
            start = int(match[1])
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            return Reply(206, headers, content[start:])
        return Reply(200, headers, content)

    def _send_endlessly(self, piece: bytes, pause_s: float) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.close_connection = True
        with suppress(OSError):
            while not self.hub.has_ended.wait(pause_s):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))

    def _send(self, reply: Reply, path: str = "") -> None:
        """Send a reply. `path`: the file that it has, which may break off."""
        self.send_response(reply.status)
        headers = {"Content-Length": str(len(reply.body)), "Content-Type": "application/json"}
        for name, value in (headers | reply.headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        cuts = self.hub.cuts.get(path, [])
        end = cuts.pop(0) if cuts else len(reply.body)
        half = end // 2 if self.hub.stall and path.endswith(LFS_SUFFIXES) else 0
        with suppress(OSError):
            for part in (reply.body[:half], reply.body[half:end]):
                self.wfile.write(part)
                self.wfile.flush()
                self.hub.sent_bytes[path] += len(part)
                if half and self.hub.stall:
                    self.hub.stall.wait(30)
        self.close_connection = end < len(reply.body)


@contextmanager
def running_hub() -> Iterator[Hub]:
    """A hub that runs while the block does."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        hub.has_ended.set()
        server.shutdown()
        thread.join()
        server.server_close()
