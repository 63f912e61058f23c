"""Tests that no file can hang or crash the application: a failed decoding process is replaced by a new one.

The processes are real, and so are their failures: Python starts them with a `sitecustomize` that replaces a backend by one
that hangs, aborts, or exceeds a limit.
"""

import os
import subprocess
import sys
import time
import wave
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest

from longview.video.decoding.backends.base import DecodeRequest
from longview.video.decoding.decoder import Decoder
from longview.video.errors import DecoderDied, TooLarge, UnreadableVideo, VideoError
from longview.video.probing.guard import Limits
from longview.video.probing.probe import VideoInfo, probe
from tests.support.barcodes import HEIGHT, WIDTH, encode, number_read, run_ffmpeg

FAILING_BACKEND = """
import ctypes, importlib, os, re, signal, stat, time
failure, backends = os.environ["FAILURE"], os.environ["FAILING_BACKENDS"].split(",")

def failing_decode(video, request):
    if failure == "infinite loop with the GIL":
        re.match(r"(a|a)+$", "a" * 60 + "b")
    elif failure == "sleep":
        time.sleep(600)
    elif failure == "abort":
        os.abort()
    elif failure == "segmentation fault":
        ctypes.string_at(0)
    elif failure == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif failure == "memory limit":
        hoard = [bytearray(1 << 28) for _ in range(64)]
    elif failure == "CPU time limit":
        import resource
        resource.setrlimit(resource.RLIMIT_CPU, (1, 2))
        while True:
            pass
    elif failure == "malformed response":
        for fd in range(3, 32):
            try:
                if stat.S_ISFIFO(os.fstat(fd).st_mode):
                    os.write(fd, b"not JSON\\n")
            except OSError:
                pass
    elif failure == "memory error after two frames":
        import numpy
        from longview.video.decoding.backends.base import DecodedFrame
        for time_s in request.times_s[:2]:
            yield DecodedFrame(time_s, time_s, numpy.zeros((request.height, request.width, 3), numpy.uint8))
        raise MemoryError
    elif failure == "exception":
        raise RuntimeError("a bug in the backend")
    yield None

for name in backends:
    importlib.import_module(f"longview.video.decoding.backends.{name}").decode = failing_decode
"""
FAILURES = (
    "infinite loop with the GIL",
    "sleep",
    "abort",
    "segmentation fault",
    "killed",
    "memory limit",
    "CPU time limit",
    "exception",
)
LIMITS = Limits(stall_s=3.0, memory_bytes=2 << 30)
REQUESTED_S = [0.02, 5.02, 11.02, 20.02]
NUMBERS = [0, 125, 275, 500]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> VideoInfo:
    return probe(encode(tmp_path_factory.mktemp("video") / "video.mp4", "-c:v", "libx264", "-preset", "veryfast", "-g", "100"))


@pytest.fixture
def fail_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that makes the backends of new processes fail in the given way, or no longer if it is None."""
    (tmp_path / "sitecustomize.py").write_text(FAILING_BACKEND)

    def set_up(failure: str | None, backends: str = "pyav") -> None:
        if failure is None:
            monkeypatch.delenv("PYTHONPATH")
            return
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.setenv("FAILURE", failure)
        monkeypatch.setenv("FAILING_BACKENDS", backends)

    return set_up


@pytest.fixture
def no_leaked_process() -> Iterator[None]:
    """Fail the test if a process outlives its decoder."""
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    yield
    deadline = time.monotonic() + 5
    while (leaked_processes := children_except(before)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert leaked_processes == []


def children_except(pids: set[int]) -> list[str]:
    return [f"{child.pid} {child.status()}" for child in psutil.Process().children(recursive=True) if child.pid not in pids]


def decode_numbers(decoder: Decoder, video: VideoInfo) -> list[int]:
    return [number_read(frame) for chunk in decoder.frames_played_at(video, REQUESTED_S, HEIGHT, WIDTH) for frame in chunk.frames]


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.usefixtures("no_leaked_process")
def test_fallback_decodes_after_a_failure(
    video: VideoInfo, fail_with: Any, failure: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "longview.video.decoding.backend_stream")
    fail_with(failure)
    decoder = Decoder(LIMITS, processes=1)
    assert decode_numbers(decoder, video) == NUMBERS
    # The first backend was tried once, and its failure is in the log.
    assert [record.message for record in caplog.records if "backend pyav" in record.message][1:] == []
    assert "backend pyav" in caplog.text
    decoder.close()
    fail_with(None)
    caplog.clear()
    assert decode_numbers(decoder, video) == NUMBERS
    assert "backend pyav" not in caplog.text
    decoder.close()


@pytest.mark.parametrize("failure", [pytest.param("infinite loop with the GIL", marks=pytest.mark.slow), "abort", "memory limit"])
@pytest.mark.usefixtures("no_leaked_process")
def test_failure_of_both_backends_is_an_error(video: VideoInfo, fail_with: Any, failure: str) -> None:
    fail_with(failure, "pyav,ffmpeg")
    decoder = Decoder(LIMITS, processes=1)
    start_s = time.monotonic()
    with pytest.raises(UnreadableVideo, match=video.path.name):
        decode_numbers(decoder, video)
    # Each backend was tried once, with one stall timeout.
    assert time.monotonic() - start_s < 2 * LIMITS.stall_s + 10
    fail_with(None)
    assert decode_numbers(decoder, video) == NUMBERS
    decoder.close()


@pytest.mark.usefixtures("no_leaked_process")
def test_fallback_continues_after_a_crash(video: VideoInfo) -> None:
    decoder = Decoder(LIMITS, processes=1)
    requested_s = [index / 25 for index in range(600)]
    other_processes = psutil.Process().children()
    numbers: list[int] = []
    for count, chunk in enumerate(decoder.frames_played_at(video, requested_s, HEIGHT, WIDTH, chunk_frames=16)):
        numbers += [number_read(frame) for frame in chunk.frames]
        if count == 3:
            (child,) = (process for process in psutil.Process().children() if process not in other_processes)
            child.kill()
    assert numbers == list(range(600))
    decoder.close()


@pytest.mark.usefixtures("no_leaked_process")
def test_crash_ends_the_sound_with_an_error(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "talk.wav"), "wb") as file:
        file.setparams((1, 2, 8_000, 0, "NONE", ""))
        file.writeframes(bytes(2 * 8_000 * 120))
    other_processes = psutil.Process().children()
    decoder = Decoder(LIMITS, processes=1)
    sound = decoder.probe(tmp_path / "talk.wav")
    blocks = decoder.audio(sound, 0)
    starts_s = [next(blocks).start_s]
    (child,) = (process for process in psutil.Process().children() if process not in other_processes)
    child.kill()
    with pytest.raises(DecoderDied, match=r"talk\.wav.*was killed"):
        starts_s += [block.start_s for block in blocks]
    assert starts_s == [10.0 * number for number in range(len(starts_s))]
    assert len(starts_s) < 12
    assert [block.start_s for block in decoder.audio(sound, 0)] == [10.0 * number for number in range(12)]
    decoder.close()


@pytest.mark.usefixtures("no_leaked_process")
def test_stopped_iteration_leaves_no_running_process(video: VideoInfo) -> None:
    decoder = Decoder(LIMITS, processes=2)
    with closing(decoder.frames_played_at(video, [index / 25 for index in range(600)], HEIGHT, WIDTH, chunk_frames=16)) as chunks:
        next(chunks)
    assert decode_numbers(decoder, video) == NUMBERS
    decoder.close()


@pytest.mark.usefixtures("no_leaked_process")
def test_malformed_response_is_an_error(video: VideoInfo, fail_with: Any) -> None:
    fail_with("malformed response", "pyav,ffmpeg")
    decoder = Decoder(LIMITS, processes=1)
    with pytest.raises(UnreadableVideo):
        decode_numbers(decoder, video)
    fail_with(None)
    assert decode_numbers(decoder, video) == NUMBERS
    decoder.close()


@pytest.mark.usefixtures("no_leaked_process")
def test_readahead_is_bounded(video: VideoInfo) -> None:
    """The process must stop decoding while the caller does not read the frames."""
    decoder = Decoder(Limits(stall_s=1.0), processes=1)
    process = decoder.pool.acquire()
    request = DecodeRequest([index / 25 for index in range(600)], HEIGHT, WIDTH)
    frames = process.decode(video, request, "pyav", buffer_frames=8)
    first = next(frames)
    child = psutil.Process(process.pid)
    idle_s = child.cpu_times().user
    for _ in range(100):
        time.sleep(0.1)
        if (now_s := child.cpu_times().user) == idle_s:
            break
        idle_s = now_s
    # The process idles for longer than `stall_s`, but does not count as hung, because the caller is slow.
    time.sleep(1.5)
    assert child.cpu_times().user == idle_s
    assert first.pixels is not None
    all_pixels = [first.pixels, *(frame.pixels for frame in frames)]
    assert [number_read(pixels) for pixels in all_pixels if pixels is not None] == list(range(600))
    decoder.pool.release(process)
    decoder.close()


MEMORY_SCRIPT = """
import resource, sys
from pathlib import Path
from longview.video.decoding.decoder import Decoder
decoder = Decoder(processes=2)
video = decoder.probe(Path(sys.argv[1]))
count = int(sys.argv[2])
times_s = [index * video.duration_s / count for index in range(count)]
frames = sum(len(chunk) for chunk in decoder.frames_played_at(video, times_s, 480, 800))
decoder.close()
parent, child = (resource.getrusage(who).ru_maxrss * 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
print(frames, parent, child)
"""


def test_memory_does_not_grow_with_the_number_of_frames(video: VideoInfo) -> None:
    def measure(count: int) -> list[int]:
        command = [sys.executable, "-c", MEMORY_SCRIPT, str(video.path), str(count)]
        output = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout
        return [int(word) for word in output.split()]

    (few, parent_few, child_few), (many, parent_many, child_many) = measure(130), measure(600)
    assert (few, many) == (130, 600)
    frame_bytes = 480 * 800 * 3
    # Both runs may have two chunks of 64 frames in memory at once; 470 more frames would take 540 MB.
    assert parent_many - parent_few < 64 * frame_bytes
    assert child_many - child_few < 64 * frame_bytes


@pytest.mark.usefixtures("no_leaked_process")
def test_file_that_exceeds_the_memory_limit_is_rejected(tmp_path: Path) -> None:
    huge = tmp_path / "huge.mkv"
    source = ("-f", "lavfi", "-i", "color=s=8192x8192:r=1:d=1", "-pix_fmt", "gbrp10le")
    run_ffmpeg(*source, "-c:v", "ffv1", "-coder", "1", "-threads", "1", str(huge))
    decoder = Decoder(Limits(memory_bytes=1 << 29, stall_s=20), processes=1)
    with pytest.raises(VideoError, match=r"huge\.mkv"):
        decoder.probe(huge)
    decoder.close()
    limited_decoder = Decoder(Limits(pixels=4096 * 4096), processes=1)
    with pytest.raises(TooLarge, match="max_pixels"):
        limited_decoder.probe(huge)
    limited_decoder.close()


@pytest.mark.usefixtures("no_leaked_process")
def test_processes_end_with_the_program(video: VideoInfo) -> None:
    script = (
        "import os, sys; from pathlib import Path\n"
        "from longview.video.decoding.decoder import Decoder; from longview.video.probing.probe import probe\n"
        "decoder = Decoder(processes=1); video = probe(Path(sys.argv[1])); times_s = [i / 25 for i in range(600)]\n"
        "chunks = decoder.frames_played_at(video, times_s, 96, 160, chunk_frames=4); next(chunks)\n"
        "import psutil; print(psutil.Process().children()[0].pid, flush=True); os._exit(1)"
    )
    command = [sys.executable, "-c", script, str(video.path)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    pid = int(result.stdout.split()[-1])
    deadline = time.monotonic() + 10
    while psutil.pid_exists(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@pytest.mark.usefixtures("no_leaked_process")
def test_process_that_crashed_while_idle_is_replaced(video: VideoInfo) -> None:
    decoder = Decoder(LIMITS, processes=1)
    for request_succeeds in (
        lambda: decoder.probe(video.path).codec == "h264",
        lambda: decode_numbers(decoder, video) == NUMBERS,
    ):
        process = decoder.pool.acquire()
        decoder.pool.release(process)
        os.kill(process.pid, 9)
        while process.is_usable:
            time.sleep(0.01)
        assert request_succeeds()
    decoder.close()


@pytest.mark.usefixtures("no_leaked_process")
def test_error_between_frames_does_not_affect_the_next_file(video: VideoInfo, fail_with: Any) -> None:
    fail_with("memory error after two frames", "pyav,ffmpeg")
    decoder = Decoder(LIMITS, processes=1)
    numbers = [
        number_read(frame) for chunk in decoder.frames_played_at(video, REQUESTED_S, HEIGHT, WIDTH) for frame in chunk.frames
    ]
    # Each backend yields two frames.
    assert len(numbers) == 4
    assert decoder.probe(video.path).codec == "h264"
    decoder.close()


@pytest.mark.parametrize("is_exit_detected", [True, False])
def test_crashed_process_is_not_acquired_again(video: VideoInfo, is_exit_detected: bool) -> None:
    decoder = Decoder(LIMITS, processes=1)
    process = decoder.pool.acquire()
    os.kill(process.pid, 9)
    while is_exit_detected and process.is_usable:
        time.sleep(0.01)
    with pytest.raises(DecoderDied, match="was killed, perhaps for lack of memory"):
        process.key_times(video, [1.0])
    decoder.pool.release(process)
    assert decoder.pool.acquire() is not process
    decoder.close()
