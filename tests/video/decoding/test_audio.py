"""Tests that sound is heard at its true time: bursts of a tone at known times, in many containers and in damaged files."""

import wave
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from longview.core.timeline import Span, merge_spans
from longview.video.decoding import audio
from longview.video.decoding.audio import BLOCK_S, RATE_HZ, AudioBlock, audio_blocks, select_audio_stream
from longview.video.decoding.decoder import Decoder
from longview.video.errors import NoSuchTrack, UnreadableVideo
from longview.video.probing.probe import VideoInfo, probe
from tests.support.barcodes import run_ffmpeg
from tests.support.cancelling import cancel_during

BURSTS_S = (1.0, 3.5, 6.25)
BURST_S = 0.1
DURATION_S = 8.0
TOLERANCE_S = 0.01
MP3_DELAY_S = 0.025
"""Delay of LAME's encoder, 1,105 samples; an MP3 stream in AVI, or one without a header, does not state it."""
AAC_DELAY_S = 0.023
PICTURE = ("-f", "lavfi", "-i", f"testsrc=d={DURATION_S}:r=25:s=64x64")
H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-g", "25", "-pix_fmt", "yuv420p")


def tone(*bursts_s: float, duration_s: float = DURATION_S, rate_hz: int = 44_100, frequency_hz: int = 1_000) -> tuple[str, ...]:
    """Return ffmpeg's input of a mono tone that is only heard in bursts."""
    gates = "+".join(f"between(t,{time_s},{time_s + BURST_S})" for time_s in bursts_s or BURSTS_S)
    return ("-f", "lavfi", "-i", f"aevalsrc='0.5*sin(2*PI*{frequency_hz}*t)*({gates})':d={duration_s}:s={rate_hz}")


def blocks(video: VideoInfo, stream_index: int | None = None, **options: float) -> list[AudioBlock]:
    index = video.audio_streams[0].index if stream_index is None else stream_index
    return [block for block in audio_blocks(video, index, **options) if block is not None]


def samples(video: VideoInfo, stream_index: int | None = None, **options: float) -> NDArray[np.float32]:
    return np.concatenate([block.samples for block in blocks(video, stream_index, **options)])


def damage(video: VideoInfo) -> list[Span]:
    return list(merge_spans((span for block in blocks(video) for span in block.damaged), gap_s=1 / RATE_HZ))


def bursts(sound: NDArray[np.float32]) -> list[float]:
    """Return the times at which the sound rises above half of its maximum after 0.3 s of silence."""
    loud = np.flatnonzero(np.abs(sound) > 0.5 * np.abs(sound).max())
    starts = [loud[0], *(after for before, after in pairwise(loud) if after - before > 0.3 * RATE_HZ)]
    return [float(start / RATE_HZ) for start in starts]


def near(*times_s: float) -> object:
    return pytest.approx(list(times_s), abs=TOLERANCE_S)


CONTAINERS = {
    "clip.mp4": (*H264, "-c:a", "aac"),
    "fragmented.mp4": (*H264, "-c:a", "aac", "-movflags", "frag_keyframe+empty_moov"),
    "starts late.mkv": (*H264, "-c:a", "aac", "-output_ts_offset", "10"),
    "clip.ts": (*H264, "-c:a", "aac"),
    "clip.flv": (*H264, "-c:a", "aac"),
    "clip.webm": ("-c:v", "libvpx", "-deadline", "realtime", "-c:a", "libopus"),
    "clip.avi": ("-c:v", "mpeg4", "-c:a", "libmp3lame"),
    "clip.mov": (*H264, "-c:a", "pcm_s16le"),
    "clip.mpg": ("-c:v", "mpeg2video", "-c:a", "mp2"),
    "clip.wmv": ("-c:v", "wmv2", "-c:a", "wmav2"),
    "clip.ogv": ("-c:v", "libtheora", "-c:a", "libvorbis"),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_burst_is_heard_at_its_time(tmp_path: Path, decoder: Decoder, name: str) -> None:
    run_ffmpeg(*PICTURE, *tone(), *CONTAINERS[name], str(tmp_path / name))
    video = probe(tmp_path / name)
    # The picture and the sound start together in the original.
    first_frame_s = next(decoder.frames_played_at(video, [0.0], 32, 32)).times_s[0]
    delay_s = first_frame_s + (MP3_DELAY_S if name.endswith(".avi") else 0.0)
    sound = samples(video)
    assert bursts(sound) == near(*(time_s + delay_s for time_s in BURSTS_S))
    assert len(sound) / RATE_HZ == pytest.approx(DURATION_S + delay_s, abs=0.1)
    assert np.abs(sound).max() == pytest.approx(0.5, abs=0.1)
    assert damage(video) == []
    part = samples(video, start_s=2.3, end_s=6.6)
    assert len(part) == round(4.3 * RATE_HZ)
    assert bursts(part) == near(3.5 - 2.3 + delay_s, 6.25 - 2.3 + delay_s)


def test_blocks_are_consecutive(tmp_path: Path, decoder: Decoder) -> None:
    run_ffmpeg(*tone(3.0, 25.0, duration_s=34.0), str(tmp_path / "talk.m4a"))
    video = decoder.probe(tmp_path / "talk.m4a")
    parts = list(decoder.audio(video, 0, start_s=1.3))
    assert [part.start_s for part in parts] == pytest.approx([1.3, 11.3, 21.3, 31.3])
    assert [len(part.samples) for part in parts[:-1]] == [BLOCK_S * RATE_HZ] * 3
    assert all(part.samples.dtype == np.float32 and part.damaged == () for part in parts)
    assert bursts(np.concatenate([part.samples for part in parts])) == near(1.7, 23.7)


def test_part_equals_the_same_part_of_the_whole(tmp_path: Path) -> None:
    source = ("-f", "lavfi", "-i", "aevalsrc='0.4*sin(100*t*t)':d=20:s=48000")
    for name, options in {"a.flac": (), "a.mp3": (), "a.ts": ("-c:a", "aac"), "a.opus": ()}.items():
        run_ffmpeg(*source, *options, str(tmp_path / name))
        video = probe(tmp_path / name)
        whole, part = samples(video), samples(video, start_s=11.0, end_s=14.0)
        assert np.abs(whole[11 * RATE_HZ : 14 * RATE_HZ] - part).max() < 0.05, name


@pytest.mark.parametrize("offset_s", [0.5, 5.0])
def test_late_sound_begins_with_silence(tmp_path: Path, offset_s: float) -> None:
    run_ffmpeg(*PICTURE, "-itsoffset", str(offset_s), *tone(), *H264, "-c:a", "aac", str(tmp_path / "clip.mp4"))
    sound = samples(probe(tmp_path / "clip.mp4"))
    assert bursts(sound) == near(*(time_s + offset_s for time_s in BURSTS_S))
    assert not sound[: round((offset_s - 0.05) * RATE_HZ)].any()


def test_early_sound_is_cut(tmp_path: Path) -> None:
    # The edit list hides the beginning of both streams.
    run_ffmpeg(*PICTURE, *tone(), *H264, "-c:a", "aac", str(tmp_path / "whole.mp4"))
    run_ffmpeg("-ss", "3.3", "-i", str(tmp_path / "whole.mp4"), "-c", "copy", str(tmp_path / "cut.mp4"))
    assert bursts(samples(probe(tmp_path / "cut.mp4"))) == near(0.2, 2.95)


@pytest.mark.parametrize(
    "heard", ["not(between(t,1.5,3))", "lt(t,0.3)+between(mod(t,2.5),0.9,1.5)"], ids=["one gap", "short pieces"]
)
def test_gap_in_the_timestamps_is_silent(tmp_path: Path, heard: str) -> None:
    run_ffmpeg(*tone(1.0, 3.5, 6.0), "-af", f"aselect='{heard}'", "-c:a", "flac", str(tmp_path / "gap.mka"))
    video = probe(tmp_path / "gap.mka")
    assert bursts(samples(video)) == near(1.0, 3.5, 6.0)
    assert damage(video) == []


@pytest.mark.parametrize("factor", [0.99, 1.01])
def test_sound_with_a_wrong_sample_clock_stays_in_time(tmp_path: Path, factor: float) -> None:
    source = tone(10.0, 50.0, duration_s=55.0)
    run_ffmpeg(*source, "-af", f"asetpts=PTS*{factor}", "-c:a", "pcm_s16le", str(tmp_path / "drift.mka"))
    heard_s = bursts(samples(probe(tmp_path / "drift.mka")))
    assert heard_s == pytest.approx([10.0 * factor, 50.0 * factor], abs=audio.MAX_JITTER_S + TOLERANCE_S)


@pytest.mark.parametrize("layout", ["5.1", "7.1"])
def test_centre_channel_is_audible(tmp_path: Path, layout: str) -> None:
    run_ffmpeg(*tone(), "-af", f"pan={layout}|FC=c0", "-c:a", "pcm_s16le", str(tmp_path / "cinema.mka"))
    sound = samples(probe(tmp_path / "cinema.mka"))
    assert bursts(sound) == near(*BURSTS_S)
    assert np.abs(sound).max() > 0.05


def test_channels_without_known_speakers_are_mixed(tmp_path: Path) -> None:
    values = np.zeros((2 * RATE_HZ, 9), np.int16)
    values[RATE_HZ : RATE_HZ + 1600, 7] = 30_000
    with wave.open(str(tmp_path / "nine.wav"), "wb") as file:
        file.setparams((9, 2, RATE_HZ, 0, "NONE", ""))
        file.writeframes(values.tobytes())
    sound = samples(probe(tmp_path / "nine.wav"))
    assert bursts(sound) == near(1.0)
    assert np.abs(sound).max() == pytest.approx(30_000 / 32_768 / 9, rel=0.01)


@pytest.mark.parametrize("rate_hz", [8_000, 192_000])
def test_any_sample_rate_is_converted(tmp_path: Path, rate_hz: int) -> None:
    run_ffmpeg(*tone(rate_hz=rate_hz), "-c:a", "flac", str(tmp_path / "a.flac"))
    sound = samples(probe(tmp_path / "a.flac"))
    assert bursts(sound) == near(*BURSTS_S)
    assert len(sound) == pytest.approx(DURATION_S * RATE_HZ, abs=2)


@pytest.mark.parametrize(("suffix", "codec"), [("mp3", "libmp3lame"), ("ts", "aac")])
def test_format_may_change_within_a_file(tmp_path: Path, suffix: str, codec: str) -> None:
    run_ffmpeg(*tone(), "-ac", "2", "-c:a", codec, "-write_xing", "0", str(tmp_path / f"first.{suffix}"))
    late = ("-output_ts_offset", str(DURATION_S)) if suffix == "ts" else ("-write_xing", "0")
    run_ffmpeg(*tone(rate_hz=48_000), "-c:a", codec, *late, str(tmp_path / f"second.{suffix}"))
    path = tmp_path / f"both.{suffix}"
    path.write_bytes(b"".join((tmp_path / f"{part}.{suffix}").read_bytes() for part in ("first", "second")))
    heard_s = bursts(samples(probe(path)))
    assert heard_s == pytest.approx([*BURSTS_S, *(time_s + DURATION_S for time_s in BURSTS_S)], abs=0.1)


def test_values_that_are_not_numbers_are_silent(tmp_path: Path) -> None:
    values = np.full(RATE_HZ, 0.25, np.float32)
    values[8000:8100], values[9000:9100], values[10_000:10_100] = np.nan, np.inf, 1e38
    raw = ("-f", "f32le", "-ar", str(RATE_HZ), "-ac", "1", "-i", "pipe:", "-c:a", "pcm_f32le")
    run_ffmpeg(*raw, str(tmp_path / "a.wav"), stdin=values.tobytes())
    sound = samples(probe(tmp_path / "a.wav"))
    assert not sound[8000:8100].any() and not sound[9000:9100].any()
    assert (sound[10_000:10_100] == 1.0).all() and sound[0] == 0.25


# -- damaged files ----------------------------------------------------------------------------------------------------


def test_damaged_part_is_silent_and_reported(tmp_path: Path) -> None:
    run_ffmpeg("-f", "lavfi", "-i", "anoisesrc=d=20:a=0.3:seed=1", "-b:a", "96k", "-c:a", "aac", str(tmp_path / "a.m4a"))
    data = bytearray((tmp_path / "a.m4a").read_bytes())
    middle = len(data) // 2
    data[middle : middle + 12_000] = bytes(12_000)
    (tmp_path / "a.m4a").write_bytes(data)
    video = probe(tmp_path / "a.m4a")
    (span,) = damage(video)
    assert span.start_s == pytest.approx(10.0, abs=0.5) and span.duration_s == pytest.approx(1.0, abs=0.3)
    sound = samples(video)
    assert len(sound) == pytest.approx(20 * RATE_HZ, abs=RATE_HZ // 20)
    first, last = (round(time_s * RATE_HZ) for time_s in (span.start_s, span.end_s))
    assert not sound[first + 800 : last - 800].any()
    assert sound[first - 1600 : first].any() and sound[last : last + 1600].any()


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.flv", "a.m4a"])
def test_file_that_is_cut_off_reports_the_missing_rest(tmp_path: Path, name: str) -> None:
    picture = () if name == "a.m4a" else (*PICTURE, *H264, "-g", "5")
    noise = ("-f", "lavfi", "-i", f"anoisesrc=d={DURATION_S}:a=0.3:seed=1")
    codec = ("-bf", "0", "-c:a", "libmp3lame") if name == "a.flv" else ("-c:a", "aac")
    run_ffmpeg(*noise, *picture, *codec, "-movflags", "+faststart", str(tmp_path / name))
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) * 6 // 10])
    video = probe(tmp_path / name)
    sound = samples(video)
    assert 3 < len(sound) / RATE_HZ < 6.5
    assert sound[-1600:].any()
    (span,) = damage(video)
    assert (span.start_s, span.end_s) == pytest.approx((len(sound) / RATE_HZ, DURATION_S), abs=0.2)


def test_sound_may_be_shorter_or_longer_than_the_picture(tmp_path: Path) -> None:
    for name, duration_s in {"long.mkv": 21.0, "short.flv": 5.0, "short.mp4": 5.0}.items():
        run_ffmpeg(*PICTURE, *tone(1.0, duration_s - 0.2, duration_s=duration_s), *H264, "-c:a", "aac", str(tmp_path / name))
        video = probe(tmp_path / name)
        assert len(samples(video)) / RATE_HZ == pytest.approx(duration_s, abs=0.1), name
        assert damage(video) == [], name


@pytest.fixture
def stream_path(tmp_path: Path) -> Path:
    """A transport stream of 20 s with only sound."""
    run_ffmpeg(*tone(1.0, 8.0, 12.0, 18.0, duration_s=20.0), "-c:a", "mp2", str(tmp_path / "stream.ts"))
    return tmp_path / "stream.ts"


@pytest.mark.parametrize(("byte", "bit", "is_dropped"), [(11, 5, False), (9, 3, True)], ids=["5.8 s", "26 hours"])
def test_wrong_timestamp_does_not_move_the_sound(stream_path: Path, byte: int, bit: int, is_dropped: bool) -> None:
    heard_s = bursts(samples(probe(stream_path)))
    data = bytearray(stream_path.read_bytes())
    # Packets of audio begin with this code, and have their timestamp in the bytes 9 to 13.
    headers = [index for index in range(len(data)) if data[index : index + 4] == b"\0\0\1\xc0"]
    data[headers[len(headers) // 4] + byte] ^= 1 << bit
    stream_path.write_bytes(data)
    video = probe(stream_path)
    assert bursts(samples(video)) == near(*heard_s)
    assert sum(span.duration_s for span in damage(video)) == pytest.approx(0.2 if is_dropped else 0.0, abs=0.2)


def test_track_without_decodable_sound_is_an_error(tmp_path: Path) -> None:
    run_ffmpeg(*PICTURE, *tone(), *H264, "-c:a", "ac3", str(tmp_path / "a.mkv"))
    data = (tmp_path / "a.mkv").read_bytes()
    (tmp_path / "a.mkv").write_bytes(data.replace(b"\x0b\x77", b"\0\0"))
    video = probe(tmp_path / "a.mkv")
    with pytest.raises(UnreadableVideo, match=r"No sound of a\.mkv can be decoded"):
        blocks(video)
    with pytest.raises(UnreadableVideo, match="no audio track in stream 7"):
        blocks(video, 7)


# -- tracks -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def bilingual(tmp_path: Path) -> VideoInfo:
    """A video with an English, a Korean and a commentary track, each with a burst at its own time."""
    tracks = [part for time_s in BURSTS_S for part in tone(time_s)]
    maps = [part for number in range(4) for part in ("-map", str(number))]
    languages = [
        part for number, tag in enumerate(("eng", "kor", "eng")) for part in (f"-metadata:s:a:{number}", f"language={tag}")
    ]
    dispositions = ("-disposition:a:0", "0", "-disposition:a:2", "comment", "-metadata:s:a:2", "title=Director")
    run_ffmpeg(*PICTURE, *tracks, *maps, *H264, "-c:a", "aac", *languages, *dispositions, str(tmp_path / "two.mkv"))
    return probe(tmp_path / "two.mkv")


@pytest.mark.parametrize(
    ("choice", "burst_s"),
    [(None, 1.0), (1, 1.0), (2, 3.5), (3, 6.25), ("ko", 3.5), ("kor", 3.5), ("en-US", 1.0), ("ENG", 1.0)],
)
def test_track_is_chosen_by_number_or_language(bilingual: VideoInfo, choice: str | int | None, burst_s: float) -> None:
    stream = select_audio_stream(bilingual, choice)
    assert bursts(samples(bilingual, stream.index)) == pytest.approx([burst_s], abs=0.03)


@pytest.mark.parametrize("choice", [0, 4, -1, "fr", ""])
def test_unknown_track_is_an_error_that_lists_the_tracks(bilingual: VideoInfo, choice: str | int) -> None:
    with pytest.raises(NoSuchTrack, match=r"1: eng, 2: kor, 3: eng \(Director, commentary\)"):
        select_audio_stream(bilingual, choice)


def test_video_without_sound_has_no_track(shapes_video: VideoInfo) -> None:
    with pytest.raises(NoSuchTrack, match=r"shapes\.mp4 has no sound"):
        select_audio_stream(shapes_video, None)


def test_long_silence_is_cancelled_at_once(tmp_path: Path, decoder: Decoder) -> None:
    pause = ("-af", "asetpts='PTS+if(gt(T,4),36000/TB,0)'")
    run_ffmpeg(*tone(), *pause, "-c:a", "flac", str(tmp_path / "pause.mka"))
    video = decoder.probe(tmp_path / "pause.mka")
    assert video.duration_s == pytest.approx(36_008, abs=1)
    assert bursts(samples(video, start_s=36_001.0)) == near(5.25)
    progress = cancel_during(lambda progress: list(decoder.audio(video, 0, progress=progress)), after_s=0.3)
    assert 0 < progress.report.fraction < 1
