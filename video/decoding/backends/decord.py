"""decord backend. It is optional, and never the default.

Frames are requested by index, from decord's own table of presentation timestamps. decord 0.6 returns wrong frames without
an error for transport and program streams, MXF, WMV, edit lists, open groups of pictures, and B-frames in AVI. It counts from
the first frame where players count from the container's start, and it does not support HDR. All of these are rejected: the
backend only accepts the kinds of file for which `tests/video/decoding/test_decoder.py` finds every frame correct.
"""

import math
from collections.abc import Iterator

import numpy as np

from longview.video.decoding.backends.base import TOLERANCE_S, DecodedFrame, DecodeRequest
from longview.video.errors import UnreadableVideo
from longview.video.probing.container import FFMPEG_ERRORS, open_container
from longview.video.probing.probe import VideoInfo

CONTAINERS = frozenset({"mov", "mp4", "matroska", "webm", "avi", "flv"})
CODECS = frozenset({"h264", "mpeg4", "mjpeg", "vp8", "vp9"})
MAX_LATENESS_S = 1e-3
"""Maximum time from the container's start to the first frame, in seconds; decord counts from the first frame."""


def decode(video: VideoInfo, request: DecodeRequest) -> Iterator[DecodedFrame | None]:
    """See `longview.video.decoding.backends.base.Backend`. Reads all packets of the file first, to detect what decord gets wrong.

    Raises:
        UnreadableVideo: decord is not installed, cannot decode the file, or returns wrong frames for its kind of file.
    """
    try:
        import decord
    except (ImportError, OSError) as error:
        raise UnreadableVideo("decord is not installed; use --backend pyav.") from error
    if reason := _unsupported_reason(video):
        raise UnreadableVideo(f"decord does not support {reason}; use --backend pyav.")
    yield None
    size = {"width": request.width, "height": request.height}
    try:
        reader = decord.VideoReader(str(video.path), ctx=decord.cpu(0), num_threads=request.threads, **size)
        starts_s = np.asarray(reader.get_frame_timestamp(range(len(reader))))[:, 0].astype(np.float64)
        candidates = np.asarray(reader.get_key_indices()) if request.key_frames_only else np.arange(len(reader))
        positions = np.searchsorted(starts_s[candidates], np.asarray(request.times_s) + TOLERANCE_S, side="right") - 1
        indices = candidates[positions.clip(min=0)]
        last_index = -1
        for requested_s, index in zip(request.times_s, indices.tolist(), strict=True):
            if index != last_index:
                last_index = index
                yield DecodedFrame(requested_s, float(starts_s[index]), reader[index].asnumpy())
    except decord.DECORDError as error:
        raise UnreadableVideo(f"decord cannot read {video.path.name}; use --backend pyav.") from error


def _unsupported_reason(video: VideoInfo) -> str | None:
    """Return the property of the file for which decord returns wrong frames; None if there is none."""
    if CONTAINERS.isdisjoint(video.container.split(",")):
        return f"{video.container} files"
    if video.codec not in CODECS:
        return f"{video.codec} video"
    if video.is_mirrored:
        return "mirrored video"
    if video.is_hdr:
        return "HDR"
    first_s, key_pts = math.inf, 0
    with open_container(video.path) as container:
        if len(container.streams.video) > 1:
            return "files with several video streams"
        try:
            for packet in container.demux(container.streams[video.stream_index]):
                if not packet.size:
                    continue
                if packet.pts is None or packet.time_base is None:
                    return "frames without presentation timestamps"
                if packet.is_discard:
                    return "edit lists"
                if packet.is_keyframe:
                    key_pts = packet.pts
                elif packet.pts < key_pts:
                    return "open groups of pictures"
                first_s = min(first_s, float(packet.pts * packet.time_base))
        except FFMPEG_ERRORS:
            return "damaged files"
    return "a video that starts after its container" if first_s - video.start_offset_s > MAX_LATENESS_S else None
