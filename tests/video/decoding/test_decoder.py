"""Tests of decoding with frames that contain their number as a barcode: each frame and timestamp is compared with the source."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import av
import numpy as np
import psutil
import pytest
from av import Packet
from numpy.typing import NDArray

from longview.core.timeline import Span
from longview.video.decoding.backends import BackendName, pyav
from longview.video.decoding.backends.base import DecodeRequest
from longview.video.decoding.decoder import Decoder, TimedFrames
from longview.video.errors import NotAVideo, UnreadableVideo, VideoError
from longview.video.probing.probe import VideoInfo, probe
from tests.support.barcodes import FRAMES, HEIGHT, WIDTH, encode, number_read, run_ffmpeg


def x264(*, gop: int, params: str = "") -> tuple[str, ...]:
    options = ("-c:v", "libx264", "-preset", "veryfast", "-crf", "23", "-sc_threshold", "0", "-g", str(gop), "-bf", "3")
    return (*options, "-x264-params", params) if params else options


H264, SHORT_GOP, OPEN_GOP = x264(gop=250), x264(gop=50), x264(gop=50, params="open-gop=1")
HEVC = ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:keyint=50:open-gop=1:bframes=3:pools=1")
MPEG4 = ("-c:v", "mpeg4", "-g", "50", "-q:v", "4")
MPEG2 = ("-c:v", "mpeg2video", "-g", "50", "-bf", "2", "-q:v", "4")
VP9 = ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-g", "100", "-b:v", "300k")
AV1 = ("-c:v", "libsvtav1", "-preset", "10", "-crf", "20", "-g", "100", "-svtav1-params", "lp=1")
VFR_NUMBERS = tuple(number for number in range(FRAMES) if number % 7 != 3 and not 200 <= number <= 260)
"""Numbers of the frames in the variable-rate videos, with gaps everywhere and one frame of 2.5 seconds."""
VFR_FILTER = ("-vf", "select='not(eq(mod(n,7),3))*not(between(n,200,260))'", "-fps_mode", "vfr")


def encoded(name: str, *options: str, fps: str = "25") -> Callable[[Path], Path]:
    return lambda folder: encode(folder / name, *options, fps=fps)


def rotated(degrees: int) -> Callable[[Path], Path]:
    """Return a function that encodes a rotated video; players rotate it back by `degrees` counter-clockwise."""

    def make(folder: Path) -> Path:
        upright = encode(folder / "upright.mp4", *H264, quarter_turns=-degrees // 90)
        run_ffmpeg("-display_rotation", str(degrees), "-i", str(upright), "-c", "copy", str(folder / "rotated.mp4"))
        return folder / "rotated.mp4"

    return make


def mirrored(*flags: str, filters: str) -> Callable[[Path], Path]:
    """Return a function that encodes a mirrored video; players mirror it back."""

    def make(folder: Path) -> Path:
        stored = encode(folder / "stored.mp4", "-vf", filters, *H264)
        run_ffmpeg(*flags, "-i", str(stored), "-c", "copy", str(folder / "mirrored.mp4"))
        return folder / "mirrored.mp4"

    return make


def after_audio(name: str, audio_codec: str) -> Callable[[Path], Path]:
    """Return a function that encodes a video whose audio starts at 0, and whose frames start 1.075 s later."""

    def make(folder: Path) -> Path:
        silent = encode(folder / "silent.mp4", *H264)
        audio = ("-f", "lavfi", "-i", "sine=duration=24:sample_rate=8000")
        run_ffmpeg(*audio, "-itsoffset", "1.075", "-i", str(silent), "-c:v", "copy", "-c:a", audio_codec, str(folder / name))
        return folder / name

    return make


def cut_without_encoding(folder: Path) -> Path:
    """Cut a video whose edit list hides the frames before frame 83."""
    whole = encode(folder / "whole.mp4", *H264)
    run_ffmpeg("-ss", "3.32", "-i", str(whole), "-c", "copy", str(folder / "cut.mp4"))
    return folder / "cut.mp4"


BACKENDS: tuple[BackendName, ...] = ("pyav", "ffmpeg", "decord")


@dataclass(frozen=True)
class Kind:
    """A kind of file whose frame `n` is on screen from `first_s + n / fps` on."""

    make: Callable[[Path], Path]
    decord: bool
    """Whether decord decodes it correctly; otherwise, the backend must reject it."""
    ffmpeg: bool = True
    """Whether the ffmpeg backend decodes it."""
    numbers: Sequence[int] = range(FRAMES)
    first_s: float = 0.0
    fps: float = 25.0

    @property
    def starts_s(self) -> NDArray[np.float64]:
        return self.first_s + np.asarray(self.numbers) / self.fps


KINDS = {
    "long GOP with B-frames, mp4": Kind(encoded("cfr.mp4", *H264), decord=True),
    "NTSC rate in whole milliseconds, mkv": Kind(encoded("ntsc.mkv", *H264, fps="30000/1001"), decord=True, fps=30000 / 1001),
    "dropped frames, mkv": Kind(encoded("vfr.mkv", *H264, *VFR_FILTER), decord=True, numbers=VFR_NUMBERS),
    "dropped frames, mp4": Kind(encoded("vfr.mp4", *H264, *VFR_FILTER), decord=True, numbers=VFR_NUMBERS),
    "everything starts at 10 s, mkv": Kind(encoded("late.mkv", *H264, "-output_ts_offset", "10"), decord=True),
    "everything starts at 10 s, mp4": Kind(encoded("late.mp4", *H264, "-output_ts_offset", "10"), decord=True),
    "frames start after the audio, mkv": Kind(after_audio("audio.mkv", "pcm_s16le"), decord=False, first_s=1.075),
    "frames start after the audio, mp4": Kind(after_audio("audio.mp4", "aac"), decord=False, first_s=1.075),
    "edit list, mp4": Kind(cut_without_encoding, decord=False, numbers=range(83, FRAMES), first_s=-3.32),
    "rotated left, mp4": Kind(rotated(90), decord=True),
    "upside down, mp4": Kind(rotated(180), decord=True),
    "rotated right, mp4": Kind(rotated(-90), decord=True),
    "mirrored, mp4": Kind(mirrored("-display_hflip", filters="hflip"), decord=False),
    "mirrored and rotated, mp4": Kind(
        mirrored("-display_rotation", "90", "-display_hflip", filters="hflip,transpose=clock"), decord=False
    ),
    "fragmented, mp4": Kind(encoded("frag.mp4", *SHORT_GOP, "-movflags", "frag_keyframe+empty_moov"), decord=True),
    "open GOP, mkv": Kind(encoded("open.mkv", *OPEN_GOP), decord=False),
    "open GOP HEVC, mp4": Kind(encoded("hevc.mp4", *HEVC), decord=False),
    "transport stream": Kind(encoded("stream.ts", *SHORT_GOP), decord=False),
    "program stream": Kind(encoded("stream.mpg", *MPEG2), decord=False),
    "MXF": Kind(encoded("camera.mxf", *MPEG2), decord=False),
    "WMV": Kind(encoded("old.wmv", "-c:v", "wmv2", "-g", "50", "-b:v", "500k"), decord=False),
    "MPEG-4, avi": Kind(encoded("plain.avi", *MPEG4), decord=True),
    # AVI has no presentation timestamps; FFmpeg's timestamps include the reordering delay.
    "MPEG-4 with B-frames, avi": Kind(encoded("b.avi", *MPEG4, "-bf", "2"), decord=False, first_s=1 / 25),
    "H.264 with B-frames, avi": Kind(encoded("h264.avi", *H264), decord=False, ffmpeg=False, first_s=2 / 25),
    "VP9, webm": Kind(encoded("vp9.webm", *VP9), decord=True),
    "AV1, mp4": Kind(encoded("av1.mp4", *AV1), decord=False),
}


@pytest.fixture(scope="module")
def video_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], VideoInfo]:
    """A function that encodes and probes the video of a kind once."""
    videos: dict[str, VideoInfo] = {}

    def of(name: str) -> VideoInfo:
        if name not in videos:
            videos[name] = probe(KINDS[name].make(tmp_path_factory.mktemp("kind")))
        return videos[name]

    return of


@pytest.fixture(scope="module")
def decoders() -> Iterator[dict[BackendName, Decoder]]:
    """A decoder with two processes for each backend."""
    all_decoders: dict[BackendName, Decoder] = {name: Decoder(backend=name, processes=2) for name in BACKENDS}
    yield all_decoders
    for decoder in all_decoders.values():
        decoder.close()


def decode_all(decoder: Decoder, video: VideoInfo, requested_s: Sequence[float]) -> tuple[list[int], NDArray[np.float64]]:
    """Return the frame numbers in the barcodes, and the timestamps that the decoder reports for them."""
    chunks = list(decoder.frames_played_at(video, requested_s, HEIGHT, WIDTH))
    return numbers_of(chunks), np.concatenate([chunk.times_s for chunk in chunks])


def numbers_of(chunks: Sequence[TimedFrames]) -> list[int]:
    return [number_read(frame) for chunk in chunks for frame in chunk.frames]


def sparse(starts_s: NDArray[np.float64]) -> list[float]:
    """Return 15 random times, each 15 ms after a frame's start: most need a seek, some share a group of pictures."""
    indices = sorted(random.Random(4).sample(range(len(starts_s)), 14))
    return [float(starts_s[index]) + 0.015 for index in (*indices, len(starts_s) - 1)]


def dense(starts_s: NDArray[np.float64]) -> list[float]:
    """Return one early time, and every frame's exact start in four seconds around the key frame at 10 s."""
    return [0.5, *(float(start) for start in starts_s if 7.9 < start < 12)]


def evenly(starts_s: NDArray[np.float64]) -> list[float]:
    """Return 40 times over the whole duration, in the middle of frames: enough to be split over two processes."""
    return [float(starts_s[len(starts_s) * index // 40]) + 0.015 for index in range(40)]


@pytest.mark.parametrize("select_times", [sparse, dense, evenly])
@pytest.mark.parametrize(
    ("name", "backend"),
    [(name, backend) for name in KINDS for backend in BACKENDS if getattr(KINDS[name], backend, True)],
)
def test_every_frame_is_on_screen_at_its_requested_time(
    video_of: Callable[[str], VideoInfo],
    decoders: dict[BackendName, Decoder],
    name: str,
    backend: BackendName,
    select_times: Callable[[NDArray[np.float64]], list[float]],
) -> None:
    if backend == "decord":
        pytest.importorskip("decord")
    kind, video = KINDS[name], video_of(name)
    requested_s = select_times(kind.starts_s)
    indices = np.unique((np.searchsorted(kind.starts_s, np.asarray(requested_s) + 1e-4, side="right") - 1).clip(min=0))
    numbers, times_s = decode_all(decoders[backend], video, requested_s)
    assert numbers == [kind.numbers[index] for index in indices]
    assert np.abs(times_s - kind.starts_s[indices]).max() <= 1e-3
    assert (np.diff(times_s) > 0).all()


@pytest.mark.parametrize("name", [name for name in KINDS if not KINDS[name].decord])
def test_decord_rejects_files_that_it_decodes_wrongly(
    video_of: Callable[[str], VideoInfo], decoders: dict[BackendName, Decoder], name: str
) -> None:
    pytest.importorskip("decord")
    with pytest.raises(UnreadableVideo, match="--backend pyav"):
        decode_all(decoders["decord"], video_of(name), [1.0, 11.0])


@pytest.mark.parametrize("name", ["dropped frames, mp4", "everything starts at 10 s, mkv", "VP9, webm", "MPEG-4, avi"])
def test_late_frame_is_reached_by_seeking(
    video_of: Callable[[str], VideoInfo], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    packets: list[object] = []
    next_packet = pyav._FrameWalker._next_packet

    def count_packets(walker: pyav._FrameWalker) -> Packet | None:
        packets.append(packet := next_packet(walker))
        return packet

    monkeypatch.setattr(pyav._FrameWalker, "_next_packet", count_packets)
    frames = [frame for frame in pyav.decode(video_of(name), DecodeRequest([22.9], HEIGHT, WIDTH)) if frame is not None]
    assert len(frames) == 1
    assert len(packets) < len(KINDS[name].numbers) / 2


@pytest.mark.parametrize("name", ["long GOP with B-frames, mp4", "everything starts at 10 s, mkv", "VP9, webm"])
def test_long_span_is_split_over_processes(video_of: Callable[[str], VideoInfo], name: str) -> None:
    decoder = Decoder(processes=2)
    before = {child.pid for child in psutil.Process().children()}
    chunks = decoder.frames_played_at(video_of(name), evenly(KINDS[name].starts_s), HEIGHT, WIDTH, chunk_frames=4)
    next(chunks)
    assert len([child for child in psutil.Process().children() if child.pid not in before]) == 2
    chunks.close()
    decoder.close()


def test_time_before_the_first_frame_gives_the_first_frame(video_of: Callable[[str], VideoInfo], decoder: Decoder) -> None:
    numbers, times_s = decode_all(decoder, video_of("frames start after the audio, mkv"), [0.0, 0.4, 1.08])
    assert numbers == [0]
    assert times_s == pytest.approx([1.075])


def test_frame_with_several_requested_times_is_yielded_once(video_of: Callable[[str], VideoInfo], decoder: Decoder) -> None:
    numbers, _ = decode_all(decoder, video_of("dropped frames, mkv"), [8.0, 8.5, 9.0, 10.45, 23.97, 30.0, 90.0])
    assert numbers == [198, 261, 599]


def test_chunks_are_full_and_frames_have_the_requested_size(video_of: Callable[[str], VideoInfo], decoder: Decoder) -> None:
    requested_s = [number / 25 for number in range(17)]
    chunks = list(decoder.frames_played_at(video_of("long GOP with B-frames, mp4"), requested_s, 48, 320, chunk_frames=7))
    assert [len(chunk) for chunk in chunks] == [7, 7, 3]
    assert all(chunk.frames.shape[1:] == (48, 320, 3) and chunk.frames.dtype == np.uint8 for chunk in chunks)
    assert [number_read(frame) for chunk in chunks for frame in chunk.frames] == list(range(17))


def test_pixels_are_rgb(tmp_path: Path, decoder: Decoder) -> None:
    run_ffmpeg(
        "-f", "lavfi", "-i", "color=c=0xF02010:s=64x64:d=1", "-c:v", "libx264", "-pix_fmt", "yuv420p", str(tmp_path / "red.mp4")
    )
    (chunk,) = decoder.frames_played_at(probe(tmp_path / "red.mp4"), [0.5], 32, 32)
    assert chunk.frames[0].mean(axis=(0, 1)) == pytest.approx([0xF0, 0x20, 0x10], abs=8)


@pytest.mark.parametrize("fraction", [0.002, 0.03, 0.3, 0.6, 0.95])
@pytest.mark.parametrize("name", ["whole.mkv", "whole.ts", "whole.mp4", "faststart.mp4"])
def test_truncated_file_gives_its_beginning_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, name: str, fraction: float, decoder: Decoder
) -> None:
    whole = tmp_path_factory.getbasetemp() / name
    if not whole.exists():
        encode(whole, *SHORT_GOP, *(("-movflags", "+faststart") if name.startswith("fast") else ()))
    data = whole.read_bytes()
    (tmp_path / name).write_bytes(data[: int(len(data) * fraction)])
    requested_s = [number / 25 for number in range(0, FRAMES, 5)]
    # An MP4 file without the index at its end cannot be opened, and neither can a file that ends in its header.
    if name == "whole.mp4" or (fraction < 0.05 and not (name == "whole.ts" and fraction > 0.01)):
        with pytest.raises(VideoError, match=name):
            decode_all(decoder, probe(tmp_path / name), requested_s)
        return
    numbers, times_s = decode_all(decoder, probe(tmp_path / name), requested_s)
    assert len(numbers) < len(requested_s)
    assert numbers == [round(time_s * 25) for time_s in times_s]
    # Frame sizes differ, so the fraction of the duration only roughly equals the fraction of the bytes.
    assert fraction < 0.05 or fraction / 2 - 0.15 < numbers[-1] / FRAMES < fraction + 0.1


@pytest.mark.parametrize("spacing", [3, 60], ids=["sequential", "with seeks"])
@pytest.mark.parametrize("name", ["middle.mp4", "middle.mkv", "middle.ts", "middle.avi"])
def test_damaged_middle_loses_only_its_own_frames(tmp_path: Path, name: str, spacing: int, decoder: Decoder) -> None:
    path = encode(tmp_path / name, *(MPEG4 if name.endswith("avi") else SHORT_GOP))
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 600] = random.Random(1).randbytes(600)
    path.write_bytes(data)
    numbers, times_s = decode_all(decoder, probe(path), [number / 25 for number in range(1, FRAMES, spacing)])
    assert (np.diff(times_s) > 0).all()
    number_at = {round(time_s * 25): number for number, time_s in zip(numbers, times_s, strict=True)}
    intact = [number for number in range(1, FRAMES, spacing) if number < 200 or number > 450]
    assert [number_at.get(number) for number in intact] == intact


def test_damaged_key_frame_loses_all_frames_up_to_the_next(tmp_path: Path, decoder: Decoder) -> None:
    path = encode(tmp_path / "key.mkv", *MPEG4)
    with av.open(str(path)) as container:
        key = next(packet for packet in container.demux(video=0) if packet.is_keyframe)
    data = bytearray(path.read_bytes())
    assert key.pos is not None
    for index in range(key.pos + key.size // 3, key.pos + key.size, key.size // 6):
        data[index] ^= 0x55
    path.write_bytes(data)
    chunks = list(decoder.frames_played_at(probe(path), [number / 25 for number in range(0, 100, 5)], HEIGHT, WIDTH))
    assert numbers_of(chunks) == list(range(50, 100, 5))
    assert [span for chunk in chunks for span in chunk.undecodable] == [Span(0.0, 2.0)]


def test_damaged_timestamp_does_not_hide_later_frames(tmp_path: Path, decoder: Decoder) -> None:
    path = encode(tmp_path / "timestamp.ts", *SHORT_GOP)
    data = bytearray(path.read_bytes())
    headers = [index for index in range(len(data)) if data[index : index + 4] == b"\0\0\1\xe0"]
    assert len(headers) == FRAMES
    # Flip bit 31 of the presentation timestamp, which adds 6.6 hours.
    data[headers[300] + 9] ^= 0b0000_0100
    path.write_bytes(data)
    numbers, _ = decode_all(decoder, probe(path), [number / 25 for number in range(0, FRAMES, 10)])
    assert len(set(numbers) & set(range(0, FRAMES, 10))) >= FRAMES // 10 - 1


def test_video_without_a_decodable_frame_is_an_error(
    video_of: Callable[[str], VideoInfo], tmp_path: Path, decoder: Decoder
) -> None:
    intact = video_of("long GOP with B-frames, mp4")
    data = bytearray(intact.path.read_bytes())
    begin = data.index(b"mdat") + 4
    end = data.index(b"moov") - 4
    data[begin:end] = bytes(end - begin)
    path = tmp_path / "zeros.mp4"
    path.write_bytes(data)
    with pytest.raises(UnreadableVideo):
        probe(path)
    with pytest.raises(UnreadableVideo):
        list(decoder.frames_played_at(replace(intact, path=path), [1.0, 5.0, 15.0], HEIGHT, WIDTH))


def test_file_that_was_deleted_before_decoding_is_an_error(
    video_of: Callable[[str], VideoInfo], tmp_path: Path, decoder: Decoder
) -> None:
    deleted = replace(video_of("long GOP with B-frames, mp4"), path=tmp_path / "deleted.mp4")
    with pytest.raises(NotAVideo):
        list(decoder.frames_played_at(deleted, [1.0], HEIGHT, WIDTH))
