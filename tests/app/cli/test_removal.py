"""`remove` can be undone, also after a back-up, a restore or a repair; `list` and `doctor` give bytes and what is missing."""

from pathlib import Path

import pytest

from longview.app.service import Longview
from longview.indexing.errors import UnknownVideo
from longview.indexing.records.video import VideoEntry
from longview.indexing.sqlite.database.database import DATABASE
from longview.indexing.sqlite.library import Library
from longview.video.probing.content_hash import content_hash
from tests.support.app_samples import demo_settings
from tests.support.library_samples import caption_texts, matching_texts, put_captions, sample_entry, sample_events
from tests.support.shell import Shell


@pytest.fixture
def library(tmp_path: Path) -> Library:
    """A video that was uploaded, and one that lies elsewhere."""
    library = Library(tmp_path / "library")
    (library.folder / "uploads").mkdir()
    for folder, content in ((library.folder / "uploads", b"u" * 5000), (tmp_path, b"h" * 7000)):
        path = folder / "new.mp4"
        path.write_bytes(content)
        digest = content_hash(path)
        path = path.rename(folder / f"{digest[:12]}-new.mp4")
        entry = VideoEntry(digest[:12], digest, path, f"{len(content)} bytes", 100.0, sample_entry("").facts)
        put_captions(library, entry, sample_events(*(f"a red circle of {len(content)} bytes" for _ in range(3))))
    return library


@pytest.fixture
def shell(library: Library) -> Shell:
    return Shell(library.folder)


def test_remove_says_what_it_frees_and_is_undone(library: Library, shell: Shell) -> None:
    upload, other = library.videos()
    (library.folder / "thumbnails").mkdir()
    (library.folder / "thumbnails" / f"{upload.video_id}-1000.jpg").write_bytes(bytes(300))
    document = shell.call("remove", upload.video_id[:8])
    assert document == {
        "video_id": upload.video_id,
        "path": str(upload.path),
        "removed": True,
        "freed_bytes": 300,
        "upload_bytes": 5000,
        "undo_until": library.removals.find().undo_until,
    }
    assert shell.call("remove", str(other.path))["upload_bytes"] == 0
    assert shell.call("list")["videos"] == [] and shell.call("search", "circle")["moments"] == []
    for words in (("caption", upload.video_id), ("versions", upload.video_id), ("remove", upload.video_id)):
        assert shell.call(*words, code=1)["error"]["code"] == "unknown_video"
    assert shell.call("remove", "--undo")["video_id"] == other.video_id
    assert shell.call("remove", "--undo", str(upload.path))["missing"] is False
    assert library.videos() == (upload, other) and len(shell.call("search", "5000 bytes")["moments"]) >= 1
    assert "nothing to undo" in shell.call("remove", "--undo", code=1)["error"]["message"]
    assert "Usage" in shell.run("remove", code=2).stderr


def test_a_request_with_a_file_name_undoes_no_removal_and_reads_no_file(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = Longview(demo_settings(library.folder))
    upload, other = app.videos()
    for entry in (upload, other):
        app.remove(entry)
    monkeypatch.chdir(other.path.parent)
    opened: list[str] = []
    monkeypatch.setattr("longview.video.probing.content_hash.content_hash", lambda path, *_: opened.append(path))
    for reference in (other.path.name, str(other.path), ""):
        with pytest.raises(UnknownVideo):
            app.removals.undo_of(reference)
    assert opened == [] and app.videos() == ()
    assert app.removals.undo_of(other.video_id[:8]) == other and app.videos() == (other,)


def test_a_removed_video_stays_removed_through_backup_restore_check_and_repair(
    library: Library, shell: Shell, tmp_path: Path
) -> None:
    upload, other = library.videos()
    shell.call("remove", upload.video_id)
    assert shell.call("check")["is_intact"] and shell.call("doctor")["videos"] == 1
    backup = shell.call("backup", str(tmp_path / "all.zip"), "--originals")
    assert (backup["video_count"], backup["segment_count"], backup["missing"]) == (1, 3, [])
    content = bytearray((library.folder / DATABASE).read_bytes())
    content[:100] = bytes(100)
    (library.folder / DATABASE).write_bytes(content)
    assert shell.call("check", "--repair")["is_intact"]
    elsewhere, restored = Shell(tmp_path / "elsewhere"), Library(library.folder)
    elsewhere.call("restore", str(tmp_path / "all.zip"))
    # The second restore gives new numbers to the passages of the library that it replaces.
    elsewhere.call("restore", str(tmp_path / "all.zip"), "--replace")
    for again, folder in ((shell, library.folder), (elsewhere, elsewhere.library)):
        restored = Library(folder)
        assert [row["video_id"] for row in again.call("list")["videos"]] == [other.video_id]
        assert set(matching_texts(restored, "circle")) == {"a red circle of 7000 bytes"}
        assert again.call("check")["is_intact"]
        document = again.call("remove", "--undo", upload.video_id)
        assert document["missing"] is False and Path(document["path"]) == folder / "uploads" / upload.path.name
        assert caption_texts(restored, upload.video_id) == ["a red circle of 5000 bytes"] * 3
        assert again.call("check")["is_intact"]


def test_list_and_doctor_give_bytes_and_missing_originals(library: Library, shell: Shell) -> None:
    upload, other = library.videos()
    (library.folder / "proxies").mkdir()
    (library.folder / "proxies" / f"{other.video_id}.mp4").write_bytes(bytes(400))
    shell.call("search", "circle")
    vectors = sum((library.folder / f"vectors.{suffix}").stat().st_size for suffix in ("faiss", "json"))
    rows = {row["video_id"]: row for row in shell.call("list")["videos"]}
    sizes = {video_id: row["bytes"] for video_id, row in rows.items()}
    assert sizes[upload.video_id] == {"original": 5000, "caches": 0, "vectors": round(vectors / 2)}
    assert sizes[other.video_id] == {"original": 7000, "caches": 400, "vectors": round(vectors / 2)}
    assert not any(row["missing"] for row in rows.values())
    document = shell.call("doctor")
    database = (library.folder / DATABASE).stat().st_size
    assert document["bytes"]["database"] >= database
    assert document["bytes"] | {"database": 0} == {
        "originals": 7000, "uploads": 5000, "caches": 400, "vectors": vectors, "database": 0,
    }  # fmt: skip
    other.path.unlink()
    (_, row) = shell.call("list")["videos"]
    assert (row["missing"], row["bytes"]["original"]) == (True, None)
    printed = shell.run("list").stdout
    assert printed.count("file missing: longview relink FOLDER finds it again") == 1
    (problem,) = shell.call("doctor", code=1)["problems"]
    assert other.video_id in problem and "`longview relink FOLDER`" in problem
