"""Tests of the selection and execution of ffmpeg, and of atomic writes."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import ffmpeg
import imageio_ffmpeg
import pytest

from longview.core.atomic import atomic_write
from longview.video.errors import FFmpegFailed
from longview.video.ffmpeg import MIN_MAJOR_VERSION, ffmpeg_major_version, ffmpeg_path, run
from longview.video.probing.probe import probe


@pytest.fixture
def empty_cache() -> Iterator[None]:
    ffmpeg_path.cache_clear()
    yield
    ffmpeg_path.cache_clear()


def fake_ffmpeg(folder: Path, output: str) -> Path:
    program = folder / "ffmpeg"
    program.write_text(f"#!/bin/sh\necho '{output}'\n")
    program.chmod(0o755)
    return program


@pytest.mark.parametrize(
    ("output", "major"),
    [
        ("ffmpeg version 6.1.1-3ubuntu5 Copyright (c) 2000-2023", 6),
        ("ffmpeg version n7.1 Copyright", 7),
        ("ffmpeg version 4.4.2-0ubuntu0.22.04.1 Copyright", 4),
        ("something else entirely", 0),
    ],
)
def test_version_is_parsed_from_the_output(tmp_path: Path, output: str, major: int) -> None:
    assert ffmpeg_major_version(str(fake_ffmpeg(tmp_path, output))) == major


def test_development_build_is_new_and_missing_program_is_not(tmp_path: Path) -> None:
    assert ffmpeg_major_version(str(fake_ffmpeg(tmp_path, "ffmpeg version N-109542-g1bf1dcf"))) >= MIN_MAJOR_VERSION
    assert ffmpeg_major_version(str(tmp_path / "nowhere")) == 0


@pytest.mark.usefixtures("empty_cache")
@pytest.mark.parametrize(("major", "is_used"), [(MIN_MAJOR_VERSION, True), (MIN_MAJOR_VERSION - 1, False)])
def test_system_ffmpeg_is_used_unless_it_is_too_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, major: int, is_used: bool
) -> None:
    program = fake_ffmpeg(tmp_path, f"ffmpeg version {major}.0 Copyright")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert ffmpeg_path() == (str(program) if is_used else imageio_ffmpeg.get_ffmpeg_exe())


@pytest.mark.usefixtures("empty_cache")
def test_missing_program_is_named_with_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tmp_path / "missing"))
    with pytest.raises(FFmpegFailed, match=r"missing cannot be started .*install ffmpeg"):
        run(ffmpeg.input("color=d=1:s=64x64", f="lavfi").output(str(tmp_path / "out.mp4")), timeout_s=30)


def test_graph_runs_and_replaces_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    target.write_bytes(b"old")
    run(ffmpeg.input("color=d=1:s=64x64", f="lavfi").output(str(target), vcodec="libx264", pix_fmt="yuv420p"), timeout_s=30)
    assert probe(target).duration_s == pytest.approx(1.0)


def test_failure_message_has_the_last_line_of_ffmpeg(tmp_path: Path) -> None:
    with pytest.raises(FFmpegFailed, match="No such file"):
        run(ffmpeg.input(str(tmp_path / "missing.mp4")).output(str(tmp_path / "out.mp4")), timeout_s=30)


@pytest.mark.parametrize("container", ["mp4", "mpegts"])
def test_full_disk_is_the_error_of_the_system(container: str) -> None:
    graph = ffmpeg.input("testsrc=d=1:s=64x64", f="lavfi").output("/dev/full", f=container)
    with pytest.raises(OSError, match="No space left") as raised:
        run(graph, timeout_s=30)
    assert raised.value.errno == errno.ENOSPC


def test_run_is_stopped_after_the_timeout(tmp_path: Path) -> None:
    endless = ffmpeg.input("testsrc=s=1920x1080", f="lavfi", re=None).output(str(tmp_path / "out.mkv"))
    with pytest.raises(FFmpegFailed, match="did not finish within 1 seconds"):
        run(endless, timeout_s=1)


def test_atomic_write_is_complete_with_default_permissions(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder" / "clip.mp4"
    with atomic_write(target) as temporary_path:
        temporary_path.write_bytes(b"whole")
        assert not target.exists()
        assert temporary_path.suffix == ".mp4"
    (tmp_path / "ordinary").touch()
    assert target.read_bytes() == b"whole"
    assert target.stat().st_mode == (tmp_path / "ordinary").stat().st_mode
    assert [path.name for path in target.parent.iterdir()] == ["clip.mp4"]


def test_atomic_write_keeps_the_permissions_of_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "settings.toml"
    target.write_text("old")
    target.chmod(0o600)
    with atomic_write(target) as temporary_path:
        temporary_path.write_text("new")
    assert target.read_text() == "new" and target.stat().st_mode & 0o777 == 0o600


def test_failed_atomic_write_keeps_only_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "clip.mp4"
    target.write_bytes(b"old")

    def fail_during_write() -> None:
        with atomic_write(target) as temporary_path:
            temporary_path.write_bytes(b"half")
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        fail_during_write()
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]
