"""Interface of the decoder backends: a backend decodes the frames that are on screen at requested times."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from longview.video.probing.probe import VideoInfo

TOLERANCE_S = 6e-4
"""Maximum time by which a frame may start after the requested time, in seconds. Some containers round timestamps to
milliseconds, an error of up to 0.5 ms; floating point adds a little."""
IMPLAUSIBLE_S = 10.0
"""Time after the video's end, in seconds, from which a timestamp counts as damaged; its frame would hide all later ones."""
CUT_OFF_S = 1.0
"""Time after the end of the last frame, in seconds, from which a requested time shows that the file is truncated."""
DTS_ONLY_CONTAINERS = frozenset({"avi"})
"""Containers without presentation timestamps; those that FFmpeg derives from their decoding timestamps jump at B-frames."""
UNSPECIFIED = 2
"""AVCOL_SPC_UNSPECIFIED: the file does not specify its colour matrix."""
UNSEEKABLE_CONTAINERS = frozenset({"mpegts", "mpeg"})
"""Containers in which FFmpeg was observed to seek to a wrong frame; they are read from the beginning."""
HD_HEIGHT_PX = 720
"""Minimum height in pixels at which an unspecified colour matrix is BT.709; below it is BT.601, as in players."""


@dataclass(frozen=True)
class DecodeRequest:
    """The times, size and options of frames to decode."""

    times_s: Sequence[float]
    """Requested times in seconds, increasing."""
    height: int
    width: int
    key_frames_only: bool = False
    """Whether to decode the last key frame at or before each time instead of the frame on screen, which is much cheaper."""
    threads: int = 1
    max_pixels: int = 8192 * 8192
    """Maximum width times height of a stored frame; larger ones are not decoded. The size may change within a file."""


@dataclass(frozen=True)
class DecodedFrame:
    """The result of a backend for one requested time."""

    requested_s: float
    time_s: float | None
    """Timestamp of the frame on screen at the requested time, in seconds; None if that frame cannot be decoded."""
    pixels: NDArray[np.uint8] | None
    """RGB uint8 of shape (height, width, 3); None if the frame cannot be decoded."""
    end_of_stream_s: float | None = None
    """End of the last frame, in seconds, if the requested frame is missing because the file is truncated."""


class Backend(Protocol):
    """A library that decodes frames.

    For each requested time, the backend yields the frame that a player shows then: the last frame that starts at or before
    it, or the first frame if there is none. A frame that is requested twice is yielded once. An undecodable frame is yielded
    without pixels. In between, the backend yields None as a heartbeat.
    """

    def __call__(self, video: VideoInfo, request: DecodeRequest) -> Iterator[DecodedFrame | None]:
        """Yield the frames in order of time.

        Raises:
            UnreadableVideo: the library cannot read the file.
        """
        ...


def uses_dts(video: VideoInfo) -> bool:
    """Whether the container has only decoding timestamps."""
    return not DTS_ONLY_CONTAINERS.isdisjoint(video.container.split(","))


def is_seekable(video: VideoInfo) -> bool:
    """Whether the backends seek in this container."""
    return UNSEEKABLE_CONTAINERS.isdisjoint(video.container.split(","))
