"""Removals expire, and the caches of a library keep to their limit."""

import os
import sqlite3
import threading
import time
from contextlib import closing, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from longview.app.files.cache_limit import RECENT_S, CacheLimit, limit_caches
from longview.app.maintenance.housekeeping import purge_expired, purge_jobs, run_hourly, run_housekeeping
from longview.app.service import Longview
from longview.indexing.errors import LibraryFull, UnknownVideo
from longview.indexing.records.video import VideoEntry
from longview.indexing.sqlite.database.database import DATABASE
from longview.indexing.sqlite.library import Library
from tests.support.app_samples import demo_settings, file_names
from tests.support.library_samples import matching_texts, put_captions, sample_entry, sample_events
from tests.support.small_disk import small_disk

HOUR_S = 3600.0


def cached(folder: Path, name: str, size_bytes: int, *, unused_s: float = HOUR_S) -> Path:
    """Write a cached file that was last used some time ago."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size_bytes))
    os.utime(path, (time.time() - unused_s,) * 2)
    return path


def test_the_files_that_were_used_longest_ago_are_deleted_first(tmp_path: Path) -> None:
    oldest = cached(tmp_path, "proxies/aaaaaaaaaaaa.mp4", 400, unused_s=9 * HOUR_S)
    older = cached(tmp_path, "thumbnails/aaaaaaaaaaaa-1000.jpg", 300, unused_s=8 * HOUR_S)
    newer = cached(tmp_path, "thumbnails/bbbbbbbbbbbb-1000.jpg", 300, unused_s=2 * HOUR_S)
    partial = cached(tmp_path, "proxies/.partial-x.mp4", 9000, unused_s=9 * HOUR_S)
    limit = CacheLimit(tmp_path, 1000)
    limit.note_use(oldest)
    written = cached(tmp_path, "thumbnails/bbbbbbbbbbbb-2000.jpg", 200, unused_s=0)
    limit.note_write(written)
    assert oldest.exists() and not older.exists() and newer.exists() and written.exists()
    # It counts on from there, without reading the folders for each file.
    again = cached(tmp_path, "thumbnails/bbbbbbbbbbbb-3000.jpg", 200, unused_s=0)
    limit.note_write(again)
    assert not newer.exists() and oldest.exists() and written.exists() and again.exists() and partial.exists()


def test_ended_jobs_and_what_nothing_needs_any_more_are_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = Library(tmp_path)
    uploads = [cached(tmp_path, f"uploads/{name}.mp4", 10) for name in ("unused", "failed", "expired", "used")]
    put_captions(library, replace(sample_entry("aaaaaaaaaaaa"), path=uploads[3]), [])
    values = {"options": {}, "settings": {}, "priority": 0, "owner": "a process"}
    jobs = [library.queue.add(path, title=path.name, **values) for path in uploads[1:3]]  # type: ignore[arg-type]
    for job in jobs:
        library.queue.claim(job.job_id, "a process")
        library.queue.end(job.job_id, "a process", "failed", reason="why")
    with closing(sqlite3.connect(tmp_path / DATABASE, isolation_level=None)) as db:
        db.execute("UPDATE jobs SET changed_at = '2026-01-01T00:00:00+00:00' WHERE job_id = ?", (jobs[1].job_id,))
    left = cached(tmp_path, "proxies/.partial-x.mp4", 10, unused_s=25 * HOUR_S)
    # What was stored a moment ago may be about to get a job.
    purge_jobs(library)
    assert [job.job_id for job in library.queue.jobs()] == [jobs[0].job_id]
    assert all(path.exists() for path in uploads)
    monkeypatch.setattr("longview.app.maintenance.housekeeping.UNUSED_UPLOADS_KEPT_S", -1.0)
    run_housekeeping(library, 1 << 30)
    assert [path.exists() for path in uploads] == [False, True, False, True] and not left.exists()


def aged(path: Path, age_s: float) -> Path:
    os.utime(path, (time.time() - age_s,) * 2)
    return path


def test_only_temporary_files_of_the_library_itself_are_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library, day_s = Library(tmp_path / "library"), 25 * HOUR_S
    folder = library.folder
    names = ("a.db", "a.db-wal", "a.before-version-7", "a.before-version-7-journal", "a.faiss", "a.json")
    own = [cached(folder, f".partial-{name}", 1, unused_s=day_s) for name in names]
    subfolders = ("uploads", "samples", "thumbnails", "proxies")
    own += [cached(folder, f"{name}/.partial-x.mp4", 1, unused_s=day_s) for name in subfolders]
    left = aged(cached(folder, ".partial-restore-left/uploads/a.mp4", 1, unused_s=day_s).parent, day_s).parent
    aged(left, day_s)
    # A restore that is going on writes its files, but into folders that it made a day ago.
    running = aged(cached(folder, ".partial-restore-running/uploads/a.mp4", 1, unused_s=0).parent, day_s).parent
    aged(running, day_s)
    foreign = [
        cached(folder, "films/.partial-films.mp4", 1, unused_s=day_s),
        cached(folder, "originals/aaaaaaaaaaaa/.partial-cut.mp4", 1, unused_s=day_s),
        cached(folder, ".partial-of-another-program.mp4", 1, unused_s=day_s),
        cached(folder, "uploads/.partial-x/film.mp4", 1, unused_s=day_s),
        cached(folder, ".partial-y/film.mp4", 1, unused_s=day_s),
        cached(folder, ".partial-b.faiss", 1, unused_s=HOUR_S),
    ]
    for path in (foreign[3].parent, foreign[4].parent):
        aged(path, day_s)
    undeletable, unlink = own[0], Path.unlink

    def unlink_others(path: Path, missing_ok: bool = False) -> None:
        if path == undeletable:
            raise PermissionError(1, "Operation not permitted")
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", unlink_others)
    run_housekeeping(library, 1 << 30)
    assert [path for path in own if path.exists()] == [undeletable] and not left.exists()
    assert running.exists() and all(path.exists() for path in foreign)


def test_files_in_use_stay_unless_one_alone_exceeds_the_limit(tmp_path: Path) -> None:
    recent = [cached(tmp_path, f"thumbnails/{number}.jpg", 600, unused_s=RECENT_S / 2) for number in range(3)]
    assert limit_caches(tmp_path, 1000) == 1800 and all(path.exists() for path in recent)
    huge = cached(tmp_path, "proxies/aaaaaaaaaaaa.mp4", 2000, unused_s=1)
    limit_caches(tmp_path, 1000, written=huge)
    assert huge.exists()
    limit_caches(tmp_path, 1000)
    assert not huge.exists() and all(path.exists() for path in recent)


def test_a_thumbnail_that_is_written_makes_room_for_itself(app: Longview, twice: VideoEntry) -> None:
    old = app.parts.media.thumbnail(twice.video_id, 1.0)
    os.utime(old, (1, 1))
    small = Longview(demo_settings(app.parts.library.folder, cache_bytes=1))
    new = small.parts.media.thumbnail(twice.video_id, 3.0)
    assert new.exists() and not old.exists()
    # Its use is noted.
    os.utime(new, (1, 1))
    assert app.parts.media.thumbnail(twice.video_id, 3.0) == new and time.time() - new.stat().st_mtime < 60


def test_only_an_upload_that_nothing_needs_is_discarded(tmp_path: Path) -> None:
    app = Longview(demo_settings(tmp_path / "library"))
    names = ("aaaaaaaaaaaa-removed", "bbbbbbbbbbbb-waiting", "cccccccccccc-unused")
    removed, waiting, unused = (cached(app.parts.library.folder, f"uploads/{name}.mp4", 100) for name in names)
    put_captions(app.parts.library, replace(sample_entry("a" * 12), path=removed), sample_events("a red circle"))
    app.remove(app.videos()[0])
    job = app.parts.library.queue.add(waiting, title="waiting", options={}, settings={}, priority=0)
    other = cached(tmp_path, "film.mp4", 100)
    for path in (removed, waiting, unused, other):
        app.parts.media.discard_upload(path)
    assert removed.exists() and waiting.exists() and other.exists() and not unused.exists()
    app.parts.library.queue.cancel(job.job_id)
    app.parts.media.discard_upload(waiting)
    assert not waiting.exists()


@pytest.fixture
def library(tmp_path: Path) -> Library:
    library = Library(tmp_path / "library")
    put_captions(library, sample_entry("a" * 12), sample_events("a red circle"))
    return library


def test_housekeeping_makes_expired_removals_final_and_limits_the_caches(library: Library) -> None:
    thumbnail = cached(library.folder, "thumbnails/bbbbbbbbbbbb-1000.jpg", 300)
    library.remove("a" * 12)
    assert purge_expired(library, now=datetime.now(UTC) + timedelta(hours=23)) == ()
    with closing(sqlite3.connect(library.folder / DATABASE)) as db:
        db.execute("UPDATE videos SET removed_at = '2020-01-01T00:00:00.000000+00:00'")
        db.commit()
    stopping = threading.Event()
    stopping.set()
    run_hourly(Longview(demo_settings(library.folder, cache_bytes=0)), stopping)
    assert not thumbnail.exists()
    with closing(sqlite3.connect(library.folder / DATABASE)) as db:
        assert db.execute("SELECT count(*) FROM videos").fetchone() == (0,)


def fill(disk: Path) -> None:
    with suppress(OSError), (disk / "filler").open("wb", buffering=0) as filler:
        while True:
            filler.write(bytes(4096))


def test_a_removal_on_a_full_disk_loses_nothing_and_caches_make_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "library", "4m") as folder:
        app = Longview(demo_settings(folder))
        entry = put_captions(app.parts.library, sample_entry("a" * 12), sample_events(*["a red circle"] * 400))
        put_captions(app.parts.library, sample_entry("b" * 12), sample_events("a blue star"))
        copy = cached(folder, f"proxies/{entry.video_id}.mp4", 500_000)
        fill(folder)
        with pytest.raises(LibraryFull):
            app.parts.library.remove(entry.video_id)
        assert app.videos()[0] == entry and len(matching_texts(app.parts.library, "circle", limit=500)) == 400
        removal = app.remove(entry)
        assert removal.freed_bytes == 500_000 and not copy.exists() and file_names(folder / "proxies") == []
        with pytest.raises(UnknownVideo):
            app.video(entry.video_id)
        assert app.removals.undo() == entry
        assert len(matching_texts(app.parts.library, "circle", limit=500)) == 400
