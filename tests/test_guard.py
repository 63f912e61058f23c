"""Only local files that hold their own data may be opened."""

import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from video.errors import NotAVideo, VideoError, VideoNotFound
from video.ffmpeg import ffmpeg_path
from video.guard import checked_path, demuxer_url
from video.probe import probe

NOBODY = 65534


@pytest.fixture
def secret(shapes_path: Path) -> Path:
    """A video that another file points to."""
    return shapes_path


def test_a_relative_path_and_a_link_lead_to_the_same_absolute_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"x")
    (tmp_path / "link.mp4").symlink_to(tmp_path / "clip.mp4")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for spelling in ("clip.mp4", "link.mp4", "./../" + tmp_path.name + "/clip.mp4", "~/clip.mp4"):
        assert checked_path(spelling) == (tmp_path / "clip.mp4").resolve()


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("missing.mp4", VideoNotFound),
        ("", NotAVideo),
        ("empty.mp4", NotAVideo),
        ("pipe.mp4", NotAVideo),
        ("loop.mp4", VideoNotFound),
        ("nul\0.mp4", VideoNotFound),
        ("x" * 300 + ".mp4", VideoNotFound),
        ("empty.mp4/inside.mp4", VideoNotFound),
    ],
)
def test_what_is_no_readable_regular_file_is_refused_by_name(tmp_path: Path, name: str, error: type[VideoError]) -> None:
    (tmp_path / "empty.mp4").touch()
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "loop.mp4").symlink_to(tmp_path / "loop.mp4")
    with pytest.raises(error):
        checked_path(f"{tmp_path}/{name}")


def test_a_file_without_permission_is_refused() -> None:
    # Not in tmp_path, whose folders only their owner may enter: here the file alone must be what cannot be read.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        private = Path(folder, "private.mp4")
        private.write_bytes(b"x")
        private.chmod(0)
        root = os.geteuid() == 0
        if root:
            os.seteuid(NOBODY)  # root may read every file
        try:
            assert private.stat().st_size == 1
            with pytest.raises(VideoNotFound, match="cannot be read: Permission denied"):
                checked_path(private)
        finally:
            if root:
                os.seteuid(0)


@pytest.mark.parametrize(
    "content", ["#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{}\n#EXT-X-ENDLIST\n", "ffconcat version 1.0\nfile '{}'\n", "{}\n"]
)
@pytest.mark.parametrize("name", ["clip.mp4", "clip.m3u8", "clip.txt", "clip.ffconcat"])
def test_a_list_that_points_at_another_file_is_never_followed(tmp_path: Path, secret: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content.format(secret))
    with pytest.raises(NotAVideo):
        probe(tmp_path / name)


def test_pictures_with_a_numbered_name_are_not_taken_for_a_sequence(tmp_path: Path) -> None:
    sequence = str(tmp_path / "frame%03d.png")
    subprocess.run(
        [ffmpeg_path(), "-loglevel", "error", "-f", "lavfi", "-i", "testsrc=d=1:r=5:s=64x64", sequence], check=True, timeout=30
    )
    (tmp_path / "frame%03d.png").write_bytes((tmp_path / "frame001.png").read_bytes())
    with pytest.raises(NotAVideo):
        probe(tmp_path / "frame%03d.png")


@pytest.mark.parametrize(
    "name", ["-i.mp4", "http:evil.mp4", "concat:a|b.mp4", "a%20b 'c\".mp4", "비디오 🎬.mp4", "line\nbreak.mp4"]
)
def test_a_strange_name_is_only_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shapes_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(shapes_path.read_bytes())
    monkeypatch.chdir(tmp_path)
    assert probe(name).duration_s == pytest.approx(20)
    assert demuxer_url(checked_path(name)).startswith("file:/")
