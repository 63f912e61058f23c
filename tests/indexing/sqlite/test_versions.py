"""Versions: what another checkpoint or other settings found before is kept, exported as it was, and never searched."""

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from longview.core.timeline import Event, Segment, Span
from longview.indexing.errors import UnknownVersion, UnknownVideo
from longview.indexing.exports import FORMATS, export_segments
from longview.indexing.records.track import Provenance, Track, TrackVersion
from longview.indexing.sqlite.database.database import DATABASE
from longview.indexing.sqlite.library import Library
from tests.support.library_samples import (
    as_captions,
    matching_texts,
    put_captions,
    sample_entry,
    sample_events,
    sample_track,
    shown,
    spoken,
)

VIDEO, OTHER = "aaaaaaaaaaaa", "bbbbbbbbbbbb"
FIRST = Provenance("demo@1", "2", {"patch_period_s": 1.0}, "c0ffee", "demo")
SECOND = Provenance("Qwen/Qwen3-VL-8B-Instruct@2", "4", {"patch_period_s": 1.0}, "1a2b3c4d" * 5, "qwen3-vl")
CHAPTERS = (Event(Span(0, 100), "A ring"),)


@pytest.fixture
def library(tmp_path: Path) -> Library:
    library = Library(tmp_path / "library")
    library.put(sample_entry(VIDEO))
    return library


def caption_track(provenance: Provenance, **fields: object) -> Track:
    return sample_track("captions", provenance=provenance, **fields)  # type: ignore[arg-type]


def write_captions(library: Library, track: Track, *texts: str) -> None:
    library.put_captions(VIDEO, track, as_captions(sample_events(*texts)), summary=texts[0], chapters=CHAPTERS)


def version_texts(library: Library) -> list[tuple[bool, list[str]]]:
    """Return for each version of the video whether it is current, and its texts."""
    versions = library.versions.of_video(VIDEO)
    return [(item.is_current, [segment.text for segment in library.versions.segments(item)]) for item in versions]


def exports(library: Library, version: TrackVersion) -> dict[str, str]:
    entry, segments = replace(library.video(VIDEO), tracks=(version.track,)), library.versions.segments(version)
    return {format: export_segments(format, entry, segments, word_times=FORMATS[format].holds_word_times) for format in FORMATS}


def test_captions_of_another_checkpoint_replace_the_older_ones_in_search_only(library: Library) -> None:
    write_captions(library, caption_track(FIRST), "A cyan ring.", "It vanishes.")
    (before,) = library.versions.of_video(VIDEO)
    contents = exports(library, before)
    write_captions(library, caption_track(SECOND), "A turquoise hoop.")
    assert version_texts(library) == [(False, ["A cyan ring.", "It vanishes."]), (True, ["A turquoise hoop."])]
    earlier, current = library.versions.of_video(VIDEO)
    assert replace(earlier, replaced_at="") == before and earlier.replaced_at
    assert (earlier.summary, earlier.chapters) == ("A cyan ring.", CHAPTERS)
    assert exports(library, earlier) == contents
    assert current.track.provenance == SECOND and library.video(VIDEO).summary == "A turquoise hoop."
    assert matching_texts(library, "ring vanishes") == [] and matching_texts(library, "hoop") == ["A turquoise hoop."]
    assert [item.segment.text for item in library.tracks.segments(VIDEO)] == ["A turquoise hoop."]


@pytest.mark.parametrize(
    "changed",
    [
        caption_track(replace(FIRST, checkpoint="demo@2")),
        caption_track(replace(FIRST, revision="decaf")),
        caption_track(replace(FIRST, profile="other")),
        caption_track(replace(FIRST, prompt_version="3")),
        caption_track(replace(FIRST, plan={"patch_period_s": 0.5})),
        caption_track(FIRST, span=Span(0, 50)),
    ],
    ids=["checkpoint", "revision", "profile", "prompts", "plan", "span"],
)
def test_whatever_differs_makes_another_version(library: Library, changed: Track) -> None:
    write_captions(library, caption_track(FIRST), "before")
    write_captions(library, changed, "after")
    assert version_texts(library) == [(False, ["before"]), (True, ["after"])]


def test_forced_run_with_the_same_settings_replaces_the_version(library: Library) -> None:
    for text in ("first", "second"):
        write_captions(library, caption_track(FIRST), text)
    assert version_texts(library) == [(True, ["second"])]


def test_versions_do_not_grow_without_limit(library: Library) -> None:
    for turn in range(4):
        write_captions(library, caption_track(FIRST), f"first {turn}")
        write_captions(library, caption_track(SECOND), f"second {turn}")
    assert version_texts(library) == [(False, ["second 2"]), (False, ["first 3"]), (True, ["second 3"])]


def test_interrupted_run_does_not_displace_an_earlier_complete_version(library: Library) -> None:
    write_captions(library, caption_track(FIRST), "complete", "with its end")
    write_captions(library, caption_track(SECOND), "of another checkpoint")
    write_captions(library, caption_track(FIRST, status="incomplete", done_s=50.0), "half")
    write_captions(library, caption_track(SECOND), "of another checkpoint again")
    assert version_texts(library)[0] == (False, ["complete", "with its end"])
    assert "half" not in str(version_texts(library))


def test_failed_write_moves_nothing(library: Library) -> None:
    write_captions(library, caption_track(FIRST), "before")

    def interrupted() -> Iterator[Segment]:
        yield from as_captions(sample_events("half"))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        library.put_captions(VIDEO, caption_track(SECOND), interrupted(), summary="", chapters=())
    assert version_texts(library) == [(True, ["before"])]
    assert matching_texts(library, "before") == ["before"]


def test_words_of_an_interrupted_new_run_are_in_the_earlier_version(library: Library) -> None:
    track = sample_track("speech", provenance=FIRST, language="en")
    library.tracks.begin(VIDEO, replace(track, status="incomplete", done_s=0.0))
    library.tracks.append(
        VIDEO, track, [spoken(1.0, "the harbour at night"), spoken(5.0, "der Hafen", language="de")], after_s=0.0
    )
    (before,) = library.versions.of_video(VIDEO)
    contents = exports(library, before)
    # The new run is interrupted before its first chunk.
    library.tracks.begin(VIDEO, sample_track("speech", "incomplete", done_s=0.0, provenance=SECOND))
    earlier, current = library.versions.of_video(VIDEO)
    assert (earlier.track.languages, current.track.status, current.track.segment_count) == (("en", "de"), "incomplete", 0)
    assert exports(library, earlier) == contents and '"words"' in contents["json"]
    assert matching_texts(library, "harbour") == []


def test_lines_on_screen_keep_their_boxes(library: Library) -> None:
    line = shown(1, 2, "ACME Television")
    library.tracks.replace(VIDEO, sample_track("screen_text", provenance=FIRST, frames_read=9), [line])
    library.tracks.begin(VIDEO, sample_track("screen_text", "incomplete", done_s=0.0, provenance=SECOND))
    earlier, _ = library.versions.of_video(VIDEO)
    assert library.versions.segments(earlier) == (line,) and earlier.track.frames_read == 9


def test_a_track_without_segments_and_subtitles_are_not_kept(library: Library) -> None:
    library.put_captions(VIDEO, caption_track(FIRST, status="declined"), (), summary="", chapters=())
    write_captions(library, caption_track(SECOND), "text")
    for name, provenance in (("a.srt", FIRST), ("b.srt", SECOND)):
        track = sample_track("subtitles", provenance=provenance)
        library.tracks.replace(VIDEO, track, [Segment(Span(1, 2), name, "subtitles")], origin=name)
    assert version_texts(library) == [(True, ["text"]), (True, ["a.srt", "b.srt"])]


def test_removal_deletes_all_versions_and_their_numbers_are_not_used_again(library: Library) -> None:
    write_captions(library, caption_track(FIRST), "one")
    write_captions(library, caption_track(SECOND), "two")
    numbers = {version.number for version in library.versions.of_video(VIDEO)}
    library.remove(VIDEO)
    with pytest.raises(UnknownVideo, match="removed"):
        write_captions(library, caption_track(FIRST), "three")
    assert library.versions.of_video(VIDEO) == ()
    with pytest.raises(UnknownVersion, match="There is no version"):
        library.versions.version(OTHER, min(numbers))
    # Indexing it again makes the removal final.
    library.put(sample_entry(VIDEO))
    with sqlite3.connect(library.folder / DATABASE) as db:
        for table in ("tracks", "segments", "earlier_tracks", "earlier_segments"):
            assert db.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
    write_captions(library, caption_track(FIRST), "four")
    assert not numbers & {version.number for version in library.versions.of_video(VIDEO)}


def test_version_of_another_video_or_of_none_is_an_error(library: Library) -> None:
    write_captions(library, caption_track(FIRST), "one")
    put_captions(library, sample_entry(OTHER), sample_events("two"))
    (other,) = library.versions.of_video(OTHER)
    assert library.versions.version(OTHER, other.number) == other
    with pytest.raises(UnknownVersion, match=f"is of the video {OTHER}; `longview versions {VIDEO}` lists"):
        library.versions.version(VIDEO, other.number)
    for number in (other.number + 1, 0, -1, 1 << 80, -(1 << 80)):
        with pytest.raises(UnknownVersion, match=f"no version {number};"):
            library.versions.version(VIDEO, number)
