"""Uploads that fail: nothing is written that does not fit, and nothing stays of what was."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from longview.app.jobs.monitor import MIN_FREE_BYTES
from longview.app.maintenance.housekeeping import run_housekeeping
from longview.app.service import Longview
from longview.app.serving import upload_cache
from longview.app.serving.upload_cache import CACHE, own_folder
from longview.app.serving.workers import Workers
from longview.ui.access import CLIENT_HEADER
from longview.ui.server import create
from longview.ui.uploads import INVALID_UPLOAD
from tests.support.app_samples import demo_settings, file_names
from tests.support.small_disk import small_disk

MB = 1 << 20
MAX_UPLOAD_BYTES = 8 * MB
HEAD = b'--limit\r\nContent-Disposition: form-data; name="files"; filename="a.mp4"\r\n\r\n'
OTHER = b'--limit\r\nContent-Disposition: form-data; name="other"'
TAIL = b"\r\n--limit--\r\n"


class Uploader:
    """Sends uploads to the web application in this process."""

    def __init__(self, library: Path) -> None:
        self.library = library
        self.app = Longview(demo_settings(library, max_upload_bytes=MAX_UPLOAD_BYTES))
        self.workers = Workers(self.app)
        self.web = create(self.app, self.workers)

    def send(self, parts: Sequence[bytes], *, length: int | None = None, is_cut_off: bool = False) -> tuple[int, str]:
        """Return status and body of the response to an upload. `is_cut_off`: the client goes before it has sent all."""
        headers = {"host": "127.0.0.1", "content-type": "multipart/form-data; boundary=limit", CLIENT_HEADER.lower(): "1"}
        if length is not None:
            headers["content-length"] = str(length)
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
            "path": "/gradio_api/upload", "raw_path": b"/gradio_api/upload", "query_string": b"", "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()], "state": {},
        }  # fmt: skip
        waiting = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
        waiting.append({"type": "http.disconnect"} if is_cut_off else {"type": "http.request", "body": b"", "more_body": False})
        replies: list[Any] = []

        async def receive() -> Any:
            return waiting.pop(0) if waiting else {"type": "http.disconnect"}

        async def collect(message: Any) -> None:
            replies.append(message)

        asyncio.run(self.web(scope, receive, collect))  # type: ignore[arg-type]
        return replies[0]["status"], b"".join(reply.get("body", b"") for reply in replies).decode()

    def cached(self) -> list[Path]:
        """Return what is in the upload cache."""
        folder = own_folder(self.library)
        return sorted(folder.rglob("*")) if folder.exists() else []


@pytest.fixture
def uploader(tmp_path: Path) -> Iterator[Uploader]:
    uploader = Uploader(tmp_path / "library")
    yield uploader
    uploader.workers.close()


def test_an_upload_that_the_disk_has_no_space_for_is_refused_before_it_is_written(
    uploader: Uploader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload_cache, "free_bytes", lambda folder: MIN_FREE_BYTES + 2 * MB)
    status, text = uploader.send([], length=3 * MB)
    assert status == 507 and "The disk is full" in text and f"{3 * MB:,}" in text
    assert uploader.send([], length=MAX_UPLOAD_BYTES + 1)[0] == 413
    assert uploader.send([HEAD, bytes(MB), TAIL], length=MB + len(HEAD + TAIL))[0] == 200


def test_uploads_at_once_are_compared_with_the_disk_together(uploader: Uploader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload_cache, "free_bytes", lambda folder: MIN_FREE_BYTES + 4 * MB)
    first = uploader.workers.uploads.begin(3 * MB)
    assert uploader.send([], length=2 * MB)[0] == 507
    uploader.workers.uploads.end(first, is_kept=False)
    assert uploader.send([HEAD, TAIL], length=2 * MB)[0] == 200


@pytest.mark.parametrize("length", [None, 100])
def test_an_upload_without_its_true_length_is_bounded_while_it_is_written(uploader: Uploader, length: int | None) -> None:
    status, text = uploader.send([HEAD, *[bytes(MB)] * 20, TAIL], length=length)
    assert status == 413 and "max_upload_bytes" in text and not uploader.cached()


def test_an_upload_ends_while_the_disk_has_a_margin(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "12m") as disk:
        uploader = Uploader(disk / "library")
        status, text = uploader.send([HEAD, *[bytes(MB)] * 7, TAIL])
        assert status == 507 and "The disk is full" in text
        assert not uploader.cached()
        uploader.workers.close()


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ([], 400),
        ([b"no form"], 400),
        ([HEAD, b"a", TAIL, b"more"], 200),
        ([b'--limit\r\nContent-Disposition: form-data; name="files"\r\n\r\na text', TAIL], 400),
        ([OTHER + b'; filename="a.mp4"\r\n\r\na', TAIL], 400),
        ([OTHER + b"\r\n\r\na text", TAIL], 400),
        ([OTHER + b"\r\n\r\n", *[bytes(MB)] * 2, b"\r\n" + HEAD, b"a", TAIL], 400),
        ([*[OTHER + b"\r\n\r\n", bytes(MB // 2), b"\r\n"] * 3, HEAD, b"a", TAIL], 400),
        ([b"--limit\r\nContent-Disposition: form-data\r\n\r\na", TAIL], 400),
        ([HEAD.replace(b"a.mp4", b".."), b"a", TAIL], 400),
        ([HEAD, b"a", b"\r\n--limit\r\nX", b"y" * 20000], 400),
    ],
)
def test_an_upload_that_is_no_form_of_files_leaves_nothing(uploader: Uploader, parts: list[bytes], status: int) -> None:
    answer, text = uploader.send(parts)
    assert answer == status, text
    if status != 200:
        assert text == INVALID_UPLOAD
        assert not uploader.cached()


def test_of_a_part_with_another_name_nothing_stays(uploader: Uploader) -> None:
    status, reply = uploader.send([HEAD, b"a", b"\r\n" + OTHER + b'; filename="b.mp4"\r\n\r\n', b"other", TAIL])
    (path,) = json.loads(reply)
    assert status == 200 and Path(path).name == "a.mp4"
    assert [path for path in map(str, uploader.cached()) if Path(path).is_file()] == [path]


def test_an_upload_that_the_client_gives_up_leaves_nothing(uploader: Uploader) -> None:
    for _ in range(3):
        uploader.send([HEAD, bytes(MB)], length=3 * MB, is_cut_off=True)
    assert not uploader.cached()
    assert not uploader.workers.uploads._expected_bytes


def test_an_upload_that_is_no_video_leaves_nothing(uploader: Uploader) -> None:
    status, reply = uploader.send([HEAD, b"no video", TAIL])
    (path,) = json.loads(reply)
    assert status == 200 and Path(path).read_bytes() == b"no video"
    with pytest.raises(Exception, match="a.mp4 is not a video"):
        uploader.workers.index(Path(path), upload_name="a.mp4")
    assert not uploader.cached()


def test_what_earlier_servers_have_left_is_deleted_and_what_others_write_is_not(uploader: Uploader) -> None:
    script = (
        "import sys; from pathlib import Path; from longview.app.serving.upload_cache import own_folder\n"
        "folder = own_folder(Path(sys.argv[1])) / 'upload'; folder.mkdir(parents=True); (folder / 'half').write_text('x')\n"
        "print('ready', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, str(uploader.library)]
    cache = uploader.library / CACHE
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout and other.stdout.readline() == "ready\n"
        for name in ("tmpab12cd_9", f"{'a' * 64}/a.mp4", "server-notbase64/a.mp4"):
            (cache / name).parent.mkdir(parents=True, exist_ok=True)
            (cache / name).write_bytes(b"left")
        (cache / "of the user.mp4").write_bytes(b"kept")
        uploader.send([HEAD, b"a", TAIL])
        own = uploader.cached()
        run_housekeeping(uploader.app.parts.library, 1 << 30)
        assert uploader.cached() == own and "half" in file_names(cache)
        assert sorted(path.name for path in cache.iterdir() if not path.name.startswith("server-")) == ["of the user.mp4"]
        assert len(list(cache.iterdir())) == 3
        other.kill()
    run_housekeeping(uploader.app.parts.library, 1 << 30)
    assert "half" not in file_names(cache) and uploader.cached() == own


def test_cache_that_is_a_link_is_not_used_and_nothing_behind_it_is_deleted(tmp_path: Path) -> None:
    uploader, outside = Uploader(tmp_path / "library"), tmp_path / "outside"
    own = outside / own_folder(uploader.library).name
    for folder in (outside / "tmpab12cd_9", outside / "server-notbase64", own / "upload"):
        folder.mkdir(parents=True)
        (folder / "a.mp4").write_bytes(b"kept")
    (uploader.library / CACHE).symlink_to(outside)
    before = file_names(outside)
    status, text = uploader.send([HEAD, b"a", TAIL])
    assert status == 400 and "replace the link with a folder" in text
    run_housekeeping(uploader.app.parts.library, 1 << 30)
    cached = own_folder(uploader.library) / "upload"
    uploader.workers.uploads.discard(cached / "a.mp4")
    uploader.workers.uploads.end(cached, is_kept=False)
    uploader.workers.close()
    assert file_names(outside) == before
