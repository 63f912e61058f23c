"""Metadata of a video file, or of one with only sound: `probe(path)` returns a `VideoInfo`."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition, Stream
from av.video.frame import VideoFrame
from av.video.reformatter import ColorTrc
from av.video.stream import VideoStream

from longview.video.errors import NoFrames, NotAVideo, TooLarge, UnreadableVideo
from longview.video.probing.container import ESTIMATED_CONTAINERS, FFMPEG_ERRORS, first_frame, open_container
from longview.video.probing.content_hash import content_hash
from longview.video.probing.display_geometry import display_size, orientation, plausible_pixel_aspect
from longview.video.probing.durations import FrameTiming, frame_timing, sound_duration, video_duration
from longview.video.probing.guard import Limits, check_duration, check_path, check_stream, may_decode

log = logging.getLogger(__name__)

MAX_FPS = 240.0
"""Maximum plausible frame rate, in frames per second."""
HDR_TRANSFERS = (ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67)
"""Transfer functions of HDR video: PQ and HLG."""
SECONDARY_SOUND = Disposition.comment | Disposition.visual_impaired | Disposition.descriptions
"""Dispositions of commentaries and audio descriptions."""


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

    For untrusted files use `longview.video.decoding.decoder.Decoder.probe`.

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
        frame = cast(VideoFrame, first_frame(container, stream, checked_path))
        rotation, is_mirrored = orientation(frame)
        pixel_aspect = plausible_pixel_aspect(stream)
        width, height = display_size(frame, pixel_aspect, rotation)
        if width * height > limits.pixels:
            size = f"{width}x{height}"
            raise TooLarge(f"{checked_path} is displayed as {size} pixels; the setting max_pixels allows {limits.pixels}.")
        start_offset_s = (container.start_time or 0) / av.time_base
        try:
            size_bytes = checked_path.stat().st_size
            duration_s, damaged_duration_s = video_duration(container, stream, start_offset_s, size_bytes, heartbeat)
            timing = frame_timing(container, stream)
        except FFMPEG_ERRORS as error:
            log.info("cannot find the end of %s: %s", checked_path, error)
            duration_s, damaged_duration_s, timing = 0.0, None, FrameTiming(0.0, False, False)
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
            pixel_format=frame.format.name,
            size_bytes=checked_path.stat().st_size,
            pixel_aspect=pixel_aspect,
            is_hdr=frame.color_trc in HDR_TRANSFERS,
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
    if container.format.name not in ESTIMATED_CONTAINERS:
        check_duration(path, declared_s, limits)
    first_frame(container, stream, path)
    start_offset_s = (container.start_time or 0) / av.time_base
    try:
        duration_s = sound_duration(container, stream, start_offset_s, heartbeat)
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
