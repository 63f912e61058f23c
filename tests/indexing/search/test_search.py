"""Search with the real encoder: by words, by meaning, across languages and across sources."""

from pathlib import Path

import pytest

from longview.core.timeline import Event, Segment, Span, Word
from longview.indexing.embedding.embedder import SentenceEncoder
from longview.indexing.search.search import Moment, captions_with_all_words, search
from longview.indexing.sqlite.library import Library
from longview.indexing.sqlite.vectors import VectorIndex
from tests.support.library_samples import put_captions, put_speech, sample_entry, sample_events, sample_track, spoken

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
    put_captions(library, sample_entry("aaaaaaaaaaaa", "first"), sample_events(*CAPTIONS))
    put_captions(
        library, sample_entry("bbbbbbbbbbbb", "second"), sample_events("A red square moves to the left.", "A dog sleeps.")
    )
    put_captions(library, sample_entry("cccccccccccc", "no captions"), [])
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
    assert (best.video_id, best.title, best.source) == ("aaaaaaaaaaaa", "first", "captions")
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
        spans = captions_with_all_words(library, query, video_id)
        return {item.segment.text for span in spans for item in library.tracks.segments(video_id, "captions", within=span)}

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

    put_captions(library, sample_entry("aaaaaaaaaaaa"), sample_events("A red circle grows."))
    put_captions(library, sample_entry("bbbbbbbbbbbb"), sample_events("A red circle shrinks."))
    assert texts("red circle grows") == ["A red circle grows.", "A red circle shrinks."]
    put_captions(library, sample_entry("aaaaaaaaaaaa"), sample_events("A dog runs."))
    assert texts("red circle grows") == ["A red circle shrinks."]
    library.remove("bbbbbbbbbbbb")
    assert texts("red circle grows") == []


TALK = "dddddddddddd"
"""A video whose captions, speech and subtitles are about the same things."""


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> tuple[Library, VectorIndex]:
    library = Library(tmp_path_factory.mktemp("talk"))
    put_captions(
        library,
        sample_entry(TALK, "talk"),
        [
            Event(Span(2, 6), "A man points at a chart."),
            Event(Span(40, 46), "A harbour with fishing boats."),
            Event(Span(80, 85), "A red circle moves to the right."),
        ],
    )
    put_speech(
        library,
        sample_entry(TALK),
        [
            spoken(1.0, "Welcome everybody to this evening's meeting."),
            spoken(12.0, "Later in the evening we discuss the budget for schools."),
            spoken(41.0, "Here you see the fishing boats."),
        ],
    )
    subtitles = [
        Segment(Span(12, 17), "오늘 저녁에는 학교 예산을 논의합니다", "subtitles", "ko"),
        Segment(Span(41, 45), "낚시 배들이 항구에 있습니다", "subtitles", "ko"),
    ]
    library.tracks.replace(TALK, sample_track("subtitles"), subtitles, origin="talk.ko.srt")
    return library, VectorIndex(library, SentenceEncoder())


def test_spoken_word_is_found_where_it_begins(talk: tuple[Library, VectorIndex]) -> None:
    best = search(*talk, "budgets")[0]
    assert best.source == "speech"
    # "budget" is the eighth word of its segment; each takes half a second.
    assert best.span.start_s == 12.0 + 7 * 0.5
    ((start, end),) = best.evidence[0].highlights
    assert best.text[start:end] == "budget"


def test_sources_of_one_time_are_one_moment(talk: tuple[Library, VectorIndex]) -> None:
    query = "fishing boats in the harbour"
    best, *others = search(*talk, query)
    assert sorted(best.sources) == ["captions", "speech", "subtitles"]
    scores = [search(*talk, query, sources=[source])[0].score for source in best.sources]
    assert scores == sorted(scores, reverse=True) and best.score == scores[0]
    assert (best.source, best.text, best.span) == ("captions", "A harbour with fishing boats.", Span(40, 46))
    assert all(moment.span.overlap_s(best.span) == 0 for moment in others)


def test_overlapping_windows_give_one_result(talk: tuple[Library, VectorIndex]) -> None:
    library, _ = talk
    assert len(library.tracks.match_terms(["budget"], limit=10)) == 2
    assert len(search(*talk, "budget", sources=["speech"])) == 1


def test_korean_subtitles_are_found_by_a_short_word(talk: tuple[Library, VectorIndex]) -> None:
    best = search(*talk, "예산", sources=["subtitles"])[0]
    assert best.text == "오늘 저녁에는 학교 예산을 논의합니다"
    assert [best.text[start:end] for start, end in best.evidence[0].highlights] == ["예산"]
    assert "subtitles" in search(*talk, "예산")[0].sources


@pytest.mark.parametrize("source", ["captions", "speech", "subtitles"])
def test_search_can_be_restricted_to_sources(talk: tuple[Library, VectorIndex], source: str) -> None:
    moments = search(*talk, "fishing boats", sources=[source])
    assert moments and {name for moment in moments for name in moment.sources} == {source}
    assert search(*talk, "fishing boats", sources=[]) == ()


def test_moment_of_unspaced_speech_begins_at_the_word(tmp_path: Path, vectors: VectorIndex) -> None:
    library = Library(tmp_path)
    characters = "我们明天去东京看樱花"
    words = tuple(Word(Span(10 + number, 11 + number), character, 0.9) for number, character in enumerate(characters))
    put_speech(library, sample_entry("aaaaaaaaaaaa"), [Segment(Span(10, 20), characters, "speech", "zh", 0.9, words)])
    (moment,) = search(library, VectorIndex(library, vectors._embedder), "东京")
    assert moment.span.start_s == 10 + characters.index("东")


def test_quotation_comes_before_what_is_similar(tmp_path: Path, vectors: VectorIndex) -> None:
    library = Library(tmp_path)
    segments = [
        spoken(0, "Mount Vesuvius erupted long ago and buried the towns around it in ash and stones"),
        spoken(40, "the strongest one had a magnitude of nine point five and lasted ten minutes"),
        spoken(80, "a magnitude tells how strong an earthquake is and nine of them were felt here"),
    ]
    put_speech(library, sample_entry("aaaaaaaaaaaa"), segments)
    moments = search(library, VectorIndex(library, vectors._embedder), "magnitude of nine point five")
    assert moments[0].span.start_s == pytest.approx(42.5, abs=0.6)
    assert moments[0].has_words and moments[0].score > moments[1].score


def test_every_segment_with_all_words_is_found_however_near_to_another(tmp_path: Path, vectors: VectorIndex) -> None:
    library = Library(tmp_path)
    texts = [
        "The lead pipes are old.",
        "Some people drink from lead pipes daily.",
        "Boil water until the pipes are replaced.",
        "The council will replace all pipes of lead.",
        "Nothing else was said about the roof.",
        "Lead is found in pipes and paint.",
    ]
    segments = [spoken(3.0 * number, text, word_s=0.3) for number, text in enumerate(texts * 5)]
    put_speech(library, sample_entry("aaaaaaaaaaaa"), segments)
    own_vectors = VectorIndex(library, vectors._embedder)

    def starts_s(query: str) -> set[float]:
        moments = search(library, own_vectors, query, limit=100)
        return {item.segment.span.start_s for moment in moments if moment.has_words for item in moment.evidence}

    assert starts_s("pipes") == {segment.span.start_s for segment in segments if "pipes" in segment.text}
    both = {segment.span.start_s for segment in segments if {"lead", "pipes"} <= set(segment.text.lower().strip(".").split())}
    assert both <= starts_s("lead pipes")
    best = search(library, own_vectors, "lead pipes", limit=3)
    assert all("lead" in moment.text.lower() and "pipes" in moment.text for moment in best)
