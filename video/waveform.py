"""The waveform of a video's sound: its largest samples in each twentieth of a second, on the clock that players show."""

import math
import struct
from typing import IO

import ffmpeg
import numpy as np
from numpy.typing import NDArray

from longview.core.progress import NO_PROGRESS, Progress
from longview.video.decoding.audio import MAX_JITTER_S, RATE_HZ, AudioBlock
from longview.video.errors import UnreadableVideo
from longview.video.ffmpeg import output_of
from longview.video.probing.guard import DEMUXER_OPTIONS, demuxer_url
from longview.video.probing.probe import VideoInfo

PEAKS_PER_S = 20
FULL_SCALE = 1 << 15
"""Largest absolute value of a decoded sample, of 16 bits."""
MAX_PEAK = 255
BLOCK_BYTES = 1 << 20
"""Size of the samples that are read at once, in bytes, unless one peak has more."""
MAX_CHANNELS, MAX_RATE_HZ = 256, 768_000
"""Maximum number of channels and maximum sample rate, in hertz, of sound that is read; they bound the memory of one peak."""
MAX_DECODING_S_PER_S = 1.0
"""Deadline in seconds per second of video; more than twenty times what a slow core needs."""


def peak_count(duration_s: float) -> int:
    """Return the number of peaks of a video of a length in seconds."""
    return max(1, math.ceil(duration_s * PEAKS_PER_S - 1e-6))


def waveform(video: VideoInfo, stream_index: int, progress: Progress = NO_PROGRESS) -> NDArray[np.uint8]:
    """Return the peaks of a whole audio stream: `PEAKS_PER_S` in each second from the container's start, as shape (n,).

    A peak is the largest absolute sample of all channels at the sample rate of the stream. The scale is linear: 255 is full
    scale, and values are rounded up, so that 0 is digital silence. Where a stream has no sound, because it begins late, has a
    gap or ends early, peaks are 0. The memory does not grow with the video, but for the peaks themselves.

    Raises:
        UnreadableVideo: nothing of the stream can be decoded. FFmpegFailed: ffmpeg fails. Cancelled: the operation was cancelled.
    """
    source = ffmpeg.input(demuxer_url(video.path), **DEMUXER_OPTIONS)
    # With `-copyts`, ffmpeg keeps the times of the file: for some containers it would else count from the start of this stream.
    sound = source[str(stream_index)].filter("asetpts", f"PTS-{video.start_offset_s:.6f}/TB")
    # The filter writes silence into gaps, also before the first sound, and drops what overlaps.
    sound = sound.filter("aresample", **{"async": 1, "first_pts": 0, "min_hard_comp": MAX_JITTER_S})
    graph = sound.output("pipe:", format="wav", acodec="pcm_s16le", fflags="+bitexact").global_args("-copyts")
    count = peak_count(video.duration_s)
    with output_of(graph, timeout_s=60 + MAX_DECODING_S_PER_S * video.duration_s, progress=progress) as output:
        rate_hz, channels = _wave_format(output)
        peaks = _peaks(output, rate_hz, channels, count, progress) if rate_hz else None
    if peaks is None:
        raise UnreadableVideo(f"No sound of {video.path.name} can be decoded; the track is damaged or empty.")
    return peaks


class PeakMeter:
    """Takes the peaks of sound that is decoded for another purpose, on the scale of `waveform`.

    The sound is mono at 16 kHz, so that a peak is lower where channels differ, or where most of a sound is above 8 kHz.
    """

    def __init__(self, duration_s: float) -> None:
        """`duration_s`: length of the video, in seconds."""
        self._peaks = np.zeros(peak_count(duration_s), np.uint8)
        self._end_s, self._has_gap = 0.0, False

    def add(self, block: AudioBlock) -> None:
        """Take the peaks of a block. Blocks that were taken before may come again."""
        self._has_gap |= block.start_s > self._end_s + 1 / PEAKS_PER_S
        self._end_s = max(self._end_s, block.start_s + len(block.samples) / RATE_HZ)
        first = round(block.start_s * RATE_HZ)
        numbers = (first + np.arange(len(block.samples))) * PEAKS_PER_S // RATE_HZ
        starts = np.flatnonzero(np.diff(numbers, prepend=-1))
        places = numbers[starts]
        largest = np.maximum.reduceat(np.abs(block.samples), starts) if len(starts) else block.samples
        peaks = np.minimum(np.ceil(largest * MAX_PEAK), MAX_PEAK).astype(np.uint8)
        is_inside = places < len(self._peaks)
        self._peaks[places[is_inside]] = np.maximum(self._peaks[places[is_inside]], peaks[is_inside])

    def peaks(self) -> NDArray[np.uint8] | None:
        """Return the peaks of the whole sound, as shape (n,); None if a part of it, or all, was left out."""
        return None if self._has_gap or not self._end_s else self._peaks


def _wave_format(output: IO[bytes]) -> tuple[int, int]:
    """Read the header of a WAVE file; return sample rate, in hertz, and channels. (0, 0): there is none, or no sound follows.

    Format: https://www.mmsp.ece.mcgill.ca/Documents/AudioFormats/WAVE/WAVE.html
    """
    if len(output.read(12)) < 12:
        return 0, 0
    rate_hz = channels = 0
    while len(header := output.read(8)) == 8:
        kind, size = struct.unpack("<4sI", header)
        if kind == b"data":
            return (rate_hz, channels) if 0 < rate_hz <= MAX_RATE_HZ and 0 < channels <= MAX_CHANNELS else (0, 0)
        content = output.read(size + size % 2)
        if kind == b"fmt ":
            channels, rate_hz = struct.unpack_from("<HI", content, 2)
    return 0, 0


def _peaks(output: IO[bytes], rate_hz: int, channels: int, count: int, progress: Progress) -> NDArray[np.uint8] | None:
    """Return the peaks of interleaved samples; None if there is not one sample."""
    peaks = np.zeros(count, np.uint8)
    step = max(1, BLOCK_BYTES * PEAKS_PER_S // (2 * channels * rate_hz))
    buffer = np.zeros((step * rate_hz // PEAKS_PER_S + 2) * channels, "<i2")
    for first in range(0, count, step):
        # Sample rates such as 11,025 Hz are no multiples of the number of peaks.
        starts = -(-np.arange(first, min(first + step, count) + 1) * rate_hz // PEAKS_PER_S) * channels
        starts -= starts[0]
        size = output.readinto(buffer[: starts[-1]].view(np.uint8)) // 2  # type: ignore[attr-defined]
        if not size:
            return peaks if first else None
        samples, bounds = buffer[:size], starts[: np.searchsorted(starts, size)]
        # The absolute value of the lowest sample has no 16 bits.
        highest = np.maximum.reduceat(samples, bounds).astype(np.int32)
        largest = np.maximum(highest, -np.minimum.reduceat(samples, bounds).astype(np.int32))
        peaks[first : first + len(bounds)] = (largest * MAX_PEAK + FULL_SCALE - 1) // FULL_SCALE
        progress.update((first + len(bounds)) / count)
        if size < starts[-1]:
            break
    return peaks
