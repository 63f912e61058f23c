"""Durations and frame periods of streams, from what a file declares and from the timestamps of its packets."""

import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Stream
from av.video.stream import VideoStream

from longview.video.probing.container import ESTIMATED_CONTAINERS, FFMPEG_ERRORS, HEARTBEAT_S, INDEXLESS_CONTAINERS

MAX_TIMED_PACKETS = 2_000
"""Maximum number of timestamps that are compared to detect a variable frame rate."""
MAX_CFR_DEVIATION = 0.1
"""Maximum deviation of a frame period at a constant frame rate, as a fraction of the median period."""
TAIL_BYTES = 1 << 22
"""Size of the end of a file without an index that is read to check its duration, in bytes; FFmpeg reads a quarter of a
megabyte or more."""
MAX_TIMESTAMP_STEP_S = 5.0
"""Maximum step back from one timestamp to those of the next packets, in seconds; a packet with a larger one is damaged."""
MAX_DAMAGED_PACKETS = 64
"""Maximum number of consecutive packets with damaged timestamps: in a program stream, several frames share one timestamp."""
MAX_REORDERED_FRAMES = 16
"""Maximum number of frames that are stored after a frame and shown before it, in H.264 and HEVC."""
ROUNDING_S = 2e-3
"""Maximum rounding error of a frame period, in seconds: some containers store whole milliseconds."""


@dataclass(frozen=True)
class FrameTiming:
    """Frame periods and edit-list flags of the first packets."""

    median_period_s: float
    """Median time between two frames, in seconds; 0 for a single frame."""
    is_vfr: bool
    """Whether the frame period varies, as in `VideoInfo.is_vfr`."""
    hides_frames: bool
    """Whether an edit list hides some of the packets."""


def video_duration(
    container: InputContainer, stream: VideoStream, start_offset_s: float, size_bytes: int, heartbeat: Callable[[], None]
) -> tuple[float, float | None]:
    """Return the seconds from the container's start to the end of the last frame with an undamaged timestamp.

    The second value is the longer duration that damaged timestamps state; it is None if the last timestamps are plausible.
    """
    duration_s = _duration_s(container, stream, start_offset_s, heartbeat)
    if container.format.name in INDEXLESS_CONTAINERS:
        last_s = _plausible_end_s(container, stream, size_bytes) - start_offset_s
        if 0 < last_s < duration_s - MAX_TIMESTAMP_STEP_S:
            return last_s, duration_s
    return duration_s, None


def sound_duration(container: InputContainer, stream: AudioStream, start_offset_s: float, heartbeat: Callable[[], None]) -> float:
    """Return the seconds from the container's start to the end of the sound, in a file without a video stream."""
    is_estimated = container.format.name in ESTIMATED_CONTAINERS
    duration_s = 0.0 if is_estimated else _duration_s(container, stream, start_offset_s, heartbeat)
    if duration_s > 0:
        return duration_s
    return _measured_end_s(container, stream, near_s=0.0, heartbeat=heartbeat) - start_offset_s


def frame_timing(container: InputContainer, stream: VideoStream) -> FrameTiming:
    """Measure the frame periods of the first packets, and find out whether an edit list hides some of them."""
    # FFmpeg cannot seek to 0 in an FLV file without a frame there; the next packets are as good.
    with suppress(*FFMPEG_ERRORS):
        container.seek(0)
    times_s, hides_frames = [], False
    for packet in container.demux(stream):
        hides_frames = hides_frames or packet.is_discard
        if packet.pts is not None and packet.time_base is not None:
            times_s.append(float(packet.pts * packet.time_base))
        if len(times_s) >= MAX_TIMED_PACKETS:
            break
    # Frames that precede the last packets in display order may follow them in the file. Encoders often leave a gap after the
    # first frame.
    times_s = sorted(times_s)[min(1, len(times_s) // 3) : max(len(times_s) - 16, len(times_s) * 3 // 4)]
    periods_s = sorted(after - before for before, after in zip(times_s, times_s[1:], strict=False))
    if not periods_s:
        return FrameTiming(0.0, False, hides_frames)
    median_s = periods_s[len(periods_s) // 2]
    max_deviation_s = max(MAX_CFR_DEVIATION * median_s, ROUNDING_S)
    return FrameTiming(median_s, max(periods_s[-1] - median_s, median_s - periods_s[0]) > max_deviation_s, hides_frames)


def _duration_s(container: InputContainer, stream: Stream, start_offset_s: float, heartbeat: Callable[[], None]) -> float:
    """Return the seconds from the container's start to the end of the stream."""
    total_s = container.duration / av.time_base if container.duration else None
    if stream.duration and stream.time_base:
        stream_start_s = float((stream.start_time or 0) * stream.time_base)
        end_s = stream_start_s + float(stream.duration * stream.time_base) - start_offset_s
        # A stream that declares a longer duration than its container is damaged.
        if end_s > 0 and (total_s is None or end_s <= total_s + 1):
            return end_s
    if total_s and start_offset_s <= 0:
        return total_s
    # The last packets are needed if no duration is declared, and in Matroska files that start late: FFmpeg writes their
    # duration from zero.
    measured_s = _measured_end_s(container, stream, near_s=total_s or 0.0, heartbeat=heartbeat) - start_offset_s
    return min(total_s, measured_s) if total_s and measured_s > 0 else total_s or measured_s


def _measured_end_s(container: InputContainer, stream: Stream, *, near_s: float, heartbeat: Callable[[], None]) -> float:
    """Return the end of the last packet, reading from the key frame before `near_s`."""
    container.seek(int(near_s * av.time_base))
    end_s = 0.0
    heartbeat_at_s = time.monotonic()
    for packet in container.demux(stream):
        if time.monotonic() - heartbeat_at_s > HEARTBEAT_S:
            heartbeat_at_s = time.monotonic()
            heartbeat()
        if packet.pts is not None and packet.time_base is not None:
            end_s = max(end_s, float((packet.pts + (packet.duration or 0)) * packet.time_base))
    return end_s


def _plausible_end_s(container: InputContainer, stream: VideoStream, size_bytes: int) -> float:
    """Return the end of the last packet whose timestamp the next packets do not contradict; only the file's end is read."""
    starts_s, ends_s = [], []
    with suppress(*FFMPEG_ERRORS):
        container.seek(max(0, size_bytes - TAIL_BYTES), unsupported_byte_offset=True)
        for packet in container.demux(stream):
            if packet.pts is not None and packet.time_base is not None:
                starts_s.append(float(packet.pts * packet.time_base))
                ends_s.append(starts_s[-1] + float((packet.duration or 0) * packet.time_base))
    ordered_s = sorted(starts_s)
    periods_s = [after - before for before, after in zip(ordered_s, ordered_s[1:], strict=False)]
    # In a slide show, the reordering of frames steps back further.
    max_step_s = max(MAX_TIMESTAMP_STEP_S, MAX_REORDERED_FRAMES * statistics.median(periods_s or [0.0]))
    end_s = 0.0
    for index, start_s in enumerate(starts_s):
        next_s = starts_s[index + 1 : index + 1 + MAX_DAMAGED_PACKETS]
        if start_s - min(next_s, default=start_s) <= max_step_s:
            end_s = max(end_s, ends_s[index])
    return end_s
