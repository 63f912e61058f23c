"""The library has all captions of a run or none, even if a writer is killed and several processes write at once."""

import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from longview.core.timeline import Event, Segment, Span
from longview.indexing.errors import AmbiguousVideo, LibraryUnusable, UnknownVideo
from longview.indexing.records.track import Provenance
from longview.indexing.records.video import AnsweredQuestion
from longview.indexing.sqlite.database import database, schema
from longview.indexing.sqlite.database.database import DATABASE
from longview.indexing.sqlite.database.migrations import MIGRATIONS
from longview.indexing.sqlite.library import Library
from tests.support.library_samples import (
    as_captions,
    caption_texts,
    matching_texts,
    put_captions,
    put_speech,
    sample_entry,
    sample_events,
    sample_track,
    spoken,
)

ROOT = Path(__file__).parents[3]
MANY_CAPTIONS = 2000
LONG_ENTRY = replace(sample_entry("aaaaaaaaaaaa"), duration_s=5000.0)
"""Number of captions where a writer is killed: enough that the kill interrupts a write."""


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(tmp_path / "library")


def test_video_is_read_back_as_it_was_put(library: Library) -> None:
    events = [Event(Span(2.125, 3.5), "Später: “naïve” 빨간 원"), Event(Span(0.1, 9), "first")]
    sample = replace(sample_entry("aaaaaaaaaaaa"), summary="two events", chapters=(Event(Span(0, 100), "All"),))
    entry = put_captions(library, sample, events)
    reopened = Library(library.folder)
    assert reopened.video("aaaaaaaaaaaa") == entry
    assert replace(entry, added_at="", tracks=()) == sample
    assert entry.caption_count == 2
    (track,) = entry.tracks
    expected = sample_track("captions", uncovered=(Span(90, 100),), segment_count=2, updated_at=track.updated_at)
    assert track == expected and track.updated_at
    captions = [item.segment for item in reopened.tracks.segments("aaaaaaaaaaaa", "captions")]
    assert captions == list(as_captions(reversed(events)))


def process_command(function: str, folder: Path) -> list[str]:
    """Return the command that runs a function of this module in its own process."""
    code = (
        f"import sys, pathlib; from tests.indexing.sqlite import test_library; test_library.{function}(pathlib.Path(sys.argv[1]))"
    )
    return [sys.executable, "-c", code, str(folder)]


def rewrite_forever(folder: Path) -> None:
    library = Library(folder)
    library.put(replace(sample_entry("aaaaaaaaaaaa"), duration_s=float(MANY_CAPTIONS)))
    for version in range(10**6):
        events = sample_events(*[f"word{version} {number}" for number in range(MANY_CAPTIONS)])
        chapters = [Event(Span(0, 100), f"v{version}")]
        library.put_captions(
            "aaaaaaaaaaaa", sample_track("captions"), as_captions(events), summary=f"v{version}", chapters=chapters
        )
        sys.stdout.write(f"{version}\n")
        sys.stdout.flush()


def test_killed_writer_leaves_the_old_or_the_new_captions(library: Library) -> None:
    for delay_s in (0.005, 0.02, 0.04, 0.07):
        writer = subprocess.Popen(process_command("rewrite_forever", library.folder), stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert writer.stdout is not None and writer.stdout.readline()
        time.sleep(delay_s)
        os.kill(writer.pid, signal.SIGKILL)
        writer.communicate()
        entry = library.video("aaaaaaaaaaaa")
        version = entry.summary.removeprefix("v")
        assert [chapter.text for chapter in entry.chapters] == [entry.summary]
        assert caption_texts(library, "aaaaaaaaaaaa") == [f"word{version} {number}" for number in range(MANY_CAPTIONS)]
        assert len(matching_texts(library, f"word{version}", limit=2 * MANY_CAPTIONS)) == MANY_CAPTIONS
        assert matching_texts(library, f"word{int(version) + 1}") == []
    put_captions(library, sample_entry("aaaaaaaaaaaa"), sample_events("after"))
    assert caption_texts(library, "aaaaaaaaaaaa") == ["after"]


def interrupted_captions() -> Iterator[Segment]:
    """Yield two captions; then the user interrupts the process."""
    yield from as_captions(sample_events("half", "half"))
    raise KeyboardInterrupt


@pytest.mark.parametrize("has_captions", [True, False], ids=["with captions", "without captions"])
def test_interrupted_write_changes_nothing(library: Library, has_captions: bool) -> None:
    library.put(sample_entry("aaaaaaaaaaaa"))
    if has_captions:
        put_captions(library, sample_entry("aaaaaaaaaaaa"), sample_events("a red circle"))
    before = library.videos()
    with pytest.raises(KeyboardInterrupt):
        library.put_captions(
            "aaaaaaaaaaaa", sample_track("captions", note="new"), interrupted_captions(), summary="new", chapters=()
        )
    assert library.videos() == before
    assert matching_texts(library, "half") == []
    assert matching_texts(library, "circle") == caption_texts(library, "aaaaaaaaaaaa") == ["a red circle"] * has_captions


def fill_the_disk(folder: Path) -> None:
    import resource

    library = Library(folder)
    # The kernel refuses to let any file of this process grow beyond that, like a full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
    try:
        put_captions(library, LONG_ENTRY, sample_events(*["many words " * 100] * 5000))
    except LibraryUnusable as error:
        sys.stdout.write(str(error))


def test_full_disk_is_reported_and_leaves_the_library_whole(library: Library) -> None:
    entry = put_captions(library, LONG_ENTRY, sample_events("a red circle"))
    completed = subprocess.run(
        process_command("fill_the_disk", library.folder), capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert "disk" in completed.stdout
    assert "rollback" not in completed.stdout
    assert library.videos() == (entry,)
    assert matching_texts(library, "circle many") == caption_texts(library, "aaaaaaaaaaaa") == ["a red circle"]
    assert put_captions(library, sample_entry("bbbbbbbbbbbb"), sample_events("a blue ring")).caption_count == 1


def write_and_search(folder: Path, name: str, barrier: Barrier) -> None:
    barrier.wait()
    library = Library(folder)
    video_id = name * 12
    for turn in range(25):
        put_captions(library, sample_entry(video_id), sample_events(*[f"{name}word turn{turn}"] * 20))
        assert matching_texts(library, f"{name}word") == [f"{name}word turn{turn}"] * 20
        if turn % 5 == 4:
            library.remove(video_id)
            assert matching_texts(library, f"{name}word") == []
    put_captions(library, sample_entry(video_id), sample_events(f"{name}word in the end"))


def test_processes_create_write_and_search_one_library_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(3)
    writers = [context.Process(target=write_and_search, args=(tmp_path / "library", name, barrier)) for name in "abc"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    library = Library(tmp_path / "library")
    assert sorted(video.video_id for video in library.videos()) == ["a" * 12, "b" * 12, "c" * 12]
    assert len(matching_texts(library, "end")) == len(library.tracks.passage_ids()) == 3


def test_second_put_replaces_everything_except_added_at_and_title(library: Library) -> None:
    first = put_captions(library, sample_entry("aaaaaaaaaaaa", "old"), sample_events("a red circle", "a green square"))
    second = put_captions(library, replace(sample_entry("aaaaaaaaaaaa", "new"), duration_s=7.0), sample_events("a blue ring"))
    assert library.videos() == (second,)
    assert (second.title, second.duration_s, second.caption_count) == ("old", 7.0, 1)
    assert second.added_at == first.added_at
    assert matching_texts(library, "circle square") == []
    assert matching_texts(library, "ring") == ["a blue ring"]


def test_removal_deletes_captions_words_and_answers(library: Library) -> None:
    put_captions(library, sample_entry("aaaaaaaaaaaa"), sample_events("a red circle"))
    put_captions(library, sample_entry("bbbbbbbbbbbb"), sample_events("a red circle"))
    answer = AnsweredQuestion("When?", "From 1.0 to 2.0 seconds.", (Span(1, 2),), Provenance("demo@1", "1", {}))
    library.conversations.add("aaaaaaaaaaaa", answer)
    assert library.conversations.answers("aaaaaaaaaaaa") == (answer,)
    library.remove("aaaaaaaaaaaa")
    library.conversations.add("aaaaaaaaaaaa", answer)
    with pytest.raises(UnknownVideo):
        library.video("aaaaaaaaaaaa")
    assert library.tracks.segments("aaaaaaaaaaaa") == ()
    (remaining,) = library.tracks.passages_by_id(list(library.tracks.match_terms(["circl"], limit=10))).values()
    assert remaining.video_id == "bbbbbbbbbbbb"
    put_captions(library, sample_entry("aaaaaaaaaaaa"), sample_events("a red circle"))
    assert library.conversations.answers("aaaaaaaaaaaa") == ()


def test_ids_of_passages_and_segments_are_never_reused(library: Library) -> None:
    used_ids: set[int] = set()
    used_segment_ids: set[int] = set()
    for turn in range(4):
        put_captions(library, sample_entry("aaaaaaaaaaaa"), sample_events(f"turn {turn}", "and more"))
        ids = library.tracks.passage_ids()
        segment_ids = {item.segment_id for item in library.tracks.segments("aaaaaaaaaaaa")}
        assert len(ids) == len(segment_ids) == 2
        assert not ids & used_ids and not segment_ids & used_segment_ids
        used_ids |= ids
        used_segment_ids |= segment_ids
        if turn % 2:
            library.remove("aaaaaaaaaaaa")
            library = Library(library.folder)


def test_every_change_of_passages_changes_the_revision(library: Library) -> None:
    revisions = [library.tracks.revision()]
    put_captions(library, sample_entry("aaaaaaaaaaaa"), sample_events("one"))
    revisions.append(library.tracks.revision())
    put_captions(library, sample_entry("aaaaaaaaaaaa"), sample_events("two"))
    revisions.append(library.tracks.revision())
    put_speech(library, sample_entry("aaaaaaaaaaaa"), [spoken(1, "three")])
    revisions.append(library.tracks.revision())
    library.tracks.delete("aaaaaaaaaaaa", "captions")
    revisions.append(library.tracks.revision())
    library.remove("aaaaaaaaaaaa")
    revisions.append(library.tracks.revision())
    assert len(set(revisions)) == len(revisions)


@pytest.mark.parametrize("reference", ["abc1", " ABC1 ", "abc1" + "0" * 8])
def test_unique_prefix_identifies_a_video(library: Library, reference: str) -> None:
    put_captions(library, sample_entry("abc1" + "0" * 8), [])
    put_captions(library, sample_entry("abc2" + "0" * 8), [])
    assert library.video(reference).video_id == "abc1" + "0" * 8


def test_ambiguous_prefix_lists_all_matching_videos(library: Library) -> None:
    for number in (1, 2):
        put_captions(library, sample_entry(f"abc{number}" + "0" * 8), [])
    with pytest.raises(AmbiguousVideo, match="abc100000000, abc200000000"):
        library.video("abc")


@pytest.mark.parametrize("reference", ["", "  ", "ff", "%", "_", "abc10000000000", "'", "\0"])
def test_reference_to_no_video_is_unknown(library: Library, reference: str) -> None:
    put_captions(library, sample_entry("abc1" + "0" * 8), [])
    with pytest.raises(UnknownVideo):
        library.video(reference)


CAPTIONS = ("A dog runs along the beach.", "Two dogs are running.", "A café by the sea", "빨간 원이 커진다")


@pytest.mark.parametrize(
    ("query", "require_all", "expected"),
    [
        ("dog", False, {0, 1}),
        ("RUNNING", False, {0, 1}),
        ("beaches", False, {0}),
        ("cafe", False, {2}),
        ("원이", False, {3}),
        ("beach sea", False, {0, 2}),
        ("beach sea", True, set()),
        ("dogs run", True, {0, 1}),
        ("cat", False, set()),
        ("", False, set()),
        ("\" dog* NEAR( -dog terms:dog ' OR", False, {0, 1}),
        (" ".join(f"word{number}" for number in range(1000)) + " dog", False, {0, 1}),
    ],
    ids=lambda value: str(value)[:30],
)
def test_words_match_captions_in_any_inflection(library: Library, query: str, require_all: bool, expected: set[int]) -> None:
    put_captions(library, sample_entry("aaaaaaaaaaaa"), sample_events(*CAPTIONS))
    texts = matching_texts(library, query, require_all=require_all)
    assert set(texts) == {CAPTIONS[number] for number in expected}


def test_hash_is_known_only_for_unchanged_size_and_time(library: Library) -> None:
    path = Path("/videos/a.mp4")
    library.known_files.remember(path, 10, 20, "abc")
    assert library.known_files.hash_of(path, 10, 20) == "abc"
    assert library.known_files.hash_of(path, 11, 20) is None
    assert library.known_files.hash_of(path, 10, 21) is None
    library.known_files.remember(path, 11, 21, "def")
    assert (library.known_files.hash_of(path, 10, 20), library.known_files.hash_of(path, 11, 21)) == (None, "def")


def test_library_of_a_newer_version_is_refused_unchanged(library: Library) -> None:
    put_captions(library, sample_entry("aaaaaaaaaaaa"), sample_events("a red circle"))
    with sqlite3.connect(library.folder / DATABASE) as db:
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    with pytest.raises(LibraryUnusable, match="newer version"):
        Library(library.folder)
    with sqlite3.connect(library.folder / DATABASE) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS) + 1,)
        assert db.execute("SELECT text FROM segments").fetchall() == [("a red circle",)]


def test_older_library_is_upgraded_once_and_keeps_its_data(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    put_captions(library, sample_entry("aaaaaaaaaaaa"), sample_events("a red circle"))
    notes = "CREATE TABLE notes (note TEXT);\nINSERT INTO notes VALUES ('upgraded; once');\n"
    for module in (database, schema):
        monkeypatch.setattr(module, "MIGRATIONS", (*MIGRATIONS, notes))
    for _ in range(2):
        upgraded = Library(library.folder)
    assert caption_texts(upgraded, "aaaaaaaaaaaa") == ["a red circle"]
    with sqlite3.connect(library.folder / DATABASE) as db:
        assert db.execute("SELECT note FROM notes").fetchall() == [("upgraded; once",)]


def test_failed_upgrade_is_rolled_back(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    put_captions(library, sample_entry("aaaaaaaaaaaa"), sample_events("a red circle"))
    with monkeypatch.context() as patched:
        for module in (database, schema):
            patched.setattr(module, "MIGRATIONS", (*MIGRATIONS, "CREATE TABLE notes (note TEXT);\nDROP TABLE missing;\n"))
        with pytest.raises(LibraryUnusable, match="missing"):
            Library(library.folder)
    assert caption_texts(Library(library.folder), "aaaaaaaaaaaa") == ["a red circle"]
    with sqlite3.connect(library.folder / DATABASE) as db:
        assert db.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'notes'").fetchone() == (0,)


def test_damaged_database_or_unusable_folder_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / DATABASE).write_bytes(b"no database" * 1000)
    (tmp_path / "file").touch()
    for folder in (tmp_path / "damaged", tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(LibraryUnusable, match=str(folder)):
            Library(folder)
