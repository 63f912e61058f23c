"""Back-ups that were changed by others: nothing of them is trusted."""

import functools
import hashlib
import json
import sqlite3
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from longview.app.errors import BackupUnusable
from longview.app.maintenance.archive import MANIFEST
from longview.app.maintenance.restore import restore
from longview.indexing.errors import LibraryUnusable
from longview.indexing.sqlite.database.database import DATABASE
from longview.indexing.sqlite.database.migrations import MIGRATIONS
from longview.indexing.sqlite.library import Library
from tests.support.app_samples import file_names
from tests.support.backups import contents


def rewrite(archive: Path, target: Path, change: Callable[[dict[str, bytes], dict[str, Any]], None]) -> Path:
    """Write a back-up again after a change of its members and its manifest. Members without an entry get one."""
    with zipfile.ZipFile(archive) as old:
        members = {name: old.read(name) for name in old.namelist() if name != MANIFEST}
        manifest = json.loads(old.read(MANIFEST))
    change(members, manifest)
    with zipfile.ZipFile(target, "w") as new:
        for name, content in members.items():
            entry = {"size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            manifest["members"].setdefault(name, entry)
            new.writestr(name, content, zipfile.ZIP_DEFLATED if name == DATABASE else zipfile.ZIP_STORED)
        new.writestr(MANIFEST, json.dumps(manifest))
    return target


def add_member(name: str, members: dict[str, bytes], _: dict[str, Any]) -> None:
    members[name] = b"x"


def test_a_member_with_a_hostile_name_is_refused(archive: Path, tmp_path: Path) -> None:
    for name in (
        *("../outside", "/tmp/outside", "uploads/../../outside", "uploads/..", "uploads/a/b", "originals/x/video.mp4"),
        *(
            "uploads/C:outside",
            "uploads\\outside",
            "vectors.faiss",
            "uploads/",
            "uploads/new\nline",
            "uploads/CON.mp4",
            "uploads/a ",
        ),
    ):
        hostile = rewrite(archive, tmp_path / "hostile.zip", functools.partial(add_member, name))
        with pytest.raises(BackupUnusable, match="does not belong"):
            restore(hostile, tmp_path / "new", replace=False)
        assert not (tmp_path / "new").exists()


def test_a_back_up_that_lies_or_is_damaged_changes_nothing(archive: Path, library: Library, tmp_path: Path) -> None:
    before, names, target = contents(library), file_names(library.folder), tmp_path / "damaged.zip"
    upload = next(entry for entry in library.videos() if "uploads" in entry.path.parts)
    upload_name = f"uploads/{upload.path.name}"

    def other_size(_: dict[str, bytes], manifest: dict[str, Any]) -> None:
        manifest["members"][upload_name]["size_bytes"] = 5

    def other_content(members: dict[str, bytes], _: dict[str, Any]) -> None:
        members[upload_name] = bytes(50_000)

    def other_video(members: dict[str, bytes], manifest: dict[str, Any]) -> None:
        members[upload_name] = bytes(50_000)
        del manifest["members"][upload_name]

    def newer(_: dict[str, bytes], manifest: dict[str, Any]) -> None:
        manifest["schema_version"] = len(MIGRATIONS) + 1

    def no_database(members: dict[str, bytes], manifest: dict[str, Any]) -> None:
        members[DATABASE] = bytes(100_000)
        del manifest["members"][DATABASE]

    def is_refused(match: str) -> None:
        with pytest.raises(BackupUnusable, match=match):
            restore(target, library.folder, replace=True)
        assert contents(library) == before and file_names(library.folder) == names

    for change, match in (
        (other_size, "list of files"),
        (other_content, "is damaged"),
        (other_video, "is not the file of"),
        (newer, f"version {len(MIGRATIONS) + 1}, and this Longview knows versions up to {len(MIGRATIONS)}"),
        (no_database, "another version"),
    ):
        rewrite(archive, target, change)
        is_refused(match)
    content = archive.read_bytes()
    for position in (content.index(b"u" * 1000), 2000):
        target.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
        is_refused("damaged")
    target.write_bytes(content[: len(content) // 2])
    is_refused("damaged")
    # A link, of which an archive may have the attributes.
    with zipfile.ZipFile(target, "w") as hostile:
        info = zipfile.ZipInfo(f"uploads/{'a' * 12}-link")
        info.external_attr = 0o120777 << 16
        hostile.writestr(info, "/etc/passwd")
        hostile.writestr(MANIFEST, "{}")
    is_refused("does not belong")


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TRIGGER evil AFTER INSERT ON jobs BEGIN DELETE FROM videos; END",
        "CREATE VIEW evil AS SELECT 1",
        "UPDATE videos SET video_id = '../../victim/' WHERE title = 'holiday'",
        "UPDATE videos SET facts = '[1]'",
        "UPDATE segments SET end_s = 1e308",
        "PRAGMA user_version = -1",
    ],
)
def test_a_database_that_longview_did_not_write_is_refused(
    archive: Path, library: Library, tmp_path: Path, statement: str
) -> None:
    def change(members: dict[str, bytes], manifest: dict[str, Any]) -> None:
        path = tmp_path / "changed.db"
        path.write_bytes(members[DATABASE])
        with closing(sqlite3.connect(path)) as db, db:
            db.execute(statement)
        members[DATABASE] = path.read_bytes()
        del manifest["members"][DATABASE]

    before, hostile = contents(library), rewrite(archive, tmp_path / "hostile.zip", change)
    for folder, replace in ((library.folder, True), (tmp_path / "new", False)):
        with pytest.raises((LibraryUnusable, BackupUnusable), match="nothing was"):
            restore(hostile, folder, replace=replace)
    assert contents(library) == before and not (tmp_path / "new").exists()
