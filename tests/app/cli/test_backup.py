"""Moved files are found again, and a back-up restores a library as it was, or changes nothing."""

import os
from pathlib import Path

import pytest

from longview.indexing.library import Library, VideoEntry
from longview.video.probe import content_hash
from tests.app.shell import Shell
from tests.indexing.samples import put_captions, sample_entry, sample_events


def add_video(library: Library, path: Path, content: bytes, *texts: str) -> VideoEntry:
    """Write a file, and add it to a library with these captions."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    digest = content_hash(path)
    facts = sample_entry("").facts | {"size_bytes": len(content)}
    return put_captions(library, VideoEntry(digest[:12], digest, path, path.stem, 100.0, facts), sample_events(*texts))


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


def test_a_file_that_was_moved_and_renamed_is_found_by_its_content(library: Library, shell: Shell, tmp_path: Path) -> None:
    holiday, _ = library.videos()
    moved = tmp_path / "disk" / "2026" / "Ferien.mp4"
    moved.parent.mkdir(parents=True)
    holiday.path.rename(moved)
    (tmp_path / "disk" / "same size.mp4").write_bytes(b"x" * 70_000)
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "disk" / "loop").symlink_to(tmp_path / "disk")
    (outside / "link").symlink_to(moved.parent)
    (finding,) = shell.call("check", code=1)["findings"]
    assert "longview relink" in finding["advice"]
    # A link that leaves the folder is not followed.
    document = shell.call("relink", str(outside), code=1)
    assert document["found"] == [] and [item["video_id"] for item in document["missing"]] == [holiday.video_id]
    document = shell.call("relink", str(tmp_path / "disk"))
    assert document["missing"] == [] and document["unreadable_count"] == 0
    assert [(item["old_path"], item["path"]) for item in document["found"]] == [(str(holiday.path), str(moved))]
    assert library.video(holiday.video_id).path == moved
    assert shell.call("check")["is_intact"]
    # A file whose content has changed is not the same video.
    moved.write_bytes(b"y" * 70_000)
    os.utime(moved, (1, 1))
    assert shell.call("relink", str(tmp_path / "disk"), code=1)["found"] == []
