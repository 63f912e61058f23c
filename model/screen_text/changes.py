"""Comparison of frames: which parts have changed, and since when.

Frames are compared in grey and at the size of the text detection, in blocks of 8 pixels. A digit of the smallest readable text
covers most of a block, and the noise of a codec averages out in it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from longview.core.timeline import Box
from longview.model.screen_text.recognizer import to_detection_size

BLOCK_PX = 8
"""Side of a block, in pixels of the reduced frame."""
CHANGE = 6.0
"""Mean absolute difference from which a block has changed, in levels of 255. Measured with slides of 1280x720: a still one
differed by up to 2 (x264, CRF 23), 4 (MPEG-4) and 7.5 (x264, CRF 40), and VP9 at 60 kbit/s by up to 19, so that still frames of
strongly compressed videos are read again. A changed digit differed by 18 and more in a font of 18 pixels, but by 5.5 to 9 in
one of 14: it may be missed."""

DETAIL_PX = 9
"""Size of the details that are compared, in pixels: the strokes of letters."""

Grey = NDArray[np.uint8]


@dataclass(frozen=True)
class SmallFrame:
    """A frame in grey, reduced for comparisons, with the time from which it is on screen."""

    time_s: float
    grey: Grey


def reduce_frame(frame: NDArray[np.uint8], time_s: float) -> SmallFrame:
    """Return the reduced copy of a frame, RGB uint8 of shape (H, W, 3)."""
    return SmallFrame(time_s, np.asarray(cv2.cvtColor(to_detection_size(frame), cv2.COLOR_RGB2GRAY), np.uint8))


def changed_blocks(before: SmallFrame, after: SmallFrame) -> NDArray[np.bool_]:
    """Return which blocks have changed between two frames of one size, as bools of shape (rows, columns)."""
    difference = cv2.absdiff(before.grey, after.grey)
    height, width = difference.shape
    size = (max(1, -(-width // BLOCK_PX)), max(1, -(-height // BLOCK_PX)))
    return np.atleast_2d(cv2.resize(difference.astype(np.float32), size, interpolation=cv2.INTER_AREA) >= CHANGE)


def replace_regions(frame: SmallFrame, later: SmallFrame, regions: Sequence[Box]) -> SmallFrame:
    """Return a frame with what a later one shows in some regions, and its time."""
    grey = frame.grey.copy()
    height, width = grey.shape
    for region in regions:
        rows = slice(round(region.top * height), round(region.bottom * height))
        columns = slice(round(region.left * width), round(region.right * width))
        grey[rows, columns] = later.grey[rows, columns]
    return SmallFrame(later.time_s, grey)


def has_changed_in(blocks: NDArray[np.bool_], box: Box) -> bool:
    """Whether any block in a box has changed."""
    rows, columns = blocks.shape
    top, bottom = int(box.top * rows), max(int(box.top * rows) + 1, int(np.ceil(box.bottom * rows)))
    left, right = int(box.left * columns), max(int(box.left * columns) + 1, int(np.ceil(box.right * columns)))
    return bool(blocks[top:bottom, left:right].any())


def share_of_change(before: SmallFrame, after: SmallFrame, between: SmallFrame, box: Box) -> float:
    """Return how far the change from one frame to another in a box is done in a third one: 0 for not at all, 1 for all of it.

    It is the projection of the third frame on the line between the other two. Noise is independent of the change, so it cancels
    out.
    """
    first, last, middle = (_cut(frame.grey, box) for frame in (before, after, between))
    change = last - first
    return float(np.vdot(middle - first, change) / max(1.0, float(np.vdot(change, change))))


def _cut(grey: Grey, box: Box) -> NDArray[np.float32]:
    height, width = grey.shape
    top, left = min(int(box.top * height), height - 1), min(int(box.left * width), width - 1)
    bottom, right = max(top + 1, int(np.ceil(box.bottom * height))), max(left + 1, int(np.ceil(box.right * width)))
    region = grey[top:bottom, left:right].astype(np.float32)
    # The strokes of letters, without the soft background that may move behind them.
    return region - cv2.blur(region, (DETAIL_PX, DETAIL_PX))
