"""The memory that SQLite shares between processes: a mapped file beside the database, whose blocks need space on the disk.

SQLite allocates the index of its log by one byte in each 4,096 bytes. A file system with smaller blocks, such as ext4 on a small
disk, allocates the rest when it is written, and a disk that is full then kills the process (SIGBUS), because memory has no error
to return.
"""

import os
from pathlib import Path

SQLITE_STEP_BYTES = 4096
"""Distance between the bytes that SQLite writes to allocate shared memory, in bytes (`unixShmMap` of its source)."""
MIN_FREE_BYTES = 1 << 20
"""Minimum free space with which shared memory is used on a disk with smaller blocks, in bytes: others write to the disk, too."""
FILE_DESCRIPTORS = Path("/proc/self/fd")


def is_memory_safe(database: Path) -> bool:
    """Whether a full disk cannot end the process while SQLite opens a database with shared memory."""
    try:
        disk = os.statvfs(database.parent)
    except (OSError, AttributeError):
        # Where the disk cannot be asked, SQLite itself says what is wrong.
        return True
    return disk.f_frsize >= SQLITE_STEP_BYTES or disk.f_bavail * disk.f_frsize >= MIN_FREE_BYTES


def allocate_memory(database: Path) -> None:
    """Allocate all blocks of the shared memory of an open database on a disk with small blocks, so that it is safe from now on.

    Raises:
        OSError: the disk is full.
    """
    memory = database.with_name(f"{database.name}-shm")
    try:
        if os.statvfs(database.parent).f_frsize >= SQLITE_STEP_BYTES:
            return
        status = memory.stat()
        if status.st_blocks * 512 >= status.st_size:
            return
        descriptors = [int(item.name) for item in FILE_DESCRIPTORS.iterdir()]
    except (OSError, AttributeError):
        return
    for descriptor in descriptors:
        try:
            is_same = os.path.samestat(os.fstat(descriptor), status)
        except OSError:
            continue
        if is_same:
            # Only SQLite's own descriptor may be used: to close another one of the same file would release SQLite's locks.
            os.posix_fallocate(descriptor, 0, status.st_size)
            return
