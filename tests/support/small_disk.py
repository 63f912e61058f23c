"""A small disk of its own, to fill it."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """Mount a folder as a disk of a size such as `2m`. Skip the test where this user cannot mount one."""
    folder.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    if os.name != "posix" or os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@contextmanager
def small_blocks_disk(folder: Path, size: str) -> Iterator[Path]:
    """Mount a folder as an ext4 disk with blocks of 1 KB, as `mkfs.ext4` makes small ones; skip the test where it cannot."""
    folder.mkdir(exist_ok=True)
    image = folder.with_name(f"{folder.name}.img")
    commands = (
        ["truncate", "-s", size, str(image)],
        ["mkfs.ext4", "-q", "-F", "-b", "1024", str(image)],
        ["mount", "-o", "loop", str(image), str(folder)],
    )
    can_mount = os.name == "posix" and os.geteuid() == 0 and all(shutil.which(command[0]) for command in commands)
    if not can_mount or any(subprocess.run(command, capture_output=True, check=False).returncode for command in commands):
        pytest.skip("only root can mount a disk image")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
