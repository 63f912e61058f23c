"""Decoding of requested timestamps: `Decoder.frames_played_at` yields `TimedFrames` with the exact timestamp of every frame.

Decoding runs in child processes (`longview.video.decoding.worker_client`). A long span is split at key frames over several
processes, each with a bounded number of frames decoded ahead, and the frames are yielded in order. The first chunk is therefore
available while the others still decode, and memory does not grow with the video.
"""

import bisect
import logging
import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from longview.core.progress import NO_PROGRESS, Progress
from longview.core.time_format import format_time
from longview.core.timeline import Span, merge_spans
from longview.video.decoding.audio import RATE_HZ, AudioBlock
from longview.video.decoding.backend_stream import BackendStream
from longview.video.decoding.backends import BackendName
from longview.video.decoding.backends.base import DecodedFrame, DecodeRequest
from longview.video.decoding.process_pool import ProcessPool
from longview.video.errors import DecoderDied, UnreadableSubtitles, UnreadableVideo, VideoError
from longview.video.probing.content_hash import content_hash
from longview.video.probing.guard import Limits, check_path
from longview.video.probing.probe import VideoInfo, require_frames
from longview.video.subtitles.parsers import SubtitleFile
from longview.video.subtitles.streams import collect_cues, text_stream

__all__ = ["Decoder", "BackendName", "TimedFrames"]

log = logging.getLogger(__name__)

CHUNK_FRAMES = 64
READAHEAD_BYTES = 64 << 20
"""Shared memory for the frames that one process decodes ahead; it is exceeded if `MIN_READAHEAD_FRAMES` take more."""
MIN_READAHEAD_FRAMES = 4
MAX_PROCESSES = 4
"""Maximum number of processes per video. More would wait for the model, which is slower than four decoders."""
MIN_SPLIT_FRAMES = 16
"""Minimum number of frames at which a second process pays off."""
MIN_SPLIT_S = 20.0
"""Minimum span at which a second process pays off, in seconds."""


@dataclass(frozen=True)
class TimedFrames:
    """A chunk of decoded frames with their timestamps."""

    frames: NDArray[np.uint8]
    """RGB of shape (N, height, width, 3)."""
    times_s: NDArray[np.float64]
    """Presentation timestamps of shape (N,), in seconds from the container's start, strictly increasing."""
    undecodable: tuple[Span, ...] = ()
    """Spans in which requested frames are damaged or missing."""

    def __len__(self) -> int:
        return len(self.times_s)


class Decoder:
    """A decoder that probes and decodes videos in a pool of sandboxed child processes. Thread-safe.

    Idle processes are kept for the next request; `close` ends them, and so does the exit of the program.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        backend: BackendName = "pyav",
        key_frames_only: bool = False,
        processes: int | None = None,
    ) -> None:
        """`processes`: maximum number of processes that decode one video; by default one per core, at most four."""
        self.limits = limits or Limits()
        self.backend: BackendName = backend
        self.key_frames_only = key_frames_only
        self._processes = processes or min(os.cpu_count() or 1, MAX_PROCESSES)
        self.pool = ProcessPool(self.limits, self._processes)

    def close(self) -> None:
        """End the idle processes; the next request starts new ones."""
        self.pool.close()

    # -- probing --------------------------------------------------------------------------------------------------

    def probe(self, path: Path | str, *, known_hash: str | None = None, progress: Progress = NO_PROGRESS) -> VideoInfo:
        """Return the metadata of a video file; see `longview.video.probing.probe.probe`.

        Raises:
            VideoError: as in `longview.video.probing.probe.probe`; also if FFmpeg hangs or crashes on the file.
        """
        checked_path = check_path(path, self.limits)
        try:
            with self.pool.process() as process:
                info = process.probe(checked_path, progress)
        except DecoderDied as error:
            raise UnreadableVideo(f"{checked_path} cannot be probed. {error}") from error
        if info.damaged_duration_s is not None:
            log.warning(
                "%s: the last frame ends at %s; damaged timestamps state %s",
                *(checked_path.name, format_time(info.duration_s), format_time(info.damaged_duration_s)),
            )
        return replace(info, content_hash=known_hash or content_hash(checked_path, progress))

    def key_times(self, video: VideoInfo, times_s: list[float], progress: Progress = NO_PROGRESS) -> list[float]:
        """See `longview.video.decoding.backends.pyav.key_times`; also empty if the file cannot be read.

        Raises:
            NoFrames: the file has only sound.
        """
        require_frames(video)
        try:
            with self.pool.process() as process:
                return process.key_times(video, times_s, progress)
        except VideoError as error:
            log.info("%s: cannot find the key frames: %s", video.path.name, error)
            return []

    def key_frames_around(self, video: VideoInfo, time_s: float) -> tuple[float, float] | None:
        """See `longview.video.decoding.backends.pyav.key_frames_around`.

        Raises:
            NoFrames: the file has only sound.
            UnreadableVideo: the file cannot be read, or FFmpeg hangs or crashes on it.
        """
        require_frames(video)
        try:
            with self.pool.process() as process:
                return process.key_frames_around(video, time_s)
        except DecoderDied as error:
            raise UnreadableVideo(f"{video.path} cannot be read. {error}") from error

    def subtitles(self, video: VideoInfo, stream_index: int, progress: Progress = NO_PROGRESS) -> SubtitleFile:
        """Read a stream of text subtitles. `stream_index`: index of one of the `subtitle_streams`, as in `StreamInfo.index`.

        Raises:
            UnreadableSubtitles: there is no such stream, it contains no text, or FFmpeg hangs or crashes on it.
            NotAVideo: the file is no longer a video. Cancelled: the operation was cancelled.
        """
        stream = text_stream(video, stream_index)
        try:
            # `closing` ends the request at once if there are too many subtitles.
            with self.pool.process() as process, closing(process.subtitles(video, stream_index, progress)) as batches:
                return collect_cues(video, stream, batches, progress)
        except DecoderDied as error:
            raise UnreadableSubtitles(f"The subtitles of {video.path} cannot be read. {error}") from error

    def subtitle_file(self, path: Path, *, offset_s: float = 0.0, progress: Progress = NO_PROGRESS) -> SubtitleFile:
        """Read a subtitle file. `offset_s`: seconds that are added to all times.

        Raises:
            UnreadableSubtitles: as `longview.video.subtitles.parsers.read_subtitles`; also if reading hangs or crashes.
            Cancelled: the operation was cancelled; the process is stopped.
        """
        with _side_file_errors(path), self.pool.process() as process:
            return process.subtitle_file(path, offset_s=offset_s, progress=progress)

    def transcript(self, path: Path, progress: Progress = NO_PROGRESS) -> str:
        """Read a transcript without times.

        Raises:
            UnreadableSubtitles: as `longview.video.subtitles.transcript.read_transcript`; also if reading hangs or crashes.
            Cancelled: the operation was cancelled; the process is stopped.
        """
        with _side_file_errors(path), self.pool.process() as process:
            return process.transcript(path, progress)

    # -- decoding -------------------------------------------------------------------------------------------------

    def audio(
        self,
        video: VideoInfo,
        stream_index: int,
        *,
        start_s: float = 0.0,
        end_s: float | None = None,
        progress: Progress = NO_PROGRESS,
    ) -> Generator[AudioBlock, None, None]:
        """Decode the sound from `start_s` to `end_s` or its end, in blocks; see `longview.video.decoding.audio.audio_blocks`.

        Raises:
            UnreadableVideo: no sound can be decoded. NotAVideo: the file is no longer a video.
            DecoderDied: FFmpeg hung or crashed after the blocks so far.
            Cancelled: the operation was cancelled; the process is stopped.
        """
        progress.update(0.0)
        total_s = max(1e-3, (video.duration_s if end_s is None else end_s) - start_s)
        try:
            # The pool ends a process whose responses were not all read.
            with self.pool.process() as process:
                for block in process.audio(video, stream_index, start_s=start_s, end_s=end_s, progress=progress):
                    progress.update((block.start_s + len(block.samples) / RATE_HZ - start_s) / total_s)
                    yield block
        except DecoderDied as error:
            raise DecoderDied(f"The sound of {video.path.name} cannot be decoded further. {error}") from error

    def frames_played_at(
        self,
        video: VideoInfo,
        times_s: Sequence[float],
        height: int,
        width: int,
        *,
        chunk_frames: int = CHUNK_FRAMES,
        progress: Progress = NO_PROGRESS,
    ) -> Generator[TimedFrames, None, None]:
        """Decode the frames on screen at `times_s` (increasing), upright and scaled, in chunks of at most `chunk_frames`.

        A frame that is on screen at several of the times is yielded once. Undecodable frames are skipped and reported in
        `TimedFrames.undecodable`.

        Raises:
            NoFrames: the file has only sound.
            UnreadableVideo: no frame can be decoded. NotAVideo: the file is no longer a video.
            Cancelled: the operation was cancelled; the processes are stopped.
        """
        require_frames(video)
        request = DecodeRequest(tuple(map(float, times_s)), height, width, self.key_frames_only, max_pixels=self.limits.pixels)
        periods_s = _periods(request.times_s)
        chunk = _Chunk(request, chunk_frames)
        decoded_count, missing_s = 0, []
        last_s = -np.inf
        # `closing` stops the processes at once if the caller stops iterating.
        with closing(self._decoded_frames(video, request, progress)) as frames:
            for frame in frames:
                progress.update(bisect.bisect_right(request.times_s, frame.requested_s) / len(request.times_s))
                if frame.time_s is None or frame.pixels is None:
                    missing_s.append(frame.requested_s)
                    start_s = (
                        frame.requested_s if frame.end_of_stream_s is None else min(frame.end_of_stream_s, frame.requested_s)
                    )
                    chunk.add_missing(Span(start_s, frame.requested_s + periods_s.get(frame.requested_s, 0.0)))
                elif frame.time_s > last_s:
                    last_s = frame.time_s
                    decoded_count += 1
                    if chunk.add(frame.time_s, frame.pixels):
                        yield chunk.take()
        if not decoded_count:
            raise UnreadableVideo(f"No frame of {video.path} can be decoded; the file is damaged.")
        if not chunk.is_empty:
            yield chunk.take()
        if missing_s:
            missing_count, first, last = len(missing_s), format_time(missing_s[0]), format_time(missing_s[-1])
            log.warning(
                "%s: decoded %d of %d frames, %d undecodable between %s and %s",
                *(video.path.name, decoded_count, decoded_count + missing_count, missing_count, first, last),
            )

    def _decoded_frames(
        self, video: VideoInfo, request: DecodeRequest, progress: Progress
    ) -> Generator[DecodedFrame, None, None]:
        """Yield all frames in order of time, from as many processes as the span is worth."""
        frame_bytes = request.height * request.width * 3
        buffer_frames = max(MIN_READAHEAD_FRAMES, min(CHUNK_FRAMES, READAHEAD_BYTES // frame_bytes))
        segments = self._segments(video, request, buffer_frames, progress)
        workers = min(self._processes, len(segments))
        threads = self._processes if workers == 1 else 1
        streams: list[BackendStream] = []
        try:
            for worker in range(workers):
                # Each worker takes every n-th segment, and decodes its next one ahead while another worker's is consumed.
                share = [time_s for segment in segments[worker::workers] for time_s in segment]
                share_request = replace(request, times_s=share, threads=threads)
                streams.append(BackendStream(self.pool, self.backend, video, share_request, buffer_frames, progress))
            for index, segment in enumerate(segments):
                yield from streams[index % workers].until(segment[-1])
        finally:
            for stream in streams:
                stream.close()

    def _segments(
        self, video: VideoInfo, request: DecodeRequest, buffer_frames: int, progress: Progress
    ) -> list[Sequence[float]]:
        """Split the requested times at key frames, into parts of about as many frames as a process decodes ahead."""
        times_s = list(request.times_s)
        is_short = len(times_s) < MIN_SPLIT_FRAMES or times_s[-1] - times_s[0] < MIN_SPLIT_S
        if is_short or self._processes == 1 or self.backend != "pyav":
            return [times_s]
        keys_s = self.key_times(video, times_s, progress)
        if not keys_s:
            return [times_s]
        size = min(buffer_frames, -(-len(times_s) // self._processes))
        segments: list[list[float]] = [[]]
        for time_s, key_s, previous_key_s in zip(times_s, keys_s, [keys_s[0], *keys_s], strict=False):
            if len(segments[-1]) >= size and key_s != previous_key_s:
                segments.append([])
            segments[-1].append(time_s)
        return list(segments)


@contextmanager
def _side_file_errors(path: Path) -> Iterator[None]:
    """Name the file in the errors of the process that reads it."""
    try:
        yield
    except (DecoderDied, UnreadableVideo) as error:
        raise UnreadableSubtitles(f"{path} cannot be read. {error}") from error


class _Chunk:
    """A buffer that collects frames into one array."""

    def __init__(self, request: DecodeRequest, size: int) -> None:
        self._shape, self._size = (request.height, request.width, 3), size
        self._frames: list[NDArray[np.uint8]] = []
        self._times_s: list[float] = []
        self._undecodable: list[Span] = []

    @property
    def is_empty(self) -> bool:
        return not self._frames and not self._undecodable

    def add(self, time_s: float, pixels: NDArray[np.uint8]) -> bool:
        """Append a frame; return whether the chunk is full."""
        self._frames.append(pixels)
        self._times_s.append(time_s)
        return len(self._frames) == self._size

    def add_missing(self, span: Span) -> None:
        """Add an undecodable span."""
        self._undecodable = [*merge_spans([*self._undecodable, span])]

    def take(self) -> TimedFrames:
        """Return the chunk, and start a new one."""
        frames = np.stack(self._frames) if self._frames else np.zeros((0, *self._shape), np.uint8)
        chunk = TimedFrames(frames, np.asarray(self._times_s, np.float64), tuple(self._undecodable))
        self._frames, self._times_s, self._undecodable = [], [], []
        return chunk


def _periods(times_s: Sequence[float]) -> dict[float, float]:
    """Return the seconds from each requested time to the next; the last one has the period of the one before."""
    periods_s = {time_s: next_s - time_s for time_s, next_s in zip(times_s, times_s[1:], strict=False)}
    if times_s:
        periods_s[times_s[-1]] = periods_s[times_s[-2]] if len(times_s) > 1 else 0.0
    return periods_s
