"""From wanted times to frames: `Decoder.read` yields `TimedFrames` with the true time of every frame.

Decoding happens in child processes (`video.process`). A span that is long enough is split at key frames over several
of them, each with a bounded number of frames ahead, and joined again in order, so that the first chunk is there while
the rest still decodes and memory does not grow with the video.
"""

import bisect
import logging
import os
import threading
import weakref
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from video.errors import DecoderDied, UnreadableVideo, VideoError
from video.guard import Limits, checked_path
from video.probe import VideoInfo, content_hash
from video.process import DecodingProcess
from video.readers.base import Picture, ReaderName, Wanted
from video.timeline import Span, format_time, merged

__all__ = ["Decoder", "ReaderName", "TimedFrames"]

log = logging.getLogger(__name__)

FALL_BACK: dict[ReaderName, ReaderName] = {"pyav": "ffmpeg", "ffmpeg": "pyav", "decord": "pyav"}
"""What is tried once when a reader cannot read a file, or dies of it."""
CHUNK_FRAMES = 64
AHEAD_BYTES = 64 << 20
"""Shared memory for the frames that one process decodes ahead, unless a handful of frames already take more."""
AHEAD_FRAMES_MIN = 4
PROCESSES_MAX = 4
"""More would wait for the model, which uses the frames."""
SPLIT_FRAMES_MIN = 16
"""Fewer frames are not worth a second process."""
SPLIT_SECONDS_MIN = 20.0
"""Neither is a shorter span."""


@dataclass(frozen=True)
class TimedFrames:
    """Decoded frames and when each of them is shown."""

    frames: NDArray[np.uint8]
    """RGB of shape (N, height, width, 3)."""
    times_s: NDArray[np.float64]
    """True presentation times of shape (N,), strictly increasing, on the player's clock."""
    unreadable: tuple[Span, ...] = ()
    """Parts of the span whose pictures were wanted but are damaged or missing."""

    def __len__(self) -> int:
        return len(self.times_s)


class Decoder:
    """Probes and decodes videos in child processes that no file can escape. Safe for several threads.

    Idle processes are kept for the next request; `close` ends them, and so does the end of the program.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        reader: ReaderName = "pyav",
        key_frames_only: bool = False,
        processes: int | None = None,
    ) -> None:
        """`processes`: how many may decode one video at once; by default one a core, at most four."""
        self.limits = limits or Limits()
        self.reader: ReaderName = reader
        self.key_frames_only = key_frames_only
        self._processes = processes or min(os.cpu_count() or 1, PROCESSES_MAX)
        self._idle: list[DecodingProcess] = []
        self._lock = threading.Lock()
        self._finalizer = weakref.finalize(self, _close_all, self._idle)

    def close(self) -> None:
        """End the idle processes; the next request starts new ones."""
        with self._lock:
            _close_all(self._idle)

    def borrow(self) -> DecodingProcess:
        """A process that no one else uses; `give_back` it."""
        with self._lock:
            while self._idle:
                process = self._idle.pop()
                if process.is_usable:
                    return process
                process.close()
        return DecodingProcess(self.limits)

    def give_back(self, process: DecodingProcess) -> None:
        """Keep a process for the next request, if it can still be used."""
        with self._lock:
            if process.is_usable and len(self._idle) < self._processes:
                self._idle.append(process)
            else:
                process.close()

    # -- probing --------------------------------------------------------------------------------------------------

    def probe(self, path: Path | str, *, known_hash: str | None = None) -> VideoInfo:
        """What a video file is; see `video.probe.probe`.

        Raises:
            VideoError: as there; also if the file makes FFmpeg hang or die.
        """
        checked = checked_path(path, self.limits)
        process = self.borrow()
        try:
            info = process.probe(checked)
        except DecoderDied as error:
            raise UnreadableVideo(f"{checked} cannot be examined. {error}") from error
        finally:
            self.give_back(process)
        return replace(info, content_hash=known_hash or content_hash(checked))

    def key_times(self, video: VideoInfo, times_s: list[float]) -> list[float]:
        """See `video.readers.pyav.key_times`; empty also if the file cannot be read."""
        process = self.borrow()
        try:
            return process.key_times(video, times_s)
        except VideoError as error:
            log.info("%s: the key frames cannot be found: %s", video.path.name, error)
            return []
        finally:
            self.give_back(process)

    def key_frames_around(self, video: VideoInfo, time_s: float) -> tuple[float, float] | None:
        """See `video.readers.pyav.key_frames_around`.

        Raises:
            UnreadableVideo: the file cannot be read, or makes FFmpeg hang or die.
        """
        process = self.borrow()
        try:
            return process.key_frames_around(video, time_s)
        except DecoderDied as error:
            raise UnreadableVideo(f"{video.path} cannot be read. {error}") from error
        finally:
            self.give_back(process)

    # -- reading --------------------------------------------------------------------------------------------------

    def read(
        self, video: VideoInfo, times_s: Sequence[float], height: int, width: int, *, chunk_frames: int = CHUNK_FRAMES
    ) -> Generator[TimedFrames, None, None]:
        """Decode the pictures shown at `times_s` (increasing), upright and scaled, in chunks of at most `chunk_frames`.

        A picture that is shown at several of the times comes once. What cannot be read is left out and told in
        `TimedFrames.unreadable`.

        Raises:
            UnreadableVideo: not one of them can be decoded. NotAVideo: the file is no longer one.
        """
        wanted = Wanted(tuple(map(float, times_s)), height, width, self.key_frames_only, pixels_max=self.limits.pixels)
        steps = _steps(wanted.times_s)
        chunk = _Chunk(wanted, chunk_frames)
        decoded, lost_s = 0, []
        last_s = -np.inf
        # Closed at once when whoever reads stops, so that no process decodes on for nobody.
        with closing(self._pictures(video, wanted)) as pictures:
            for picture in pictures:
                if picture.time_s is None or picture.rgb is None:
                    lost_s.append(picture.wanted_s)
                    start_s = picture.wanted_s if picture.lost_from_s is None else min(picture.lost_from_s, picture.wanted_s)
                    chunk.lose(Span(start_s, picture.wanted_s + steps.get(picture.wanted_s, 0.0)))
                elif picture.time_s > last_s:
                    last_s = picture.time_s
                    decoded += 1
                    if chunk.add(picture.time_s, picture.rgb):
                        yield chunk.taken()
        if not decoded:
            raise UnreadableVideo(f"No picture of {video.path} can be decoded; the file is damaged.")
        if not chunk.is_empty:
            yield chunk.taken()
        if lost_s:
            log.warning(
                "%s: decoded %d of %d frames, %d unreadable between %s and %s",
                *(video.path.name, decoded, decoded + len(lost_s), len(lost_s), format_time(lost_s[0]), format_time(lost_s[-1])),
            )

    def _pictures(self, video: VideoInfo, wanted: Wanted) -> Generator[Picture, None, None]:
        """All pictures in order of time, from as many processes as the span is worth."""
        frame_bytes = wanted.height * wanted.width * 3
        slots = max(AHEAD_FRAMES_MIN, min(CHUNK_FRAMES, AHEAD_BYTES // frame_bytes))
        segments = self._segments(video, wanted, slots)
        workers = min(self._processes, len(segments))
        threads = self._processes if workers == 1 else 1
        readings: list[_Reading] = []
        try:
            for worker in range(workers):
                # Every worker takes every n-th segment; while one is used up, the others already decode theirs ahead.
                share = [time_s for segment in segments[worker::workers] for time_s in segment]
                readings.append(_Reading(self, video, replace(wanted, times_s=share, threads=threads), slots))
            for index, segment in enumerate(segments):
                yield from readings[index % workers].until(segment[-1])
        finally:
            for reading in readings:
                reading.close()

    def _segments(self, video: VideoInfo, wanted: Wanted, slots: int) -> list[Sequence[float]]:
        """The wanted times in parts that begin with a new key frame, each about as large as what is decoded ahead."""
        times_s = list(wanted.times_s)
        is_short = len(times_s) < SPLIT_FRAMES_MIN or times_s[-1] - times_s[0] < SPLIT_SECONDS_MIN
        if is_short or self._processes == 1 or self.reader != "pyav":
            return [times_s]
        keys_s = self.key_times(video, times_s)
        if not keys_s:
            return [times_s]
        size = min(slots, -(-len(times_s) // self._processes))
        segments: list[list[float]] = [[]]
        for time_s, key_s, key_before_s in zip(times_s, keys_s, [keys_s[0], *keys_s], strict=False):
            if len(segments[-1]) >= size and key_s != key_before_s:
                segments.append([])
            segments[-1].append(time_s)
        return list(segments)


class _Reading:
    """What one process decodes, begun at once. What the chosen reader cannot read, or dies of, the fall-back tries once."""

    def __init__(self, decoder: Decoder, video: VideoInfo, wanted: Wanted, slots: int) -> None:
        self._decoder, self._video, self._slots = decoder, video, slots
        self._left = wanted
        self._readers = [decoder.reader, FALL_BACK[decoder.reader]]
        self._process: DecodingProcess | None = None
        self._held: Picture | None = None
        self._begin()

    def until(self, wanted_s: float) -> Iterator[Picture]:
        """The pictures for wanted times up to `wanted_s`."""
        while (picture := self._held or self._next()) is not None:
            self._held = picture if picture.wanted_s > wanted_s else None
            if self._held is not None:
                return
            yield picture

    def close(self) -> None:
        """Stop decoding."""
        if self._process is not None:
            # If it was not heard to its end it is not kept.
            self._decoder.give_back(self._process)
            self._process = None

    def _begin(self) -> None:
        self._process = self._decoder.borrow()
        try:
            self._pictures = self._process.read(self._video, self._left, self._readers[0], slots=self._slots)
        except BaseException:
            self._decoder.give_back(self._process)
            raise

    def _next(self) -> Picture | None:
        while self._process is not None:
            try:
                picture = next(self._pictures, None)
            except UnreadableVideo as error:
                self.close()
                if self._readers[0] == "decord" and not isinstance(error, DecoderDied):
                    # Whoever chooses decord is told what it is refused for.
                    raise
                log.info("%s: reader %s: %s", self._video.path.name, self._readers[0], error)
                del self._readers[0]
                if self._readers and self._left.times_s:
                    self._begin()
                continue
            if picture is None:
                self.close()
                return None
            after = bisect.bisect_right(self._left.times_s, picture.wanted_s)
            self._left = replace(self._left, times_s=self._left.times_s[after:])
            return picture
        # Neither reader could read these.
        if not self._left.times_s or self._readers:
            return None
        lost_s, self._left = self._left.times_s[0], replace(self._left, times_s=self._left.times_s[1:])
        return Picture(lost_s, None, None)


class _Chunk:
    """Frames that are being collected into one array."""

    def __init__(self, wanted: Wanted, size: int) -> None:
        self._shape, self._size = (wanted.height, wanted.width, 3), size
        self._frames: list[NDArray[np.uint8]] = []
        self._times_s: list[float] = []
        self._unreadable: list[Span] = []

    @property
    def is_empty(self) -> bool:
        return not self._frames and not self._unreadable

    def add(self, time_s: float, rgb: NDArray[np.uint8]) -> bool:
        """Append a frame; true if the chunk is full."""
        self._frames.append(rgb)
        self._times_s.append(time_s)
        return len(self._frames) == self._size

    def lose(self, span: Span) -> None:
        """Note a part that cannot be read."""
        self._unreadable = [*merged([*self._unreadable, span])]

    def taken(self) -> TimedFrames:
        """The chunk; a new one begins."""
        frames = np.stack(self._frames) if self._frames else np.zeros((0, *self._shape), np.uint8)
        chunk = TimedFrames(frames, np.asarray(self._times_s, np.float64), tuple(self._unreadable))
        self._frames, self._times_s, self._unreadable = [], [], []
        return chunk


def _steps(times_s: Sequence[float]) -> dict[float, float]:
    """How long each wanted time stands for: up to the next one, the last as long as the one before."""
    steps = {time_s: after_s - time_s for time_s, after_s in zip(times_s, times_s[1:], strict=False)}
    if times_s:
        steps[times_s[-1]] = steps[times_s[-2]] if len(times_s) > 1 else 0.0
    return steps


def _close_all(processes: list[DecodingProcess]) -> None:
    while processes:
        processes.pop().close()
