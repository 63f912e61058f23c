"""The regions of a frame that are read again: the parts that have changed, with all lines that they touch.

A clock, a pointer or a speaker beside a slide changes a small part of the frame. The rest keeps its lines, because the time of
the detection grows with the size of its picture.
"""

from collections.abc import Iterable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from longview.core.timeline import Box

MARGIN_BLOCKS = 2
"""Margin around a change, in blocks."""
GRID_BLOCKS = 4
"""Grid of the regions, in blocks: 32 pixels, because the detection scales its picture to multiples of that."""
MAX_REGIONS = 6
MAX_SHARE = 0.5
"""Maximum share of the frame that the regions cover together; the detection of a larger part is as slow as that of the frame."""

_Bounds = tuple[int, int, int, int]
"""Left, top, right and bottom, in blocks."""


def changed_regions(blocks: NDArray[np.bool_], lines: Sequence[Box]) -> tuple[Box, ...] | None:
    """Return the regions that have changed; None if all of the frame is to be read.

    `blocks`: which blocks have changed, bools of shape (rows, columns). `lines`: the boxes of known lines; none is divided by the
    border of a region.
    """
    rows, columns = blocks.shape
    kernel = np.ones((2 * MARGIN_BLOCKS + 1, 2 * MARGIN_BLOCKS + 1), np.uint8)
    count, _, stats, _ = cv2.connectedComponentsWithStats(cv2.dilate(blocks.astype(np.uint8), kernel), connectivity=8)
    if count - 1 > MAX_REGIONS:
        return None
    parts = [(int(left), int(top), int(left + width), int(top + height)) for left, top, width, height, _ in stats[1:]]
    whole = [_blocks_of(box, rows, columns) for box in lines]
    bounds: list[_Bounds] = []
    while parts != bounds:
        bounds = parts
        parts = _merge(_on_grid(_with_lines(part, whole), rows, columns) for part in parts)
    if sum((right - left) * (bottom - top) for left, top, right, bottom in parts) > MAX_SHARE * rows * columns:
        return None
    return tuple(Box(left / columns, top / rows, right / columns, bottom / rows) for left, top, right, bottom in parts)


def touches(box: Box, regions: Iterable[Box]) -> bool:
    """Whether a box has a part in any of the regions."""
    return any(
        box.left < region.right and region.left < box.right and box.top < region.bottom and region.top < box.bottom
        for region in regions
    )


def _blocks_of(box: Box, rows: int, columns: int) -> _Bounds:
    return (
        int(box.left * columns),
        int(box.top * rows),
        int(np.ceil(box.right * columns)),
        int(np.ceil(box.bottom * rows)),
    )


def _with_lines(part: _Bounds, lines: Iterable[_Bounds]) -> _Bounds:
    for line in lines:
        if _overlap(part, line):
            part = _union(part, line)
    return part


def _on_grid(part: _Bounds, rows: int, columns: int) -> _Bounds:
    left, top = (bound // GRID_BLOCKS * GRID_BLOCKS for bound in part[:2])
    right, bottom = (-(-bound // GRID_BLOCKS) * GRID_BLOCKS for bound in part[2:])
    return left, top, min(right, columns), min(bottom, rows)


def _merge(parts: Iterable[_Bounds]) -> list[_Bounds]:
    result: list[_Bounds] = []
    for part in parts:
        while overlapping := [other for other in result if _overlap(part, other)]:
            result = [other for other in result if other not in overlapping]
            for other in overlapping:
                part = _union(part, other)
        result.append(part)
    return sorted(result)


def _overlap(first: _Bounds, second: _Bounds) -> bool:
    return first[0] < second[2] and second[0] < first[2] and first[1] < second[3] and second[1] < first[3]


def _union(first: _Bounds, second: _Bounds) -> _Bounds:
    return min(first[0], second[0]), min(first[1], second[1]), max(first[2], second[2]), max(first[3], second[3])
