"""The poster of a video: the picture of the first of some places in it that shows something."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

SHARES = (0.1, 0.25, 0.5, 0.03, 0.75)
"""Places that are looked at, as shares of the duration, in this order."""
MIN_CONTRAST = 12.0
"""Standard deviation of the brightness, of 255, from which on a picture shows something: a black or white one has less."""


def choose_poster_time(duration_s: float, thumbnail: Callable[[float], Path]) -> float:
    """Return the first time whose thumbnail shows something, or that of the one with the most contrast, in seconds.

    `thumbnail`: makes the thumbnail of a time.
    """
    best_s, best_contrast = 0.0, -1.0
    for share in SHARES:
        time_s = share * duration_s
        contrast = _contrast(thumbnail(time_s))
        if contrast >= MIN_CONTRAST:
            return time_s
        if contrast > best_contrast:
            best_s, best_contrast = time_s, contrast
    return best_s


def _contrast(path: Path) -> float:
    with Image.open(path) as image:
        return float(np.asarray(image.convert("L"), np.float32).std())
