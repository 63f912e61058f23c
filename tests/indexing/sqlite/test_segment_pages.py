"""Pages of segments: every segment is on one of them, in order of time, wherever a page begins."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from longview.core.timeline import Segment, Span
from longview.indexing.records.track import Provenance, SegmentQuery, StoredSegment
from longview.indexing.sqlite.library import Library
from tests.support.library_samples import put_speech, sample_entry, sample_track, shown, spoken

VIDEO_ID = "0" * 12
ALL = SegmentQuery()


@pytest.fixture
def library(tmp_path: Path) -> Library:
    library = Library(tmp_path / "library")
    library.put(sample_entry(VIDEO_ID))
    return library


def read(
    library: Library, query: SegmentQuery, limit: int, between: Callable[[int], None] = lambda _: None
) -> list[StoredSegment]:
    """Return all pages together. `between` is called with the number of each page after it was read."""
    segments: list[StoredSegment] = []
    offset: int | None = 0
    number = 0
    while offset is not None:
        page = library.tracks.page(VIDEO_ID, query, offset=offset, limit=limit)
        assert len(page.segments) <= limit
        segments += page.segments
        offset = page.next_offset
        between(number)
        number += 1
    return segments


def test_pages_have_each_segment_once_in_order_whatever_their_size(library: Library) -> None:
    # Many begin at the same time, some are empty, and one lasts for all of the video.
    lines = [shown(number // 7, number // 7 + number % 3, f"Line {number}.", language="en") for number in range(60)]
    lines += [shown(0, 100, "A logo."), shown(50, 50, "Nothing."), shown(3, 4, "Eine Zeile.", language="de")]
    library.tracks.replace(VIDEO_ID, sample_track("screen_text"), lines)
    put_speech(library, sample_entry(VIDEO_ID), [spoken(2.0 * number, "Hello there.") for number in range(20)])
    queries = [
        ALL,
        SegmentQuery("screen_text"),
        SegmentQuery("screen_text", "en"),
        SegmentQuery(language="en"),
        SegmentQuery("screen_text", within=Span(3.5, 6.0)),
        SegmentQuery("speech", "fr"),
    ]
    without_words = [replace(item, segment=replace(item.segment, words=())) for item in read(library, SegmentQuery("speech"), 7)]
    assert read(library, SegmentQuery("speech", has_words=False), 7) == without_words
    for query in queries:
        expected = list(library.tracks.segments(VIDEO_ID, query.source, language=query.language, within=query.within))
        for limit in (1, 4, 7, 200):
            assert read(library, query, limit) == expected
        for offset in range(len(expected) + 2):
            page = library.tracks.page(VIDEO_ID, query, offset=offset, limit=3)
            assert list(page.segments) == expected[offset : offset + 3]
    assert [library.tracks.page(VIDEO_ID, query, offset=0, limit=1).total for query in queries] == [83, 63, 60, 80, 63, 0]


def test_no_segment_is_lost_while_the_track_grows_between_the_pages(library: Library) -> None:
    track = sample_track("screen_text", "incomplete", done_s=0.0)
    library.tracks.begin(VIDEO_ID, track)
    grown = replace(track, done_s=10.0)
    library.tracks.append(VIDEO_ID, grown, [shown(number, number + 1, f"Line {number}.") for number in range(10)], after_s=0.0)

    def grow(number: int) -> None:
        nonlocal grown
        if number < 5:
            before_s, start_s = grown.done_s, grown.done_s
            grown = replace(grown, done_s=start_s + 3)
            # The last line is still there, and is written again with its new end.
            lines = [shown(start_s - 1, start_s + 1, f"Line {start_s - 1:.0f}.")]
            lines += [shown(start_s + more, start_s + more + 1, f"Line {start_s + more:.0f}.") for more in range(3)]
            library.tracks.append(VIDEO_ID, grown, lines, after_s=before_s, replaces_open=True)

    found = read(library, SegmentQuery("screen_text"), 4, grow)
    assert [item.segment.text for item in found] == [f"Line {number}." for number in range(25)]


def test_pages_of_a_version_are_those_of_the_track_that_was_replaced(library: Library) -> None:
    for name in ("first", "second"):
        segments = [Segment(Span(number, number + 1), f"{name} {number}", "captions", "en") for number in range(9)]
        track = sample_track("captions", provenance=Provenance(name, "1", {}))
        library.tracks.begin(VIDEO_ID, track)
        library.tracks.replace(VIDEO_ID, track, segments)
    earlier, current = library.versions.of_video(VIDEO_ID)
    for name, version in (("first", earlier), ("second", current)):
        query = SegmentQuery(version=version)
        assert [item.segment.text for item in read(library, query, 4)] == [f"{name} {number}" for number in range(9)]
        within = SegmentQuery(language="en", within=Span(2.5, 4), version=version)
        page = library.tracks.page(VIDEO_ID, within, offset=1, limit=5)
        assert [item.segment.text for item in page.segments] == [f"{name} 3"] and page.total == 9
    library.remove(VIDEO_ID)
    assert library.tracks.page(VIDEO_ID, SegmentQuery(version=earlier), offset=0, limit=5).segments == ()
