"""What a video file is, found out once: `probe(path)` -> `VideoInfo`."""

import hashlib
import logging
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import av
from av.container import InputContainer
from av.stream import Stream
from av.video.frame import VideoFrame
from av.video.reformatter import ColorTrc
from av.video.stream import VideoStream

from longview.video.errors import NotAVideo, UnreadableVideo
from longview.video.guard import DEMUXER_OPTIONS, Limits, check_path, check_stream, demuxer_url

log = logging.getLogger(__name__)

FFMPEG_ERRORS = (av.error.FFmpegError, ValueError, IndexError)
"""What PyAV raises about damaged files; IndexError where a stream appears midway."""
MAX_PROBED_PACKETS = 250
"""How many packets may fail before the first decoded frame: past that the stream is called unreadable."""
HASH_BLOCK_BYTES = 1 << 20
MAX_TIMED_PACKETS = 2_000
"""How many frame times are compared to tell a variable frame rate."""
MAX_FPS = 240.0
"""More frames a second than this are not believed."""
VFR_CHANGE = 0.1
"""A frame rate is variable if the time between two frames changes by more than this part of the usual."""
HDR_TRANSFERS = (ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67)
"""PQ and HLG."""
HEARTBEAT_S = 1.0
"""Between signs of life."""
ROUNDING_S = 2e-3
"""Containers that count milliseconds round each of two times by up to one."""


@dataclass(frozen=True)
class StreamInfo:
    """A sound or subtitle track."""

    codec: str
    language: str | None
    """ISO 639-2 code, if the file says."""


@dataclass(frozen=True)
class Chapter:
    """A chapter that the file itself names."""

    start_s: float
    end_s: float
    title: str


@dataclass(frozen=True)
class VideoInfo:
    """A video file and the one stream of it that is looked at."""

    path: Path
    content_hash: str
    """BLAKE2b-160 of the file's bytes, hexadecimal: the same content is the same video wherever it lies."""
    duration_s: float
    """From the container's start to the end of the last frame."""
    width: int
    """Pixels as displayed: after rotation, with pixel aspect applied."""
    height: int
    rotation_deg: int
    """Clockwise turn that displaying needs: 0, 90, 180 or 270."""
    fps_nominal: float
    """Average frames a second. A description, never a clock: frame times are read from the file."""
    is_vfr: bool
    """Whether the time between frames changes by more than a tenth, among the first two thousand."""
    start_offset_s: float
    """The container's start time; presentation times minus this are the times used everywhere."""
    stream_index: int
    codec: str
    container: str
    pixel_format: str
    size_bytes: int
    pixel_aspect: float = 1.0
    """Width of a stored pixel by its height."""
    is_mirrored: bool = False
    """Whether displaying mirrors the stored picture left to right, before it is turned."""
    is_hdr: bool = False
    """Whether its light is coded for HDR screens (PQ or HLG); decoded frames are tone-mapped to SDR."""
    has_edit_list: bool = False
    """Whether stored frames are hidden or moved by an edit list."""
    audio_streams: tuple[StreamInfo, ...] = ()
    subtitle_streams: tuple[StreamInfo, ...] = ()
    chapters: tuple[Chapter, ...] = ()

    @property
    def has_audio(self) -> bool:
        """Whether there is sound."""
        return bool(self.audio_streams)


def content_hash(path: Path) -> str:
    """BLAKE2b-160 of a file's bytes, hexadecimal."""
    digest = hashlib.blake2b(digest_size=20)
    with path.open("rb") as file:
        while block := file.read(HASH_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def open_container(path: Path) -> Iterator[InputContainer]:
    """The container at a checked path, closed again at the end.

    Raises:
        NotAVideo: FFmpeg does not recognise a container that may be opened.
    """
    try:
        container = av.open(demuxer_url(path), options=dict(DEMUXER_OPTIONS))
    except FFMPEG_ERRORS as error:
        log.info("cannot open %s: %s", path, error)
        raise NotAVideo(f"{path} is not a video that can be opened; it may be damaged or cut off.") from error
    with container:
        yield container


def select_stream(container: InputContainer, path: Path) -> VideoStream:
    """The one video stream that is looked at: the first of the default ones, else the first; never a cover picture.

    Raises:
        NotAVideo: if the file has none.
    """
    pictures = [stream for stream in container.streams.video if not _is_cover(stream)]
    if pictures:
        return next((stream for stream in pictures if stream.disposition & type(stream.disposition).default), pictures[0])
    what = "sound but no pictures" if container.streams.audio else "no video stream"
    raise NotAVideo(f"{path} has {what}.")


def _is_cover(stream: VideoStream) -> bool:
    return bool(stream.disposition & type(stream.disposition).attached_pic)


def probe(
    path: Path | str,
    *,
    known_hash: str | None = None,
    limits: Limits | None = None,
    heartbeat: Callable[[], None] = lambda: None,
) -> VideoInfo:
    """Open a file, decode its first frame and say what it is. For files of others use `longview.video.decoder.Decoder.probe`.

    `known_hash` saves reading the whole file when the caller already knows its content hash. `alive` is called once a second
    while a file without an index is read to its end.

    Raises:
        VideoNotFound: there is no such file.
        NotAVideo: it is a folder, empty, holds no video, or one in a codec that is not read.
        TooLarge: it is larger than the limits allow.
        UnreadableVideo: no frame of it can be decoded.
    """
    limits = limits or Limits()
    checked = check_path(path, limits)
    with open_container(checked) as container:
        stream = select_stream(container, checked)
        claimed_fps = float(stream.average_rate or stream.base_rate or 25)
        claimed_s = (container.duration or 0) / av.time_base
        context = stream.codec_context
        if context is None:
            raise NotAVideo(f"{checked} is encoded in a way that this FFmpeg does not know; convert it to H.264 first.")
        hold_to_limits = partial(
            check_stream, checked, codec=context.codec.canonical_name, width=context.width, height=context.height, limits=limits
        )
        hold_to_limits(duration_s=claimed_s, frames=stream.frames or round(claimed_s * min(claimed_fps, MAX_FPS)))
        context.options = context.options | {"max_pixels": str(limits.pixels)}
        first = _first_frame(container, stream, checked)
        rotation, is_mirrored = _orientation(first)
        pixel_aspect = float(stream.sample_aspect_ratio or 1)
        width, height = _display_size(first, pixel_aspect, rotation)
        start_offset_s = (container.start_time or 0) / av.time_base
        try:
            duration_s = _duration_s(container, stream, start_offset_s, heartbeat)
            timing = _timing(container, stream)
        except FFMPEG_ERRORS as error:
            log.info("cannot find the end of %s: %s", checked, error)
            duration_s, timing = 0.0, _Timing(0.0, False, False)
        if duration_s <= 0:
            raise UnreadableVideo(
                f"{checked} does not say when its pictures are shown; put it into a container (ffmpeg -i IN -c copy OUT.mp4)."
            )
        # FLV and some Matroska files claim a thousand frames a second.
        fps = claimed_fps if claimed_fps <= MAX_FPS or not timing.median_step_s else 1 / timing.median_step_s
        # Once more, for a file that did not say how long it is.
        hold_to_limits(duration_s=duration_s, frames=stream.frames or round(duration_s * min(fps, MAX_FPS)))
        return VideoInfo(
            path=checked,
            content_hash=known_hash or content_hash(checked),
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
            pixel_format=first.format.name,
            size_bytes=checked.stat().st_size,
            pixel_aspect=pixel_aspect,
            is_hdr=first.color_trc in HDR_TRANSFERS,
            has_edit_list=timing.hides_frames,
            audio_streams=tuple(map(_stream_info, container.streams.audio)),
            subtitle_streams=tuple(map(_stream_info, container.streams.subtitles)),
            chapters=tuple(_chapter(item, start_offset_s) for item in container.chapters()),
        )


def _stream_info(stream: Stream) -> StreamInfo:
    # Data streams, and codecs that this FFmpeg lacks, have no context.
    codec = stream.codec_context.codec.canonical_name if stream.codec_context else "unknown"
    return StreamInfo(codec, stream.language)


def _chapter(chapter: Any, start_offset_s: float) -> Chapter:
    start_s, end_s = (float(chapter[edge] * chapter["time_base"]) - start_offset_s for edge in ("start", "end"))
    return Chapter(start_s, end_s, chapter["metadata"].get("title", ""))


@dataclass(frozen=True)
class _Timing:
    """What the first packets tell about the time between frames."""

    median_step_s: float
    """0 if there is only one frame."""
    is_vfr: bool
    hides_frames: bool


def _timing(container: InputContainer, stream: VideoStream) -> _Timing:
    # An FLV without a frame at 0 cannot be sought to 0; what comes next will do.
    with suppress(*FFMPEG_ERRORS):
        container.seek(0)
    times_s, hides = [], False
    for packet in container.demux(stream):
        hides = hides or packet.is_discard
        if packet.pts is not None and packet.time_base is not None:
            times_s.append(float(packet.pts * packet.time_base))
        if len(times_s) >= MAX_TIMED_PACKETS:
            break
    # The last packets may wait for others that are shown before them; encoders often leave a gap after the first frame.
    times_s = sorted(times_s)[min(1, len(times_s) // 3) : max(len(times_s) - 16, len(times_s) * 3 // 4)]
    steps_s = sorted(after - before for before, after in zip(times_s, times_s[1:], strict=False))
    if not steps_s:
        return _Timing(0.0, False, hides)
    usual_s = steps_s[len(steps_s) // 2]
    allowed_s = max(VFR_CHANGE * usual_s, ROUNDING_S)
    return _Timing(usual_s, max(steps_s[-1] - usual_s, usual_s - steps_s[0]) > allowed_s, hides)


def _first_frame(container: InputContainer, stream: VideoStream, path: Path) -> VideoFrame:
    failed = 0
    try:
        for packet in container.demux(stream):
            try:
                for frame in packet.decode():
                    stream.codec_context.flush_buffers()
                    return frame
            except FFMPEG_ERRORS as error:
                log.info("cannot decode a packet of %s: %s", path, error)
                failed += 1
                if failed > MAX_PROBED_PACKETS:
                    break
    except FFMPEG_ERRORS as error:
        log.info("%s breaks off: %s", path, error)
    raise UnreadableVideo(f"No picture of {path} can be decoded ({stream.codec_context.name}); the file is damaged.")


def _orientation(frame: VideoFrame) -> tuple[int, bool]:
    """Clockwise degrees that displaying needs, and whether the picture is mirrored left to right before that.

    From the display matrix, a, b, u, c, d, v, x, y, w: a stored point (x, y) is shown at (a x + c y, b x + d y)
    (libavutil/display.h). A mirrored one cannot be told by the angle alone.
    """
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return 0, False
    a, b, _, c, d = struct.unpack_from("5i", bytes(cast(Any, data)))
    if abs(a) + abs(d) >= abs(b) + abs(c):
        # hflip turns to (-, +), half a turn to (-, -), both together to (+, -).
        return (180 if d < 0 else 0), (a < 0) != (d < 0)
    return (90 if c < 0 else 270), (b < 0) == (c < 0)


def _display_size(frame: VideoFrame, pixel_aspect: float, rotation_deg: int) -> tuple[int, int]:
    # Pixels are only ever widened or heightened, so that no detail of the source is lost.
    if pixel_aspect >= 1:
        width, height = round(frame.width * pixel_aspect), frame.height
    else:
        width, height = frame.width, round(frame.height / pixel_aspect)
    return (height, width) if rotation_deg in (90, 270) else (width, height)


def _duration_s(container: InputContainer, stream: VideoStream, start_offset_s: float, heartbeat: Callable[[], None]) -> float:
    """Seconds from the container's start to the end of the video stream."""
    total_s = container.duration / av.time_base if container.duration else None
    if stream.duration and stream.time_base:
        stream_start_s = float((stream.start_time or 0) * stream.time_base)
        end_s = stream_start_s + float(stream.duration * stream.time_base) - start_offset_s
        # A stream that claims more than its container does is not believed.
        if end_s > 0 and (total_s is None or end_s <= total_s + 1):
            return end_s
    if total_s and start_offset_s <= 0:
        return total_s
    # Without a length, or in Matroska that starts late (FFmpeg writes its length from zero), only the last packets tell.
    measured_s = _measured_end_s(container, stream, near_s=total_s or 0.0, heartbeat=heartbeat) - start_offset_s
    return min(total_s, measured_s) if total_s and measured_s > 0 else total_s or measured_s


def _measured_end_s(container: InputContainer, stream: VideoStream, *, near_s: float, heartbeat: Callable[[], None]) -> float:
    """The end of the last packet from the key frame before `near_s` on."""
    container.seek(int(near_s * av.time_base))
    end_s = 0.0
    signed = time.monotonic()
    for packet in container.demux(stream):
        if time.monotonic() - signed > HEARTBEAT_S:
            signed = time.monotonic()
            heartbeat()
        if packet.pts is not None and packet.time_base is not None:
            end_s = max(end_s, float((packet.pts + (packet.duration or 0)) * packet.time_base))
    return end_s
