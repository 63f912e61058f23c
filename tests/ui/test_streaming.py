"""Answers as a page gets them: piece by piece, and cancelled when nobody needs them any more."""

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from longview.app.service import Longview
from longview.indexing.library import VideoEntry
from longview.model.errors import Cancelled
from longview.ui.streaming import ActiveStreams, stream_events
from tests.app.samples import demo_settings


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Longview:
    return Longview(demo_settings(tmp_path_factory.mktemp("library")))


@pytest.fixture(scope="module")
def entry(app: Longview, shapes_path: Path) -> VideoEntry:
    return app.index(shapes_path).entry


def test_stream_events_yields_the_pieces_and_raises_errors(app: Longview, entry: VideoEntry) -> None:
    question = "What happens at 4 seconds?"
    text = "".join(app.ask([entry], question))
    assert text == "A red circle moves to the right."
    assert "".join(stream_events(app.ask([entry], question))) == text
    cancelled = app.ask([entry], question)
    cancelled.cancel()
    with pytest.raises(Cancelled):
        list(stream_events(cancelled))


def test_leaving_a_stream_cancels_its_answer(app: Longview, entry: VideoEntry) -> None:
    turns = app.answers(entry)
    events = stream_events(app.ask([entry], "What happens between 1 and 19 seconds?"))
    next(events)
    events.close()
    for thread in threading.enumerate():
        if thread.name == "answer":
            thread.join(timeout=30)
            assert not thread.is_alive()
    assert app.answers(entry) == turns


def page(session_hash: str | None) -> Any:
    """Return the part of a page's request that is used."""
    return SimpleNamespace(session_hash=session_hash)


def test_cancel_reaches_all_answers_of_one_page_only() -> None:
    streams = ActiveStreams()
    with streams.cancellable(page("a")) as first, streams.cancellable(page("a")) as second:
        with streams.cancellable(page("b")) as other:
            streams.cancel_all(page("a"))
            assert first.is_set() and second.is_set() and not other.is_set()
        streams.cancel_all(page("b"))
        assert not other.is_set()
