"""The vectors are only a cache: whatever happens to their files, a search finds what the database says."""

import multiprocessing
import shutil
import zlib
from collections.abc import Callable, Sequence
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from longview.indexing.library import DATABASE, Library
from longview.indexing.vectors import INDEX_FILE, VectorIndex
from tests.indexing.test_library import entry, told


class WordBags:
    """A small embedder: a text is the sum of its words' directions. Counts what it embeds."""

    def __init__(self, name: str = "word-bags", dimensions: int = 128) -> None:
        self.name, self.dimensions = name, dimensions
        self.embedded = 0

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.embedded += len(texts)
        vectors = np.zeros((len(texts), self.dimensions), dtype=np.float32)
        for row, text in zip(vectors, texts, strict=True):
            for word in text.lower().split():
                # The dimensions are part of the direction, so that embedders of two sizes disagree.
                row += np.random.default_rng(zlib.crc32(word.encode()) + self.dimensions).normal(size=self.dimensions)
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


@pytest.fixture
def library(tmp_path: Path) -> Library:
    library = Library(tmp_path / "home")
    library.put(entry("aaaaaaaaaaaa"), told("a red circle", "a green square", "a blue ring"))
    library.put(entry("bbbbbbbbbbbb"), told("a dog runs", "a red dog sleeps"))
    return library


def found(library: Library, vectors: VectorIndex, query: str) -> list[tuple[str, float]]:
    """(text, likeness) of all captions, best first; an id that the library does not know is an error."""
    hits = vectors.search(query, limit=100)
    captions = library.captions_by_id([caption_id for caption_id, _ in hits])
    return [(captions[caption_id].event.text, round(cosine, 5)) for caption_id, cosine in hits]


def test_the_most_alike_caption_comes_first_and_all_can_be_had(library: Library) -> None:
    hits = found(library, VectorIndex(library, WordBags()), "a green square")
    assert hits[0] == ("a green square", pytest.approx(1.0))
    assert len(hits) == 5
    assert [cosine for _, cosine in hits] == sorted((cosine for _, cosine in hits), reverse=True)


def test_what_is_put_replaced_or_removed_is_seen_by_the_next_search_of_every_reader(library: Library) -> None:
    readers = [VectorIndex(library, WordBags()), VectorIndex(Library(library.folder), WordBags())]
    for reader in readers:
        assert len(found(library, reader, "red")) == 5
    library.put(entry("aaaaaaaaaaaa"), told("a white cross"))
    library.remove("bbbbbbbbbbbb")
    library.put(entry("cccccccccccc"), told("a purple star"))
    for reader in (*readers, VectorIndex(library, WordBags())):
        assert {text for text, _ in found(library, reader, "red")} == {"a white cross", "a purple star"}


def test_a_search_can_be_limited_to_some_captions(library: Library) -> None:
    vectors = VectorIndex(library, WordBags())
    mine = sorted(library.caption_ids("bbbbbbbbbbbb"))
    assert sorted(caption_id for caption_id, _ in vectors.search("a red circle", limit=10, among=mine)) == mine
    assert vectors.search("a red circle", limit=10, among=[]) == []


def test_a_restart_embeds_only_what_is_new(library: Library) -> None:
    VectorIndex(library, WordBags()).update()
    library.put(entry("cccccccccccc"), told("a purple star", "a white cross"))
    later = WordBags()
    VectorIndex(library, later).update()
    assert later.embedded == 2


def test_progress_goes_up_to_the_end(library: Library) -> None:
    library.put(entry("cccccccccccc"), told(*[f"caption {number}" for number in range(700)]))
    parts: list[float] = []
    VectorIndex(library, WordBags()).update(parts.append)
    assert parts == sorted(parts)
    assert len(parts) > 1 and parts[-1] == 1.0


def lose(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def cut(folder: Path) -> None:
    whole = (folder / INDEX_FILE).read_bytes()
    (folder / INDEX_FILE).write_bytes(whole[: len(whole) // 2])


def flip(folder: Path) -> None:
    blob = bytearray((folder / INDEX_FILE).read_bytes())
    blob[len(blob) // 2] ^= 0xFF
    (folder / INDEX_FILE).write_bytes(blob)


def say(text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / "vectors.json").write_text(text)


def from_another_embedder(folder: Path) -> None:
    VectorIndex(Library(folder), WordBags("another", dimensions=32)).update()


def from_another_library(folder: Path) -> None:
    """The same caption ids and as many of them, but other texts."""
    other = Library(folder.parent / "other")
    other.put(entry("dddddddddddd"), told("something", "quite", "else", "altogether", "here"))
    VectorIndex(other, WordBags()).update()
    for name in (INDEX_FILE, "vectors.json"):
        shutil.copy(other.folder / name, folder / name)


@pytest.mark.parametrize(
    "harm",
    [
        lose(INDEX_FILE),
        lose("vectors.json"),
        cut,
        flip,
        say("{"),
        say("[]"),
        say("{}"),
        say('{"embedder": "word-bags"}'),
        from_another_embedder,
        from_another_library,
    ],
    ids=[
        "index lost",
        "label lost",
        "index cut",
        "a byte changed",
        "label cut",
        "label a list",
        "label empty",
        "label of an older version",
        "other embedder",
        "other library",
    ],
)
def test_a_damaged_missing_or_foreign_index_is_made_again_and_finds_the_same(
    library: Library, harm: Callable[[Path], object]
) -> None:
    expected = found(library, VectorIndex(library, WordBags()), "a red circle")
    harm(library.folder)
    assert found(library, VectorIndex(library, WordBags()), "a red circle") == expected
    mended = WordBags()
    VectorIndex(library, mended).update()
    assert mended.embedded == 0


def test_vectors_newer_than_a_restored_database_do_not_speak_for_its_captions(library: Library) -> None:
    backup = library.folder.parent / "backup"
    backup.mkdir()
    shutil.copy(library.folder / DATABASE, backup)
    library.put(entry("cccccccccccc"), told("a lost caption"))
    VectorIndex(library, WordBags()).update()
    for file in library.folder.glob(f"{DATABASE}*"):
        file.unlink()
    shutil.copy(backup / DATABASE, library.folder)
    restored = Library(library.folder)
    # It gets the number that the lost caption had.
    restored.put(entry("cccccccccccc"), told("a purple star"))
    assert found(restored, VectorIndex(restored, WordBags()), "a purple star")[0] == ("a purple star", pytest.approx(1.0))


def test_a_cache_that_cannot_be_written_does_not_stop_the_search(library: Library) -> None:
    (library.folder / INDEX_FILE).mkdir()
    assert found(library, VectorIndex(library, WordBags()), "a blue ring")[0][0] == "a blue ring"


def write_and_search(folder: Path, name: str, together: Barrier) -> None:
    library = Library(folder)
    vectors = VectorIndex(library, WordBags())
    together.wait()
    for turn in range(15):
        library.put(entry(name * 12), told(f"{name}thing number{turn}", "and more"))
        best, _ = vectors.search(f"{name}thing number{turn}", limit=1)[0]
        assert library.captions_by_id([best])[best].event.text == f"{name}thing number{turn}"
        vectors = vectors if turn % 5 else VectorIndex(library, WordBags())


def test_two_processes_write_and_search_one_library_at_once(library: Library) -> None:
    context = multiprocessing.get_context("spawn")
    together = context.Barrier(2)
    writers = [context.Process(target=write_and_search, args=(library.folder, name, together)) for name in "cd"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert {text for text, _ in found(library, VectorIndex(library, WordBags()), "a thing")} >= {
        "cthing number14",
        "dthing number14",
        "a red circle",
    }
