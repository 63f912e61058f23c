"""Search of captions with the real encoder: by words, by meaning, and across languages."""

from pathlib import Path

import pytest

from longview.indexing.embedder import SentenceEncoder
from longview.indexing.library import Library
from longview.indexing.search import Moment, captions_with_all_words, search
from longview.indexing.vectors import VectorIndex
from tests.indexing.samples import sample_entry, sample_events

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
    library.put(sample_entry("aaaaaaaaaaaa", "first"), sample_events(*CAPTIONS))
    library.put(sample_entry("bbbbbbbbbbbb", "second"), sample_events("A red square moves to the left.", "A dog sleeps."))
    library.put(sample_entry("cccccccccccc", "no captions"), [])
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
def test_best_caption_comes_first_in_any_language(library: Library, vectors: VectorIndex, query: str, number: int) -> None:
    best = search(library, vectors, query, video_id="aaaaaaaaaaaa")[0]
    assert best.text == CAPTIONS[number]
    assert best.span == sample_events(*CAPTIONS)[number].span
    assert (best.video_id, best.title, best.source) == ("aaaaaaaaaaaa", "first", "caption")
    assert 0 < best.score <= 1


def test_library_search_returns_the_best_moments_first(library: Library, vectors: VectorIndex) -> None:
    moments = search(library, vectors, "a dog sleeps")
    assert (moments[0].video_id, moments[0].text) == ("bbbbbbbbbbbb", "A dog sleeps.")
    assert "A dog runs along the beach." in {moment.text for moment in moments}
    assert [moment.score for moment in moments] == sorted((moment.score for moment in moments), reverse=True)
    assert search(library, vectors, "a dog sleeps", limit=1) == moments[:1]


def test_search_of_one_video_returns_only_its_moments(library: Library, vectors: VectorIndex) -> None:
    assert {moment.video_id for moment in search(library, vectors, "red", video_id="bbbbbbbbbbbb")} == {"bbbbbbbbbbbb"}
    assert search(library, vectors, "red", video_id="cccccccccccc") == ()


@pytest.mark.parametrize("query", ["interest rates of the central bank", "quantum chromodynamics", "???", "the of a"])
def test_query_that_fits_no_caption_returns_nothing(library: Library, vectors: VectorIndex, query: str) -> None:
    assert search(library, vectors, query) == ()


def test_captions_with_all_words_of_a_query(library: Library) -> None:
    def texts(query: str, video_id: str) -> set[str]:
        return {
            caption.event.text for caption in library.captions_by_id(captions_with_all_words(library, query, video_id)).values()
        }

    assert texts("the red circle", "aaaaaaaaaaaa") == {CAPTIONS[0]}
    assert texts("red circles moving", "aaaaaaaaaaaa") == {CAPTIONS[0]}
    assert texts("the red circle", "bbbbbbbbbbbb") == set()
    assert texts("red star", "aaaaaaaaaaaa") == set()


def test_deleted_captions_are_no_longer_returned(tmp_path: Path, vectors: VectorIndex) -> None:
    library = Library(tmp_path)
    own_vectors = VectorIndex(library, vectors._embedder)

    def texts(query: str) -> list[str]:
        moments: tuple[Moment, ...] = search(library, own_vectors, query)
        return [moment.text for moment in moments]

    library.put(sample_entry("aaaaaaaaaaaa"), sample_events("A red circle grows."))
    library.put(sample_entry("bbbbbbbbbbbb"), sample_events("A red circle shrinks."))
    assert texts("red circle grows") == ["A red circle grows.", "A red circle shrinks."]
    library.put(sample_entry("aaaaaaaaaaaa"), sample_events("A dog runs."))
    assert texts("red circle grows") == ["A red circle shrinks."]
    library.remove("bbbbbbbbbbbb")
    assert texts("red circle grows") == []
