"""Access to a checked file through FFmpeg: open its container, and decode the first frame of a stream."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from longview.video.errors import NotAVideo, UnreadableVideo
from longview.video.probing.guard import DEMUXER_OPTIONS, demuxer_url

log = logging.getLogger(__name__)

FFMPEG_ERRORS = (av.error.FFmpegError, ValueError, IndexError)
"""Exceptions that PyAV raises for damaged files; IndexError if a stream first appears in the middle of a file."""
MAX_FAILED_PACKETS = 250
"""Maximum number of undecodable packets before the first frame; a stream with more is unreadable."""
MAX_FAILED_SOUND_PACKETS = 5_000
"""The same for sound: about two minutes of AAC, whose packets are shorter than those of video."""
HEARTBEAT_S = 1.0
"""Interval between two heartbeats, in seconds."""
INDEXLESS_CONTAINERS = frozenset({"mpegts", "mpeg"})
"""Containers whose duration FFmpeg estimates from the timestamps of the last packets (`estimate_timings` in
libavformat/demux.c). One flipped bit in such a timestamp adds up to a minute."""
ESTIMATED_CONTAINERS = frozenset({"mp3", "aac"})
"""Containers whose duration FFmpeg estimates from the bit rate of the first packets, if it has no header with the duration."""


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


def first_frame(container: InputContainer, stream: VideoStream | AudioStream, path: Path) -> VideoFrame | AudioFrame:
    """Decode the first frame of a stream, or the first block of its sound. `path` is for the messages.

    Raises:
        UnreadableVideo: no packet of the stream's beginning can be decoded.
    """
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
