"""The text of single frames: a frame -> recognised lines. What was recognised in the frame before is not recognised again."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from longview.core.progress import NO_PROGRESS, Progress
from longview.core.timeline import Box
from longview.model.screen_text.readings import RecognizedLine
from longview.model.screen_text.recognizer import WHOLE, Pixels, Quad, Reading, TextRecognizer, crop_line

MAX_LINES = 100
"""Maximum number of lines that are recognised in a frame, the highest first. A page of small print has about 80."""
MIN_LINE_PX = 7.0
"""Minimum height of a line, in pixels of the frame. Letters of 5 pixels are not readable."""
MAX_NEW_CROPS, NEW_CROPS_PER_FRAME = 200, 8
"""Maximum number of lines that are recognised in one frame, and in many frames on average. The second bounds the time of a
terminal that scrolls for an hour: 28,800 lines of about 0.06 s, besides the detection."""
MAX_CROPS = 512
"""Maximum number of crops whose readings are remembered."""
JOINED_GAP = 2.0
"""Maximum gap between two pieces of one line, in line heights. The detection divides lines of terminals at other places in each
frame, and leaves out short words between. The columns of most tables are further apart."""
MIN_ROW_OVERLAP = 0.6
"""Minimum overlap of the heights of two pieces of one line, as a share of the smaller one."""
MAX_ROW_RATIO = 2.0
"""Maximum ratio of the heights of two pieces of one line; a heading may stand beside small print."""
MAX_SLANT = 0.25
"""Maximum difference between the height of a piece and that of the rectangle around it, in heights. A slanted line has more."""
MAX_ASPECT = 1.5
"""Maximum height of a piece of a horizontal line, in its widths. The library turns narrower ones by 90 degrees."""
SKETCH_HEIGHT, SKETCH_WIDTH = 6, 48
"""Size of the sketch by which similar crops are sought, in pixels."""
MAX_SKETCH_DIFFERENCE = 0.6
"""Maximum mean difference between the sketches of equal lines, in standard deviations. Different lines differ by only 0.27 to
0.4, so the sketch chooses which crops are compared, and the comparison decides."""
MAX_COMPARED = 4
"""Maximum number of similar crops with which a crop is compared."""
SHIFT_PX = 4
"""Maximum shift between two crops of one line, in pixels: the detection is not exact to the pixel."""
CELL = 0.25
"""Side of the cells in which two crops are compared, in heights of the crops: the width of a stroke and its surroundings."""
MAX_CELL_DIFFERENCE = 0.6
"""Maximum mean difference in any cell of two crops of the same text, in standard deviations. Measured: another digit makes 0.95
and more, compression up to 0.3, a shift by half a pixel up to 0.9 (the crop is then recognised again)."""


class LineRecognizer(Protocol):
    """What recognises the text of a crop: the bundled model, or a program for a language that it does not know."""

    def recognize_all(self, crops: Sequence[Pixels], progress: Progress = NO_PROGRESS) -> list[Reading]:
        """Return the texts of crops of one line each, RGB uint8 of shape (H, W, 3)."""
        ...


@dataclass(frozen=True)
class _Crop:
    """A crop of a line in the forms in which it is compared, and its reading."""

    sketch: NDArray[np.float32]
    grey: Pixels
    reading: Reading


class FrameText:
    """Reads the text of frames, and remembers the readings of crops. Not thread-safe."""

    def __init__(self, detector: TextRecognizer, recognizer: LineRecognizer, progress: Progress = NO_PROGRESS) -> None:
        self._detector, self._recognizer, self._progress = detector, recognizer, progress
        self._crops: list[_Crop] = []
        self._allowed_crops = MAX_NEW_CROPS
        self.crop_count = 0
        """Number of crops that were recognised so far."""

    def forget(self) -> None:
        """Forget the readings of earlier frames."""
        self._crops.clear()
        self._allowed_crops = MAX_NEW_CROPS

    def read(self, frame: Pixels, regions: Sequence[Box] = (WHOLE,)) -> tuple[RecognizedLine, ...]:
        """Return the lines in regions of a frame, RGB uint8 of shape (H, W, 3), from the top left.

        Raises:
            ScreenTextFailed: a model failed. Cancelled: the operation was cancelled.
        """
        self._progress.raise_if_cancelled()
        detected = [quad for region in regions for quad in joined_quads(self._detector.detect(frame, region))]
        quads = [quad for quad in detected if quad.height_px >= MIN_LINE_PX]
        quads = sorted(quads, key=lambda quad: -quad.height_px)[:MAX_LINES]
        crops = [crop_line(frame, quad) for quad in quads]
        readings = self._readings(crops)
        lines = [
            RecognizedLine(reading.text, reading.confidence, _box(quad, frame.shape))
            for quad, reading in zip(quads, readings, strict=True)
            if reading is not None and reading.text
        ]
        return tuple(sorted(lines, key=lambda line: (line.box.top, line.box.left)))

    def _readings(self, crops: Sequence[Pixels]) -> list[Reading | None]:
        """Return the readings of crops; None for those that would take too much time."""
        greys = [np.asarray(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), np.uint8) for crop in crops]
        sketches = [_sketch(grey) for grey in greys]
        readings = [self._find_remembered(sketch, grey) for sketch, grey in zip(sketches, greys, strict=True)]
        self._allowed_crops = min(MAX_NEW_CROPS, self._allowed_crops + NEW_CROPS_PER_FRAME)
        new = [number for number, reading in enumerate(readings) if reading is None][: self._allowed_crops]
        self._allowed_crops -= len(new)
        self.crop_count += len(new)
        for number, reading in zip(new, self._recognizer.recognize_all([crops[i] for i in new], self._progress), strict=True):
            readings[number] = reading
            self._crops.append(_Crop(sketches[number], greys[number], reading))
        del self._crops[:-MAX_CROPS]
        return readings

    def _find_remembered(self, sketch: NDArray[np.float32], grey: Pixels) -> Reading | None:
        """Return the reading of an equal crop; None if there is none."""
        if not self._crops:
            return None
        differences = np.abs(np.stack([crop.sketch for crop in self._crops]) - sketch).mean(axis=(1, 2))
        for index in np.argsort(differences, kind="stable")[:MAX_COMPARED]:
            if differences[index] <= MAX_SKETCH_DIFFERENCE and _is_same_text(self._crops[index].grey, grey):
                return self._crops[index].reading
        return None


def joined_quads(quads: Sequence[Quad]) -> list[Quad]:
    """Join the pieces of lines: those that stand side by side in one row. Lines that are slanted stay as they are."""
    result: list[Quad] = []
    for quad in sorted(quads, key=lambda item: float(item.corners_px[:, 0].min())):
        number = next((number for number, item in enumerate(result) if _is_continued(item, quad)), None)
        if number is None:
            result.append(quad)
        else:
            result[number] = _join(result[number], quad)
    return result


def _is_continued(first: Quad, second: Quad) -> bool:
    """Whether a second quad, which does not begin further left, is the next piece of the same row."""
    (left_1, top_1, right_1, bottom_1), (left_2, top_2, right_2, bottom_2) = first.bounds_px, second.bounds_px
    height_1, height_2 = bottom_1 - top_1, bottom_2 - top_2
    lower = min(height_1, height_2)
    is_upright = max(height_1 - first.height_px, height_2 - second.height_px) <= MAX_SLANT * lower
    overlap = min(bottom_1, bottom_2) - max(top_1, top_2)
    is_one_row = overlap >= MIN_ROW_OVERLAP * lower and max(height_1, height_2) <= MAX_ROW_RATIO * lower
    is_vertical = height_1 > MAX_ASPECT * (right_1 - left_1) or height_2 > MAX_ASPECT * (right_2 - left_2)
    return is_upright and not is_vertical and is_one_row and left_2 - right_1 <= JOINED_GAP * lower and right_2 > right_1


def _join(first: Quad, second: Quad) -> Quad:
    pairs = list(zip(first.bounds_px, second.bounds_px, strict=True))
    left, top = min(pairs[0]), min(pairs[1])
    right, bottom = max(pairs[2]), max(pairs[3])
    corners = np.asarray([[left, top], [right, top], [right, bottom], [left, bottom]], np.float32)
    return Quad(corners, min(first.confidence, second.confidence))


def _sketch(grey: Pixels) -> NDArray[np.float32]:
    return _standardize(cv2.resize(grey, (SKETCH_WIDTH, SKETCH_HEIGHT), interpolation=cv2.INTER_AREA))


def _standardize(grey: NDArray[Any]) -> NDArray[np.float32]:
    values = grey.astype(np.float32)
    return (values - values.mean()) / max(1.0, float(values.std()))


def _is_same_text(first: Pixels, second: Pixels) -> bool:
    """Whether two grey crops show the same text, with a shift of a few pixels at most."""
    sizes = np.asarray([first.shape, second.shape])
    if np.ptp(sizes, axis=0).max() > 2 * SHIFT_PX or sizes.min() <= 3 * SHIFT_PX:
        return False
    height, width = sizes.min(axis=0) - 2 * SHIFT_PX
    inner = second[SHIFT_PX : SHIFT_PX + height, SHIFT_PX : SHIFT_PX + width]
    correlations = cv2.matchTemplate(first, inner, cv2.TM_CCOEFF_NORMED)
    top, left = np.unravel_index(int(correlations.argmax()), correlations.shape)
    difference = np.abs(_standardize(first[top : top + height, left : left + width]) - _standardize(inner))
    side = max(2, round(CELL * height))
    return float(cv2.blur(difference, (side, side)).max()) <= MAX_CELL_DIFFERENCE


def _box(quad: Quad, shape: Sequence[int]) -> Box:
    """Return the upright box around a line, in shares of the frame."""
    height, width = shape[:2]
    left, top, right, bottom = quad.bounds_px
    # Boxes are stored with four digits.
    shares = (left / width, top / height, right / width, bottom / height)
    return Box(*(round(min(1.0, max(0.0, share)), 4) for share in shares))
