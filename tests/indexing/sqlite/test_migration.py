"""Libraries of earlier versions open without loss."""

import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from longview.app.service import Longview
from longview.app.settings import Settings
from longview.core.timeline import Span
from longview.indexing.embedding.embedder import SentenceEncoder
from longview.indexing.exports import FORMATS
from longview.indexing.records.listing import ListingQuery
from longview.indexing.records.track import Provenance, Track
from longview.indexing.sqlite.database.database import DATABASE
from longview.indexing.sqlite.database.migrations import MIGRATIONS
from longview.indexing.sqlite.library import Library
from longview.indexing.sqlite.repair.integrity import database_problems
from longview.indexing.sqlite.vectors import VectorIndex
from longview.indexing.text.terms import index_text
from tests.support.library_samples import WordBags, caption_texts, matching_texts, sample_track, spoken

FIRST_LIBRARY = Path(__file__).parents[2] / "fixtures" / "library_9caf505"
"""A library of commit 9caf505: one video with three events, one question about it, and the vectors."""
VIDEO = "96e32afdbc9c"
LATER_LIBRARY = FIRST_LIBRARY.parent / "library_8d61d84"
"""A library of commit 8d61d84: a video with subtitles, speech and text on screen, one with captions, a conversation about both,
a video that was removed, a job that waits, and the vectors."""
SLIDES, SHAPES, REMOVED = "86fa35fdbb05", "545844bc1307", "514a11b6c3ef"
TEXTS = ["An orange diamond stays still.", "An orange triangle stays still.", "An orange diamond stays still."]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FIRST_LIBRARY, tmp_path / "library"))


def test_first_version_keeps_all_data(folder: Path) -> None:
    library = Library(folder)
    (entry,) = library.videos()
    assert (entry.video_id, entry.title, entry.caption_count) == (VIDEO, "shapes", 3)
    assert entry.summary == "3 events: An orange diamond stays still."
    assert [(chapter.span, chapter.text) for chapter in entry.chapters] == [(Span(0, 20), "An orange diamond stays still")]
    segments = [item.segment for item in library.tracks.segments(VIDEO)]
    assert {segment.source for segment in segments} == {"captions"}
    assert [(segment.span.start_s, segment.text) for segment in segments] == list(zip((1, 7, 14), TEXTS, strict=True))
    (turn,) = library.conversations.answers(VIDEO)
    assert (turn.question, turn.answer) == ("What happens at 0:05?", "An orange diamond stays still.")
    assert turn.citations == (Span(1.0, 5.48),)
    assert turn.provenance.plan["timestamp_tokens"] == 64


def test_captions_of_the_first_version_are_a_track(folder: Path) -> None:
    (track,) = Library(folder).video(VIDEO).tracks
    assert (track.source, track.status, track.segment_count, track.uncovered) == ("captions", "complete", 3, ())
    assert (track.span.start_s, track.span.end_s, track.done_s) == (0, pytest.approx(20, abs=0.1), track.span.end_s)
    assert track.provenance.checkpoint == "demo@e5dda8cbe513"
    plan = track.provenance.plan
    assert (plan["patch_period_s"], plan["timestamp_tokens"], plan["purpose"]) == (1.0, 170, "caption")
    assert "grain_s" not in plan and "stamp_tokens" not in plan


def test_captions_of_the_first_version_can_be_exported_once_they_are_replaced(folder: Path) -> None:
    app = Longview(Settings(library=folder, model="demo", device="cpu", cpu_threads=1))
    (entry,) = app.videos()
    (version,) = app.parts.library.versions.of_video(entry.video_id)
    assert version.is_current and (version.track.provenance.revision, version.track.provenance.profile) == ("", "")
    assert (version.summary, version.chapters) == (entry.summary, entry.chapters)
    # What is not known of them does not make them outdated.
    assert not app.is_outdated(entry) and app.caption_offer(entry) is None
    before = {format: app.export(entry, format, ["captions"]) for format in FORMATS}
    app.parts.library.put_captions(VIDEO, sample_track("captions"), (), summary="", chapters=())
    earlier, _ = app.parts.library.versions.of_video(entry.video_id)
    assert (
        earlier.number == version.number and {format: app.export_version(entry, format, earlier) for format in FORMATS} == before
    )


def test_what_is_not_known_of_old_captions_makes_no_other_version(folder: Path) -> None:
    library = Library(folder)
    (version,) = library.versions.of_video(VIDEO)
    provenance = replace(version.track.provenance, profile="demo", revision="c0ffee")
    library.put_captions(VIDEO, replace(version.track, provenance=provenance), (), summary="", chapters=())
    assert [item.number for item in library.versions.of_video(VIDEO)] == [version.number]


def test_tracks_of_the_version_before_keep_all_columns(tmp_path: Path) -> None:
    # Tracks have had numbers since the seventh migration.
    connection = sqlite3.connect(tmp_path / DATABASE)
    connection.create_function("index_text", 1, index_text, deterministic=True)
    with connection as db:
        for script in MIGRATIONS[:6]:
            db.executescript(script)
        db.execute("PRAGMA user_version = 6")
        db.execute("INSERT INTO videos VALUES ('a', 'a1', '/a.mp4', 'a', 9.0, '{}', 's', '[]', '2025')")
        columns = (
            "a", "screen_text", "incomplete", 1.0, 8.0, 5.0, "m@1", "2", '{"tesseract": "ko"}', "ko", "[[2.0, 3.0]]", "note", 4.0,
            "2025-01-02T03:04:05+00:00", '{"ko": 2}', 7,
        )  # fmt: skip
        db.execute(f"INSERT INTO tracks VALUES ({', '.join('?' * len(columns))})", columns)
    connection.close()
    (track,) = Library(tmp_path).video("a").tracks
    assert track == Track(
        "screen_text", "incomplete", Span(1, 8), 5.0, Provenance("m@1", "2", {"tesseract": "ko"}), "ko", (Span(2, 3),), "note",
        4.0, 7, "2025-01-02T03:04:05+00:00", 2, ("ko",),
    )  # fmt: skip


def test_vectors_of_the_first_version_are_used_as_they_are(folder: Path) -> None:
    library = Library(folder)
    embedder = WordBags(SentenceEncoder.name, SentenceEncoder.dimensions)
    vectors = VectorIndex(library, embedder)
    vectors.update()
    assert embedder.embedded_count == 0
    passages = library.tracks.passages_by_id([passage_id for passage_id, _ in vectors.search("", limit=10)]).values()
    assert sorted(passage.text for passage in passages) == sorted(TEXTS)


def test_first_version_gets_speech(folder: Path) -> None:
    library = Library(folder)
    assert sorted(matching_texts(library, "triangles")) == [TEXTS[1]]
    library.tracks.begin(VIDEO, sample_track("speech", "incomplete", done_s=0.0))
    library.tracks.begin(VIDEO, sample_track("speech", "incomplete", done_s=0.0))
    library.tracks.append(VIDEO, sample_track("speech"), [spoken(3.0, "the triangle is orange")], after_s=0.0)
    assert sorted(matching_texts(library, "triangles")) == [TEXTS[1], "the triangle is orange"]
    assert [track.source for track in Library(folder).video(VIDEO).tracks] == ["captions", "speech"]
    assert caption_texts(library, VIDEO) == TEXTS


def test_first_version_can_be_searched_and_written(folder: Path) -> None:
    app = Longview(Settings(library=folder, model="demo", device="cpu", cpu_threads=1))
    best = app.search("orange triangle", verify=False).result().moments[0]
    assert (best.video_id, best.span, best.text) == (VIDEO, Span(7.0, 11.48), "An orange triangle stays still.")
    (entry,) = app.videos()
    assert not app.is_outdated(entry)
    (track,) = entry.tracks
    before = app.parts.library.tracks.revision()
    app.parts.library.put_captions(
        VIDEO, track, app.segments(entry, "captions")[:1], summary=entry.summary, chapters=entry.chapters
    )
    assert app.parts.library.tracks.revision() > before
    results = app.search("orange triangle", verify=False).result()
    assert [moment.text for moment in results.moments] == ["An orange diamond stays still."]


def test_second_opening_of_a_first_version_changes_nothing(folder: Path) -> None:
    before = Library(folder).videos()
    assert Library(folder).videos() == before


def test_library_with_words_a_queue_and_a_removal_keeps_all_of_it(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(LATER_LIBRARY, tmp_path / "library"))
    library = Library(folder)
    counts = {entry.video_id: {track.source: track.segment_count for track in entry.tracks} for entry in library.videos()}
    assert {source: count for source, count in counts[SLIDES].items() if count} == {
        "screen_text": 39, "speech": 25, "subtitles": 3,
    }  # fmt: skip
    assert {source: count for source, count in counts[SHAPES].items() if count} == {"captions": 3}
    assert "In thick fog, no light is strong enough" in " ".join(matching_texts(library, "fog"))
    assert [turn.question for turn in library.conversations.answers(SLIDES)] == [
        "What is said about the lens?",
        "What is said at 0:30?",
    ]
    (removed,) = library.removals.videos(with_expired=True)
    assert removed.video_id == REMOVED and REMOVED not in counts
    job = library.queue.jobs()[0]
    assert (job.path, job.status, job.attempts) == (Path("/videos/waiting.mp4"), "waiting", 1)
    assert database_problems(folder) == []


def test_the_list_of_an_older_library_is_sorted_and_its_changes_are_seen(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(LATER_LIBRARY, tmp_path / "library"))
    with closing(sqlite3.connect(folder / DATABASE)) as connection, connection as db:
        db.execute("UPDATE videos SET title = 'Übersicht' WHERE video_id = ?", (SLIDES,))
        db.execute("UPDATE videos SET title = 'vase' WHERE video_id = ?", (SHAPES,))
    library = Library(folder)
    listing = library.listing(ListingQuery(sort="title"), limit=5)
    assert [entry.title for entry in listing.entries] == ["Übersicht", "vase"]
    assert library.listing(ListingQuery(text="ubersicht"), limit=5).total == 1
    assert all(entry.watched_at == "" for entry in listing.entries)
    revision = library.changes.revision()
    library.set_position(SHAPES, 3.0)
    changes = library.changes.since(revision)
    assert changes and changes.positions == {SHAPES}
    assert database_problems(folder) == []
