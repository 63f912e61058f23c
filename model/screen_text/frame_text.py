"""The text of single frames: a frame -> recognised lines. What was recognised in the frame before is not recognised again."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from longview.model.screen_text.readings import RecognizedLine
from longview.model.screen_text.recognizer import Pixels, Quad, Reading, TextRecognizer, crop_line
from longview.video.progress import NO_PROGRESS, Progress
from longview.video.timeline import Box

MAX_LINES = 100
"""Maximum number of lines that are recognised in a frame, the highest first. A page of small print has about 80."""
MIN_LINE_PX = 7.0
"""Minimum height of a line, in pixels of the frame. Letters of 5 pixels are not readable."""
MAX_CROPS = 512
"""Maximum number of crops whose readings are remembered."""
SKETCH_HEIGHT, SKETCH_WIDTH = 6, 48
"""Size of the sketch by which similar crops are sought, in pixels."""
MAX_SKETCH_DIFFERENCE = 0.35
"""Maximum mean difference between the sketches of equal lines, in standard deviations. Those of different lines differ by 0.8."""
CROP_HEIGHT = 32
"""Height to which crops are scaled for a comparison, in pixels."""
SHIFT_PX = 3
"""Maximum shift between two crops of one line, in pixels of scaled crops: the detection is not exact to the pixel."""
MAX_CELL_DIFFERENCE = 0.5
"""Maximum mean difference in any cell of two crops of the same text, in standard deviations. One other digit makes 0.8 and more,
the noise of codecs up to 0.3."""


class LineRecognizer(Protocol):
    """What recognises the text of a crop: the bundled model, or a program for a language that it does not know."""

    def recognize(self, crop: Pixels) -> Reading:
        """Return the text of a crop of one line, RGB uint8 of shape (H, W, 3)."""
        ...


@dataclass(frozen=True)
class _Crop:
    """A crop of a line in the forms in which it is compared, and its reading."""

    sketch: NDArray[np.float32]
    grey: NDArray[np.float32]
    """Of height `CROP_HEIGHT`, with mean 0 and standard deviation 1."""
    reading: Reading


class FrameText:
    """Reads the text of frames, and remembers the readings of crops. Not thread-safe."""

    def __init__(self, detector: TextRecognizer, recognizer: LineRecognizer, progress: Progress = NO_PROGRESS) -> None:
        self._detector, self._recognizer, self._progress = detector, recognizer, progress
        self._crops: list[_Crop] = []
        self.crop_count = 0
        """Number of crops that were recognised so far."""

    def forget(self) -> None:
        """Forget the readings of earlier frames."""
        self._crops.clear()

    def read(self, frame: Pixels) -> tuple[RecognizedLine, ...]:
        """Return the lines of a frame, RGB uint8 of shape (H, W, 3), from the top left.

        Raises:
            ScreenTextFailed: a model failed. Cancelled: the operation was cancelled.
        """
        self._progress.raise_if_cancelled()
        quads = [quad for quad in self._detector.detect(frame) if quad.height_px >= MIN_LINE_PX]
        quads = sorted(quads, key=lambda quad: -quad.height_px)[:MAX_LINES]
        lines = [line for quad in quads if (line := self._read_line(frame, quad))]
        return tuple(sorted(lines, key=lambda line: (line.box.top, line.box.left)))

    def _read_line(self, frame: Pixels, quad: Quad) -> RecognizedLine | None:
        self._progress.raise_if_cancelled()
        crop = crop_line(frame, quad)
        sketch, grey = _sketch(crop), _scaled(crop)
        reading = self._remembered(sketch, grey)
        if reading is None:
            reading = self._recognizer.recognize(crop)
            self.crop_count += 1
            self._crops = [*self._crops[-MAX_CROPS + 1 :], _Crop(sketch, grey, reading)]
        return RecognizedLine(reading.text, reading.confidence, _box(quad, frame.shape)) if reading.text else None

    def _remembered(self, sketch: NDArray[np.float32], grey: NDArray[np.float32]) -> Reading | None:
        """Return the reading of an equal crop, the latest one first."""
        if not self._crops:
            return None
        differences = np.abs(np.stack([crop.sketch for crop in self._crops]) - sketch).mean(axis=(1, 2))
        for index in reversed(np.flatnonzero(differences <= MAX_SKETCH_DIFFERENCE)):
            if _is_same_text(self._crops[index].grey, grey):
                return self._crops[index].reading
        return None


def _sketch(crop: Pixels) -> NDArray[np.float32]:
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return _standardized(cv2.resize(grey, (SKETCH_WIDTH, SKETCH_HEIGHT), interpolation=cv2.INTER_AREA))


def _scaled(crop: Pixels) -> NDArray[np.float32]:
    width = max(1, round(crop.shape[1] * CROP_HEIGHT / crop.shape[0]))
    return _standardized(cv2.resize(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), (width, CROP_HEIGHT)).astype(np.float32))


def _standardized(grey: NDArray[Any]) -> NDArray[np.float32]:
    return np.asarray((grey - grey.mean()) / max(1.0, float(grey.std())), np.float32)


def _is_same_text(first: NDArray[np.float32], second: NDArray[np.float32]) -> bool:
    """Whether two scaled crops show the same text, with a shift of a few pixels at most."""
    width = min(first.shape[1], second.shape[1])
    if abs(first.shape[1] - second.shape[1]) > 2 * SHIFT_PX or width <= 4 * SHIFT_PX:
        return False
    inner = second[SHIFT_PX:-SHIFT_PX, SHIFT_PX : width - SHIFT_PX]
    correlations = cv2.matchTemplate(first, inner, cv2.TM_CCOEFF_NORMED)
    top, left = np.unravel_index(int(correlations.argmax()), correlations.shape)
    difference = np.abs(first[top : top + inner.shape[0], left : left + inner.shape[1]] - inner)
    cells = max(1, inner.shape[1] // (CROP_HEIGHT // 2))
    return float(cv2.resize(difference, (cells, 1), interpolation=cv2.INTER_AREA).max()) <= MAX_CELL_DIFFERENCE


def _box(quad: Quad, shape: Sequence[int]) -> Box:
    """Return the upright box around a line, in shares of the frame."""
    height, width = shape[:2]
    x, y = quad.corners_px[:, 0] / width, quad.corners_px[:, 1] / height
    # Boxes are stored with four digits.
    bounds = (float(x.min()), float(y.min()), float(x.max()), float(y.max()))
    return Box(*(round(min(1.0, max(0.0, bound)), 4) for bound in bounds))
