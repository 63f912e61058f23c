"""A conversation that was cleared comes back for a day: all of it, before what was asked since, and for its own video only."""

import shutil
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from longview.app.maintenance.backup import backup
from longview.app.maintenance.housekeeping import purge_cleared
from longview.app.maintenance.restore import restore
from longview.core.progress import Cancelled
from longview.indexing.errors import NothingCleared
from longview.indexing.records.video import AnsweredQuestion
from longview.indexing.sqlite.database.database import DATABASE
from longview.indexing.sqlite.library import Library
from longview.indexing.sqlite.repair.integrity import database_problems
from tests.indexing.sqlite.test_migration import FIRST_LIBRARY
from tests.indexing.sqlite.test_migration import VIDEO as FIRST_VIDEO
from tests.support.library_samples import PROVENANCE, put_captions, sample_entry, sample_events

VIDEO, OTHER = "aaaaaaaaaaaa", "bbbbbbbbbbbb"


@pytest.fixture
def library(tmp_path: Path) -> Library:
    library = Library(tmp_path / "library")
    for video_id in (VIDEO, OTHER):
        put_captions(library, sample_entry(video_id), sample_events("an event"))
        ask(library, video_id, "first", "second")
    return library


def ask(library: Library, video_id: str, *questions: str) -> None:
    """Store answers to questions."""
    for question in questions:
        library.conversations.add(video_id, AnsweredQuestion(question, "An answer.", (), PROVENANCE))


def questions(library: Library, video_id: str = VIDEO) -> list[str]:
    """Return the questions of a conversation."""
    return [item.question for item in library.conversations.answers(video_id)]


def test_an_answer_that_is_cancelled_before_its_conversation_is_cleared_is_not_stored(library: Library) -> None:
    def is_cancelled() -> None:
        raise Cancelled

    answer = AnsweredQuestion("third", "An answer.", (), PROVENANCE)
    with pytest.raises(Cancelled):
        library.conversations.add(VIDEO, answer, raise_if_cancelled=is_cancelled)
    assert questions(library) == ["first", "second"]


def test_a_cleared_conversation_comes_back_before_what_was_asked_since(library: Library) -> None:
    cleared = library.conversations
    with pytest.raises(NothingCleared, match="nothing can be undone"):
        cleared.undo(VIDEO)
    cleared.clear(VIDEO)
    assert questions(library) == [] and library.conversations.count(VIDEO) == 0 and cleared.cleared_count(VIDEO) == 2
    assert questions(library, OTHER) == ["first", "second"] and cleared.cleared_count(OTHER) == 0
    # An empty conversation is nothing that could be cleared instead.
    cleared.clear(VIDEO)
    ask(library, VIDEO, "third")
    # Another process opens the library.
    again = Library(library.folder)
    again.conversations.undo(VIDEO)
    assert questions(again) == ["first", "second", "third"] and again.conversations.cleared_count(VIDEO) == 0
    assert not database_problems(library.folder)


def test_clearings_are_undone_one_after_another(library: Library) -> None:
    cleared = library.conversations
    cleared.clear(VIDEO)
    ask(library, VIDEO, "third")
    cleared.clear(VIDEO)
    cleared.undo(VIDEO)
    assert questions(library) == ["third"] and cleared.cleared_count(VIDEO) == 2
    cleared.undo(VIDEO)
    assert questions(library) == ["first", "second", "third"] and cleared.cleared_count(VIDEO) == 0


def test_after_a_day_nothing_comes_back_and_all_is_deleted(library: Library) -> None:
    library.conversations.clear(VIDEO)
    ask(library, VIDEO, "third")
    purge_cleared(library, now=datetime.now(UTC) + timedelta(hours=23))
    assert library.conversations.cleared_count(VIDEO) == 2
    with sqlite3.connect(library.folder / DATABASE) as db:
        db.execute(
            "UPDATE answers SET cleared_at = ? WHERE cleared_at != ''", ((datetime.now(UTC) - timedelta(days=2)).isoformat(),)
        )
    assert library.conversations.cleared_count(VIDEO) == 0
    with pytest.raises(NothingCleared):
        library.conversations.undo(VIDEO)
    purge_cleared(library)
    with sqlite3.connect(library.folder / DATABASE) as db:
        assert db.execute("SELECT count(*) FROM answers WHERE video_id = ?", (VIDEO,)).fetchone() == (1,)
    assert questions(library) == ["third"] and questions(library, OTHER) == ["first", "second"]


def test_a_cleared_conversation_survives_removal_and_backup(library: Library, tmp_path: Path) -> None:
    library.conversations.clear(VIDEO)
    library.remove(VIDEO)
    with pytest.raises(NothingCleared):
        library.conversations.undo(VIDEO)
    library.removals.undo(VIDEO)
    backup(library.folder, tmp_path / "all.zip", with_originals=False)
    restore(tmp_path / "all.zip", tmp_path / "elsewhere", replace=False)
    restored = Library(tmp_path / "elsewhere")
    restored.conversations.undo(VIDEO)
    assert questions(restored) == ["first", "second"]


def test_a_conversation_of_the_first_version_can_be_cleared_and_brought_back(tmp_path: Path) -> None:
    library = Library(Path(shutil.copytree(FIRST_LIBRARY, tmp_path / "library")))
    before = library.conversations.answers(FIRST_VIDEO)
    library.conversations.clear(FIRST_VIDEO)
    library.conversations.undo(FIRST_VIDEO)
    assert library.conversations.answers(FIRST_VIDEO) == before != ()
