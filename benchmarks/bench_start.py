"""CPU time and memory of the commands that users call again and again, and of a server without a page.

    python -m benchmarks.bench_start [--times N] [--idle-s S]

Each command runs in a process of its own over a library of words, which is made here. Beside it, in the same run,
`python -c "import numpy"` shows how busy the machine is: a row is the fastest of N runs. CPU time is user and system time. Exit
code 1: a limit is exceeded.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from longview.core.timeline import Segment, Span, Word
from longview.indexing.records.track import Provenance, Track
from longview.indexing.records.video import VideoEntry
from longview.indexing.sqlite.library import Library

TEXT = Path(__file__).parent / "samples" / "words" / "lecture.txt"
VIDEO_ID = "0" * 12
SENTENCE_S = 8.0
"""Time of a sentence of the text, in seconds."""
START_LIMIT_S = 120.0
"""Maximum time until the server answers, in seconds."""
SETTLE_S = 20.0
"""Time between the first answer of the server and the measurement, in seconds."""
LIMITS_S = {
    ("list",): 0.6,
    ("export", VIDEO_ID, "--format", "srt", "--source", "speech"): 0.6,
    ("transcript", VIDEO_ID): 0.6,
    ("search", "shadow of a stick"): 1.3,
    ("ask", VIDEO_ID, "What are the oldest clocks?"): 1.3,
    ("chapters", VIDEO_ID): 1.3,
    ("--help",): None,
}
"""Commands, with the maximum CPU time of each, in seconds; None: there is none."""
MAX_IDLE_SHARE, MAX_IDLE_BYTES = 0.003, 600e6
"""Maximum share of a core and maximum memory of a server without a page, before the first question about frames."""


@dataclass(frozen=True)
class Cost:
    """What a process took, with those that it has waited for."""

    cpu_s: float
    peak_bytes: int


def make_library(folder: Path) -> None:
    """Make a library with one video, in which the sentences of `TEXT` are spoken. It has no file."""
    sentences = [
        line.removeprefix("> ") for line in TEXT.read_text(encoding="utf-8").splitlines() if line and line[0] not in "#?"
    ]
    duration_s = len(sentences) * SENTENCE_S
    library = Library(folder)
    facts = {"codec": "h264", "width": 640, "height": 360}
    library.put(VideoEntry(VIDEO_ID, VIDEO_ID.ljust(40, "0"), folder / "lecture.mp4", "lecture", duration_s, facts))
    provenance = Provenance("words", "1", {})
    span = Span(0.0, duration_s)
    library.tracks.begin(VIDEO_ID, Track("speech", "incomplete", span, 0.0, provenance))
    track = Track("speech", "complete", span, duration_s, provenance, language="en")
    library.tracks.append(
        VIDEO_ID, track, [_speech_segment(number * SENTENCE_S, text) for number, text in enumerate(sentences)], after_s=0
    )


def _speech_segment(start_s: float, text: str) -> Segment:
    words = text.split()
    step_s = (SENTENCE_S - 1.0) / len(words)
    times = [Span(start_s + number * step_s, start_s + (number + 1) * step_s) for number in range(len(words))]
    timed_words = tuple(Word(span, word, 0.9) for span, word in zip(times, words, strict=True))
    return Segment(Span(start_s, times[-1].end_s), text, "speech", "en", 0.9, timed_words)


def environment(library: Path) -> dict[str, str]:
    """Return the environment of a user who has set nothing, and whose Python keeps what it has compiled."""
    own = ("PYTHONDONTWRITEBYTECODE", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return {name: value for name, value in os.environ.items() if name not in own} | {"LONGVIEW_LIBRARY": str(library)}


def cost_of(words: Sequence[str], library: Path) -> Cost:
    """Run Python with these words; return what it took.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    with tempfile.TemporaryFile() as output_file:
        process = subprocess.Popen([sys.executable, *words], stdout=output_file, stderr=output_file, env=environment(library))
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output_file.seek(0)
            raise subprocess.CalledProcessError(process.returncode, list(words), output_file.read().decode(errors="replace"))
    unit_bytes = 1 if sys.platform == "darwin" else 1024
    return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit_bytes)


def measure_commands(library: Path, times: int) -> bool:
    """Print what each command takes; return whether all keep to their limits."""
    numpy = min((cost_of(["-c", "import numpy"], library) for _ in range(times)), key=lambda cost: cost.cpu_s)
    print(f"{'import numpy':12} {numpy.cpu_s:6.2f} s  {numpy.peak_bytes / 1e6:5.0f} MB")
    keeps = True
    for words, limit_s in LIMITS_S.items():
        arguments = ["-m", "longview.app", *words]
        # The first run compiles modules and embeds passages.
        cost_of(arguments, library)
        costs = [cost_of(arguments, library) for _ in range(times)]
        cpu_s = min(cost.cpu_s for cost in costs)
        peak_bytes = max(cost.peak_bytes for cost in costs)
        is_kept = limit_s is None or cpu_s <= limit_s
        keeps &= is_kept
        limit = "" if limit_s is None else f"  at most {limit_s} s{'' if is_kept else ': EXCEEDED'}"
        print(
            f"{words[0]:12} {cpu_s:6.2f} s  {peak_bytes / 1e6:5.0f} MB  {cpu_s / numpy.cpu_s:5.1f} times numpy{limit}", flush=True
        )
    return keeps


def measure_server(library: Path, idle_s: float) -> bool:
    """Print what a server takes without a page; return whether it keeps to its limits."""
    start_s = time.monotonic()
    process = psutil.Popen(
        [sys.executable, "-m", "longview.app", "serve"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment(library),
    )
    try:
        url = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
        assert url, "the server did not start"
        while time.monotonic() < start_s + START_LIMIT_S:
            with suppress(OSError), urllib.request.urlopen(url[0], timeout=10) as reply:
                reply.read()
                break
            time.sleep(0.05)
        print(f"server       answers after {time.monotonic() - start_s:.1f} s")
        time.sleep(SETTLE_S)
        before = process.cpu_times()
        time.sleep(idle_s)
        after = process.cpu_times()
        share = (after.user + after.system - before.user - before.system) / idle_s
        memory = process.memory_info().rss
    finally:
        process.terminate()
        process.wait(20)
    keeps = share <= MAX_IDLE_SHARE and memory <= MAX_IDLE_BYTES
    print(
        f"idle server  {share:.2%} of a core over {idle_s:.0f} s, {memory / 1e6:.0f} MB; "
        f"at most {MAX_IDLE_SHARE:.1%} and {MAX_IDLE_BYTES / 1e6:.0f} MB{'' if keeps else ': EXCEEDED'}"
    )
    return keeps


def main() -> None:
    """Measure, and print the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=5, help="runs of each command")
    parser.add_argument("--idle-s", type=float, default=60.0, help="time over which the server is measured, in seconds")
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.2f} before")
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "library"
        make_library(library)
        keeps = measure_commands(library, options.times)
        keeps &= measure_server(library, options.idle_s)
    print(f"load average {os.getloadavg()[0]:.2f} after")
    sys.exit(0 if keeps else 1)


if __name__ == "__main__":
    main()
