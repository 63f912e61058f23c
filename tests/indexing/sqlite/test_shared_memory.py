"""A full disk with small blocks: a hole in SQLite's shared memory that has no space kills the process."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from longview.indexing.errors import LibraryFull
from longview.indexing.sqlite.database.database import DATABASE
from longview.indexing.sqlite.database.shared_memory import MIN_FREE_BYTES
from longview.indexing.sqlite.library import Library
from tests.support.library_samples import put_captions, sample_entry, sample_events
from tests.support.small_disk import small_blocks_disk

VIDEO_ID = "a" * 12
READ_AND_WRITE = """
import sys
from pathlib import Path
from longview.indexing.errors import LibraryFull
from longview.indexing.sqlite.library import Library
library = Library(Path(sys.argv[1]))
print([entry.video_id for entry in library.videos()])
try:
    library.set_path(sys.argv[2], Path("/moved.mp4"))
except LibraryFull:
    print("full")
"""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_blocks_disk(tmp_path / "disk", "24M") as folder:
        yield folder


def leave_free(disk: Path, free_bytes: int) -> None:
    """Fill a disk, and leave some bytes, also of those that only root may use."""
    filler = disk / "filler"
    filler.unlink(missing_ok=True)
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 10):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
        file.truncate(os.fstat(file.fileno()).st_size - free_bytes)
    os.sync()


def test_full_disk_with_small_blocks_kills_no_process(disk: Path) -> None:
    put_captions(Library(disk / "library"), sample_entry(VIDEO_ID), sample_events("a red circle"))
    for free_kb in (0, 8, 9, 12, 16, 31, 33):
        leave_free(disk, free_kb << 10)
        command = [sys.executable, "-c", READ_AND_WRITE, str(disk / "library"), VIDEO_ID]
        completed = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (completed.returncode, completed.stdout) == (0, f"['{VIDEO_ID}']\nfull\n"), (free_kb, completed.stderr)


def test_shared_memory_has_no_holes_once_a_database_is_open(disk: Path) -> None:
    library = Library(disk / "library")
    put_captions(library, sample_entry(VIDEO_ID), sample_events("a red circle"))
    with library._database.connection() as db:
        status = (disk / "library" / f"{DATABASE}-shm").stat()
        assert status.st_blocks * 512 >= status.st_size > 0
        # What is open when the disk becomes full still works.
        leave_free(disk, 0)
        assert db.execute("SELECT count(*) FROM videos").fetchone()[0] == 1
    with pytest.raises(LibraryFull):
        library.set_path(VIDEO_ID, Path("/moved.mp4"))
    leave_free(disk, 4 * MIN_FREE_BYTES)
    library.set_path(VIDEO_ID, Path("/moved.mp4"))
    assert library.video(VIDEO_ID).path == Path("/moved.mp4")
