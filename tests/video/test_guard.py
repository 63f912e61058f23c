"""Only local files that hold their own data may be opened."""

import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from longview.video.decoder import Decoder
from longview.video.errors import NotAVideo, TooLarge, VideoError, VideoNotFound
from longview.video.ffmpeg import ffmpeg_path
from longview.video.guard import CODECS, Limits, check_path, demuxer_url
from longview.video.probe import probe
from tests.barcodes import run_ffmpeg

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
        assert check_path(spelling) == (tmp_path / "clip.mp4").resolve()


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
        check_path(f"{tmp_path}/{name}")


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
                check_path(private)
        finally:
            if root:
                os.seteuid(0)


LISTS = {
    "HLS": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{}\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile '{}'\n",
    "DASH": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static">'
    '<Period><AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1"><BaseURL>{}</BaseURL></Representation>'
    "</AdaptationSet></Period></MPD>",
    "SDP": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    "a path": "{}\n",
    "an image script": "#!/bin/sh\ncat {}\n",
}


@pytest.mark.parametrize("content", LISTS.values(), ids=LISTS.keys())
@pytest.mark.parametrize("name", ["clip.mp4", "clip.m3u8", "clip.txt", "clip.ffconcat", "clip.sdp", "clip.mpd"])
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
    assert demuxer_url(check_path(name)).startswith("file:/")


def test_a_name_of_255_bytes_is_only_a_name(tmp_path: Path, shapes_path: Path, decoder: Decoder) -> None:
    name = "가" * 83 + "ab.mp4"
    assert len(name.encode()) == 255
    (tmp_path / name).write_bytes(shapes_path.read_bytes())
    video = decoder.probe(tmp_path / name)
    assert sum(map(len, decoder.frames_played_at(video, [1.0, 2.0], 32, 32))) == 2


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        (Limits(size_bytes=1000), "max_file_bytes"),
        (Limits(pixels=320 * 192 - 1), "max_pixels"),
        (Limits(frames=499), "max_frames"),
        (Limits(duration_s=19.0), "max_duration_s"),
    ],
)
def test_a_file_beyond_a_limit_is_refused_with_the_setting_to_raise(shapes_path: Path, limits: Limits, says: str) -> None:
    decoder = Decoder(limits, processes=1)
    with pytest.raises(TooLarge, match=f"{shapes_path.name}.*{says}"):
        decoder.probe(shapes_path)
    decoder.close()
    just = Limits(size_bytes=shapes_path.stat().st_size, pixels=320 * 192, frames=500, duration_s=20.1)
    assert probe(shapes_path, limits=just).duration_s == pytest.approx(20)


def test_only_files_inside_the_allowed_folders_are_opened_links_included(tmp_path: Path, shapes_path: Path) -> None:
    inside = tmp_path / "videos"
    inside.mkdir()
    (inside / "copy.mp4").write_bytes(shapes_path.read_bytes())
    (inside / "link.mp4").symlink_to(shapes_path)
    decoder = Decoder(Limits(folders=(inside,)), processes=1)
    assert decoder.probe(inside / "copy.mp4").duration_s == pytest.approx(20)
    for outside in (shapes_path, inside / "link.mp4", inside / ".." / "videos" / ".." / ".." / shapes_path.name):
        with pytest.raises(VideoNotFound):
            decoder.probe(outside)
    decoder.close()


def test_a_codec_that_nobody_watches_over_is_refused_with_what_to_do(tmp_path: Path) -> None:
    assert "snow" not in CODECS.split(",")
    picture = ("-f", "lavfi", "-i", "testsrc=d=1:r=5:s=64x64", "-pix_fmt", "yuv420p")
    run_ffmpeg(*picture, "-c:v", "snow", "-strict", "-2", str(tmp_path / "snow.avi"))
    with pytest.raises(NotAVideo, match=r"snow.*H\.264"):
        probe(tmp_path / "snow.avi")


def test_a_file_that_grows_midway_is_held_to_the_limit_there_too(tmp_path: Path) -> None:
    parts = []
    for size in ("64x64", "1600x1200"):
        source = ("-f", "lavfi", "-i", f"testsrc=d=2:r=10:s={size}", "-c:v", "mpeg2video", "-g", "5")
        run_ffmpeg(*source, str(tmp_path / f"{size}.ts"))
        parts.append((tmp_path / f"{size}.ts").read_bytes())
    (tmp_path / "grows.ts").write_bytes(b"".join(parts))
    for reader in ("pyav", "ffmpeg"):
        decoder = Decoder(Limits(pixels=100_000), backend=reader, processes=1)
        video = decoder.probe(tmp_path / "grows.ts")
        chunks = list(decoder.frames_played_at(video, [0.1 + index / 5 for index in range(20)], 32, 32))
        assert sum(map(len, chunks)) <= 10
        decoder.close()


def test_a_small_file_that_declares_a_huge_picture_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    run_ffmpeg("-f", "lavfi", "-i", "color=s=16000x16000:r=1:d=1", "-c:v", "mjpeg", "-q:v", "31", str(tmp_path / "bomb.avi"))
    assert (tmp_path / "bomb.avi").stat().st_size < 4 << 20
    with pytest.raises(TooLarge, match="16000x16000"):
        probe(tmp_path / "bomb.avi")
