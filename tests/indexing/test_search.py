"""Search over captions with the real encoder: by words, by meaning, and across languages."""

from pathlib import Path

import pytest

from longview.indexing.embedder import SentenceEncoder
from longview.indexing.library import Library
from longview.indexing.search import Moment, captions_with_all_words, search
from longview.indexing.vectors import VectorIndex
from tests.indexing.test_library import entry, told

CAPTIONS = (
    "A red circle moves to the right.",
    "A blue star grows.",
    "A dog runs along the beach.",
    "Two people cook dinner in a small kitchen.",
    "A train arrives at the station in the rain.",
)
LONG_QUERY = " ".join(f"word{number}" for number in range(250)) + " dog"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    library = Library(tmp_path_factory.mktemp("search"))
    library.put(entry("aaaaaaaaaaaa", "first"), told(*CAPTIONS))
    library.put(entry("bbbbbbbbbbbb", "second"), told("A red square moves to the left.", "A dog sleeps."))
    library.put(entry("cccccccccccc", "nothing seen"), [])
    return library


@pytest.fixture(scope="module")
def vectors(library: Library) -> VectorIndex:
    return VectorIndex(library, SentenceEncoder())


@pytest.mark.parametrize(
    ("query", "number"),
    [
        ("A blue star grows.", 1),
        ("빨간 원이 오른쪽으로 움직인다", 0),
        ("círculo rojo que se mueve a la derecha", 0),
        ("un perro corre por la playa", 2),
        ("해변에서 달리는 개", 2),
        ("someone preparing a meal", 3),
        ("running dogs on beaches", 2),
        ("TRAIN STATION", 4),
        ("el tren llega a la estación", 4),
        (LONG_QUERY, 2),
    ],
    ids=lambda value: str(value)[:30],
)
def test_the_caption_that_is_meant_comes_first_in_any_language(
    library: Library, vectors: VectorIndex, query: str, number: int
) -> None:
    best = search(library, vectors, query, video_id="aaaaaaaaaaaa")[0]
    assert best.text == CAPTIONS[number]
    assert best.span == told(*CAPTIONS)[number].span
    assert (best.video_id, best.title, best.source) == ("aaaaaaaaaaaa", "first", "caption")
    assert 0 < best.score <= 1


def test_the_whole_library_is_searched_and_the_best_come_first(library: Library, vectors: VectorIndex) -> None:
    found = search(library, vectors, "a dog sleeps")
    assert (found[0].video_id, found[0].text) == ("bbbbbbbbbbbb", "A dog sleeps.")
    assert "A dog runs along the beach." in {moment.text for moment in found}
    assert [moment.score for moment in found] == sorted((moment.score for moment in found), reverse=True)
    assert search(library, vectors, "a dog sleeps", limit=1) == found[:1]


def test_a_search_in_one_video_stays_there(library: Library, vectors: VectorIndex) -> None:
    assert {moment.video_id for moment in search(library, vectors, "red", video_id="bbbbbbbbbbbb")} == {"bbbbbbbbbbbb"}
    assert search(library, vectors, "red", video_id="cccccccccccc") == ()


@pytest.mark.parametrize("query", ["interest rates of the central bank", "quantum chromodynamics", "???", "the of a"])
def test_what_no_caption_is_about_finds_nothing(library: Library, vectors: VectorIndex, query: str) -> None:
    assert search(library, vectors, query) == ()


def test_captions_of_one_video_that_have_every_word_of_a_query(library: Library) -> None:
    def texts(query: str, video_id: str) -> set[str]:
        return {
            caption.event.text for caption in library.captions_by_id(captions_with_all_words(library, query, video_id)).values()
        }

    assert texts("the red circle", "aaaaaaaaaaaa") == {CAPTIONS[0]}
    assert texts("red circles moving", "aaaaaaaaaaaa") == {CAPTIONS[0]}
    assert texts("the red circle", "bbbbbbbbbbbb") == set()
    assert texts("red star", "aaaaaaaaaaaa") == set()


def test_removed_and_reindexed_captions_are_no_longer_found(tmp_path: Path, vectors: VectorIndex) -> None:
    library = Library(tmp_path)
    mine = VectorIndex(library, vectors._embedder)

    def texts(query: str) -> list[str]:
        found: tuple[Moment, ...] = search(library, mine, query)
        return [moment.text for moment in found]

    library.put(entry("aaaaaaaaaaaa"), told("A red circle grows."))
    library.put(entry("bbbbbbbbbbbb"), told("A red circle shrinks."))
    assert texts("red circle grows") == ["A red circle grows.", "A red circle shrinks."]
    library.put(entry("aaaaaaaaaaaa"), told("A dog runs."))
    assert texts("red circle grows") == ["A red circle shrinks."]
    library.remove("bbbbbbbbbbbb")
    assert texts("red circle grows") == []
