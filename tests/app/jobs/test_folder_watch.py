"""Folders that are followed: a file is reported once it is complete, and nothing outside of the folder is."""

import os
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from longview.app.errors import BadRequest
from longview.app.jobs.folder_watch import FolderChanges, FolderWatch, media_files
from tests.support.small_disk import small_disk

REST_S = 0.4


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "films" / "trip").mkdir(parents=True)
    return tmp_path / "films"


def test_file_is_reported_once_it_is_no_longer_written(folder: Path) -> None:
    watch = FolderWatch([folder], rest_s=REST_S)
    path = folder / "trip" / "growing.mp4"
    deadline = time.monotonic() + 1.0
    while time.monotonic() < deadline:
        with path.open("ab") as file:
            file.write(b"x" * 1000)
        assert watch.look().complete == []
        time.sleep(0.05)
    time.sleep(REST_S)
    # Until the caller has added it, it is reported again.
    assert watch.look().complete == watch.look().complete == [path]
    watch.mark_done(path)
    assert watch.look().complete == []
    path.write_bytes(b"changed")
    assert watch.look().complete == []
    time.sleep(REST_S)
    assert watch.look().complete == [path]
    # What is written between the report and the mark is not lost.
    path.write_bytes(b"changed again")
    watch.mark_done(path)
    assert watch.look().complete == []
    time.sleep(REST_S)
    assert watch.look().complete == [path]


def test_old_file_is_reported_at_the_first_look_and_a_renamed_one_under_its_new_name(folder: Path) -> None:
    path = folder / "a.mp4"
    path.write_bytes(b"x")
    # A time in the future, as of a camera whose clock is wrong, keeps no file back.
    os.utime(path, (time.time() + 10_000, time.time() + 10_000))
    time.sleep(REST_S)
    watch = FolderWatch([folder], rest_s=REST_S)
    assert watch.look().complete == [path]
    watch.mark_done(path)
    renamed = path.rename(folder / "trip" / "b.mp4")
    changes = watch.look()
    assert changes.gone == [path]
    time.sleep(REST_S)
    assert changes.complete + watch.look().complete == [renamed]
    watch.mark_done(renamed)
    renamed.unlink()
    assert watch.look().gone == [renamed]
    assert watch.look().gone == []


def test_only_media_files_inside_of_the_folder_are_found(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.mp4").write_bytes(b"x")
    (folder / "link.mp4").symlink_to(outside / "secret.mp4")
    (folder / "linked").symlink_to(outside)
    (folder / "loop").symlink_to(folder)
    (folder / "loop.mp4").symlink_to(folder / "loop.mp4")
    os.mkfifo(folder / "pipe.mp4")
    for name in ("notes.txt", "empty.mp4", ".hidden.mp4"):
        (folder / name).write_bytes(b"" if name == "empty.mp4" else b"x")
    (folder / ".cache").mkdir()
    for name in ("FILM.MP4", "trip/sound.opus", ".cache/thumb.mp4"):
        (folder / name).write_bytes(b"x")
    assert [path.relative_to(folder).as_posix() for path, _ in media_files(folder)] == ["FILM.MP4", "trip/sound.opus"]


def test_listing_of_a_folder_ends_after_its_maximum_time(folder: Path) -> None:
    with pytest.raises(BadRequest, match="more folders than can be read in 0 s"):
        list(media_files(folder, max_s=0.0))


def test_the_clock_of_a_disk_that_is_behind_makes_no_file_complete(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = FolderWatch([folder], rest_s=REST_S)
    watch.look()
    monkeypatch.setattr("time.time", lambda: datetime.now(UTC).timestamp() + 3600)
    path = folder / "copied.mp4"
    path.write_bytes(b"x")
    assert watch.look().complete == []
    time.sleep(REST_S)
    assert watch.look().complete == [path]


def test_folder_that_is_gone_for_a_while_loses_nothing(folder: Path, tmp_path: Path) -> None:
    (folder / "a.mp4").write_bytes(b"x")
    (tmp_path / "other").mkdir()
    time.sleep(REST_S)
    watch = FolderWatch([folder, tmp_path / "other"], rest_s=REST_S)
    watch.look()
    watch.mark_done(folder / "a.mp4")
    folder.rename(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "b.mp4").write_bytes(b"x")
    (tmp_path / "other" / "c.mp4").write_bytes(b"x")
    assert watch.look() == FolderChanges(unreachable=[folder])
    time.sleep(REST_S)
    assert watch.look() == FolderChanges(complete=[tmp_path / "other" / "c.mp4"])
    watch.mark_done(tmp_path / "other" / "c.mp4")
    (tmp_path / "elsewhere").rename(folder)
    assert watch.look() == FolderChanges()
    time.sleep(REST_S)
    assert watch.look() == FolderChanges(complete=[folder / "b.mp4"])
    folder.rename(tmp_path / "elsewhere")
    assert watch.look().unreachable == [folder]


def test_the_files_of_a_disk_that_is_unmounted_are_not_gone(folder: Path) -> None:
    with small_disk(folder, "1m"):
        (folder / "a.mp4").write_bytes(b"x")
        time.sleep(REST_S)
        watch = FolderWatch([folder], rest_s=REST_S)
        watch.look()
        watch.mark_done(folder / "a.mp4")
    assert watch.look() == FolderChanges(unreachable=[folder])
    assert watch.look() == FolderChanges()


def test_folder_that_cannot_be_read_at_the_beginning_is_an_error(folder: Path) -> None:
    watch = FolderWatch([folder, folder / "none"], rest_s=REST_S)
    with pytest.raises(BadRequest, match="cannot be searched"):
        watch.look()
