"""Tests that only local, self-contained files within the limits are opened."""

import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from longview.video.decoding.decoder import Decoder
from longview.video.errors import NotAVideo, TooLarge, VideoError, VideoNotFound
from longview.video.ffmpeg import ffmpeg_path
from longview.video.probing.guard import CODECS, Limits, check_path, demuxer_url
from longview.video.probing.probe import probe
from tests.support.barcodes import run_ffmpeg

NOBODY = 65534


@pytest.fixture
def secret(shapes_path: Path) -> Path:
    """A video to which another file refers."""
    return shapes_path


def test_relative_path_and_link_resolve_to_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_path_that_is_not_a_regular_file_is_rejected(tmp_path: Path, name: str, error: type[VideoError]) -> None:
    (tmp_path / "empty.mp4").touch()
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "loop.mp4").symlink_to(tmp_path / "loop.mp4")
    with pytest.raises(error):
        check_path(f"{tmp_path}/{name}")


def test_file_without_read_permission_is_rejected() -> None:
    # The folders of tmp_path are private to their owner, but in this test only the file may be unreadable.
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


REFERENCES = {
    "HLS": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{}\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile '{}'\n",
    "DASH": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static">'
    '<Period><AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1"><BaseURL>{}</BaseURL></Representation>'
    "</AdaptationSet></Period></MPD>",
    "SDP": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    "a path": "{}\n",
    "an image script": "#!/bin/sh\ncat {}\n",
}


@pytest.mark.parametrize("content", REFERENCES.values(), ids=REFERENCES.keys())
@pytest.mark.parametrize("name", ["clip.mp4", "clip.mp3", "clip.m3u8", "clip.txt", "clip.ffconcat", "clip.sdp", "clip.mpd"])
def test_reference_to_another_file_is_never_followed(tmp_path: Path, secret: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content.format(secret))
    with pytest.raises(NotAVideo):
        probe(tmp_path / name)


def test_numbered_image_is_not_opened_as_a_sequence(tmp_path: Path) -> None:
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
def test_unusual_file_name_is_not_interpreted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shapes_path: Path, name: str
) -> None:
    (tmp_path / name).write_bytes(shapes_path.read_bytes())
    monkeypatch.chdir(tmp_path)
    assert probe(name).duration_s == pytest.approx(20)
    assert demuxer_url(check_path(name)).startswith("file:/")


def test_file_name_of_255_bytes_is_opened(tmp_path: Path, shapes_path: Path, decoder: Decoder) -> None:
    name = "가" * 83 + "ab.mp4"
    assert len(name.encode()) == 255
    (tmp_path / name).write_bytes(shapes_path.read_bytes())
    video = decoder.probe(tmp_path / name)
    assert sum(map(len, decoder.frames_played_at(video, [1.0, 2.0], 32, 32))) == 2


@pytest.mark.parametrize(
    ("limits", "setting"),
    [
        (Limits(size_bytes=1000), "max_file_bytes"),
        (Limits(pixels=320 * 192 - 1), "max_pixels"),
        (Limits(frames=499), "max_frames"),
        (Limits(duration_s=19.0), "max_duration_s"),
    ],
)
def test_error_for_a_large_file_names_the_setting(shapes_path: Path, limits: Limits, setting: str) -> None:
    decoder = Decoder(limits, processes=1)
    with pytest.raises(TooLarge, match=f"{shapes_path.name}.*{setting}"):
        decoder.probe(shapes_path)
    decoder.close()
    exact_limits = Limits(size_bytes=shapes_path.stat().st_size, pixels=320 * 192, frames=500, duration_s=20.1)
    assert probe(shapes_path, limits=exact_limits).duration_s == pytest.approx(20)


def test_file_or_link_target_outside_the_folders_is_rejected(tmp_path: Path, shapes_path: Path) -> None:
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


def test_unsupported_codec_is_rejected_with_a_remedy(tmp_path: Path) -> None:
    assert "snow" not in CODECS.split(",")
    source = ("-f", "lavfi", "-i", "testsrc=d=1:r=5:s=64x64", "-pix_fmt", "yuv420p")
    run_ffmpeg(*source, "-c:v", "snow", "-strict", "-2", str(tmp_path / "snow.avi"))
    with pytest.raises(NotAVideo, match=r"snow.*H\.264"):
        probe(tmp_path / "snow.avi")


def test_frame_size_is_limited_throughout_the_file(tmp_path: Path) -> None:
    parts = []
    for size in ("64x64", "1600x1200"):
        source = ("-f", "lavfi", "-i", f"testsrc=d=2:r=10:s={size}", "-c:v", "mpeg2video", "-g", "5")
        run_ffmpeg(*source, str(tmp_path / f"{size}.ts"))
        parts.append((tmp_path / f"{size}.ts").read_bytes())
    (tmp_path / "grows.ts").write_bytes(b"".join(parts))
    for backend in ("pyav", "ffmpeg"):
        decoder = Decoder(Limits(pixels=100_000), backend=backend, processes=1)
        video = decoder.probe(tmp_path / "grows.ts")
        chunks = list(decoder.frames_played_at(video, [0.1 + index / 5 for index in range(20)], 32, 32))
        assert sum(map(len, chunks)) <= 10
        decoder.close()


def test_file_with_a_huge_frame_is_rejected_before_decoding(tmp_path: Path) -> None:
    run_ffmpeg("-f", "lavfi", "-i", "color=s=16000x16000:r=1:d=1", "-c:v", "mjpeg", "-q:v", "31", str(tmp_path / "bomb.avi"))
    assert (tmp_path / "bomb.avi").stat().st_size < 4 << 20
    with pytest.raises(TooLarge, match="16000x16000"):
        probe(tmp_path / "bomb.avi")
