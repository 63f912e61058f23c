"""The library keeps whole videos or nothing, whatever happens to the process that writes, and however many write at once."""

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
from longview.indexing.library import DATABASE, MIGRATIONS, AnsweredQuestion, Library, Provenance, VideoEntry
from longview.video.timeline import Event, Span

ROOT = Path(__file__).parents[2]
MANY = 2000
"""Captions of one video in the tests that kill: enough that writing them takes a while."""


def entry(video_id: str, title: str = "a video") -> VideoEntry:
    return VideoEntry(
        video_id=video_id,
        content_hash=video_id.ljust(40, "0"),
        path=Path("/videos") / f"{video_id}.mp4",
        title=title,
        duration_s=100.0,
        span=Span(0, 100),
        provenance=Provenance("demo@1", "1", {"grain_s": 1.0}),
        facts={"codec": "h264"},
        incomplete=(Span(90, 100),),
    )


def told(*texts: str) -> list[Event]:
    return [Event(Span(number, number + 0.5), text) for number, text in enumerate(texts)]


def texts(library: Library, video_id: str) -> list[str]:
    return [caption.event.text for caption in library.captions(video_id)]


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(tmp_path / "home")


def test_a_video_comes_back_as_it_was_put(library: Library) -> None:
    put = library.put(entry("aaaaaaaaaaaa"), [Event(Span(2.125, 3.5), "Später: “naïve” 빨간 원"), Event(Span(0.1, 9), "first")])
    reopened = Library(library.folder)
    assert reopened.video("aaaaaaaaaaaa") == put
    assert replace(put, added_at="", indexed_at="", caption_count=0) == entry("aaaaaaaaaaaa")
    assert put.caption_count == 2
    assert [item.event for item in reopened.captions("aaaaaaaaaaaa")] == [
        Event(Span(0.1, 9), "first"),
        Event(Span(2.125, 3.5), "Später: “naïve” 빨간 원"),
    ]


def alone(function: str, folder: Path) -> list[str]:
    """The command that runs a function of this module in a process of its own."""
    code = f"import sys, pathlib; from tests.indexing import test_library; test_library.{function}(pathlib.Path(sys.argv[1]))"
    return [sys.executable, "-c", code, str(folder)]


def rewrite_forever(folder: Path) -> None:
    library = Library(folder)
    for version in range(10**6):
        library.put(entry("aaaaaaaaaaaa", f"v{version}"), told(*[f"word{version} {number}" for number in range(MANY)]))
        sys.stdout.write(f"{version}\n")
        sys.stdout.flush()


def test_a_writer_that_is_killed_leaves_the_video_before_or_after_never_between(library: Library) -> None:
    for delay_s in (0.005, 0.02, 0.04, 0.07):
        writer = subprocess.Popen(alone("rewrite_forever", library.folder), stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert writer.stdout is not None and writer.stdout.readline()
        time.sleep(delay_s)
        os.kill(writer.pid, signal.SIGKILL)
        writer.communicate()
        whole = library.video("aaaaaaaaaaaa")
        version = whole.title.removeprefix("v")
        assert texts(library, "aaaaaaaaaaaa") == [f"word{version} {number}" for number in range(MANY)]
        assert len(library.match_words([f"word{version}"], limit=2 * MANY)) == MANY
        assert len(library.match_words([f"word{int(version) + 1}"], limit=1)) == 0
    library.put(entry("aaaaaaaaaaaa"), told("after"))
    assert texts(library, "aaaaaaaaaaaa") == ["after"]


class Interrupted(Sequence[Event]):
    """Events that cannot all be had."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: object) -> Event:  # type: ignore[override]
        if index == 2:
            raise KeyboardInterrupt
        return told("half")[0]


@pytest.mark.parametrize("first", [True, False], ids=["new video", "known video"])
def test_an_interrupted_write_changes_nothing(library: Library, first: bool) -> None:
    if not first:
        library.put(entry("aaaaaaaaaaaa"), told("a red circle"))
    before = library.videos()
    with pytest.raises(KeyboardInterrupt):
        library.put(entry("aaaaaaaaaaaa", "another title"), Interrupted())
    assert library.videos() == before
    assert library.match_words(["half"], limit=10) == ()
    assert len(library.match_words(["circle"], limit=10)) == len(before)


def fill_the_disk(folder: Path) -> None:
    import resource

    library = Library(folder)
    # The kernel refuses to let any file of this process grow further, as a full disk would.
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
    try:
        library.put(entry("bbbbbbbbbbbb"), told(*["many words " * 100] * 5000))
    except LibraryUnusable as error:
        sys.stdout.write(str(error))


def test_a_disk_that_is_full_is_told_as_such_and_leaves_the_library_whole(library: Library) -> None:
    library.put(entry("aaaaaaaaaaaa"), told("a red circle"))
    done = subprocess.run(alone("fill_the_disk", library.folder), capture_output=True, text=True, check=True, cwd=ROOT)
    assert "disk" in done.stdout
    assert "rollback" not in done.stdout
    assert [video.video_id for video in library.videos()] == ["aaaaaaaaaaaa"]
    assert library.put(entry("bbbbbbbbbbbb"), told("a blue ring")).caption_count == 1


def write_and_search(folder: Path, name: str, together: Barrier) -> None:
    together.wait()
    library = Library(folder)
    mine = name * 12
    for turn in range(25):
        library.put(entry(mine), told(*[f"{name}word turn{turn}"] * 20))
        found = library.captions_by_id(library.match_words([f"{name}word"], limit=1000))
        assert {caption.event.text for caption in found.values()} == {f"{name}word turn{turn}"}
        assert len(found) == 20
        if turn % 5 == 4:
            library.remove(mine)
            assert library.match_words([f"{name}word"], limit=1000) == ()
    library.put(entry(mine), told(f"{name}word in the end"))


def test_several_processes_make_write_and_search_one_library_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    together = context.Barrier(3)
    writers = [context.Process(target=write_and_search, args=(tmp_path / "home", name, together)) for name in "abc"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    library = Library(tmp_path / "home")
    assert sorted(video.video_id for video in library.videos()) == ["a" * 12, "b" * 12, "c" * 12]
    assert len(library.match_words(["end"], limit=10)) == len(library.caption_ids()) == 3


def test_putting_again_replaces_captions_words_and_facts_but_not_the_day_it_came(library: Library) -> None:
    first = library.put(entry("aaaaaaaaaaaa", "old"), told("a red circle", "a green square"))
    second = library.put(replace(entry("aaaaaaaaaaaa", "new"), duration_s=7.0), told("a blue ring"))
    assert library.videos() == (second,)
    assert (second.title, second.duration_s, second.caption_count) == ("new", 7.0, 1)
    assert second.added_at == first.added_at
    assert library.match_words(["circle", "square"], limit=10) == ()
    assert len(library.match_words(["ring"], limit=10)) == 1


def test_a_removed_video_leaves_no_captions_words_or_answers(library: Library) -> None:
    library.put(entry("aaaaaaaaaaaa"), told("a red circle"))
    library.put(entry("bbbbbbbbbbbb"), told("a red circle"))
    answer = AnsweredQuestion("When?", "From 1.0 to 2.0 seconds.", (Span(1, 2),), Provenance("demo@1", "1", {}))
    library.add_answer("aaaaaaaaaaaa", answer)
    assert library.answers("aaaaaaaaaaaa") == (answer,)
    library.remove("aaaaaaaaaaaa")
    library.add_answer("aaaaaaaaaaaa", answer)
    with pytest.raises(UnknownVideo):
        library.video("aaaaaaaaaaaa")
    (left,) = library.captions_by_id(library.match_words(["circle"], limit=10)).values()
    assert left.video_id == "bbbbbbbbbbbb"
    library.put(entry("aaaaaaaaaaaa"), told("a red circle"))
    assert library.answers("aaaaaaaaaaaa") == ()


def test_a_caption_id_is_never_used_for_another_text(library: Library) -> None:
    used: set[int] = set()
    for turn in range(4):
        library.put(entry("aaaaaaaaaaaa"), told(f"turn {turn}", "and more"))
        ids = library.caption_ids()
        assert len(ids) == 2 and not ids & used
        used |= ids
        if turn % 2:
            library.remove("aaaaaaaaaaaa")
            library = Library(library.folder)


def test_every_change_of_captions_changes_the_generation(library: Library) -> None:
    seen = [library.revision()]
    library.put(entry("aaaaaaaaaaaa"), told("one"))
    seen.append(library.revision())
    library.put(entry("aaaaaaaaaaaa"), told("two"))
    seen.append(library.revision())
    library.remove("aaaaaaaaaaaa")
    seen.append(library.revision())
    assert len(set(seen)) == 4


@pytest.mark.parametrize("reference", ["abc1", " ABC1 ", "abc1" + "0" * 8])
def test_a_unique_beginning_names_a_video(library: Library, reference: str) -> None:
    library.put(entry("abc1" + "0" * 8), [])
    library.put(entry("abc2" + "0" * 8), [])
    assert library.video(reference).video_id == "abc1" + "0" * 8


def test_a_beginning_that_several_videos_share_names_them_all(library: Library) -> None:
    for number in (1, 2):
        library.put(entry(f"abc{number}" + "0" * 8), [])
    with pytest.raises(AmbiguousVideo, match="abc100000000, abc200000000"):
        library.video("abc")


@pytest.mark.parametrize("reference", ["", "  ", "ff", "%", "_", "abc10000000000", "'", "\0"])
def test_what_names_no_video_is_unknown(library: Library, reference: str) -> None:
    library.put(entry("abc1" + "0" * 8), [])
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
def test_captions_are_found_by_words_and_their_inflections(
    library: Library, words: list[str], require_all: bool, expected: set[int]
) -> None:
    library.put(entry("aaaaaaaaaaaa"), told(*CAPTIONS))
    found = library.captions_by_id(library.match_words(words, limit=10, require_all=require_all))
    assert {caption.event.text for caption in found.values()} == {CAPTIONS[number] for number in expected}


def test_a_file_is_known_only_as_long_as_size_and_time_of_change_agree(library: Library) -> None:
    path = Path("/videos/a.mp4")
    library.remember_hash(path, 10, 20, "abc")
    assert library.known_hash(path, 10, 20) == "abc"
    assert library.known_hash(path, 11, 20) is None
    assert library.known_hash(path, 10, 21) is None
    library.remember_hash(path, 11, 21, "def")
    assert (library.known_hash(path, 10, 20), library.known_hash(path, 11, 21)) == (None, "def")


def test_a_library_of_a_newer_version_is_refused_and_left_alone(library: Library) -> None:
    library.put(entry("aaaaaaaaaaaa"), told("kept"))
    with sqlite3.connect(library.folder / DATABASE) as db:
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    with pytest.raises(LibraryUnusable, match="newer version"):
        Library(library.folder)
    with sqlite3.connect(library.folder / DATABASE) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS) + 1,)
        assert db.execute("SELECT text FROM captions").fetchall() == [("kept",)]


def test_an_older_library_is_upgraded_once_and_keeps_what_it_has(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    library.put(entry("aaaaaaaaaaaa"), told("kept"))
    notes = "CREATE TABLE notes (note TEXT);\nINSERT INTO notes VALUES ('upgraded; once');\n"
    monkeypatch.setattr(library_module, "MIGRATIONS", (*MIGRATIONS, notes))
    for _ in range(2):
        upgraded = Library(library.folder)
    assert texts(upgraded, "aaaaaaaaaaaa") == ["kept"]
    with sqlite3.connect(library.folder / DATABASE) as db:
        assert db.execute("SELECT note FROM notes").fetchall() == [("upgraded; once",)]


def test_an_upgrade_that_fails_half_way_is_undone(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    library.put(entry("aaaaaaaaaaaa"), told("kept"))
    with monkeypatch.context() as patched:
        patched.setattr(library_module, "MIGRATIONS", (*MIGRATIONS, "CREATE TABLE notes (note TEXT);\nDROP TABLE nonsense;\n"))
        with pytest.raises(LibraryUnusable, match="nonsense"):
            Library(library.folder)
    assert texts(Library(library.folder), "aaaaaaaaaaaa") == ["kept"]
    with sqlite3.connect(library.folder / DATABASE) as db:
        assert db.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'notes'").fetchone() == (0,)


def test_a_damaged_database_or_an_impossible_folder_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / DATABASE).write_bytes(b"no database" * 1000)
    (tmp_path / "file").touch()
    for folder in (tmp_path / "damaged", tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(LibraryUnusable, match=str(folder)):
            Library(folder)
