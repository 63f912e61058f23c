"""A text recogniser (rapidocr): a frame -> boxes of lines, and a crop of a line -> its text.

Lines are detected in a copy whose longest side has 640 pixels, which takes a quarter of the time of the library's default size.
They are recognised in crops of the larger frame, so that small print is read.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from longview.core.progress import NO_PROGRESS, Progress
from longview.core.timeline import Box
from longview.model.errors import InvalidTextModel, ScreenTextFailed
from longview.model.screen_text.languages import printable_line
from longview.model.screen_text.weights import CLASSIFIER_FILE, DETECTOR_FILE, RECOGNIZER_FILE, TextModel
from longview.video.probing.probe import VideoInfo

MAX_SIDE_PX = 1280
"""Longest side of a decoded frame, in pixels. Letters of 12 pixels in a frame of 1080 lines are read."""
DETECTION_SIDE_PX = 640
"""Longest side of the frame in which lines are detected, in pixels."""
DOUBTFUL_CONFIDENCE = 0.85
"""Confidence below which a line may be upside down. Lines of slides have 0.9 and more."""
UPSIDE_DOWN_PROBABILITY = 0.9
"""Probability from which the classifier's answer that a line is upside down is tried. It is the library's threshold."""
WHOLE = Box(0.0, 0.0, 1.0, 1.0)
"""All of a frame."""

Pixels = NDArray[np.uint8]


def frame_size(video: VideoInfo) -> tuple[int, int]:
    """Return height and width of the frames that are read, in pixels. Frames are not enlarged."""
    scale = min(1.0, MAX_SIDE_PX / max(video.height, video.width))
    return max(1, round(video.height * scale)), max(1, round(video.width * scale))


@dataclass(frozen=True)
class Quad:
    """The corners of a line in a frame, in pixels: float32 of shape (4, 2), clockwise from the top left of the text."""

    corners_px: NDArray[np.float32]
    confidence: float
    """Confidence that there is text, from 0 to 1."""

    @property
    def height_px(self) -> float:
        """Height of the line, in pixels; lines may be slanted."""
        top_left, top_right, bottom_right, bottom_left = self.corners_px
        return float(np.linalg.norm(top_left - bottom_left) + np.linalg.norm(top_right - bottom_right)) / 2

    @property
    def bounds_px(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of the upright rectangle around the line, in pixels."""
        (left, top), (right, bottom) = self.corners_px.min(axis=0), self.corners_px.max(axis=0)
        return float(left), float(top), float(right), float(bottom)


@dataclass(frozen=True)
class Reading:
    """The text that was recognised in a crop."""

    text: str
    confidence: float
    """Mean probability of its characters, from 0 to 1."""


class TextRecognizer:
    """The loaded text models. Thread-safe: one frame or crop is examined at a time."""

    def __init__(self, model: TextModel, *, threads: int = 0) -> None:
        """Check the files; each model is loaded when it is first used. `threads`: number of CPU threads; 0: one per core.

        Raises:
            InvalidTextModel: a file is missing, or is not the one that was checked.
        """
        self.identity = model.identity
        paths = {name: str(model.checked_path(name)) for name in (DETECTOR_FILE, RECOGNIZER_FILE, CLASSIFIER_FILE)}
        # The package configures its logger when it is imported.
        from rapidocr import RapidOCR

        logging.getLogger("RapidOCR").disabled = True
        try:
            self._engine = RapidOCR(
                params={
                    "Global.log_level": "critical",
                    "Global.use_preprocess_img": False,
                    "EngineConfig.onnxruntime.intra_op_num_threads": threads or -1,
                    "EngineConfig.onnxruntime.inter_op_num_threads": 1,
                    "Det.model_path": paths[DETECTOR_FILE],
                    "Det.limit_type": "max",
                    "Det.limit_side_len": DETECTION_SIDE_PX,
                    "Rec.model_path": paths[RECOGNIZER_FILE],
                    "Cls.model_path": paths[CLASSIFIER_FILE],
                }
            )
        except (RuntimeError, ValueError, OSError) as error:
            raise InvalidTextModel(f"The text model of rapidocr cannot be loaded: {error}") from error
        self._lock = threading.Lock()

    def load_detection(self) -> None:
        """Load the model that finds lines, which is all that an estimate needs.

        Raises:
            InvalidTextModel: it cannot be loaded.
        """
        self._load(lambda: self.detect(np.zeros((64, 64, 3), np.uint8)))

    def load_recognition(self) -> None:
        """Load the model that recognises lines.

        Raises:
            InvalidTextModel: it cannot be loaded.
        """
        self._load(lambda: self.recognize(np.zeros((48, 320, 3), np.uint8)))

    def _load(self, use: Callable[[], object]) -> None:
        try:
            use()
        except ScreenTextFailed as error:
            raise InvalidTextModel(f"The text model of rapidocr cannot be loaded: {error}") from error

    def detect(self, frame: Pixels, region: Box = WHOLE) -> tuple[Quad, ...]:
        """Return the lines in a region of a frame, RGB uint8 of shape (H, W, 3).

        Raises:
            ScreenTextFailed: the model failed.
        """
        small = to_detection_size(frame)
        height, width = small.shape[:2]
        left, top = round(region.left * width), round(region.top * height)
        part = small[top : max(top + 1, round(region.bottom * height)), left : max(left + 1, round(region.right * width))]
        output = self._run(part, use_det=True)
        if output.boxes is None:
            return ()
        factors = np.asarray([frame.shape[1] / width, frame.shape[0] / height], np.float32)
        origin = np.asarray([left, top], np.float32)
        return tuple(
            Quad((np.asarray(box, np.float32) + origin) * factors, float(score))
            for box, score in zip(output.boxes, output.scores, strict=True)
        )

    def recognize_all(self, crops: Sequence[Pixels], progress: Progress = NO_PROGRESS) -> list[Reading]:
        """Return the texts of crops of one line each; see `recognize`.

        Raises:
            ScreenTextFailed: the model failed. Cancelled: the operation was cancelled.
        """
        readings = []
        for crop in crops:
            progress.raise_if_cancelled()
            readings.append(self.recognize(crop))
        return readings

    def recognize(self, crop: Pixels) -> Reading:
        """Return the text of a crop of one line, RGB uint8 of shape (H, W, 3). A doubtful line is also tried upside down.

        Raises:
            ScreenTextFailed: the model failed.
        """
        reading = self._recognize(crop)
        if reading.confidence >= DOUBTFUL_CONFIDENCE:
            return reading
        ((label, probability),) = self._run(crop, use_cls=True).cls_res
        if label != "180" or probability < UPSIDE_DOWN_PROBABILITY:
            return reading
        return max(reading, self._recognize(np.ascontiguousarray(crop[::-1, ::-1])), key=lambda item: item.confidence)

    def _recognize(self, crop: Pixels) -> Reading:
        output = self._run(crop, use_rec=True)
        text = printable_line(output.txts[0])
        return Reading(text, float(output.scores[0]) if text else 0.0)

    def _run(self, pixels: Pixels, *, use_det: bool = False, use_cls: bool = False, use_rec: bool = False) -> Any:
        """Run one of the models. The library takes BGR."""
        with self._lock:
            try:
                return self._engine(np.ascontiguousarray(pixels[..., ::-1]), use_det=use_det, use_cls=use_cls, use_rec=use_rec)
            except Exception as error:
                # The library wraps the errors of its engine in classes that have no base but Exception.
                raise ScreenTextFailed(f"The text model failed on a frame: {_last_line(error)}") from error


def _last_line(error: Exception) -> str:
    """Return the last line of an error, which may contain a whole traceback."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]


def to_detection_size(frame: Pixels) -> Pixels:
    """Return a copy of a frame at the size of the detection; a smaller frame stays as it is."""
    scale = DETECTION_SIDE_PX / max(frame.shape[:2])
    if scale >= 1.0:
        return frame
    size = max(1, round(frame.shape[1] * scale)), max(1, round(frame.shape[0] * scale))
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)


def crop_line(frame: Pixels, quad: Quad) -> Pixels:
    """Return a line as an upright crop of a frame."""
    from rapidocr.utils.process_img import get_rotate_crop_image

    crop: Pixels = get_rotate_crop_image(frame, quad.corners_px.copy())
    return np.ascontiguousarray(crop)
