"""A decoding process, seen from outside: started, asked, watched, and killed when it hangs, dies or lies."""

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
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from longview.video import errors
from longview.video.backends import BackendName
from longview.video.backends.base import DecodedFrame, DecodeRequest
from longview.video.errors import DecoderDied, UnreadableVideo, VideoError
from longview.video.guard import Limits
from longview.video.probe import Chapter, StreamInfo, VideoInfo

log = logging.getLogger(__name__)

PROBE_S = 60.0
"""Seconds that probing may take: a large file without an index is read to its end."""
MAX_LINE_BYTES = 1 << 22
"""A longer answer is none: 2,048 times take 40 KB."""
SIGNAL_NAMES = {
    signal.SIGKILL: "was killed, perhaps for lack of memory",
    getattr(signal, "SIGXCPU", signal.SIGTERM): "took more CPU time than it may",
}
MALFORMED_ERRORS = (ValueError, TypeError, KeyError, IndexError)
MALFORMED_MESSAGE = "The decoding process gave an answer that makes no sense; it was stopped."
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""For numpy, which the decoding process only uses to hand pixels over."""


class DecodingProcess:
    """One child process that probes and decodes, one request at a time.

    After any error but a typed one about the file, and after a request that was not heard to its end, it cannot be used
    again (`is_usable`): what it would still say belongs to no one.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._memory_fd = _anonymous_file()
        self._process = subprocess.Popen(
            # `-P` keeps the user's current folder out of the search for modules.
            [sys.executable, "-P", "-m", "longview.video.worker", str(self._memory_fd)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if log.isEnabledFor(logging.DEBUG) else subprocess.DEVNULL,
            pass_fds=(self._memory_fd,),
            # Its own group, so that an ffmpeg that it started dies with it; and Ctrl-C is for us to handle.
            start_new_session=True,
            env=os.environ | ONE_THREAD,
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._process.stdout, selectors.EVENT_READ)
        self._unread = b""
        self._is_closed = False
        self._is_busy = False
        self.pid = self._process.pid

    @property
    def is_usable(self) -> bool:
        """Whether it can take another request."""
        return not (self._is_closed or self._is_busy) and self._process.poll() is None

    def probe(self, path: Path) -> VideoInfo:
        """What the file is, with the content hash "unread".

        Raises:
            VideoError: as `longview.video.probe.probe`. DecoderDied: the process hung or died.
        """
        self._send({"do": "probe", "path": str(path), "limits": _limits_to_json(self._limits)})
        return video_from(self._single_response(self._limits.stall_s + PROBE_S)["video"])

    def key_times(self, video: VideoInfo, times_s: list[float]) -> list[float]:
        """See `longview.video.backends.pyav.key_times`."""
        self._send(self._request_for(video) | {"do": "key_times", "times_s": times_s})
        return [float(time_s) for time_s in self._single_response(self._deadline_s(video))["key_times"]]

    def key_frames_around(self, video: VideoInfo, time_s: float) -> tuple[float, float] | None:
        """See `longview.video.backends.pyav.key_frames_around`."""
        self._send(self._request_for(video) | {"do": "key_frames_around", "time_s": time_s})
        found = self._single_response(self._deadline_s(video))["key_frames_s"]
        return None if found is None else (float(found[0]), float(found[1]))

    def decode(
        self, video: VideoInfo, wanted: DecodeRequest, backend: BackendName, *, buffer_frames: int
    ) -> Generator[DecodedFrame, None, None]:
        """The pictures as the reader gives them, decoded ahead into at most `slots` frames of shared memory.

        Decoding begins now, not when the first picture is asked for.

        Raises:
            UnreadableVideo: the reader cannot read the file. DecoderDied: the process hung or died.
        """
        frame_bytes = wanted.height * wanted.width * 3
        os.ftruncate(self._memory_fd, max(os.fstat(self._memory_fd).st_size, buffer_frames * frame_bytes))
        plain = {field.name: getattr(wanted, field.name) for field in fields(wanted)} | {"times_s": list(wanted.times_s)}
        self._send(self._request_for(video) | {"do": "read", "reader": backend, "wanted": plain, "slots": buffer_frames})
        return self._frames(buffer_frames, (wanted.height, wanted.width, 3), self._deadline_s(video))

    def _frames(self, buffer_frames: int, shape: tuple[int, int, int], deadline_s: float) -> Generator[DecodedFrame, None, None]:
        with mmap.mmap(self._memory_fd, buffer_frames * math.prod(shape), prot=mmap.PROT_READ) as memory:
            for answer in self._responses(deadline_s):
                if "end" in answer:
                    self._is_busy = False
                    return
                try:
                    picture = self._frame(answer, memory, shape)
                except MALFORMED_ERRORS as error:
                    self.close()
                    raise DecoderDied(MALFORMED_MESSAGE) from error
                yield picture

    def _frame(self, response: dict[str, Any], memory: mmap.mmap, shape: tuple[int, int, int]) -> DecodedFrame:
        if response["time_s"] is None:
            lost_from_s = response["lost_from_s"]
            return DecodedFrame(float(response["wanted_s"]), None, None, None if lost_from_s is None else float(lost_from_s))
        frame_bytes = math.prod(shape)
        begin = int(response["slot"]) * frame_bytes
        # A copy out of the slot, never a view of it: the memory is unmapped when the process dies, and its slots are reused.
        rgb = np.frombuffer(memory[begin : begin + frame_bytes], np.uint8).reshape(shape)
        self._write(b"taken\n")
        return DecodedFrame(float(response["wanted_s"]), float(response["time_s"]), rgb)

    def _request_for(self, video: VideoInfo) -> dict[str, Any]:
        plain = asdict(video) | {"path": str(video.path)}
        cpu_s = self._limits.seconds_per_second * video.duration_s
        return {"video": plain, "memory_bytes": self._limits.memory_bytes, "cpu_s": cpu_s}

    def _deadline_s(self, video: VideoInfo) -> float:
        """Seconds of waiting for the process that a video may cost in all; time spent elsewhere does not count."""
        return 60 + self._limits.seconds_per_second * video.duration_s

    # -- lines ----------------------------------------------------------------------------------------------------

    def _send(self, request: dict[str, Any]) -> None:
        assert not (self._is_closed or self._is_busy)
        if self._process.poll() is not None:
            # It died after it was lent, while nobody was looking.
            raise self._exit_error()
        self._is_busy = True
        self._write(json.dumps(request).encode() + b"\n")

    def _write(self, data: bytes) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(data)
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError) as error:
            raise self._exit_error() from error

    def _single_response(self, deadline_s: float) -> dict[str, Any]:
        try:
            answer = next(self._responses(deadline_s))
        except DecoderDied:
            raise
        except VideoError:
            # All was said. After an error in the middle of reading, words about pictures may still be under way.
            self._is_busy = False
            raise
        self._is_busy = False
        return answer

    def _responses(self, deadline_s: float) -> Iterator[dict[str, Any]]:
        """Answers as they come, without the signs of life.

        Raises:
            VideoError: what the process says is wrong with the file. DecoderDied: it is gone, silent or slow.
        """
        left_s = deadline_s
        while True:
            begun = time.monotonic()
            line = self._line(left_s)
            left_s -= time.monotonic() - begun
            try:
                answer = json.loads(line)
                if "error" in answer:
                    raise _remote_error(answer)
                if "alive" not in answer:
                    yield answer
            except MALFORMED_ERRORS as error:
                self.close()
                raise DecoderDied(MALFORMED_MESSAGE) from error

    def _line(self, remaining_s: float) -> bytes:
        assert self._process.stdout is not None
        until = time.monotonic() + min(self._limits.stall_s, remaining_s)
        while b"\n" not in self._unread:
            if not self._selector.select(max(0.0, until - time.monotonic())):
                self.close()
                if remaining_s < self._limits.stall_s:
                    raise DecoderDied("Decoding took longer than a video of that length may take and was stopped.")
                raise DecoderDied(f"Decoding hung for {self._limits.stall_s:.0f} seconds and was stopped.")
            data = os.read(self._process.stdout.fileno(), 1 << 16)
            if not data or len(self._unread) > MAX_LINE_BYTES:
                raise self._exit_error()
            self._unread += data
        line, self._unread = self._unread.split(b"\n", 1)
        return line

    def _exit_error(self) -> DecoderDied:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=2)
        code = self._process.returncode
        self.close()
        how = SIGNAL_NAMES.get(-code) if code is not None and code < 0 else None
        return DecoderDied(f"The decoding process {how or f'died (exit code {code})'}.")

    def close(self) -> None:
        """Kill the process and all it started, and give back its memory."""
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


def _remote_error(response: dict[str, Any]) -> VideoError:
    """The child's error, if it is one that a file can have."""
    kind = getattr(errors, str(response["error"]), UnreadableVideo)
    if not (isinstance(kind, type) and issubclass(kind, VideoError)):
        kind = UnreadableVideo
    return kind(str(response["message"]))


def video_from(plain: dict[str, Any]) -> VideoInfo:
    """What was made of a `VideoInfo` by `dataclasses.asdict` and JSON."""
    plain = plain | {
        "path": Path(plain["path"]),
        "audio_tracks": tuple(StreamInfo(**track) for track in plain["audio_tracks"]),
        "subtitle_tracks": tuple(StreamInfo(**track) for track in plain["subtitle_tracks"]),
        "chapters": tuple(Chapter(**chapter) for chapter in plain["chapters"]),
    }
    return VideoInfo(**plain)


def _limits_to_json(limits: Limits) -> dict[str, Any]:
    return asdict(limits) | {"folders": [str(folder) for folder in limits.folders]}


def _anonymous_file() -> int:
    """A file descriptor of memory that two processes can share and that no crash can leave behind."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("longview-frames", 0)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
