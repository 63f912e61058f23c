"""A library with an upload, and the command line for it."""

from pathlib import Path

import pytest

from longview.app.maintenance.backup import backup
from longview.indexing.sqlite.library import Library
from tests.support.backups import add_video
from tests.support.shell import Shell


@pytest.fixture
def library(tmp_path: Path) -> Library:
    """Two videos with captions; the second is an upload."""
    library = Library(tmp_path / "library")
    add_video(library, tmp_path / "videos" / "holiday.mp4", b"h" * 70_000, "a red circle", "a blue star")
    upload = add_video(library, library.folder / "uploads" / "new.mp4", b"u" * 50_000, "a green square")
    named = library.folder / "uploads" / f"{upload.video_id}-new.mp4"
    upload.path.rename(named)
    library.set_path(upload.video_id, named)
    return library


@pytest.fixture
def shell(library: Library) -> Shell:
    return Shell(library.folder)


@pytest.fixture
def archive(library: Library, tmp_path: Path) -> Path:
    """A back-up with all video files."""
    return backup(library.folder, tmp_path / "all.zip", with_originals=True).path
