"""Finished caption windows are kept until captions are complete or a removal of the video is final."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from longview.core.timeline import Segment
from longview.indexing.errors import UnknownVideo
from longview.indexing.records.track import TrackStatus
from longview.indexing.sqlite.library import Library
from longview.indexing.sqlite.tracks.caption_windows import CaptionWindowRow
from tests.support.library_samples import as_captions, caption_texts, sample_entry, sample_events, sample_track

VIDEO, OTHER = "a" * 12, "b" * 12
FIRST, SECOND = CaptionWindowRow(0, '{"run": 1}', "{}"), CaptionWindowRow(1, '{"run": 1}', '{"text": "Ein Stück."}')


@pytest.fixture
def library(tmp_path: Path) -> Library:
    library = Library(tmp_path / "library")
    library.put(sample_entry(VIDEO))
    library.put(sample_entry(OTHER))
    return library


def put_captions_so_far(library: Library, window: CaptionWindowRow | None, status: TrackStatus = "incomplete") -> None:
    captions = as_captions(sample_events("a red circle"))
    library.put_captions(VIDEO, sample_track("captions", status), captions, summary="", chapters=(), window=window)


def interrupted_captions() -> Iterator[Segment]:
    yield from as_captions(sample_events("a green square"))
    raise KeyboardInterrupt


def test_windows_are_read_in_order_and_for_one_video(library: Library) -> None:
    library.caption_windows.put(VIDEO, SECOND)
    library.caption_windows.put(VIDEO, FIRST)
    library.caption_windows.put(OTHER, SECOND)
    assert Library(library.folder).caption_windows.rows(VIDEO) == (FIRST, SECOND)
    again = CaptionWindowRow(1, '{"run": 2}', "{}")
    library.caption_windows.put(VIDEO, again)
    assert library.caption_windows.rows(VIDEO) == (FIRST, again)
    library.caption_windows.delete(VIDEO, except_run=again.run)
    assert library.caption_windows.rows(VIDEO) == (again,)
    library.caption_windows.delete(VIDEO)
    assert library.caption_windows.rows(VIDEO) == () and library.caption_windows.rows(OTHER) == (SECOND,)


def test_window_is_written_with_the_captions_so_far_or_not_at_all(library: Library) -> None:
    put_captions_so_far(library, FIRST)
    track = sample_track("captions", "incomplete")
    with pytest.raises(KeyboardInterrupt):
        library.put_captions(VIDEO, track, interrupted_captions(), summary="", chapters=(), window=SECOND)
    assert library.caption_windows.rows(VIDEO) == (FIRST,) and caption_texts(library, VIDEO) == ["a red circle"]


@pytest.mark.parametrize("status", ["complete", "declined"])
def test_windows_are_deleted_with_the_last_captions(library: Library, status: TrackStatus) -> None:
    put_captions_so_far(library, FIRST)
    library.caption_windows.put(OTHER, FIRST)
    put_captions_so_far(library, None, status)
    assert library.caption_windows.rows(VIDEO) == () and library.caption_windows.rows(OTHER) == (FIRST,)


def test_removed_video_takes_no_windows_and_a_final_removal_leaves_none(library: Library) -> None:
    put_captions_so_far(library, FIRST)
    library.remove(VIDEO)
    with pytest.raises(UnknownVideo):
        library.caption_windows.put(VIDEO, SECOND)
    library.removals.undo(VIDEO)
    assert library.caption_windows.rows(VIDEO) == (FIRST,)
    # A run of the same content begins without what was found before.
    library.remove(VIDEO)
    library.put(sample_entry(VIDEO))
    assert library.caption_windows.rows(VIDEO) == ()
