"""Waveforms: a click is in the peak of its time, whatever the container, the offset and the sample rate."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from longview.core.progress import Cancelled, Progress
from longview.video.decoding.audio import RATE_HZ, AudioBlock, select_audio_stream
from longview.video.errors import VideoError
from longview.video.ffmpeg import ffmpeg_path
from longview.video.probing.probe import probe
from longview.video.waveform import PEAKS_PER_S, PeakMeter, peak_count, waveform

PICTURES = "testsrc2=duration=4:rate=25:size=160x120"
X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")
CLICKS_S = (0.51, 1.23, 2.04)


def run(*arguments: str) -> None:
    subprocess.run([ffmpeg_path(), "-y", "-v", "error", *arguments], check=True, timeout=60)


def clicks(folder: Path, rate_hz: int = 44_100, level: float = -0.5) -> Path:
    """Write a stereo file with single samples of a level on the right, and of its opposite on the left, at `CLICKS_S`."""
    samples = np.zeros((3 * rate_hz, 2), "<i2")
    samples[[round(time_s * rate_hz) for time_s in CLICKS_S]] = [round(-level * 32767), round(level * 32767)]
    (folder / "clicks.pcm").write_bytes(samples.tobytes())
    run("-f", "s16le", "-ar", str(rate_hz), "-ac", "2", "-i", str(folder / "clicks.pcm"), str(folder / "clicks.wav"))
    return folder / "clicks.wav"


def peaks_of(path: Path, progress: Progress | None = None) -> NDArray[np.uint8]:
    video = probe(path)
    return waveform(video, select_audio_stream(video, None).index, progress or Progress())


def loud(peaks: NDArray[np.uint8]) -> list[int]:
    return [int(number) for number in np.flatnonzero(peaks > 60)]


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 44_100, 192_000])
def test_a_single_sample_is_in_its_peak_at_its_height(tmp_path: Path, rate_hz: int) -> None:
    peaks = peaks_of(clicks(tmp_path, rate_hz))
    # Both channels together would be silent.
    assert np.flatnonzero(peaks).tolist() == [10, 24, 40] and set(peaks[[10, 24, 40]]) <= {127, 128}
    assert len(peaks) == 3 * PEAKS_PER_S == peak_count(3.0) and peaks.dtype == np.uint8


def test_full_scale_is_255_and_silence_is_0(tmp_path: Path) -> None:
    assert set(peaks_of(clicks(tmp_path, level=-1.0))) == {0, 255}
    silence = tmp_path / "silence.wav"
    run("-f", "lavfi", "-i", "anullsrc=d=2", str(silence))
    assert not peaks_of(silence).any()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("late.mkv", ("-c:a", "flac")),
        ("late.mp4", ("-c:a", "aac", "-b:a", "256k")),
        ("late.ts", ("-c:a", "mp2", "-b:a", "384k")),
        ("from ten.mkv", ("-c:a", "flac", "-output_ts_offset", "10")),
    ],
)
def test_sound_that_starts_after_the_picture_is_at_the_times_of_the_player(
    tmp_path: Path, name: str, options: tuple[str, ...]
) -> None:
    path = tmp_path / name
    late = ("-itsoffset", "1.5", "-i", str(clicks(tmp_path, level=-1.0)))
    run("-f", "lavfi", "-i", PICTURES, *late, *X264, *options, str(path))
    peaks = peaks_of(path)
    assert not peaks[:28].any()
    for click_s in CLICKS_S:
        number = int((click_s + 1.5) * PEAKS_PER_S)
        # Encoders smear a click over some milliseconds.
        assert number in loud(peaks) and set(loud(peaks[: number + 6])) <= set(loud(peaks[: number + 2]))


def test_a_gap_in_the_sound_is_silent_and_what_follows_keeps_its_time(tmp_path: Path) -> None:
    sound, path = clicks(tmp_path), tmp_path / "gap.mkv"
    shift = "aselect='not(between(t,0.7,1.1))'"
    run("-f", "lavfi", "-i", PICTURES, "-i", str(sound), *X264, "-af", f"asetnsamples=441,{shift}", "-c:a", "flac", str(path))
    assert loud(peaks_of(path)) == [10, 24, 40]


def test_sound_that_is_decoded_for_another_purpose_gives_the_same_peaks_if_it_is_heard_to_its_end() -> None:
    sound = np.random.default_rng(1).uniform(-1, 1, 5 * RATE_HZ + 301).astype(np.float32)
    sound[RATE_HZ // 2 : RATE_HZ] = 0
    meter = PeakMeter(len(sound) / RATE_HZ)
    # A section may begin anywhere, and be decoded twice.
    for first, end in ((0, 20_001), (20_001, 60_000), (33_333, len(sound))):
        assert meter.peaks() is None if not first else meter.peaks() is not None
        meter.add(AudioBlock(first / RATE_HZ, sound[first:end]))
    expected = [int(np.ceil(np.abs(sound[at : at + 800]).max() * 255)) for at in range(0, len(sound), 800)]
    peaks = meter.peaks()
    assert peaks is not None and peaks.tolist() == expected
    meter.add(AudioBlock(9.0, sound[:800]))
    assert meter.peaks() is None


def test_a_file_of_a_fifth_of_a_second_has_four_peaks(tmp_path: Path) -> None:
    path = tmp_path / "short.wav"
    run("-f", "lavfi", "-i", "sine=d=0.2", str(path))
    peaks = peaks_of(path)
    assert len(peaks) == 4 and peaks.all()


def test_a_truncated_file_has_the_peaks_up_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "cut off.mkv"
    run("-f", "lavfi", "-i", PICTURES, "-f", "lavfi", "-i", "sine=d=4", *X264, "-c:a", "flac", str(path))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    peaks = peaks_of(path)
    assert peaks[:10].all() and peaks.size


def test_a_cancelled_waveform_ends_and_no_sound_is_an_error(tmp_path: Path) -> None:
    progress = Progress()
    progress.cancel()
    with pytest.raises(Cancelled):
        peaks_of(clicks(tmp_path), progress)
    video = probe(clicks(tmp_path))
    with pytest.raises(VideoError):
        waveform(video, 7)
