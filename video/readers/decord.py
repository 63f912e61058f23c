"""decord: selectable for those who know it, never the default.

Frames are asked for by index, from decord's own table of presentation times. decord 0.6 returns wrong frames without
an error for transport and program streams, MXF, WMV, edit lists, open groups of pictures and B-frames in AVI, and it
counts from its first frame where players count from the container's start. All of these are refused: only what
`tests/test_decoder.py` found right is read.
"""

import math
from collections.abc import Iterator, Sequence

import av
import numpy as np
from numpy.typing import NDArray

from video.errors import UnreadableVideo
from video.probe import VideoInfo, opened
from video.readers.pyav import TOLERANCE_S

CONTAINERS = frozenset({"mov", "mp4", "matroska", "webm", "avi", "flv"})
CODECS = frozenset({"h264", "mpeg4", "mjpeg", "vp8", "vp9"})
LATE_S = 1e-3
"""A first frame this much after the container's start is a late one: decord would call its time 0."""


def read(video: VideoInfo, times_s: Sequence[float], height: int, width: int) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    """See `video.decoder.Reader`. Reads all packets of the file first, to find what decord is wrong about.

    Raises:
        UnreadableVideo: decord is not installed, cannot decode the file, or is known to be wrong about it.
    """
    try:
        import decord
    except (ImportError, OSError) as error:
        raise UnreadableVideo("decord is not installed for this platform; use --reader pyav.") from error
    if reason := _wrong_about(video):
        raise UnreadableVideo(f"decord is not right about {reason}; use --reader pyav.")
    try:
        reader = decord.VideoReader(str(video.path), ctx=decord.cpu(0), width=width, height=height, num_threads=1)
        starts_s = np.asarray(reader.get_frame_timestamp(range(len(reader))))[:, 0].astype(np.float64)
        wanted = np.searchsorted(starts_s, np.asarray(times_s) + TOLERANCE_S, side="right") - 1
        for index in np.unique(wanted.clip(min=0)):
            yield float(starts_s[index]), reader[int(index)].asnumpy()
    except decord.DECORDError as error:
        raise UnreadableVideo(f"decord cannot read {video.path.name}; use --reader pyav.") from error


def _wrong_about(video: VideoInfo) -> str | None:
    """What about this file decord was seen to be wrong about; None if nothing."""
    if CONTAINERS.isdisjoint(video.container.split(",")):
        return f"{video.container} files"
    if video.codec not in CODECS:
        return f"{video.codec} video"
    if video.rotation_deg:
        return "pictures that have to be turned"
    first_s, key_pts = math.inf, 0
    with opened(video.path) as container:
        if len(container.streams.video) > 1:
            return "files with several video streams"
        try:
            for packet in container.demux(container.streams[video.stream_index]):
                if not packet.size:
                    continue
                if packet.pts is None or packet.time_base is None:
                    return "frames without presentation times"
                if packet.is_discard:
                    return "edit lists"
                if packet.is_keyframe:
                    key_pts = packet.pts
                elif packet.pts < key_pts:
                    return "open groups of pictures"
                first_s = min(first_s, float(packet.pts * packet.time_base))
        except av.error.FFmpegError:
            return "damaged files"
    return "a video that starts after its container" if first_s - video.start_offset_s > LATE_S else None
