"""What a video file is, found out once: `probe(path)` -> `VideoInfo`."""

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from video.errors import NotAVideo, UnreadableVideo
from video.guard import DEMUXER_OPTIONS, checked_path, demuxer_url

log = logging.getLogger(__name__)

ATTEMPTED_PACKETS = 250
"""How many packets may fail before the first decoded frame: past that the stream is called unreadable."""
HASH_BLOCK_BYTES = 1 << 20


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
    start_offset_s: float
    """The container's start time; presentation times minus this are the times used everywhere."""
    stream_index: int
    codec: str
    container: str
    pixel_format: str
    has_audio: bool
    size_bytes: int


def content_hash(path: Path) -> str:
    """BLAKE2b-160 of a file's bytes, hexadecimal."""
    digest = hashlib.blake2b(digest_size=20)
    with path.open("rb") as file:
        while block := file.read(HASH_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def opened(path: Path) -> Iterator[InputContainer]:
    """The container at a checked path, closed again at the end.

    Raises:
        NotAVideo: FFmpeg does not recognise a container that may be opened.
    """
    try:
        container = av.open(demuxer_url(path), options=dict(DEMUXER_OPTIONS))
    except (av.error.FFmpegError, ValueError) as error:
        log.info("cannot open %s: %s", path, error)
        raise NotAVideo(f"{path} is not a video that can be opened; it may be damaged or cut off.") from error
    with container:
        yield container


def chosen_stream(container: InputContainer, path: Path) -> VideoStream:
    """The one video stream that is looked at: FFmpeg's best, cover pictures left out.

    Raises:
        NotAVideo: if the file has none.
    """
    best = container.streams.best("video")
    if isinstance(best, VideoStream) and not _is_cover(best):
        return best
    for stream in container.streams.video:
        if not _is_cover(stream):
            return stream
    what = "sound but no pictures" if container.streams.audio else "no video stream"
    raise NotAVideo(f"{path} has {what}.")


def _is_cover(stream: VideoStream) -> bool:
    return bool(stream.disposition & type(stream.disposition).attached_pic)


def probe(path: Path | str, *, known_hash: str | None = None) -> VideoInfo:
    """Open a file, decode its first frame and say what it is.

    `known_hash` saves reading the whole file when the caller already knows its content hash.

    Raises:
        VideoNotFound: there is no such file.
        NotAVideo: it is a folder, empty, or holds no video.
        UnreadableVideo: no frame of it can be decoded.
    """
    checked = checked_path(path)
    with opened(checked) as container:
        stream = chosen_stream(container, checked)
        first = _first_frame(container, stream, checked)
        # frame.rotation is counter-clockwise in (-180, 180].
        rotation = round(-first.rotation / 90) * 90 % 360
        width, height = _display_size(first, stream.sample_aspect_ratio, rotation)
        start_offset_s = (container.start_time or 0) / av.time_base
        average = stream.average_rate or stream.base_rate or Fraction(25)
        base = stream.base_rate or average
        try:
            duration_s = _duration_s(container, stream, start_offset_s)
        except (av.error.FFmpegError, ValueError) as error:
            log.info("cannot find the end of %s: %s", checked, error)
            duration_s = 0.0
        if duration_s <= 0:
            raise UnreadableVideo(
                f"{checked} does not say when its pictures are shown; put it into a container (ffmpeg -i IN -c copy OUT.mp4)."
            )
        info = VideoInfo(
            path=checked,
            content_hash=known_hash or content_hash(checked),
            duration_s=duration_s,
            width=width,
            height=height,
            rotation_deg=rotation,
            fps_nominal=float(average),
            is_vfr=abs(float(base) / float(average) - 1) > 0.01,
            start_offset_s=start_offset_s,
            stream_index=stream.index,
            codec=stream.codec_context.codec.canonical_name,
            container=container.format.name,
            pixel_format=first.format.name,
            has_audio=bool(container.streams.audio),
            size_bytes=checked.stat().st_size,
        )
    return info


def _first_frame(container: InputContainer, stream: VideoStream, path: Path) -> VideoFrame:
    failed = 0
    try:
        for packet in container.demux(stream):
            try:
                for frame in packet.decode():
                    stream.codec_context.flush_buffers()
                    return frame
            except (av.error.FFmpegError, ValueError) as error:
                log.info("cannot decode a packet of %s: %s", path, error)
                failed += 1
                if failed > ATTEMPTED_PACKETS:
                    break
    except (av.error.FFmpegError, ValueError) as error:
        log.info("%s breaks off: %s", path, error)
    raise UnreadableVideo(f"No picture of {path} can be decoded ({stream.codec_context.name}); the file is damaged.")


def _display_size(frame: VideoFrame, pixel_aspect: Fraction | None, rotation_deg: int) -> tuple[int, int]:
    aspect = float(pixel_aspect) if pixel_aspect else 1.0
    # Pixels are only ever widened or heightened, so that no detail of the source is lost.
    width, height = (round(frame.width * aspect), frame.height) if aspect >= 1 else (frame.width, round(frame.height / aspect))
    return (height, width) if rotation_deg in (90, 270) else (width, height)


def _duration_s(container: InputContainer, stream: VideoStream, start_offset_s: float) -> float:
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
    measured_s = _measured_end_s(container, stream, near_s=total_s or 0.0) - start_offset_s
    return min(total_s, measured_s) if total_s and measured_s > 0 else total_s or measured_s


def _measured_end_s(container: InputContainer, stream: VideoStream, *, near_s: float) -> float:
    """The end of the last packet from the key frame before `near_s` on."""
    container.seek(int(near_s * av.time_base))
    end_s = 0.0
    for packet in container.demux(stream):
        if packet.pts is not None and packet.time_base is not None:
            end_s = max(end_s, float((packet.pts + (packet.duration or 0)) * packet.time_base))
    return end_s
