"""The decoding process: `python -m longview.video.decoding.worker FD`, started and monitored by
`longview.video.decoding.worker_client`.

The process reads one JSON request per line from stdin, and writes responses as lines of JSON to stdout. Pixels and samples are
written to the shared memory behind the file descriptor FD. A file that hangs or crashes FFmpeg only affects this process.
"""

import json
import logging
import mmap
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from longview.video.decoding.audio import BLOCK_SAMPLES, audio_blocks
from longview.video.decoding.backends import load_backend
from longview.video.decoding.backends.base import DecodeRequest
from longview.video.decoding.backends.pyav import key_frames_around, key_times
from longview.video.decoding.worker_messages import PART_CHARACTERS, limits_from, subtitles_to_json, video_from, video_to_json
from longview.video.errors import UnreadableVideo, VideoError
from longview.video.probing.probe import VideoInfo, probe
from longview.video.subtitles.parsers import read_subtitles
from longview.video.subtitles.streams import read_cues
from longview.video.subtitles.transcript import read_transcript

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

CPU_GRACE_S = 60
"""CPU time that every file may take regardless of its duration, in seconds."""


def main(memory_fd: int) -> None:
    """Answer requests until stdin ends."""
    # Other output goes to stderr, so that a library that prints cannot corrupt the responses.
    response_pipe = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)

    def send(response: dict[str, Any]) -> None:
        response_pipe.write(json.dumps(response).encode() + b"\n")

    for line in sys.stdin.buffer:
        message = json.loads(line)
        try:
            for response in _responses(message, memory_fd, lambda: send({"heartbeat": True})):
                send(response)
        except VideoError as error:
            send({"error": type(error).__name__, "message": str(error)})
        except MemoryError:
            text = "Decoding needs more memory than the setting decode_memory_bytes allows."
            send({"error": UnreadableVideo.__name__, "message": text})


def _responses(message: dict[str, Any], memory_fd: int, heartbeat: Callable[[], None]) -> Iterator[dict[str, Any]]:
    if message["do"] == "probe":
        limits = limits_from(message["limits"])
        _limit_resources(limits.memory_bytes, CPU_GRACE_S)
        yield {"video": video_to_json(probe(message["path"], known_hash="unread", limits=limits, heartbeat=heartbeat))}
        return
    if message["do"] in ("subtitle_file", "transcript"):
        _limit_resources(message["memory_bytes"], CPU_GRACE_S)
        yield from _side_file(message, heartbeat)
        return
    video = video_from(message["video"])
    _limit_resources(message["memory_bytes"], CPU_GRACE_S + message["cpu_s"])
    if message["do"] == "key_times":
        yield {"key_times": key_times(video, message["times_s"])}
        return
    if message["do"] == "key_frames_around":
        yield {"key_frames_s": key_frames_around(video, message["time_s"])}
        return
    if message["do"] == "subtitles":
        yield from (asdict(batch) for batch in read_cues(video, message["stream_index"]))
        yield {"end": True}
        return
    if message["do"] == "audio":
        yield from _audio(video, message, memory_fd)
        return
    request = DecodeRequest(**message["request"])
    slots = _Slots(memory_fd, message["buffer_frames"], request.height * request.width * 3)
    for frame in load_backend(message["backend"])(video, request):
        if frame is None:
            yield {"heartbeat": True}
        elif frame.pixels is None:
            yield {"requested_s": frame.requested_s, "time_s": None, "end_of_stream_s": frame.end_of_stream_s}
        else:
            yield {"requested_s": frame.requested_s, "time_s": frame.time_s, "slot": slots.write(frame.pixels)}
    yield {"end": True}
    slots.close()


def _side_file(message: dict[str, Any], heartbeat: Callable[[], None]) -> Iterator[dict[str, Any]]:
    path = Path(message["path"])
    if message["do"] == "transcript":
        text = read_transcript(path)
        yield from ({"text": text[begin : begin + PART_CHARACTERS]} for begin in range(0, len(text), PART_CHARACTERS))
    else:
        yield from subtitles_to_json(read_subtitles(path, offset_s=message["offset_s"], heartbeat=heartbeat))
    yield {"end": True}


def _audio(video: VideoInfo, message: dict[str, Any], memory_fd: int) -> Iterator[dict[str, Any]]:
    slots = _Slots(memory_fd, message["buffer_blocks"], BLOCK_SAMPLES * np.dtype(np.float32).itemsize)
    for block in audio_blocks(video, message["stream_index"], start_s=message["start_s"], end_s=message["end_s"]):
        if block is None:
            yield {"heartbeat": True}
        else:
            damaged_s = [(span.start_s, span.end_s) for span in block.damaged]
            slot = slots.write(block.samples)
            yield {"start_s": block.start_s, "samples": len(block.samples), "damaged_s": damaged_s, "slot": slot}
    yield {"end": True}
    slots.close()


class _Slots:
    """Shared memory for the arrays of one request. The parent writes a line whenever it has copied an array out of its slot."""

    def __init__(self, memory_fd: int, slots: int, slot_bytes: int) -> None:
        self._slots, self._slot_bytes, self._written_arrays = slots, slot_bytes, 0
        self._memory = mmap.mmap(memory_fd, slots * slot_bytes)

    def write(self, array: NDArray[Any]) -> int:
        """Write an array of at most `slot_bytes` bytes to the next free slot; return the number of the slot."""
        if self._written_arrays >= self._slots:
            sys.stdin.buffer.readline()
        slot = self._written_arrays % self._slots
        begin = slot * self._slot_bytes
        self._memory[begin : begin + array.nbytes] = np.ascontiguousarray(array).tobytes()
        self._written_arrays += 1
        return slot

    def close(self) -> None:
        """Free the memory, and read the lines that the parent still writes."""
        self._memory.close()
        for _ in range(min(self._written_arrays, self._slots)):
            sys.stdin.buffer.readline()


def _limit_resources(memory_bytes: int, cpu_s: float) -> None:
    """Limit this process's address space, and the CPU time that it may use from now on."""
    if resource is None:
        return
    usage = resource.getrusage(resource.RUSAGE_SELF)
    max_cpu_s = int(usage.ru_utime + usage.ru_stime + cpu_s) + 1
    for kind, limit in ((resource.RLIMIT_AS, memory_bytes), (resource.RLIMIT_CPU, max_cpu_s), (resource.RLIMIT_CORE, 0)):
        hard_limit = resource.getrlimit(kind)[1]
        resource.setrlimit(kind, (limit if hard_limit == resource.RLIM_INFINITY else min(limit, hard_limit), hard_limit))


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR, stream=sys.stderr)
    main(int(sys.argv[1]))
