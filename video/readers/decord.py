"""decord: selectable for those who know it, never the default.

Frames are asked for by index, from decord's own table of presentation times. It is known to return wrong frames
without an error for transport streams, edit lists and open-GOP HEVC, and to know no AV1.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from video.errors import UnreadableVideo
from video.probe import VideoInfo
from video.readers.pyav import TOLERANCE_S


def read(video: VideoInfo, times_s: Sequence[float], height: int, width: int) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    """See `video.decoder.Reader`.

    Raises:
        UnreadableVideo: decord is not installed, cannot open the file, or is known to be wrong about it.
    """
    try:
        import decord
    except (ImportError, OSError) as error:
        raise UnreadableVideo("decord is not installed for this platform; use --reader pyav.") from error
    if video.codec == "av1" or video.codec == "hevc" or "mpegts" in video.container or video.rotation_deg:
        raise UnreadableVideo(f"decord is not right about {video.codec} in {video.container} with this rotation; use --reader pyav.")
    try:
        reader = decord.VideoReader(str(video.path), ctx=decord.cpu(0), width=width, height=height, num_threads=1)
        starts_s = np.asarray(reader.get_frame_timestamp(range(len(reader))))[:, 0].astype(np.float64)
    except decord.DECORDError as error:
        raise UnreadableVideo(f"decord cannot read {video.path.name}; use --reader pyav.") from error
    # decord counts from its first frame where players count from the container's start; for these files both agree.
    wanted = np.searchsorted(starts_s, np.asarray(times_s) + TOLERANCE_S, side="right") - 1
    for index in np.unique(wanted.clip(min=0)):
        yield float(starts_s[index]), reader[int(index)].asnumpy()
