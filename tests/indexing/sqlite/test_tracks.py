"""Tracks: segments are committed while a source runs, and are found by the passages that are made of them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from longview.core.timeline import Segment, Span
from longview.indexing.errors import TrackChanged, UnknownVideo
from longview.indexing.sqlite.library import Library
from longview.indexing.text.passages import WINDOW_S, Passage
from longview.indexing.text.terms import query_terms
from tests.support.library_samples import (
    matching_texts,
    put_captions,
    put_speech,
    sample_entry,
    sample_events,
    sample_track,
    shown,
    spoken,
)

VIDEO = "aaaaaaaaaaaa"


@pytest.fixture
def library(tmp_path: Path) -> Library:
    library = Library(tmp_path / "library")
    library.put(sample_entry(VIDEO))
    return library


def passages(library: Library, source: str) -> list[Passage]:
    found = library.tracks.passages_by_id(sorted(library.tracks.passage_ids(VIDEO, [source]))).values()
    return sorted(found, key=lambda passage: (passage.language or "", passage.position))


def talk(count: int, *, step_s: float = 4.0) -> list[Segment]:
    return [spoken(number * step_s, f"sentence number{number} about topic{number}") for number in range(count)]


def test_segments_are_read_back_with_words(library: Library) -> None:
    segment = spoken(1.25, "Später: “naïve” Wörter.", language="de")
    entry = put_speech(library, sample_entry(VIDEO), [segment])
    (stored,) = Library(library.folder).tracks.segments(VIDEO, "speech")
    assert stored.segment == segment
    track = entry.track("speech")
    assert track is not None and (track.status, track.segment_count, track.languages) == ("complete", 1, ("de",))


@pytest.mark.parametrize("cuts", [(5,), (1, 2, 3, 13), tuple(range(1, 25))])
def test_passages_do_not_depend_on_the_commits(library: Library, cuts: Sequence[int]) -> None:
    segments = talk(25)
    put_speech(library, sample_entry(VIDEO), segments)
    expected = [(item.position, item.span, item.text) for item in passages(library, "speech")]
    library.tracks.begin(VIDEO, sample_track("speech", "incomplete", done_s=0.0))
    for start, end in zip((0, *cuts), (*cuts, len(segments)), strict=True):
        track = sample_track("speech", done_s=float(end))
        library.tracks.append(VIDEO, track, segments[start:end], after_s=float(start))
    assert [(item.position, item.span, item.text) for item in passages(library, "speech")] == expected
    assert all(item.span.duration_s <= WINDOW_S + 1 for item in passages(library, "speech"))
    for number in range(25):
        # Windows overlap by half, so every word is in two of them, except at both ends.
        assert 1 <= len(matching_texts(library, f"topic{number}")) <= 2


def test_resumed_track_continues_after_its_segments(library: Library) -> None:
    segments = talk(6)
    library.tracks.begin(VIDEO, sample_track("speech", "incomplete", done_s=0.0))
    library.tracks.append(VIDEO, sample_track("speech", "incomplete", done_s=12.0), segments[:3], after_s=0.0)
    reopened = Library(library.folder)
    track = reopened.video(VIDEO).track("speech")
    assert track is not None and (track.status, track.done_s, track.segment_count) == ("incomplete", 12.0, 3)
    reopened.tracks.append(VIDEO, sample_track("speech"), segments[3:], after_s=12.0)
    assert [item.segment for item in reopened.tracks.segments(VIDEO)] == segments


def test_two_runs_at_once_double_nothing(library: Library) -> None:
    segments = talk(4)
    library.tracks.begin(VIDEO, sample_track("speech", "incomplete", done_s=0.0))
    library.tracks.append(VIDEO, sample_track("speech", "incomplete", done_s=4.0), segments[:1], after_s=0.0)
    library.tracks.begin(VIDEO, sample_track("speech", "incomplete", done_s=0.0))
    with pytest.raises(TrackChanged, match="Another run"):
        library.tracks.append(VIDEO, sample_track("speech", "incomplete", done_s=8.0), segments[1:2], after_s=4.0)
    library.tracks.append(VIDEO, sample_track("speech"), segments, after_s=0.0)
    assert [item.segment for item in library.tracks.segments(VIDEO)] == segments


def test_sources_and_languages_are_separate_passages(library: Library) -> None:
    put_captions(library, sample_entry(VIDEO), sample_events("A red circle grows.", "A red circle shrinks."))
    put_speech(library, sample_entry(VIDEO), [spoken(0, "a red circle"), spoken(2, "ein roter Kreis", language="de")])
    assert [item.text for item in passages(library, "captions")] == ["A red circle grows.", "A red circle shrinks."]
    assert [(item.language, item.text) for item in passages(library, "speech")] == [
        ("de", "ein roter Kreis"),
        ("en", "a red circle"),
    ]
    assert len(library.tracks.segments(VIDEO)) == 4


def test_files_of_one_source_replace_only_themselves(library: Library) -> None:
    first, second = Segment(Span(1, 2), "one", "subtitles", "en"), Segment(Span(1, 2), "eins", "subtitles", "de")
    library.tracks.replace(VIDEO, sample_track("subtitles"), [first], origin="film.en.srt")
    library.tracks.replace(VIDEO, sample_track("subtitles"), [second], origin="film.de.srt")
    newer = Segment(Span(3, 4), "two", "subtitles", "en")
    library.tracks.replace(VIDEO, sample_track("subtitles"), [newer], origin="film.en.srt")
    assert [item.segment for item in library.tracks.segments(VIDEO, "subtitles")] == [second, newer]
    assert library.tracks.origins(VIDEO, "subtitles") == ("film.de.srt", "film.en.srt")
    assert matching_texts(library, "one") == []


def test_track_of_a_removed_video_is_not_written(library: Library) -> None:
    put_speech(library, sample_entry(VIDEO), talk(3))
    library.remove(VIDEO)
    track = sample_track("speech")
    for write in (
        lambda: library.tracks.begin(VIDEO, track),
        lambda: library.tracks.append(VIDEO, track, talk(1), after_s=100.0),
        lambda: library.tracks.replace(VIDEO, track, talk(1)),
        lambda: library.tracks.update(VIDEO, track),
    ):
        with pytest.raises(UnknownVideo, match="removed"):
            write()
    assert library.tracks.passage_ids() == frozenset()


def test_removal_of_a_video_leaves_no_passage(library: Library) -> None:
    put_speech(library, sample_entry(VIDEO), talk(3))
    library.remove(VIDEO)
    assert library.tracks.passage_ids() == frozenset()
    assert library.tracks.match_terms(query_terms("sentence"), limit=10) == {}


def test_line_that_stays_on_screen_is_one_segment_over_commits(library: Library) -> None:
    track = sample_track("screen_text", "incomplete", done_s=0.0)
    library.tracks.begin(VIDEO, track)
    for done_s in (20.0, 40.0, 60.0):
        earlier = library.tracks.open_segments(VIDEO, track)
        lines = [shown(0.0, done_s, "ACME Television")] if not earlier else [replace(earlier[0], span=Span(0.0, done_s))]
        new = shown(done_s - 15.0, done_s - 5.0, f"Slide {done_s:.0f}")
        before_s, track = track.done_s, replace(track, done_s=done_s)
        library.tracks.append(VIDEO, track, [*lines, new], after_s=before_s, replaces_open=True)
    stored = library.tracks.segments(VIDEO, "screen_text")
    assert [(item.segment.span, item.segment.text) for item in stored] == [
        (Span(0.0, 60.0), "ACME Television"),
        (Span(5.0, 15.0), "Slide 20"),
        (Span(25.0, 35.0), "Slide 40"),
        (Span(45.0, 55.0), "Slide 60"),
    ]
    assert stored[0].segment.box == shown(0, 1, "x").box
    assert library.video(VIDEO).track("screen_text").segment_count == 4  # type: ignore[union-attr]
    assert [passage.text for passage in passages(library, "screen_text")] == [
        "ACME Television", "Slide 20", "Slide 40", "Slide 60",
    ]  # fmt: skip


def test_lines_that_appear_together_are_one_passage(library: Library) -> None:
    lines = [
        shown(5, 30, "Budget", top=0.1),
        shown(5, 30, "Schools: 4 million", top=0.3),
        shown(20, 30, "Roads: 2 million", top=0.5),
    ]
    library.tracks.replace(VIDEO, sample_track("screen_text"), lines)
    assert [(passage.span, passage.text) for passage in passages(library, "screen_text")] == [
        (Span(5, 30), "Budget\nSchools: 4 million"),
        (Span(20, 30), "Roads: 2 million"),
    ]
