"""Which ffmpeg program is used, and running it so that a failure becomes one clear sentence."""

import functools
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import ffmpeg
import imageio_ffmpeg

from video.errors import ToolFailed

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

MEMORY_BYTES_MAX = 8 << 30
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
SAID_BYTES_MAX = 1 << 14
"""Of what a failing ffmpeg said, how much is read: a damaged file can make it complain about every frame."""
OLDEST_MAJOR = 6
"""The oldest system FFmpeg that is used: older ones lack decoders and `-fps_mode` behaviour relied on here."""


@functools.cache
def ffmpeg_path() -> str:
    """The ffmpeg program: the system's if it is at least version `OLDEST_MAJOR`, else the one in imageio-ffmpeg's wheel."""
    found = shutil.which("ffmpeg")
    if found and ffmpeg_major(found) >= OLDEST_MAJOR:
        return found
    return str(imageio_ffmpeg.get_ffmpeg_exe())


def ffmpeg_major(program: str) -> int:
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
            raise ToolFailed(f"ffmpeg did not finish within {timeout_s:.0f} seconds and was stopped.") from error
        complaints.seek(max(0, complaints.seek(0, os.SEEK_END) - SAID_BYTES_MAX))
        said = complaints.read()
    if process.returncode:
        lines = said.decode(errors="replace").strip().splitlines()
        raise ToolFailed(f"ffmpeg failed: {lines[-1] if lines else f'exit code {process.returncode}'}")


def _limit_memory(pid: int) -> None:
    """Bound a process's address space, where the system can do that from outside."""
    if hasattr(resource, "prlimit"):
        with suppress(ProcessLookupError, PermissionError):
            resource.prlimit(pid, resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))


@contextmanager
def written_whole(target: Path) -> Iterator[Path]:
    """A temporary path beside `target` that becomes `target` only if the block succeeds: no half-written files."""
    target.parent.mkdir(parents=True, exist_ok=True)
    # The suffix is kept because ffmpeg chooses the container by it.
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=".partial-", suffix=target.suffix)
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
        # mkstemp makes files private; the finished one gets the permissions any new file would.
        umask = os.umask(0)
        os.umask(umask)
        partial.chmod(0o666 & ~umask)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
