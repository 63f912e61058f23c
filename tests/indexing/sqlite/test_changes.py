"""The numbers of changes: any process sees what has changed since, and the table does not grow with each change."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from longview.core.timeline import Span
from longview.indexing.library_files import UPLOADS
from longview.indexing.records.changes import LibraryChanges
from longview.indexing.records.video import AnsweredQuestion
from longview.indexing.sqlite.database.database import DATABASE
from longview.indexing.sqlite.library import Library
from tests.support.library_samples import PROVENANCE, put_captions, put_speech, sample_entry, sample_events, spoken

ONE, TWO = "a" * 12, "b" * 12


@pytest.fixture
def library(tmp_path: Path) -> Library:
    library = Library(tmp_path / "library")
    for video_id in (ONE, TWO):
        put_captions(library, sample_entry(video_id), sample_events("a red circle"))
    return library


def number_of_rows(library: Library) -> int:
    with closing(sqlite3.connect(library.folder / DATABASE)) as db:
        return int(db.execute("SELECT count(*) FROM changes").fetchone()[0])


def test_each_change_of_another_process_is_seen_once_and_as_what_it_is(library: Library) -> None:
    other = Library(library.folder)
    answer = AnsweredQuestion("What?", "This.", (Span(1, 2),), PROVENANCE)
    revision = library.changes.revision()

    def seen() -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
        nonlocal revision
        changes = library.changes.since(revision)
        assert isinstance(changes, LibraryChanges)
        revision = changes.revision
        return changes.videos, changes.positions, changes.conversations

    one, none = frozenset({ONE}), frozenset[str]()
    for change in (
        lambda: other.rename(ONE, "Other"),
        lambda: other.set_path(ONE, Path("/elsewhere.mp4")),
        lambda: put_speech(other, sample_entry(ONE), [spoken(1.0, "Hello.")]),
        lambda: other.tracks.delete(ONE, "speech"),
        lambda: other.remove(ONE),
        lambda: other.removals.undo(ONE),
    ):
        change()
        assert seen() == (one, none, none) and seen() == (none, none, none)
    other.set_position(ONE, 5.0)
    assert seen() == (none, one, none)
    other.conversations.add(ONE, answer)
    assert seen() == (none, none, one)
    other.conversations.clear(ONE)
    assert seen() == (none, none, one)


def test_the_table_has_a_row_of_each_kind_for_a_video_and_none_once_it_is_gone(library: Library) -> None:
    for number in range(20):
        library.rename(ONE, f"Title {number}")
        library.set_position(TWO, float(number))
    assert number_of_rows(library) == 3
    later = datetime.now(UTC) + timedelta(days=2)
    for video_id in (ONE, TWO):
        revision = library.changes.revision()
        library.remove(video_id)
        library.removals.delete_expired(library.folder / UPLOADS, later)
        changes = library.changes.since(revision)
        assert changes and changes.videos == {video_id}
    assert number_of_rows(library) <= 2
    # Numbers are not used again, so that nobody takes a new change for one that is known.
    before = library.changes.revision()
    put_captions(library, sample_entry(ONE), sample_events("a red circle"))
    after = library.changes.since(before)
    assert after and after.videos == {ONE} and after.revision.number > before.number


def test_a_video_keeps_its_revision_while_others_change(library: Library) -> None:
    before = library.changes.of_video(ONE)
    library.rename(TWO, "Other")
    library.set_position(ONE, 5.0)
    assert library.changes.of_video(ONE) == before
    library.tracks.delete(ONE, "captions")
    assert library.changes.of_video(ONE) != before
