"""The pictures of videos. A poster is the picture of the first of some places in a video that shows something."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from longview.app.files.media import MediaStore
from longview.indexing.records.video import VideoEntry
from longview.video.thumbnails import Sprite

SHARES = (0.1, 0.25, 0.5, 0.03, 0.75)
"""Places that are looked at, as shares of the duration, in this order."""
MIN_CONTRAST = 12.0
"""Standard deviation of the brightness, of 255, from which on a picture shows something: a black or white one has less."""


class Pictures:
    """The pictures of the videos of one library, and the waveforms of their sound. Safe for several threads."""

    def __init__(self, media: MediaStore) -> None:
        self._media = media
        self._poster_times_s: dict[str, float] = {}

    def thumbnail(self, video_id: str, time_s: float) -> Path:
        """Return the picture of a video at a time; see `MediaStore.thumbnail`."""
        return self._media.thumbnail(video_id, time_s)

    def sprite(self, entry: VideoEntry) -> tuple[Path, Sprite]:
        """Return small pictures over a whole video in one image, and what they show; see `MediaStore.sprite`."""
        return self._media.sprite(entry)

    def waveform(self, entry: VideoEntry) -> Path | None:
        """Return the waveform of a video; None if it was not made yet. See `MediaStore.waveform`."""
        return self._media.waveform(entry)

    def poster(self, entry: VideoEntry) -> Path | None:
        """Return the poster of a video; None if it has sound only."""
        if not entry.has_frames:
            return None
        if entry.video_id not in self._poster_times_s:
            time_s = choose_poster_time(entry.duration_s, lambda time_s: self.thumbnail(entry.video_id, time_s))
            self._poster_times_s[entry.video_id] = time_s
        return self.thumbnail(entry.video_id, self._poster_times_s[entry.video_id])


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
