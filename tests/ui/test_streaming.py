"""The streams of a page: cancelled together, and only those of that page."""

from types import SimpleNamespace
from typing import Any

from longview.ui.streaming import ActiveStreams


def page(session_hash: str | None) -> Any:
    """Return the part of a page's request that is used."""
    return SimpleNamespace(session_hash=session_hash)


def test_cancel_reaches_all_streams_of_one_page_only() -> None:
    streams = ActiveStreams()
    with streams.cancellable(page("a")) as first, streams.cancellable(page("a")) as second:
        with streams.cancellable(page("b")) as other, streams.cancellable(page("a"), "search") as search:
            streams.stop(page("a"))
            assert first.progress.is_cancelled and second.progress.is_cancelled
            assert not search.progress.is_cancelled and not other.progress.is_cancelled
            streams.cancel_all(page("a"))
            assert search.progress.is_cancelled and not other.progress.is_cancelled
        streams.cancel_all(page("b"))
        assert not other.progress.is_cancelled
