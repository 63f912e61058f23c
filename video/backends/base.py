"""What a reader is: a library that finds and decodes the pictures that are on screen at wanted times."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from longview.video.probe import VideoInfo

TOLERANCE_S = 6e-4
"""A frame this much later than the wanted time still counts as shown: container times are rounded to milliseconds,
which takes up to half a millisecond, and a little more in floating point."""
IMPLAUSIBLE_S = 10.0
"""A frame that claims a time this far behind the video's end has a damaged time; believed, it would hide the rest."""
CUT_OFF_S = 1.0
"""Wanted times so much later than the end of the last picture mean that the file is cut off."""
DTS_ONLY_CONTAINERS = frozenset({"avi"})
"""Containers that only know decoding times: what FFmpeg makes of them as presentation times jumps with B-frames."""
UNSPECIFIED = 2
"""AVCOL_SPC_UNSPECIFIED: the file does not name its colour matrix."""
UNSEEKABLE_CONTAINERS = frozenset({"mpegts", "mpeg"})
"""Containers in which a seek was seen to land on a wrong frame: read in order."""
HD_HEIGHT_PX = 720
"""From this height on, a file that does not name its colour matrix means BT.709, below it BT.601, as players take it."""


@dataclass(frozen=True)
class DecodeRequest:
    """Which pictures of a video to decode, and how."""

    times_s: Sequence[float]
    """Increasing."""
    height: int
    width: int
    key_frames_only: bool = False
    """Give the last key frame at or before each time instead of the picture on screen: far less to decode."""
    threads: int = 1
    max_pixels: int = 8192 * 8192
    """Of a stored frame; larger ones are not decoded. A file may change its size midway."""


@dataclass(frozen=True)
class DecodedFrame:
    """What a reader gives for a wanted time."""

    requested_s: float
    time_s: float | None
    """When the picture comes on screen; None if the one on screen then cannot be read."""
    pixels: NDArray[np.uint8] | None
    """uint8 of shape (height, width, 3); None if it cannot be read."""
    end_of_stream_s: float | None = None
    """Where the pictures ended, if it cannot be read because the file is cut off."""


class Backend(Protocol):
    """A library that decodes frames.

    For each wanted time the reader yields the picture that a player shows then: the last frame that starts at or
    before it (the first frame, for times before that). A picture wanted twice is yielded once. What cannot be read is
    yielded without a picture. In between it yields None as a sign of life.
    """

    def __call__(self, video: VideoInfo, request: DecodeRequest) -> Iterator[DecodedFrame | None]:
        """Yield the pictures in order of time.

        Raises:
            UnreadableVideo: this library cannot read this file.
        """
        ...


def uses_dts(video: VideoInfo) -> bool:
    """Whether the container knows no presentation times."""
    return not DTS_ONLY_CONTAINERS.isdisjoint(video.container.split(","))


def is_seekable(video: VideoInfo) -> bool:
    """Whether the readers seek in this kind of file."""
    return UNSEEKABLE_CONTAINERS.isdisjoint(video.container.split(","))
