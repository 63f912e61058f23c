"""Folders that are followed: a file is reported once it is complete, and nothing outside of the folder is."""

import os
import time
from pathlib import Path

import pytest

from longview.app.errors import BadRequest
from longview.app.folder_watch import FolderWatch, media_files

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
    assert watch.look().complete == [path]
    assert watch.look().complete == []
    path.write_bytes(b"changed")
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
    renamed = path.rename(folder / "trip" / "b.mp4")
    changes = watch.look()
    assert changes.gone == [path]
    time.sleep(REST_S)
    assert changes.complete + watch.look().complete == [renamed]
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


def test_folder_that_is_gone_is_an_error(folder: Path) -> None:
    watch = FolderWatch([folder], rest_s=REST_S)
    watch.look()
    (folder / "trip").rmdir()
    folder.rmdir()
    with pytest.raises(BadRequest, match="cannot be searched"):
        watch.look()
