"""Index 30 hostile files with a server, one after another, and measure how long the page takes to answer meanwhile.

    python -m benchmarks.robustness.check_hostile_files

A fault is an answer of `/` after more than `MAX_ANSWER_S` seconds, a server that ends, or a job that does not end.
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from longview.indexing.sqlite.library import Library
from longview.video.ffmpeg import ffmpeg_path
from longview.video.synthetic import render, sample_events
from tests.support.page_servers import running_server

MAX_ANSWER_S = 1.0
"""Maximum time in which the page is to answer while a file is indexed, in seconds."""
PAUSE_S = 0.1
MAX_JOB_S = 300.0
"""Maximum time of a job, in seconds."""
CUE = b"1\n00:00:01,000 --> 00:00:02,000\n%s\n\n"
MB = 1 << 20
ORDINARY = "an ordinary file"
"""Name of the file with which the server loads what it needs, and to which the others are compared."""
SIDECARS: dict[str, tuple[str, bytes]] = {
    "carriage returns": ("srt", CUE % b"hi" + b"\r" * 300_000),
    "a cue of digits": ("srt", CUE % (b"The password is " + b"1" * 6000)),
    "a million digits": ("srt", CUE % (b"1" * MB)),
    "a million spaces": ("srt", CUE % (b" " * MB)),
    "a cue of quotes": ("srt", CUE % (b'"' * MB)),
    "a cue of brackets": ("srt", CUE % (b"<" * MB)),
    "tags without an end": ("srt", CUE % (b"<c." + b"a" * MB)),
    "entities": ("srt", CUE % (b"&#" * (MB // 2))),
    "20 MB of cues": ("srt", b"00:00 --> 00:01\na\n" * (20 * MB // 18)),
    "199,000 cues": ("srt", b"00:00 --> 00:01\na\n\n" * 199_000),
    "overlapping cues": ("srt", b"".join(b"00:00:00,000 --> 99:59:59,000\nx%d\n\n" % i for i in range(50_000))),
    "a timing line of spaces": ("srt", b"00:00:01" + b" " * MB + b"--> 00:00:02\nx\n"),
    "times within a line": ("vtt", b"WEBVTT\n\n00:01.000 --> 00:02.000\n" + b"<1:" * (MB // 3) + b"\n"),
    "formats of ASS": ("ass", b"[Script Info]\n[Events]\n" + (b"Format: " + b"a," * 1000 + b"start,end,text\n") * 500),
    "overrides of ASS": (
        "ass",
        b"[Script Info]\n[Events]\nDialogue: 0,0:00:01.00,0:00:02.00,,,,,,," + b"{\\" * (MB // 2) + b"\n",
    ),
    "combining characters": ("srt", CUE % ("a" + "\u0301" * (MB // 2)).encode()),
    "zeros": ("srt", CUE % b"a\0b" + b"\0" * MB),
    "bytes of no encoding": ("srt", CUE % b"hi" + b"\xe9\xff" * MB),
}
"""Subtitle files beside a video, by what is hostile about them: suffix and content."""


def files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Write the files one after another, and yield what is hostile about each. The first one is an ordinary one."""
    path = render(folder / "video.mp4", sample_events(10.0, 1, seed=5), 10.0, fps=10.0, seed=5)
    video = path.read_bytes()
    yield ORDINARY, path
    for number, (name, (suffix, content)) in enumerate(SIDECARS.items()):
        path = folder / f"text{number}.mp4"
        path.write_bytes(video + b"%d" % number)
        path.with_suffix(f".{suffix}").write_bytes(content)
        yield name, path
    files_by_kind: dict[str, list[str]] = {
        "2x4000 pixels": ["-f", "lavfi", "-i", "color=s=2x4000:r=10:d=2", "-c:v", "ffv1"],
        "8000x2 pixels": ["-f", "lavfi", "-i", "color=s=8000x2:r=10:d=2", "-c:v", "ffv1"],
        "16000x4000 pixels": ["-f", "lavfi", "-i", "color=s=16000x4000:r=1:d=1", "-c:v", "ffv1"],
        "noise": ["-f", "lavfi", "-i", "nullsrc=s=640x360:r=25:d=5,geq=random(1)*255:128:128", "-c:v", "ffv1"],
        "1000 frames per second": ["-f", "lavfi", "-i", "testsrc=s=320x240:r=1000:d=5", "-c:v", "ffv1"],
        "16 channels": ["-f", "lavfi", "-i", "anoisesrc=d=20:r=48000", "-ac", "16", "-c:a", "pcm_s16le"],
        "an hour of silence": ["-f", "lavfi", "-i", "anullsrc=r=8000:cl=mono:d=3600", "-c:a", "flac"],
    }
    for name, arguments in files_by_kind.items():
        path = folder / f"{name.replace(' ', '-')}.mkv"
        subprocess.run([ffmpeg_path(), "-v", "error", "-y", *arguments, str(path)], check=True)
        yield name, path
    rng = random.Random(11)
    changes: dict[str, Callable[[bytearray], bytes]] = {
        "noise over the pictures": lambda content: bytes(content[:2000] + rng.randbytes(len(content) - 4000) + content[-2000:]),
        "100 changed bytes": lambda content: _changed(content, rng, 100),
        "1000 changed bytes": lambda content: _changed(content, rng, 1000),
        "half of a file": lambda content: bytes(content[: len(content) // 2]),
        "a file of zeros": lambda content: bytes(len(content)),
    }
    for number, (name, change) in enumerate(changes.items()):
        path = folder / f"changed{number}.mp4"
        path.write_bytes(change(bytearray(video)))
        yield name, path


def _changed(content: bytearray, rng: random.Random, count: int) -> bytes:
    for _ in range(count):
        content[rng.randrange(len(content))] = rng.randrange(256)
    return bytes(content)


def main() -> int:
    """Index the files; return 1 if there is a fault."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    faults, times_s = 0, []
    with tempfile.TemporaryDirectory(prefix="longview-hostile-") as name:
        library = Library(Path(name, "library"))
        with running_server(library.folder) as server:
            for description, path in files(Path(name)):
                job = json.dumps({"data": [str(path), False]}).encode()
                server.post("/gradio_api/call/index", job, **{"Content-Type": "application/json", "Origin": server.url})
                outcome, slowest_s, job_s = _watch(library, path, server.url)
                if description == ORDINARY:
                    # Libraries that are imported in another thread hold up the page, whatever the file is.
                    print(f"{description}: {outcome} after {job_s:.1f} s; slowest answer {slowest_s:.2f} s", flush=True)
                    continue
                is_fault = slowest_s > MAX_ANSWER_S or outcome in ("not ended", "not added")
                faults += is_fault
                times_s.append(slowest_s)
                fault = "FAULT " if is_fault else ""
                print(f"{fault}{description}: {outcome} after {job_s:.1f} s; slowest answer {slowest_s:.2f} s", flush=True)
    slowest = f"median {statistics.median(times_s):.2f}, at most {max(times_s):.2f} s"
    print(f"{len(times_s)} files, {faults} faults; slowest answers: {slowest}")
    return bool(faults)


def _watch(library: Library, path: Path, url: str) -> tuple[str, float, float]:
    """Ask for the page until the job of a file has ended; return how it ended, the slowest answer and the time in seconds."""
    start_s, slowest_s, outcome = time.monotonic(), 0.0, "not added"
    while time.monotonic() - start_s < MAX_JOB_S:
        request_s = time.monotonic()
        try:
            with urllib.request.urlopen(url, timeout=60) as response:
                response.read()
        except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
            return f"no answer ({error})", 60.0, time.monotonic() - start_s
        slowest_s = max(slowest_s, time.monotonic() - request_s)
        job = next((job for job in library.queue.jobs() if job.path == path), None)
        if job is not None and not job.is_unfinished:
            return job.status, slowest_s, time.monotonic() - start_s
        outcome = outcome if job is None else "not ended"
        if job is None and time.monotonic() - start_s > 10:
            break
        time.sleep(PAUSE_S)
    return outcome, slowest_s, time.monotonic() - start_s


if __name__ == "__main__":
    sys.exit(main())
