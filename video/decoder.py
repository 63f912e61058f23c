"""From wanted times to frames: `Decoder.read` yields `TimedFrames` with the true time of every frame.

Decoding happens in child processes (`longview.video.worker_process`). A span that is long enough is split at key frames over several
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

from longview.video.backends import FALLBACK, BackendName
from longview.video.backends.base import DecodedFrame, DecodeRequest
from longview.video.errors import DecoderDied, UnreadableVideo, VideoError
from longview.video.guard import Limits, check_path
from longview.video.probe import VideoInfo, content_hash
from longview.video.time_text import format_time
from longview.video.timeline import Span, merge_spans
from longview.video.worker_process import DecodingProcess

__all__ = ["Decoder", "BackendName", "TimedFrames"]

log = logging.getLogger(__name__)

CHUNK_FRAMES = 64
READAHEAD_BYTES = 64 << 20
"""Shared memory for the frames that one process decodes ahead, unless a handful of frames already take more."""
MIN_READAHEAD_FRAMES = 4
MAX_PROCESSES = 4
"""More would wait for the model, which uses the frames."""
MIN_SPLIT_FRAMES = 16
"""Fewer frames are not worth a second process."""
MIN_SPLIT_S = 20.0
"""Neither is a shorter span."""


@dataclass(frozen=True)
class TimedFrames:
    """Decoded frames and when each of them is shown."""

    frames: NDArray[np.uint8]
    """RGB of shape (N, height, width, 3)."""
    times_s: NDArray[np.float64]
    """True presentation times of shape (N,), strictly increasing, on the player's clock."""
    undecodable: tuple[Span, ...] = ()
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
        backend: BackendName = "pyav",
        key_frames_only: bool = False,
        processes: int | None = None,
    ) -> None:
        """`processes`: how many may decode one video at once; by default one a core, at most four."""
        self.limits = limits or Limits()
        self.backend: BackendName = backend
        self.key_frames_only = key_frames_only
        self._processes = processes or min(os.cpu_count() or 1, MAX_PROCESSES)
        self._idle: list[DecodingProcess] = []
        self._lock = threading.Lock()
        self._finalizer = weakref.finalize(self, _close_all, self._idle)

    def close(self) -> None:
        """End the idle processes; the next request starts new ones."""
        with self._lock:
            _close_all(self._idle)

    def acquire(self) -> DecodingProcess:
        """A process that no one else uses; `give_back` it."""
        with self._lock:
            while self._idle:
                process = self._idle.pop()
                if process.is_usable:
                    return process
                process.close()
        return DecodingProcess(self.limits)

    def release(self, process: DecodingProcess) -> None:
        """Keep a process for the next request, if it can still be used."""
        with self._lock:
            if process.is_usable and len(self._idle) < self._processes:
                self._idle.append(process)
            else:
                process.close()

    # -- probing --------------------------------------------------------------------------------------------------

    def probe(self, path: Path | str, *, known_hash: str | None = None) -> VideoInfo:
        """What a video file is; see `longview.video.probe.probe`.

        Raises:
            VideoError: as there; also if the file makes FFmpeg hang or die.
        """
        checked = check_path(path, self.limits)
        process = self.acquire()
        try:
            info = process.probe(checked)
        except DecoderDied as error:
            raise UnreadableVideo(f"{checked} cannot be examined. {error}") from error
        finally:
            self.release(process)
        return replace(info, content_hash=known_hash or content_hash(checked))

    def key_times(self, video: VideoInfo, times_s: list[float]) -> list[float]:
        """See `longview.video.backends.pyav.key_times`; empty also if the file cannot be read."""
        process = self.acquire()
        try:
            return process.key_times(video, times_s)
        except VideoError as error:
            log.info("%s: the key frames cannot be found: %s", video.path.name, error)
            return []
        finally:
            self.release(process)

    def key_frames_around(self, video: VideoInfo, time_s: float) -> tuple[float, float] | None:
        """See `longview.video.backends.pyav.key_frames_around`.

        Raises:
            UnreadableVideo: the file cannot be read, or makes FFmpeg hang or die.
        """
        process = self.acquire()
        try:
            return process.key_frames_around(video, time_s)
        except DecoderDied as error:
            raise UnreadableVideo(f"{video.path} cannot be read. {error}") from error
        finally:
            self.release(process)

    # -- reading --------------------------------------------------------------------------------------------------

    def frames_played_at(
        self, video: VideoInfo, times_s: Sequence[float], height: int, width: int, *, chunk_frames: int = CHUNK_FRAMES
    ) -> Generator[TimedFrames, None, None]:
        """Decode the pictures shown at `times_s` (increasing), upright and scaled, in chunks of at most `chunk_frames`.

        A picture that is shown at several of the times comes once. What cannot be read is left out and told in
        `TimedFrames.unreadable`.

        Raises:
            UnreadableVideo: not one of them can be decoded. NotAVideo: the file is no longer one.
        """
        wanted = DecodeRequest(tuple(map(float, times_s)), height, width, self.key_frames_only, max_pixels=self.limits.pixels)
        steps = _periods(wanted.times_s)
        chunk = _Chunk(wanted, chunk_frames)
        decoded, lost_s = 0, []
        last_s = -np.inf
        # Closed at once when whoever reads stops, so that no process decodes on for nobody.
        with closing(self._decoded_frames(video, wanted)) as pictures:
            for picture in pictures:
                if picture.time_s is None or picture.pixels is None:
                    lost_s.append(picture.requested_s)
                    start_s = (
                        picture.requested_s
                        if picture.end_of_stream_s is None
                        else min(picture.end_of_stream_s, picture.requested_s)
                    )
                    chunk.add_missing(Span(start_s, picture.requested_s + steps.get(picture.requested_s, 0.0)))
                elif picture.time_s > last_s:
                    last_s = picture.time_s
                    decoded += 1
                    if chunk.add(picture.time_s, picture.pixels):
                        yield chunk.take()
        if not decoded:
            raise UnreadableVideo(f"No picture of {video.path} can be decoded; the file is damaged.")
        if not chunk.is_empty:
            yield chunk.take()
        if lost_s:
            log.warning(
                "%s: decoded %d of %d frames, %d unreadable between %s and %s",
                *(video.path.name, decoded, decoded + len(lost_s), len(lost_s), format_time(lost_s[0]), format_time(lost_s[-1])),
            )

    def _decoded_frames(self, video: VideoInfo, wanted: DecodeRequest) -> Generator[DecodedFrame, None, None]:
        """All pictures in order of time, from as many processes as the span is worth."""
        frame_bytes = wanted.height * wanted.width * 3
        slots = max(MIN_READAHEAD_FRAMES, min(CHUNK_FRAMES, READAHEAD_BYTES // frame_bytes))
        segments = self._segments(video, wanted, slots)
        workers = min(self._processes, len(segments))
        threads = self._processes if workers == 1 else 1
        readings: list[_BackendStream] = []
        try:
            for worker in range(workers):
                # Every worker takes every n-th segment; while one is used up, the others already decode theirs ahead.
                share = [time_s for segment in segments[worker::workers] for time_s in segment]
                readings.append(_BackendStream(self, video, replace(wanted, times_s=share, threads=threads), slots))
            for index, segment in enumerate(segments):
                yield from readings[index % workers].until(segment[-1])
        finally:
            for reading in readings:
                reading.close()

    def _segments(self, video: VideoInfo, wanted: DecodeRequest, buffer_frames: int) -> list[Sequence[float]]:
        """The wanted times in parts that begin with a new key frame, each about as large as what is decoded ahead."""
        times_s = list(wanted.times_s)
        is_short = len(times_s) < MIN_SPLIT_FRAMES or times_s[-1] - times_s[0] < MIN_SPLIT_S
        if is_short or self._processes == 1 or self.backend != "pyav":
            return [times_s]
        keys_s = self.key_times(video, times_s)
        if not keys_s:
            return [times_s]
        size = min(buffer_frames, -(-len(times_s) // self._processes))
        segments: list[list[float]] = [[]]
        for time_s, key_s, key_before_s in zip(times_s, keys_s, [keys_s[0], *keys_s], strict=False):
            if len(segments[-1]) >= size and key_s != key_before_s:
                segments.append([])
            segments[-1].append(time_s)
        return list(segments)


class _BackendStream:
    """What one process decodes, begun at once. What the chosen reader cannot read, or dies of, the fall-back tries once."""

    def __init__(self, decoder: Decoder, video: VideoInfo, wanted: DecodeRequest, buffer_frames: int) -> None:
        self._decoder, self._video, self._buffer_frames = decoder, video, buffer_frames
        self._remaining = wanted
        self._backends = [decoder.backend, FALLBACK[decoder.backend]]
        self._process: DecodingProcess | None = None
        self._pending: DecodedFrame | None = None
        self._begin()

    def until(self, wanted_s: float) -> Iterator[DecodedFrame]:
        """The pictures for wanted times up to `wanted_s`."""
        while (picture := self._pending or self._next()) is not None:
            self._pending = picture if picture.requested_s > wanted_s else None
            if self._pending is not None:
                return
            yield picture

    def close(self) -> None:
        """Stop decoding."""
        if self._process is not None:
            # If it was not heard to its end it is not kept.
            self._decoder.release(self._process)
            self._process = None

    def _begin(self) -> None:
        self._process = self._decoder.acquire()
        try:
            self._pictures = self._process.decode(
                self._video, self._remaining, self._backends[0], buffer_frames=self._buffer_frames
            )
        except BaseException:
            self._decoder.release(self._process)
            raise

    def _next(self) -> DecodedFrame | None:
        while self._process is not None:
            try:
                picture = next(self._pictures, None)
            except UnreadableVideo as error:
                self.close()
                if self._backends[0] == "decord" and not isinstance(error, DecoderDied):
                    # Whoever chooses decord is told what it is refused for.
                    raise
                log.info("%s: reader %s: %s", self._video.path.name, self._backends[0], error)
                del self._backends[0]
                if self._backends and self._remaining.times_s:
                    self._begin()
                continue
            if picture is None:
                self.close()
                return None
            after = bisect.bisect_right(self._remaining.times_s, picture.requested_s)
            self._remaining = replace(self._remaining, times_s=self._remaining.times_s[after:])
            return picture
        # Neither reader could read these.
        if not self._remaining.times_s or self._backends:
            return None
        lost_s, self._remaining = self._remaining.times_s[0], replace(self._remaining, times_s=self._remaining.times_s[1:])
        return DecodedFrame(lost_s, None, None)


class _Chunk:
    """Frames that are being collected into one array."""

    def __init__(self, wanted: DecodeRequest, size: int) -> None:
        self._shape, self._size = (wanted.height, wanted.width, 3), size
        self._frames: list[NDArray[np.uint8]] = []
        self._times_s: list[float] = []
        self._undecodable: list[Span] = []

    @property
    def is_empty(self) -> bool:
        return not self._frames and not self._undecodable

    def add(self, time_s: float, rgb: NDArray[np.uint8]) -> bool:
        """Append a frame; true if the chunk is full."""
        self._frames.append(rgb)
        self._times_s.append(time_s)
        return len(self._frames) == self._size

    def add_missing(self, span: Span) -> None:
        """Note a part that cannot be read."""
        self._undecodable = [*merge_spans([*self._undecodable, span])]

    def take(self) -> TimedFrames:
        """The chunk; a new one begins."""
        frames = np.stack(self._frames) if self._frames else np.zeros((0, *self._shape), np.uint8)
        chunk = TimedFrames(frames, np.asarray(self._times_s, np.float64), tuple(self._undecodable))
        self._frames, self._times_s, self._undecodable = [], [], []
        return chunk


def _periods(times_s: Sequence[float]) -> dict[float, float]:
    """How long each wanted time stands for: up to the next one, the last as long as the one before."""
    steps = {time_s: after_s - time_s for time_s, after_s in zip(times_s, times_s[1:], strict=False)}
    if times_s:
        steps[times_s[-1]] = steps[times_s[-2]] if len(times_s) > 1 else 0.0
    return steps


def _close_all(processes: list[DecodingProcess]) -> None:
    while processes:
        processes.pop().close()
