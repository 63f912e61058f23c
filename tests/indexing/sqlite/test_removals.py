"""A removed video is found nowhere, and comes back whole; a removal that is final or has expired leaves nothing."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from longview.core.timeline import Event, Segment, Span
from longview.indexing.errors import AmbiguousVideo, UnknownVersion, UnknownVideo
from longview.indexing.records.track import Provenance
from longview.indexing.records.video import AnsweredQuestion
from longview.indexing.search.search import Moment, search
from longview.indexing.sqlite.database.database import DATABASE
from longview.indexing.sqlite.library import Library
from longview.indexing.sqlite.repair.integrity import database_problems
from longview.indexing.sqlite.repair.recovery import recover
from longview.indexing.sqlite.vectors import VectorIndex
from tests.support.library_samples import (
    WordBags,
    as_captions,
    put_captions,
    put_speech,
    sample_entry,
    sample_events,
    sample_track,
    shown,
    spoken,
)

VIDEO, OTHER = "a" * 12, "b" * 12
ANSWER = AnsweredQuestion("When?", "From 1.0 to 2.0 seconds.", (Span(1, 2),), Provenance("demo@1", "1", {}))
EARLIER = replace(sample_track("captions"), provenance=Provenance("demo@0", "1", {}))


@pytest.fixture
def library(tmp_path: Path) -> Library:
    """Two videos. One has all kinds of tracks, an earlier version, a summary with chapters, and a conversation."""
    library = Library(tmp_path / "library")
    entry = replace(sample_entry(VIDEO), summary="a summary", chapters=(Event(Span(0, 100), "All"),))
    library.put(entry)
    library.put_captions(VIDEO, EARLIER, as_captions(sample_events("an older circle")), summary="old", chapters=())
    put_speech(library, entry, [spoken(start_s, f"sentence {start_s} about a red circle") for start_s in range(0, 90, 3)])
    library.tracks.replace(VIDEO, sample_track("screen_text"), [shown(1, 50, "Red Circle Ltd")])
    library.tracks.replace(VIDEO, sample_track("subtitles"), [Segment(Span(1, 2), "a circle", "subtitles", "en")], origin="a.srt")
    put_captions(library, entry, sample_events("a red circle", "a blue star"))
    library.conversations.add(VIDEO, ANSWER)
    put_captions(library, sample_entry(OTHER), sample_events("a red circle of another video"))
    return library


def rows(library: Library) -> dict[str, list[tuple[object, ...]]]:
    """Return all rows but those of passages, which have new numbers when they are rebuilt."""
    tables = ("videos", "tracks", "segments", "earlier_tracks", "earlier_segments", "answers")
    with closing(sqlite3.connect(library.folder / DATABASE)) as db:
        return {table: db.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall() for table in tables}


def moments(library: Library) -> tuple[Moment, ...]:
    return search(library, VectorIndex(library, WordBags()), "a red circle", limit=20)


def age(library: Library, video_id: str, hours: float) -> None:
    """Move the removal of a video into the past."""
    removed_at = (datetime.now(UTC) - timedelta(hours=hours)).isoformat(timespec="microseconds")
    with closing(sqlite3.connect(library.folder / DATABASE)) as db:
        db.execute("UPDATE videos SET removed_at = ? WHERE video_id = ?", (removed_at, video_id))
        db.commit()


def test_undoing_a_removal_brings_back_equal_rows_and_equal_results(library: Library) -> None:
    before, found, entries = rows(library), moments(library), library.videos()
    number = library.versions.of_video(VIDEO)[0].number
    library.remove(VIDEO)
    assert [entry.video_id for entry in library.videos()] == [OTHER] == list(library.titles())
    assert {moment.video_id for moment in moments(library)} == {OTHER}
    assert library.tracks.passage_count(VIDEO) == library.tracks.count_with_term("circl", VIDEO) == 0
    assert (
        library.tracks.segments(VIDEO) == library.tracks.origins(VIDEO, "subtitles") == library.conversations.answers(VIDEO) == ()
    )
    assert library.versions.of_video(VIDEO) == ()
    with pytest.raises(UnknownVersion):
        library.versions.version(VIDEO, number)
    # What still runs or is still open changes nothing of it.
    library.conversations.clear(VIDEO)
    library.conversations.add(VIDEO, ANSWER)
    for write in (
        lambda: library.remove(VIDEO),
        lambda: library.pending_video(VIDEO),
        lambda: library.tracks.delete(VIDEO, "speech"),
        lambda: library.put_captions(VIDEO, EARLIER, (), summary="", chapters=()),
    ):
        with pytest.raises(UnknownVideo):
            write()
    library.removals.undo(VIDEO)
    assert rows(library) == before and moments(library) == found and library.videos() == entries
    assert not database_problems(library.folder)
    with pytest.raises(UnknownVideo, match="was removed in the last 24 hours"):
        library.removals.undo(VIDEO)


def test_a_removal_is_found_by_what_names_the_video_or_as_the_last_one(library: Library) -> None:
    with pytest.raises(UnknownVideo, match="nothing to undo"):
        library.removals.find()
    similar = "ab" + "0" * 10
    put_captions(library, sample_entry(similar), [])
    for video_id in (VIDEO, similar, OTHER):
        library.remove(video_id)
    assert library.removals.find().video_id == OTHER
    assert library.removals.find(" AB").video_id == similar
    with pytest.raises(AmbiguousVideo, match=f"{similar}, {VIDEO}"):
        library.removals.find("a")
    with pytest.raises(UnknownVideo, match="'c'"):
        library.removals.find("c")
    with pytest.raises(UnknownVideo):
        library.removals.find(str(sample_entry(VIDEO).path))


def test_indexing_again_makes_a_removal_final(library: Library) -> None:
    library.remove(VIDEO)
    put_captions(library, sample_entry(VIDEO), sample_events("a green square"))
    (track,) = library.video(VIDEO).tracks
    assert track.source == "captions" and library.video(VIDEO).summary == ""
    assert [moment.video_id for moment in moments(library) if "circle" in moment.text] == [OTHER]
    assert (
        len(library.versions.of_video(VIDEO)) == 1
        and library.conversations.answers(VIDEO) == ()
        and library.removals.videos() == ()
    )


def test_an_expired_removal_deletes_rows_and_the_own_copy_of_an_upload(library: Library, tmp_path: Path) -> None:
    uploads = library.folder / "uploads"
    uploads.mkdir()
    own, queued, outside = uploads / f"{VIDEO}-own.mp4", uploads / f"{OTHER}-queued.mp4", tmp_path / f"{VIDEO}-own.mp4"
    for path in (own, queued, outside):
        path.write_bytes(b"12345")
    library.set_path(VIDEO, own)
    library.set_path(OTHER, outside)
    library.queue.add(queued, title=queued.name, options={}, settings={}, priority=0)
    for video_id in (VIDEO, OTHER):
        library.remove(video_id)
    assert library.removals.upload_bytes(uploads, VIDEO) == 5
    age(library, VIDEO, 23.9)
    age(library, OTHER, 23.9)
    assert library.removals.delete_expired(uploads, datetime.now(UTC)) == ((), 0)
    age(library, VIDEO, 24.1)
    age(library, OTHER, 24.1)
    # It can no longer be undone, even if it is not deleted yet.
    with pytest.raises(UnknownVideo):
        library.removals.undo(VIDEO)
    videos, freed_bytes = library.removals.delete_expired(uploads, datetime.now(UTC))
    assert {video.video_id for video in videos} == {VIDEO, OTHER} and freed_bytes == 5
    assert not own.exists() and queued.exists() and outside.exists()
    assert not any(rows(library).values())
    assert not database_problems(library.folder)


def damage_segments(library: Library) -> None:
    with closing(sqlite3.connect(library.folder / DATABASE)) as db:
        db.execute("DELETE FROM segments WHERE video_id = ? AND source = 'speech' AND start_s > 50", (VIDEO,))
        db.commit()


def damage_the_time(library: Library) -> None:
    with closing(sqlite3.connect(library.folder / DATABASE)) as db:
        db.execute("UPDATE videos SET removed_at = '1' || removed_at WHERE video_id = ?", (VIDEO,))
        db.commit()


@pytest.mark.parametrize("damage", [lambda _: None, damage_segments], ids=["intact", "segments lost"])
def test_a_removed_video_stays_removed_through_a_recovery(library: Library, damage: Callable[[Library], None]) -> None:
    library.remove(VIDEO)
    assert not database_problems(library.folder)
    damage(library)
    before, found = rows(library), moments(library)
    recovery = recover(library.folder / DATABASE)
    # Nobody is asked to index it again, which would make the removal final.
    assert recovery.damaged_videos == []
    library = Library(library.folder)
    assert not database_problems(library.folder)
    assert [entry.video_id for entry in library.videos()] == [OTHER] and moments(library) == found
    assert rows(library)["segments"] == before["segments"] and rows(library)["answers"] == before["answers"]
    library.removals.undo(VIDEO)
    assert len(library.tracks.segments(VIDEO, "captions")) == 2 and library.conversations.answers(VIDEO) == (ANSWER,)


def test_a_damaged_time_of_removal_deletes_nothing(library: Library) -> None:
    library.remove(VIDEO)
    damage_the_time(library)
    before = rows(library)
    assert library.removals.delete_expired(library.folder / "uploads", datetime.now(UTC) + timedelta(days=9)) == ((), 0)
    assert rows(library) == before
