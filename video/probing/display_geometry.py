"""Geometry of displayed frames: orientation, pixel aspect ratio and displayed size, for `longview.video.probing.probe`."""

import struct
from typing import Any, cast

from av.video.frame import VideoFrame
from av.video.stream import VideoStream

MAX_PIXEL_ASPECT = 16.0
"""Maximum plausible ratio between the sides of a stored pixel. Cameras, discs and broadcasts have at most 2; a single flipped bit
of the ratio in the file makes it thousands, and the displayed frame gigabytes."""


def orientation(frame: VideoFrame) -> tuple[int, bool]:
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


def plausible_pixel_aspect(stream: VideoStream) -> float:
    """Return the width of a stored pixel divided by its height; 1 if the file states no plausible ratio."""
    aspect = float(stream.sample_aspect_ratio or 1)
    return aspect if 1 / MAX_PIXEL_ASPECT <= aspect <= MAX_PIXEL_ASPECT else 1.0


def display_size(frame: VideoFrame, pixel_aspect: float, rotation_deg: int) -> tuple[int, int]:
    """Return the width and height of a frame as displayed, in pixels. See `VideoInfo` for the other arguments."""
    # Non-square pixels are stretched in one direction, never shrunk in the other, to keep all detail.
    if pixel_aspect >= 1:
        width, height = round(frame.width * pixel_aspect), frame.height
    else:
        width, height = frame.width, round(frame.height / pixel_aspect)
    return (height, width) if rotation_deg in (90, 270) else (width, height)
