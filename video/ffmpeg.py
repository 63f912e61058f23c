"""Which ffmpeg program is used, and running it so that a failure becomes one clear sentence."""

import functools
import os
import re
import shutil
import subprocess
import tempfile
from contextlib import suppress

import ffmpeg
import imageio_ffmpeg

from longview.video.errors import FFmpegFailed

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

MAX_MEMORY_BYTES = 8 << 30
"""Address space of one ffmpeg; encoding 4K takes about 2 GiB."""
SDR_STEPS: tuple[tuple[str, dict[str, object]], ...] = (
    ("zscale", {"transfer": "linear", "npl": 203}),
    ("format", {"pix_fmts": "gbrpf32le"}),
    ("zscale", {"primaries": "bt709"}),
    ("tonemap", {"tonemap": "mobius", "desat": 0}),
    ("zscale", {"transfer": "bt709", "matrix": "bt709", "range": "full"}),
)
"""Filters from HDR to 8-bit SDR; 203 nits are the white of ITU-R BT.2408."""
SDR_FILTERS = ",".join(f"{name}=" + ":".join(f"{key}={value}" for key, value in options.items()) for name, options in SDR_STEPS)
"""The same as one filter chain."""
MAX_STDERR_BYTES = 1 << 14
"""Of what a failing ffmpeg said, how much is read: a damaged file can make it complain about every frame."""
MIN_MAJOR_VERSION = 6
"""The oldest system FFmpeg that is used: older ones lack decoders and `-fps_mode` behaviour relied on here."""


@functools.cache
def ffmpeg_path() -> str:
    """The ffmpeg program: the system's if it is at least version `OLDEST_MAJOR`, else the one in imageio-ffmpeg's wheel."""
    found = shutil.which("ffmpeg")
    if found and ffmpeg_major_version(found) >= MIN_MAJOR_VERSION:
        return found
    return str(imageio_ffmpeg.get_ffmpeg_exe())


def ffmpeg_major_version(program: str) -> int:
    """Major version of an ffmpeg program; 0 if it cannot be told, a large number for a development build."""
    try:
        said = subprocess.run([program, "-version"], capture_output=True, text=True, timeout=20, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return 0
    match = re.match(r"ffmpeg version n?(\d+)[.\s-]", said)
    if match:
        return int(match[1])
    return 999 if re.match(r"ffmpeg version (?:N-|git)", said) else 0


def run(stream: "ffmpeg.nodes.OutputStream", *, timeout_s: float) -> None:
    """Run an ffmpeg-python graph to its end.

    Raises:
        ToolFailed: with ffmpeg's own last line, or that it took longer than `timeout_s` seconds.
    """
    command = ffmpeg.compile(
        stream.global_args("-nostdin", "-hide_banner", "-loglevel", "error"), cmd=ffmpeg_path(), overwrite_output=True
    )
    with (
        tempfile.TemporaryFile() as complaints,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=complaints) as process,
    ):
        _limit_memory(process.pid)
        try:
            process.wait(timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            process.kill()
            raise FFmpegFailed(f"ffmpeg did not finish within {timeout_s:.0f} seconds and was stopped.") from error
        complaints.seek(max(0, complaints.seek(0, os.SEEK_END) - MAX_STDERR_BYTES))
        said = complaints.read()
    if process.returncode:
        lines = said.decode(errors="replace").strip().splitlines()
        raise FFmpegFailed(f"ffmpeg failed: {lines[-1] if lines else f'exit code {process.returncode}'}")


def _limit_memory(pid: int) -> None:
    """Bound a process's address space, where the system can do that from outside."""
    if hasattr(resource, "prlimit"):
        with suppress(ProcessLookupError, PermissionError):
            resource.prlimit(pid, resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
