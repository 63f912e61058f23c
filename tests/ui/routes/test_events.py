"""The event stream: what any process has changed, for pages that are open or connect again."""

import json
import time
from pathlib import Path

import pytest

from longview.app.service import Longview
from longview.app.serving.workers import Workers
from longview.core.timeline import Span
from longview.indexing.records.video import AnsweredQuestion
from longview.indexing.sqlite.library import Library
from longview.indexing.sqlite.repair.copies import prepare_replacement, replace_database
from longview.ui.routes import events
from longview.ui.routes.events import EventFeed
from tests.support.library_samples import PROVENANCE
from tests.support.routes import put, video_id


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a feed look for changes whenever it is asked."""
    monkeypatch.setattr(events, "LIBRARY_POLL_S", 0.0)
    monkeypatch.setattr(events, "POLL_S", 0.0)


def test_events_name_what_any_process_has_changed_and_a_page_resumes_behind_the_last_one(
    app: Longview, workers: Workers, tmp_path: Path
) -> None:
    put(app.parts.library, 1, "One")
    feed = EventFeed(app, workers)
    assert feed.after(0) == []
    # Another process has a library object of its own.
    other = Library(app.folder)
    other.rename(video_id(1), "Two")
    (renamed,) = feed.after(0)
    assert (renamed.name, renamed.data) == ("videos", {"ids": [video_id(1)]})
    app.remove(app.video_with_id(video_id(1)))
    other.queue.add(tmp_path / "a.mp4", title="a", options={}, settings={}, priority=0)
    time.sleep(0.3)
    later = feed.after(renamed.number)
    assert {event.name for event in later} == {"videos", "jobs"}
    (job,) = next(event for event in later if event.name == "jobs").data["jobs"]
    assert job["title"] == "a" and json.dumps(job)
    assert feed.after(later[-1].number) == []
    assert feed.position(feed.event_id(renamed.number)) == renamed.number
    for unknown in ("", "x", "0000-1", feed.event_id(10**9), feed.event_id(1) + "é", "-" * 200):
        assert feed.position(unknown) is None
    # A new page gets what it may have missed while it was loaded.
    assert feed.first_position() < renamed.number


def test_a_change_after_the_queue_was_read_for_somebody_else_is_not_lost(app: Longview, workers: Workers, tmp_path: Path) -> None:
    feed = EventFeed(app, workers)
    feed.after(0)
    time.sleep(0.3)
    workers.refresh()
    Library(app.folder).queue.add(tmp_path / "a.mp4", title="a", options={}, settings={}, priority=0)
    feed.after(0)
    time.sleep(0.3)
    assert [event.name for event in feed.after(0)].count("jobs") == 1


def test_what_is_changed_before_the_first_look_is_news(app: Longview, workers: Workers) -> None:
    put(app.parts.library, 1, "One")
    feed = EventFeed(app, workers)
    app.parts.library.rename(video_id(1), "Two")
    (renamed,) = feed.after(feed.first_position())
    assert (renamed.name, renamed.data) == ("videos", {"ids": [video_id(1)]})
    assert feed.position(feed.event_id(0)) == 0


def test_a_stored_position_and_a_conversation_are_no_changes_of_a_video(app: Longview, workers: Workers) -> None:
    for number in (1, 2):
        put(app.parts.library, number, f"Video {number}")
    feed = EventFeed(app, workers)
    assert feed.after(0) == []
    other = Library(app.folder)
    other.set_position(video_id(1), 12.0)
    (position,) = feed.after(0)
    assert (position.name, position.data) == ("positions", {"ids": [video_id(1)]})
    other.conversations.add(video_id(2), AnsweredQuestion("What?", "This.", (Span(1, 2),), PROVENANCE))
    (asked,) = feed.after(position.number)
    assert (asked.name, asked.data) == ("conversation", {"video_id": video_id(2)})
    other.conversations.clear(video_id(2))
    (cleared,) = feed.after(asked.number)
    assert cleared.name == "conversation"
    # What has changed in both ways is read once, with its position.
    other.set_position(video_id(1), 0.0)
    other.rename(video_id(1), "Renamed")
    (renamed,) = feed.after(cleared.number)
    assert (renamed.name, renamed.data) == ("videos", {"ids": [video_id(1)]})


def test_a_library_that_was_replaced_is_read_anew(app: Longview, workers: Workers, tmp_path: Path) -> None:
    for number in range(5):
        put(app.parts.library, number, f"Video {number}")
    feed = EventFeed(app, workers)
    assert feed.after(0) == []
    put(Library(tmp_path / "other"), 7, "Restored")
    prepare_replacement(app.folder, tmp_path / "other")
    replace_database(app.folder, tmp_path / "other")
    (reset,) = feed.after(0)
    assert reset.name == "reset" and [entry.title for entry in app.videos()] == ["Restored"]
    Library(app.folder).rename(video_id(7), "Renamed")
    (renamed,) = feed.after(reset.number)
    assert (renamed.name, renamed.data) == ("videos", {"ids": [video_id(7)]})
