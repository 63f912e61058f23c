"""From wanted times to frames: `read_frames` yields `TimedFrames` with the true time of every frame."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from video.errors import UnreadableVideo
from video.probe import VideoInfo
from video.timeline import format_time

log = logging.getLogger(__name__)

ReaderName = Literal["pyav", "decord"]


@dataclass(frozen=True)
class TimedFrames:
    """Decoded frames and when each of them is shown."""

    frames: NDArray[np.uint8]
    """RGB of shape (N, height, width, 3)."""
    times_s: NDArray[np.float64]
    """True presentation times of shape (N,), strictly increasing, on the player's clock."""
    cut_off_s: float | None = None
    """Where the pictures end although more were wanted, in the last chunk of a file that is cut off."""

    def __len__(self) -> int:
        return len(self.times_s)


class PicturesEnd(Exception):
    """Raised by a reader after its last picture when the file promised more: at `time_s` its pictures end."""

    def __init__(self, time_s: float) -> None:
        super().__init__(time_s)
        self.time_s = time_s


class Reader(Protocol):
    """A library that decodes frames.

    For each wanted time the reader yields the picture that a player shows then: the last frame that starts at or
    before it (the first frame, for times before that). A picture wanted twice is yielded once.
    """

    def __call__(
        self, video: VideoInfo, times_s: Sequence[float], height: int, width: int
    ) -> Iterator[tuple[float, NDArray[np.uint8]]]:
        """Yield (presentation time in seconds, RGB uint8 of shape (height, width, 3)) in order of time."""
        ...


def reader_named(name: ReaderName) -> Reader:
    """The reader of that name; the library behind it is imported only now."""
    if name == "decord":
        from video.readers.decord import read
    else:
        from video.readers.pyav import read
    return read


def read_frames(
    video: VideoInfo, times_s: Sequence[float], height: int, width: int, *, reader: ReaderName = "pyav", chunk_frames: int = 64
) -> Iterator[TimedFrames]:
    """Decode the pictures shown at `times_s` (increasing), upright and scaled, in chunks of at most `chunk_frames`.

    Raises:
        UnreadableVideo: not one of them can be decoded.
    """
    frames: list[NDArray[np.uint8]] = []
    times: list[float] = []
    decoded = 0
    cut_off_s = None
    try:
        for time_s, frame in reader_named(reader)(video, times_s, height, width):
            frames.append(frame)
            times.append(time_s)
            decoded += 1
            if len(frames) == chunk_frames:
                yield TimedFrames(np.stack(frames), np.asarray(times))
                frames, times = [], []
    except PicturesEnd as end:
        cut_off_s = end.time_s
        log.warning(
            "%s has no pictures after %s, though it says that it is %s long: it is cut off.",
            video.path.name,
            format_time(cut_off_s),
            format_time(video.duration_s),
        )
    if decoded and (frames or cut_off_s is not None):
        rest = np.stack(frames) if frames else np.zeros((0, height, width, 3), np.uint8)
        yield TimedFrames(rest, np.asarray(times, np.float64), cut_off_s)
    if not decoded:
        raise UnreadableVideo(f"No picture of {video.path} can be decoded; the file is damaged.")
    if decoded < len(times_s):
        log.info("%s: %d pictures for %d wanted times", video.path.name, decoded, len(times_s))
