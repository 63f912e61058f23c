"""The decoding process: `python -m video.child FD`, started and watched by `longview.video.worker_process`.

Reads one request a line from stdin and answers in lines of JSON on stdout; pixels go into the shared memory behind the
file descriptor FD. Everything that a file can do to FFmpeg, it does to this process.
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

from longview.video.backends import load_backend
from longview.video.backends.base import DecodeRequest
from longview.video.backends.pyav import key_frames_around, key_times
from longview.video.errors import UnreadableVideo, VideoError
from longview.video.guard import Limits
from longview.video.probe import probe
from longview.video.worker_process import video_from

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

CPU_GRACE_S = 60
"""CPU seconds that every file may take, however short it is."""


def main(memory_fd: int) -> None:
    """Answer requests until stdin ends."""
    # Python's own output goes elsewhere, so that a library that prints cannot disturb the answers.
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)

    def say(answer: dict[str, Any]) -> None:
        answers.write(json.dumps(answer).encode() + b"\n")

    for line in sys.stdin.buffer:
        request = json.loads(line)
        try:
            for answer in _responses(request, memory_fd, lambda: say({"alive": True})):
                say(answer)
        except VideoError as error:
            say({"error": type(error).__name__, "message": str(error)})
        except MemoryError:
            message = "Decoding it takes more memory than the setting decode_memory_bytes allows."
            say({"error": UnreadableVideo.__name__, "message": message})


def _responses(request: dict[str, Any], memory_fd: int, heartbeat: Callable[[], None]) -> Iterator[dict[str, Any]]:
    if request["do"] == "probe":
        limits = _limits_from(request["limits"])
        _limit_resources(limits.memory_bytes, CPU_GRACE_S)
        yield {"video": _to_json(asdict(probe(request["path"], known_hash="unread", limits=limits, heartbeat=heartbeat)))}
        return
    video = video_from(request["video"])
    _limit_resources(request["memory_bytes"], CPU_GRACE_S + request["cpu_s"])
    if request["do"] == "key_times":
        yield {"key_times": key_times(video, request["times_s"])}
        return
    if request["do"] == "key_frames_around":
        yield {"key_frames_s": key_frames_around(video, request["time_s"])}
        return
    wanted = DecodeRequest(**request["wanted"])
    slots, frame_bytes = request["slots"], wanted.height * wanted.width * 3
    with mmap.mmap(memory_fd, slots * frame_bytes) as memory:
        taken = 0
        for picture in load_backend(request["reader"])(video, wanted):
            if picture is None:
                yield {"alive": True}
            elif picture.pixels is None:
                yield {"wanted_s": picture.requested_s, "time_s": None, "lost_from_s": picture.end_of_stream_s}
            else:
                if taken >= slots:
                    # The parent says when it has taken a frame out of its slot.
                    sys.stdin.buffer.readline()
                slot = taken % slots
                memory[slot * frame_bytes : (slot + 1) * frame_bytes] = np.ascontiguousarray(picture.pixels).data.cast("B")
                taken += 1
                yield {"wanted_s": picture.requested_s, "time_s": picture.time_s, "slot": slot}
        yield {"end": True}
        for _ in range(min(taken, slots)):
            sys.stdin.buffer.readline()


def _limit_resources(memory_bytes: int, cpu_s: float) -> None:
    """Bound this process's address space, and the CPU seconds that it may take from now on."""
    if resource is None:
        return
    usage = resource.getrusage(resource.RUSAGE_SELF)
    cpu_limit = int(usage.ru_utime + usage.ru_stime + cpu_s) + 1
    for kind, wished in ((resource.RLIMIT_AS, memory_bytes), (resource.RLIMIT_CPU, cpu_limit), (resource.RLIMIT_CORE, 0)):
        hard = resource.getrlimit(kind)[1]
        resource.setrlimit(kind, (wished if hard == resource.RLIM_INFINITY else min(wished, hard), hard))


def _to_json(value: Any) -> Any:
    """Paths as text, for JSON."""
    if isinstance(value, dict):
        return {name: _to_json(item) for name, item in value.items()}
    return str(value) if isinstance(value, Path) else value


def _limits_from(plain: dict[str, Any]) -> Limits:
    return Limits(**plain | {"folders": tuple(map(Path, plain["folders"]))})


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR, stream=sys.stderr)
    main(int(sys.argv[1]))
