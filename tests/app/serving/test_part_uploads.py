"""Uploads in parts: what is counted is on the disk, what was begun is resumed, and what was given up leaves nothing."""

import hashlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from longview.app.errors import (
    NoSpace,
    TooManyUploads,
    UnknownUpload,
    UploadConflict,
    UploadDamaged,
    UploadIncomplete,
)
from longview.app.ingest.options import IndexOptions
from longview.app.jobs.monitor import MIN_FREE_BYTES
from longview.app.maintenance.housekeeping import run_housekeeping
from longview.app.service import Longview
from longview.app.serving import part_uploads, upload_files
from longview.app.serving.part_uploads import UNFINISHED_KEPT_S, PartUploads
from longview.app.serving.upload_completion import CompleteUpload, UploadCompletion
from longview.app.serving.upload_files import UploadFiles, unfinished_folder
from longview.app.serving.workers import Workers
from tests.support.app_samples import demo_settings, file_names
from tests.support.small_disk import small_disk
from tests.support.uploaded_files import padded_video, parts_of, stored_uploads

PART_BYTES = 1 << 16
SIZE_BYTES = 5 * PART_BYTES + 1234


class Server:
    """The uploads of one library, as one server after another has them."""

    def __init__(self, library: Path) -> None:
        self.library = library
        self.start()

    def start(self) -> None:
        """Start a server that knows only what is on the disk."""
        self.app = Longview(demo_settings(self.library))
        self.workers = Workers(self.app, starts=False)
        self.uploads, self.completion = self.workers.part_uploads, UploadCompletion(self.app, self.workers)

    def begin(self, content: bytes, name: str = "a.mp4") -> UploadFiles:
        return self.uploads.begin(name, len(content), 1000)[0]

    def send(self, upload_id: str, content: bytes, *numbers: int) -> None:
        parts = parts_of(content, PART_BYTES)
        for number in numbers or range(len(parts)):
            self.uploads.store(upload_id, number, parts[number], hashlib.sha256(parts[number]).digest())

    def complete(self, upload_id: str, **options: Any) -> CompleteUpload:
        return self.completion.complete(upload_id, IndexOptions(), **options)

    def upload(self, content: bytes, name: str = "a.mp4") -> CompleteUpload:
        upload_id = self.begin(content, name).upload_id
        self.send(upload_id, content)
        return self.complete(upload_id)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part_uploads, "PART_BYTES", PART_BYTES)


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return padded_video(tmp_path_factory.mktemp("video") / "a.mp4", SIZE_BYTES).read_bytes()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "library")
    yield server
    server.workers.close()


@pytest.mark.parametrize("numbers", [range(6), (5, 1, 0, 3, 4, 2), (5, 4, 3, 2, 1, 0)], ids=["in order", "mixed", "backwards"])
def test_parts_in_any_order_become_the_file_and_one_job(server: Server, content: bytes, numbers: Any) -> None:
    upload = server.begin(content)
    server.send(upload.upload_id, content, *numbers[:2])
    assert sorted(number for run in upload.received() for number in range(run[0], run[1] + 1)) == sorted(numbers[:2])
    with pytest.raises(UploadIncomplete, match="4 of 6 parts"):
        server.complete(upload.upload_id)
    server.send(upload.upload_id, content, *numbers)
    result = server.complete(upload.upload_id, sha256=hashlib.sha256(content).hexdigest())
    assert result.sha256 == hashlib.sha256(content).hexdigest() and not result.is_repeated
    assert result.job.path.read_bytes() == content and result.job.options == {"title": "a"}
    # The response may be lost, and the client asks again.
    assert server.complete(upload.upload_id).job.job_id == result.job.job_id
    assert [job.job_id for job in server.workers.jobs()] == [result.job.job_id]
    assert len(stored_uploads(server.library)) == 1
    assert file_names(upload.folder) == ["lock", "upload.json"]
    with pytest.raises(UploadConflict):
        server.uploads.give_up(upload.upload_id)


def test_another_server_goes_on_with_what_has_arrived(server: Server, content: bytes) -> None:
    upload = server.begin(content)
    server.send(upload.upload_id, content, 0, 1, 4)
    server.start()
    again = server.begin(content)
    assert again.upload_id == upload.upload_id and again.received() == [(0, 1), (4, 4)]
    assert server.begin(content, "b.mp4").upload_id != upload.upload_id
    server.send(upload.upload_id, content, 2, 3, 5)
    assert server.complete(upload.upload_id).sha256 == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("writes", [1, 2], ids=["before the part is on the disk", "before it counts"])
def test_a_kill_in_the_middle_of_a_part_never_counts_it(
    server: Server, content: bytes, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    upload = server.begin(content)
    server.send(upload.upload_id, content, 0)
    if (pid := os.fork()) == 0:
        calls: list[Path] = []

        def write_half(path: Path, start: int, data: bytes) -> None:
            calls.append(path)
            if len(calls) == writes:
                with path.open("r+b") as file:
                    file.seek(start)
                    file.write(data[: len(data) // 2] if writes == 1 else b"")
                os.kill(os.getpid(), signal.SIGKILL)
            write(path, start, data)

        write = upload_files._write_at
        monkeypatch.setattr(upload_files, "_write_at", write_half)
        try:
            server.send(upload.upload_id, content, 1)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    server.start()
    assert server.begin(content).received() == [(0, 0)]
    server.send(upload.upload_id, content)
    assert server.complete(upload.upload_id).job.path.read_bytes() == content


def test_an_upload_for_which_the_disk_has_no_space_is_not_begun(
    server: Server, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(part_uploads, "free_bytes", lambda folder: MIN_FREE_BYTES + SIZE_BYTES)
    upload = server.begin(content)
    # The space that the first one still needs is not given away.
    with pytest.raises(NoSpace, match=r"b\.mp4 needs 321\.2 KiB, and the disk .* has 8\.3 MiB free, 321\.2 KiB of which other"):
        server.begin(content, "b.mp4")
    server.uploads.give_up(upload.upload_id)
    assert file_names(unfinished_folder(server.library)) == []
    server.begin(content, "b.mp4")


@pytest.mark.parametrize("is_seen", [True, False], ids=["seen before it is written", "met while it is written"])
def test_a_full_disk_in_the_middle_leaves_nothing_of_the_part_and_the_upload_goes_on(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_seen: bool
) -> None:
    with small_disk(tmp_path / "disk", "24m") as disk:
        server = Server(disk / "library")
        upload = server.begin(content)
        server.send(upload.upload_id, content, 0, 1)
        filler = disk / "filler"
        with filler.open("wb") as file:
            left = (1 << 15) if not is_seen else MIN_FREE_BYTES // 2
            file.write(bytes(os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize - left))
        if not is_seen:
            monkeypatch.setattr(part_uploads, "free_bytes", lambda folder: 1 << 40)
        blocks = upload.data.stat().st_blocks
        for _ in range(2):
            with pytest.raises(NoSpace, match=r"The disk is full: a\.mp4 needs"):
                server.send(upload.upload_id, content, 2)
            assert upload.received() == [(0, 1)] and upload.data.stat().st_blocks == blocks
        filler.unlink()
        server.send(upload.upload_id, content, 2, 3, 4, 5)
        assert server.complete(upload.upload_id).job.path.read_bytes() == content
        server.workers.close()


def test_a_part_that_was_damaged_on_its_way_is_not_counted(server: Server, content: bytes) -> None:
    upload, parts = server.begin(content), parts_of(content, PART_BYTES)
    for data in (parts[0][:-1], parts[0] + b"x", parts[1], b""):
        with pytest.raises(UploadDamaged):
            server.uploads.store(upload.upload_id, 0, data, hashlib.sha256(parts[0]).digest())
    for number in (-1, 6, 1 << 60):
        with pytest.raises(UnknownUpload, match="numbers from 0 to 5"):
            server.uploads.store(upload.upload_id, number, parts[0], hashlib.sha256(parts[0]).digest())
    assert upload.received() == []
    server.send(upload.upload_id, content, 0)
    with pytest.raises(UploadConflict, match="has changed"):
        server.uploads.store(upload.upload_id, 0, parts[1], hashlib.sha256(parts[1]).digest())


def test_a_part_that_was_damaged_on_the_disk_is_named_and_can_be_sent_again(server: Server, content: bytes) -> None:
    upload = server.begin(content)
    server.send(upload.upload_id, content)
    server.start()
    with upload.data.open("r+b") as file:
        file.seek(2 * PART_BYTES + 7)
        file.write(b"damage")
    with pytest.raises(UploadDamaged, match=r"Part 3 of a\.mp4"):
        server.complete(upload.upload_id)
    assert upload.received() == [(0, 1), (3, 5)]
    server.send(upload.upload_id, content, 2)
    assert server.complete(upload.upload_id).job.path.read_bytes() == content


def test_of_a_file_that_is_damaged_as_a_whole_or_no_video_nothing_stays(server: Server, content: bytes) -> None:
    upload = server.begin(content)
    server.send(upload.upload_id, content)
    with pytest.raises(UploadDamaged, match="send the file again"):
        server.complete(upload.upload_id, sha256="0" * 64)
    with pytest.raises(Exception, match=r"b\.mp4 is not a video"):
        server.upload(b"no video", "b.mp4")
    assert file_names(unfinished_folder(server.library)) == [] and stored_uploads(server.library) == []
    assert server.workers.jobs() == ()


def test_one_file_from_two_clients_at_once_is_one_upload_and_one_job(server: Server, content: bytes) -> None:
    def upload(_client: int) -> CompleteUpload:
        upload_id = server.begin(content).upload_id
        # The other one may have completed it.
        with suppress(UploadConflict):
            server.send(upload_id, content)
        return server.complete(upload_id)

    with ThreadPoolExecutor(2) as clients:
        first, second = clients.map(upload, range(2))
    assert first.job.job_id == second.job.job_id and stored_uploads(server.library) == [content]


def test_the_same_content_under_two_names_is_stored_once(server: Server, content: bytes) -> None:
    with ThreadPoolExecutor(2) as clients:
        results = list(clients.map(lambda name: server.upload(content, name), ("a.mp4", "b.mp4")))
    results.append(server.upload(content, "c.mp4"))
    assert len({result.job.job_id for result in results}) == 1 and stored_uploads(server.library) == [content]
    assert sorted(result.is_repeated for result in results[:2]) == [False, True] and results[2].is_repeated
    assert file_names(unfinished_folder(server.library)).count("upload.json") == 3


def test_an_upload_that_was_given_up_is_deleted_after_a_day(server: Server, content: bytes) -> None:
    old, new = server.begin(content), server.begin(content, "b.mp4")
    server.send(old.upload_id, content, 0)
    interrupted = unfinished_folder(server.library) / ("x" * 32)
    interrupted.mkdir()
    (interrupted / "data.mp4").write_bytes(b"left")
    (unfinished_folder(server.library) / "of the user").write_bytes(b"kept")
    for path in (old.folder / "upload.json", old.folder / "digests"):
        os.utime(path, (time.time() - UNFINISHED_KEPT_S + 60,) * 2)
    run_housekeeping(server.app.parts.library, 1 << 30)
    assert old.folder.exists()
    os.utime(old.folder / "digests", (time.time() - UNFINISHED_KEPT_S - 60,) * 2)
    os.utime(old.folder / "upload.json", (time.time() - UNFINISHED_KEPT_S - 60,) * 2)
    run_housekeeping(server.app.parts.library, 1 << 30)
    assert sorted(path.name for path in unfinished_folder(server.library).iterdir()) == sorted([new.upload_id, "of the user"])
    with pytest.raises(UnknownUpload, match="send the file again"):
        server.send(old.upload_id, content, 1)


def test_the_number_of_unfinished_uploads_is_bounded(server: Server, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part_uploads, "MAX_UNFINISHED", 3)
    uploads = [server.begin(content, f"{number}.mp4") for number in range(3)]
    with pytest.raises(TooManyUploads, match="3 uploads are unfinished"):
        server.begin(content, "3.mp4")
    assert server.begin(content, "0.mp4").upload_id == uploads[0].upload_id
    server.uploads.give_up(uploads[1].upload_id)
    server.begin(content, "3.mp4")


def test_a_cache_that_is_a_link_is_not_used(tmp_path: Path, content: bytes) -> None:
    server, outside = Server(tmp_path / "library"), tmp_path / "outside"
    outside.mkdir()
    (server.library / "cache").symlink_to(outside)
    with pytest.raises(Exception, match="replace the link with a folder"):
        server.begin(content)
    run_housekeeping(server.app.parts.library, 1 << 30)
    assert file_names(outside) == []
    server.workers.close()


def test_an_upload_is_not_read_again_if_its_parts_came_in_order(
    server: Server, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers: list[int] = []
    read_part = UploadFiles.read_part

    def noted(upload: UploadFiles, number: int) -> bytes:
        numbers.append(number)
        return read_part(upload, number)

    monkeypatch.setattr(UploadFiles, "read_part", noted)
    upload = server.begin(content)
    server.send(upload.upload_id, content, 1, 0, 2, 3, 4, 5)
    assert server.complete(upload.upload_id).sha256 == hashlib.sha256(content).hexdigest()
    # Only what came too early.
    assert numbers == [1]


def test_an_upload_can_be_given_up_while_it_is_checked(server: Server, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    upload = server.begin(content)
    server.send(upload.upload_id, content)
    server.start()
    is_reading, read_part = threading.Event(), UploadFiles.read_part

    def read_slowly(upload: UploadFiles, number: int) -> bytes:
        is_reading.set()
        time.sleep(0.3)
        return read_part(upload, number)

    monkeypatch.setattr(UploadFiles, "read_part", read_slowly)
    with ThreadPoolExecutor(1) as client:
        completion = client.submit(server.complete, upload.upload_id)
        assert is_reading.wait(10)
        server.uploads.give_up(upload.upload_id)
        with pytest.raises(UnknownUpload, match="was given up"):
            completion.result()
    assert file_names(unfinished_folder(server.library)) == [] and server.workers.jobs() == ()


def test_settings_bound_the_size(tmp_path: Path) -> None:
    uploads = PartUploads(demo_settings(tmp_path, max_upload_bytes=1000))
    with pytest.raises(Exception, match="max_upload_bytes allows 1,000 bytes"):
        uploads.begin("a.mp4", 1001, 0)
    uploads = PartUploads(demo_settings(tmp_path, max_file_bytes=1000))
    with pytest.raises(Exception, match="max_file_bytes"):
        uploads.begin("a.mp4", 1001, 0)
