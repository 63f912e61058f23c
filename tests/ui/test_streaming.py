"""The searches of a page: cancelled together, and only those of that page."""

from types import SimpleNamespace
from typing import Any

from longview.ui.streaming import ActiveSearches


def page(session_hash: str | None) -> Any:
    """Return the part of a page's request that is used."""
    return SimpleNamespace(session_hash=session_hash)


def test_cancel_reaches_all_searches_of_one_page_only() -> None:
    searches, a, b = ActiveSearches(), page("a"), page("b")
    with searches.cancellable(a) as first, searches.cancellable(a) as second, searches.cancellable(b) as other:
        searches.cancel(a)
        assert first.is_cancelled and second.is_cancelled and not other.is_cancelled
    with searches.cancellable(a) as later:
        assert not later.is_cancelled
