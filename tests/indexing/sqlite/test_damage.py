"""A damaged, missing or unwritable database is said, loses nothing else, and what can be read comes back."""

import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from longview.core.timeline import Event, Span
from longview.indexing.errors import LibraryDamaged, LibraryFull, LibraryReadOnly, LibraryUnusable
from longview.indexing.sqlite.database import database
from longview.indexing.sqlite.database.database import DATABASE
from longview.indexing.sqlite.database.migrations import MIGRATIONS
from longview.indexing.sqlite.library import Library
from longview.indexing.sqlite.repair.integrity import database_problems, log_problem
from longview.indexing.sqlite.repair.recovery import only_process, recover
from longview.indexing.sqlite.vectors import VectorIndex
from tests.support.library_samples import WordBags, matching_texts, put_captions, put_speech, sample_entry, sample_events, spoken
from tests.support.power_cuts import disk_calls
from tests.support.small_disk import small_disk

FIRST_LIBRARY = Path(__file__).parents[2] / "fixtures" / "library_9caf505"
PAGE_BYTES = 4096
VIDEOS = ("a" * 12, "b" * 12, "c" * 12)


@pytest.fixture
def library(tmp_path: Path) -> Library:
    """Three videos with captions and speech, on 40 pages or more."""
    library = Library(tmp_path / "library")
    fill(library)
    return library


def fill(library: Library, captions: int = 150) -> None:
    for number, video_id in enumerate(VIDEOS):
        entry = sample_entry(video_id)
        library.known_files.remember(entry.path, 1, 2, entry.content_hash)
        events = [Event(Span(i / 2, i / 2 + 0.4), f"a red circle {i} of {number}") for i in range(captions)]
        put_captions(library, entry, events)
        put_speech(library, entry, [spoken(start_s, f"word{start_s} is said") for start_s in range(0, 90, 5)])


def contents(folder: Path) -> dict[str, set[tuple[object, ...]]]:
    """Return the rows that no other rows can be made from."""
    with closing(sqlite3.connect(folder / DATABASE)) as db:
        return {
            table: set(db.execute(f"SELECT {columns} FROM {table}"))
            for table, columns in (
                ("videos", "video_id, content_hash, path"),
                ("tracks", "number, video_id, source"),
                ("segments", "segment_id, video_id, source, start_s, text"),
            )
        }


def pages_of(folder: Path, name: str) -> list[int]:
    with closing(sqlite3.connect(folder / DATABASE)) as db:
        return [row[0] for row in db.execute("SELECT pageno FROM dbstat WHERE name = ? AND pagetype = 'leaf'", (name,))]


def overwrite(folder: Path, page: int, content: bytes) -> None:
    with (folder / DATABASE).open("r+b") as file:
        file.seek((page - 1) * PAGE_BYTES)
        file.write(content)


def test_damaged_page_is_an_error_for_every_reader_and_costs_only_its_own_rows(library: Library) -> None:
    before = contents(library.folder)
    page = pages_of(library.folder, "segments")[1]
    overwrite(library.folder, page, random.Random(3).randbytes(PAGE_BYTES))
    damaged_bytes = (library.folder / DATABASE).read_bytes()
    with pytest.raises(LibraryDamaged, match=r"damaged.*longview check --repair"):
        [library.tracks.segments(video_id) for video_id in VIDEOS]
    assert database_problems(library.folder, is_quick=True)
    with disk_calls() as calls:
        recovery = recover(library.folder / DATABASE)
    assert calls.renamed == [DATABASE] and calls.losses == []
    after = contents(library.folder)
    lost = len(before["segments"]) - len(after["segments"])
    assert after["videos"] == before["videos"] and after["tracks"] == before["tracks"]
    assert after["segments"] < before["segments"] and 0 < lost < 100
    assert recovery.lost_rows == {"segments": lost}
    assert recovery.kept_file.read_bytes() == damaged_bytes
    assert database_problems(library.folder) == []
    repaired = Library(library.folder)
    assert len(matching_texts(repaired, "circle", limit=10_000)) > 300
    # What has lost segments is rebuilt by the next run, the rest is not.
    tracks = {(entry.video_id, track.source): track for entry in repaired.videos() for track in entry.tracks}
    short = {key for key, track in tracks.items() if not track.is_complete}
    assert {video_id for video_id, _ in short} == set(recovery.damaged_videos)
    assert 0 < len(short) < len(tracks)


@pytest.mark.parametrize("length", [100, PAGE_BYTES], ids=["header", "first page"])
def test_a_destroyed_header_costs_nothing(library: Library, length: int) -> None:
    before = contents(library.folder)
    overwrite(library.folder, 1, random.Random(3).randbytes(length))
    with pytest.raises(LibraryDamaged, match="longview check"):
        Library(library.folder)
    recovery = recover(library.folder / DATABASE)
    assert contents(library.folder) == before and not recovery.lost_rows
    assert database_problems(library.folder) == []


@pytest.mark.parametrize("is_header_damaged", [False, True])
def test_a_damaged_library_of_the_first_version_is_recovered_and_migrated(tmp_path: Path, is_header_damaged: bool) -> None:
    folder = tmp_path / "library"
    shutil.copytree(FIRST_LIBRARY, folder)
    whole = Library(shutil.copytree(FIRST_LIBRARY, tmp_path / "whole"))
    overwrite(folder, pages_of(folder, "captions_by_video")[0], bytes(PAGE_BYTES))
    if is_header_damaged:
        overwrite(folder, 1, bytes(100))
    recover(folder / DATABASE)
    (entry,) = Library(folder).videos()
    assert entry.caption_count == 3 and entry.summary == whole.videos()[0].summary
    assert Library(folder).conversations.answers(entry.video_id) == whole.conversations.answers(entry.video_id) != ()
    assert database_problems(folder) == []


def test_videos_whose_rows_are_lost_are_rebuilt(library: Library) -> None:
    before = contents(library.folder)
    for page in pages_of(library.folder, "videos"):
        overwrite(library.folder, page, bytes(PAGE_BYTES))
    assert recover(library.folder / DATABASE).rebuilt_videos == 3
    assert contents(library.folder) == before


def test_a_damaged_job_costs_itself_only(library: Library) -> None:
    damages = {
        "options": '{"sources"; ["speech"]}',
        "settings": '["model"]',
        "status": "wbiting",
        "request": "pbuse",
        "changed_at": "2026-13-01T00:00:00+00:00",
        "content_hash": "0123456789az",
    }
    paths = {name: Path(f"/{name}.mp4") for name in ("whole", *damages)}
    for name, path in paths.items():
        library.queue.add(path, title=name, options={"sources": ["speech"]}, settings={"model": "demo"}, priority=0)
    (whole,) = (job for job in library.queue.jobs() if job.title == "whole")
    with closing(sqlite3.connect(library.folder / DATABASE, isolation_level=None)) as db:
        for column, value in damages.items():
            db.execute(f"UPDATE jobs SET {column} = ? WHERE title = ?", (value, column))
    recovery = recover(library.folder / DATABASE)
    repaired = Library(library.folder)
    assert repaired.queue.jobs() == (whole,) and recovery.lost_rows == {"jobs": len(damages)}
    assert len(repaired.videos()) == 3


def test_damage_in_the_log_is_reported_and_what_precedes_it_is_kept(library: Library, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    # A connection that stays open keeps the log.
    with closing(sqlite3.connect(library.folder / DATABASE)) as reader:
        reader.execute("SELECT count(*) FROM videos").fetchone()
        library.set_path(VIDEOS[0], Path("/first"))
        library.set_path(VIDEOS[1], Path("/second"))
        log = bytearray((library.folder / (DATABASE + "-wal")).read_bytes())
        (copy / DATABASE).write_bytes((library.folder / DATABASE).read_bytes())
    log[-PAGE_BYTES // 2] ^= 1
    (copy / (DATABASE + "-wal")).write_bytes(log)
    assert "its last 1 changes" in (log_problem(copy) or "")
    paths = [Library(copy).video(video_id).path for video_id in VIDEOS[:2]]
    assert paths == [Path("/first"), sample_entry(VIDEOS[1]).path]


def test_a_library_of_which_only_the_log_is_left_is_recovered_from_it(tmp_path: Path) -> None:
    library = Library(tmp_path / "library")
    rest = tmp_path / "rest"
    rest.mkdir()
    with closing(sqlite3.connect(library.folder / DATABASE)) as reader:
        reader.execute("SELECT count(*) FROM videos").fetchone()
        fill(library, captions=3)
        before = contents(library.folder)
        (rest / (DATABASE + "-wal")).write_bytes((library.folder / (DATABASE + "-wal")).read_bytes())
    with pytest.raises(LibraryDamaged, match=r"is missing, but .*library\.db-wal .*--repair"):
        Library(rest)
    recovery = recover(rest / DATABASE)
    assert contents(rest) == before
    assert recovery.kept_file.with_name(recovery.kept_file.name + "-wal").exists()


@pytest.mark.parametrize("is_empty", [True, False], ids=["empty", "missing"])
def test_a_missing_database_beside_vectors_is_an_error_and_overwrites_nothing(library: Library, is_empty: bool) -> None:
    VectorIndex(library, WordBags()).update()
    vectors = (library.folder / "vectors.faiss").read_bytes()
    (library.folder / DATABASE).unlink()
    if is_empty:
        (library.folder / DATABASE).touch()
    with pytest.raises(LibraryDamaged, match=r"library\.db.*vectors\.faiss has the vectors of \d+ passages.*back-up"):
        Library(library.folder)
    assert (library.folder / "vectors.faiss").read_bytes() == vectors
    # A server that is running does not take it for an empty library either.
    with pytest.raises(LibraryDamaged):
        library.videos()
    assert (library.folder / DATABASE).exists() == is_empty


def test_a_folder_with_an_empty_database_and_nothing_else_is_a_new_library(tmp_path: Path) -> None:
    (tmp_path / DATABASE).touch()
    assert Library(tmp_path).videos() == ()
    assert database_problems(tmp_path) == []


def test_a_migration_keeps_the_old_database_and_a_damaged_one_is_not_migrated(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(library.folder)
    monkeypatch.setattr(database, "MIGRATIONS", (*MIGRATIONS, "CREATE TABLE notes (note TEXT);\n"))
    Library(library.folder)
    copy = library.folder / f"{DATABASE}.before-version-{len(MIGRATIONS) + 1}"
    with closing(sqlite3.connect(copy)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
        assert db.execute("SELECT count(*) FROM segments").fetchone()[0] == len(before["segments"])
    monkeypatch.setattr(database, "MIGRATIONS", (*MIGRATIONS, "CREATE TABLE notes (note TEXT);\n", "SELECT 1;\n"))
    overwrite(library.folder, pages_of(library.folder, "segments")[0], bytes(PAGE_BYTES))
    with pytest.raises(LibraryDamaged):
        Library(library.folder)
    assert copy.exists()


def test_a_newer_database_is_refused_with_both_versions(library: Library) -> None:
    with closing(sqlite3.connect(library.folder / DATABASE)) as db:
        db.execute("PRAGMA user_version = 4711")
    with pytest.raises(LibraryUnusable, match=rf"schema version 4711.*up to {len(MIGRATIONS)}\b"):
        Library(library.folder)


def test_nothing_is_repaired_while_another_process_reads(library: Library) -> None:
    code = (
        "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); "
        "db.execute('SELECT * FROM videos').fetchone(); print(flush=True); input()"
    )
    path = library.folder / DATABASE
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as reader:
        assert reader.stdout is not None
        reader.stdout.readline()
        with pytest.raises(LibraryUnusable, match="Another process"), only_process(path):
            pass
        reader.communicate("\n")
    with only_process(path):
        pass


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of two megabytes of its own."""
    with small_disk(tmp_path / "disk", "2m") as folder:
        yield folder


@contextmanager
def full(disk: Path) -> Iterator[None]:
    filler = disk / "filler"
    try:
        with suppress(OSError), filler.open("wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass
        assert not shutil.disk_usage(disk).free
        yield
    finally:
        filler.unlink()


@contextmanager
def read_only(disk: Path) -> Iterator[None]:
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    try:
        yield
    finally:
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)


@pytest.mark.parametrize(("state", "error"), [(full, LibraryFull), (read_only, LibraryReadOnly)], ids=["full", "read-only"])
@pytest.mark.parametrize("has_log", [False, True], ids=["clean", "with a log"])
def test_a_library_that_cannot_be_written_is_read(disk: Path, state, error: type[LibraryUnusable], has_log: bool) -> None:  # type: ignore[no-untyped-def]
    folder = disk / "library"
    put_captions(Library(folder), sample_entry(VIDEOS[0]), sample_events("a red circle", "a blue star"))
    if has_log:
        # The last process was killed: its changes are in the log, and SQLite would need shared memory to read them.
        code = (
            "import os, pathlib; from longview.indexing.sqlite.library import Library; "
            f"l = Library(pathlib.Path({str(folder)!r}));"
            f"import sqlite3; db = sqlite3.connect(l.folder / 'library.db'); db.execute('SELECT * FROM videos').fetchone();"
            f"l.set_path({VIDEOS[0]!r}, pathlib.Path('/moved')); os._exit(0)"
        )
        subprocess.run([sys.executable, "-c", code], check=True)
        (folder / (DATABASE + "-shm")).unlink()
        assert (folder / (DATABASE + "-wal")).stat().st_size
    with state(disk):
        library = Library(folder)
        index = VectorIndex(library, WordBags())
        assert [number for number, _ in index.search("red circle", limit=1)]
        assert matching_texts(library, "star") == ["a blue star"]
        assert library.video(VIDEOS[0]).path == (Path("/moved") if has_log else sample_entry(VIDEOS[0]).path)
        with pytest.raises(error, match=str(folder)):
            library.set_path(VIDEOS[0], Path("/other"))
        assert not list(folder.glob(".partial-*"))
    library.set_path(VIDEOS[0], Path("/other"))
    assert library.video(VIDEOS[0]).path == Path("/other")


def test_an_older_library_on_a_read_only_disk_is_not_upgraded(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Library(disk / "library")
    monkeypatch.setattr(database, "MIGRATIONS", (*MIGRATIONS, "CREATE TABLE notes (note TEXT);\n"))
    with read_only(disk), pytest.raises(LibraryUnusable, match=rf"read-only.*version {len(MIGRATIONS)}\b.*upgraded"):
        Library(disk / "library")


def test_an_error_of_a_row_is_blamed_on_the_database_only_if_it_is_damaged(library: Library) -> None:
    with pytest.raises(ValueError, match="a bug"), library._database.connection():
        raise ValueError("a bug")
