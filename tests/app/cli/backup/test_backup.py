"""Moved files are found again, and a back-up restores a library as it was, or changes nothing."""

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from longview.app.errors import BadRequest, NoSpace
from longview.app.maintenance import backup as backup_module
from longview.app.maintenance import restore as restore_module
from longview.app.maintenance.archive import open_backup
from longview.app.maintenance.backup import backup
from longview.app.maintenance.restore import restore
from longview.core.processes import this_process
from longview.indexing.errors import LibraryUnusable
from longview.indexing.sqlite.database.database import DATABASE
from longview.indexing.sqlite.library import Library
from longview.indexing.sqlite.repair import copies
from longview.indexing.sqlite.vectors import VectorIndex
from tests.app.cli.backup.test_hostile_backup import rewrite
from tests.support.app_samples import file_names
from tests.support.backups import add_video, contents
from tests.support.library_samples import WordBags, put_captions, sample_entry, sample_events
from tests.support.power_cuts import disk_calls
from tests.support.shell import Shell
from tests.support.small_disk import small_disk

FIRST_LIBRARY = Path(__file__).parents[3] / "fixtures" / "library_9caf505"


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


def test_a_library_that_is_being_written_is_backed_up_and_restored_elsewhere(
    library: Library, shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Others write between any two pages that are copied.
    monkeypatch.setattr(copies, "STEP_PAGES", 1)
    before, (holiday, upload) = contents(library), library.videos()
    has_begun, has_ended = threading.Event(), threading.Event()

    def write() -> None:
        number = 0
        while not has_ended.is_set():
            number += 1
            path = tmp_path / "videos" / f"{number}.mp4"
            add_video(Library(library.folder), path, number.to_bytes(9, "big"), "one", "two", "three")
            has_begun.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        has_begun.wait()
        written = shell.call("backup", str(tmp_path / "all.zip"), "--originals")
    finally:
        has_ended.set()
        writer.join()
    assert len(library.videos()) > written["video_count"] >= 3 and written["missing"] == []
    holiday.path.unlink()
    restored = Shell(tmp_path / "elsewhere").call("restore", str(tmp_path / "all.zip"))
    assert restored["restored_files"] == 2 and restored["missing"] == [] and restored["kept"] is None
    again = Library(tmp_path / "elsewhere")
    after = contents(again)
    assert [item for item in before if item not in after] == []
    # Each video is in the back-up with all of its captions.
    assert {len(texts) for _, title, texts in after if title.isdigit()} == {3}
    assert [again.video(entry.video_id).path for entry in (holiday, upload)] == [
        tmp_path / "elsewhere" / "originals" / holiday.video_id / "holiday.mp4",
        tmp_path / "elsewhere" / "uploads" / f"{upload.video_id}-new.mp4",
    ]
    assert again.video(holiday.video_id).path.read_bytes() == b"h" * 70_000
    assert not [name for name in file_names(tmp_path) if name.startswith(".partial")]
    # A back-up never replaces another file.
    assert "overwritten" in shell.call("backup", str(tmp_path / "all.zip"), code=1)["error"]["message"]


def test_a_file_that_is_still_at_its_old_place_is_not_written_again(archive: Path, library: Library, tmp_path: Path) -> None:
    report = restore(archive, tmp_path / "elsewhere", replace=False)
    holiday, _ = library.videos()
    assert Library(report.library).video(holiday.video_id).path == holiday.path
    assert report.restored_files == 1 and not (report.library / "originals").exists()


def test_jobs_that_ran_during_a_back_up_wait_for_any_process_after_it(library: Library, tmp_path: Path) -> None:
    owner = this_process()
    films = (tmp_path / "videos" / f"{name}.mp4" for name in ("running", "cancelled", "reserved", "paused"))
    jobs = [library.queue.add(film, title=film.stem, options={}, settings={}, priority=0, owner=owner) for film in films]
    for job in jobs[:2]:
        library.queue.claim(job.job_id, owner)
    library.queue.cancel(jobs[1].job_id)
    library.queue.pause(jobs[3].job_id)
    archive = backup(library.folder, tmp_path / "all.zip", with_originals=True).path
    restored = Library(restore(archive, tmp_path / "elsewhere", replace=False).library)
    states = [(job.title, job.status, job.request, job.owner) for job in restored.queue.jobs()]
    waiting = [(name, "waiting", "", "") for name in ("running", "cancelled", "reserved")]
    assert states == [*waiting, ("paused", "paused", "", "")]
    # This process still runs the jobs of the other library, and another one takes those of the restored one.
    claimed = restored.queue.claim_next("another process", {})
    assert claimed is not None and claimed.title == "running"
    assert [job.status for job in library.queue.jobs()] == ["running", "running", "waiting", "paused"]


def test_replacing_keeps_the_old_database(archive: Path, library: Library, shell: Shell) -> None:
    before = contents(library)
    for entry in library.videos():
        library.remove(entry.video_id)
    put_captions(library, sample_entry("c" * 12), sample_events("a yellow moon", "a purple cloud", "a grey stone"))
    changed = contents(library)
    assert "--replace" in shell.call("restore", str(archive), code=1)["error"]["message"]
    assert contents(library) == changed
    kept = Path(shell.call("restore", str(archive), "--replace")["kept"])
    assert contents(Library(library.folder)) == before
    assert shell.call("check")["is_intact"]
    (library.folder / DATABASE).unlink()
    kept.rename(library.folder / DATABASE)
    assert contents(Library(library.folder)) == changed


def test_a_power_cut_costs_neither_the_back_up_nor_the_library(library: Library, tmp_path: Path) -> None:
    with disk_calls() as calls:
        backup(library.folder, tmp_path / "library.zip", with_originals=True)
        assert calls.losses == []
        for replace in (False, True):
            report = restore(tmp_path / "library.zip", tmp_path / "new", replace=replace)
            # Video files come before the database that names them.
            assert calls.renamed[-1] == DATABASE and calls.losses == []
            assert bool(report.restored_files) is not replace
        assert len(calls.renamed) > 3


def test_a_search_that_is_open_finds_the_restored_passages(archive: Path, tmp_path: Path) -> None:
    other = Library(tmp_path / "other")
    put_captions(other, sample_entry("c" * 12), sample_events("a yellow moon", "a purple cloud", "a grey stone"))
    # It has in memory the vectors of other passages, which had the same numbers.
    vectors = VectorIndex(other, WordBags())
    assert vectors.search("a yellow moon", limit=1)
    restore(archive, other.folder, replace=True)
    ((passage_id, score),) = vectors.search("a green square", limit=1)
    assert other.tracks.passages_by_id([passage_id])[passage_id].text == "a green square" and score > 0.99


def test_a_library_in_use_or_an_interruption_leaves_everything_as_it_was(
    archive: Path, library: Library, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for path in [entry.path for entry in library.videos()]:
        path.unlink()
    (library.folder / "uploads").rmdir()
    before, names = contents(library), file_names(library.folder)
    script = (
        "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.execute('SELECT * FROM videos').fetchone(); "
        "print(flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, str(library.folder / DATABASE)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as user:
        assert user.stdout and user.stdout.readline()
        with pytest.raises(LibraryUnusable, match="Another process"):
            restore(archive, library.folder, replace=True)
        user.communicate()
    assert contents(library) == before

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(restore_module, "replace_database", interrupt)
    for folder in (library.folder, tmp_path / "new"):
        with pytest.raises(KeyboardInterrupt):
            restore(archive, folder, replace=True)
    assert contents(library) == before and file_names(library.folder) == names and not (tmp_path / "new" / DATABASE).exists()


def test_only_what_a_killed_restore_has_left_counts_as_a_new_folder(archive: Path, library: Library, tmp_path: Path) -> None:
    (upload,) = (library.folder / "uploads").iterdir()
    for name, content, is_own in (
        (f"uploads/{upload.name}", upload.read_bytes(), True),
        (f"uploads/{upload.name}", b"a file of the user", False),
        ("uploads/film.mp4", upload.read_bytes(), False),
        (DATABASE, b"", False),
    ):
        folder = tmp_path / "new"
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_bytes(content)
        if is_own:
            assert restore(archive, folder, replace=False).kept is None
        else:
            with pytest.raises(BadRequest, match="is not empty"):
                restore(archive, folder, replace=False)
            assert (folder / name).read_bytes() == content
        shutil.rmtree(folder)


def test_a_back_up_of_the_first_library_is_migrated(archive: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(FIRST_LIBRARY / DATABASE)) as db:
        version = db.execute("PRAGMA user_version").fetchone()[0]

    def change(members: dict[str, bytes], manifest: dict[str, Any]) -> None:
        members.clear()
        members[DATABASE] = (FIRST_LIBRARY / DATABASE).read_bytes()
        manifest |= {"schema_version": version, "members": {}, "originals": {}}

    report = restore(rewrite(archive, tmp_path / "old.zip", change), tmp_path / "new", replace=False)
    (entry,) = Library(report.library).videos()
    assert entry.caption_count == 3 and [item.video_id for item in report.missing] == [entry.video_id]


def test_library_and_back_up_can_be_read_by_their_owner_only(archive: Path, library: Library, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o755)
    (shared / "other").touch()
    Library(shared)
    old = Path(shutil.copytree(FIRST_LIBRARY, tmp_path / "old"))
    old.chmod(0o755)
    Library(old)
    (tmp_path / "new").mkdir(mode=0o755)
    restored = restore(archive, tmp_path / "new", replace=False).library
    private = [library.folder, library.folder / DATABASE, archive, restored, *restored.rglob("*.[dm]*"), old, old / DATABASE]
    assert len([path for path in private if path.suffix == ".mp4"]) == 1
    for path in (*private, shared / DATABASE):
        assert path.stat().st_mode & 0o077 == 0, path
    # A folder of the user that has other things stays as it is.
    assert shared.stat().st_mode & 0o777 == 0o755


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 100 kilobytes, less than the video files have."""
    with small_disk(tmp_path / "disk", "100k") as folder:
        yield folder


def test_full_disk_is_an_error_and_leaves_no_file(
    archive: Path, library: Library, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for is_known_before in (True, False):
        if not is_known_before:
            # Others fill the disk meanwhile.
            monkeypatch.setattr(backup_module, "require_space", lambda *_: None)
            monkeypatch.setattr(restore_module, "require_space", lambda *_: None)
        with pytest.raises(NoSpace):
            backup(library.folder, disk / "all.zip", with_originals=True)
        with pytest.raises(NoSpace):
            restore(archive, disk / "library", replace=False)
        assert file_names(disk) == []


def test_backup_names_missing_files_and_needs_a_library(library: Library, tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="no library"):
        backup(tmp_path / "nothing", tmp_path / "all.zip", with_originals=False)
    assert not (tmp_path / "nothing").exists()
    holiday, upload = library.videos()
    upload.path.unlink()
    report = backup(library.folder, tmp_path / "all.zip", with_originals=False)
    assert [entry.video_id for entry in report.missing] == [upload.video_id]
    with open_backup(report.path) as (_, manifest):
        assert manifest.video_count == 2 and manifest.originals == {}
    assert holiday.path.exists()
