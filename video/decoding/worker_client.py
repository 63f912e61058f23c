"""Client of one decoder worker process (`longview.video.decoding.worker`).

It starts the process, sends requests, monitors it, and kills it when it hangs, crashes or returns malformed responses.
"""

import json
import logging
import math
import mmap
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from longview.core.progress import CANCEL_POLL_S, NO_PROGRESS, Progress
from longview.core.timeline import Span
from longview.video.decoding.audio import BLOCK_SAMPLES, AudioBlock
from longview.video.decoding.backends import BackendName
from longview.video.decoding.backends.base import DecodedFrame, DecodeRequest
from longview.video.decoding.worker_messages import (
    cue_batch_from,
    error_from,
    limits_to_json,
    subtitles_from,
    video_from,
    video_to_json,
)
from longview.video.errors import DecoderDied, VideoError
from longview.video.probing.guard import Limits
from longview.video.probing.probe import VideoInfo
from longview.video.subtitles.parsers import SubtitleFile
from longview.video.subtitles.streams import CueBatch

log = logging.getLogger(__name__)
Item = TypeVar("Item")

MAX_PROBE_S = 60.0
"""Maximum time to probe a file, in seconds, in addition to `stall_s`; a large file without an index is read to its end."""
MAX_SIDE_FILE_S = 60.0
"""Maximum time to read a subtitle file or transcript, in seconds; the largest one takes about ten."""
BUFFER_BLOCKS = 4
"""Number of audio blocks that the process decodes ahead, each of 640 KB."""
SAMPLE_BYTES = 4
MAX_LINE_BYTES = 1 << 22
"""Maximum length of a response, in bytes; 2,048 timestamps take 40 KB."""
SIGNAL_CAUSES = {
    signal.SIGKILL: "was killed, perhaps for lack of memory",
    getattr(signal, "SIGXCPU", signal.SIGTERM): "exceeded its CPU time limit",
}
MALFORMED_ERRORS = (ValueError, TypeError, KeyError, IndexError)
MALFORMED_MESSAGE = "The decoding process returned a malformed response and was stopped."
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""Environment of the decoding process, which uses numpy only to copy pixels."""


class DecodingProcess:
    """One child process that probes and decodes, one request at a time.

    The process is not usable again (`is_usable`) after an error other than a typed one about the file, or after a request
    whose responses were not all read: the next request would get its remaining responses.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._memory_fd = _anonymous_file()
        self._process = subprocess.Popen(
            # `-P` excludes the current folder from the module search path.
            [sys.executable, "-P", "-m", "longview.video.decoding.worker", str(self._memory_fd)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if log.isEnabledFor(logging.DEBUG) else subprocess.DEVNULL,
            pass_fds=(self._memory_fd,),
            # In its own process group, its ffmpeg is killed together with it, and Ctrl-C only reaches the parent.
            start_new_session=True,
            env=os.environ | ONE_THREAD,
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._process.stdout, selectors.EVENT_READ)
        self._stdout_bytes = b""
        self._is_closed = False
        self._is_busy = False
        self.pid = self._process.pid

    @property
    def is_usable(self) -> bool:
        """Whether the process can take another request."""
        return not (self._is_closed or self._is_busy) and self._process.poll() is None

    def probe(self, path: Path, progress: Progress = NO_PROGRESS) -> VideoInfo:
        """Probe a file; the content hash of the result is "unread".

        Raises:
            VideoError: as `longview.video.probing.probe.probe`. DecoderDied: the process hung or crashed.
        """
        self._send({"do": "probe", "path": str(path), "limits": limits_to_json(self._limits)})
        return video_from(self._single_response(self._limits.stall_s + MAX_PROBE_S, progress)["video"])

    def key_times(self, video: VideoInfo, times_s: list[float], progress: Progress = NO_PROGRESS) -> list[float]:
        """See `longview.video.decoding.backends.pyav.key_times`."""
        self._send(self._message_about(video) | {"do": "key_times", "times_s": times_s})
        return [float(time_s) for time_s in self._single_response(self._deadline_s(video), progress)["key_times"]]

    def key_frames_around(self, video: VideoInfo, time_s: float) -> tuple[float, float] | None:
        """See `longview.video.decoding.backends.pyav.key_frames_around`."""
        self._send(self._message_about(video) | {"do": "key_frames_around", "time_s": time_s})
        key_frames_s = self._single_response(self._deadline_s(video), NO_PROGRESS)["key_frames_s"]
        return None if key_frames_s is None else (float(key_frames_s[0]), float(key_frames_s[1]))

    def subtitles(self, video: VideoInfo, stream_index: int, progress: Progress = NO_PROGRESS) -> Generator[CueBatch, None, None]:
        """See `longview.video.subtitles.streams.read_cues`.

        Raises:
            UnreadableSubtitles: the stream cannot be read. DecoderDied: the process hung or crashed.
        """
        self._send(self._message_about(video) | {"do": "subtitles", "stream_index": stream_index})
        yield from self._items(cue_batch_from, self._deadline_s(video), progress)

    def subtitle_file(self, path: Path, *, offset_s: float, progress: Progress = NO_PROGRESS) -> SubtitleFile:
        """See `longview.video.subtitles.parsers.read_subtitles`.

        Raises:
            UnreadableSubtitles: the file cannot be read. DecoderDied: the process hung or crashed.
        """
        parts = self._side_file({"do": "subtitle_file", "path": str(path), "offset_s": offset_s}, dict[str, Any], progress)
        return self._read(subtitles_from, parts)

    def transcript(self, path: Path, progress: Progress = NO_PROGRESS) -> str:
        """See `longview.video.subtitles.transcript.read_transcript`.

        Raises:
            UnreadableSubtitles: the file cannot be read. DecoderDied: the process hung or crashed.
        """
        return "".join(self._side_file({"do": "transcript", "path": str(path)}, lambda part: str(part["text"]), progress))

    def _side_file(self, message: dict[str, Any], read: Callable[[dict[str, Any]], Item], progress: Progress) -> list[Item]:
        self._send(message | {"memory_bytes": self._limits.memory_bytes})
        try:
            return list(self._items(read, MAX_SIDE_FILE_S, progress))
        except DecoderDied:
            raise
        except VideoError:
            # The file is read before the first response, so that no other one follows the error.
            self._is_busy = False
            raise

    def decode(
        self,
        video: VideoInfo,
        request: DecodeRequest,
        backend: BackendName,
        *,
        buffer_frames: int,
        progress: Progress = NO_PROGRESS,
    ) -> Generator[DecodedFrame, None, None]:
        """Yield the backend's frames, decoded ahead into shared memory for at most `buffer_frames` frames.

        Decoding starts with this call, not with the first iteration.

        Raises:
            UnreadableVideo: the backend cannot read the file. DecoderDied: the process hung or crashed.
        """
        frame_bytes = request.height * request.width * 3
        os.ftruncate(self._memory_fd, max(os.fstat(self._memory_fd).st_size, buffer_frames * frame_bytes))
        request_fields = {field.name: getattr(request, field.name) for field in fields(request)}
        request_fields["times_s"] = list(request.times_s)
        message = {"do": "decode", "backend": backend, "request": request_fields, "buffer_frames": buffer_frames}
        self._send(self._message_about(video) | message)
        shape = (request.height, request.width, 3)
        read = partial(self._frame, shape=shape)
        return self._from_memory(read, buffer_frames * math.prod(shape), self._deadline_s(video), progress)

    def audio(
        self,
        video: VideoInfo,
        stream_index: int,
        *,
        start_s: float = 0.0,
        end_s: float | None = None,
        progress: Progress = NO_PROGRESS,
    ) -> Generator[AudioBlock, None, None]:
        """Yield the blocks of `longview.video.decoding.audio.audio_blocks`; at most `BUFFER_BLOCKS` are decoded ahead.

        Decoding starts with this call, not with the first iteration.

        Raises:
            UnreadableVideo: no sound can be decoded. DecoderDied: the process hung or crashed.
        """
        memory_bytes = BUFFER_BLOCKS * BLOCK_SAMPLES * SAMPLE_BYTES
        os.ftruncate(self._memory_fd, max(os.fstat(self._memory_fd).st_size, memory_bytes))
        message = {"do": "audio", "stream_index": stream_index, "start_s": start_s, "end_s": end_s}
        self._send(self._message_about(video) | message | {"buffer_blocks": BUFFER_BLOCKS})
        return self._from_memory(self._audio_block, memory_bytes, self._deadline_s(video), progress)

    def _audio_block(self, response: dict[str, Any], memory: mmap.mmap) -> AudioBlock:
        begin, count = int(response["slot"]) * BLOCK_SAMPLES * SAMPLE_BYTES, int(response["samples"])
        samples = np.frombuffer(memory[begin : begin + count * SAMPLE_BYTES], np.float32, count)
        self._write(b"released\n")
        return AudioBlock(float(response["start_s"]), samples, tuple(Span(*span_s) for span_s in response["damaged_s"]))

    def _from_memory(
        self, read: Callable[[dict[str, Any], mmap.mmap], Item], memory_bytes: int, deadline_s: float, progress: Progress
    ) -> Generator[Item, None, None]:
        """Yield what `read` returns for each response and the shared memory."""
        with mmap.mmap(self._memory_fd, memory_bytes, prot=mmap.PROT_READ) as memory:
            yield from self._items(lambda response: read(response, memory), deadline_s, progress)

    def _items(
        self, read: Callable[[dict[str, Any]], Item], deadline_s: float, progress: Progress
    ) -> Generator[Item, None, None]:
        """Yield what `read` returns for each response, up to the end of the request.

        Raises:
            VideoError: as `_responses`. DecoderDied: also if `read` cannot read a response.
        """
        for response in self._responses(deadline_s, progress):
            if "end" in response:
                self._is_busy = False
                return
            yield self._read(read, response)

    def _read(self, read: Callable[[Any], Item], response: Any) -> Item:
        try:
            return read(response)
        except MALFORMED_ERRORS as error:
            self.close()
            raise DecoderDied(MALFORMED_MESSAGE) from error

    def _frame(self, response: dict[str, Any], memory: mmap.mmap, *, shape: tuple[int, int, int]) -> DecodedFrame:
        if response["time_s"] is None:
            end_s = response["end_of_stream_s"]
            return DecodedFrame(float(response["requested_s"]), None, None, None if end_s is None else float(end_s))
        frame_bytes = math.prod(shape)
        begin = int(response["slot"]) * frame_bytes
        # The pixels are copied because the memory is unmapped when the process ends, and its slots are reused.
        pixels = np.frombuffer(memory[begin : begin + frame_bytes], np.uint8).reshape(shape)
        self._write(b"released\n")
        return DecodedFrame(float(response["requested_s"]), float(response["time_s"]), pixels)

    def _message_about(self, video: VideoInfo) -> dict[str, Any]:
        cpu_s = self._limits.seconds_per_second * video.duration_s
        return {"video": video_to_json(video), "memory_bytes": self._limits.memory_bytes, "cpu_s": cpu_s}

    def _deadline_s(self, video: VideoInfo) -> float:
        """Return the maximum total time to wait for the process, in seconds; time between the waits does not count."""
        return 60 + self._limits.seconds_per_second * video.duration_s

    # -- messages -------------------------------------------------------------------------------------------------

    def _send(self, message: dict[str, Any]) -> None:
        assert not (self._is_closed or self._is_busy)
        if self._process.poll() is not None:
            # The process ended after the decoder had returned it from `acquire`.
            raise self._exit_error()
        self._is_busy = True
        self._write(json.dumps(message).encode() + b"\n")

    def _write(self, data: bytes) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(data)
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError) as error:
            raise self._exit_error() from error

    def _single_response(self, deadline_s: float, progress: Progress) -> dict[str, Any]:
        try:
            response = next(self._responses(deadline_s, progress))
        except DecoderDied:
            raise
        except VideoError:
            # The error is the only response here, in contrast to an error between frames.
            self._is_busy = False
            raise
        self._is_busy = False
        return response

    def _responses(self, deadline_s: float, progress: Progress) -> Iterator[dict[str, Any]]:
        """Yield responses as they arrive, without the heartbeats.

        Raises:
            VideoError: an error about the file that the process reports. DecoderDied: the process ended, hung or was too slow.
            Cancelled: the operation was cancelled.
        """
        remaining_s = deadline_s
        while True:
            start_s = time.monotonic()
            line = self._line(remaining_s, progress)
            remaining_s -= time.monotonic() - start_s
            try:
                response = json.loads(line)
                if "error" in response:
                    raise error_from(response)
                if "heartbeat" not in response:
                    yield response
            except MALFORMED_ERRORS as error:
                self.close()
                raise DecoderDied(MALFORMED_MESSAGE) from error

    def _line(self, remaining_s: float, progress: Progress) -> bytes:
        assert self._process.stdout is not None
        deadline = time.monotonic() + min(self._limits.stall_s, remaining_s)
        while b"\n" not in self._stdout_bytes:
            progress.raise_if_cancelled()
            if not self._selector.select(min(CANCEL_POLL_S, max(0.0, deadline - time.monotonic()))):
                if time.monotonic() < deadline:
                    continue
                self.close()
                if remaining_s < self._limits.stall_s:
                    raise DecoderDied("Decoding exceeded its time limit and was stopped.")
                raise DecoderDied(f"Decoding hung for {self._limits.stall_s:.0f} s and was stopped (setting decode_stall_s).")
            data = os.read(self._process.stdout.fileno(), 1 << 16)
            if not data or len(self._stdout_bytes) > MAX_LINE_BYTES:
                raise self._exit_error()
            self._stdout_bytes += data
        line, self._stdout_bytes = self._stdout_bytes.split(b"\n", 1)
        return line

    def _exit_error(self) -> DecoderDied:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=2)
        code = self._process.returncode
        self.close()
        cause = SIGNAL_CAUSES.get(-code) if code is not None and code < 0 else None
        return DecoderDied(f"The decoding process {cause or f'crashed (exit code {code})'}.")

    def close(self) -> None:
        """Kill the process and its children, and free its memory."""
        if self._is_closed:
            return
        self._is_closed = True
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        self._selector.close()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with suppress(BrokenPipeError):
                pipe.close()
        os.close(self._memory_fd)


def _anonymous_file() -> int:
    """Open shared memory without a name, which the system frees when both processes have ended. Return its descriptor."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("longview-frames", 0)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
