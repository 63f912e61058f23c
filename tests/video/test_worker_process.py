"""No file can hang or crash the application: whatever befalls the decoding process, its video or the next one is read.

The processes here are real and really break: Python starts them with a `sitecustomize` that replaces one reader by one
that spins, aborts, or takes too much.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest

from longview.video.backends.base import DecodeRequest
from longview.video.decoder import Decoder
from longview.video.errors import DecoderDied, TooLarge, UnreadableVideo, VideoError
from longview.video.guard import Limits
from longview.video.probe import VideoInfo, probe
from tests.barcodes import HEIGHT, WIDTH, encode, number_read, run_ffmpeg

BREAKING = """
import ctypes, importlib, os, re, signal, stat, time
how, readers = os.environ["BREAK_HOW"], os.environ["BREAK_READERS"].split(",")

def broken(video, wanted):
    if how == "spins holding the GIL":
        re.match(r"(a|a)+$", "a" * 60 + "b")
    elif how == "sleeps":
        time.sleep(600)
    elif how == "aborts":
        os.abort()
    elif how == "reads memory that is not its own":
        ctypes.string_at(0)
    elif how == "is killed for memory":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "takes all memory":
        hoard = [bytearray(1 << 28) for _ in range(64)]
    elif how == "takes all CPU time":
        import resource
        resource.setrlimit(resource.RLIMIT_CPU, (1, 2))
        while True:
            pass
    elif how == "prints nonsense":
        for fd in range(3, 32):
            try:
                if stat.S_ISFIFO(os.fstat(fd).st_mode):
                    os.write(fd, b"nonsense\\n")
            except OSError:
                pass
    elif how == "fails after two pictures":
        import numpy
        from longview.video.backends.base import Picture
        for wanted_s in wanted.times_s[:2]:
            yield Picture(wanted_s, wanted_s, numpy.zeros((wanted.height, wanted.width, 3), numpy.uint8))
        raise MemoryError
    elif how == "raises":
        raise RuntimeError("a mistake in the reader")
    yield None

for name in readers:
    importlib.import_module(f"longview.video.backends.{name}").read = broken
"""
WAYS = (
    "spins holding the GIL",
    "sleeps",
    "aborts",
    "reads memory that is not its own",
    "is killed for memory",
    "takes all memory",
    "takes all CPU time",
    "raises",
)
LIMITS = Limits(stall_s=3.0, memory_bytes=2 << 30)
WANTED_S = [0.02, 5.02, 11.02, 20.02]
NUMBERS = [0, 125, 275, 500]


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> VideoInfo:
    return probe(encode(tmp_path_factory.mktemp("film") / "film.mp4", "-c:v", "libx264", "-preset", "veryfast", "-g", "100"))


@pytest.fixture
def breaking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Lets the readers of the processes that are started from now on break in a way; None: no longer."""
    (tmp_path / "sitecustomize.py").write_text(BREAKING)

    def set_up(how: str | None, readers: str = "pyav") -> None:
        if how is None:
            monkeypatch.delenv("PYTHONPATH")
            return
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.setenv("BREAK_HOW", how)
        monkeypatch.setenv("BREAK_READERS", readers)

    return set_up


@pytest.fixture
def no_one_left_behind() -> Iterator[None]:
    """Fails if a process outlives its decoder."""
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    yield
    gone = time.monotonic() + 5
    while (left := children_besides(before)) and time.monotonic() < gone:
        time.sleep(0.05)
    assert left == []


def children_besides(known: set[int]) -> list[str]:
    return [f"{child.pid} {child.status()}" for child in psutil.Process().children(recursive=True) if child.pid not in known]


def numbers(decoder: Decoder, video: VideoInfo) -> list[int]:
    return [number_read(frame) for chunk in decoder.frames_played_at(video, WANTED_S, HEIGHT, WIDTH) for frame in chunk.frames]


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.usefixtures("no_one_left_behind")
def test_what_one_reader_dies_of_the_other_reads(
    film: VideoInfo, breaking: Any, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "longview.video.decoder")
    breaking(how)
    decoder = Decoder(LIMITS, processes=1)
    assert numbers(decoder, film) == NUMBERS
    # The first reader was tried, once, and its end is told.
    assert [record.message for record in caplog.records if "reader pyav" in record.message][1:] == []
    assert "reader pyav" in caplog.text
    decoder.close()
    breaking(None)
    caplog.clear()
    assert numbers(decoder, film) == NUMBERS
    assert "reader pyav" not in caplog.text
    decoder.close()


@pytest.mark.parametrize("how", ["spins holding the GIL", "aborts", "takes all memory"])
@pytest.mark.usefixtures("no_one_left_behind")
def test_what_both_readers_die_of_is_an_error_and_the_next_video_is_read(film: VideoInfo, breaking: Any, how: str) -> None:
    breaking(how, "pyav,ffmpeg")
    decoder = Decoder(LIMITS, processes=1)
    begun = time.monotonic()
    with pytest.raises(UnreadableVideo, match=film.path.name):
        numbers(decoder, film)
    # Each reader was tried once, and each had one stall to say something.
    assert time.monotonic() - begun < 2 * LIMITS.stall_s + 10
    breaking(None)
    assert numbers(decoder, film) == NUMBERS
    decoder.close()


@pytest.mark.usefixtures("no_one_left_behind")
def test_a_process_that_dies_in_the_middle_costs_nothing_that_the_fall_back_can_read(film: VideoInfo) -> None:
    decoder = Decoder(LIMITS, processes=1)
    wanted_s = [index / 25 for index in range(600)]
    others = psutil.Process().children()
    found: list[int] = []
    for count, chunk in enumerate(decoder.frames_played_at(film, wanted_s, HEIGHT, WIDTH, chunk_frames=16)):
        found += [number_read(frame) for frame in chunk.frames]
        if count == 3:
            (child,) = (process for process in psutil.Process().children() if process not in others)
            child.kill()
    assert found == list(range(600))
    decoder.close()


@pytest.mark.usefixtures("no_one_left_behind")
def test_whoever_stops_reading_in_the_middle_leaves_nothing_running(film: VideoInfo) -> None:
    decoder = Decoder(LIMITS, processes=2)
    with closing(decoder.frames_played_at(film, [index / 25 for index in range(600)], HEIGHT, WIDTH, chunk_frames=16)) as chunks:
        next(chunks)
    assert numbers(decoder, film) == NUMBERS
    decoder.close()


@pytest.mark.usefixtures("no_one_left_behind")
def test_an_answer_that_makes_no_sense_is_an_error(film: VideoInfo, breaking: Any) -> None:
    breaking("prints nonsense", "pyav,ffmpeg")
    decoder = Decoder(LIMITS, processes=1)
    with pytest.raises(UnreadableVideo):
        numbers(decoder, film)
    breaking(None)
    assert numbers(decoder, film) == NUMBERS
    decoder.close()


@pytest.mark.usefixtures("no_one_left_behind")
def test_reading_ahead_waits_for_whoever_takes_the_frames(film: VideoInfo) -> None:
    """The first frames are there while the rest is not even begun: what is decoded ahead is bounded."""
    decoder = Decoder(Limits(stall_s=1.0), processes=1)
    process = decoder.acquire()
    wanted = DecodeRequest([index / 25 for index in range(600)], HEIGHT, WIDTH)
    pictures = process.decode(film, wanted, "pyav", buffer_frames=8)
    first = next(pictures)
    child = psutil.Process(process.pid)
    idle_s = child.cpu_times().user
    for _ in range(100):
        time.sleep(0.1)
        if (now_s := child.cpu_times().user) == idle_s:
            break
        idle_s = now_s
    # It stands still with everything ahead of it; for longer than a silent process may, because here we are the slow ones.
    time.sleep(1.5)
    assert child.cpu_times().user == idle_s
    assert first.pixels is not None
    rest = [picture.pixels for picture in pictures]
    assert [number_read(rgb) for rgb in [first.pixels, *rest] if rgb is not None] == list(range(600))
    decoder.release(process)
    decoder.close()


MEASURED = """
import resource, sys
from pathlib import Path
from longview.video.decoder import Decoder
decoder = Decoder(processes=2)
video = decoder.probe(Path(sys.argv[1]))
count = int(sys.argv[2])
read = sum(len(chunk) for chunk in decoder.read(video, [index * video.duration_s / count for index in range(count)], 480, 800))
decoder.close()
parent, child = (resource.getrusage(who).ru_maxrss * 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
print(read, parent, child)
"""


def test_memory_does_not_grow_with_the_number_of_frames(film: VideoInfo) -> None:
    def measured(count: int) -> list[int]:
        command = [sys.executable, "-c", MEASURED, str(film.path), str(count)]
        said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
        return [int(word) for word in said.stdout.split()]

    (few, parent_few, child_few), (many, parent_many, child_many) = measured(130), measured(600)
    assert (few, many) == (130, 600)
    frame_bytes = 480 * 800 * 3
    # Two chunks of 64 frames may be alive at once, and are in both; 470 more frames would be 540 MB.
    assert parent_many - parent_few < 64 * frame_bytes
    assert child_many - child_few < 64 * frame_bytes


@pytest.mark.usefixtures("no_one_left_behind")
def test_a_file_that_needs_more_memory_than_it_may_have_is_refused(tmp_path: Path) -> None:
    huge = tmp_path / "huge.mkv"
    picture = ("-f", "lavfi", "-i", "color=s=8192x8192:r=1:d=1", "-pix_fmt", "gbrp10le")
    run_ffmpeg(*picture, "-c:v", "ffv1", "-coder", "1", "-threads", "1", str(huge))
    decoder = Decoder(Limits(memory_bytes=1 << 29, stall_s=20), processes=1)
    with pytest.raises(VideoError, match=r"huge\.mkv"):
        decoder.probe(huge)
    decoder.close()
    small = Decoder(Limits(pixels=4096 * 4096), processes=1)
    with pytest.raises(TooLarge, match="max_pixels"):
        small.probe(huge)
    small.close()


@pytest.mark.usefixtures("no_one_left_behind")
def test_the_program_that_ends_takes_its_processes_along(film: VideoInfo) -> None:
    script = (
        "import os, sys; from pathlib import Path; from longview.video.decoder import Decoder; from longview.video.probe import probe\n"
        "decoder = Decoder(processes=1); video = probe(Path(sys.argv[1]))\n"
        "chunks = decoder.read(video, [i / 25 for i in range(600)], 96, 160, chunk_frames=4); next(chunks)\n"
        "import psutil; print(psutil.Process().children()[0].pid, flush=True); os._exit(1)"
    )
    command = [sys.executable, "-c", script, str(film.path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    pid = int(done.stdout.split()[-1])
    gone = time.monotonic() + 10
    while psutil.pid_exists(pid) and time.monotonic() < gone:
        time.sleep(0.05)
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@pytest.mark.usefixtures("no_one_left_behind")
def test_a_process_that_died_while_idle_is_not_lent(film: VideoInfo) -> None:
    decoder = Decoder(LIMITS, processes=1)
    for ask in (lambda: decoder.probe(film.path).codec == "h264", lambda: numbers(decoder, film) == NUMBERS):
        process = decoder.acquire()
        decoder.release(process)
        os.kill(process.pid, 9)
        while process.is_usable:
            time.sleep(0.01)
        assert ask()
    decoder.close()


@pytest.mark.usefixtures("no_one_left_behind")
def test_an_error_in_the_middle_of_a_file_does_not_reach_the_next_one(film: VideoInfo, breaking: Any) -> None:
    breaking("fails after two pictures", "pyav,ffmpeg")
    decoder = Decoder(LIMITS, processes=1)
    found = [number_read(frame) for chunk in decoder.frames_played_at(film, WANTED_S, HEIGHT, WIDTH) for frame in chunk.frames]
    # Two by each reader.
    assert len(found) == 4
    assert decoder.probe(film.path).codec == "h264"
    decoder.close()


@pytest.mark.parametrize("is_seen_to_be_dead", [True, False])
def test_a_dead_process_is_not_lent_again(film: VideoInfo, is_seen_to_be_dead: bool) -> None:
    decoder = Decoder(LIMITS, processes=1)
    process = decoder.acquire()
    os.kill(process.pid, 9)
    while is_seen_to_be_dead and process.is_usable:
        time.sleep(0.01)
    with pytest.raises(DecoderDied, match="was killed, perhaps for lack of memory"):
        process.key_times(film, [1.0])
    decoder.release(process)
    assert decoder.acquire() is not process
    decoder.close()
