"""Decoded pictures carry their own frame number as a barcode: picture and time are checked against how the file was made."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from av import Packet
from numpy.typing import NDArray

from longview.video.backends import pyav
from longview.video.backends.base import DecodeRequest
from longview.video.decoder import BackendName, Decoder, TimedFrames
from longview.video.errors import NotAVideo, UnreadableVideo, VideoError
from longview.video.probe import VideoInfo, probe
from tests.barcodes import FRAMES, HEIGHT, WIDTH, encode, number_read, run_ffmpeg


def x264(*, gop: int, params: str = "") -> tuple[str, ...]:
    options = ("-c:v", "libx264", "-preset", "veryfast", "-crf", "23", "-sc_threshold", "0", "-g", str(gop), "-bf", "3")
    return (*options, "-x264-params", params) if params else options


H264, SHORT_GOP, OPEN_GOP = x264(gop=250), x264(gop=50), x264(gop=50, params="open-gop=1")
HEVC = ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:keyint=50:open-gop=1:bframes=3:pools=1")
MPEG4 = ("-c:v", "mpeg4", "-g", "50", "-q:v", "4")
MPEG2 = ("-c:v", "mpeg2video", "-g", "50", "-bf", "2", "-q:v", "4")
VP9 = ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-g", "100", "-b:v", "300k")
AV1 = ("-c:v", "libsvtav1", "-preset", "10", "-crf", "20", "-g", "100", "-svtav1-params", "lp=1")
KEPT = tuple(number for number in range(FRAMES) if number % 7 != 3 and not 200 <= number <= 260)
"""What the variable-rate videos keep: gaps everywhere, and one picture that stays for 2.5 seconds."""
DROPPING = ("-vf", "select='not(eq(mod(n,7),3))*not(between(n,200,260))'", "-fps_mode", "vfr")


def plain(name: str, *options: str, fps: str = "25") -> Callable[[Path], Path]:
    return lambda folder: encode(folder / name, *options, fps=fps)


def turned(degrees: int) -> Callable[[Path], Path]:
    """Stored on its side; players turn it `degrees` counter-clockwise."""

    def make(folder: Path) -> Path:
        upright = encode(folder / "upright.mp4", *H264, quarter_turns=-degrees // 90)
        run_ffmpeg("-display_rotation", str(degrees), "-i", str(upright), "-c", "copy", str(folder / "turned.mp4"))
        return folder / "turned.mp4"

    return make


def mirrored(*flags: str, filters: str) -> Callable[[Path], Path]:
    """Stored mirrored; players mirror it back."""

    def make(folder: Path) -> Path:
        stored = encode(folder / "stored.mp4", "-vf", filters, *H264)
        run_ffmpeg(*flags, "-i", str(stored), "-c", "copy", str(folder / "mirrored.mp4"))
        return folder / "mirrored.mp4"

    return make


def after_sound(name: str, audio_codec: str) -> Callable[[Path], Path]:
    """The sound starts at 0, the pictures 1.075 s later."""

    def make(folder: Path) -> Path:
        silent = encode(folder / "silent.mp4", *H264)
        sound = ("-f", "lavfi", "-i", "sine=duration=24:sample_rate=8000")
        run_ffmpeg(*sound, "-itsoffset", "1.075", "-i", str(silent), "-c:v", "copy", "-c:a", audio_codec, str(folder / name))
        return folder / name

    return make


def cut_without_encoding(folder: Path) -> Path:
    """The first frame on screen is 83, hidden ones before it come along: an edit list."""
    whole = encode(folder / "whole.mp4", *H264)
    run_ffmpeg("-ss", "3.32", "-i", str(whole), "-c", "copy", str(folder / "cut.mp4"))
    return folder / "cut.mp4"


READERS: tuple[BackendName, ...] = ("pyav", "ffmpeg", "decord")


@dataclass(frozen=True)
class Kind:
    """A kind of file whose frame `n` is on screen from `first_s + n / fps` on."""

    make: Callable[[Path], Path]
    decord: bool
    """Whether decord reads it right; where not, it must refuse."""
    ffmpeg: bool = True
    """The same for the ffmpeg program."""
    numbers: Sequence[int] = range(FRAMES)
    first_s: float = 0.0
    fps: float = 25.0

    @property
    def starts_s(self) -> NDArray[np.float64]:
        return self.first_s + np.asarray(self.numbers) / self.fps


KINDS = {
    "long GOP with B-frames, mp4": Kind(plain("cfr.mp4", *H264), decord=True),
    "NTSC rate in whole milliseconds, mkv": Kind(plain("ntsc.mkv", *H264, fps="30000/1001"), decord=True, fps=30000 / 1001),
    "dropped frames, mkv": Kind(plain("vfr.mkv", *H264, *DROPPING), decord=True, numbers=KEPT),
    "dropped frames, mp4": Kind(plain("vfr.mp4", *H264, *DROPPING), decord=True, numbers=KEPT),
    "everything starts at 10 s, mkv": Kind(plain("late.mkv", *H264, "-output_ts_offset", "10"), decord=True),
    "everything starts at 10 s, mp4": Kind(plain("late.mp4", *H264, "-output_ts_offset", "10"), decord=True),
    "pictures start after the sound, mkv": Kind(after_sound("sound.mkv", "pcm_s16le"), decord=False, first_s=1.075),
    "pictures start after the sound, mp4": Kind(after_sound("sound.mp4", "aac"), decord=False, first_s=1.075),
    "edit list, mp4": Kind(cut_without_encoding, decord=False, numbers=range(83, FRAMES), first_s=-3.32),
    "turned left, mp4": Kind(turned(90), decord=True),
    "upside down, mp4": Kind(turned(180), decord=True),
    "turned right, mp4": Kind(turned(-90), decord=True),
    "mirrored, mp4": Kind(mirrored("-display_hflip", filters="hflip"), decord=False),
    "mirrored and turned, mp4": Kind(
        mirrored("-display_rotation", "90", "-display_hflip", filters="hflip,transpose=clock"), decord=False
    ),
    "fragmented, mp4": Kind(plain("frag.mp4", *SHORT_GOP, "-movflags", "frag_keyframe+empty_moov"), decord=True),
    "open GOP, mkv": Kind(plain("open.mkv", *OPEN_GOP), decord=False),
    "open GOP HEVC, mp4": Kind(plain("hevc.mp4", *HEVC), decord=False),
    "transport stream": Kind(plain("stream.ts", *SHORT_GOP), decord=False),
    "program stream": Kind(plain("stream.mpg", *MPEG2), decord=False),
    "MXF": Kind(plain("camera.mxf", *MPEG2), decord=False),
    "WMV": Kind(plain("old.wmv", "-c:v", "wmv2", "-g", "50", "-b:v", "500k"), decord=False),
    "MPEG-4, avi": Kind(plain("plain.avi", *MPEG4), decord=True),
    # AVI stores no presentation times; FFmpeg's clock counts the pictures that wait for reordering.
    "MPEG-4 with B-frames, avi": Kind(plain("b.avi", *MPEG4, "-bf", "2"), decord=False, first_s=1 / 25),
    "H.264 with B-frames, avi": Kind(plain("h264.avi", *H264), decord=False, ffmpeg=False, first_s=2 / 25),
    "VP9, webm": Kind(plain("vp9.webm", *VP9), decord=True),
    "AV1, mp4": Kind(plain("av1.mp4", *AV1), decord=False),
}


@pytest.fixture(scope="module")
def video_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], VideoInfo]:
    """Makes the video of a kind once."""
    made: dict[str, VideoInfo] = {}

    def of(name: str) -> VideoInfo:
        if name not in made:
            made[name] = probe(KINDS[name].make(tmp_path_factory.mktemp("kind")))
        return made[name]

    return of


@pytest.fixture(scope="module")
def decoders() -> Iterator[dict[BackendName, Decoder]]:
    """One of each reader; two processes, whatever the machine."""
    made: dict[BackendName, Decoder] = {reader: Decoder(backend=reader, processes=2) for reader in READERS}
    yield made
    for decoder in made.values():
        decoder.close()


def read_all(decoder: Decoder, video: VideoInfo, wanted_s: Sequence[float]) -> tuple[list[int], NDArray[np.float64]]:
    """Frame numbers read back, and the times that the decoder reports for them."""
    chunks = list(decoder.frames_played_at(video, wanted_s, HEIGHT, WIDTH))
    return numbers_of(chunks), np.concatenate([chunk.times_s for chunk in chunks])


def numbers_of(chunks: Sequence[TimedFrames]) -> list[int]:
    return [number_read(frame) for chunk in chunks for frame in chunk.frames]


def sparse(starts_s: NDArray[np.float64]) -> list[float]:
    """Times seconds apart, a little after a frame's start: most need a seek, some two lie in one group of pictures."""
    picked = sorted(random.Random(4).sample(range(len(starts_s)), 14))
    return [float(starts_s[index]) + 0.015 for index in (*picked, len(starts_s) - 1)]


def dense(starts_s: NDArray[np.float64]) -> list[float]:
    """Every frame's exact start for four seconds around the key frame at 10 s, after one frame far before."""
    return [0.5, *(float(start) for start in starts_s if 7.9 < start < 12)]


def evenly(starts_s: NDArray[np.float64]) -> list[float]:
    """Forty times over the whole length, in the middle of frames: enough to be shared out over two processes."""
    return [float(starts_s[len(starts_s) * index // 40]) + 0.015 for index in range(40)]


@pytest.mark.parametrize("wanted", [sparse, dense, evenly])
@pytest.mark.parametrize(
    ("name", "reader"),
    [(name, reader) for name in KINDS for reader in READERS if getattr(KINDS[name], reader, True)],
)
def test_every_picture_is_the_one_on_screen_at_the_wanted_time(
    video_of: Callable[[str], VideoInfo],
    decoders: dict[BackendName, Decoder],
    name: str,
    reader: BackendName,
    wanted: Callable[[NDArray[np.float64]], list[float]],
) -> None:
    if reader == "decord":
        pytest.importorskip("decord")
    kind, video = KINDS[name], video_of(name)
    wanted_s = wanted(kind.starts_s)
    shown = np.unique((np.searchsorted(kind.starts_s, np.asarray(wanted_s) + 1e-4, side="right") - 1).clip(min=0))
    numbers, times_s = read_all(decoders[reader], video, wanted_s)
    assert numbers == [kind.numbers[index] for index in shown]
    assert np.abs(times_s - kind.starts_s[shown]).max() <= 1e-3
    assert (np.diff(times_s) > 0).all()


@pytest.mark.parametrize("name", [name for name in KINDS if not KINDS[name].decord])
def test_decord_refuses_what_it_would_get_wrong(
    video_of: Callable[[str], VideoInfo], decoders: dict[BackendName, Decoder], name: str
) -> None:
    pytest.importorskip("decord")
    with pytest.raises(UnreadableVideo, match="--reader pyav"):
        read_all(decoders["decord"], video_of(name), [1.0, 11.0])


@pytest.mark.parametrize("name", ["dropped frames, mp4", "everything starts at 10 s, mkv", "VP9, webm", "MPEG-4, avi"])
def test_a_late_picture_is_sought_not_read_to(
    video_of: Callable[[str], VideoInfo], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    read: list[object] = []
    next_packet = pyav._FrameWalker._next_packet

    def counting(pictures: pyav._FrameWalker) -> Packet | None:
        read.append(packet := next_packet(pictures))
        return packet

    monkeypatch.setattr(pyav._FrameWalker, "_next_packet", counting)
    pictures = [picture for picture in pyav.decode(video_of(name), DecodeRequest([22.9], HEIGHT, WIDTH)) if picture is not None]
    assert len(pictures) == 1
    assert len(read) < len(KINDS[name].numbers) / 2


@pytest.mark.parametrize("name", ["long GOP with B-frames, mp4", "everything starts at 10 s, mkv", "VP9, webm"])
def test_a_long_span_is_shared_out_over_the_processes(video_of: Callable[[str], VideoInfo], name: str) -> None:
    decoder = Decoder(processes=2)
    before = {child.pid for child in psutil.Process().children()}
    chunks = decoder.frames_played_at(video_of(name), evenly(KINDS[name].starts_s), HEIGHT, WIDTH, chunk_frames=4)
    next(chunks)
    assert len([child for child in psutil.Process().children() if child.pid not in before]) == 2
    chunks.close()
    decoder.close()


def test_before_the_first_frame_the_first_frame_is_given(video_of: Callable[[str], VideoInfo], decoder: Decoder) -> None:
    numbers, times_s = read_all(decoder, video_of("pictures start after the sound, mkv"), [0.0, 0.4, 1.08])
    assert numbers == [0]
    assert times_s == pytest.approx([1.075])


def test_after_the_last_frame_and_in_a_gap_a_picture_is_given_once(
    video_of: Callable[[str], VideoInfo], decoder: Decoder
) -> None:
    numbers, _ = read_all(decoder, video_of("dropped frames, mkv"), [8.0, 8.5, 9.0, 10.45, 23.97, 30.0, 90.0])
    assert numbers == [198, 261, 599]


def test_chunks_are_full_but_the_last_and_frames_have_the_asked_size(
    video_of: Callable[[str], VideoInfo], decoder: Decoder
) -> None:
    wanted_s = [number / 25 for number in range(17)]
    chunks = list(decoder.frames_played_at(video_of("long GOP with B-frames, mp4"), wanted_s, 48, 320, chunk_frames=7))
    assert [len(chunk) for chunk in chunks] == [7, 7, 3]
    assert all(chunk.frames.shape[1:] == (48, 320, 3) and chunk.frames.dtype == np.uint8 for chunk in chunks)
    assert [number_read(frame) for chunk in chunks for frame in chunk.frames] == list(range(17))


def test_colours_come_as_rgb(tmp_path: Path, decoder: Decoder) -> None:
    run_ffmpeg(
        "-f", "lavfi", "-i", "color=c=0xF02010:s=64x64:d=1", "-c:v", "libx264", "-pix_fmt", "yuv420p", str(tmp_path / "red.mp4")
    )
    (chunk,) = decoder.frames_played_at(probe(tmp_path / "red.mp4"), [0.5], 32, 32)
    assert chunk.frames[0].mean(axis=(0, 1)) == pytest.approx([0xF0, 0x20, 0x10], abs=8)


@pytest.mark.parametrize("kept", [0.002, 0.03, 0.3, 0.6, 0.95])
@pytest.mark.parametrize("name", ["whole.mkv", "whole.ts", "whole.mp4", "faststart.mp4"])
def test_a_truncated_file_gives_its_beginning_or_a_clear_error(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, name: str, kept: float, decoder: Decoder
) -> None:
    whole = tmp_path_factory.getbasetemp() / name
    if not whole.exists():
        encode(whole, *SHORT_GOP, *(("-movflags", "+faststart") if name.startswith("fast") else ()))
    data = whole.read_bytes()
    (tmp_path / name).write_bytes(data[: int(len(data) * kept)])
    wanted_s = [number / 25 for number in range(0, FRAMES, 5)]
    # Without its index at the end an MP4 is lost, and so is everything that ends in its header.
    if name == "whole.mp4" or (kept < 0.05 and not (name == "whole.ts" and kept > 0.01)):
        with pytest.raises(VideoError, match=name):
            read_all(decoder, probe(tmp_path / name), wanted_s)
        return
    numbers, times_s = read_all(decoder, probe(tmp_path / name), wanted_s)
    assert len(numbers) < len(wanted_s)
    assert numbers == [round(time_s * 25) for time_s in times_s]
    # Sizes of frames differ, so the share of time only roughly follows the share of bytes.
    assert kept < 0.05 or kept / 2 - 0.15 < numbers[-1] / FRAMES < kept + 0.1


@pytest.mark.parametrize("spacing", [3, 60], ids=["read in order", "with seeks"])
@pytest.mark.parametrize("name", ["middle.mp4", "middle.mkv", "middle.ts", "middle.avi"])
def test_a_damaged_middle_costs_frames_but_not_the_video(tmp_path: Path, name: str, spacing: int, decoder: Decoder) -> None:
    path = encode(tmp_path / name, *(MPEG4 if name.endswith("avi") else SHORT_GOP))
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 600] = random.Random(1).randbytes(600)
    path.write_bytes(data)
    numbers, times_s = read_all(decoder, probe(path), [number / 25 for number in range(1, FRAMES, spacing)])
    assert (np.diff(times_s) > 0).all()
    read_at = {round(time_s * 25): number for number, time_s in zip(numbers, times_s, strict=True)}
    sound = [number for number in range(1, FRAMES, spacing) if number < 200 or number > 450]
    assert [read_at.get(number) for number in sound] == sound


def test_one_damaged_time_stamp_does_not_freeze_the_picture(tmp_path: Path, decoder: Decoder) -> None:
    path = encode(tmp_path / "stamp.ts", *SHORT_GOP)
    data = bytearray(path.read_bytes())
    headers = [index for index in range(len(data)) if data[index : index + 4] == b"\0\0\1\xe0"]
    assert len(headers) == FRAMES
    # Bit 31 of the presentation time: 6.6 hours later.
    data[headers[300] + 9] ^= 0b0000_0100
    path.write_bytes(data)
    numbers, _ = read_all(decoder, probe(path), [number / 25 for number in range(0, FRAMES, 10)])
    assert len(set(numbers) & set(range(0, FRAMES, 10))) >= FRAMES // 10 - 1


def test_pictures_that_cannot_be_decoded_at_all_are_an_error(
    video_of: Callable[[str], VideoInfo], tmp_path: Path, decoder: Decoder
) -> None:
    good = video_of("long GOP with B-frames, mp4")
    data = bytearray(good.path.read_bytes())
    begin = data.index(b"mdat") + 4
    end = data.index(b"moov") - 4
    data[begin:end] = bytes(end - begin)
    path = tmp_path / "zeros.mp4"
    path.write_bytes(data)
    with pytest.raises(UnreadableVideo):
        probe(path)
    with pytest.raises(UnreadableVideo):
        list(decoder.frames_played_at(replace(good, path=path), [1.0, 5.0, 15.0], HEIGHT, WIDTH))


def test_a_file_that_is_gone_when_it_is_decoded_is_an_error(
    video_of: Callable[[str], VideoInfo], tmp_path: Path, decoder: Decoder
) -> None:
    gone = replace(video_of("long GOP with B-frames, mp4"), path=tmp_path / "gone.mp4")
    with pytest.raises(NotAVideo):
        list(decoder.frames_played_at(gone, [1.0], HEIGHT, WIDTH))
