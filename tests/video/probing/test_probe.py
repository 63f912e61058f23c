"""Tests of `probe` on files that ffmpeg rendered with known metadata, and against ffprobe."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from longview.core.timeline import Span
from longview.model.engine.checkpoints.profiles import find_profile
from longview.video.decoding.decoder import Decoder
from longview.video.errors import NoFrames, NotAVideo, TooLarge, UnreadableVideo
from longview.video.ffmpeg import ffmpeg_path
from longview.video.probing.content_hash import content_hash
from longview.video.probing.guard import Limits
from longview.video.probing.probe import VideoInfo, probe
from longview.video.sampler import plan_sampling
from longview.video.sampling_plan import Budget
from longview.video.thumbnails import contact_sheet, thumbnail
from longview.video.transcoding import cut_reencode, cut_stream_copy, is_browser_playable, make_browser_copy
from tests.support import ffprobe_oracle, media_samples
from tests.support.barcodes import run_ffmpeg

SOURCE = ("-f", "lavfi", "-i", "testsrc=duration=4:rate=10:size=128x64")
AUDIO = ("-f", "lavfi", "-i", "sine=duration=6:sample_rate=44100")
H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")

Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def render(name: str, *arguments: str) -> Path:
        command = [ffmpeg_path(), "-y", "-hide_banner", "-loglevel", "error", *arguments, str(tmp_path / name)]
        subprocess.run(command, check=True, timeout=60, capture_output=True)
        return tmp_path / name

    return render


def test_metadata_of_a_simple_video(shapes_video: VideoInfo, shapes_path: Path) -> None:
    assert shapes_video == VideoInfo(
        path=shapes_path.resolve(),
        content_hash=content_hash(shapes_path),
        duration_s=20.0,
        width=320,
        height=192,
        rotation_deg=0,
        fps_nominal=25.0,
        is_vfr=False,
        start_offset_s=0.0,
        stream_index=0,
        codec="h264",
        container="mov,mp4,m4a,3gp,3g2,mj2",
        pixel_format="yuv420p",
        size_bytes=shapes_path.stat().st_size,
    )


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.mov", "a.ts", "a.flv"])
def test_duration_and_audio_in_every_container(make: Make, name: str) -> None:
    video = probe(make(name, *SOURCE, *AUDIO, *H264, "-bf", "0", "-t", "4"))
    assert video.duration_s == pytest.approx(4.0, abs=0.15)
    assert video.has_audio
    assert video.fps_nominal == pytest.approx(10)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("late.mkv", ("-output_ts_offset", "10")),
        ("late.mp4", ("-output_ts_offset", "10")),
        ("late.ts", ("-output_ts_offset", "10")),
        ("live.webm", ("-f", "webm", "-live", "1", "-c:v", "libvpx", "-deadline", "realtime")),
    ],
)
def test_duration_without_header_or_with_a_late_start(make: Make, name: str, options: tuple[str, ...]) -> None:
    video = probe(make(name, *SOURCE, *H264, *options))
    assert video.duration_s == pytest.approx(4.0, abs=0.01)
    if name.startswith("late"):
        assert video.start_offset_s == pytest.approx(10, abs=2)


def test_duration_is_that_of_the_video_stream(make: Make) -> None:
    assert probe(make("long_audio.mp4", *SOURCE, *AUDIO, *H264)).duration_s == pytest.approx(4.0, abs=0.01)


@pytest.mark.parametrize(
    ("rotation", "clockwise_deg", "size"),
    [("90", 270, (64, 128)), ("-90", 90, (64, 128)), ("180", 180, (128, 64)), ("0", 0, (128, 64))],
)
def test_size_is_the_displayed_one_after_rotation(make: Make, rotation: str, clockwise_deg: int, size: tuple[int, int]) -> None:
    video = probe(make("rotated.mp4", "-display_rotation", rotation, "-i", str(make("plain.mp4", *SOURCE, *H264)), "-c", "copy"))
    assert video.rotation_deg == clockwise_deg
    assert (video.width, video.height) == size


@pytest.mark.parametrize(("aspect", "size"), [("2/1", (256, 64)), ("1/2", (128, 128)), ("1/1", (128, 64))])
def test_non_square_pixels_only_enlarge_the_frame(make: Make, aspect: str, size: tuple[int, int]) -> None:
    video = probe(make("wide.mp4", *SOURCE, "-vf", f"setsar={aspect}", *H264))
    assert (video.width, video.height) == size


def test_displayed_size_is_limited_and_plausible(make: Make, tmp_path: Path) -> None:
    data = bytearray(make("wide.mp4", *SOURCE, "-vf", "setsar=2/1", *H264).read_bytes())
    with pytest.raises(TooLarge, match="256x64 .* max_pixels"):
        probe(tmp_path / "wide.mp4", limits=Limits(pixels=128 * 64))
    # One bit of the height of a pixel: 1 becomes 2 ** 20 + 1.
    data[data.index(b"pasp") + 9] ^= 1 << 4
    (tmp_path / "flipped.mp4").write_bytes(data)
    flipped = probe(tmp_path / "flipped.mp4")
    assert (flipped.width, flipped.height, flipped.pixel_aspect) == (128, 64, 1.0)


def test_variable_frame_rate_is_detected(make: Make) -> None:
    options = ("-vf", "select='not(between(n,10,30))'", "-fps_mode", "vfr")
    assert probe(make("vfr.mp4", *SOURCE, *H264, *options)).is_vfr


def test_cover_picture_is_not_selected(make: Make) -> None:
    cover, video = make("cover.png", *SOURCE, "-frames:v", "1"), make("video.mp4", *SOURCE, *H264)
    both = make(
        "both.mp4", "-i", str(cover), "-i", str(video), "-map", "0", "-map", "1", "-c", "copy", "-disposition:v:0", "attached_pic"
    )
    assert probe(both).codec == "h264"
    song = make(
        "song.mp4", *AUDIO, "-i", str(cover), "-map", "0", "-map", "1", "-c:v", "copy", "-disposition:v:0", "attached_pic"
    )
    assert probe(song).has_frames is False


SOUND_FILES = {
    "a.mp3": ("-c:a", "libmp3lame", "-id3v2_version", "3"),
    "no header.mp3": ("-c:a", "libmp3lame", "-write_xing", "0", "-q:a", "4"),
    "a.m4a": ("-c:a", "aac"),
    "a.wav": ("-c:a", "pcm_s16le"),
    "a.flac": ("-c:a", "flac"),
    "a.ogg": ("-c:a", "libvorbis"),
    "a.opus": ("-c:a", "libopus"),
    "a.aac": ("-c:a", "aac"),
    "a.wma": ("-c:a", "wmav2"),
    "a.mka": ("-c:a", "aac"),
}


@pytest.mark.parametrize("name", SOUND_FILES)
def test_file_with_only_sound_has_its_duration(make: Make, decoder: Decoder, name: str) -> None:
    # Loud noise follows near silence, so that the bit rate at the beginning does not reveal the duration.
    source = ("-f", "lavfi", "-i", "anoisesrc=d=30:r=44100:seed=1,volume='if(lt(t,10),0.0001,1)':eval=frame")
    video = decoder.probe(make(name, *source, "-ac", "2", *SOUND_FILES[name]))
    assert video.duration_s == pytest.approx(30.0, abs=0.12)
    assert (video.has_frames, video.has_audio, video.width, video.fps_nominal, video.codec) == (False, True, 0, 0.0, "")
    (stream,) = video.audio_streams
    assert (stream.index, stream.channels) == (0, 2)
    assert stream.sample_rate_hz == (48_000 if name == "a.opus" else 44_100)
    assert is_browser_playable(video) is (video.path.suffix not in (".aac", ".wma", ".mka"))


@pytest.mark.parametrize("name", ["a.mp3", "a.m4a", "a.flac"])
def test_sound_with_a_cover_picture_has_no_frames(make: Make, decoder: Decoder, name: str, tmp_path: Path) -> None:
    cover = make("cover.png", *SOURCE, "-frames:v", "1")
    maps = ("-map", "0", "-map", "1", "-c:v", "copy", "-disposition:v:0", "attached_pic")
    video = decoder.probe(make(name, *AUDIO, "-i", str(cover), *maps))
    assert not video.has_frames
    assert video.duration_s == pytest.approx(6.0, abs=0.1)
    span, target = Span(1.0, 2.0), tmp_path / "target.jpg"
    for operation in (
        lambda: next(decoder.frames_played_at(video, [0.0], 32, 32)),
        lambda: decoder.key_times(video, [1.0]),
        lambda: decoder.key_frames_around(video, 1.0),
        lambda: thumbnail(decoder, video, 1.0, target),
        lambda: contact_sheet(decoder, video, target),
        lambda: cut_reencode(video, span, target, first_frame_s=1.0),
        lambda: cut_stream_copy(video, span, target, key_frames_s=(1.0, 2.0)),
        lambda: plan_sampling(video, Budget(100_000, 100, find_profile().trained_range, lambda _: 10)),
    ):
        with pytest.raises(NoFrames, match=f"{name} has sound but no pictures; "):
            operation()
    assert not target.exists()
    copy = probe(make_browser_copy(video, tmp_path / "copy.mp4"))
    assert (copy.has_frames, copy.audio_streams[0].codec) == (False, "aac")


def test_duration_of_sound_is_limited(make: Make) -> None:
    for name in ("a.mp3", "a.aac", "a.flac"):
        path = make(name, *AUDIO)
        assert probe(path, limits=Limits(duration_s=6.1)).duration_s == pytest.approx(6.0, abs=0.1)
        with pytest.raises(TooLarge, match=r"declares 6 seconds; the setting max_duration_s"):
            probe(path, limits=Limits(duration_s=5.0))


def test_sound_in_an_unsupported_codec_is_rejected(make: Make) -> None:
    path = make("a.mka", *AUDIO, "-c:a", "dfpwm")
    with pytest.raises(NotAVideo, match=r"codec dfpwm, .*convert it"):
        probe(path)


def test_content_hash_is_independent_of_the_name(shapes_path: Path, tmp_path: Path) -> None:
    copy, modified = tmp_path / "copy.mp4", tmp_path / "modified.mp4"
    shutil.copy(shapes_path, copy)
    modified.write_bytes(shapes_path.read_bytes() + b"\0")
    assert probe(copy).content_hash == content_hash(shapes_path) != content_hash(modified)
    assert probe(copy, known_hash="already known").content_hash == "already known"


@pytest.mark.parametrize(
    "content",
    [b"hello, I am no video\n" * 50, b"\0" * 5000, b"\x89PNG\r\n\x1a\n" + b"\0" * 100, b"\0\0\0\x18ftypmp42" + b"\0" * 500],
)
def test_file_that_is_not_a_video_is_rejected(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "movie.mp4").write_bytes(content)
    with pytest.raises(NotAVideo):
        probe(tmp_path / "movie.mp4")


def test_raw_stream_without_timestamps_is_rejected(make: Make) -> None:
    with pytest.raises(UnreadableVideo, match="-c copy"):
        probe(make("bare.h264", *SOURCE, *H264))


def test_first_default_video_stream_is_selected(tmp_path: Path) -> None:
    sources = [part for color in ("red", "green", "blue") for part in ("-f", "lavfi", "-i", f"color={color}:s=64x64:d=1:r=5")]
    maps = ("-map", "0", "-map", "1", "-map", "2")
    for number, dispositions in ((2, ("0", "0", "default")), (1, ("0", "default", "default")), (0, ("0", "0", "0"))):
        flags = [part for index, value in enumerate(dispositions) for part in (f"-disposition:v:{index}", value)]
        run_ffmpeg(*sources, *maps, "-c:v", "mpeg4", *flags, str(tmp_path / "three.mkv"))
        assert probe(tmp_path / "three.mkv").stream_index == number


def test_limits_apply_without_a_declared_duration(tmp_path: Path) -> None:
    path = tmp_path / "live.webm"
    source = ("-f", "lavfi", "-i", "testsrc=d=6:r=10:s=64x64", "-c:v", "libvpx", "-deadline", "realtime", "-live", "1")
    path.write_bytes(encode_to_pipe(*source, "-f", "webm", "pipe:1"))
    assert probe(path).duration_s == pytest.approx(6, abs=0.11)
    for limits in (Limits(duration_s=2.0), Limits(frames=20)):
        with pytest.raises(TooLarge):
            probe(path, limits=limits)


def encode_to_pipe(*arguments: str) -> bytes:
    """Return what ffmpeg writes to a pipe, where it cannot write the duration into the header at the end."""
    command = [ffmpeg_path(), "-v", "error", *arguments]
    return subprocess.run(command, check=True, capture_output=True, timeout=60).stdout


@pytest.mark.parametrize("name", ["stream.ts", "stream.vob"])
def test_damaged_timestamp_does_not_extend_the_duration(
    make: Make, decoder: Decoder, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    path = make(name, *SOURCE, "-c:v", "mpeg2video", "-bf", "2", "-q:v", "9")
    intact = probe(path)
    data = bytearray(path.read_bytes())
    headers = [index for index in range(len(data)) if data[index : index + 4] == b"\0\0\1\xe0"]
    # Flip bit 22 of the presentation timestamp, which adds 46.6 seconds.
    data[headers[len(headers) * 3 // 4] + 10] ^= 1
    path.write_bytes(data)
    video = decoder.probe(path)
    assert video.duration_s == pytest.approx(intact.duration_s, abs=0.11)
    assert video.damaged_duration_s == pytest.approx(intact.duration_s + 46, abs=2)
    assert intact.damaged_duration_s is None
    assert f"{name}: the last frame ends at 0:00:04" in caplog.text


def test_error_for_an_unknown_codec_names_the_file(make: Make, tmp_path: Path) -> None:
    data = make("known.mp4", *SOURCE, *H264).read_bytes()
    (tmp_path / "unknown.mp4").write_bytes(data.replace(b"avc1", b"xyzw"))
    with pytest.raises(NotAVideo, match=r"unknown\.mp4 .*convert it"):
        probe(tmp_path / "unknown.mp4")


GOLDEN_FACTS = json.loads(ffprobe_oracle.GOLDEN.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def sample_path(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A function that renders a sample once."""
    folder = tmp_path_factory.mktemp("samples")
    return lambda name: folder / name if (folder / name).exists() else media_samples.make(folder, name)


@pytest.mark.parametrize("live", [False, True], ids=["golden", "live"])
@pytest.mark.parametrize("name", sorted(GOLDEN_FACTS))
def test_metadata_equals_that_of_ffprobe(
    sample_path: Callable[[str], Path], request: pytest.FixtureRequest, name: str, live: bool
) -> None:
    path = sample_path(name)
    if live:
        request.getfixturevalue("ffprobe")
    expected = ffprobe_oracle.facts(path) if live else GOLDEN_FACTS[name]
    video = probe(path)
    for fact in ("codec", "container", "pixel_format", "width", "height", "rotation_deg"):
        assert getattr(video, fact) == expected[fact], fact
    # Before FFmpeg 8, the audio started earlier by the encoder delay.
    assert video.start_offset_s == pytest.approx(expected["start_offset_s"], abs=0.05)
    period_s = 1 / 25 if name != "variable.mkv" else 4 / 25
    assert video.duration_s == pytest.approx(expected["last_frame_s"] + period_s, abs=0.06 if live else 0.1)
    streams = [
        [item.index, item.codec, item.language, item.is_default, item.channels, item.sample_rate_hz]
        for item in video.audio_streams
    ]
    assert streams == expected["audio_streams"]
    assert [stream.codec for stream in video.subtitle_streams] == expected["subtitle_codecs"]
    chapters = [[round(chapter.start_s, 3), round(chapter.end_s, 3), chapter.title] for chapter in video.chapters]
    assert chapters == [
        [pytest.approx(start, abs=0.05), pytest.approx(end, abs=0.05), title] for start, end, title in expected["chapters"]
    ]
    assert video.fps_nominal == pytest.approx(25, rel=0.02) or name == "variable.mkv"
    assert video.is_vfr is (name == "variable.mkv")
    assert video.has_edit_list is (name == "edited.mp4")
    assert not video.is_hdr


def test_language_of_an_audio_stream_is_reported(sample_path: Callable[[str], Path]) -> None:
    assert probe(sample_path("h264.mkv")).audio_streams[0].language == "kor"
