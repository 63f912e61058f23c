"""Selection and execution of the ffmpeg program. A failure becomes an `FFmpegFailed` with a one-line message."""

import functools
import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO

import ffmpeg
import imageio_ffmpeg

from longview.core.atomic import FULL_DISK_ERRORS
from longview.core.progress import CANCEL_POLL_S, NO_PROGRESS, Cancelled, Progress
from longview.video.errors import FFmpegFailed

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

MAX_MEMORY_BYTES = 8 << 30
"""Maximum address space of an ffmpeg process, in bytes; encoding 4K takes about 2 GiB."""
SDR_STEPS: tuple[tuple[str, dict[str, object]], ...] = (
    ("zscale", {"transfer": "linear", "npl": 203}),
    ("format", {"pix_fmts": "gbrpf32le"}),
    ("zscale", {"primaries": "bt709"}),
    ("tonemap", {"tonemap": "mobius", "desat": 0}),
    ("zscale", {"transfer": "bt709", "matrix": "bt709", "range": "full"}),
)
"""Filters and their options that tone-map HDR to 8-bit SDR; 203 nits are the reference white of ITU-R BT.2408."""
SDR_FILTERS = ",".join(f"{name}=" + ":".join(f"{key}={value}" for key, value in options.items()) for name, options in SDR_STEPS)
"""`SDR_STEPS` as one ffmpeg filter chain."""
INSTALL_HINT = "install ffmpeg, or restore Longview's own copy with `pip install --force-reinstall imageio-ffmpeg`"
"""What to do if no ffmpeg program can be started; the wheels of imageio-ffmpeg contain one."""
MAX_STDERR_BYTES = 1 << 14
"""Maximum number of bytes read from the end of a failed ffmpeg's stderr; a damaged file can cause an error per frame."""
_VERSION = re.compile(r"ffmpeg version n?(\d{1,9})[.\s-]")
_DEVELOPMENT_VERSION = re.compile(r"ffmpeg version (?:N-|git)")
MIN_MAJOR_VERSION = 6
"""Minimum major version of the system's ffmpeg; older versions lack required decoders and `-fps_mode` behaviour."""


@functools.cache
def ffmpeg_path() -> str:
    """Return the system's ffmpeg program if its version is at least `MIN_MAJOR_VERSION`, else that of imageio-ffmpeg.

    Raises:
        FFmpegFailed: there is none.
    """
    system_program = shutil.which("ffmpeg")
    if system_program and ffmpeg_major_version(system_program) >= MIN_MAJOR_VERSION:
        return system_program
    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise FFmpegFailed(f"The ffmpeg program is missing; {INSTALL_HINT}.") from error


def ffmpeg_major_version(program: str) -> int:
    """Return the major version of an ffmpeg program; 0 if it is unknown, 999 for a development build."""
    try:
        output = subprocess.run([program, "-version"], capture_output=True, text=True, timeout=20, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return 0
    match = _VERSION.match(output)
    if match:
        return int(match[1])
    return 999 if _DEVELOPMENT_VERSION.match(output) else 0


def run(
    stream: "ffmpeg.nodes.OutputStream", *, timeout_s: float, progress: Progress = NO_PROGRESS, output_s: float | None = None
) -> None:
    """Run an ffmpeg-python graph until it finishes.

    `output_s`: expected length of the output, in seconds, by which the progress is known; None: it is not followed.

    Raises:
        FFmpegFailed: ffmpeg is missing, failed (the message has its last line), or took longer than `timeout_s` seconds.
        Cancelled: the operation was cancelled; ffmpeg is stopped.
        OSError: the disk or the quota is full; `errno` is as if this process had written the file.
    """
    followed = stream.global_args("-progress", "pipe:1") if output_s else stream
    with output_of(followed, timeout_s=timeout_s, progress=progress) as output:
        for line in output:
            name, _, value = line.strip().partition(b"=")
            # Before the first frame, the time is not known, or negative.
            if name == b"out_time_us" and value.isdigit() and output_s:
                progress.update(int(value) / 1e6 / output_s)


@contextmanager
def output_of(stream: "ffmpeg.nodes.OutputStream", *, timeout_s: float, progress: Progress = NO_PROGRESS) -> Iterator[IO[bytes]]:
    """Run an ffmpeg-python graph, and yield what it writes to its stdout. ffmpeg is stopped if the block does not read all of it.

    Raises:
        FFmpegFailed, Cancelled: as `run`. The output ends early before they are raised at the end of the block.
    """
    with tempfile.TemporaryFile() as stderr_file, _start(_command(stream), stderr_file, subprocess.PIPE) as process:
        _limit_memory(process.pid)
        problems: list[BaseException] = []

        def watch() -> None:
            try:
                _wait(process, timeout_s, progress)
            except (FFmpegFailed, Cancelled) as error:
                problems.append(error)
                process.kill()

        # The reader waits for ffmpeg, which a damaged file may keep from writing anything.
        watcher = threading.Thread(target=watch, name="longview-ffmpeg", daemon=True)
        watcher.start()
        assert process.stdout is not None
        try:
            yield process.stdout
            is_read = not process.stdout.read(1)
        except BaseException:
            process.kill()
            raise
        if not is_read:
            process.kill()
        watcher.join()
        if problems:
            raise problems[0]
        if is_read:
            _raise_failure(process.returncode, stderr_file)


def _command(stream: "ffmpeg.nodes.OutputStream") -> list[str]:
    arguments = ("-nostdin", "-hide_banner", "-loglevel", "error")
    command: list[str] = ffmpeg.compile(stream.global_args(*arguments), cmd=ffmpeg_path(), overwrite_output=True)
    return command


def _raise_failure(return_code: int, stderr_file: IO[bytes]) -> None:
    """Raise the error of an ffmpeg that has ended with a code other than 0; see `run`."""
    if not return_code:
        return
    stderr_file.seek(max(0, stderr_file.seek(0, os.SEEK_END) - MAX_STDERR_BYTES))
    lines = stderr_file.read().decode(errors="replace").strip().splitlines()
    for code in FULL_DISK_ERRORS:
        # The last line often is a consequence: "Nothing was written into output file".
        if any(line.endswith(os.strerror(code)) for line in lines):
            raise OSError(code, os.strerror(code))
    raise FFmpegFailed(f"ffmpeg failed: {lines[-1] if lines else f'exit code {return_code}'}")


def _wait(process: "subprocess.Popen[bytes]", timeout_s: float, progress: Progress) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        progress.raise_if_cancelled()
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=CANCEL_POLL_S)
            return
    raise FFmpegFailed(f"ffmpeg did not finish within {timeout_s:.0f} seconds and was stopped.")


def _start(command: list[str], stderr_file: IO[bytes], stdout: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr_file)
    except OSError as error:
        # The caller would take it for an error of the file that ffmpeg writes.
        raise FFmpegFailed(f"The ffmpeg program {command[0]} cannot be started ({error.strerror}); {INSTALL_HINT}.") from error


def _limit_memory(pid: int) -> None:
    """Limit the address space of another process, on systems that support it."""
    if hasattr(resource, "prlimit"):
        with suppress(ProcessLookupError, PermissionError):
            resource.prlimit(pid, resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
