"""Metadata of a video file, or of one with only sound: `probe(path)` returns a `VideoInfo`."""

import hashlib
import logging
import statistics
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition, Stream
from av.video.frame import VideoFrame
from av.video.reformatter import ColorTrc
from av.video.stream import VideoStream

from longview.video.errors import NoFrames, NotAVideo, TooLarge, UnreadableVideo
from longview.video.guard import DEMUXER_OPTIONS, Limits, check_duration, check_path, check_stream, demuxer_url, may_decode
from longview.video.progress import NO_PROGRESS, Progress

log = logging.getLogger(__name__)

FFMPEG_ERRORS = (av.error.FFmpegError, ValueError, IndexError)
"""Exceptions that PyAV raises for damaged files; IndexError if a stream first appears in the middle of a file."""
MAX_FAILED_PACKETS = 250
"""Maximum number of undecodable packets before the first frame; a stream with more is unreadable."""
MAX_FAILED_SOUND_PACKETS = 5_000
"""The same for sound: about two minutes of AAC, whose packets are shorter than those of video."""
HASH_BLOCK_BYTES = 1 << 20
MAX_TIMED_PACKETS = 2_000
"""Maximum number of timestamps that are compared to detect a variable frame rate."""
MAX_FPS = 240.0
"""Maximum plausible frame rate, in frames per second."""
MAX_CFR_DEVIATION = 0.1
"""Maximum deviation of a frame period at a constant frame rate, as a fraction of the median period."""
MAX_PIXEL_ASPECT = 16.0
"""Maximum plausible ratio between the sides of a stored pixel. Cameras, discs and broadcasts have at most 2; a single flipped bit
of the ratio in the file makes it thousands, and the displayed frame gigabytes."""
HDR_TRANSFERS = (ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67)
"""Transfer functions of HDR video: PQ and HLG."""
HEARTBEAT_S = 1.0
"""Interval between two heartbeats, in seconds."""
INDEXLESS_CONTAINERS = frozenset({"mpegts", "mpeg"})
"""Containers whose duration FFmpeg estimates from the timestamps of the last packets (`estimate_timings` in
libavformat/demux.c). One flipped bit in such a timestamp adds up to a minute."""
ESTIMATED_CONTAINERS = frozenset({"mp3", "aac"})
"""Containers whose duration FFmpeg estimates from the bit rate of the first packets, if it has no header with the duration."""
SECONDARY_SOUND = Disposition.comment | Disposition.visual_impaired | Disposition.descriptions
"""Dispositions of commentaries and audio descriptions."""
TAIL_BYTES = 1 << 22
"""Size of the end of such a file that is read to check its duration, in bytes; FFmpeg reads a quarter of a megabyte or more."""
MAX_TIMESTAMP_STEP_S = 5.0
"""Maximum step back from one timestamp to those of the next packets, in seconds; a packet with a larger one is damaged."""
MAX_DAMAGED_PACKETS = 64
"""Maximum number of consecutive packets with damaged timestamps: in a program stream, several frames share one timestamp."""
MAX_REORDERED_FRAMES = 16
"""Maximum number of frames that are stored after a frame and shown before it, in H.264 and HEVC."""
ROUNDING_S = 2e-3
"""Maximum rounding error of a frame period, in seconds: some containers store whole milliseconds."""


@dataclass(frozen=True)
class StreamInfo:
    """An audio or subtitle stream."""

    codec: str
    language: str | None
    """ISO 639-2 code; None if the file does not state it."""
    index: int
    """Index of the stream in the container."""
    is_default: bool
    title: str | None
    """Title from the metadata; None if the file does not state it."""
    is_commentary: bool = False
    """Whether the stream is a commentary or an audio description, as far as the file states it."""
    channels: int | None = None
    """Number of channels of an audio stream; None for subtitles, or if the file does not state it."""
    sample_rate_hz: int | None = None
    """Sample rate of an audio stream, in hertz; None for subtitles, or if the file does not state it."""


@dataclass(frozen=True)
class Chapter:
    """A chapter that is stored in the file."""

    start_s: float
    end_s: float
    title: str


@dataclass(frozen=True)
class VideoInfo:
    """Metadata of a video file and of its selected video stream.

    A file with sound but no pictures (`has_frames` is False) has the width, height and frame rate 0, the stream index -1, and an
    empty codec and pixel format.
    """

    path: Path
    content_hash: str
    """BLAKE2b-160 of the file's bytes, hexadecimal; it identifies a video independently of its path."""
    duration_s: float
    """Seconds from the container's start to the end of the last frame with an undamaged timestamp; without pictures, to the end
    of the sound."""
    width: int
    """Displayed width in pixels: after rotation, with the pixel aspect ratio applied."""
    height: int
    rotation_deg: int
    """Clockwise rotation that is needed for display: 0, 90, 180 or 270."""
    fps_nominal: float
    """Average frame rate, in frames per second. It is only descriptive: timestamps are read from the file."""
    is_vfr: bool
    """Whether the frame period varies by more than a tenth among the first 2,000 frames."""
    start_offset_s: float
    """Start time of the container, in seconds. All other times are presentation timestamps minus this offset."""
    stream_index: int
    codec: str
    container: str
    pixel_format: str
    size_bytes: int
    pixel_aspect: float = 1.0
    """Width of a stored pixel divided by its height."""
    is_mirrored: bool = False
    """Whether a stored frame is mirrored left to right for display, before the rotation."""
    is_hdr: bool = False
    """Whether the transfer function is PQ or HLG; decoded frames are tone-mapped to SDR."""
    has_edit_list: bool = False
    """Whether an edit list hides or shifts stored frames."""
    audio_streams: tuple[StreamInfo, ...] = ()
    subtitle_streams: tuple[StreamInfo, ...] = ()
    chapters: tuple[Chapter, ...] = ()
    damaged_duration_s: float | None = None
    """Longer duration that damaged timestamps state, in seconds; None if the last timestamps are plausible."""

    @property
    def has_audio(self) -> bool:
        """Whether the file has an audio stream."""
        return bool(self.audio_streams)

    @property
    def has_frames(self) -> bool:
        """Whether the file has a video stream."""
        return self.stream_index >= 0


def require_frames(video: VideoInfo) -> None:
    """Check that a file has a video stream, for operations that need frames.

    Raises:
        NoFrames: the file has only sound.
    """
    if not video.has_frames:
        raise NoFrames(f"{video.path.name} has sound but no pictures; choose a file with a video track for this.")


def content_hash(path: Path, progress: Progress = NO_PROGRESS) -> str:
    """Return the BLAKE2b-160 hash of a file's bytes, hexadecimal.

    Raises:
        Cancelled: the operation was cancelled.
    """
    digest = hashlib.blake2b(digest_size=20)
    with path.open("rb") as file:
        while block := file.read(HASH_BLOCK_BYTES):
            digest.update(block)
            progress.raise_if_cancelled()
    return digest.hexdigest()


@contextmanager
def open_container(path: Path) -> Iterator[InputContainer]:
    """Open the container at a checked path; close it at the end of the block.

    Raises:
        NotAVideo: FFmpeg finds no container that may be opened.
    """
    try:
        container = av.open(demuxer_url(path), options=dict(DEMUXER_OPTIONS))
    except FFMPEG_ERRORS as error:
        log.info("cannot open %s: %s", path, error)
        raise NotAVideo(f"{path} is not a video that can be opened; it may be damaged or truncated.") from error
    with container:
        yield container


def _select_stream(container: InputContainer) -> VideoStream | None:
    """Select the first default video stream, or else the first one, or None; cover pictures are excluded."""
    streams = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    return next((stream for stream in streams if stream.disposition & Disposition.default), streams[0] if streams else None)


def probe(
    path: Path | str,
    *,
    known_hash: str | None = None,
    limits: Limits | None = None,
    heartbeat: Callable[[], None] = lambda: None,
) -> VideoInfo:
    """Read a file's metadata and decode its first frame, or the first of its sound if it has no video stream.

    For untrusted files use `longview.video.decoder.Decoder.probe`.

    `known_hash`: content hash, if the caller has it; the file is then not read to compute it. `heartbeat` is called once per
    second while a file without an index is read to its end.

    Raises:
        VideoNotFound: the file does not exist.
        NotAVideo: it is a folder, is empty, contains neither video nor sound, or uses an unsupported codec.
        TooLarge: it exceeds the limits.
        UnreadableVideo: no frame can be decoded.
    """
    limits = limits or Limits()
    checked_path = check_path(path, limits)
    with open_container(checked_path) as container:
        stream = _select_stream(container)
        if stream is None:
            return _probe_sound(container, checked_path, known_hash, limits, heartbeat)
        declared_fps = float(stream.average_rate or stream.base_rate or 25)
        declared_s = (container.duration or 0) / av.time_base
        context = stream.codec_context
        if context is None:
            raise NotAVideo(f"{checked_path} has a codec that this FFmpeg does not support; convert it to H.264 first.")
        check_limits = partial(
            check_stream,
            checked_path,
            codec=context.codec.canonical_name,
            width=context.width,
            height=context.height,
            limits=limits,
        )
        check_limits(duration_s=declared_s, frames=stream.frames or round(declared_s * min(declared_fps, MAX_FPS)))
        context.options = context.options | {"max_pixels": str(limits.pixels)}
        first_frame = cast(VideoFrame, _first_frame(container, stream, checked_path))
        rotation, is_mirrored = _orientation(first_frame)
        pixel_aspect = _pixel_aspect(stream)
        width, height = _display_size(first_frame, pixel_aspect, rotation)
        if width * height > limits.pixels:
            size = f"{width}x{height}"
            raise TooLarge(f"{checked_path} is displayed as {size} pixels; the setting max_pixels allows {limits.pixels}.")
        start_offset_s = (container.start_time or 0) / av.time_base
        damaged_duration_s = None
        try:
            duration_s = _duration_s(container, stream, start_offset_s, heartbeat)
            if container.format.name in INDEXLESS_CONTAINERS:
                last_s = _plausible_end_s(container, stream, checked_path.stat().st_size) - start_offset_s
                if 0 < last_s < duration_s - MAX_TIMESTAMP_STEP_S:
                    duration_s, damaged_duration_s = last_s, duration_s
            timing = _timing(container, stream)
        except FFMPEG_ERRORS as error:
            log.info("cannot find the end of %s: %s", checked_path, error)
            duration_s, timing = 0.0, _Timing(0.0, False, False)
        if duration_s <= 0:
            raise UnreadableVideo(
                f"{checked_path} has no timestamps; write it to a container with timestamps (ffmpeg -i IN -c copy OUT.mp4)."
            )
        # FLV and some Matroska files declare 1,000 frames per second.
        fps = declared_fps if declared_fps <= MAX_FPS or not timing.median_period_s else 1 / timing.median_period_s
        # The second check is for files that do not declare a duration.
        check_limits(duration_s=duration_s, frames=stream.frames or round(duration_s * min(fps, MAX_FPS)))
        return VideoInfo(
            path=checked_path,
            content_hash=known_hash or content_hash(checked_path),
            duration_s=duration_s,
            width=width,
            height=height,
            rotation_deg=rotation,
            is_mirrored=is_mirrored,
            fps_nominal=fps,
            is_vfr=timing.is_vfr,
            start_offset_s=start_offset_s,
            stream_index=stream.index,
            codec=context.codec.canonical_name,
            container=container.format.name,
            pixel_format=first_frame.format.name,
            size_bytes=checked_path.stat().st_size,
            pixel_aspect=pixel_aspect,
            is_hdr=first_frame.color_trc in HDR_TRANSFERS,
            has_edit_list=timing.hides_frames,
            **_other_streams(container, start_offset_s),
            damaged_duration_s=damaged_duration_s,
        )


def _probe_sound(
    container: InputContainer, path: Path, known_hash: str | None, limits: Limits, heartbeat: Callable[[], None]
) -> VideoInfo:
    """Return the metadata of a file without a video stream. See `probe`."""
    streams = container.streams.audio
    if not streams:
        raise NotAVideo(f"{path} has no video stream; choose another file.")
    stream = next((stream for stream in streams if may_decode(_codec(stream))), None)
    if stream is None:
        raise NotAVideo(f"{path} has sound in the codec {_codec(streams[0])}, which is not supported; convert it to AAC first.")
    declared_s = (container.duration or 0) / av.time_base
    is_estimated = container.format.name in ESTIMATED_CONTAINERS
    if not is_estimated:
        check_duration(path, declared_s, limits)
    _first_frame(container, stream, path)
    start_offset_s = (container.start_time or 0) / av.time_base
    try:
        duration_s = 0.0 if is_estimated else _duration_s(container, stream, start_offset_s, heartbeat)
        if duration_s <= 0:
            duration_s = _measured_end_s(container, stream, near_s=0.0, heartbeat=heartbeat) - start_offset_s
    except FFMPEG_ERRORS as error:
        log.info("cannot find the end of %s: %s", path, error)
        duration_s = declared_s
    if duration_s <= 0:
        raise UnreadableVideo(f"{path} has no timestamps; convert it to another format (ffmpeg -i IN OUT.m4a).")
    check_duration(path, duration_s, limits)
    return VideoInfo(
        path=path,
        content_hash=known_hash or content_hash(path),
        duration_s=duration_s,
        width=0,
        height=0,
        rotation_deg=0,
        fps_nominal=0.0,
        is_vfr=False,
        start_offset_s=start_offset_s,
        stream_index=-1,
        codec="",
        container=container.format.name,
        pixel_format="",
        size_bytes=path.stat().st_size,
        **_other_streams(container, start_offset_s),
    )


def _other_streams(container: InputContainer, start_offset_s: float) -> dict[str, Any]:
    """Return the fields of `VideoInfo` that describe audio, subtitles and chapters."""
    return {
        "audio_streams": tuple(map(_stream_info, container.streams.audio)),
        "subtitle_streams": tuple(map(_stream_info, container.streams.subtitles)),
        "chapters": tuple(_chapter(item, start_offset_s) for item in container.chapters()),
    }


def _stream_info(stream: Stream) -> StreamInfo:
    context = stream.codec_context if isinstance(stream, AudioStream) else None
    return StreamInfo(
        _codec(stream),
        # "und" is the code for an undetermined language.
        None if stream.language == "und" else stream.language,
        stream.index,
        bool(stream.disposition & Disposition.default),
        stream.metadata.get("title") or None,
        bool(stream.disposition & SECONDARY_SOUND),
        # FFmpeg has the value 0 for an unknown number or rate.
        channels=(context.channels or None) if context else None,
        sample_rate_hz=(context.sample_rate or None) if context else None,
    )


def _codec(stream: Stream) -> str:
    # Data streams, and codecs that this FFmpeg does not support, have no context.
    return stream.codec_context.codec.canonical_name if stream.codec_context else "unknown"


def _chapter(chapter: Any, start_offset_s: float) -> Chapter:
    start_s, end_s = (float(chapter[edge] * chapter["time_base"]) - start_offset_s for edge in ("start", "end"))
    return Chapter(start_s, end_s, chapter["metadata"].get("title", ""))


@dataclass(frozen=True)
class _Timing:
    """Frame periods and edit-list flags of the first packets."""

    median_period_s: float
    """Median time between two frames, in seconds; 0 for a single frame."""
    is_vfr: bool
    hides_frames: bool


def _timing(container: InputContainer, stream: VideoStream) -> _Timing:
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
        return _Timing(0.0, False, hides_frames)
    median_s = periods_s[len(periods_s) // 2]
    max_deviation_s = max(MAX_CFR_DEVIATION * median_s, ROUNDING_S)
    return _Timing(median_s, max(periods_s[-1] - median_s, median_s - periods_s[0]) > max_deviation_s, hides_frames)


def _first_frame(container: InputContainer, stream: VideoStream | AudioStream, path: Path) -> VideoFrame | AudioFrame:
    failures = 0
    max_failures = MAX_FAILED_PACKETS if isinstance(stream, VideoStream) else MAX_FAILED_SOUND_PACKETS
    try:
        for packet in container.demux(stream):
            try:
                for frame in cast("list[VideoFrame | AudioFrame]", packet.decode()):
                    stream.codec_context.flush_buffers()
                    return frame
            except FFMPEG_ERRORS as error:
                log.info("cannot decode a packet of %s: %s", path, error)
                failures += 1
                if failures > max_failures:
                    break
    except FFMPEG_ERRORS as error:
        log.info("%s is truncated or damaged: %s", path, error)
    content = "frame" if isinstance(stream, VideoStream) else "sound"
    raise UnreadableVideo(f"No {content} of {path} can be decoded ({stream.codec_context.name}); the file is damaged.")


def _orientation(frame: VideoFrame) -> tuple[int, bool]:
    """Return the clockwise rotation for display, in degrees, and whether the frame is mirrored left to right before it.

    The display matrix a, b, u, c, d, v, x, y, w maps a stored point (x, y) to (a x + c y, b x + d y)
    (libavutil/display.h). The angle alone does not reveal mirroring.
    """
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return 0, False
    a, b, _, c, d = struct.unpack_from("5i", bytes(cast(Any, data)))
    if abs(a) + abs(d) >= abs(b) + abs(c):
        # The signs of (a, d) are (-, +) for hflip, (-, -) for 180 degrees, and (+, -) for both.
        return (180 if d < 0 else 0), (a < 0) != (d < 0)
    return (90 if c < 0 else 270), (b < 0) == (c < 0)


def _pixel_aspect(stream: VideoStream) -> float:
    """Return the width of a stored pixel divided by its height; 1 if the file states no plausible ratio."""
    aspect = float(stream.sample_aspect_ratio or 1)
    return aspect if 1 / MAX_PIXEL_ASPECT <= aspect <= MAX_PIXEL_ASPECT else 1.0


def _display_size(frame: VideoFrame, pixel_aspect: float, rotation_deg: int) -> tuple[int, int]:
    # Non-square pixels are stretched in one direction, never shrunk in the other, to keep all detail.
    if pixel_aspect >= 1:
        width, height = round(frame.width * pixel_aspect), frame.height
    else:
        width, height = frame.width, round(frame.height / pixel_aspect)
    return (height, width) if rotation_deg in (90, 270) else (width, height)


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
