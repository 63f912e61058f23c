"""The library has whole videos or nothing, even if a writer is killed and several processes write at once."""

import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from longview.indexing import library as library_module
from longview.indexing.errors import AmbiguousVideo, LibraryUnusable, UnknownVideo
from longview.indexing.library import DATABASE, MIGRATIONS, AnsweredQuestion, Library, Provenance
from longview.video.timeline import Event, Span
from tests.indexing.samples import sample_entry, sample_events

ROOT = Path(__file__).parents[2]
MANY_CAPTIONS = 2000
"""Number of captions where a writer is killed: enough that the kill interrupts a write."""


def texts(library: Library, video_id: str) -> list[str]:
    return [caption.event.text for caption in library.captions(video_id)]


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(tmp_path / "library")


def test_video_is_read_back_as_it_was_put(library: Library) -> None:
    entry = library.put(
        sample_entry("aaaaaaaaaaaa"), [Event(Span(2.125, 3.5), "Später: “naïve” 빨간 원"), Event(Span(0.1, 9), "first")]
    )
    reopened = Library(library.folder)
    assert reopened.video("aaaaaaaaaaaa") == entry
    assert replace(entry, added_at="", indexed_at="", caption_count=0) == sample_entry("aaaaaaaaaaaa")
    assert entry.caption_count == 2
    assert [item.event for item in reopened.captions("aaaaaaaaaaaa")] == [
        Event(Span(0.1, 9), "first"),
        Event(Span(2.125, 3.5), "Später: “naïve” 빨간 원"),
    ]


def process_command(function: str, folder: Path) -> list[str]:
    """Return the command that runs a function of this module in its own process."""
    code = f"import sys, pathlib; from tests.indexing import test_library; test_library.{function}(pathlib.Path(sys.argv[1]))"
    return [sys.executable, "-c", code, str(folder)]


def rewrite_forever(folder: Path) -> None:
    library = Library(folder)
    for version in range(10**6):
        library.put(
            sample_entry("aaaaaaaaaaaa", f"v{version}"),
            sample_events(*[f"word{version} {number}" for number in range(MANY_CAPTIONS)]),
        )
        sys.stdout.write(f"{version}\n")
        sys.stdout.flush()


def test_killed_writer_leaves_the_old_or_the_new_video(library: Library) -> None:
    for delay_s in (0.005, 0.02, 0.04, 0.07):
        writer = subprocess.Popen(process_command("rewrite_forever", library.folder), stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert writer.stdout is not None and writer.stdout.readline()
        time.sleep(delay_s)
        os.kill(writer.pid, signal.SIGKILL)
        writer.communicate()
        version = library.video("aaaaaaaaaaaa").title.removeprefix("v")
        assert texts(library, "aaaaaaaaaaaa") == [f"word{version} {number}" for number in range(MANY_CAPTIONS)]
        assert len(library.match_words([f"word{version}"], limit=2 * MANY_CAPTIONS)) == MANY_CAPTIONS
        assert len(library.match_words([f"word{int(version) + 1}"], limit=1)) == 0
    library.put(sample_entry("aaaaaaaaaaaa"), sample_events("after"))
    assert texts(library, "aaaaaaaaaaaa") == ["after"]


class InterruptedEvents(Sequence[Event]):
    """Three events whose iteration is interrupted before the last one."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: object) -> Event:  # type: ignore[override]
        if index == 2:
            raise KeyboardInterrupt
        return sample_events("half")[0]


@pytest.mark.parametrize("is_new", [True, False], ids=["new video", "existing video"])
def test_interrupted_write_changes_nothing(library: Library, is_new: bool) -> None:
    if not is_new:
        library.put(sample_entry("aaaaaaaaaaaa"), sample_events("a red circle"))
    before = library.videos()
    with pytest.raises(KeyboardInterrupt):
        library.put(sample_entry("aaaaaaaaaaaa", "another title"), InterruptedEvents())
    assert library.videos() == before
    assert library.match_words(["half"], limit=10) == ()
    assert len(library.match_words(["circle"], limit=10)) == len(before)


def fill_the_disk(folder: Path) -> None:
    import resource

    library = Library(folder)
    # The kernel refuses to let any file of this process grow beyond that, like a full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
    try:
        library.put(sample_entry("bbbbbbbbbbbb"), sample_events(*["many words " * 100] * 5000))
    except LibraryUnusable as error:
        sys.stdout.write(str(error))


def test_full_disk_is_reported_and_leaves_the_library_whole(library: Library) -> None:
    library.put(sample_entry("aaaaaaaaaaaa"), sample_events("a red circle"))
    completed = subprocess.run(
        process_command("fill_the_disk", library.folder), capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert "disk" in completed.stdout
    assert "rollback" not in completed.stdout
    assert [video.video_id for video in library.videos()] == ["aaaaaaaaaaaa"]
    assert library.put(sample_entry("bbbbbbbbbbbb"), sample_events("a blue ring")).caption_count == 1


def write_and_search(folder: Path, name: str, barrier: Barrier) -> None:
    barrier.wait()
    library = Library(folder)
    video_id = name * 12
    for turn in range(25):
        library.put(sample_entry(video_id), sample_events(*[f"{name}word turn{turn}"] * 20))
        captions = library.captions_by_id(library.match_words([f"{name}word"], limit=1000))
        assert {caption.event.text for caption in captions.values()} == {f"{name}word turn{turn}"}
        assert len(captions) == 20
        if turn % 5 == 4:
            library.remove(video_id)
            assert library.match_words([f"{name}word"], limit=1000) == ()
    library.put(sample_entry(video_id), sample_events(f"{name}word in the end"))


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
    assert len(library.match_words(["end"], limit=10)) == len(library.caption_ids()) == 3


def test_second_put_replaces_everything_except_added_at(library: Library) -> None:
    first = library.put(sample_entry("aaaaaaaaaaaa", "old"), sample_events("a red circle", "a green square"))
    second = library.put(replace(sample_entry("aaaaaaaaaaaa", "new"), duration_s=7.0), sample_events("a blue ring"))
    assert library.videos() == (second,)
    assert (second.title, second.duration_s, second.caption_count) == ("new", 7.0, 1)
    assert second.added_at == first.added_at
    assert library.match_words(["circle", "square"], limit=10) == ()
    assert len(library.match_words(["ring"], limit=10)) == 1


def test_removal_deletes_captions_words_and_answers(library: Library) -> None:
    library.put(sample_entry("aaaaaaaaaaaa"), sample_events("a red circle"))
    library.put(sample_entry("bbbbbbbbbbbb"), sample_events("a red circle"))
    answer = AnsweredQuestion("When?", "From 1.0 to 2.0 seconds.", (Span(1, 2),), Provenance("demo@1", "1", {}))
    library.add_answer("aaaaaaaaaaaa", answer)
    assert library.answers("aaaaaaaaaaaa") == (answer,)
    library.remove("aaaaaaaaaaaa")
    library.add_answer("aaaaaaaaaaaa", answer)
    with pytest.raises(UnknownVideo):
        library.video("aaaaaaaaaaaa")
    (remaining,) = library.captions_by_id(library.match_words(["circle"], limit=10)).values()
    assert remaining.video_id == "bbbbbbbbbbbb"
    library.put(sample_entry("aaaaaaaaaaaa"), sample_events("a red circle"))
    assert library.answers("aaaaaaaaaaaa") == ()


def test_caption_ids_are_never_reused(library: Library) -> None:
    used_ids: set[int] = set()
    for turn in range(4):
        library.put(sample_entry("aaaaaaaaaaaa"), sample_events(f"turn {turn}", "and more"))
        ids = library.caption_ids()
        assert len(ids) == 2 and not ids & used_ids
        used_ids |= ids
        if turn % 2:
            library.remove("aaaaaaaaaaaa")
            library = Library(library.folder)


def test_every_change_of_captions_changes_the_revision(library: Library) -> None:
    revisions = [library.revision()]
    library.put(sample_entry("aaaaaaaaaaaa"), sample_events("one"))
    revisions.append(library.revision())
    library.put(sample_entry("aaaaaaaaaaaa"), sample_events("two"))
    revisions.append(library.revision())
    library.remove("aaaaaaaaaaaa")
    revisions.append(library.revision())
    assert len(set(revisions)) == 4


@pytest.mark.parametrize("reference", ["abc1", " ABC1 ", "abc1" + "0" * 8])
def test_unique_prefix_identifies_a_video(library: Library, reference: str) -> None:
    library.put(sample_entry("abc1" + "0" * 8), [])
    library.put(sample_entry("abc2" + "0" * 8), [])
    assert library.video(reference).video_id == "abc1" + "0" * 8


def test_ambiguous_prefix_lists_all_matching_videos(library: Library) -> None:
    for number in (1, 2):
        library.put(sample_entry(f"abc{number}" + "0" * 8), [])
    with pytest.raises(AmbiguousVideo, match="abc100000000, abc200000000"):
        library.video("abc")


@pytest.mark.parametrize("reference", ["", "  ", "ff", "%", "_", "abc10000000000", "'", "\0"])
def test_reference_to_no_video_is_unknown(library: Library, reference: str) -> None:
    library.put(sample_entry("abc1" + "0" * 8), [])
    with pytest.raises(UnknownVideo):
        library.video(reference)


CAPTIONS = ("A dog runs along the beach.", "Two dogs are running.", "A café by the sea", "빨간 원이 커진다")


@pytest.mark.parametrize(
    ("words", "require_all", "expected"),
    [
        (["dog"], False, {0, 1}),
        (["RUNNING"], False, {0, 1}),
        (["beaches"], False, {0}),
        (["cafe"], False, {2}),
        (["원이"], False, {3}),
        (["beach", "sea"], False, {0, 2}),
        (["beach", "sea"], True, set()),
        (["dogs", "run"], True, {0, 1}),
        (["cat"], False, set()),
        ([], False, set()),
        (['"', "dog OR sea", "dog*", "NEAR(", "-dog", "text:dog", "'"], False, {0, 1}),
        ([f"word{number}" for number in range(1000)] + ["dog"], False, {0, 1}),
    ],
)
def test_words_match_captions_in_any_inflection(
    library: Library, words: list[str], require_all: bool, expected: set[int]
) -> None:
    library.put(sample_entry("aaaaaaaaaaaa"), sample_events(*CAPTIONS))
    captions = library.captions_by_id(library.match_words(words, limit=10, require_all=require_all))
    assert {caption.event.text for caption in captions.values()} == {CAPTIONS[number] for number in expected}


def test_hash_is_known_only_for_unchanged_size_and_time(library: Library) -> None:
    path = Path("/videos/a.mp4")
    library.remember_hash(path, 10, 20, "abc")
    assert library.known_hash(path, 10, 20) == "abc"
    assert library.known_hash(path, 11, 20) is None
    assert library.known_hash(path, 10, 21) is None
    library.remember_hash(path, 11, 21, "def")
    assert (library.known_hash(path, 10, 20), library.known_hash(path, 11, 21)) == (None, "def")


def test_library_of_a_newer_version_is_refused_unchanged(library: Library) -> None:
    library.put(sample_entry("aaaaaaaaaaaa"), sample_events("a red circle"))
    with sqlite3.connect(library.folder / DATABASE) as db:
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    with pytest.raises(LibraryUnusable, match="newer version"):
        Library(library.folder)
    with sqlite3.connect(library.folder / DATABASE) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS) + 1,)
        assert db.execute("SELECT text FROM captions").fetchall() == [("a red circle",)]


def test_older_library_is_upgraded_once_and_keeps_its_data(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    library.put(sample_entry("aaaaaaaaaaaa"), sample_events("a red circle"))
    notes = "CREATE TABLE notes (note TEXT);\nINSERT INTO notes VALUES ('upgraded; once');\n"
    monkeypatch.setattr(library_module, "MIGRATIONS", (*MIGRATIONS, notes))
    for _ in range(2):
        upgraded = Library(library.folder)
    assert texts(upgraded, "aaaaaaaaaaaa") == ["a red circle"]
    with sqlite3.connect(library.folder / DATABASE) as db:
        assert db.execute("SELECT note FROM notes").fetchall() == [("upgraded; once",)]


def test_failed_upgrade_is_rolled_back(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    library.put(sample_entry("aaaaaaaaaaaa"), sample_events("a red circle"))
    with monkeypatch.context() as patched:
        patched.setattr(library_module, "MIGRATIONS", (*MIGRATIONS, "CREATE TABLE notes (note TEXT);\nDROP TABLE missing;\n"))
        with pytest.raises(LibraryUnusable, match="missing"):
            Library(library.folder)
    assert texts(Library(library.folder), "aaaaaaaaaaaa") == ["a red circle"]
    with sqlite3.connect(library.folder / DATABASE) as db:
        assert db.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'notes'").fetchone() == (0,)


def test_damaged_database_or_unusable_folder_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / DATABASE).write_bytes(b"no database" * 1000)
    (tmp_path / "file").touch()
    for folder in (tmp_path / "damaged", tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(LibraryUnusable, match=str(folder)):
            Library(folder)
